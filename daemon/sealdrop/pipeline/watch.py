"""What lies in an inbound folder, and since when it stands still.

Events only wake us: network shares send none and queues overflow, so the sweep is the authority. When is a file
complete?

1. Its last look is different from this one (inode, size or mtime): it is being written. Wait.
2. It was moved in, or closed after writing, a PDF's beginning and end are in place, and nobody has it open for writing
   (where the kernel tells us, see writers.py): take it at once.
3. It has stood still for the settle time, a PDF's beginning and end are in place and nobody is known to have it open
   for writing: take it. The same if its beginning can never become a PDF's.
4. Nobody is known to have it open and it has stood still for the longer, incomplete time: take it as it is;
   validation will say what is missing.
5. Somebody has it open for writing: the settle time is the longer one too, and without a PDF's end it is never taken.
6. Somebody holds a lease on it (a file server, for one of its clients): wait until it is given back.

What is taken is the state of the file that was looked at: intake is told its identity, and takes no other.
Files that were there at the start obey the same rules.
"""

import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path

from watchdog.events import DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileMovedEvent, FileSystemEvent
from watchdog.events import FileSystemEventHandler as EventHandler
from watchdog.observers.inotify import InotifyObserver

from sealdrop.durable import is_temporary
from sealdrop.model import FileIdentity
from sealdrop.pipeline.writers import Writer, writer_of

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
    for path, is_folder in _walk(inbound, subfolders=subfolders):
        if not is_folder and not is_ignored(path.name):
            yield path


def list_leftovers(inbound: Path, *, subfolders: bool) -> Iterator[Path]:
    """Yield what was being removed below ``inbound`` when the service was cut off.

    Raises:
        OSError: ``inbound`` cannot be listed.
    """
    return (path for path, _ in _walk(inbound, subfolders=subfolders) if is_temporary(path.name))


def _walk(inbound: Path, *, subfolders: bool) -> Iterator[tuple[Path, bool]]:
    """Yield every entry of every folder that is not ignored, and whether it is a folder."""
    waiting = deque([(inbound, 0)])
    while waiting:
        folder, depth = waiting.popleft()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    yield folder / entry.name, is_folder
                    if is_folder and subfolders and depth < MAX_DEPTH and not is_ignored(entry.name):
                        waiting.append((folder / entry.name, depth + 1))
        except OSError:
            if folder == inbound:
                raise


class Beginning(Enum):
    """What the beginning of a file is."""

    PDF = "pdf"
    UNDECIDED = "undecided"
    SOMETHING_ELSE = "something else"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file showed."""

    identity: FileIdentity
    beginning: Beginning
    has_end: bool
    writer: Writer


class Verdict(Enum):
    """Whether a file may be taken over now."""

    TAKE = "take"
    WAIT = "wait"


def look_at(path: Path) -> Look:
    """Open the file at ``path`` for an instant and return what it shows.

    Raises:
        BlockingIOError: somebody holds a lease on it.
        OSError: it cannot be opened or read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # The identity first: what is written after it makes it another one.
        identity = FileIdentity.of(os.fstat(fd))
        beginning = _beginning(os.pread(fd, EDGE_BYTES, 0))
        end = os.pread(fd, EDGE_BYTES, max(0, identity.size_bytes - EDGE_BYTES))
        return Look(identity, beginning, b"%%EOF" in end, writer_of(fd))
    finally:
        os.close(fd)


def _beginning(content: bytes) -> Beginning:
    if b"%PDF-" in content:
        return Beginning.PDF
    # Zeros may be room that a copying program set aside before the content arrives.
    if not content.strip(b"\0") or b"%PDF-".startswith(content):
        return Beginning.UNDECIDED
    return Beginning.SOMETHING_ELSE


