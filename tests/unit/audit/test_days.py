"""Days that are closed: what a close says, what the checker makes of it, and that nothing comes behind it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_months import Happening, write_trail
from sealdrop.audit import ProblemKind, Trail, verify_trail
from sealdrop.audit.chain import link
from sealdrop.errors import Fatal
from sealdrop.model import GENESIS, AuditHead, AuditRecord, Event, end_of_day

from .conftest import START, head_of

TICK = Event("tick")
FIRST_DAY, SECOND_DAY = "2026-03-01.jsonl", "2026-03-02.jsonl"


def ticks(*hours: float) -> list[Happening]:
    """Something that happens so many hours after the start, an hour before midnight."""
    return [(START + timedelta(hours=each), None, TICK) for each in hours]


def chained(*happened: tuple[datetime, Event]) -> list[AuditRecord]:
    """Records as a writer would make them who closes days as it likes."""
    head, records = GENESIS, list[AuditRecord]()
    for at, event in happened:
        records.append(link(head, at, None, event, node="host-1"))
        head = head_of(records[-1])
    return records


def close(day: str = "2026-03-01", **said: Any) -> tuple[datetime, Event]:  # noqa: ANN401 - any JSON
    """The record that closes the first day, which has one other record, unless it says something else."""
    at = end_of_day(datetime.fromisoformat(day).replace(tzinfo=UTC))
    return at, Event("day_closed", {"day": "2026-03-01", "first_seq": 1, "records": 1, **said})


def kinds(directory: Path) -> list[ProblemKind]:
    """What the checker finds."""
    return [problem.kind for problem in verify_trail(directory).problems]


def test_closed_days_are_whole(directory: Path) -> None:
    """A trail of closed days passes; its newest day is open, or closed and followed by nothing yet."""
    write_trail(directory, ticks(0, 0.5, 2, 3, 30, 90))
    assert kinds(directory) == []
    assert b'"event":"day_closed"' in (directory / FIRST_DAY).read_bytes().splitlines()[-1]
    assert b'"records":2' in (directory / FIRST_DAY).read_bytes().splitlines()[-1]
    write_trail(directory.parent / "one", ticks(0))
    trail = Trail.open(directory.parent / "one")
    trail.append([link(trail.head(), *_parts(close()), node="host-1")])
    assert kinds(directory.parent / "one") == []


def _parts(made: tuple[datetime, Event]) -> tuple[datetime, None, Event]:
    return made[0], None, made[1]


def test_a_trail_of_an_older_version_closes_no_days(directory: Path) -> None:
    """Without any close nothing is asked for; from the first close on, each day that another follows needs one."""
    write_trail(directory, ticks(0, 2, 30), closes=False)
    assert kinds(directory) == []
    trail = Trail.open(directory)
    closing = Event("day_closed", {"day": "2026-03-03", "first_seq": 3, "records": 1})
    head = trail.append([link(trail.head(), end_of_day(START + timedelta(hours=30)), None, closing, node="host-1")])
    head = trail.append([link(head, START + timedelta(hours=50), None, TICK, node="host-1")])
    assert kinds(directory) == []
    trail.append([link(head, START + timedelta(hours=90), None, TICK, node="host-1")])
    (problem,) = verify_trail(directory).problems
    assert (problem.kind, problem.file) == (ProblemKind.NOT_CLOSED, "2026-03-04.jsonl")


@pytest.mark.parametrize(
    ("closing", "problem"),
    [
        (close(records=2), "records 2, not 1"),
        (close(records=None), "records None, not 1"),
        (close(first_seq=2), "first_seq 2, not 1"),
        (close(day="2026-03-01", records=0), "records 0, not 1"),
        ((START + timedelta(minutes=5), close()[1]), "not of the day's last moment"),
    ],
)
def test_a_close_that_says_something_else_is_found(
    directory: Path, closing: tuple[datetime, Event], problem: str
) -> None:
    """A close is held against its file: first record, number of records, moment."""
    directory.mkdir(parents=True)
    records = chained((START, TICK), closing)
    (directory / FIRST_DAY).write_text("".join(f"{record.line}\n" for record in records))
    (found,) = verify_trail(directory).problems
    assert found.kind is ProblemKind.WRONG_CLOSE
    assert problem in found.text


def test_a_record_behind_the_close_is_found(directory: Path) -> None:
    """Whoever puts a record behind the close, chained and all, is found out."""
    directory.mkdir(parents=True)
    records = chained((START, TICK), close(), (close()[0], Event("day_closed", {})))
    (directory / FIRST_DAY).write_text("".join(f"{record.line}\n" for record in records))
    assert ProblemKind.AFTER_CLOSE in kinds(directory)


def _drop_close(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def _drop_first(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


@pytest.mark.parametrize(
    ("damage", "found"),
    [(_drop_close, {ProblemKind.MISSING}), (_drop_first, {ProblemKind.MISSING, ProblemKind.WRONG_CLOSE})],
)
def test_a_closed_file_says_by_itself_that_something_is_gone(
    directory: Path, damage: Callable[[list[bytes]], list[bytes]], found: set[ProblemKind]
) -> None:
    """A day's file from which a record was taken does not agree with its close, or has none."""
    write_trail(directory, ticks(0, 0.5, 2))
    path = directory / FIRST_DAY
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    assert {*kinds(directory)} == found


def test_no_other_record_has_the_last_microsecond() -> None:
    """What happens then, or with the clock set back behind a close, is of the next day."""
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    last = midnight - timedelta(microseconds=1)
    assert link(GENESIS, last, None, TICK, node="h").at == midnight
    assert link(GENESIS, last - timedelta(microseconds=1), None, TICK, node="h").at == last - timedelta(microseconds=1)
    closed = AuditHead(7, "0" * 64, last)
    assert link(closed, START - timedelta(days=3), None, TICK, node="h").at == midnight
    assert link(closed, midnight + timedelta(hours=3), None, TICK, node="h").at == midnight + timedelta(hours=3)


def test_nothing_is_appended_to_a_closed_day(directory: Path) -> None:
    """The writer refuses a record of a day that is closed, whatever it is given; what the file holds stays."""
    trail = Trail.open(directory)
    trail.append(chained((START, TICK), close()))
    before = (directory / FIRST_DAY).read_bytes()
    line = link(trail.head(), close()[0], None, close()[1], node="host-1")
    with pytest.raises(Fatal, match="that day is closed"):
        trail.append([line])
    assert (directory / FIRST_DAY).read_bytes() == before
    reopened = Trail.open(directory)
    with pytest.raises(Fatal, match="that day is closed"):
        reopened.append([line])
    reopened.append([link(reopened.head(), START, None, TICK, node="host-1")])
    assert (directory / SECOND_DAY).exists()
