"""Taking files over from one inbound folder, in a thread of its own.

It looks when it is woken, when the sweep is due, and when a file that was not complete may have become so.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sealdrop.clock import Clock
from sealdrop.config import Config, Folder
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.standing import Standing
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.errors import Fatal, Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.model import Document, DocumentId, FileIdentity, Reason, State, new_document_id
from sealdrop.pipeline import intake
from sealdrop.pipeline.watch import Sightings, Watch, list_files
from sealdrop.spool import Spool

BATCH = 32  # files whose rows are committed together; a lone file never waits for others
LONGEST_SLEEP_S = 60.0
MAX_COMPLAINTS = 1_000


class InboundWorker:
    """One inbound folder. Nothing here can hold up another folder: a share that hangs, hangs only this thread."""

    def __init__(
        self,
        name: str,
        config: Config,
        node: str,
        spool: Spool,
        unclaimed: Unclaimed,
        ledger: Ledger,
        recorder: Recorder,
        troubles: Troubles,
        clock: Clock,
        log: Log,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self._folder: Folder = config.folders[name]
        self._node = node
        self._spool = spool
        self._unclaimed = unclaimed
        self._ledger = ledger
        self._recorder = recorder
        self._clock = clock
        self._log = log
        self._on_fatal = on_fatal
        self._sightings = Sightings(settle_s=self._folder.settle_s, incomplete_s=self._folder.incomplete_s)
        self._watch = Watch(
            self._folder.inbound, subfolders=self._folder.subfolders, wake=self._wake_up, sweep=self.sweep
        )
        self._woken = threading.Event()
        self._sweep_due = threading.Event()
        self._stopping = threading.Event()
        self._troubles = troubles
        self._subject = f"folder {name} inbound"
        self._complaints: dict[str, tuple[FileIdentity | None, Reason]] = {}
        self._standing = Standing(self._folder.inbound, spool, ledger, log)
        self._thread = threading.Thread(target=self._run, name=f"inbound {name}", daemon=True)

    def start(self) -> None:
        """Begin to take files over."""
        self._thread.start()

    def sweep(self) -> None:
        """Ask for a look at the whole folder."""
        self._sweep_due.set()
        self._woken.set()

    def stop(self) -> None:
        """Take nothing any more; a file that is being copied is finished."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread has ended; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _wake_up(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        try:
            self._work_until_stopped()
        except BaseException as error:  # noqa: BLE001 - a worker that ends unseen would leave its folder unwatched
            self._on_fatal(error)
        finally:
            self._watch.stop()

    def _work_until_stopped(self) -> None:
        first = True
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                if first:
                    self._standing.load(self.name, subfolders=self._folder.subfolders)
                    first = False
                self._round()
            except Fatal:
                raise
            except (OSError, Retryable) as error:
                self._unreachable(error)
            except Exception as error:  # noqa: BLE001 - the folder's only worker must go on
                self._log.error(EventName.WORKER_TROUBLED, worker=self._thread.name, error=str(error), exc_info=True)
            next_due = self._sightings.next_due()
            sleep_s = LONGEST_SLEEP_S if next_due is None else max(next_due - self._clock.monotonic(), 0.05)
            self._woken.wait(min(sleep_s, LONGEST_SLEEP_S))

    def _round(self) -> None:
        """Look at what may be complete, and take it over."""
        hinted = self._watch.take_hints()
        if self._sweep_due.is_set():
            self._sweep_due.clear()
            self._listen()
            vanished = set(self._sightings.paths())
            self._take_complete(self._listed(vanished), hinted)
            if self._stopping.is_set():
                return
            for path in vanished:
                self._sightings.forget(path)
        else:
            due = hinted.union(self._sightings.due(self._clock.monotonic()))
            self._take_complete(due, hinted)
        inbound = str(self._folder.inbound)
        self._troubles.over(self._subject, EventName.FOLDER_REACHABLE, folder=self.name, path=inbound)

    def _listed(self, vanished: set[Path]) -> Iterable[Path]:
        for path in list_files(self._folder.inbound, subfolders=self._folder.subfolders):
            vanished.discard(path)
            yield path

    def _listen(self) -> None:
        """Start listening for events, again if the last listener died; without events the sweep does it all."""
        if self._watch.is_alive:
            return
        self._watch.stop()
        try:
            self._watch.start()
        except OSError as error:
            self._log.warning(EventName.WATCH_UNAVAILABLE, folder=self.name, error=str(error))

    def _take_complete(self, paths: Iterable[Path], hinted: set[Path]) -> None:
        batch: list[Document] = []
        try:
            for path in paths:
                if self._stopping.is_set():
                    break
                document = self._consider(path, batch, hinted=path in hinted)
                if document is not None:
                    batch.append(document)
                if len(batch) >= BATCH:
                    self._commit(batch)
                    batch = []
        finally:
            self._commit(batch)

    def _consider(self, path: Path, batch: Sequence[Document], *, hinted: bool) -> Document | None:
        """Take the file over if it is complete; return what is to be put on record."""
        try:
            if self._standing.recognises(path, FileIdentity.of(path.lstat())):
                return None
            seen = self._sightings.complete(path, now=self._clock.monotonic(), hinted=hinted)
            if seen is None or any(document.identity == seen for document in batch):
                return None  # in the batch: it was renamed since it was copied
        except (FileNotFoundError, NotADirectoryError):
            self._sightings.forget(path)
            return None
        except OSError as error:
            name = str(path.relative_to(self._folder.inbound))
            detail = error.strerror or "it cannot be read"
            self._complain(intake.NotTaken(name, Reason.FILE_UNREADABLE, detail), None)
            return None
        return self._take(path, seen)

    def _take(self, path: Path, seen: FileIdentity) -> Document | None:
        document_id = new_document_id(self._clock.now())
        self._spool.make(document_id)
        try:
            taken = intake.take(self._folder.inbound, path, self._spool.original(document_id), seen=seen)
        except BaseException:
            self._spool.remove(document_id)
            raise
        if isinstance(taken, intake.Taken):
            return self._document(document_id, taken)
        self._spool.remove(document_id)
        if isinstance(taken, intake.NotTaken):
            self._complain(taken, seen)
        return None

    def _document(self, document_id: DocumentId, taken: intake.Taken) -> Document:
        now = self._clock.now()
        return Document(
            id=document_id,
            node=self._node,
            account=self._folder.account,
            folder=self.name,
            name=taken.name,
            identity=taken.identity,
            size_bytes=taken.size_bytes,
            sha256=taken.sha256,
            state=State.RECEIVED,
            received_at=now,
            updated_at=now,
            due_at=now,
            level=self._folder.seal.level,
            archive=self._folder.seal.archive,
        )

    def _commit(self, batch: Sequence[Document]) -> None:
        """Put the documents on record, and only then remove their originals."""
        if not batch:
            return
        try:
            self._recorder.received(batch)
        except Exception:
            # A failing disk can leave it open whether the rows are there: only what surely has none is of no use.
            for document in batch:
                if self._ledger.get(document.id) is None:
                    self._spool.remove(document.id)
            raise
        # If we crash from here on, the originals are recognised and removed by the next start.
        self._standing.remove(batch)
        for document in batch:
            self._unclaimed.taken_over(document.sha256)

    def _complain(self, file: intake.NotTaken, seen: FileIdentity | None) -> None:
        """Log why a file is left where it is, once for each state of the file."""
        if self._complaints.get(file.name) == (seen, file.reason):
            return
        if len(self._complaints) >= MAX_COMPLAINTS:
            self._complaints.clear()
        self._complaints[file.name] = (seen, file.reason)
        self._log.warning(
            EventName.FILE_NOT_TAKEN, folder=self.name, name=file.name, reason=file.reason, detail=file.detail
        )

    def _unreachable(self, error: Exception) -> None:
        path = str(self._folder.inbound)
        text = f"nothing can be taken over from {path}: {error}"
        event = EventName.FOLDER_UNREACHABLE
        self._troubles.tell(self._subject, text, event, folder=self.name, path=path, error=str(error))
