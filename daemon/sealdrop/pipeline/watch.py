"""What lies in an inbound folder, and since when it stands still.

Events only wake us: network shares send none and queues overflow, so the sweep is the authority. When is a file
complete?

1. Its last look is different from this one (inode, size or mtime): it is being written. Wait.
2. It was moved in, or closed after writing, the end of a PDF is in place, and nobody has it open for writing (where
   the kernel tells us: only a file's owner may ask): take it at once.
3. It has stood still for the settle time, the end of a PDF is in place and nobody is known to have it open for
   writing: take it. The same if its beginning can never become a PDF's.
4. Nobody is known to have it open and it has stood still for the longer, incomplete time: take it as it is;
   validation will say what is missing.
5. Somebody has it open for writing: the settle time is the longer one too, and without a PDF's end it is never taken.

Files that were there at the start obey the same rules.
"""

import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path

from watchdog.events import DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileMovedEvent, FileSystemEvent
from watchdog.events import FileSystemEventHandler as EventHandler
from watchdog.observers.inotify import InotifyObserver

from sealdrop.durable import is_temporary
from sealdrop.model import FileIdentity

IGNORED = ("~$*", "*.part", "*.tmp", "*.filepart", "*.crdownload", "*.swp")
EDGE_BYTES = 1024  # where the header and the end of a PDF are looked for (ISO 32000-1, annex H.3, notes 13 and 18)
MAX_SIGHTINGS = 10_000  # files remembered at a time in one folder; the others wait for their turn on disk
MAX_HINTS = 10_000
MAX_DEPTH = 64


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name is none of our business: hidden, or somebody's half-made file."""
    return name.startswith(".") or any(fnmatch(name.lower(), pattern) for pattern in IGNORED)


