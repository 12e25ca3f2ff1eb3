"""How large a page is that a visible seal should stand on, as inspection reports it."""

from pathlib import Path

import pytest

from pdfs import document, with_table
from sealdrop.config import SealPage, Validation
from sealdrop.model import PageArea
from sealdrop.pdf.inspect import inspect


def _area(tmp_path: Path, content: bytes, page: SealPage | None) -> PageArea | None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    return inspect(path, Validation(), page).seal_page


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("first", PageArea(1, 10, 20, 90, 180, 270, 2.0)),
        ("last", PageArea(3, 0, 0, 200, 200)),
        (2, PageArea(2, 0, 0, 200, 200)),
        (4, None),
        (None, None),
    ],
)
def test_the_page_asked_about_is_measured(tmp_path: Path, page: SealPage | None, expected: PageArea | None) -> None:
    """The first, the last or a numbered one, with its crop box, rotation and unit; no other, and none unasked."""
    content = document(pages=3, page="/CropBox [10 20 100 200] /Rotate -90 /UserUnit 2")
    assert _area(tmp_path, content, page) == expected


def test_what_a_page_inherits_counts(tmp_path: Path) -> None:
    """Boxes and rotation that stand in the tree above the page are its own (ISO 32000-1, 7.7.3.4)."""
    content = with_table(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: "<< /Type /Pages /Kids [5 0 R] /Count 1 /MediaBox [0 0 500 400] /Rotate 90 >>",
            5: "<< /Type /Pages /Parent 2 0 R /Kids [3 0 R] /Count 1 /CropBox 6 0 R >>",
            3: "<< /Type /Page /Parent 5 0 R >>",
            6: "[100 100 300 200]",
        }
    )
    assert _area(tmp_path, content, "first") == PageArea(1, 100, 100, 200, 100, 90)


@pytest.mark.parametrize("box", ["[0 0 0 0]", "[/a /b /c /d]", "(x)", "null", "[1 2]"])
def test_a_page_without_a_size_has_none(tmp_path: Path, box: str) -> None:
    """A box that is no box is told as none, and the document is otherwise what it was."""
    content = document(page="").replace(b"/MediaBox [0 0 200 200]", f"/MediaBox {box}".encode().ljust(23))
    assert _area(tmp_path, content, "first") is None
