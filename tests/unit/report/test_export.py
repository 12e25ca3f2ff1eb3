"""Documents and records as tables."""

import csv
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_months import write_trail
from sealdrop.audit.reading import read_records
from sealdrop.report.export import (
    BYTE_ORDER_MARK,
    DOCUMENT_COLUMNS,
    RECORD_COLUMNS,
    Format,
    Row,
    Sorted,
    encoded,
    record_row,
)
from sealdrop.report.walk import stories_of

from .test_figures import NOON, told

AUDIT_PAGE = Path(__file__).parents[3] / "docs" / "audit.md"


def rows_of(trail: Path) -> list[Row]:
    """The documents' rows, in order."""
    with Sorted() as found:
        for story in stories_of(trail):
            found.add(story)
        return list(found.rows())


def read_csv(content: bytes) -> list[dict[str, str]]:
    """The rows, as a spreadsheet reads them."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_documents_are_in_the_order_in_which_they_were_taken_over(trail: Path) -> None:
    """Whatever ends first: the order is that of the first records, and both forms hold the same."""
    fates = ["in_work", "retried", "delivered", "failed", "rejected"]
    write_trail(trail, told(*((NOON + timedelta(seconds=number), fate) for number, fate in enumerate(fates))))
    rows = rows_of(trail)
    assert [row["outcome"] for row in rows] == ["in_work", "delivered", "delivered", "failed", "rejected"]
    assert [row["first_seq"] for row in rows] == sorted(row["first_seq"] for row in rows)  # type: ignore[type-var]
    assert all(tuple(row) == DOCUMENT_COLUMNS for row in rows)
    table = read_csv(b"".join(encoded(rows, DOCUMENT_COLUMNS, Format.CSV, kind="documents")))
    listed = json.loads(b"".join(encoded(rows, DOCUMENT_COLUMNS, Format.JSON, kind="documents")))["documents"]
    assert (
        [row["document"] for row in table] == [row["document"] for row in listed] == [row["document"] for row in rows]
    )
    assert table[2]["received_at"] == "2026-11-05T12:00:02.000000Z"
    assert table[0]["whole_s"] == ""
    assert float(table[2]["whole_s"]) == listed[2]["whole_s"] > 0


def test_records_are_exported_whole(trail: Path) -> None:
    """A row for each record holds all that the record does."""
    write_trail(trail, told((NOON, "delivered")))
    entries = list(read_records(trail))
    content = b"".join(encoded(map(record_row, entries), RECORD_COLUMNS, Format.CSV, kind="records"))
    table = read_csv(content)
    assert [(int(row["seq"]), row["hash"], row["prev"]) for row in table] == [
        (entry.seq, entry.hash, entry.previous_hash) for entry in entries
    ]
    assert [json.loads(row["data"]) for row in table] == [entry.data for entry in entries]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "\uff1d1"])
def test_no_cell_is_a_formula(name: str) -> None:
    """A name that a spreadsheet would run has an apostrophe in front."""
    content = b"".join(encoded([{"name": name}], ["name"], Format.CSV, kind="documents"))
    assert read_csv(content) == [{"name": f"'{name}"}]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=3))
def test_any_text_comes_back(texts: list[str]) -> None:
    """Whatever a name holds, commas, quotes and line breaks too, it is read back as it was, less the apostrophe."""
    columns = [f"c{number}" for number in range(len(texts))]
    row = dict(zip(columns, texts, strict=True))
    (read,) = read_csv(b"".join(encoded([row], columns, Format.CSV, kind="documents")))
    assert [value.removeprefix("'") for value in read.values()] == [text.removeprefix("'") for text in texts]
    (listed,) = json.loads(b"".join(encoded([row], columns, Format.JSON, kind="documents")))["documents"]
    assert listed == row


def test_excel_is_told_that_it_is_utf_8() -> None:
    """The mark is there when it is asked for, and only then."""
    for mark in (False, True):
        content = b"".join(encoded([], ["name"], Format.CSV, kind="documents", mark=mark))
        assert content == (BYTE_ORDER_MARK if mark else b"") + b"name\r\n"


def test_no_rows_are_a_whole_file() -> None:
    """Nothing found is an empty list, not half a file."""
    assert json.loads(b"".join(encoded([], [], Format.JSON, kind="documents"))) == {"documents": []}


def test_every_column_is_documented_in_its_order() -> None:
    """docs/audit.md lists exactly the columns that there are."""
    page = AUDIT_PAGE.read_text()
    for title, columns in (("A row for each document", DOCUMENT_COLUMNS), ("A row for each record", RECORD_COLUMNS)):
        section = page.split(f"### {title}")[1].split("\n#")[0]
        named = [name for line in section.splitlines() for name in re.findall(r"`([a-z0-9_]+)`", line.split(" | ")[0])]
        assert tuple(named) == columns
