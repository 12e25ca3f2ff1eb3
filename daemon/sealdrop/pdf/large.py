"""A large PDF as a file of which the long parts are left where they are.

Both libraries read an object whole, and a page's picture is an object of some megabytes whose dictionary alone is ever
looked at. So `LargeFile`, while it is told to, answers a long read with a `Left`: the place of the bytes in the file
instead of the bytes. Whoever does need them reads them from there. So memory follows how many objects a document has,
and not how long they are.

What a `Left` cannot answer it refuses. To C code it is an empty ``bytes``, and up to Python 3.11 it has no say in that.
So such code must never be given one: `sealdrop.pdf.lean` (pypdf) and `sealdrop.pdf.reader` (pyHanko) see to that.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Self, SupportsIndex, TypeVar

WHOLE_BYTES = 4 << 20  # up to here a document may be held in memory, which is faster
LONGEST_BYTES = 16 << 10  # of a read that is answered with bytes; what is no stream is read by 8 KiB at most
WINDOW_BYTES = 1 << 20  # looked through at a time
_OVERLAP_BYTES = 256  # what is looked for is shorter
_BUFFER_BYTES = 16 << 10


T = TypeVar("T", bound=bytes)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("what is left in the file has to be read first")


def _refusing(kind: type[T]) -> type[T]:
    """Have ``kind`` refuse whatever bytes can do and it does not do itself."""
    for name in {*vars(bytes), "__radd__"} - {*vars(kind), "__getattribute__"}:
        setattr(kind, name, _refuse)
    return kind


@_refusing
class Left(bytes):
    """Bytes that are left in a file: ``size_bytes`` from ``start``.

    Can be cut, compared and looked through like bytes. All else that bytes can do is a `TypeError`.
    """

    fd: int
    start: int
    size_bytes: int

    def __new__(cls, fd: int, start: int, size_bytes: int) -> Self:
        """Note where they are."""
        made = super().__new__(cls)
        made.fd, made.start, made.size_bytes = fd, start, size_bytes
        return made

    def __repr__(self) -> str:
        return f"<{self.size_bytes} bytes from {self.start} on>"

    def __len__(self) -> int:
        return self.size_bytes

    def __getitem__(self, key: SupportsIndex | slice) -> "Left":  # type: ignore[override]
        if not isinstance(key, slice):
            raise TypeError("what is left in the file is not looked at byte by byte")
        begin, end, _ = key.indices(self.size_bytes)
        return Left(self.fd, self.start + begin, max(end - begin, 0))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Left):
            return self.size_bytes == other.size_bytes and self.read() == other.read()
        return isinstance(other, bytes) and self.read() == other

    def __ne__(self, other: object) -> bool:
        return not self == other  # that of bytes compares nothing with nothing

    def __hash__(self) -> int:
        return hash(self.read())

    def find(self, sub: bytes) -> int:  # type: ignore[override] # all that is asked for
        """Return where ``sub`` stands first, or -1."""
        place = look_for(re.compile(re.escape(sub)), self.fd, self.start, self.start + self.size_bytes)
        return -1 if place is None else place - self.start

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            OSError: the disk failed.
        """
        return b"".join(_pieces(self.fd, self.start, self.start + self.size_bytes))


class LargeFile(io.BufferedReader):
    """An open file, read through a buffer; ``size_bytes`` is its length."""

    def __init__(self, raw: io.RawIOBase, size_bytes: int) -> None:
        super().__init__(raw, _BUFFER_BYTES)
        self.size_bytes = size_bytes
        self._is_leaving = False

    @contextmanager
    def leaving(self, wanted: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - it reads well
        """Have long reads answered with `Left` meanwhile, or with bytes if that is not wanted."""
        before, self._is_leaving = self._is_leaving, wanted
        try:
            yield
        finally:
            self._is_leaving = before

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, or all that follow if it is negative; or a `Left`, which is passed over."""
        if size is None or size <= LONGEST_BYTES:
            return super().read(size)
        start = self.tell()
        length = max(min(size, self.size_bytes - start), 0)
        if not self._is_leaving:
            return super().read(length)  # however many a damaged document asks for
        self.seek(start + length)
        return Left(self.fileno(), start, length)

    def bytes_at(self, start: int, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` bytes from ``start``, never a `Left`; the position stays where it is.

        Raises:
            ValueError: that is before the beginning.
        """
        if start < 0:
            raise ValueError("a position before the beginning of the file")
        return b"".join(_pieces(self.fileno(), start, min(start + size_bytes, self.size_bytes)))

    def data_at(self, start: int, size_bytes: int) -> bytes:
        """Return the bytes from ``start`` as a stream's data: left in the file if they are many."""
        if size_bytes <= LONGEST_BYTES:
            return self.bytes_at(start, size_bytes)
        return Left(self.fileno(), start, max(min(size_bytes, self.size_bytes - start), 0))

    def look_for(self, pattern: "re.Pattern[bytes]") -> int | None:
        """Return where ``pattern``, of some ten bytes, matches first; None if nowhere."""
        return look_for(pattern, self.fileno(), 0, self.size_bytes)


def look_for(pattern: "re.Pattern[bytes]", fd: int, start: int, end: int) -> int | None:
    """Return where ``pattern``, of some ten bytes, matches first between two places of a file; None if nowhere."""
    before = b""
    for piece in _pieces(fd, start, end):
        window = before + piece
        found = pattern.search(window)
        if found is not None:
            return start - len(before) + found.start()
        start += len(piece)
        before = window[-_OVERLAP_BYTES:]
    return None


def _pieces(fd: int, start: int, end: int) -> Iterator[bytes]:
    while start < end and (piece := os.pread(fd, min(end - start, WINDOW_BYTES), start)):
        start += len(piece)
        yield piece