def list_files(inbound: Path, *, subfolders: bool) -> Iterator[Path]:
    """Yield what lies in ``inbound`` and is not ignored, deepest folders last, without following links.

    Whatever is not a folder is yielded, so that somebody can say why it is not taken. A folder that vanishes or
    cannot be read while we look is passed over; ``inbound`` itself must be readable.

    Raises:
        OSError: ``inbound`` cannot be listed.
    """
    waiting = [(inbound, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        try:
            entries = os.scandir(folder)
        except OSError:
            if folder == inbound:
                raise
            continue
        with entries:
            for entry in entries:
                if is_ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if subfolders and depth < MAX_DEPTH:
                        waiting.append((folder / entry.name, depth + 1))
                else:
                    yield folder / entry.name


def list_leftovers(inbound: Path, *, subfolders: bool) -> Iterator[Path]:
    """Yield the files below ``inbound`` that were being removed when the service was cut off."""
    folders = [inbound]
    if subfolders:
        folders += [Path(folder) for folder, _, _ in os.walk(inbound)][1:]
    for folder in folders:
        yield from (path for path in folder.iterdir() if is_temporary(path.name))


def identity_of(status: os.stat_result) -> FileIdentity:
    """Return the identity of the file that ``status`` describes."""
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Writer(Enum):
    """Whether somebody has a file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file showed."""

    size_bytes: int
    has_end: bool
    can_be_pdf: bool
    writer: Writer


class Verdict(Enum):
    """Whether a file may be taken over now."""

    TAKE = "take"
    WAIT = "wait"


def look_at(path: Path) -> Look:
    """Open the file at ``path`` for an instant and return what it shows.

    Raises:
        OSError: it cannot be opened or read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        beginning = os.pread(fd, EDGE_BYTES, 0)
        end = os.pread(fd, EDGE_BYTES, max(0, size - EDGE_BYTES))
        # Zeros may be room that a copying program set aside before the content arrives.
        undecided = not beginning.strip(b"\0") or len(beginning) < len(b"%PDF-")
        return Look(
            size_bytes=size,
            has_end=b"%%EOF" in end,
            can_be_pdf=undecided or b"%PDF-" in beginning,
            writer=_writer(fd),
        )
    finally:
        os.close(fd)


def _writer(fd: int) -> Writer:
    """Ask the kernel for a read lease: it is refused with EAGAIN while somebody may write (fcntl(2))."""
    try:
        # Whoever opens the file in the instant of the lease has the kernel signal us, by default with SIGIO, which
        # would end the process; SIGURG is ignored unless someone asks for it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Writer.SOME
    except OSError:
        return Writer.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def judge(look: Look, *, still_s: float, hinted: bool, settle_s: float, incomplete_s: float) -> Verdict:
    """Return whether a file that has stood still for ``still_s`` seconds is complete: rules 2 to 5 above."""
    if look.writer is Writer.SOME:
        return Verdict.TAKE if look.has_end and still_s >= incomplete_s else Verdict.WAIT
    if look.has_end and (hinted or still_s >= settle_s):
        return Verdict.TAKE
    if not look.can_be_pdf and still_s >= settle_s:
        return Verdict.TAKE
    return Verdict.TAKE if still_s >= incomplete_s else Verdict.WAIT


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that waits: how it looked, since when (monotonic seconds), whether an event said that it is done."""

    identity: FileIdentity
    since: float
    hinted: bool
    look_again: float


class Sightings:
    """The files of one inbound folder that are not complete yet. Used by one thread."""

    def __init__(self, *, settle_s: float, incomplete_s: float) -> None:
        self._settle_s = settle_s
        self._incomplete_s = incomplete_s
        self._seen: dict[Path, Sighting] = {}

    def is_complete(self, path: Path, *, now: float, hinted: bool) -> bool:
        """Look at the file and return whether it may be taken over at ``now`` (monotonic seconds).

        Raises:
            OSError: the file cannot be read.
        """
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return True  # nothing to wait for: intake says why it is not taken
        identity = identity_of(status)
        known = self._seen.get(path)
        if known is None or known.identity != identity:
            if known is None and len(self._seen) >= MAX_SIGHTINGS:
                return False
            known = Sighting(identity, now, hinted, now)
        known = replace(known, hinted=known.hinted or hinted)
        look = look_at(path)
        still_s = now - known.since
        verdict = judge(
            look, still_s=still_s, hinted=known.hinted, settle_s=self._settle_s, incomplete_s=self._incomplete_s
        )
        if verdict is Verdict.TAKE:
            self.forget(path)
            return True
        due_s = self._settle_s if still_s < self._settle_s else self._incomplete_s
        # At least a tick, so that a writer who never closes costs a look now and then and no more.
        self._seen[path] = replace(known, look_again=max(known.since + due_s, now + self._settle_s / 4))
        return False

    def forget(self, path: Path) -> None:
        """Drop what is known of ``path``."""
        self._seen.pop(path, None)

    def paths(self) -> frozenset[Path]:
        """Return all that wait."""
        return frozenset(self._seen)

    def due(self, now: float) -> list[Path]:
        """Return the files to look at again by ``now``."""
        return [path for path, sighting in self._seen.items() if sighting.look_again <= now]

    def next_due(self) -> float | None:
        """Return when the next file is to be looked at again (monotonic seconds), or None."""
        return min((sighting.look_again for sighting in self._seen.values()), default=None)


class Watch(EventHandler):
    """Wakes somebody when a file is moved into a folder or closed after writing; holds the paths as hints.

    Without events (a network share, no inotify watches left) nothing is lost: the sweep finds the files.
    """

    def __init__(self, inbound: Path, *, subfolders: bool, wake: Callable[[], None]) -> None:
        self._inbound = inbound
        self._subfolders = subfolders
        self._wake = wake
        self._lock = threading.Lock()
        self._hints: set[Path] = set()
        self._observer: InotifyObserver | None = None

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the folder cannot be watched: it is gone, or the system's watches are used up.
        """
        observer = InotifyObserver(generate_full_events=True)
        observer.schedule(
            self,
            str(self._inbound),
            recursive=self._subfolders,
            event_filter=[FileClosedEvent, FileMovedEvent, DirMovedEvent, DirCreatedEvent],
        )
        observer.start()
        self._observer = observer

    def stop(self) -> None:
        """Stop listening."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=5)
            self._observer = None

    @property
    def is_alive(self) -> bool:
        """Whether events can still arrive."""
        return self._observer is not None and self._observer.is_alive()

    def take_hints(self) -> set[Path]:
        """Return the paths that events named since the last call."""
        with self._lock:
            hints, self._hints = self._hints, set()
        return hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note which file an event is about, and wake the folder's worker. Called by watchdog's thread."""
        named = event.dest_path if isinstance(event, FileMovedEvent | DirMovedEvent) else event.src_path
        path = Path(os.fsdecode(named))
        if not named or any(is_ignored(part) for part in path.relative_to(self._inbound).parts):
            return
        with self._lock:
            if not event.is_directory and len(self._hints) < MAX_HINTS:
                self._hints.add(path)
        self._wake()
