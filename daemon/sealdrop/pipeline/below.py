"""Opening what lies below a folder, without following a link anywhere on the way and without waiting for anybody.

Who can write into an inbound folder can put a link, a named pipe or another folder in the place of what we have just
listed. So each folder on the way is opened relative to the one above it, with O_NOFOLLOW, and each file with
O_NONBLOCK: a named pipe does not wait for its writer, and a file on which somebody holds a lease is refused at once.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePath

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def folder_below(root: Path, relative: PurePath) -> Iterator[int]:
    """Yield a descriptor of the folder ``relative`` below ``root``, which itself may be a link.

    Raises:
        FileNotFoundError: it is gone, or ``relative`` leads out of ``root``.
        OSError: it cannot be opened, or a link or a file has its name (ENOTDIR or ELOOP).
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts:
            if part == "..":
                raise FileNotFoundError(f"{relative} leaves its folder")
            parent, fd = fd, os.open(part, _FOLDER_FLAGS, dir_fd=fd)
            os.close(parent)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def reached(root: Path, relative: PurePath) -> Iterator[tuple[Path | str, int | None]]:
    """Yield what to call ``relative`` below ``root`` by, and the descriptor of the folder that this is said in, if any.

    What lies right below the root has no folder on its way, and its whole path is as good as a descriptor.

    Raises:
        OSError: as `folder_below`.
    """
    if len(relative.parts) == 1 and relative.name != "..":
        yield root / relative, None
        return
    with folder_below(root, relative.parent) as folder:
        yield relative.name, folder


def status_below(root: Path, relative: PurePath) -> os.stat_result:
    """Return what lstat says of ``relative`` below ``root``.

    Raises:
        OSError: it is gone, or cannot be reached without following a link.
    """
    with reached(root, relative) as (name, folder):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def open_file(name: str | Path, *, folder: int | None = None) -> int:
    """Return a descriptor of the file, for reading; the caller makes sure that it is a regular one.

    Raises:
        BlockingIOError: somebody holds a lease on it.
        OSError: it cannot be opened, or is a link.
    """
    return os.open(name, _FILE_FLAGS, dir_fd=folder)


def open_regular(name: str | Path, *, folder: int | None = None) -> BufferedReader:
    """Return the regular file, open for reading.

    Raises:
        FileNotFoundError: something else than a regular file has its name by now.
        BlockingIOError: somebody holds a lease on it.
        OSError: it cannot be opened, or is a link.
    """
    fd = open_file(name, folder=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(f"{name} is no file any more")
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise
