"""What is under way: the documents of each folder that have not come to their end, and what they take in the spool.

Taking over waits for it. Files that wait in inbound cost nothing; what was taken over takes room in the spool and in
the ledger, and is no sooner sealed for having been taken. So only so much of a folder is under way at a time. The
limits are the folder's own: one whose account is out of reach, or that is outside its hours, holds up no other.

One more limit may be set for the spool as a whole. It is no folder's own, so what one folder leaves lying there keeps
others out; but never altogether: of each folder one document may be under way, whatever there is of others.

A document counts with the sealed PDF that is to come, so that the limits hold when many come at once.

Nor is anything taken over while enough waits to be examined, be it as it came or sealed: what is taken ahead of that
only keeps the processors from what has come further, the first of a backlog from being delivered.

These are counts, kept as documents move: nothing is asked of the ledger but once, at the start. A document is counted
before it is on record, so that none can come to its end uncounted. Where a count is missed (the ledger failed at the
very moment), the limit is off by that document until the next start, and nothing else.
"""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sealdrop.config import Config, Folder
from sealdrop.daemon.troubles import Troubles
from sealdrop.events import EventName
from sealdrop.ledger.reading import InSpool
from sealdrop.ledger.store import Step
from sealdrop.model import PRESSURE, Document, DocumentId, State

MIB = 1 << 20
# Documents for each inspector that may wait for it. Of sealed ones more, so that it has something to do until what is
# taken over next has been sealed in its turn, were that to take some seconds.
RECEIVED_EACH = 32
SEALED_EACH = 256
SEAL_BYTES = 64 << 10  # that a seal adds to a PDF, about: one of level LTA some 44 kB, an image what it takes
# Whose sealed PDF may still come; where that failed before, it is fetched.
NOT_YET_SEALED = frozenset(
    {
        State.RECEIVED,
        State.VALIDATED,
        State.SUBMITTING,
        State.SUBMITTED,
        State.SEALING,
        State.ARCHIVING,
        State.RETRYING,
    }
)
SPARE = 32  # documents that there must be room for before taking over goes on: they are put on record together


@dataclass(frozen=True, slots=True)
class Load:
    """How many documents of a folder are under way, and the bytes that they take in the spool, or come to take."""

    documents: int = 0
    size_bytes: int = 0

    def lack(self, folder: Folder, need_bytes: int, *, spare_documents: int = 0) -> str | None:
        """Return in words why no document of ``need_bytes`` may be taken over now, or None if one may.

        One may whatever its size if nothing else is under way. With ``spare_documents``, only if so many may.
        """
        limit_bytes = folder.in_flight_mib * MIB
        if self.documents == 0:
            return None
        if self.documents + spare_documents >= folder.in_flight_documents:
            number = "1 document is" if self.documents == 1 else f"{self.documents:,} documents are"
            return f"{number} under way (limit {folder.in_flight_documents:,})"
        if self.size_bytes + need_bytes > limit_bytes:
            wanted_mib, limit_mib = (self.size_bytes + need_bytes) / MIB, folder.in_flight_mib
            return (
                f"with the next one and its sealed PDF, what is under way would take {wanted_mib:,.0f} MiB "
                f"(limit {limit_mib:,g} MiB)"
            )
        return None

    def is_low(self, folder: Folder) -> bool:
        """Return whether not more than half of what may be under way is."""
        limit_bytes = folder.in_flight_mib * MIB
        return self.documents <= folder.in_flight_documents // 2 and self.size_bytes <= limit_bytes / 2


