"""Files that are there after a power cut, or not at all.

The sequence for a new file is: create under a temporary name in the target folder, write, fsync the file, give it
its final name, fsync the folder. A crash before the last step leaves at most a temporary file, named so that
`is_temporary` knows it; a crash before the folder's fsync may leave either name, never half a file.

Residual risk: a disk that acknowledges a flush it did not make, and a folder on a network file system whose server
does so. On a file system without hard links a crash can leave an empty file under the final name.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol

from sealdrop import pace
from sealdrop.errors import Retryable
from sealdrop.model import Sha256

CHUNK_BYTES = 1 << 20
CHECK_BYTES = 16 << 20  # copied between two looks at what room is left
TEMPORARY_PREFIX = ".sealdrop-"
TEMPORARY_SUFFIX = ".tmp"
ENDING_MAX_BYTES = 16  # what stands behind a name's last dot and is longer is no file type

_ZEROS = bytes(CHUNK_BYTES)
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# What link() answers on file systems that have no hard links (FAT, some network shares).
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError of the block name ``path`` if it names nothing, as those of reads, writes and flushes do not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class Named:
    """An open file whose errors name it: so a copy that fails says which of the two sides it was."""

    def __init__(self, file: Readable, path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        with naming(self._path):
            return self._file.read(size)


def is_temporary(name: str) -> bool:
    """Return whether ``name`` (a file name, no path) is one that this module makes."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def temporary_name(tag: str) -> str:
    """Return the temporary file name that belongs to ``tag``."""
    return f"{TEMPORARY_PREFIX}{tag}{TEMPORARY_SUFFIX}"


def split_ending(name: str) -> tuple[str, str]:
    """Return a file name's stem, and its ending with the dot; what is too long to be an ending belongs to the stem."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) > ENDING_MAX_BYTES:
        return name, ""
    return stem, dot + ending


def tagged_name(name: str, tag: str, *, limit_bytes: int) -> str:
    """Return the file name ``name`` with ``-tag`` before its ending, cut at a character to at most ``limit_bytes``."""
    stem, ending = split_ending(name)
    added = f"-{tag}{ending}"
    room_bytes = max(0, limit_bytes - len(added.encode()))
    return stem.encode()[:room_bytes].decode(errors="ignore") + added


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def names_durable(paths: Iterable[Path]) -> dict[Path, OSError]:
    """Make these names durable, one flush for each folder; return why, for the folders where that failed."""
    failed = {}
    for folder in {path.parent: None for path in paths}:
        try:
            fsync_folder(folder)
        except OSError as error:
            failed[folder] = error
    return failed


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create ``folder`` and its missing parents, each durable in its parent; also if it was there before.

    Whoever made it, an instant ago or before a crash, may have been cut off before that. Only where we may not read the
    parent of a folder that is there, somebody else made it.
    """
    if folder.is_dir():
        with suppress(PermissionError):
            fsync_folder(folder.parent)
        return
    make_folder(folder.parent, mode=mode)
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
    fsync_folder(folder.parent)


def make_subfolder(root: Path, relative: PurePath) -> Path:
    """Create the folders of ``relative`` below ``root``, durably, each shared with the same people as its parent.

    Raises:
        FileExistsError: something else has the name of one of them; a link to a folder is something else.
    """
    folder = root
    for part in relative.parts:
        parent, folder = folder, folder / part
        try:
            # Never for more people than its parent, not even for the instant before it is shared.
            folder.mkdir(mode=parent.stat().st_mode & 0o770)
        except FileExistsError:
            if folder.is_symlink() or not folder.is_dir():
                raise
        else:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                above = parent.stat()
                _share(fd, above, mode=stat.S_IMODE(above.st_mode) & 0o7770)
            finally:
                os.close(fd)
        fsync_folder(parent)  # also of one that was there: whoever made it may have been cut off before this
    return folder


def _share(fd: int, folder: os.stat_result, *, mode: int) -> None:
    """Give an open file or folder the group of ``folder``, and ``mode``.

    Where the group cannot be given, nothing is granted to the one that it has: that may be anybody's. Where the file
    system has neither groups nor modes, nothing happens. What is right already is not asked for: our own unit forbids
    to give files away and to set the set-group-ID bit, and both come from a parent that has that bit by themselves.
    """
    status = os.fstat(fd)
    if status.st_gid != folder.st_gid:
        try:
            os.fchown(fd, -1, folder.st_gid)
        except OSError:
            mode &= 0o700
    # systemd's RestrictSUIDSGID= refuses a mode with the set-group-ID bit, even to leave it as it is.
    for wanted in (mode, mode & 0o777):
        if stat.S_IMODE(status.st_mode) == wanted:
            return
        try:
            os.fchmod(fd, wanted)
        except OSError:
            continue
        return


