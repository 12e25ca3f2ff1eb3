"""Objects are the same if they say the same, however they are written, and are not if they do not."""

from pathlib import Path

import pytest

from revisions import write
from sealdrop.pdf.equality import raw, same
from sealdrop.pdf.reader import Reader

COMMON = {
    2: "<< /Count 0 /Kids [] >>",
    3: "<< /A 4 0 R >>",
    4: "<< /A 3 0 R >>",
    5: "<< /A 5 0 R /B 1 >>",
    6: "<< /A 5 0 R /B 1 >>",
    7: "<< /Length 1 >>\nstream\nq\nendstream",
    8: "<< /Length 1 >>\nstream\nQ\nendstream",
    9: "<< /Length 1 >>\nstream\nq\nendstream",
}


def _same(folder: Path, old: str, new: str) -> bool:
    """Compare an entry of the catalogue of two revisions that share all other objects."""
    catalogue = "<< /Type /Catalog /Pages 2 0 R /Entry {} >>"
    path = folder / "two.pdf"
    path.write_bytes(write({1: catalogue.format(new)}, after=write({1: catalogue.format(old), **COMMON})))
    with path.open("rb") as file:
        reader = Reader(file, path.stat().st_size)
        before, after = (reader.get_historical_resolver(revision).root for revision in (0, 1))
        return same(raw(before, "/Entry"), raw(after, "/Entry"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("null", "null"),
        ("true", "true"),
        ("1", "1.0"),
        (".5", "0.50"),
        ("/A#42", "/AB"),
        ("(AB)", "<4142>"),
        ("(AB)", "<FEFF00410042>"),
        ("<80FF00>", "<80ff00>"),
        ("[1 (x) /Y]", "[1.0 <78> /Y]"),
        ("<< /A 1 /B [2] >>", "<< /B [2] /A 1 >>"),
        ("<< /A null >>", "<< >>"),
        ("<< /A 99 0 R >>", "<< >>"),
        ("3 0 R", "4 0 R"),
        ("5 0 R", "6 0 R"),
        ("5 0 R", "<< /A 5 0 R /B 1 >>"),
        ("7 0 R", "9 0 R"),
    ],
)
def test_the_same_however_it_is_written(tmp_path: Path, old: str, new: str) -> None:
    """Spelling, order, null entries and references make no difference, in either direction."""
    assert _same(tmp_path, old, new)
    assert _same(tmp_path, new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("true", "false"),
        ("true", "1"),
        ("null", "0"),
        ("1", "2"),
        ("/A", "(A)"),
        ("(/A)", "/A"),
        ("(A)", "(B)"),
        ("<80FF00>", "<80FF01>"),
        ("[1 2]", "[2 1]"),
        ("[1]", "[1 1]"),
        ("[1]", "1"),
        ("<< /A 1 >>", "<< /A 2 >>"),
        ("<< /A 1 >>", "<< /A 1 /B 1 >>"),
        ("5 0 R", "3 0 R"),
        ("5 0 R", "99 0 R"),
        ("7 0 R", "8 0 R"),
        ("7 0 R", "<< /Length 1 >>"),
    ],
)
def test_not_the_same(tmp_path: Path, old: str, new: str) -> None:
    """Another value, type, order or length is a difference, in either direction."""
    assert not _same(tmp_path, old, new)
    assert not _same(tmp_path, new, old)