class UnderWay:
    """The counts of all folders. Used by all workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[DocumentId, tuple[str, int]] = {}
        self._loads: dict[str, Load] = {}
        self._spool_bytes = 0
        self._set_apart: dict[str, int] = {}
        self._unexamined: dict[tuple[str, State], set[DocumentId]] = {}

    def load(self, documents: Iterable[InSpool]) -> None:
        """Count what the last run left."""
        with self._lock:
            for each in documents:
                size_bytes = room_bytes(each.size_bytes, each.sealed_size_bytes, each.state)
                self._count(each.document, each.folder, size_bytes)

    def of(self, folder: str) -> Load:
        """Return what is under way of a folder."""
        with self._lock:
            return self._loads.get(folder, Load())

    def spool_bytes(self) -> int:
        """Return what the documents of all folders take in the spool, with what is set apart."""
        with self._lock:
            return self._spool_bytes + sum(self._set_apart.values())

    def fits(self, folder: str, need_bytes: int, limit_bytes: float) -> bool:
        """Return whether a document of the folder may be copied into the spool, for what all together take there.

        It may if that is no more than ``limit_bytes``, or if nothing else of the folder is under way.
        """
        with self._lock:
            return self._fits(folder, need_bytes, limit_bytes)

    def set_apart(self, folder: str, need_bytes: int, limit_bytes: float) -> bool:
        """Set room apart for a document that is about to be copied, if it `fits`; return whether it does.

        What was set apart for the folder before, and not counted since, is given back.
        """
        with self._lock:
            self._set_apart.pop(folder, None)
            fits = self._fits(folder, need_bytes, limit_bytes)
            if fits:
                self._set_apart[folder] = need_bytes
            return fits

    def give_back(self, folder: str) -> None:
        """Give back what is set apart for a folder."""
        with self._lock:
            self._set_apart.pop(folder, None)

    def unexamined(self, folder: str, state: State) -> int:
        """Return how many documents of a folder have become ``received`` or ``sealed``, and were not looked at yet."""
        with self._lock:
            return len(self._unexamined.get((folder, state), ()))

    def add(self, document: Document) -> None:
        """Count a document that is about to be put on record."""
        with self._lock:
            self._set_apart.pop(document.folder, None)
            self._count(document.id, document.folder, _room_bytes(document))
            self._wait_for_examination(document)

    def drop(self, document: DocumentId) -> None:
        """Count a document no more."""
        with self._lock:
            self._drop(document)

    def recorded(self, step: Step) -> None:
        """Count a document's move. Those of one document may be told of in another order than they were made."""
        before, after = step.before, step.after
        if before is None:
            return  # it was counted before
        with self._lock:
            self._unexamined.get((after.folder, before.state), set()).discard(after.id)
            if after.due_at is None:
                self._drop(after.id)
            # Whoever has it tried again is another process: that it is under way again shows when it moves on.
            elif before.state is State.RETRYING or after.id in self._known:
                self._count(after.id, after.folder, _room_bytes(after))
                if after.state is State.SEALED and before.state is not State.SEALED:
                    self._wait_for_examination(after)

    def _fits(self, folder: str, need_bytes: int, limit_bytes: float) -> bool:
        wanted_bytes = self._spool_bytes + sum(self._set_apart.values()) + need_bytes
        return wanted_bytes <= limit_bytes or self._loads.get(folder, Load()).documents == 0

    def _wait_for_examination(self, document: Document) -> None:
        self._unexamined.setdefault((document.folder, document.state), set()).add(document.id)

    def _count(self, document: DocumentId, folder: str, size_bytes: int) -> None:
        self._drop(document)
        self._known[document] = folder, size_bytes
        load = self._loads.get(folder, Load())
        self._loads[folder] = Load(load.documents + 1, load.size_bytes + size_bytes)
        self._spool_bytes += size_bytes

    def _drop(self, document: DocumentId) -> None:
        if document in self._known:
            folder, size_bytes = self._known.pop(document)
            load = self._loads[folder]
            self._loads[folder] = Load(load.documents - 1, load.size_bytes - size_bytes)
            self._spool_bytes -= size_bytes
            for state in (State.RECEIVED, State.SEALED):
                self._unexamined.get((folder, state), set()).discard(document)


def room_bytes(size_bytes: int, sealed_size_bytes: int | None, state: State) -> int:
    """Return what a document takes in the spool: its original, and its sealed PDF, be it that this is to come."""
    if sealed_size_bytes is None and state in NOT_YET_SEALED:
        sealed_size_bytes = size_bytes + SEAL_BYTES
    return size_bytes + (sealed_size_bytes or 0)


def _room_bytes(document: Document) -> int:
    return room_bytes(document.size_bytes, document.sealed_size_bytes, document.state)


