"""A PDF, or the first bytes of one, as pyHanko reads it.

Reads are positioned, so that a document and its beginning can be read from one open file, and nothing is held in
memory beyond pyHanko's own objects; of a large document, not even the data of their streams (see `large`). A place that
cannot exist is an error of the document (`ValueError`), never one of the disk: `OSError` is left to mean that the disk
failed.

pyHanko reads byte by byte, which took most of a verification. So `Reader` reads what is written plainly in one go (see
`syntax`) and leaves the rest to pyHanko. Should the two ever disagree about where a signature's value stands, the check
of coverage fails, since it compares the value with the bytes in the gap of the byte range.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

import io
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import Any, BinaryIO, cast

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.crypt import AuthStatus
from pyhanko.pdf_utils.generic import EncryptedObjAccess
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.pdf_utils.xref import ObjStreamRef

from sealdrop.pdf import large
from sealdrop.pdf.syntax import read_plain

# What pyHanko finds goes into the report. Its log texts can quote the document, which no log may hold.
for _library in ("pyhanko", "pyhanko_certvalidator"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)

# What pyHanko raises is about the document, whatever its class, but for these.
NOT_THE_DOCUMENT = (MemoryError, OSError)

PDF_HEADER = b"%PDF-"

# To look into an object takes pyHanko's analysis 0.15 ms; one that a revision holds takes 0.5 more. Were so many all
# written anew, that would be 7 s, and a verification has 20 (see `jail`).
MOST_OBJECTS = 10_000

Number = tuple[int, int]  # of an object: its number and its generation

_BUFFER_BYTES = 16 << 10
_IN_MEMORY_BYTES = 2 << 20  # pyHanko reads byte by byte, and moves after each: in memory that costs half


class Unsound(Exception):
    """A PDF, or a signature in it, is not as it must be; the text says what is wrong."""


class Slice(io.RawIOBase):
    """The first ``size_bytes`` bytes of an open file, with a position of its own; closing it leaves the file open."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        super().__init__()
        self._fd = file.fileno()
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._fd

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the type of io.RawIOBase
        """Fill ``buffer`` from the present position, and return the number of bytes.

        Raises:
            OSError: the disk failed.
        """
        wanted = min(len(buffer), max(self._size_bytes - self._position, 0))
        read = os.preadv(self._fd, [memoryview(buffer)[:wanted]], self._position) if wanted else 0
        self._position += read
        return read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset`` and return the new position.

        Raises:
            ValueError: that is before the beginning.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._position = base + offset
        return self._position