@contextmanager
def temporary_file(folder: Path, *, mode: int, tag: str = "") -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new file in ``folder`` and its path; remove it at the end if it still has that name.

    With a ``tag`` the name follows from it, and what a crash left under that name is removed first. Only one writer
    should use a tag at a time: of two, the first cannot publish what it has written.
    """
    path = folder / temporary_name(tag or secrets.token_hex(8))
    try:
        fd = os.open(path, _NEW_FILE_FLAGS, mode)
    except FileExistsError:
        if not tag:
            raise
        path.unlink(missing_ok=True)
        fd = os.open(path, _NEW_FILE_FLAGS, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def flush(file: BinaryIO) -> None:
    """Make what was written to ``file`` durable."""
    file.flush()
    os.fsync(file.fileno())


def copy_hashed(source: Readable, target: BinaryIO, *, check: Callable[[], None] = lambda: None) -> tuple[int, Sha256]:
    """Copy the rest of ``source`` to the new file ``target`` in constant memory; return its bytes and their SHA-256.

    Blocks that hold nothing but zeros become holes: a file that claims gigabytes and holds nothing takes no room.
    ``check`` is called now and then, before more is written; what it raises ends the copy. Each chunk is a sign of
    life: a share that is slow is none that hangs.
    """
    digest = hashlib.sha256()
    size = checked = 0
    while chunk := source.read(CHUNK_BYTES):
        pace.step()
        digest.update(chunk)
        if chunk == _ZEROS[: len(chunk)]:
            target.seek(len(chunk), os.SEEK_CUR)
        else:
            if size - checked >= CHECK_BYTES:
                check()
                checked = size
            target.write(chunk)
        size += len(chunk)
    target.truncate(size)  # a hole at the end counts only so
    return size, Sha256(digest.hexdigest())


def hash_file(file: Path | BufferedReader) -> tuple[int, Sha256]:
    """Return size and SHA-256 of a file, from its beginning or where it is open, in constant memory."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return hash_file(opened)
    digest = hashlib.file_digest(file, "sha256")
    return file.tell(), Sha256(digest.hexdigest())


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make ``path`` hold ``content``, durably; a reader sees the old content or the new, never a mixture."""
    with temporary_file(path.parent, mode=mode) as (file, temporary):
        file.write(content)
        flush(file)
        temporary.replace(path)
    fsync_folder(path.parent)


def publish(file: BinaryIO, temporary: Path, final: Path) -> None:
    """Give the flushed ``file``, whose name is ``temporary``, the name ``final`` in the same folder as well.

    Never overwrites. It is this very file that gets the name, and no other that may have been given the temporary one
    meanwhile. The caller removes the temporary name, and fsyncs the folder. Where the file system has no hard links,
    an empty file holds the name for an instant before the content replaces it; then another writer of the same
    temporary name is noticed only if it came before that.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
        Retryable: somebody else writes under the temporary name; nothing was published.
    """
    try:
        # Through the descriptor (open(2), O_TMPFILE): the temporary name may be another writer's by now, whose file is
        # half. Python follows links only if it is given a folder, which an absolute path makes no use of.
        os.link(f"/proc/self/fd/{file.fileno()}", final, src_dir_fd=file.fileno(), follow_symlinks=True)
    except OSError as error:
        _check_own(file, temporary)
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(final, _NEW_FILE_FLAGS, 0o600))
        temporary.replace(final)


def _check_own(file: BinaryIO, temporary: Path) -> None:
    """Pass if ``temporary`` is still the name of ``file``.

    Raises:
        Retryable: it is not.
    """
    try:
        is_own = os.path.samestat(os.fstat(file.fileno()), os.lstat(temporary))
    except FileNotFoundError:
        is_own = False
    if not is_own:
        raise Retryable(f"somebody else removed or replaced {temporary} while it was written")


def publish_new(content: Path | bytes, final: Path, *, tag: str, sha256: Sha256 | None = None) -> None:
    """Write ``content`` (a file is copied, in constant memory) under the new name ``final``, durably.

    Never overwrites. The file is for those who share the folder: it gets the folder's group, read and write as the
    folder grants them, and nothing for others. ``tag`` names the temporary file, see `temporary_file`.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
        Retryable: the file to copy no longer has the digest ``sha256``; nothing was published.
    """
    put_new(content, final, tag=tag, sha256=sha256)
    fsync_folder(final.parent)


def put_new(content: Path | bytes, final: Path, *, tag: str, sha256: Sha256 | None = None) -> None:
    """As `publish_new`, but that it is left to the caller to fsync the folder, who may have put several there.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
        Retryable: the file to copy no longer has the digest ``sha256``; nothing was published.
    """
    with temporary_file(final.parent, mode=0o600, tag=tag) as (file, temporary):
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                _, copied = copy_hashed(Named(source, content), file)
            if sha256 not in (None, copied):
                raise Retryable(f"{content} is not what it was, so it is not published: its SHA-256 is {copied}")
        folder = final.parent.stat()
        _share(file.fileno(), folder, mode=folder.st_mode & 0o060 | 0o600)
        flush(file)
        publish(file, temporary, final)
