"""The record of seals: one whole line for each, whatever happens."""

import json
from datetime import UTC, datetime
from pathlib import Path

from sealdrop.sandbox.record import Entry, Record, read

MOMENT = datetime(2026, 3, 16, 9, 30, 0, 123000, UTC)
SEAL = Entry(MOMENT, "X é", "r1", "aa", "bb")
DEPOSIT = Entry(MOMENT, None, "r1", "aa", "bb", "D1", "archive")


def test_a_line_says_what_it_must(tmp_path: Path) -> None:
    """Each line is one JSON object under the names of the description, and is read back as it was written."""
    record = Record(tmp_path / "record.jsonl")
    record.append_once(SEAL)
    record.append_once(DEPOSIT)
    record.close()
    lines = (tmp_path / "record.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "time": "2026-03-16T09:30:00.123+00:00",
        "externalSignatureRequestId": "X é",
        "signatureRequestId": "r1",
        "sha256": "aa",
        "archiveId": None,
        "archiverName": None,
        "sealedSha256": "bb",
    }
    assert json.loads(lines[1])["archiveId"] == "D1"
    assert read(tmp_path / "record.jsonl") == (SEAL, DEPOSIT)


def test_a_seal_is_recorded_once(tmp_path: Path) -> None:
    """The same seal again, even after the record was opened anew, adds no line."""
    path = tmp_path / "record.jsonl"
    for _ in range(2):
        record = Record(path)
        record.append_once(SEAL)
        record.append_once(SEAL)
        record.close()
    assert read(path) == (SEAL,)


def test_a_torn_line_is_written_again_whole(tmp_path: Path) -> None:
    """A line cut short does not count, is removed when the record is opened, and its seal is recorded anew."""
    path = tmp_path / "record.jsonl"
    path.write_bytes(DEPOSIT.to_line() + SEAL.to_line()[:20])
    assert read(path) == (DEPOSIT,)
    record = Record(path)
    record.append_once(SEAL)
    record.close()
    assert path.read_bytes() == DEPOSIT.to_line() + SEAL.to_line()


def test_no_record_is_an_empty_one(tmp_path: Path) -> None:
    """Before the first sandbox there are no seals."""
    assert read(tmp_path / "none.jsonl") == ()
