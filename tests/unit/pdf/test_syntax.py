"""What is read plainly is what pyHanko reads, and what is not plain is left to pyHanko."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import PdfFileReader

from seal_pdfs import make_pdf
from sealdrop.model import SealLevel
from sealdrop.pdf.reader import Reader
from sealdrop.pdf.syntax import read_plain
from seals import seal

SEALS = sorted((Path(__file__).parents[2] / "data" / "seals").glob("*.pdf"))
READER = PdfFileReader(BytesIO(make_pdf()), strict=False)
REF = generic.Reference(7, 0, READER)


def _plain(content: bytes) -> generic.PdfObject | None:
    def read_at(at: int, size_bytes: int) -> bytes:
        return content[at : at + size_bytes]

    return read_plain(read_at, 0, REF)


def _by_pyhanko(content: bytes) -> generic.PdfObject:
    """Return what stands behind ``7 0 obj`` as pyHanko reads it."""
    stream = BytesIO(content)
    stream.seek(len("7 0 obj"))
    generic.read_non_whitespace(stream, seek_back=True)  # type: ignore[no-untyped-call]
    found: generic.PdfObject = generic.read_object(stream, REF)
    return found


def _told(found: generic.PdfObject | None) -> object:
    """Return all that there is to be said of an object: its kind, its content, and whose part it is."""
    content: object = None if isinstance(found, generic.NullObject) else repr(found)
    if isinstance(found, generic.DictionaryObject):
        content = [(str(key), type(key), _told(value)) for key, value in dict.items(found)]
        if isinstance(found, generic.StreamObject):
            content = (content, found.encoded_data)
    elif isinstance(found, generic.ArrayObject):
        content = [_told(item) for item in list.__iter__(found)]
    elif isinstance(found, generic.TextStringObject | generic.ByteStringObject):
        content = found.original_bytes
    assert found is not None
    pdf = found.get_pdf_handler() if isinstance(found, generic.IndirectObject) else None
    return type(found), content, found.container_ref, id(pdf)


PLAIN = [
    b"7 0 obj <</A 1/B[1 2.5 -3 +4 .5 6. 8 0 R]/C(text)/D<00ff>/E/F>> endobj",
    b"7 0 obj\r\n<< /A << /B [ true false null ] >> /C () /D <> >>\r\nendobj",
    b"7 0 obj (Seal\\055a\\(b\\)\\\\c) endobj",
    b"7 0 obj [ /A /B.C_d+e 00012 ] endobj",
    b"7 0 obj\n<</Length 5>>\nstream\nhello\nendstream\nendobj",
    b"7 0 obj\n<</Length 5>>stream\r\nhello endstream endobj",
    b"7 0 obj\n<</Length 0>> stream\nendstream\nendobj",
]


@pytest.mark.parametrize("content", PLAIN)
def test_plain_objects_are_read_in_one_go(content: bytes) -> None:
    """What software usually writes is read without pyHanko, and is what pyHanko reads."""
    assert _told(_plain(content)) == _told(_by_pyhanko(content))


@pytest.mark.parametrize(
    "content",
    [
        b"8 0 obj 1 endobj",  # another object
        b"7 1 obj 1 endobj",
        b"7  0 obj 1 endobj",
        b"7 0 obj 1",
        b"7 0 obj 1 2 endobj",
        b"7 0 obj % a comment\n 1 endobj",
        b"7 0 obj /A#42 endobj",
        b"7 0 obj /\xe9 endobj",
        b"7 0 obj (a(b)c) endobj",
        b"7 0 obj (a\\nb) endobj",
        b"7 0 obj (a\\777) endobj",
        b"7 0 obj <0> endobj",
        b"7 0 obj <0 0> endobj",
        b"7 0 obj <</A 1/A 2>> endobj",
        b"7 0 obj <</A>> endobj",
        b"7 0 obj <<1 2>> endobj",
        b"7 0 obj <</A 1] endobj",
        b"7 0 obj [1>> endobj",
        b"7 0 obj [1 0  R] endobj",
        b"7 0 obj [12345678 0 R] endobj",
        b"7 0 obj [1 0 Rx] endobj",
        b"7 0 obj [1,2] endobj",
        b"7 0 obj [1-2] endobj",
        b"7 0 obj truefalse endobj",
        b"7 0 obj " + b"[" * 40 + b"]" * 40 + b" endobj",
        b"7 0 obj <</Length 4>>\nstream\nhello\nendstream\nendobj",
        b"7 0 obj <</Length 9999>>\nstream\nhello\nendstream\nendobj",
        b"7 0 obj <</Length -1>>\nstream\nhello\nendstream\nendobj",
        b"7 0 obj <</Length 8 0 R>>\nstream\nhello\nendstream\nendobj",
        b"7 0 obj <</Length 5>>\nstream \nhello\nendstream\nendobj",
        b"7 0 obj [1]\nstream\nhello\nendstream\nendobj",
        b"7 0 obj (" + b"a\\055" * 20_000,
    ],
)
def test_what_is_not_plain_is_left_to_pyhanko(content: bytes) -> None:
    """Whatever could be read in more than one way is not read here."""
    assert _plain(content) is None


WORDS = rb"<< >> [ ] /A /B /Length 1 -2 +3.5 .5 4. (a) (\101) (\ ( ) <00> <0 > true false null R obj #41 % - . ,"
TOKENS = st.sampled_from(
    [*WORDS.split(), b"5 0 R", b"6 12 R", b"stream\n", b"endstream", b"endobj", b"\xff", b"\0", b"{", b"}"]
)
SPACES = st.sampled_from([b"", b" ", b"\n", b"\r\n", b"\t ", b"\0", b"\x0b"])


@given(st.lists(st.tuples(SPACES, TOKENS), max_size=14), st.booleans())
def test_whatever_is_read_is_what_pyhanko_reads(parts: list[tuple[bytes, bytes]], in_dictionary: bool) -> None:
    """Of any sequence of tokens, what is read plainly is what pyHanko makes of it."""
    inside = b"".join(part for pair in parts for part in pair)
    content = b"7 0 obj <</A %b>> endobj" % inside if in_dictionary else b"7 0 obj %b endobj" % inside
    found = _plain(content)
    if found is not None:
        assert _told(found) == _told(_by_pyhanko(content))


@pytest.mark.parametrize("path", SEALS, ids=lambda path: path.stem)
def test_documents_of_other_software(path: Path) -> None:
    """Every object of what PDFBox and iText wrote is what pyHanko reads, in each revision."""
    _compare(path.read_bytes(), path)


@pytest.mark.parametrize("xref", ["table", "stream", "hybrid"])
def test_documents_of_pyhanko(tmp_path: Path, xref: str) -> None:
    """Every object of what pyHanko wrote is what pyHanko reads, in each revision."""
    path = tmp_path / "sealed.pdf"
    path.write_bytes(seal(make_pdf(xref=xref), SealLevel.LTA))
    _compare(path.read_bytes(), path)


def _compare(content: bytes, path: Path) -> None:
    theirs = PdfFileReader(BytesIO(content), strict=False)
    with path.open("rb") as file:
        ours = Reader(file, len(content))
        for revision in range(ours.xrefs.total_revisions):
            for ref in ours.xrefs.explicit_refs_in_revision(revision):
                assert _content(ours.get_object(ref, revision)) == _content(theirs.get_object(ref, revision))


def _content(found: generic.PdfObject) -> object:
    """Return what an object says, whoever read it; a signature's value may be text to pyHanko."""
    if isinstance(found, generic.DictionaryObject):
        items = [(str(key), _content(value)) for key, value in dict.items(found)]
        return items, found.encoded_data if isinstance(found, generic.StreamObject) else None
    if isinstance(found, generic.ArrayObject):
        return [_content(item) for item in list.__iter__(found)]
    if isinstance(found, generic.TextStringObject | generic.ByteStringObject):
        return found.original_bytes
    return type(found), None if isinstance(found, generic.NullObject) else repr(found), found.container_ref