class Turn:
    """Whether one inbound folder may take files over, as far as its limits go. Used by one thread."""

    def __init__(self, name: str, config: Config, under_way: UnderWay, troubles: Troubles) -> None:
        """Make ready to be asked."""
        self._name = name
        self._received = RECEIVED_EACH * config.service.inspectors
        self._sealed = SEALED_EACH * config.service.inspectors
        self._is_ahead = False
        self._folder = config.folders[name]
        self._spool_limit_bytes = config.service.spool_mib * MIB or math.inf
        self._under_way = under_way
        self._troubles = troubles
        self._kept_out: tuple[Path, int] | None = None  # the file that there was no room for, and what it needs
        self._is_new = True
        self.is_pressed = False  # whether it was told that some are kept out

    def must_be_waited_for(self) -> bool:
        """Return whether nothing may be taken over until what is under way has become less.

        What found no room is not passed by smaller files while it is there: it would wait for as long as there are any.
        And it is waited until there is room for some, or each would be taken and put on record by itself.
        """
        if self._is_new:
            # Whoever went by the last configuration may have told of its limits.
            self._troubles.forget([f"{PRESSURE}folder {self._name}"])
            self._is_new = False
        if self._kept_out is not None:
            path, need_bytes = self._kept_out
            spare = min(SPARE, self._folder.in_flight_documents // 4)
            if self._lack(need_bytes, spare_documents=spare) is not None and _stands(path):
                return True
            self._kept_out = None
        if self.is_pressed and self._is_low():
            self.is_pressed = False
            event, inbound = EventName.TAKING_OVER_GOES_ON, str(self._folder.inbound)
            self._troubles.over(f"{PRESSURE}folder {self._name}", event, folder=self._name, path=inbound)
        return False

    def number(self) -> int:
        """Return how many files may be taken over now, for all that waits to be examined: none, or several."""
        sealed = self._under_way.unexamined(self._name, State.SEALED)
        self._is_ahead = sealed > (self._sealed // 2 if self._is_ahead else self._sealed)
        free = self._received - self._under_way.unexamined(self._name, State.RECEIVED)
        return free if free * 2 >= self._received and not self._is_ahead else 0

    def keeps_out(self, path: Path, need_bytes: int) -> bool:
        """Return whether the file at ``path``, which needs so much, may not be taken over now, and have it known."""
        if self._kept_out is None:
            need_bytes = room_bytes(need_bytes, None, State.RECEIVED) if need_bytes else 0
            why = self._under_way.of(self._name).lack(self._folder, need_bytes)
            if why is None and self._under_way.set_apart(self._name, need_bytes, self._spool_limit_bytes):
                return False
            why = why or self._spool_lack(need_bytes)
            self._kept_out = path, need_bytes
            self.is_pressed = True
            text, event, inbound = f"taking over waits: {why}", EventName.TAKING_OVER_WAITS, str(self._folder.inbound)
            self._troubles.press(f"folder {self._name}", text, event, folder=self._name, path=inbound, why=why)
        return True

    def give_back(self) -> None:
        """Give back the room that was set apart for a file that was not taken after all."""
        self._under_way.give_back(self._name)

    def _lack(self, need_bytes: int, *, spare_documents: int) -> str | None:
        why = self._under_way.of(self._name).lack(self._folder, need_bytes, spare_documents=spare_documents)
        if why is None and not self._under_way.fits(self._name, need_bytes, self._spool_limit_bytes):
            why = self._spool_lack(need_bytes)
        return why

    def _spool_lack(self, need_bytes: int) -> str:
        wanted_mib, limit_mib = (self._under_way.spool_bytes() + need_bytes) / MIB, self._spool_limit_bytes / MIB
        return (
            f"with the next one and its sealed PDF, the spool would hold {wanted_mib:,.0f} MiB of all folders "
            f"(limit {limit_mib:,g} MiB)"
        )

    def _is_low(self) -> bool:
        load = self._under_way.of(self._name)
        # What other folders hold may be there for days.
        is_spool_low = load.documents == 0 or self._under_way.spool_bytes() <= self._spool_limit_bytes / 2
        return load.is_low(self._folder) and is_spool_low


def _stands(path: Path) -> bool:
    """Whether there is something at ``path``, or nobody can tell."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
