"""What a PDF's own bytes say about its structure, before any parser has had its say.

Parsers repair silently, so whether a file is whole is looked up here, in the bytes: where the header is (ISO 32000-2,
7.5.2), whether the end is there (7.5.5), and whether ``startxref`` and every ``/Prev`` after it lead to a
cross-reference table (7.5.4) or stream (7.5.8). pypdf is used only to read a single trailer dictionary.

Broken means that an incremental update could not be told what it adds to. Lenient means that readers agree on what
was meant, against the letter of the standard.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pypdf import PdfReader
from pypdf.generic import DictionaryObject, NumberObject

HEAD_BYTES = 1024  # the header may start anywhere in here (ISO 32000-1, annex H.3, note 13)
TAIL_BYTES = 1024  # the end-of-file marker must start in here (annex H.3, note 18)
STARTXREF_BYTES = 1024  # how far before the end-of-file marker startxref may stand
DICTIONARY_BYTES = 1 << 16  # no trailer or cross-reference stream dictionary seen in practice comes near
KEYWORD_BYTES = 256  # enough for a keyword or an object header with the white space around it
MAX_SECTIONS = 10_000  # revisions of one file
MIN_ENTRY_BYTES = 18  # of a table's entry: ten digits, five digits, a letter, and what separates them
MAX_ENTRY_BYTES = 24

_HEADER = re.compile(rb"%PDF-(\d\.\d)?")
_STARTXREF = re.compile(rb"startxref[\s\0]*(\d{1,15})?")
_TABLE = re.compile(rb"([\s\0]*)xref([ \t\0]*)(?:\r\n|\n|\r|(?=\d|trailer))[\s\0]*")
_STREAM = re.compile(rb"([\s\0]*)\d{1,10}[\s\0]+\d{1,5}[\s\0]+obj[\s\0]*(?=<<)")
# A comment ends at its first line end: were the others a part of it too, they could be shared out in endless ways.
_SUBSECTION = re.compile(
    rb"(?:%[^\r\n]*[\r\n]|[\s\0])*(?:(\d{1,10})([ \t]+)(\d{1,10})([ \t]*)[\r\n]+|(trailer)[\s\0]*)"
)
# Entries of 20 bytes each, as the standard has them, and of 19, which all readers take as well.
_REGULAR_ENTRIES = (
    (20, re.compile(rb"(?:\d{10} \d{5} [nf](?: \r| \n|\r\n))*")),
    (19, re.compile(rb"(?:\d{10} \d{5} [nf]\n)*|(?:\d{10} \d{5} [nf]\r)*")),
)
_LOOSE_ENTRY = re.compile(rb"[\s\0]*\d{1,10}[ \t]+\d{1,5}[ \t]+[nf]")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file's landmarks are, in bytes from its start; None where one is missing.

    ``startxref`` is the number behind the last ``startxref``, None where there is a keyword but no number;
    ``truncated`` says which landmark of the end is missing, or is empty.
    """

    size_bytes: int
    header_offset: int | None
    version: str
    startxref: int | None
    truncated: str
    trailing_bytes: int


@dataclass(frozen=True, slots=True)
class Xref:
    """How the chain of cross-reference sections holds; ``broken`` and ``lenient`` say why, or are empty."""

    broken: str = ""
    lenient: str = ""
    hybrid: bool = False


@dataclass(frozen=True, slots=True)
class _Section:
    """One cross-reference section: its trailer dictionary, one more than its highest object number, its oddity."""

    trailer: Mapping[str, object]
    top: int
    lenient: str


class _Broken(Exception):
    """The section is not one; the text says why."""


def read_layout(file: BinaryIO, size_bytes: int) -> Layout:
    """Return where the landmarks of ``file`` are; reads its first and last few kilobytes only."""
    head = _window(file, 0, HEAD_BYTES + len("%PDF-1.7"))
    header = _HEADER.search(head)
    tail_bytes = min(size_bytes, TAIL_BYTES + STARTXREF_BYTES)
    tail = _window(file, size_bytes - tail_bytes, tail_bytes)
    eof = tail.rfind(b"%%EOF")
    if eof < len(tail) - TAIL_BYTES:
        eof = -1
    keyword = tail.rfind(b"startxref", 0, eof if eof >= 0 else None)
    found = _STARTXREF.match(tail, keyword) if keyword >= 0 else None
    truncated = ""
    if eof < 0:
        truncated = f"no %%EOF in the last {TAIL_BYTES} bytes"
    elif found is None:
        truncated = "no startxref before the end"
    return Layout(
        size_bytes=size_bytes,
        header_offset=header.start() if header is not None and header.start() < HEAD_BYTES else None,
        version=(header[1] or b"").decode("ascii") if header is not None else "",
        startxref=int(found[1]) if found is not None and found[1] is not None else None,
        truncated=truncated,
        # NUL counts as data: padding written by a transfer is no part of the document.
        trailing_bytes=len(tail[eof + len("%%EOF") :].strip(b" \t\r\n\f")) if eof >= 0 else 0,
    )