def test_a_signature_is_never_read_digit_by_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seal's dictionary, with the long value in it, is read without pyHanko's help."""
    path = tmp_path / "sealed.pdf"
    path.write_bytes(seal(make_pdf()))

    def refuse(*_: object, **__: object) -> None:
        raise PdfReadError("read by pyHanko")

    with path.open("rb") as file:
        reader = Reader(file, path.stat().st_size)
        monkeypatch.setattr(generic, "read_object", refuse)
        assert reader.root["/AcroForm"]["/Fields"][0]["/V"]["/Contents"][:2] == b"\x30\x82"


@pytest.mark.parametrize("value", [b"8 0 R", b"/a#20b", b"<< /A 1 /A 2 >>"])
def test_what_is_for_pyhanko_is_looked_at_once(value: bytes) -> None:
    """However much follows, only a string can be longer than what is looked at first; all else is settled by then."""
    kind = b"/Length" if value.endswith(b"R") else b"/X"
    content = b"7 0 obj\n<< " + kind + b" " + value + b" >>\nstream\n" + bytes(100_000) + b"\nendstream\nendobj\n"
    looks: list[int] = []

    def read_at(at: int, size_bytes: int) -> bytes:
        looks.append(size_bytes)
        return content[at : at + size_bytes]

    assert read_plain(read_at, 0, REF) is None
    assert len(looks) == 1
