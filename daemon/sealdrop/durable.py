"""Files that are there after a power cut, or not at all.

The sequence for a new file is: create under a temporary name in the target folder, write, fsync the file, give it
its final name, fsync the folder. A crash before the last step leaves at most a temporary file, named so that
`is_temporary` knows it; a crash before the folder's fsync may leave either name, never half a file.

Residual risk: a disk that acknowledges a flush it did not make, and a folder on a network file system whose server
does so.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from sealdrop.model import Sha256

CHUNK_BYTES = 1 << 20
TEMPORARY_PREFIX = ".sealdrop-"
TEMPORARY_SUFFIX = ".tmp"

# What link() answers on file systems that have no hard links (FAT, some network shares).
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def is_temporary(name: str) -> bool:
    """Return whether ``name`` (a file name, no path) is one that this module makes."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create ``folder`` and its missing parents, each durable in its parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode=mode)
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
    fsync_folder(folder.parent)


def make_subfolder(root: Path, relative: PurePath) -> Path:
    """Create the folders of ``relative`` below ``root``, durably, each shared with the same people as its parent."""
    folder = root
    for part in relative.parts:
        parent, folder = folder, folder / part
        try:
            folder.mkdir()
        except FileExistsError:
            if folder.is_symlink() or not folder.is_dir():
                raise
        else:
            _share(folder, parent, mode=stat.S_IMODE(parent.stat().st_mode))
            fsync_folder(parent)
    return folder


def _share(what: Path | int, folder: Path, *, mode: int) -> None:
    """Give ``what`` the group of ``folder`` and ``mode``; where the file system knows no such thing, leave it."""
    try:
        os.chown(what, -1, folder.stat().st_gid)
    except OSError:
        mode &= 0o707  # our own group may be anyone's: better unreadable than read by strangers
    with suppress(OSError):
        os.chmod(what, mode)


@contextmanager
def temporary_file(folder: Path, *, mode: int, tag: str = "") -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new file in ``folder`` and its path; remove it at the end if it still has that name.

    With a ``tag`` the name follows from it, and what a crash left under that name is removed first: only one
    writer may use a tag at a time.
    """
    path = folder / f"{TEMPORARY_PREFIX}{tag or secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    if tag:
        path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def flush(file: BinaryIO) -> None:
    """Make what was written to ``file`` durable."""
    file.flush()
    os.fsync(file.fileno())


def copy_hashed(source: BinaryIO, target: BinaryIO) -> tuple[int, Sha256]:
    """Copy the rest of ``source`` to ``target`` in constant memory; return the bytes copied and their SHA-256."""
    digest = hashlib.sha256()
    size = 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
        size += len(chunk)
    return size, Sha256(digest.hexdigest())


def hash_file(path: Path) -> tuple[int, Sha256]:
    """Return size and SHA-256 of the file at ``path``, in constant memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), Sha256(digest.hexdigest())


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make ``path`` hold ``content``, durably; a reader sees the old content or the new, never a mixture."""
    with temporary_file(path.parent, mode=mode) as (file, temporary):
        file.write(content)
        flush(file)
        temporary.replace(path)
    fsync_folder(path.parent)


def publish(temporary: Path, final: Path) -> None:
    """Give the flushed file ``temporary`` the name ``final`` in the same folder, without ever overwriting.

    The caller fsyncs the folder. Where the file system has no hard links, an empty file holds the name for an
    instant before the content replaces it.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
    """
    try:
        os.link(temporary, final, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        temporary.replace(final)
    else:
        temporary.unlink()


def publish_new(content: Path | bytes, final: Path, *, tag: str) -> None:
    """Write ``content`` (a file is copied, in constant memory) under the new name ``final``, durably.

    Never overwrites. ``tag`` names the temporary file, see `temporary_file`. The file is for those who share the folder: it gets the folder's group, read and write as the
    folder grants them, and nothing for others.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
    """
    with temporary_file(final.parent, mode=0o600, tag=tag) as (file, temporary):
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                copy_hashed(source, file)
        _share(file.fileno(), final.parent, mode=final.parent.stat().st_mode & 0o060 | 0o600)
        flush(file)
        publish(temporary, final)
    fsync_folder(final.parent)
