"""Taking a file over: a durable copy in the spool first, a ledger row next, and only then is the original removed.

If we crash during the copy: an unfinished copy has another name than a whole one; it is cleared at the next start,
and the original still stands in inbound. After the copy and before its row: the copy is kept until the same content
has been taken over anew. After the row and before the removal: the original is recognised, and the removal finished.
During the removal: the file has a temporary name that holds the document's ID.

Copying, not renaming: a writer may still hold the file open, and inbound is often another file system. Nothing is
followed: every folder below inbound and the file itself are opened with O_NOFOLLOW, relative to each other.

Three things keep a writer from losing what it writes while we take a file over: only the state that was judged
complete is copied; a copy during which the file changed is thrown away; and no file is removed while somebody has it
open for writing. If what such a writer writes changes the file, it is another file, and taken over by itself.

Residual risk: who opens the file by name before it is set aside and writes after it was removed writes into nothing;
that is the time between two system calls.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePath

from sealdrop.config import LARGEST_DOCUMENT_MIB
from sealdrop.durable import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    copy_hashed,
    flush,
    tagged_name,
    temporary_name,
)
from sealdrop.model import CompanionKind, DocumentId, FileIdentity, Reason, Sha256
from sealdrop.pipeline.below import folder_below, open_file, reached
from sealdrop.pipeline.writers import Writer, writer_of

NAME_MAX_BYTES = 255
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
LARGEST_BYTES = LARGEST_DOCUMENT_MIB << 20  # no folder can be told to accept more, so no spool need hold it


@dataclass(frozen=True, slots=True)
class Taken:
    """A copy stands in the spool, its content durable; ``name`` is the path below inbound, with ``/``."""

    name: str
    identity: FileIdentity
    size_bytes: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The file stays where it is, and why; ``name`` is as Python gives it, whatever its bytes are."""

    name: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The file went away or changed while it was read: look again later."""

    name: str


class Removal(Enum):
    """What became of an original that was to be removed."""

    REMOVED = "removed"
    GONE = "gone"
    REPLACED = "replaced"


def take(
    inbound: Path, path: Path, copy: Path, *, seen: FileIdentity, check: Callable[[], None] = lambda: None
) -> Taken | NotTaken | Unsettled:
    """Copy the file at ``path``, below ``inbound``, to the new file ``copy``, and return its facts.

    What the copy holds is durable, its name is not: that is for the caller, who may have several flushed at once.
    The original is left alone. Nothing but a regular file with a single name is taken, and only in the state
    ``seen``. Of a file that grows, no more is copied than that. ``check`` is called now and then while it is copied,
    and raises an OSError if there is no room for more.

    Raises:
        OSError: the copy could not be written (disk full, ...): nothing was taken.
    """
    relative = path.relative_to(inbound)
    name = "/".join(relative.parts)
    partial = copy.with_suffix(".part")  # only what is whole has the name of a copy
    try:
        with reached(inbound, relative) as (place, folder):
            unfit = unfit_for(name, os.stat(place, dir_fd=folder, follow_symlinks=False))
            if unfit is not None:
                return unfit
            source = open_file(place, folder=folder)
    except (FileNotFoundError, NotADirectoryError, BlockingIOError):
        return Unsettled(name)  # also if a link to a folder has taken the place of a folder on the way
    except PermissionError:
        return NotTaken(name, Reason.FILE_UNREADABLE, "the service may not read this file")
    except OSError as error:
        return NotTaken(name, Reason.FILE_UNREADABLE, error.strerror or "it cannot be opened")
    try:
        opened = os.fstat(source)
        if FileIdentity.of(opened) != seen or unfit_for(name, opened) is not None:
            return Unsettled(name)  # another file has the name since it was looked at, perhaps a link to somebody's
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target:
            size_bytes, sha256 = copy_hashed(_Original(source, seen.size_bytes), target, check=check)
            flush(target)
        if size_bytes == seen.size_bytes and FileIdentity.of(os.fstat(source)) == seen:
            partial.rename(copy)
            return Taken(name, seen, size_bytes, sha256)
        partial.unlink()
        return Unsettled(name)
    except _CannotRead as error:
        partial.unlink()
        return NotTaken(name, Reason.FILE_UNREADABLE, f"it cannot be read: {error}")
    finally:
        os.close(source)


class _CannotRead(Exception):
    """The original could not be read: its own trouble, while a copy that cannot be written is everybody's."""


