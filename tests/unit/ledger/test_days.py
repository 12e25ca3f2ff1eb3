"""When days are closed: with the first record of the next, or when somebody looks; once each, whatever the clock."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealdrop.audit import Trail, verify_trail
from sealdrop.errors import Retryable
from sealdrop.ledger import Ledger
from sealdrop.model import AuditRecord, Event

from .conftest import LINK, MakeDocument, StoppedClock

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
TICK = Event("tick")


def on_record(ledger: Ledger, directory: Path | None = None) -> list[tuple[str, str]]:
    """The events that are on record and not in files, each with its moment; with ``directory``, checked as files."""
    pending = ledger.audit_pending(1_000)
    if directory is not None:
        Trail.open(directory).append(pending)
        assert verify_trail(directory).problems == ()
    return [(_content(record)["event"], f"{record.at:%d %H:%M:%S.%f}") for record in pending]


def _content(record: AuditRecord) -> dict[str, str]:
    content: dict[str, str] = json.loads(record.line)
    return content


def test_the_first_record_of_a_day_closes_the_day_before(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument, tmp_path: Path
) -> None:
    """One closing record, in the old day's file, whether a note or a document comes first, however many days passed."""
    ledger.note(TICK)
    clock.moment = MIDNIGHT
    ledger.add(make_document(), TICK)
    ledger.note(TICK)
    clock.moment = MIDNIGHT + timedelta(days=5)
    ledger.note(TICK)
    assert on_record(ledger, tmp_path / "audit") == [
        ("tick", "01 09:00:00.123456"),
        ("day_closed", "01 23:59:59.999999"),
        ("tick", "02 00:00:00.000000"),
        ("tick", "02 00:00:00.000000"),
        ("day_closed", "02 23:59:59.999999"),
        ("tick", "07 00:00:00.000000"),
    ]
    closed = [json.loads(record.line)["data"] for record in ledger.audit_pending(9) if "day_closed" in record.line]
    assert [(each["day"], each["first_seq"], each["records"]) for each in closed] == [
        ("2026-03-01", 1, 1),
        ("2026-03-02", 3, 2),
    ]
    assert closed[1]["closed_at"] == "2026-03-07T00:00:00+00:00"


def test_an_idle_day_is_closed_when_somebody_looks(ledger: Ledger, clock: StoppedClock, tmp_path: Path) -> None:
    """After midnight one look closes the day, further ones do nothing, and neither does one on the same day."""
    assert ledger.close_day() is None
    ledger.note(TICK)
    assert ledger.close_day() is None
    clock.moment = MIDNIGHT
    closing = ledger.close_day()
    assert closing is not None
    assert closing.at == MIDNIGHT - timedelta(microseconds=1)
    assert ledger.close_day() is None
    clock.moment += timedelta(days=3)
    assert ledger.close_day() is None
    ledger.note(TICK)
    assert [event for event, _ in on_record(ledger, tmp_path / "audit")] == ["tick", "day_closed", "tick"]


@pytest.mark.parametrize("look", [False, True])
def test_a_clock_that_is_set_back_reopens_no_day(
    ledger: Ledger, clock: StoppedClock, tmp_path: Path, look: bool
) -> None:
    """Set back over midnight, after the close: what happens then is of the new day, and the old file stays closed."""
    ledger.note(TICK)
    clock.moment = MIDNIGHT + timedelta(seconds=1)
    if look:
        ledger.close_day()
    else:
        ledger.note(TICK)
    clock.moment = MIDNIGHT - timedelta(hours=5)
    assert ledger.close_day() is None
    ledger.note(TICK)
    ledger.note(TICK)
    events = on_record(ledger, tmp_path / "audit")
    assert [event for event, _ in events].count("day_closed") == 1
    assert {at[:2] for event, at in events[2:]} == {"02"}


def test_the_last_microsecond_of_a_day(ledger: Ledger, clock: StoppedClock, tmp_path: Path) -> None:
    """What is recorded in that instant is the next day's first, behind the close."""
    ledger.note(TICK)
    clock.moment = MIDNIGHT - timedelta(microseconds=1)
    ledger.note(TICK)
    assert on_record(ledger, tmp_path / "audit")[1:] == [
        ("day_closed", "01 23:59:59.999999"),
        ("tick", "02 00:00:00.000000"),
    ]


def test_what_fails_closes_nothing(ledger: Ledger, clock: StoppedClock, tmp_path: Path) -> None:
    """The close is part of the transaction: with no room for it, there is none, and the next one makes it."""
    ledger.note(TICK)
    clock.moment = MIDNIGHT
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    large = Event("tick", {"text": "x" * 100_000})
    with pytest.raises(Retryable, match="full"):
        ledger.note(large)
    assert ledger.audit_head().seq == 1
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    ledger.note(TICK)
    assert [event for event, _ in on_record(ledger, tmp_path / "audit")] == ["tick", "day_closed", "tick"]


def test_the_day_of_an_upgrade_stays_open(path: Path, clock: StoppedClock, tmp_path: Path) -> None:
    """An older version did not note with which record a day began: that day is not closed, the next one is."""
    with Ledger.open(path, link=LINK, clock=clock) as older:
        older.note(TICK)
        with older._database.writing() as connection:
            connection.exec_driver_sql("UPDATE audit_chain SET day_first_seq = NULL")
        clock.moment = MIDNIGHT
        assert older.close_day() is None
        older.note(TICK)
        clock.moment += timedelta(days=1)
        older.note(TICK)
        assert [event for event, _ in on_record(older, tmp_path / "audit")] == ["tick", "tick", "day_closed", "tick"]