def judge(look: Look, *, still_s: float, hinted: bool, settle_s: float, incomplete_s: float) -> Verdict:
    """Return whether a file that has stood still for ``still_s`` seconds is complete: rules 2 to 5 above."""
    if look.writer is Writer.SOME:
        ready = look.has_end and look.beginning is not Beginning.UNDECIDED and still_s >= incomplete_s
    elif look.beginning is Beginning.SOMETHING_ELSE:
        ready = still_s >= settle_s
    elif look.beginning is Beginning.PDF and look.has_end:
        ready = hinted or still_s >= settle_s
    else:
        ready = still_s >= incomplete_s
    return Verdict.TAKE if ready else Verdict.WAIT


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that waits: how it looked, since when (monotonic seconds), whether an event said that it is done.

    ``identity`` is None while somebody holds a lease on it.
    """

    identity: FileIdentity | None
    since: float
    hinted: bool
    look_again: float


class Sightings:
    """The files of one inbound folder that are not complete yet. Used by one thread."""

    def __init__(self, *, settle_s: float, incomplete_s: float) -> None:
        self._settle_s = settle_s
        self._incomplete_s = incomplete_s
        self._seen: dict[Path, Sighting] = {}

    def complete(self, path: Path, *, now: float, hinted: bool) -> FileIdentity | None:
        """Look at the file; return its identity if it may be taken over at ``now`` (monotonic seconds), else None.

        Raises:
            OSError: the file cannot be read.
        """
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return FileIdentity.of(status)  # nothing to wait for: intake says why it is not taken
        try:
            look = look_at(path)
        except BlockingIOError:
            self._wait(path, Sighting(None, now, hinted=False, look_again=now + self._settle_s))
            return None
        known = self._seen.get(path)
        if known is None or known.identity != look.identity:
            known = Sighting(look.identity, now, hinted=False, look_again=now)
        hinted = known.hinted or hinted
        still_s = now - known.since
        verdict = judge(look, still_s=still_s, hinted=hinted, settle_s=self._settle_s, incomplete_s=self._incomplete_s)
        if verdict is Verdict.TAKE:
            self.forget(path)
            return look.identity
        self._wait(
            path, Sighting(look.identity, known.since, hinted=hinted, look_again=self._look_again(now, known.since))
        )
        return None

    def _look_again(self, now: float, since: float) -> float:
        for due_s in (self._settle_s, self._incomplete_s):
            if now - since < due_s:
                # At least a tick away, whatever rounding makes of the sum.
                return max(since + due_s, now + self._settle_s / 10)
        return now + self._incomplete_s  # a writer who never closes costs a look now and then, and no more

    def _wait(self, path: Path, sighting: Sighting) -> None:
        if path in self._seen or len(self._seen) < MAX_SIGHTINGS:
            self._seen[path] = sighting

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

    A new folder may hold files from before anybody listened to it: ``sweep`` is called, which asks for a look at
    everything. Without events (a network share, no inotify watches left) nothing is lost: the sweep finds the files.
    """

    def __init__(self, inbound: Path, *, subfolders: bool, wake: Callable[[], None], sweep: Callable[[], None]) -> None:
        self._inbound = inbound
        self._subfolders = subfolders
        self._wake = wake
        self._sweep = sweep
        self._lock = threading.Lock()
        self._hints: set[Path] = set()
        self._observer: InotifyObserver | None = None
        self._watched = (0, 0)

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the folder cannot be watched: it is gone, or the system's watches are used up.
        """
        watched = self._folder_identity()
        # Of a folder that was just made the library hears twice, from its parent and from its own look, and says so.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        observer = InotifyObserver(generate_full_events=True)
        observer.schedule(
            self,
            str(self._inbound),
            recursive=self._subfolders,
            event_filter=[FileClosedEvent, FileMovedEvent, DirMovedEvent, DirCreatedEvent],
        )
        observer.start()
        self._observer, self._watched = observer, watched

    def stop(self) -> None:
        """Stop listening."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=5)
            self._observer = None

    @property
    def is_alive(self) -> bool:
        """Whether events can still arrive: somebody listens, to the folder that is there now."""
        try:
            watched = self._folder_identity()
        except OSError:
            return False  # gone, or not mounted
        return self._observer is not None and self._observer.is_alive() and watched == self._watched

    def _folder_identity(self) -> tuple[int, int]:
        status = self._inbound.stat()
        return status.st_dev, status.st_ino

    def take_hints(self) -> set[Path]:
        """Return the paths that events named since the last call."""
        with self._lock:
            hints, self._hints = self._hints, set()
        return hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note which file an event is about, and wake the folder's worker. Called by watchdog's thread."""
        named = event.dest_path if isinstance(event, FileMovedEvent | DirMovedEvent) else event.src_path
        path = Path(os.fsdecode(named))
        if not path.is_relative_to(self._inbound):  # moved out
            return
        if any(is_ignored(part) for part in path.relative_to(self._inbound).parts):
            return
        if event.is_directory:
            self._sweep()
            return
        with self._lock:
            if len(self._hints) < MAX_HINTS:
                self._hints.add(path)
        self._wake()