class _Original:
    """The first ``size_bytes`` of an open file."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._left_bytes = size_bytes

    def read(self, size: int, /) -> bytes:
        try:
            chunk = os.read(self._fd, min(size, self._left_bytes))
        except OSError as error:
            raise _CannotRead(error.strerror) from error
        self._left_bytes -= len(chunk)
        return chunk


def remove_original(
    inbound: Path, name: str, identity: FileIdentity, document: DocumentId, companion: CompanionKind | None = None
) -> Removal:
    """Remove the original, or its ``companion``, and nothing else: a file that took its place meanwhile stays.

    The file is first given a temporary name, then compared, then removed, so that a file put there between the
    comparison and the removal cannot be the one that goes. A power cut can bring the file back until
    `removals_durable` has returned: until then nobody may forget that it was taken over.

    Raises:
        OSError: it could not be removed, or somebody has it open for writing, or what is mounted at ``inbound`` is
            not what was there: then nobody knows whether it is gone.
    """
    relative = Path(name)
    aside = temporary_name(document if companion is None else f"{document}.{companion}")
    device = inbound.stat().st_dev
    try:
        with folder_below(inbound, relative.parent) as folder:
            if _exists(folder, aside):  # left by an earlier try; renaming onto it would destroy what it holds
                _settle_aside(folder, aside, relative.name, identity)
            if _identity(folder, relative.name) != identity:
                return Removal.REPLACED
            if _is_being_written(folder, relative.name):
                raise OSError(errno.ETXTBSY, "somebody has it open for writing", name)
            os.rename(relative.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            # If we crash here, the next start finds the temporary name and the document's ID in it.
            return _settle_aside(folder, aside, relative.name, identity)
    except OSError as error:
        # Beside an original that was renamed, a companion's name may be longer than any that there can be.
        is_gone = isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG
        if not is_gone:
            raise
        if device != identity.device:
            raise OSError(errno.ESTALE, "another file system is mounted now than the one it was on", name) from error
        return Removal.GONE


def removals_durable(inbound: Path, names: Collection[str]) -> None:
    """Make durable that these originals were removed: one flush for each folder that they were in.

    Raises:
        OSError: a folder could not be flushed.
    """
    for relative in {Path(name).parent for name in names}:
        for folder_or_above in (relative, *relative.parents):
            # A folder that has gone itself is gone for good when the one above is flushed.
            with suppress(FileNotFoundError, NotADirectoryError), folder_below(inbound, folder_or_above) as folder:
                os.fsync(folder)
                break


def finish_removal(aside: Path, name: str, identity: FileIdentity) -> Removal:
    """Finish a removal that was cut off after the original was set aside as ``aside``.

    Raises:
        OSError: it could not be removed, or somebody has it open for writing.
    """
    with folder_below(aside.parent, PurePath()) as folder:
        removal = _settle_aside(folder, aside.name, Path(name).name, identity)
        os.fsync(folder)
        return removal


def document_of(aside: str) -> tuple[DocumentId, CompanionKind | None]:
    """Return the ID in the temporary name of a file that was being removed, and which companion it was, if one."""
    document, _, companion = _tag_of(aside).partition(".")
    kind = next((kind for kind in CompanionKind if kind == companion), None)
    return DocumentId(document if kind is not None else _tag_of(aside)), kind


def _tag_of(aside: str) -> str:
    return aside.removeprefix(TEMPORARY_PREFIX).removesuffix(TEMPORARY_SUFFIX)


def _settle_aside(folder: int, aside: str, name: str, identity: FileIdentity) -> Removal:
    """Remove what was set aside if it is the original; anything else gets its name back."""
    is_original = _identity(folder, aside) == identity
    if is_original and not _is_being_written(folder, aside):
        os.unlink(aside, dir_fd=folder)
        return Removal.REMOVED
    _put_back(folder, aside, name)
    if is_original:
        raise OSError(errno.ETXTBSY, "somebody has it open for writing", name)
    return Removal.REPLACED


def _put_back(folder: int, aside: str, name: str) -> None:
    """Give what was set aside its name back; if that is taken by now, one that holds the document's ID."""
    try:
        os.link(aside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        # Taken, by this very file if we crashed here before; or it is a folder, or there are no hard links here.
        if not (_exists(folder, name) and _identity(folder, name) == _identity(folder, aside)):
            other = tagged_name(name, _tag_of(aside), limit_bytes=NAME_MAX_BYTES)
            os.rename(aside, other, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
            return
    os.unlink(aside, dir_fd=folder)
    os.fsync(folder)


def _identity(folder: int, name: str) -> FileIdentity:
    return FileIdentity.of(os.stat(name, dir_fd=folder, follow_symlinks=False))


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_being_written(folder: int, name: str) -> bool:
    try:
        fd = open_file(name, folder=folder)
    except BlockingIOError:  # somebody holds a lease on it, as file servers do for their clients
        return True
    except OSError:
        return False
    try:
        return writer_of(fd) is Writer.SOME
    finally:
        os.close(fd)


def unfit_for(name: str, status: os.stat_result) -> NotTaken | None:
    """Return why a file of which lstat says ``status`` is not taken whatever is in it, or None."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return NotTaken(name, Reason.NAME_INVALID, "the name is not valid UTF-8")
    if stat.S_ISLNK(status.st_mode):
        return NotTaken(name, Reason.SYMLINK, "it is a symbolic link, which is never followed")
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else than a file")
        return NotTaken(name, Reason.SPECIAL_FILE, f"it is {kind}")
    if status.st_nlink != 1:
        return NotTaken(name, Reason.HARD_LINK, f"the file has {status.st_nlink} names (hard links)")
    if status.st_size > LARGEST_BYTES:
        return NotTaken(name, Reason.TOO_LARGE, f"it has {status.st_size} bytes, more than any folder accepts")
    return None
