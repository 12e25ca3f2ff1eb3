"""The notice beside nothing: why a file was left in inbound, for its sender to find in the rejected folder.

``<name>.reason.txt`` and ``<name>.reason.json``, in the same sub-folder, as if the file stood there. What is not our
own notice of the same file is never changed: then, and where that name or sub-folder cannot be made, the notice has
another name, which holds a digest of the file's path.

Residual risk: who puts another file in the place of a notice in the instant between our look and its removal loses it.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from sealdrop.durable import fsync_folder, make_subfolder, publish_new, tagged_name
from sealdrop.pipeline.below import open_regular
from sealdrop.receipt import REASON_SUFFIX, REASON_TEXT_SUFFIX, Notice, to_bytes
from sealdrop.wording import notice_text

NAME_MAX_BYTES = 255
NOTICE_MAX_BYTES = 64 << 10
_SUFFIXES = (REASON_TEXT_SUFFIX, REASON_SUFFIX)  # the JSON last: with it the notice is complete

# What a file system answers when this name, and perhaps only this one, cannot be given.
_NOT_THIS_NAME = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)


def readable(name: str) -> str:
    """Return a file's name with each byte that is not UTF-8 shown as ``%`` and two hexadecimal digits."""
    return "".join(
        f"%{ord(character) - 0xDC00:02X}" if "\udc80" <= character <= "\udcff" else character for character in name
    )


def token_of(folder: str, name: str) -> str:
    """Return what tells the notices of one file from those of any other; ``name`` is its path below inbound."""
    return hashlib.sha256(folder.encode() + b"\0" + os.fsencode(name)).hexdigest()[:16]


def put(rejected: Path, notice: Notice) -> bool:
    """Have the notice stand in ``rejected``; return whether it was written, False if it stood there already.

    Raises:
        FileExistsError: every name that it could be given is taken.
        OSError: the folder cannot be written to.
    """
    names = list(_names(notice.name, notice.token))
    for name in names:
        stands = [_stands(rejected, name, suffix, notice.token) for suffix in _SUFFIXES]
        if all(stands) and _says(rejected / _with(name, REASON_SUFFIX), notice):
            return False
    remove(rejected, notice.name, notice.token)
    for name in names:
        if any(_stands(rejected, name, suffix, notice.token) is False for suffix in _SUFFIXES):
            continue
        try:
            _write(rejected, name, notice)
        except OSError as error:
            if error.errno not in _NOT_THIS_NAME:
                raise
            remove(rejected, notice.name, notice.token)
        else:
            return True
    raise FileExistsError(errno.EEXIST, "every name for a notice is taken", str(rejected / notice.name))


def remove(rejected: Path, name: str, token: str) -> None:
    """Remove the notice of a file, and nothing else; it is no fault if there is none.

    Raises:
        OSError: it cannot be removed.
    """
    for place in _names(readable(name), token):
        for suffix in reversed(_SUFFIXES):  # what is left half removed is no notice for programs
            if _stands(rejected, place, suffix, token):
                path = rejected / _with(place, suffix)
                path.unlink(missing_ok=True)
                fsync_folder(path.parent)


def _write(rejected: Path, name: PurePosixPath, notice: Notice) -> None:
    folder = make_subfolder(rejected, name.parent)
    text = notice_text(
        notice.folder, notice.name, notice.reason, notice.detail, token=notice.token, seen_at=notice.seen_at
    )
    for suffix, content in zip(_SUFFIXES, (text.encode(), to_bytes(notice)), strict=True):
        publish_new(content, folder / (name.name + suffix), tag=notice.token)


def _names(name: str, token: str) -> Iterator[PurePosixPath]:
    path = PurePosixPath(name)
    limit_bytes = NAME_MAX_BYTES - len(REASON_SUFFIX)
    if len(path.name.encode()) <= limit_bytes:
        yield path
    tagged = tagged_name(path.name, token[:8], limit_bytes=limit_bytes)
    yield path.with_name(tagged)
    if len(path.parts) > 1:
        yield PurePosixPath(tagged)


def _with(name: PurePosixPath, suffix: str) -> PurePosixPath:
    return name.with_name(name.name + suffix)


def _stands(rejected: Path, name: PurePosixPath, suffix: str, token: str) -> bool | None:
    """Return whether our own file stands there; None if nothing does, or nothing can."""
    path = rejected / _with(name, suffix)
    try:
        status = os.lstat(path)
    except OSError as error:
        if error.errno in _NOT_THIS_NAME or error.errno == errno.ENOENT:
            return None
        raise
    if not stat.S_ISREG(status.st_mode) or status.st_size > NOTICE_MAX_BYTES:
        return False
    return token.encode() in _content(path)


def _content(path: Path) -> bytes:
    with suppress(FileNotFoundError), open_regular(path) as file:
        return file.read(NOTICE_MAX_BYTES)
    return b""


def _says(path: Path, notice: Notice) -> bool:
    """Return whether the notice at ``path`` gives the same reason."""
    try:
        content = json.loads(_content(path))
    except ValueError:
        return False
    return isinstance(content, dict) and all(
        content.get(key) == getattr(notice, key) for key in ("version", "folder", "name", "reason", "detail")
    )
