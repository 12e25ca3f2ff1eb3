"""The folders that documents are written into: outbound, rejected, failed, and processed if there is one.

A folder that is gone, full or read-only is no document's fault: its documents wait, one of them tries it now and then,
and all go on by themselves when it can be written to again.
"""

import os
import threading
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import TypeVar

from sealdrop.clock import Clock
from sealdrop.daemon.progress import waiting
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.model import DocumentId
from sealdrop.pipeline.mounts import Mount

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
LOOK_S = 30.0  # between two looks at a folder that nothing is written into
MAX_FAILING = 1_000


class Unwritable(Retryable):
    """The folder could not be written to; ``tried`` is whether that was tried with this document."""

    def __init__(self, message: str, *, tried: bool) -> None:
        self.tried = tried
        super().__init__(message)


class Outlet:
    """One such folder. One thread writes into it; another one may `tidy` it up."""

    def __init__(
        self,
        folder: str,
        place: str,
        path: Path,
        state_dir: Path,
        troubles: Troubles,
        clock: Clock,
        mounts: MutableMapping[Path, Path],
    ) -> None:
        """Make ready to write; ``mounts`` is what has been seen of mounts so far, see `Mount`."""
        self._folder = folder
        self._place = place
        self._path = path
        self._state_dir = state_dir
        self._troubles = troubles
        self._clock = clock
        self._subject = f"folder {folder} {place}"
        self._mount = Mount(path, mounts)
        self._failures = 0
        self._closed_until = 0.0
        self._looked_at = float("-inf")
        # Which documents could not be written: a small one that fits says nothing of a large one that does not.
        self._failing: set[DocumentId] = set()
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def closed_s(self) -> float:
        """Return for how many seconds nothing should be written, 0 if it may; look at the folder now and then."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            try:
                with waiting(str(self._path), None, self._tell):
                    self._check()
            except OSError as error:
                self._tell(error.strerror or str(error))
            else:
                self._well()
        return max(0.0, self._closed_until - now)

    def write(self, document: DocumentId, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, which writes the document into the folder or fetches it from there.

        Raises:
            Unwritable: it cannot be written to, or was not tried because it could not an instant ago.
            OSError: the document's copies in the state directory cannot be read.
            Exception: whatever else ``function`` raises.
        """
        (outcome,) = self.write_together([document], lambda: [function()])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write_together(
        self, documents: Sequence[DocumentId], function: Callable[[], Sequence[T | Exception]]
    ) -> list[T | Exception]:
        """Return what ``function`` returns, which writes several documents: for each what `write` returns or raises.

        What it raises itself is told of the first of them; the others are as if they had not been tried.
        """
        if self._closed_until > self._clock.monotonic():
            return [Unwritable(f"{self._path} cannot be written to", tried=False) for _ in documents]
        outcomes: Sequence[T | Exception]
        try:
            with waiting(str(self._path), None, self._tell), self._lock:
                self._check()
                outcomes = function()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told of a document
            untried = Unwritable(f"{self._path} cannot be written to", tried=False)
            outcomes = [error if document == documents[0] else untried for document in documents]
        return [self._judged(document, outcome) for document, outcome in zip(documents, outcomes, strict=True)]

    def _judged(self, document: DocumentId, outcome: T | Exception) -> T | Exception:
        """Take note of what an outcome says of the folder; return it, in our words if it says that it is unwritable."""
        if isinstance(outcome, OSError):
            if outcome.filename is not None and Path(os.fsdecode(outcome.filename)).is_relative_to(self._state_dir):
                return outcome
            now = self._clock.monotonic()
            if self._closed_until <= now:  # of several that were tried together, one is enough
                self._failures += 1
                self._closed_until = now + min(FIRST_PAUSE_S * 2 ** min(self._failures, 10), LONGEST_PAUSE_S)
            if len(self._failing) < MAX_FAILING:
                self._failing.add(document)
            what = outcome.strerror or str(outcome)
            self._tell(what)
            unwritable = Unwritable(f"{self._path} cannot be written to: {what}", tried=True)
            unwritable.__cause__ = outcome
            return unwritable
        if not isinstance(outcome, Exception):
            self._failures = 0
            self._closed_until = 0.0
            self._failing.discard(document)
            self._well()
        return outcome

    def tidy(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, which looks for what was written or removes it, while nothing is written.

        That this fails says nothing of the folder: nobody's document waits for it.

        Raises:
            OSError: it cannot be written to, or ``function`` fails.
        """
        with waiting(str(self._path), None, self._tell), self._lock:
            self._check()
            return function()

    def forget(self, document: DocumentId) -> None:
        """Take note that the document has not to be written any more: it no longer says that something is wrong."""
        self._failing.discard(document)

    def _check(self) -> None:
        self._mount.check()
        with os.scandir(self._path):
            pass
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise PermissionError("it may not be written to")

    def _tell(self, what: str) -> None:
        text = f"{self._path} cannot be written to, its documents wait: {what}"
        event = EventName.FOLDER_UNWRITABLE
        self._troubles.tell(
            self._subject, text, event, folder=self._folder, place=self._place, path=str(self._path), error=what
        )

    def _well(self) -> None:
        if self._failing:
            return
        event = EventName.FOLDER_WRITABLE
        self._troubles.over(self._subject, event, folder=self._folder, place=self._place, path=str(self._path))
