"""Agreement with the corpus of PDFs that nobody on this project made, where it is at hand."""

import csv
from pathlib import Path

import pytest

from sealdrop.config import Validation
from sealdrop.model import Reason, Verdict
from sealdrop.pdf.inspect import inspect

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"

# What is said here in place of what the index has, and why.
DIFFERENCES = {
    # Its configuration asks for dynamic rendering, with a line break inside the tag: the rule is about such files.
    "040.pdf": ("reject", Reason.XFA_DYNAMIC, frozenset[Reason]()),
    # pypdf 7.1.0 refuses an object stream that gives two objects the same offset, so the page tree cannot be walked.
    "046.pdf": ("reject", Reason.UNREADABLE, frozenset[Reason]()),
    # The trailer has no /Size; pypdf 7.1.0 reads the pages all the same, so it gets as far as the next reason.
    "093.pdf": ("reject", Reason.XREF_BROKEN, frozenset[Reason]()),
}

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside this repository")


def _rows() -> list[dict[str, str]]:
    if not CORPUS.is_dir():
        return []
    with (CORPUS / "index.csv").open(newline="") as index:
        return list(csv.DictReader(index))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["file"])
def test_verdict_code_and_warnings_agree(row: dict[str, str]) -> None:
    """Verdict, code, and the set of warnings and notes are those of the index, save for the named differences."""
    indexed = (row["verdict"], row["code"] or None, frozenset(filter(None, row["warnings"].split("+"))))
    expected = DIFFERENCES.get(row["file"], indexed)
    assert expected == indexed or row["file"] in DIFFERENCES
    inspection = inspect(CORPUS / row["file"], Validation())
    found = frozenset(finding.code for finding in (*inspection.warnings, *inspection.notes))
    assert (inspection.verdict, inspection.cause and inspection.cause.code, found) == expected
    assert (inspection.cause is None) == (inspection.verdict is Verdict.ACCEPT)


def test_differences_are_still_needed() -> None:
    """A named difference that has become agreement must be taken off the list."""
    indexed = {
        row["file"]: (row["verdict"], row["code"] or None, frozenset(filter(None, row["warnings"].split("+"))))
        for row in _rows()
    }
    assert not [file for file, expected in DIFFERENCES.items() if expected == indexed[file]]
