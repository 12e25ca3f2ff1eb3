"""What no worker meets by itself, because nothing fails: documents that wait too long, certificates that end soon.

Each becomes a trouble, like what the workers meet. A document's wait is counted from when the service could work on it:
after a restart, or once an account or a folder works again, the backlog has as long as a document usually has before
anybody is told, since what held it up was told already. The same holds of what its folder's hours or quota held.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.daemon.recorder import one_line
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.ledger.reading import LedgerReader
from sealdrop.logs import Log
from sealdrop.model import Document
from sealdrop.signapi.certificates import Validity
from sealdrop.threads import NamedThread

LOOK_S = 30.0
STOP_S = 2.0
BEHIND_S = 300.0  # for which the audit files may stand still while the ledger has more
DAY = timedelta(days=1)
# What keeps documents waiting and is told by itself.
_EXCUSES = frozenset({EventName.ACCOUNT_UNREACHABLE, EventName.FOLDER_UNREACHABLE, EventName.FOLDER_UNWRITABLE})


@dataclass
class Counted:
    """What is counted from one look to the next.

    ``since`` is from when on the waiting of each folder's documents is counted; ``held`` how many of them are held, and
    ``released`` when some of those were let go at last, or may have been: the ledger does not keep that. ``flushed`` is
    the newest record in the audit files, at ``flushed_at`` (monotonic).
    """

    flushed_at: float
    flushed: int = -1
    since: dict[str, datetime] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    released: dict[str, datetime] = field(default_factory=dict)


class Lookout:
    """Looks around now and then, in a thread of its own. ``certificates`` returns them by account.

    ``counted`` is what the one of the configuration before has counted, to be gone on with.
    """

    def __init__(
        self,
        config: Config,
        ledger: LedgerReader,
        troubles: Troubles,
        certificates: Callable[[], Mapping[str, tuple[Validity, ...]]],
        clock: Clock,
        log: Log,
        counted: "Counted | None" = None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._troubles = troubles
        self._certificates = certificates
        self._clock = clock
        self._log = log
        self.counted = counted or Counted(clock.monotonic())
        for name, folder in config.folders.items():
            self.counted.since.setdefault(name, clock.now())
            if folder.holds_some:
                self.counted.released.setdefault(name, clock.now())
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "lookout")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is waited for, but not for long."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def waits_since(self, waiting: Document) -> datetime:
        """Return since when a document waits for anything but its folder's hours or quota, as far as is known."""
        return max(waiting.received_at, self.counted.released.get(waiting.folder, waiting.received_at))

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Retryable:
                pass  # the ledger is busy; whoever works with it tells
            except Exception as error:  # noqa: BLE001 - whoever looks out goes on
                self._log.error(EventName.WORKER_TROUBLED, worker="lookout", error=one_line(error))
            if self._stopping.wait(LOOK_S):
                return

    def look(self) -> None:
        """Look once at everything that is due.

        Raises:
            Retryable: the ledger cannot be read now.
            Fatal: it cannot be trusted.
        """
        self._look_at_certificates()
        self._look_at_documents()
        self._look_at_trail(self._clock.monotonic())

    def _look_at_documents(self) -> None:
        now = self._clock.now()
        self._look_at_held(now)
        excused = self._excused()
        told = self._present(EventName.DOCUMENT_LATE)
        late = set()
        for folder, waiting in self._ledger.oldest_waiting(unheld_at=now).items():
            subject = f"folder {folder} oldest document"
            if folder in excused and subject not in told:
                self.counted.since[folder] = now
            if not self._is_late(waiting, now):
                continue
            late.add(subject)
            text = f"{waiting.name!r} ({waiting.id}) was dropped at {waiting.received_at:%Y-%m-%d %H:%M} UTC and is "
            text += f"still {waiting.state}"
            if waiting.last_error:
                text += f"; {waiting.attempts} failed tries, the last: {waiting.last_error}"
            self._troubles.tell(subject, text, EventName.DOCUMENT_LATE, folder=folder, document=waiting.id)
        for subject in told - late:
            self._troubles.over(subject, EventName.DOCUMENTS_ON_TIME)

    def _look_at_held(self, now: datetime) -> None:
        held: Counter[str] = Counter()
        for each in self._ledger.held(now):
            held[each.folder] += each.documents
        for folder, number in self.counted.held.items():
            if held[folder] < number:
                self.counted.released[folder] = now
        self.counted.held = held

    def _present(self, event: EventName) -> set[str]:
        """Return what there is trouble of that kind with, perhaps since before the configuration was read anew."""
        return {told.trouble.subject for told in self._troubles.told() if told.event is event}

    def _excused(self) -> set[str]:
        """Return the folders whose documents wait for something that is told by itself."""
        excused = set()
        for told in self._troubles.told():
            if told.event in _EXCUSES:
                account, folder = told.fields.get("account"), told.fields.get("folder")
                excused |= {
                    name for name, each in self._config.folders.items() if name == folder or each.account == account
                }
        return excused

    def _is_late(self, waiting: Document, now: datetime) -> bool:
        counted_from = max(self.waits_since(waiting), self.counted.since.get(waiting.folder, now))
        return now - counted_from >= timedelta(minutes=self._config.alerts.late_minutes)

    def _look_at_certificates(self) -> None:
        now = self._clock.now()
        found: dict[str, tuple[str, int]] = {}
        for account, validities in self._certificates().items():
            for each in validities:
                stage = self._stage(each.until - now)
                if stage is not None:
                    what = {"client": "client certificate", "server": "SignAPI's certificate"}
                    subject = f"{what.get(each.role, f'trust anchor {each.name}')} of account {account}"
                    found[subject] = (_ends(each, stage), stage)
        for subject, (text, stage) in found.items():
            self._troubles.tell_anew(subject, text, EventName.CERTIFICATE_EXPIRING, certificate=subject, days=stage)
        for subject in self._present(EventName.CERTIFICATE_EXPIRING) - set(found):
            self._troubles.over(subject, EventName.CERTIFICATE_RENEWED, certificate=subject)

    def _stage(self, left: timedelta) -> int | None:
        """Return the smallest number of days that more is not left than, 0 if nothing is, None if there is time."""
        if left <= timedelta(0):
            return 0
        reached = [days for days in self._config.alerts.certificate_days if left <= days * DAY]
        return min(reached, default=None)

    def _look_at_trail(self, now: float) -> None:
        """The audit files follow the ledger within an instant; if they stand still, records pile up there."""
        head, flushed = self._ledger.audit_head().seq, self._ledger.audit_flushed_head().seq
        if flushed != self.counted.flushed or flushed == head:
            self.counted.flushed, self.counted.flushed_at = flushed, now
            self._troubles.over("audit trail", EventName.AUDIT_CAUGHT_UP, seq=flushed)
        elif now - self.counted.flushed_at >= BEHIND_S:
            text = f"the audit trail's files end with record {flushed} and cannot be written; the newer ones, up to "
            text += f"{head} by now, are safe in the ledger"
            self._troubles.tell("audit trail", text, EventName.AUDIT_BEHIND, seq=flushed, head=head)


def _ends(each: Validity, stage: int) -> str:
    when = f"{each.until:%Y-%m-%d at %H:%M} UTC"
    if stage == 0:
        return f"it has expired, on {when} ({each.name})"
    return f"it expires on {when}, in less than {stage} day{'s' * (stage > 1)} ({each.name})"
