"""Showing parts of the audit trail."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealdrop.audit import Trail, read_records
from sealdrop.audit.chain import link
from sealdrop.errors import Fatal
from sealdrop.model import AuditRecord, Event

from .conftest import START, head_of

Records = tuple[AuditRecord, ...]


def test_record_is_shown_as_it_was_made(written: Path, records: Records) -> None:
    """Each record comes back with all its members, and says where it stands."""
    entries = list(read_records(written))
    assert [(each.seq, each.at, each.hash) for each in entries] == [(each.seq, each.at, each.hash) for each in records]
    entry = entries[4]
    assert (entry.file, entry.line) == ("2026-03-02.jsonl", 2)
    assert (entry.event, entry.document, entry.node) == ("tick", "doc-2", "host-1")
    assert entry.data == {"number": 5, "name": "été\n\u2028"}
    assert entry.previous_hash == records[3].hash


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        ({"document": "doc-1"}, [1, 4, 7]),
        ({"document": "doc"}, []),
        ({"document": "host-1"}, []),
        ({"event": "tick", "document": "doc-0"}, [3, 6, 9]),
        ({"event": "tic"}, []),
        ({"since": START + timedelta(hours=2)}, [5, 6, 7, 8, 9]),
        ({"until": START + timedelta(hours=2)}, [1, 2, 3, 4]),
        ({"since": START + timedelta(hours=1), "until": START + timedelta(hours=49.5)}, [4, 5, 6, 7]),
        ({"since": datetime(2030, 1, 1, tzinfo=UTC)}, []),
    ],
)
def test_only_what_was_asked_for_is_shown(written: Path, wanted: dict[str, Any], seqs: list[int]) -> None:
    """Records are chosen by document, event and time, from ``since`` on and before ``until``."""
    assert [entry.seq for entry in read_records(written, **wanted)] == seqs


def test_names_that_json_escapes_are_found(written: Path, records: Records) -> None:
    """A document or an event whose name is spelled otherwise in the file is found by its own name."""
    odd = link(head_of(records[-1]), START, 'a"\n\\b', Event("été"), node="h")
    Trail.open(written).append([odd])
    assert [entry.seq for entry in read_records(written, document='a"\n\\b', event="été")] == [odd.seq]


def test_damaged_lines_are_passed_over(written: Path) -> None:
    """What is no record does not keep the others from being shown."""
    path = written / "2026-03-02.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\xff" + second[1:] + third[:-1])
    assert [entry.seq for entry in read_records(written)] == [1, 2, 3, 4, 7, 8, 9]


def test_missing_directory_is_an_error(directory: Path) -> None:
    """Where there is no trail, nothing is shown as if there were one."""
    with pytest.raises(Fatal, match="cannot be read"):
        list(read_records(directory))
