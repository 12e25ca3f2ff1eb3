"""Removing originals, rejected and failed files when the days are over for which their folder keeps them.

Until when is written down when the files are put there, and holds: fewer days count for what ends from then on. More
days, or none (for ever), count at once: what is due is looked at once more, with the days that are configured by then,
counted from the document's end. The files of a folder that is not configured any more stay.

What was sealed, and so billed, and not handed out is never removed: its files in the failed folder hold the only copy.

While the computer's clock may be wrong (`clocktrust`), nothing is removed.

That files are removed is on record before they are. If we crash in between, they are removed when the lease ends; it
keeps anybody from having the document tried again meanwhile. A share that hangs holds up what is to be removed from
others, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from pydantic import JsonValue

from sealdrop.clock import Clock
from sealdrop.config import Config, Folder
from sealdrop.daemon.clocktrust import ClockTrust, Trust
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.recorder import Recorder, one_line
from sealdrop.daemon.troubles import Troubles
from sealdrop.events import EventName
from sealdrop.ledger.reading import BILLED
from sealdrop.ledger.store import Claimed, Ledger, Step
from sealdrop.logs import Log
from sealdrop.model import Document, Event, State
from sealdrop.pipeline.expire import expire, what_expires

BATCH = 32
LEASE_S = 600.0
AGAIN_S = 3_600.0  # before a file is tried again that could not be removed
CLOSED_S = 60.0  # for which no other is tried in its folder then
AFTER_CLOSED_S = 600.0  # before one is looked at that was passed over
_SUBJECT = "retention"


def kept_days(folder: Folder, document: Document) -> float | None:
    """Return for how many days the folder keeps what a document leaves, None if for ever."""
    match document.state:
        case State.DELIVERED:
            return folder.keep_processed_days
        case State.REJECTED:
            return folder.keep_rejected_days
        case _:
            return None if is_only_copy(document) else folder.keep_failed_days


def is_only_copy(document: Document) -> bool:
    """Return whether a failed document was sealed: its seal, or what could give it, is in the failed folder alone."""
    return document.sealed_sha256 is not None or document.reason in BILLED


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes what is due, of all folders; used by one thread."""

    config: Config
    ledger: Ledger
    recorder: Recorder
    outlets: Mapping[tuple[str, State], Outlet]
    troubles: Troubles
    clock_trust: ClockTrust
    clock: Clock
    log: Log
    _closed_until: dict[tuple[str, State], float] = field(default_factory=dict)

    def claim(self) -> Claimed:
        """Return documents whose files may be removed by now, under a lease; none while the clock may be wrong.

        Raises:
            Retryable: the ledger cannot be used now; nothing was claimed.
            Fatal: it cannot be trusted.
        """
        trust, now = self.clock_trust.look(), self.clock.now()
        if trust is Trust.AHEAD:
            due_at = self.ledger.next_expiry()
            if due_at is not None and due_at <= now:
                text = f"the computer's clock shows {now:%Y-%m-%d %H:%M} UTC, far later than was to be expected; files "
                text += "whose time is over by that are kept until it has run for some hours without having been set"
                self.troubles.tell(_SUBJECT, text, EventName.RETENTION_HELD, now=now.isoformat())
            return Claimed((), None)
        self.troubles.over(_SUBJECT, EventName.RETENTION_RESUMED)
        return (
            self.ledger.claim_kept(now=now, limit=BATCH, lease_s=LEASE_S) if trust is Trust.FULL else Claimed((), None)
        )

    def work(self, documents: Sequence[Document]) -> None:
        """Remove the files of claimed documents, and record it; trouble with one is its own."""
        for document in documents:
            try:
                self._expire(document)
            except OSError as error:
                self._closed_until[document.folder, document.state] = self.clock.monotonic() + CLOSED_S
                told = {"document": document.id, "folder": document.folder, "error": one_line(error)}
                self.log.warning(EventName.EXPIRY_POSTPONED, **told)
                known = self.ledger.get(document.id)  # it may be on record by now that its files go
                self._later(known if known is not None else document, AGAIN_S)

    def _expire(self, document: Document) -> None:
        folder = self.config.folders.get(document.folder)
        place = document.folder, document.state
        outlet = self.outlets.get(place)
        days = kept_days(folder, document) if folder is not None else None
        if folder is None or outlet is None or days is None:
            self._settle(document)
            return
        kept_until = document.updated_at + timedelta(days=days)
        if kept_until > self.clock.now():
            self._later(document, (kept_until - self.clock.now()) / timedelta(seconds=1))
            return
        if self._closed_until.get(place, 0.0) > self.clock.monotonic():
            self._later(document, AFTER_CLOSED_S)
            return
        root = outlet.path
        decided = [document]  # by an earlier try
        if document.expired_at is None:
            names = outlet.tidy(lambda: what_expires(document, root))
            if not names or self._is_shared(document, root):
                self._settle(document, expired=document.state is State.DELIVERED)
                return
            decided = self._decide(document, names)
        for expiring in decided:
            outlet.tidy(lambda: expire(document, root))
            self._settle(expiring)

    def _is_shared(self, document: Document, root: Path) -> bool:
        """Whether another document of the same content has the very same file kept, and its time is not over.

        A name in the rejected or failed folder is given anew only once it is free: the file is whose it was last.
        """
        if document.state is State.DELIVERED:
            folders = [name for name, folder in self.config.folders.items() if folder.processed == root]
            return self.ledger.is_kept_by_another(document, document.kept_name or document.name, folders)
        folders = [name for name, folder in self.config.folders.items() if root in (folder.rejected, folder.failed)]
        return self.ledger.is_given_to_a_later(document, document.published_name or document.name, folders)

    def _decide(self, document: Document, names: Sequence[str]) -> list[Document]:
        """Put it on record that the files are about to be removed, keeping the lease."""
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "place": "processed" if document.state is State.DELIVERED else document.state,
            "files": list(names),
        }
        after = replace(document, expired_at=self.clock.now())
        return self.recorder.commit([Step(document, after, Event(EventName.ORIGINAL_EXPIRED, fields))])

    def _settle(self, document: Document, *, expired: bool = False) -> None:
        """Take note that nothing is left to remove."""
        expired_at = self.clock.now() if expired else document.expired_at
        self.recorder.commit(
            [Step(document, replace(document, kept_until=None, expired_at=expired_at, lease=None), None)]
        )

    def _later(self, document: Document, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        self.recorder.commit([Step(document, replace(document, kept_until=until, lease=None), None)])
