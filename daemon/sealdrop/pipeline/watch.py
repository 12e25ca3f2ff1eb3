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

For how long has it stood still? Since we saw it first. For a PDF with its end in place, on a disk of our machine's own,
since its inode changed, too (st_ctime, which nobody can set, unlike mtime): so what was there long before the start is
not waited for. A share's times are another machine's; and a clock that is set forward makes no half file whole.

What is taken is the state of the file that was looked at: intake is told its identity, and takes no other.
"""

import errno
import heapq
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path, PurePath

from sealdrop.durable import is_temporary
from sealdrop.model import FileIdentity
from sealdrop.pipeline.below import folder_below, open_file, reached
from sealdrop.pipeline.writers import Writer, file_system, writer_of

IGNORED = ("~$*", "*.part", "*.tmp", "*.filepart", "*.crdownload", "*.swp")
EDGE_BYTES = 1024  # where the header and the end of a PDF are looked for (ISO 32000-1, annex H.3, notes 13 and 18)
MAX_SIGHTINGS = 10_000  # files remembered at a time in one folder; the others wait for their turn on disk
MAX_DEPTH = 64
# What opening a file or folder answers that has just gone, or in whose place or on whose way a link or a file stands.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
# File systems whose times nobody but this machine's kernel writes.
OWN_CLOCK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs"})
OVERDUE = 10  # times the incomplete time after which somebody is told of a file that is still not complete


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name is none of our business: hidden, or somebody's half-made file."""
    return name.startswith(".") or any(fnmatch(name.lower(), pattern) for pattern in IGNORED)


class LeftOut(Enum):
    """Why nothing in a folder is taken; ``EMPTY`` is told only of one with the name of a PDF."""

    NOT_ENTERED = "it is a folder, and sub-folders are not looked into here"
    TOO_DEEP = f"it lies more than {MAX_DEPTH} folders deep"
    UNREADABLE = "it is a folder that the service may not read"
    EMPTY = "it is an empty folder with the name of a PDF"


def list_files(
    inbound: Path, *, subfolders: bool, left_out: Callable[[Path, LeftOut], None] = lambda _, __: None
) -> Iterator[Path]:
    """Yield what lies in ``inbound`` and is not ignored, deepest folders last, without following links.

    Whatever is not a folder is yielded, so that somebody can say why it is not taken. ``left_out`` is called with
    each folder whose files are not. A folder that vanishes while we look is passed over; ``inbound`` itself must be
    readable.

    Raises:
        OSError: ``inbound`` cannot be listed.
    """
    for folder, name, is_folder in _walk(inbound, subfolders=subfolders, left_out=left_out):
        if not is_folder and not is_ignored(name):
            yield folder / name


def list_leftovers(inbound: Path, *, subfolders: bool) -> Iterator[Path]:
    """Yield what was being removed below ``inbound`` when the service was cut off.

    Raises:
        OSError: ``inbound`` cannot be listed.
    """
    walk = _walk(inbound, subfolders=subfolders, left_out=lambda _, __: None)
    return (folder / name for folder, name, _ in walk if is_temporary(name))


def _walk(
    inbound: Path, *, subfolders: bool, left_out: Callable[[Path, LeftOut], None]
) -> Iterator[tuple[Path, str, bool]]:
    """Yield every entry of every folder that is not ignored: its folder, its name, and whether it is one itself."""
    waiting = deque([PurePath()])
    while waiting:
        relative = waiting.popleft()
        folder = inbound / relative
        is_empty = True
        try:
            with folder_below(inbound, relative) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    is_empty = False
                    is_folder = entry.is_dir(follow_symlinks=False)
                    yield folder, entry.name, is_folder
                    if not is_folder or is_ignored(entry.name):
                        continue
                    if not subfolders:
                        left_out(folder / entry.name, LeftOut.NOT_ENTERED)
                    elif len(relative.parts) >= MAX_DEPTH:
                        left_out(folder / entry.name, LeftOut.TOO_DEEP)
                    else:
                        waiting.append(relative / entry.name)
        except OSError as error:
            if folder == inbound:
                raise
            if error.errno not in GONE:
                left_out(folder, LeftOut.UNREADABLE)
        else:
            if is_empty and folder != inbound and folder.suffix.lower() == ".pdf":
                left_out(folder, LeftOut.EMPTY)


