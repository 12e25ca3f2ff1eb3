"""Documents on their way between the spool and a message: the one place that knows how content is encoded.

A create call's body is produced piece by piece while it is sent, and a status answer's content is written as it
arrives: no document is ever whole in memory.
"""

import base64
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sealdrop.model import Sha256
from sealdrop.signapi.wire import NewRequest, document_fields

_PIECE_BYTES = 3 << 16  # a multiple of three, so that the pieces' base64 joins without padding in between
_LONGEST_PIECE_BYTES = 5 << 16  # in base64, with what goes before it
_GATHERED_BYTES = 1 << 18
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Document:
    """A document as it stands in the body: ``head``, the file in base64, then `_TAIL`."""

    head: bytes
    path: Path
    size_bytes: int


_TAIL = b'"}'


class CreateBody:
    """The body of a create call, of ``size_bytes``; each iteration yields it anew.

    Iterating raises OSError if a document cannot be read any more or is not as long as it was.
    """

    def __init__(self, documents: Sequence[NewRequest]) -> None:
        self._documents = tuple(_prepare(new) for new in documents)
        commas = len(self._documents) - 1
        self.size_bytes = (
            len(b"[]")
            + commas
            + sum(len(document.head) + (document.size_bytes + 2) // 3 * 4 + len(_TAIL) for document in self._documents)
        )

    def __iter__(self) -> Iterator[bytes]:
        # What is short goes with what is next to it: each piece costs calls of the system, and a TLS record.
        piece, separator = b"", b"["
        for document in self._documents:
            piece += separator + document.head
            for encoded in _in_base64(document.path, document.size_bytes):
                if len(piece) + len(encoded) > _LONGEST_PIECE_BYTES:
                    yield piece
                    piece = b""
                piece += encoded
            piece += _TAIL
            separator = b","
        yield piece + b"]"


class Incoming:
    """A sealed PDF that arrives piece by piece, for the new file ``path``, which only we may read.

    Use it as a context manager: what was not kept by its end is removed. Pieces are gathered, so that a document of
    usual size is hashed and written in one go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._gathered = bytearray()
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._error: OSError | None = None
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            if not self._is_kept:
                self._path.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Take the next piece. If it cannot be written, `keep` says so: the call itself went well."""
        self._gathered += content
        if len(self._gathered) >= _GATHERED_BYTES:
            self._write_out()

    def keep(self) -> tuple[int, Sha256]:
        """Have ``path`` hold what was written, flushed; return its size and SHA-256.

        The name is durable once its folder is flushed, too. Whoever names it anew first flushes once for both.

        Raises:
            OSError: it could not be written.
        """
        self._write_out()
        if self._error is not None:
            raise self._error
        if self._fd is None:
            raise ValueError("nothing has arrived")
        os.fsync(self._fd)
        self._is_kept = True
        return self._size_bytes, Sha256(self._digest.hexdigest())

    def _write_out(self) -> None:
        if self._gathered and self._error is None:
            try:
                if self._fd is None:
                    self._fd = os.open(self._path, _NEW, 0o600)
                left = memoryview(self._gathered)
                while left:
                    left = left[os.write(self._fd, left) :]
            except OSError as error:
                self._error = error
            self._digest.update(self._gathered)
            self._size_bytes += len(self._gathered)
        self._gathered = bytearray()


def _prepare(new: NewRequest) -> _Document:
    """Read the document once, for its size and its SHA-1, which lets the service check what it received.

    Raises:
        OSError: the document cannot be read.
    """
    with new.path.open("rb") as file:
        # SignAPI's choice of digest (signapi.md, "hash"): against accidents in transport, not against forgery.
        digest = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False))
        size_bytes = file.tell()
    fields = json.dumps(document_fields(new, sha1=digest.hexdigest()))
    return _Document(f'{fields[:-1]}, "toSignContent": "'.encode("ascii"), new.path, size_bytes)


def _in_base64(path: Path, size_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        left_bytes = size_bytes
        while left_bytes:
            # A buffered read is short only at the end of the file.
            piece = file.read(min(_PIECE_BYTES, left_bytes))
            if not piece:
                raise OSError(errno.EIO, "the file became shorter while it was sent", os.fspath(path))
            left_bytes -= len(piece)
            yield base64.b64encode(piece)
