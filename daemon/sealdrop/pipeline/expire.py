"""Removing what sealdrop put into a processed, rejected or failed folder, once its time is over.

Only the document's own files go, and only if nobody has changed them: its original is known by its size and digest,
what stood beside it by the document's ID in it. A rejected or failed original is known by its reason as well: the same
content may stand there under the same name as another document's, dropped again since. Whatever else has one of their
names stays, and so does what was moved elsewhere. A folder on the way to them that is empty then is removed, too. No
link is followed, not even one that is put there meanwhile: each folder is opened below the one above it, and files are
looked at and removed in what was opened.

If we crash anywhere here, the same is done again.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sealdrop.durable import hash_file
from sealdrop.model import Document, State
from sealdrop.pipeline.below import folder_below, open_regular
from sealdrop.receipt import MOST_BYTES, REASON_SUFFIX, REASON_TEXT_SUFFIX

# What a file system answers when nothing of ours stands there: it is gone, or a link or a file took a folder's place.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
# What it answers when a folder must stay: it is not empty, is no folder, or is not ours to remove.
_STAYS = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.EBUSY, errno.EACCES, errno.EPERM})


def what_expires(document: Document, root: Path) -> tuple[str, ...]:
    """Return the names below ``root`` of the document's files that may be removed, its original first.

    Raises:
        OSError: the folder, or a file in it, cannot be read.
    """
    name = _name(document)
    try:
        with folder_below(root, name.parent) as folder:
            suffixes = list(_ours(document, folder, name.name))
    except OSError as error:
        if error.errno in _NOT_THERE and root.is_dir():
            return ()
        raise
    return tuple(str(name.with_name(name.name + suffix)) for suffix in suffixes)


def expire(document: Document, root: Path) -> None:
    """Remove the document's files from ``root``, durably, and folders that are empty then.

    Raises:
        OSError: the folder, or a file in it, cannot be read or changed; what was not removed is still there.
    """
    name = _name(document)
    try:
        with folder_below(root, name.parent) as folder:
            for suffix in _ours(document, folder, name.name):
                os.unlink(name.name + suffix, dir_fd=folder)
            os.fsync(folder)  # also of removals that were cut off before this
    except OSError as error:
        if error.errno not in _NOT_THERE or not root.is_dir():
            raise
    _remove_empty(root, name.parent)


def _name(document: Document) -> PurePosixPath:
    kept = document.kept_name if document.state is State.DELIVERED else document.published_name
    return PurePosixPath(kept or document.name)


def _ours(document: Document, folder: int, name: str) -> Iterator[str]:
    """Yield what is ours to remove, each as it is looked at; the reasons last, since they tell whose the rest is."""
    reasons = () if document.state is State.DELIVERED else (REASON_TEXT_SUFFIX, REASON_SUFFIX)
    if reasons and not any(_is_ours(document, folder, name, each) for each in reasons):
        return
    for suffix in ("", *(each.kind.suffix for each in document.companions), *reasons):
        if _is_ours(document, folder, name, suffix):
            yield suffix


def _is_ours(document: Document, folder: int, name: str, suffix: str) -> bool:
    """Return whether the file is as we put it there."""
    try:
        status = os.stat(name + suffix, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return False
        with open_regular(name + suffix, folder=folder) as file:
            if not suffix:
                return status.st_size == document.size_bytes and hash_file(file)[1] == document.sha256
            companion = next((each for each in document.companions if each.kind.suffix == suffix), None)
            if companion is not None:
                return status.st_size == companion.identity.size_bytes and hash_file(file)[1] == companion.sha256
            return status.st_size <= MOST_BYTES and document.id.encode() in file.read()
    except OSError as error:
        if error.errno in _NOT_THERE or isinstance(error, FileNotFoundError):
            return False
        raise


def _remove_empty(root: Path, folder: PurePosixPath) -> None:
    """Remove the folder and those above it, below ``root``, as long as they are empty; one that is gone is no end."""
    for each in (folder, *folder.parents):
        if not each.parts:
            return
        try:
            with folder_below(root, each.parent) as above:
                os.rmdir(each.name, dir_fd=above)
                os.fsync(above)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in _STAYS:
                return
            raise