def read_xref(file: BinaryIO, layout: Layout, reader: PdfReader) -> Xref:
    """Return whether every cross-reference section, from the newest back to the first, is where it should be.

    ``reader`` only lends itself to the references in the trailers, which are not followed.
    """
    lenient: list[str] = []
    hybrid = False
    offset = layout.startxref
    newest: _Section | None = None
    top = 0
    seen: set[int] = set()
    while True:
        place = "startxref" if newest is None else "/Prev"
        if offset is None or offset >= layout.size_bytes:
            return Xref(broken=f"{place} does not lead into the file", hybrid=hybrid)
        if offset in seen or len(seen) == MAX_SECTIONS:
            return Xref(broken="the chain of cross-reference sections does not end", hybrid=hybrid)
        seen.add(offset)
        try:
            section = _read_section(file, offset, layout.size_bytes, reader)
        except _Broken as error:
            return Xref(broken=f"{place} leads to {error}", hybrid=hybrid)
        newest = newest or section
        top = max(top, section.top)
        lenient += [section.lenient] if section.lenient else []
        hybrid = hybrid or "/XRefStm" in section.trailer
        previous = section.trailer.get("/Prev")
        if previous is None:
            break
        if not isinstance(previous, (int, float)):
            return Xref(broken="/Prev is not a number", hybrid=hybrid)
        if previous <= 0:  # some producers write it where there is no earlier section
            lenient.append("a /Prev that leads nowhere")
            break
        offset = int(previous)
    size = newest.trailer.get("/Size")
    if not isinstance(size, int):
        return Xref(broken="the trailer has no /Size", hybrid=hybrid)
    if size < top:
        # New objects are numbered from /Size on: they would take the place of objects that are in use.
        return Xref(broken="/Size is smaller than the objects' numbers", hybrid=hybrid)
    return Xref(lenient=lenient[0] if lenient else "", hybrid=hybrid)


def _read_section(file: BinaryIO, offset: int, size_bytes: int, reader: PdfReader) -> _Section:
    start = _window(file, offset, KEYWORD_BYTES)
    table = _TABLE.match(start)
    if table is not None:
        section = _read_table(file, offset + table.end(), size_bytes, reader)
        padded = table[1] or table[2]
    else:
        stream = _STREAM.match(start)
        if stream is None:
            raise _Broken("neither a cross-reference table nor a stream")
        section = _read_stream(file, offset + stream.end(), reader)
        padded = stream[1]
    if padded and not section.lenient:
        return _Section(section.trailer, section.top, "white space around the start of a cross-reference section")
    return section


def _read_table(file: BinaryIO, offset: int, size_bytes: int, reader: PdfReader) -> _Section:
    lenient = ""
    top = 0
    first_number: int | None = None
    while True:
        line = _SUBSECTION.match(_window(file, offset, KEYWORD_BYTES))
        if line is None:
            raise _Broken("a cross-reference table that cannot be read")
        offset += line.end()
        if line[5] is not None:
            break
        start, count = int(line[1]), int(line[3])
        if len(line[2]) != 1 or len(line[4]) > 1:
            lenient = lenient or "a cross-reference subsection with extra white space"
        if count * MIN_ENTRY_BYTES > size_bytes - offset:
            raise _Broken("a cross-reference table longer than the file")
        entries_bytes, regular = _entries(file, offset, count)
        offset += entries_bytes
        if not regular:
            lenient = lenient or "cross-reference entries of irregular length"
        top = max(top, start + count if count else 0)
        first_number = start if first_number is None else first_number
    trailer = _dictionary(_window(file, offset, DICTIONARY_BYTES), reader)
    if first_number and "/Prev" not in trailer and "/XRefStm" not in trailer:
        lenient = lenient or "a cross-reference table that does not begin with object 0"
    return _Section(trailer, top, lenient)


def _entries(file: BinaryIO, offset: int, count: int) -> tuple[int, bool]:
    """Return the bytes that ``count`` entries take, and whether they are as regular as all readers expect."""
    for entry_bytes, pattern in _REGULAR_ENTRIES:
        regular = _window(file, offset, count * entry_bytes)
        if len(regular) == count * entry_bytes and pattern.fullmatch(regular):
            return len(regular), True
    loose = _window(file, offset, count * MAX_ENTRY_BYTES)
    position = 0
    for _ in range(count):
        entry = _LOOSE_ENTRY.match(loose, position)
        if entry is None:
            raise _Broken("a cross-reference table with entries that cannot be read")
        position = entry.end()
    return position, False


def _read_stream(file: BinaryIO, offset: int, reader: PdfReader) -> _Section:
    window = _window(file, offset, DICTIONARY_BYTES)
    trailer = _dictionary(window.partition(b"stream")[0], reader)
    if trailer.get("/Type") != "/XRef":
        raise _Broken("an object that is not a cross-reference stream")
    size = trailer.get("/Size")
    index = trailer.get("/Index")
    top = size if isinstance(size, int) else 0
    if isinstance(index, list) and all(isinstance(number, int) for number in index):
        top = max((start + count for start, count in zip(index[::2], index[1::2], strict=False)), default=0)
    return _Section(trailer, top, "")


def _dictionary(window: bytes, reader: PdfReader) -> Mapping[str, object]:
    """Return the direct values of the dictionary at the start of ``window``."""
    try:
        parsed = DictionaryObject.read_from_stream(BytesIO(window), reader)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # pypdf raises anything on broken input
        raise _Broken("a trailer that cannot be read") from error
    return {str(key): int(value) if isinstance(value, NumberObject) else value for key, value in dict.items(parsed)}


def _window(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