class Beginning(Enum):
    """What the beginning of a file is."""

    PDF = "pdf"
    UNDECIDED = "undecided"
    SOMETHING_ELSE = "something else"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file showed. ``changed_at`` is when its inode last changed, in seconds since the epoch."""

    identity: FileIdentity
    changed_at: float
    beginning: Beginning
    has_end: bool
    writer: Writer


class Verdict(Enum):
    """Whether a file may be taken over now."""

    TAKE = "take"
    WAIT = "wait"


def look_at(name: str | Path, *, folder: int | None = None) -> Look:
    """Open the file ``name`` in ``folder`` for an instant and return what it shows.

    Raises:
        BlockingIOError: somebody holds a lease on it.
        OSError: it cannot be opened or read.
    """
    fd = open_file(name, folder=folder)
    try:
        # The identity first: what is written after it makes it another one.
        status = os.fstat(fd)
        identity = FileIdentity.of(status)
        beginning = _beginning(os.pread(fd, EDGE_BYTES, 0))
        end = os.pread(fd, EDGE_BYTES, max(0, identity.size_bytes - EDGE_BYTES))
        return Look(identity, status.st_ctime, beginning, b"%%EOF" in end, writer_of(fd))
    finally:
        os.close(fd)


def _beginning(content: bytes) -> Beginning:
    if b"%PDF-" in content:
        return Beginning.PDF
    # Zeros may be room that a copying program set aside before the content arrives.
    if not content.strip(b"\0") or b"%PDF-".startswith(content):
        return Beginning.UNDECIDED
    return Beginning.SOMETHING_ELSE


def judge(
    look: Look, *, still_s: float, unchanged_s: float, hinted: bool, settle_s: float, incomplete_s: float
) -> Verdict:
    """Return whether a file is complete: rules 2 to 5 above.

    It has stood still for ``still_s`` seconds since we saw it, and for ``unchanged_s`` by its inode.
    """
    if look.writer is Writer.SOME:
        ready = look.has_end and look.beginning is not Beginning.UNDECIDED and still_s >= incomplete_s
    elif look.beginning is Beginning.SOMETHING_ELSE:
        ready = still_s >= settle_s
    elif look.beginning is Beginning.PDF and look.has_end:
        ready = hinted or max(still_s, unchanged_s) >= settle_s
    else:
        ready = still_s >= incomplete_s
    return Verdict.TAKE if ready else Verdict.WAIT


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that waits: how it looked, since when (monotonic seconds), whether an event said that it is done.

    ``identity`` is None while somebody holds a lease on it. ``first`` is when it was seen for the first time, in
    whatever state.
    """

    identity: FileIdentity | None
    first: float
    since: float
    hinted: bool
    look_again: float


