"""Taking a file over: a durable copy in the spool first, a ledger row next, and only then is the original removed.

If we crash during the copy: the spool folder has no ledger row; it is cleared at the next start and the original
still stands in inbound. After the row was committed and before the removal: the next sweep knows the file by its
identity (device, inode, size, mtime) and finishes the removal. During the removal: the file has a temporary name
that holds the document's ID.

Copying, not renaming: a writer may still hold the file open, and inbound is often another file system. Nothing is
followed: every folder below inbound and the file itself are opened with O_NOFOLLOW, relative to each other.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sealdrop.durable import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, copy_hashed, flush, fsync_folder
from sealdrop.model import DocumentId, FileIdentity, Reason, Sha256
from sealdrop.pipeline.watch import identity_of

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Taken:
    """A durable copy stands in the spool; ``name`` is the path below inbound, with ``/``."""

    name: str
    identity: FileIdentity
    size_bytes: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The file stays where it is, and why."""

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


def take(inbound: Path, path: Path, copy: Path) -> Taken | NotTaken | Unsettled:
    """Copy the file at ``path``, below ``inbound``, to the new file ``copy``, durably, and return its facts.

    The original is left alone. Nothing but a regular file with a single name is taken.

    Raises:
        OSError: the copy could not be written (disk full, ...): nothing was taken.
    """
    relative = path.relative_to(inbound)
    name = "/".join(relative.parts)
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return NotTaken(shown, Reason.NAME_INVALID, "the name is not valid UTF-8")
    try:
        with _folder_of(inbound, relative) as folder:
            before = os.stat(relative.name, dir_fd=folder, follow_symlinks=False)
            unfit = _unfit(name, before)
            if unfit is not None:
                return unfit
            source = os.open(relative.name, _FILE_FLAGS, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return Unsettled(name)
    except PermissionError:
        return NotTaken(name, Reason.FILE_UNREADABLE, "the service may not read this file")
    except OSError as error:
        return NotTaken(name, Reason.FILE_UNREADABLE, error.strerror or "it cannot be opened")
    with os.fdopen(source, "rb") as content:
        identity = identity_of(os.fstat(content.fileno()))
        if identity != identity_of(before):
            return Unsettled(name)
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target:
            size_bytes, sha256 = copy_hashed(content, target)
            flush(target)
        fsync_folder(copy.parent)
        if size_bytes != identity.size_bytes or identity_of(os.fstat(content.fileno())) != identity:
            copy.unlink()
            return Unsettled(name)
    return Taken(name, identity, size_bytes, sha256)


def remove_original(inbound: Path, name: str, identity: FileIdentity, document: DocumentId) -> Removal:
    """Remove the original, and nothing else: a file that took its place meanwhile is left as it is.

    The file is first given a temporary name, then compared, then removed, so that a file put there between the
    comparison and the removal cannot be the one that goes.

    Raises:
        OSError: it could not be removed; it is still there.
    """
    relative = Path(name)
    aside = f"{TEMPORARY_PREFIX}{document}{TEMPORARY_SUFFIX}"
    try:
        with _folder_of(inbound, relative) as folder:
            if identity_of(os.stat(relative.name, dir_fd=folder, follow_symlinks=False)) != identity:
                return Removal.REPLACED
            os.rename(relative.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            # If we crash here, the next start finds the temporary name and the document's ID in it.
            return _settle_aside(folder, aside, relative.name, identity)
    except (FileNotFoundError, NotADirectoryError):
        return Removal.GONE


def finish_removal(aside: Path, name: str, identity: FileIdentity) -> Removal:
    """Finish a removal that was cut off after the original was set aside as ``aside``.

    Raises:
        OSError: it could not be removed.
    """
    with _folder_of(aside.parent, Path(aside.name)) as folder:
        return _settle_aside(folder, aside.name, Path(name).name, identity)


def document_of(aside: str) -> DocumentId:
    """Return the ID in the temporary name of a file that was being removed."""
    return DocumentId(aside.removeprefix(TEMPORARY_PREFIX).removesuffix(TEMPORARY_SUFFIX))


def _settle_aside(folder: int, aside: str, name: str, identity: FileIdentity) -> Removal:
    if identity_of(os.stat(aside, dir_fd=folder, follow_symlinks=False)) == identity:
        os.unlink(aside, dir_fd=folder)
        os.fsync(folder)
        return Removal.REMOVED
    # Somebody else's file: back under its name. If that is taken again, the hidden name keeps it for a person.
    os.link(aside, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    os.unlink(aside, dir_fd=folder)
    os.fsync(folder)
    return Removal.REPLACED


def _unfit(name: str, status: os.stat_result) -> NotTaken | None:
    if stat.S_ISLNK(status.st_mode):
        return NotTaken(name, Reason.SYMLINK, "it is a symbolic link, which is never followed")
    if not stat.S_ISREG(status.st_mode):
        return NotTaken(name, Reason.SPECIAL_FILE, "it is not a regular file")
    if status.st_nlink != 1:
        return NotTaken(name, Reason.HARD_LINK, f"the file has {status.st_nlink} names (hard links)")
    return None


@contextmanager
def _folder_of(inbound: Path, relative: Path) -> Iterator[int]:
    """Yield a descriptor of the folder that holds ``relative`` below ``inbound``, having followed no link on the way."""
    fd = os.open(inbound, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts[:-1]:
            if part == "..":
                raise FileNotFoundError(f"{relative} leaves the inbound folder")
            parent, fd = fd, os.open(part, _FOLDER_FLAGS, dir_fd=fd)
            os.close(parent)
        yield fd
    finally:
        os.close(fd)
