"""Taking files over from one inbound folder, in a thread of its own.

It looks when it is woken, when the sweep is due, and when a file that was not complete may have become so. (Long,
because what comes first and what waits for what is decided here, and is best seen together.)
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from sealdrop.clock import Clock
from sealdrop.config import Config, Folder
from sealdrop.daemon import progress
from sealdrop.daemon.companions import Beside, Companions
from sealdrop.daemon.complaints import Complaints
from sealdrop.daemon.recorder import Recorder, one_line
from sealdrop.daemon.room import Room
from sealdrop.daemon.standing import Standing
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.daemon.underway import Turn, UnderWay
from sealdrop.errors import Fatal, Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.model import Companion, CompanionKind, Document, DocumentId, FileIdentity, Reason, State, new_document_id
from sealdrop.pipeline import intake, records
from sealdrop.pipeline.below import status_below
from sealdrop.pipeline.companions import wishes_in
from sealdrop.pipeline.listen import Watch
from sealdrop.pipeline.mounts import Mount
from sealdrop.pipeline.watch import GONE, LeftOut, Sightings, list_files
from sealdrop.spool import Spool, is_document_id
from sealdrop.threads import NamedThread

BATCH = 32  # files whose rows are committed together; a lone file never waits for others
CHUNK = 256  # files of the sweep that are looked at before those come first again that events name or that are due
LONGEST_SLEEP_S = 60.0
TROUBLED_SLEEP_S = 2.0
ROOM_SLEEP_S = 2.0
TURN_SLEEP_S = 0.1  # between two looks whether what is under way has become less
PREDECESSOR_LOOK_S = 1.0
MAX_EMPTY = 1_000
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own is (stat(2))
# What may be so for an instant only: a program that gives a file its name by a second link, or still writes it.
PASSING = frozenset({Reason.HARD_LINK, Reason.TOO_LARGE})
# What is only seen of a companion when it is opened, which is when its document is looked at.
UNFIT_BESIDE = frozenset({Reason.FILE_UNREADABLE, Reason.FILE_CHANGED, Reason.SIDECAR_INVALID, Reason.CHECKSUM_INVALID})
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


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
        room: Room,
        under_way: UnderWay,
        clock: Clock,
        log: Log,
        on_fatal: Callable[[BaseException], None],
        mounts: MutableMapping[Path, Path],
        *,
        is_free: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make ready to take files over.

        ``mounts`` is what has been seen of mounts so far, see `Mount`. Nothing is looked at until ``is_free`` says that
        no earlier worker may be taking files from the same folder.
        """
        self.name = name
        self._is_free = is_free
        self.waiting_since: float | None = None  # when the oldest file that waits was first seen (monotonic seconds)
        self._folder: Folder = config.folders[name]
        self.progress = progress.Progress(f"inbound {name}", clock)
        self._node = node
        self._spool = spool
        self._unclaimed = unclaimed
        self._ledger = ledger
        self._recorder = recorder
        self._clock = clock
        self._log = log
        self._on_fatal = on_fatal
        self._sightings = Sightings(
            self._folder.inbound, settle_s=self._folder.settle_s, incomplete_s=self._folder.incomplete_s
        )
        self._watch = Watch(
            self._folder.inbound, subfolders=self._folder.subfolders, wake=self._wake_up, sweep=self.sweep
        )
        self._woken = threading.Event()
        self._sweep_due = threading.Event()
        self._stopping = threading.Event()
        self._troubles = troubles
        self._subject = f"folder {name} inbound"
        self._events_subject = f"folder {name} events"
        self._room = room
        self._under_way = under_way
        self._may_take = CHUNK  # files in this round, whoever finds them
        self._newest: DocumentId | None = None  # of those that are to be put on record together
        self._turn = Turn(name, config, under_way, troubles)
        self._without_room: set[Path] = set()
        self._mount = Mount(self._folder.inbound, mounts)
        self._complaints = Complaints(
            name, self._folder.inbound, self._folder.rejected, config.service.state_dir, troubles, clock, log
        )
        self._hinted: set[Path] = set()
        self._listing: Iterator[Path] | None = None
        # Empty folders with the name of a PDF: those that were there before, and those that this sweep has found.
        self._empty_folders: set[Path] = set()
        self._found_empty: set[Path] = set()
        self._emptied: set[Path] = set()  # those that files were taken from: nobody need be told that they are empty
        self._is_loaded = False
        self._configured = tuple(config.folders)
        self._standing = Standing(name, self._folder.inbound, spool, ledger, troubles, log)
        self._companions = Companions(self._folder, spool, self._standing)
        self._thread = NamedThread(self._run, f"inbound {name}")

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
            with self.progress.attended():
                self._work_until_stopped()
        except BaseException as error:  # noqa: BLE001 - a worker that ends unseen would leave its folder unwatched
            self._on_fatal(error)
        finally:
            self._watch.stop()

    def _work_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                with self.progress.waiting(str(self._folder.inbound), None, self._unreachable):
                    sleep_s = self._round()
            except Fatal:
                raise
            except (OSError, Retryable) as error:
                self._unreachable(str(error))
                sleep_s = self._interrupted()
            except Exception as error:  # noqa: BLE001 - the folder's only worker must go on
                self._log.error(
                    EventName.WORKER_TROUBLED, worker=self._thread.name, error=one_line(error), exc_info=True
                )
                self._unreachable(one_line(error))
                sleep_s = self._interrupted()
            if sleep_s > 0:
                with self.progress.waiting("files", sleep_s):
                    self._woken.wait(sleep_s)

    def _interrupted(self) -> float:
        """Have everything looked at anew, in a while, whatever wakes us."""
        self._listing = None
        self._sweep_due.set()
        self._stopping.wait(TROUBLED_SLEEP_S)
        return 0.0

    def _round(self) -> float:
        """Look at some of what may be complete, and take it over; return how long there is nothing to do.

        What an event named and what has become due comes first, then a part of the sweep: so the first file is on its
        way, however many lie there, and each is looked at once or twice, however many wait.
        """
        if not self._is_free():
            self._stopping.wait(PREDECESSOR_LOOK_S)
            return 0.0
        self._check_folder()
        if not self._is_loaded:
            self._standing.load(subfolders=self._folder.subfolders, folders=self._configured)
            self._complaints.load()
            self._is_loaded = True
        why = self._room.lacks()
        if why is not None:
            self._room.wanted(self.name, why)
            return ROOM_SLEEP_S
        if self._turn.must_be_waited_for():
            self._reached()
            return TURN_SLEEP_S
        if self._listing is None and self._sweep_due.is_set():
            self._begin_sweep()
        self._hinted = self._hinted or self._watch.take_hints()
        self._may_take = self._turn.number()
        number = min(CHUNK, self._may_take)
        hinted = {self._hinted.pop() for _ in range(min(number, len(self._hinted)))}
        self._take_complete(hinted, hinted)
        self._take_complete(self._sightings.due(self._clock.monotonic(), number), set())
        if self._listing is not None and self._sightings.room > 0 and self._may_take > 0:
            self._go_on_sweeping(self._listing)
        self.waiting_since = self._sightings.oldest()
        self._reached()
        if not self._without_room:
            self._room.enough(self.name)
        return 0.0 if self._complaints.settle() else max(self._idle_s(), 0.0 if number else TURN_SLEEP_S)

    def _reached(self) -> None:
        inbound = str(self._folder.inbound)
        self._troubles.over(self._subject, EventName.FOLDER_REACHABLE, folder=self.name, path=inbound)

    def _idle_s(self) -> float:
        goes_on = self._sightings.room > 0 if self._listing is not None else self._sweep_due.is_set()
        # What was named while others waited for their turn woke us then, and does not again.
        if self._hinted or self._watch.has_hints or goes_on:
            return 0.0
        longest_s = ROOM_SLEEP_S if self._turn.is_pressed else LONGEST_SLEEP_S
        next_due = self._sightings.next_due()
        if next_due is None:
            return longest_s
        return min(max(next_due - self._clock.monotonic(), 0.0), longest_s)

    def _check_folder(self) -> None:
        """Pass if the folder is there and its originals can be removed: what could only be copied is better left.

        Raises:
            OSError: it is not.
        """
        self._mount.check()
        self._folder.inbound.stat()
        if not os.access(self._folder.inbound, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it is read-only, so that nothing could be removed from it")

    def _begin_sweep(self) -> None:
        self._sweep_due.clear()
        self._listen()
        self._sightings.sweep_begins()
        self._complaints.sweep_begins()
        self._standing.sweep_begins()
        subfolders = self._folder.subfolders
        self._listing = list_files(self._folder.inbound, subfolders=subfolders, left_out=self._leave_out)

    def _go_on_sweeping(self, listing: Iterator[Path]) -> None:
        size = min(CHUNK, self._sightings.room, self._may_take)
        part = list(islice(listing, size))
        self._take_complete(part, set())
        if len(part) == size or self._stopping.is_set():
            return
        if self._sightings.has_turned_away:
            self._sightings.has_turned_away = False
            self._sweep_due.set()
        self._listing = None
        self._check_folder()
        self._complaints.sweep_ended()
        self._standing.sweep_ended()
        self._empty_folders &= self._found_empty
        self._found_empty = set()
        self._without_room &= self._sightings.paths()
        self._companions.keep_only(self._sightings.paths())

    def _leave_out(self, path: Path, why: LeftOut) -> None:
        """Say why nothing in a folder is taken."""
        if path in self._emptied:
            return
        if why is LeftOut.EMPTY and path not in self._empty_folders and not self._complaints.knows(path):
            if len(self._empty_folders) < MAX_EMPTY:
                self._empty_folders.add(path)
                self._found_empty.add(path)
            return  # somebody may just be copying it: it is told by the next sweep
        self._found_empty.add(path)
        reason = Reason.FILE_UNREADABLE if why is LeftOut.UNREADABLE else Reason.SPECIAL_FILE
        self._complaints.tell(path, reason, why.value)

    def _listen(self) -> None:
        """Start listening for events, again if the last listener died; without events the sweep does it all."""
        try:
            is_alive = self._watch.is_alive
            if not is_alive or self._watch.has_gaps:
                if not is_alive and self._watch.is_started:
                    self._tell_deaf("the listener ended, or its folder went")
                self._watch.stop()
                self._watch.start()
        except OSError as error:
            self._tell_deaf(error.strerror or str(error))
            return
        if self._watch.has_gaps:
            self._tell_deaf("some sub-folders cannot be watched")
        else:
            self._troubles.over(self._events_subject, EventName.WATCH_AVAILABLE, folder=self.name)

    def _tell_deaf(self, error: str) -> None:
        every_s = f"{self._folder.sweep_s:g} s"
        text = f"no file events for {self._folder.inbound}, its files are found every {every_s}: {error}"
        event = EventName.WATCH_UNAVAILABLE
        self._troubles.tell(self._events_subject, text, event, folder=self.name, error=error)

    def _take_complete(self, paths: Iterable[Path], hinted: set[Path]) -> None:
        batch: list[Document] = []
        try:
            for path in paths:
                if self._stopping.is_set():
                    break
                progress.step()
                document = self._consider(path, batch, hinted=path in hinted)
                if document is not None:
                    batch.append(document)
                if len(batch) >= BATCH:
                    self._commit(batch)
                    batch = []
        finally:
            self._turn.give_back()
            self._commit(batch)

    def _consider(self, path: Path, batch: Sequence[Document], *, hinted: bool) -> Document | None:
        """Take the file over if it is complete; return what is to be put on record."""
        now = self._clock.monotonic()
        try:
            status = status_below(self._folder.inbound, path.relative_to(self._folder.inbound))
            identity = FileIdentity.of(status)
            unfit = intake.unfit_for(str(path), status)
            if unfit is not None and (
                unfit.reason not in PASSING or self._complaints.has_told(path, {unfit.reason}, identity)
            ):
                self._sightings.forget(path)
                self._complaints.tell(path, unfit.reason, unfit.detail, identity)
                return None
            if self._standing.recognises(path, identity):
                self._sightings.forget(path)
                return None
            owner = self._companions.document_of(path)
            if owner is not None:
                return self._consider_owner(path, owner, batch, identity, unfit)
            seen = self._sightings.complete(path, now=now, at=self._clock.now().timestamp(), hinted=hinted)
        except BlockingIOError:
            self._sightings.wait(path, now=now)
            return None
        except OSError as error:
            self._sightings.forget(path)
            self._tell_of(path, error)
            return None
        if seen is None:
            if self._sightings.is_overdue(path, now):
                self._complaints.tell(path, Reason.FILE_CHANGED, "it has not been complete for a long time")
            return None
        if any(document.identity == seen for document in batch):
            self._sightings.forget(path)
            return None  # it was renamed since it was copied
        if unfit is None and self._is_own_record(path, seen):
            return None
        beside = self._beside(path, seen, now) if unfit is None else Beside({})
        if not isinstance(beside, Beside):
            self._sightings.wait(path, now=now, delay_s=beside, complete=seen)
            return None
        # What a file claims and does not hold (holes) takes no room in the spool either, nor does what is not taken:
        # its sender is to be told why, not to wait for room that there may never be.
        need_bytes = 0 if unfit is not None else min(status.st_size, status.st_blocks * BLOCK_BYTES)
        need_bytes += sum(companion.size_bytes for companion in beside.found.values())
        return self._take_if_room(path, seen, beside, need_bytes)

    def _beside(self, path: Path, seen: FileIdentity, now: float) -> Beside | float:
        return self._companions.look(path, seen, now, tell=self._tell_of_companion)

    def _tell_of_companion(self, path: Path, why: intake.NotTaken | None) -> None:
        """Say why a companion keeps its document waiting; None if it does not, or not any more."""
        if why is None:
            self._complaints.taken("/".join(path.relative_to(self._folder.inbound).parts))
        elif why.reason in UNFIT_BESIDE:
            self._complaints.tell(path, why.reason, why.detail)

    def _is_own_record(self, path: Path, seen: FileIdentity) -> bool:
        """Whether the file is a reason or receipt of ours, which is no document: a reason is removed."""
        try:
            found = records.recognise(self._folder.inbound, path, seen, self._known)
            if found is None:
                return False
            self._sightings.forget(path)
            what, document = found
            if what is records.OwnRecord.RECEIPT:
                detail = f"it is the receipt of document {document.id}"
                self._complaints.tell(path, Reason.OWN_RECORD, detail, seen)
            elif records.remove(self._folder.inbound, path, seen):
                name = "/".join(path.relative_to(self._folder.inbound).parts)
                self._log.info(EventName.OWN_RECORD_REMOVED, document=document.id, name=name)
        except BlockingIOError:
            self._sightings.wait(path, now=self._clock.monotonic())
        except OSError as error:
            self._tell_of(path, error)
        return True

    def _known(self, document_id: str) -> Document | None:
        """Return the document with an ID that anybody may have written."""
        return self._ledger.get(document_id) if is_document_id(document_id) else None

    def _consider_owner(
        self,
        path: Path,
        owner: Path,
        batch: Sequence[Document],
        identity: FileIdentity,
        unfit: intake.NotTaken | None,
    ) -> Document | None:
        """Look at the document whose companion stands at ``path``; say so if there has been none for long."""
        now = self._clock.monotonic()
        if unfit is not None:  # it may only be so for an instant
            if path in self._sightings.paths():
                self._complaints.tell(path, unfit.reason, unfit.detail, identity)
            self._sightings.wait(path, now=now)
            return None
        try:
            status_below(self._folder.inbound, owner.relative_to(self._folder.inbound))
        except FileNotFoundError:
            self._sightings.wait(path, now=now, delay_s=self._folder.incomplete_s)
            if self._sightings.is_overdue(path, now):
                self._complaints.tell(path, Reason.COMPANION_ALONE, f"there is no {owner.name!r} beside it", identity)
            return None
        self._sightings.forget(path)
        # What holds up its document is told, and taken back, when that is looked at.
        if not self._complaints.has_told(path, UNFIT_BESIDE):
            self._complaints.taken("/".join(path.relative_to(self._folder.inbound).parts))
        return self._consider(owner, batch, hinted=False)

    def _tell_of(self, path: Path, error: OSError) -> None:
        """Take note that a file has gone, or say that it cannot be read.

        Raises:
            OSError: the whole folder is away, which is no file's doing.
        """
        is_gone = error.errno in GONE or isinstance(error, FileNotFoundError)
        if is_gone:
            self._without_room.discard(path)
        if is_gone and not self._complaints.knows(path):
            return
        self._check_folder()
        if is_gone:
            self._complaints.taken("/".join(path.relative_to(self._folder.inbound).parts))
        else:
            self._complaints.tell(path, Reason.FILE_UNREADABLE, error.strerror or "it cannot be read")

    def _take_if_room(self, path: Path, seen: FileIdentity, beside: Beside, need_bytes: int) -> Document | None:
        """Take the file over; if there is no room for it, it waits, and smaller ones go past it.

        None goes past it if it is what is under way that leaves none.
        """
        if self._may_take == 0 or self._turn.keeps_out(path, need_bytes):
            self._sightings.wait(path, now=self._clock.monotonic(), delay_s=TURN_SLEEP_S, complete=seen)
            return None
        why = self._room.lacks(need_bytes)
        if why is None:
            try:
                document = self._take(path, seen, beside)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                why = error.strerror or str(error)
            else:
                self._without_room.discard(path)
                if document is not None:
                    self._may_take -= 1
                    self._under_way.add(document)
                return document
        self._without_room.add(path)
        self._room.wanted(self.name, why)
        self._sightings.wait(path, now=self._clock.monotonic(), delay_s=ROOM_SLEEP_S)
        return None

    def _check_room(self) -> None:
        why = self._room.lacks()
        if why is not None:
            raise OSError(errno.ENOSPC, why)

    def _take(self, path: Path, seen: FileIdentity, beside: Beside) -> Document | None:
        # What is put on record together stands together in the spool: fewer folders have to be flushed.
        document_id = self._newest = new_document_id(self._clock.now(), near=self._newest)
        copy = self._spool.original(document_id)
        taken: intake.Taken | intake.NotTaken | intake.Unsettled = intake.Unsettled(str(path))
        document = None
        try:
            self._spool.make(document_id)
            # First what goes with it: a whole copy that a crash leaves without a row has all that it needs.
            companions = self._companions.take(path, document_id, beside, check=self._check_room)
            if companions is not None:
                taken = intake.take(self._folder.inbound, path, copy, seen=seen, check=self._check_room)
                if isinstance(taken, intake.Taken) and not self._must_wait(path, beside, taken):
                    document = self._document(document_id, taken, companions)
        finally:
            if document is None:
                self._spool.remove(document_id)
        self._sightings.forget(path)
        if isinstance(taken, intake.NotTaken):
            self._complaints.tell(path, taken.reason, taken.detail, seen)
            return None
        if document is None:
            self._sightings.wait(path, now=self._clock.monotonic())
            return None
        self._companions.forget(path)
        return document

    def _must_wait(self, path: Path, beside: Beside, taken: intake.Taken) -> bool:
        return self._companions.must_wait(path, beside, taken.sha256, self._clock.monotonic())

    def _document(self, document_id: DocumentId, taken: intake.Taken, companions: tuple[Companion, ...]) -> Document:
        now = self._clock.now()
        has_sidecar = any(each.kind is CompanionKind.SIDECAR for each in companions)
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
            companions=companions,
            wishes=wishes_in(self._spool.companion(document_id, CompanionKind.SIDECAR)) if has_sidecar else None,
        )

    def _commit(self, batch: Sequence[Document]) -> None:
        """Put the documents on record, and only then remove their originals."""
        self._newest = None
        if not batch:
            return
        try:
            with progress.waiting("the ledger", 0.0):
                self._spool.make_durable([document.id for document in batch])
                self._recorder.received(batch)
        except Exception:
            # A failing disk can leave it open whether the rows are there: only what surely has none is of no use.
            for document in batch:
                self._under_way.drop(document.id)
            for document in batch:
                if self._ledger.get(document.id) is None:
                    self._spool.remove(document.id)
                else:
                    self._under_way.add(document)
            raise
        # If we crash from here on, the originals are recognised and removed by the next start.
        self._standing.remove(batch)
        for document in batch:
            self._unclaimed.taken_over(document.sha256)
            for name in (document.name, *(document.name + each.kind.suffix for each in document.companions)):
                self._complaints.taken(name)
            if "/" in document.name and len(self._emptied) < MAX_EMPTY:
                self._emptied |= {self._folder.inbound / parent for parent in PurePosixPath(document.name).parents}

    def _unreachable(self, error: str) -> None:
        path = str(self._folder.inbound)
        text = f"nothing can be taken over from {path}: {error}"
        event = EventName.FOLDER_UNREACHABLE
        self._troubles.tell(self._subject, text, event, folder=self.name, path=path, error=error)