class LeftStream(generic.StreamObject):
    """A stream whose data stays in the file, and is read anew whenever it is asked for."""

    def __init__(self, dictionary: dict[Any, Any], data: large.Left) -> None:
        super().__init__(dictionary)
        self.left = data

    @property
    def encoded_data(self) -> bytes:
        """The data as it stands in the file."""
        return self.left.read()

    def read_data(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 - whatever pyHanko's takes
        """Return the decoded data, which is kept."""
        self._encoded_data = self.left.read()
        try:
            return bytes(super().read_data(*args, **kwargs))
        finally:
            self._encoded_data = None


class Revision(HistoricalResolver):
    """The document as it was at one revision; knows which numbers of objects were taken then."""

    reader: "Reader"

    def numbers_freed(self) -> set[int]:
        """Return the numbers that this revision calls free; a hybrid file hides objects under such numbers."""
        return {number for number in self.reader.xrefs.get_xref_data(self.revision).freed if not self._defines(number)}

    def has(self, number: int) -> bool:
        """Return whether there is an object of that number, of whatever generation."""
        for revision in range(self.revision, -1, -1):
            then = self.reader.get_historical_resolver(revision)
            if then._defines(number):  # noqa: SLF001 - of this class
                return True
            if number in self.reader.xrefs.get_xref_data(revision).freed:
                return False
        return False

    def is_ref_unassignable(self, ref: generic.Reference) -> bool:
        """Return whether a later revision can take that number without answering a question of this one's.

        It can if no object has it and no reference leads there. The size of the table, all that pyHanko asks for, says
        little: not every writer keeps it exact, and what is referred to beyond it is absent (ISO 32000-1, 7.5.5) only
        until a later revision has a greater one. Where there are too many objects to look into, it has to do.
        """
        if self.reader.is_vast and super().is_ref_unassignable(ref):
            return True
        return not self.has(ref.idnum) and not self.reader.is_asked_for((ref.idnum, ref.generation), self.revision)

    def led_to(self, start: Iterable[generic.PdfObject], seen: set[Number]) -> None:
        """Add to ``seen`` the number and generation of every object that references lead to, be it there or not.

        Nothing is followed from what ``seen`` has already.
        """
        left = list(start)
        while left:
            item = left.pop()
            if isinstance(item, generic.IndirectObject):
                number = (item.idnum, item.generation)
                if number in seen:
                    continue
                seen.add(number)
                try:
                    item = self(item.reference)
                except NOT_THE_DOCUMENT:
                    raise
                except Exception:  # noqa: BLE001, S112 - what cannot be read refers to nothing
                    continue
            if isinstance(item, generic.DictionaryObject):
                left += [item.raw_get(key, EncryptedObjAccess.RAW) for key in item]
            elif isinstance(item, generic.ArrayObject):
                left += [item.raw_get(at, EncryptedObjAccess.RAW) for at in range(len(item))]

    def own_objects(self) -> Iterator[generic.PdfObject]:
        """Yield what this revision brings, its trailer first; what cannot be read is passed over."""
        yield self.trailer_view
        for ref in self.explicit_refs_in_revision():
            try:
                yield self(ref)
            except NOT_THE_DOCUMENT:
                raise
            except Exception:  # noqa: BLE001, S112 - as above
                continue

    def _subsume_object(self, obj: generic.PdfObject) -> generic.PdfObject:
        """Return the object as part of this revision, so that what it refers to is looked for there.

        What refers to nothing is the same in each. pyHanko asks of everything, first, which object it is part of; in a
        stream of metadata it has itself put names that are part of none.
        """
        made: generic.PdfObject
        if type(obj) is generic.IndirectObject:
            return generic.IndirectObject(obj.idnum, obj.generation, self)
        if type(obj) is generic.DictionaryObject:
            made = generic.DictionaryObject({key: self._subsume_object(value) for key, value in obj.items()})
        elif type(obj) is generic.ArrayObject:
            made = generic.ArrayObject(self._subsume_object(value) for value in list.__iter__(obj))
        elif isinstance(obj, LeftStream):
            made = LeftStream({key: self._subsume_object(value) for key, value in obj.items()}, obj.left)
        elif isinstance(obj, (generic.DictionaryObject, generic.ArrayObject, generic.DecryptedObjectProxy)):
            made = super()._subsume_object(obj)
            return made
        else:
            return obj
        holder = cast(generic.Reference, obj.get_container_ref())
        made.container_ref = generic.Reference(holder.idnum, holder.generation, self)
        return made

    def _defines(self, number: int) -> bool:
        data = self.reader.xrefs.get_xref_data(self.revision)
        parts = [data] if data.hybrid is None else [data, data.hybrid.xref_data]
        return any(number in part.standard_xrefs or number in part.xrefs_in_objstm for part in parts)


class Reader(PdfFileReader):
    """pyHanko's reader, never strict, fast on what is written plainly; see the module's text."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._revisions: dict[int, Revision] = {}
        # What is referred to, and the first revision in which it is, of those that were looked through.
        self._asked_for: dict[Number, int] = {}
        self._looked_through = 0
        self._large = large.LargeFile(Slice(file, size_bytes), size_bytes) if size_bytes > large.WHOLE_BYTES else None
        super().__init__(self._large or _stream(file, size_bytes), strict=False)

    def get_historical_resolver(self, revision: int) -> Revision:
        """Return the document as it was at ``revision``, the oldest being 0; made once."""
        if revision not in self._revisions:
            self._revisions[revision] = Revision(self, revision)
        return self._revisions[revision]

    @property
    def is_large(self) -> bool:
        """Whether looking into every object of the document takes too long."""
        return int(self.xrefs.get_xref_container_info(self.xrefs.total_revisions - 1).size) > MOST_OBJECTS

    @cached_property
    def is_vast(self) -> bool:
        """Whether there are too many objects to look into each, by the first revision: later ones have no say in it."""
        return int(self.xrefs.get_xref_container_info(0).size) > MOST_OBJECTS

    def is_asked_for(self, number: Number, revision: int) -> bool:
        """Return whether anything in ``revision``, or in one before, refers to that number."""
        while self._looked_through <= revision:
            then = self.get_historical_resolver(self._looked_through)
            seen = set(self._asked_for)
            then.led_to([then.trailer_view] if self._looked_through == 0 else then.own_objects(), seen)
            self._asked_for |= dict.fromkeys(seen - self._asked_for.keys(), self._looked_through)
            self._looked_through += 1
        return self._asked_for.get(number, revision + 1) <= revision

    def read_at(self, start: int, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` bytes from ``start``."""
        if self._large is not None:
            return self._large.bytes_at(start, size_bytes)
        self.stream.seek(start)
        content: bytes = self.stream.read(size_bytes)
        return content

    def page_count(self) -> int:
        """Return how many pages the page tree says it has.

        Raises:
            Unsound: it does not say.
        """
        count = self.root["/Pages"]["/Count"]
        if not isinstance(count, int) or count < 0:
            raise Unsound("the page tree has no count")
        return int(count)

    def _read_object(
        self,
        ref: generic.Reference,
        marker: int | ObjStreamRef | None,
        never_decrypt: bool = False,  # noqa: FBT001, FBT002 - pyHanko's signature
        as_metadata_stream: bool = False,  # noqa: FBT001, FBT002 - pyHanko's signature
    ) -> generic.PdfObject:
        """Return the object that stands where ``marker`` says, read in one go if it is written plainly."""
        if isinstance(marker, int) and not as_metadata_stream and not self._has_secrets:
            own = generic.Reference(ref.idnum, ref.generation, self)
            plain = read_plain(self.read_at, marker, own, read_data=self._read_data)
            if plain is not None:
                return _with_data_left(plain)
        with nullcontext() if self._large is None or self._has_secrets else self._large.leaving():
            found: generic.PdfObject = super()._read_object(ref, marker, never_decrypt, as_metadata_stream)
        return _with_data_left(found)

    def _read_data(self, start: int, size_bytes: int) -> bytes:
        return self.read_at(start, size_bytes) if self._large is None else self._large.data_at(start, size_bytes)

    @cached_property
    def _has_secrets(self) -> bool:
        """Whether its strings and streams are encrypted, so that they have to be wrapped."""
        return "/Encrypt" in self.trailer_view


def _with_data_left(found: generic.PdfObject) -> generic.PdfObject:
    """Return what was read, or, if that is a stream whose data was left in the file, one that reads it anew."""
    data = found._encoded_data if isinstance(found, generic.StreamObject) else None  # noqa: SLF001 - as it was read
    if not isinstance(data, large.Left):
        return found
    if type(found) is not generic.StreamObject:  # a stream of metadata
        found._encoded_data = data.read()  # type: ignore[attr-defined] # noqa: SLF001 - as above
        return found
    left = LeftStream(found, data)
    left.container_ref = found.container_ref
    return left


def _stream(file: BinaryIO, size_bytes: int) -> BinaryIO:
    """Return the first ``size_bytes`` bytes of ``file``, to be read in any order; in memory if they are few."""
    source = Slice(file, size_bytes)
    if size_bytes > _IN_MEMORY_BYTES:
        return io.BufferedReader(source, _BUFFER_BYTES)
    return io.BytesIO(io.BufferedReader(source, size_bytes or 1).read())


def entry(dictionary: generic.DictionaryObject, key: str, default: Any = None) -> Any:  # noqa: ANN401 - any PDF object
    """Return the object under ``key``, wherever it is kept, or ``default`` if there is none.

    pyHanko's dictionaries inherit a ``get`` that does not follow references.
    """
    try:
        return dictionary[key]
    except KeyError:
        return default


def open_pdf(file: BinaryIO, size_bytes: int) -> Reader:
    """Return a reader of the first ``size_bytes`` bytes of ``file``, which are a PDF that opens without a password.

    Raises:
        Unsound: it does not begin as a PDF does, or needs a password. pyHanko may raise anything else.
    """
    file.seek(0)
    if file.read(len(PDF_HEADER)) != PDF_HEADER:
        raise Unsound("it does not begin as a PDF does")
    reader = Reader(file, size_bytes)
    if reader.encrypted and reader.decrypt(b"").status == AuthStatus.FAILED:
        raise Unsound("it needs a password")
    return reader


def kind_of(error: object) -> str:
    """Return the kind of a library's error, fit for a report: its text may quote the document, and is left out."""
    return type(error).__name__
