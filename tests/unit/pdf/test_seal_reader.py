"""Our reader sees what pyHanko's own sees, faster, and only the bytes that it is given."""

from io import BytesIO
from pathlib import Path

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from seal_pdfs import make_pdf
from sealdrop.model import SealLevel
from sealdrop.pdf.reader import Reader, Slice, Unsound, open_pdf
from seals import seal


@pytest.mark.parametrize("xref", ["table", "stream", "hybrid"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda pdf: pdf, id="as-it-is"),
        pytest.param(lambda pdf: pdf.replace(b"00>\n/ByteRange", b"  >\n/ByteRange"), id="with-white-space"),
        pytest.param(lambda pdf: pdf.replace(b"00>\n/ByteRange", b" 0>\n/ByteRange"), id="odd"),
    ],
)
def test_signatures_are_what_pyhanko_reads(tmp_path: Path, xref: str, change: object) -> None:
    """Each signature's value and byte range are the same as pyHanko reads them by itself."""
    assert callable(change)
    path = tmp_path / "sealed.pdf"
    path.write_bytes(change(seal(make_pdf(xref=xref), SealLevel.LTA)))
    with path.open("rb") as file:
        ours = Reader(file, path.stat().st_size).embedded_signatures
        theirs = PdfFileReader(BytesIO(path.read_bytes()), strict=False).embedded_signatures
        assert [(one.field_name, one.pkcs7_content, list(one.byte_range)) for one in ours] == [
            (one.field_name, one.pkcs7_content, list(one.byte_range)) for one in theirs
        ]
        assert len(ours) == 2


def test_a_slice_ends_where_it_should(tmp_path: Path) -> None:
    """Nothing behind the slice can be read, and a place before the file is an error of the document."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        part = Slice(file, 4)
        assert part.readall() == b"0123"
        assert part.seek(-2, 2) == 2
        assert part.read(9) == b"23"
        assert part.seek(1, 1) == 5
        assert part.read() == b""
        with pytest.raises(ValueError, match="before the beginning"):
            part.seek(-1)


def test_a_pdf_that_begins_with_something_else_is_none(tmp_path: Path) -> None:
    """The header has to be at byte 0."""
    path = tmp_path / "file"
    path.write_bytes(b" " + make_pdf())
    with path.open("rb") as file, pytest.raises(Unsound, match="does not begin"):
        open_pdf(file, path.stat().st_size)