class Sightings:
    """The files of one inbound folder that are not complete yet. Used by one thread.

    At most `MAX_SIGHTINGS` are remembered. Half of that is for newcomers, within the settle time after they were seen
    first: while there is no `room`, nobody need look for more, and each of them soon is taken or makes room. The other
    half is for those that take longer. Of these the ones that find no room are forgotten: they are newcomers again
    when they are found again, so that no number of files that never become complete can keep the others out.
    """

    def __init__(self, inbound: Path, *, settle_s: float, incomplete_s: float) -> None:
        self._inbound = inbound
        self._settle_s = settle_s
        self._incomplete_s = incomplete_s
        self._seen: dict[Path, Sighting] = {}
        self._slow: set[Path] = set()
        # When to look at what, soonest first; an entry counts only if it is the one in `_queued`.
        self._order: list[tuple[float, Path]] = []
        self._queued: dict[Path, float] = {}
        self.has_turned_away = False  # whether a newcomer found no room: only another sweep can find it again
        self._own_clock: dict[int, bool] = {}  # by device, whether its times are this machine's own

    def sweep_begins(self) -> None:
        """Forget what may be otherwise since the last sweep: what is mounted."""
        self._own_clock.clear()

    def complete(self, path: Path, *, now: float, at: float, hinted: bool) -> FileIdentity | None:
        """Look at the file; return its identity if it may be taken over now, else None.

        Args:
            path: the file.
            now: monotonic seconds.
            at: the same moment by the system's clock, in seconds since the epoch.
            hinted: whether an event said that it is done.

        Raises:
            OSError: the file cannot be read, or not without following a link.
        """
        with reached(self._inbound, path.relative_to(self._inbound)) as (name, folder):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            identity = FileIdentity.of(status)
            if not stat.S_ISREG(status.st_mode):
                return identity  # nothing to wait for: intake says why it is not taken
            known = self._known(path, identity, now, hinted=hinted)
            unchanged_s = self._unchanged_s(identity.device, status.st_ctime, at)
            # Before that, whatever is in it has to wait.
            if known.hinted or max(now - known.since, unchanged_s) >= self._settle_s:
                try:
                    look = look_at(name, folder=folder)
                except BlockingIOError:
                    self.wait(path, now=now)
                    return None
                known = self._known(path, look.identity, now, hinted=hinted)
                verdict = judge(
                    look,
                    still_s=now - known.since,
                    unchanged_s=self._unchanged_s(look.identity.device, look.changed_at, at),
                    hinted=known.hinted,
                    settle_s=self._settle_s,
                    incomplete_s=self._incomplete_s,
                )
                if verdict is Verdict.TAKE:
                    return look.identity
        self._keep(path, replace(known, look_again=self._look_again(now, known.since)), now)
        return None

    def _known(self, path: Path, identity: FileIdentity, now: float, *, hinted: bool) -> Sighting:
        """Return what is known of a file that looks like this now."""
        known = self._seen.get(path) or Sighting(identity, now, now, hinted=False, look_again=now)
        if known.identity != identity:
            known = Sighting(identity, known.first, now, hinted=False, look_again=now)
        return replace(known, hinted=True) if hinted and not known.hinted else known

    def _unchanged_s(self, device: int, changed_at: float, at: float) -> float:
        """Return for how long a file has not changed, by its file system's account; 0 if that says nothing."""
        if device not in self._own_clock:
            self._own_clock[device] = file_system(device) in OWN_CLOCK
        return at - changed_at if self._own_clock[device] else 0.0

    def wait(
        self, path: Path, *, now: float, delay_s: float | None = None, complete: FileIdentity | None = None
    ) -> None:
        """Take note that the file cannot be taken now, whatever it looks like; it is looked at again in a while.

        If it was found complete as ``complete``, it is so then, unless it has changed.
        """
        known = self._seen.get(path) or Sighting(complete, now, now, hinted=False, look_again=now)
        if complete is not None and known.identity == complete:
            known = replace(known, hinted=True)
        self._keep(path, replace(known, look_again=now + (delay_s or self._settle_s)), now)

    def _look_again(self, now: float, since: float) -> float:
        for due_s in (self._settle_s, self._incomplete_s):
            if now - since < due_s:
                # At least a tick away, whatever rounding makes of the sum.
                return max(since + due_s, now + self._settle_s / 10)
        return now + self._incomplete_s  # a writer who never closes costs a look now and then, and no more

    def _keep(self, path: Path, sighting: Sighting, now: float) -> None:
        is_slow = now - sighting.first >= self._settle_s
        if is_slow and path not in self._slow:
            if len(self._slow) >= MAX_SIGHTINGS // 2:
                self.forget(path)
                return
            self._slow.add(path)
        if not is_slow and path not in self._seen and self.room <= 0:
            self.has_turned_away = True
            return
        self._seen[path] = sighting
        self._queue(path, sighting.look_again)

    def _queue(self, path: Path, at: float) -> None:
        queued = self._queued.get(path)
        if queued is None or at < queued:
            self._queued[path] = at
            heapq.heappush(self._order, (at, path))

    @property
    def room(self) -> int:
        """How many newcomers there is room for."""
        return MAX_SIGHTINGS - MAX_SIGHTINGS // 2 - (len(self._seen) - len(self._slow))

    def forget(self, path: Path) -> None:
        """Drop what is known of ``path``: it was taken, or is gone."""
        self._seen.pop(path, None)
        self._slow.discard(path)

    def is_overdue(self, path: Path, now: float) -> bool:
        """Return whether a file has been waited for so long that somebody should be told."""
        known = self._seen.get(path)
        return known is not None and now - known.first >= self._incomplete_s * OVERDUE

    def oldest(self) -> float | None:
        """Return when the file that has waited longest was first seen (monotonic seconds), None if none waits."""
        return min((sighting.first for sighting in self._seen.values()), default=None)

    def paths(self) -> frozenset[Path]:
        """Return all that wait."""
        return frozenset(self._seen)

    def due(self, now: float, limit: int = MAX_SIGHTINGS) -> list[Path]:
        """Return up to ``limit`` files to look at again by ``now``; each is returned once, until it was looked at."""
        due: list[Path] = []
        while len(due) < limit and (at := self.next_due()) is not None and at <= now:
            _, path = heapq.heappop(self._order)
            del self._queued[path]
            due.append(path)
        return due

    def next_due(self) -> float | None:
        """Return when the next file is to be looked at again (monotonic seconds), or None."""
        while self._order:
            at, path = self._order[0]
            known = self._seen.get(path)
            if self._queued.get(path) == at and known is not None and known.look_again <= at:
                return at
            heapq.heappop(self._order)
            if self._queued.get(path) == at:
                del self._queued[path]
                if known is not None:  # a later look was agreed since
                    self._queue(path, known.look_again)
        return None
