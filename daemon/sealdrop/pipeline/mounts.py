"""Whether the file system that a folder is on is still mounted.

The empty folder under a mount point looks like any other: what is written there is not on the share that people look
at, and what is on the share is not seen.
"""

import errno
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # proc(5)

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounted:
    """What is mounted somewhere: the file system's kind, and what it comes from; empty texts if unknown."""

    kind: str = ""
    source: str = ""


def mount_points() -> frozenset[Path]:
    """Return where something is mounted, or nothing if the system does not tell."""
    return _points(_table())


def mount_of(path: Path) -> Mounted:
    """Return the mount that ``path`` is on.

    Raises:
        OSError: the path cannot be followed.
    """
    mounted = _mounted(_table())
    real = Path(os.path.realpath(path))
    return next((mounted[at] for at in (real, *real.parents) if at in mounted), Mounted())


def _table() -> bytes:
    try:
        return MOUNTS.read_bytes()
    except OSError:
        return b""


@lru_cache(maxsize=1)  # it is asked for with every document, and hardly ever another one
def _points(table: bytes) -> frozenset[Path]:
    return frozenset(_mounted(table))


def _mounted(table: bytes) -> Mapping[Path, Mounted]:
    """Return what is mounted where: of several in one place the last, which is on top."""
    found = {}
    for line in table.splitlines():
        _, _, _, _, at, *rest = line.split(b" ")
        kind, source, *_ = rest[rest.index(b"-") + 1 :]
        found[Path(_text(at))] = Mounted(_text(kind), _text(source))
    return found


def _text(escaped: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), escaped))


class Mount:
    """The mount that a folder is on: the innermost one that has been seen there since the start.

    ``seen`` holds by folder what was seen by others that looked at the same one, and is told what is seen now: whoever
    begins while a share is away has not seen it himself.
    """

    def __init__(self, folder: Path, seen: MutableMapping[Path, Path]) -> None:
        self._folder = folder
        self._seen = seen
        # The mounts, and where the folder really is, with which it was well: with the same ones it still is.
        self._passed: tuple[frozenset[Path], str] = frozenset(), ""

    def check(self) -> None:
        """Pass if it is still mounted; a mount nearer to the folder takes its place.

        Residual risk: what is unmounted between this and the next system call is not noticed.

        Raises:
            OSError: it is not.
        """
        points, real = mount_points(), os.path.realpath(self._folder)
        if points is self._passed[0] and real == self._passed[1]:
            return
        known = self._seen.get(self._folder)
        if known is not None and points and known not in points:
            raise OSError(errno.ENODEV, "what was mounted there is not mounted any more", str(known))
        above = (at for at in points if Path(real).is_relative_to(at))
        nearest = max(above, key=lambda at: len(at.parts), default=None)
        if nearest is not None and (known is None or len(nearest.parts) > len(known.parts)):
            self._seen[self._folder] = nearest
        self._passed = points, real
