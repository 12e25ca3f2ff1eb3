"""What is wrong with the service's surroundings while it lasts: told once, shown by `sealdrop status`.

An account out of reach, a folder that is gone, a disk that is full: nobody's document is at fault, and work resumes by
itself. A trouble goes into the log when it begins and when it ends, and is kept in the ledger in between. If the ledger
cannot be written, that is no further trouble: it is kept as soon as it can be.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.errors import Retryable, Unrecordable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.model import PRESSURE, Trouble

VISIBLE_SEALS = "visible seals of folder "  # then the folder's name


@dataclass(frozen=True, slots=True)
class Told:
    """A trouble with the event that was logged when it began, and that event's fields."""

    trouble: Trouble
    event: EventName
    fields: Mapping[str, object]


class Troubles:
    """The troubles of this node. Used by all worker threads; its methods raise nothing that can pass by itself."""

    def __init__(self, node: str, ledger: Ledger, clock: Clock, log: Log) -> None:
        self._node = node
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._present: dict[str, Told] = {}
        self._unwritten: dict[str, Trouble | None] = {}

    def clear(self) -> None:
        """Forget what the last run was troubled by. For start-up only.

        Raises:
            Retryable: the ledger cannot be written now.
        """
        self._ledger.relieved(self._node)

    def tell(self, subject: str, text: str, event: EventName, **fields: object) -> None:
        """Say that ``subject`` is in trouble; ``event`` is logged when that is new, not when it goes on."""
        with self._lock:
            if subject not in self._present:
                self._keep(Trouble(subject, self._clock.now(), text), event, fields)
            self._write()

    def tell_anew(self, subject: str, text: str, event: EventName, **fields: object) -> None:
        """As `tell`, but what goes on with another text is told again: it has become worse, or less bad."""
        with self._lock:
            known = self._present.get(subject)
            if known is None or known.trouble.text != text:
                since = self._clock.now() if known is None else known.trouble.since
                self._keep(Trouble(subject, since, text), event, fields)
            self._write()

    def press(self, subject: str, text: str, event: EventName, **fields: object) -> None:
        """As `tell`, of what is no fault of anything: that more is dropped on ``subject`` than goes through."""
        with self._lock:
            if PRESSURE + subject not in self._present:
                self._keep(Trouble(PRESSURE + subject, self._clock.now(), text), event, fields, is_fault=False)
            self._write()

    def over(self, subject: str, event: EventName, **fields: object) -> None:
        """Say that all is well with ``subject``; ``event`` is logged if it was not."""
        with self._lock:
            if self._present.pop(subject, None) is not None:
                self._log.info(event, **fields)
                self._unwritten[subject] = None
            self._write()

    def forget(self, subjects: Collection[str]) -> None:
        """Forget these troubles: nobody looks any more whether they are over."""
        with self._lock:
            for subject in subjects:
                if self._present.pop(subject, None) is not None:
                    self._unwritten[subject] = None
            self._write()

    def forget_others(self, config: Config) -> None:
        """Forget the troubles of accounts and folders that the configuration has not.

        And those of visible seals in folders that have none any more: no document would end them.
        """
        known = {("account", name) for name in config.accounts} | {("folder", name) for name in config.folders}
        with self._lock:
            subjects = list(self._present)
        gone = [each for each in subjects if _owner(each)[0] in ("account", "folder") and _owner(each) not in known]
        visible = {name for name, folder in config.folders.items() if folder.seal.visible is not None}
        seals = {each for each in subjects if each.startswith(VISIBLE_SEALS)}
        self.forget([*gone, *seals.difference(VISIBLE_SEALS + name for name in visible)])

    def present(self) -> tuple[Trouble, ...]:
        """Return the troubles of this moment, oldest first."""
        with self._lock:
            troubles = [told.trouble for told in self._present.values()]
        return tuple(sorted(troubles, key=lambda each: (each.since, each.subject)))

    def told(self) -> tuple[Told, ...]:
        """Return the troubles of this moment with what was logged of them, in no order."""
        with self._lock:
            return tuple(self._present.values())

    def _keep(self, trouble: Trouble, event: EventName, fields: Mapping[str, object], *, is_fault: bool = True) -> None:
        self._present[trouble.subject] = Told(trouble, event, fields)
        say = self._log.error if is_fault else self._log.info
        say(event, **fields)
        self._unwritten[trouble.subject] = trouble

    def _write(self) -> None:
        """Have the ledger know what it does not know yet; what cannot be written is tried at the next call."""
        try:
            for subject, trouble in list(self._unwritten.items()):
                if trouble is None:
                    self._ledger.relieved(self._node, subject)
                else:
                    self._ledger.troubled(self._node, trouble)
                del self._unwritten[subject]
        except Retryable:
            return
        except Unrecordable:
            self._unwritten.clear()  # it is in the log; what cannot be written down must not keep others out


def _owner(subject: str) -> tuple[str, str]:
    """Return what a subject belongs to: for one of an account or a folder, that word and its name."""
    kind, _, rest = subject.removeprefix(PRESSURE).partition(" ")
    return kind, rest.partition(" ")[0]
