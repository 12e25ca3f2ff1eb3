"""What inspection reads from the bytes: header, end of file, cross-reference sections."""

import io

import pytest
from pypdf import PdfReader

import pdfs
from sealdrop.pdf.structure import Xref, read_layout, read_xref

GOOD = pdfs.document()
STREAMED = pdfs.with_stream(
    {1: "<< /Type /Catalog /Pages 2 0 R >>", 2: "<< /Type /Pages /Count 1 /Kids [3 0 R] >>", 3: "<< /Type /Page >>"}
)


def xref(document: bytes) -> Xref:
    """Return what is said of the document's cross-reference sections."""
    layout = read_layout(io.BytesIO(document), len(document))
    return read_xref(io.BytesIO(document), layout, PdfReader(io.BytesIO(GOOD)))


def moved(document: bytes, startxref: int) -> bytes:
    """Return ``document`` with another ``startxref``."""
    return document[: document.rindex(b"startxref")] + b"startxref\n%d\n%%%%EOF\n" % startxref


def test_landmarks() -> None:
    """Header, version, startxref and end are found where they are."""
    layout = read_layout(io.BytesIO(GOOD), len(GOOD))
    assert (layout.header_offset, layout.version, layout.truncated, layout.trailing_bytes) == (0, "1.7", "", 0)
    assert layout.startxref == GOOD.index(b"xref\n")


@pytest.mark.parametrize(("before", "found"), [(0, 0), (1, 1), (1023, 1023), (1024, None), (5000, None)])
def test_the_header_is_looked_for_in_the_first_1024_bytes(before: int, found: int | None) -> None:
    """A header may start at byte 1,023 and not later."""
    document = b"x" * before + GOOD
    assert read_layout(io.BytesIO(document), len(document)).header_offset == found


@pytest.mark.parametrize(("after", "truncated"), [(0, False), (1018, False), (1019, True)])
def test_the_end_is_looked_for_in_the_last_1024_bytes(after: int, truncated: bool) -> None:
    """An end-of-file marker counts if it begins in the last 1,024 bytes."""
    document = GOOD + b"x" * after  # GOOD ends in %%EOF and one newline
    assert bool(read_layout(io.BytesIO(document), len(document)).truncated) is truncated


@pytest.mark.parametrize(("after", "trailing"), [(b"\r\n \t", 0), (b"\0", 1), (b"junk\n", 4)])
def test_white_space_is_no_trailing_data(after: bytes, trailing: int) -> None:
    """White space after the end is nothing, a NUL is something."""
    document = GOOD + after
    assert read_layout(io.BytesIO(document), len(document)).trailing_bytes == trailing


@pytest.mark.parametrize(
    "document",
    [
        GOOD,
        STREAMED,
        pdfs.updated(GOOD, {10: "null"}),
        pdfs.updated(pdfs.updated(GOOD, {10: "null"}), {11: "null"}),
        GOOD.replace(b" \n", b"\r\n").replace(b"xref\n0 1", b"xref\r0 1"),
    ],
    ids=["table", "stream", "update", "two updates", "other line ends"],
)
def test_sections_that_hold(document: bytes) -> None:
    """Tables and streams as the standard has them give no finding."""
    assert xref(document) == Xref()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (moved(GOOD, 100_000), "does not lead into the file"),
        (GOOD.replace(b"startxref\n", b"startxref\nx"), "does not lead into the file"),
        (moved(GOOD, 9), "neither a cross-reference table nor a stream"),
        (moved(GOOD, GOOD.index(b"xref\n") + 1), "neither a cross-reference table nor a stream"),
        (moved(GOOD, GOOD.index(b"2 0 obj")), "an object that is not a cross-reference stream"),
        (moved(STREAMED, STREAMED.index(b"1 0 obj")), "an object that is not a cross-reference stream"),
        (GOOD.replace(b"xref\n0 1\n", b"xref\n0 x\n"), "cannot be read"),
        (GOOD.replace(b"xref\n0 1\n", b"xref\n0 1000000\n"), "longer than the file"),
        (GOOD.replace(b"65535 f", b"6x535 f"), "entries that cannot be read"),
        (GOOD.replace(b"trailer\n<<", b"trailer\n<x"), "a trailer that cannot be read"),
        (GOOD.replace(b"/Size", b"/Sise"), "no /Size"),
        (GOOD.replace(b"/Size 5", b"/Size 3"), "smaller than the objects' numbers"),
        (pdfs.document(trailer="/Prev 20"), "/Prev leads to neither"),
        (pdfs.document(trailer="/Prev /Name"), "/Prev is not a number"),
        (pdfs.document(trailer=f"/Prev {GOOD.index(b'xref')}"), "does not end"),
    ],
)
def test_sections_that_are_broken(document: bytes, reason: str) -> None:
    """Whatever keeps a section from being one is found in the bytes, and named."""
    assert reason in xref(document).broken


@pytest.mark.parametrize(
    ("document", "oddity"),
    [
        (GOOD.replace(b"xref\n0 1\n", b"xref\n0   1\n"), "extra white space"),
        (GOOD.replace(b"65535 f \n", b"65535 f  \r\n"), "irregular length"),
        (GOOD.replace(b"0 1\n0000000000 65535 f \n", b""), "does not begin with object 0"),
        (moved(GOOD, GOOD.index(b"xref\n") - 1), "white space around the start"),
        (pdfs.document(trailer="/Prev 0"), "leads nowhere"),
    ],
)
def test_sections_that_all_readers_understand(document: bytes, oddity: str) -> None:
    """Small liberties are told from faults."""
    found = xref(document)
    assert not found.broken
    assert oddity in found.lenient


def test_hybrid_files_are_told() -> None:
    """A table with a pointer to a stream is hybrid, in whichever revision it is."""
    assert xref(pdfs.document(trailer="/XRefStm 15")).hybrid
    assert xref(pdfs.updated(pdfs.document(trailer="/XRefStm 15"), {10: "null"})).hybrid
    assert not xref(GOOD).hybrid


def test_revisions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of more revisions than the limit is not followed."""
    document = pdfs.updated(pdfs.updated(GOOD, {10: "null"}), {11: "null"})
    monkeypatch.setattr("sealdrop.pdf.structure.MAX_SECTIONS", 2)
    assert "does not end" in xref(document).broken
