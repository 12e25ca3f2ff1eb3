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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from sealdrop import durable
from sealdrop.model import Sha256
from sealdrop.signapi.wire import NewRequest, document_fields

_PIECE_BYTES = 3 << 16  # a multiple of three, so that the pieces' base64 joins without padding in between


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
        separator = b"["
        for document in self._documents:
            yield separator + document.head
            yield from _in_base64(document.path, document.size_bytes)
            yield _TAIL
            separator = b","
        yield b"]"


class Incoming:
    """A sealed PDF that arrives piece by piece, for the file ``path``: replaced as a whole, or not at all.

    Use it as a context manager: what was not kept by its end is removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = ExitStack()
        self._temporary: tuple[BinaryIO, Path] | None = None
        self._digest = hashlib.sha256()
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def write(self, content: bytes) -> None:
        """Take the next piece. If it cannot be written, `keep` says so: the call itself went well."""
        if self._error is not None:
            return
        try:
            if self._temporary is None:
                self._temporary = self._opened.enter_context(durable.temporary_file(self._path.parent, mode=0o600))
            self._temporary[0].write(content)
            self._digest.update(content)
        except OSError as error:
            self._error = error

    def keep(self) -> tuple[int, Sha256]:
        """Have ``path`` hold what was written, flushed; return its size and SHA-256.

        The name is durable once its folder is flushed, too. Whoever names it anew first flushes once for both.

        Raises:
            OSError: it could not be written; ``path`` is as it was.
        """
        if self._error is not None:
            raise self._error
        if self._temporary is None:
            raise ValueError("nothing has arrived")
        file, temporary = self._temporary
        size_bytes = file.tell()
        durable.flush(file)
        temporary.replace(self._path)
        return size_bytes, Sha256(self._digest.hexdigest())


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
