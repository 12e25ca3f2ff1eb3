"""Local hours and days: what is written is understood, and the clock on the wall decides, whatever is done to it."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties import tried
from sealdrop.hours import Hours, day_after, local_day, read_hours

PARIS = ZoneInfo("Europe/Paris")
MINUTE = timedelta(minutes=1)
# Clocks that are set by an hour or by half of one, at night or at midnight, forward first or back first.
ZONES = ["Europe/Paris", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]


def _paris(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=PARIS)


@pytest.mark.parametrize(
    ("written", "open_at", "shut_at"),
    [
        (["22:00-06:00"], "2026-11-24T05:59:59", "2026-11-24T06:00:00"),
        (["22:00-06:00"], "2026-11-24T22:00:00", "2026-11-24T21:59:59"),
        (["08:00-24:00"], "2026-11-24T23:59:59", "2026-11-25T00:00:00"),
        (["Mon-Fri 08:00-18:00"], "2026-11-27T17:59:00", "2026-11-28T12:00:00"),
        (["Fri 22:00-06:00"], "2026-11-28T05:59:00", "2026-11-27T05:59:00"),
        (["Sun 22:00-06:00"], "2026-11-30T03:00:00", "2026-11-29T03:00:00"),
        (["Fri-Mon 08:00-09:00"], "2026-11-29T08:30:00", "2026-11-24T08:30:00"),
        (["sat,SUN 00:00-24:00"], "2026-11-29T23:59:59", "2026-11-30T00:00:00"),
        (["08:00-09:00", "17:00-18:00"], "2026-11-24T17:30:00", "2026-11-24T12:00:00"),
    ],
)
def test_what_is_written_is_understood(written: list[str], open_at: str, shut_at: str) -> None:
    """Windows past midnight, on some days, at the edges: open at the first moment given, shut at the second."""
    hours = read_hours(written)
    assert hours.are_open(_paris(open_at), PARIS)
    assert not hours.are_open(_paris(shut_at), PARIS)


def test_without_any_it_is_always_open() -> None:
    """A folder that says nothing of hours has none that could be over."""
    assert Hours().are_open(_paris("2026-11-24T03:00"), PARIS)
    assert Hours().next_open(_paris("2026-11-24T03:00"), PARIS) == _paris("2026-11-24T03:00")


@pytest.mark.parametrize(
    "written",
    [
        "22:00",
        "22-06",
        "24:00-06:00",
        "22:00-25:00",
        "08:00-08:00",
        "Mo 08:00-09:00",
        "Mon- 08:00-09:00",
        "",
        " 1:00-2:00",
    ],
)
def test_what_is_no_window_is_refused(written: str) -> None:
    """It is quoted, with an example of what can be written or the word for it."""
    with pytest.raises(ValueError, match=r"is not written like|all day is"):
        read_hours([written])


@pytest.mark.parametrize("written", ["22:00-06:00", 5, [5], None])
def test_what_is_no_list_is_refused(written: object) -> None:
    """A text in the place of a list of texts is a mistake that is easily made."""
    with pytest.raises(ValueError, match="must be a list of texts"):
        read_hours(written)


@pytest.mark.parametrize(
    ("written", "at", "opens"),
    [
        # On 29 March 2026 the clock goes from 2:00 to 3:00, on 25 October from 3:00 to 2:00.
        ("02:15-06:00", "2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("02:15-02:45", "2026-03-29T01:00:00+01:00", "2026-03-30T02:15:00+02:00"),
        ("22:00-06:00", "2026-03-28T12:00:00+01:00", "2026-03-28T22:00:00+01:00"),
        ("07:00-08:00", "2026-03-28T12:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        ("07:00-08:00", "2026-10-24T12:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        ("02:15-02:45", "2026-10-25T02:00:00+02:00", "2026-10-25T02:15:00+02:00"),
        ("02:15-02:45", "2026-10-25T02:50:00+02:00", "2026-10-25T02:15:00+01:00"),
        ("Mon 07:00-08:00", "2026-10-24T12:00:00+02:00", "2026-10-26T07:00:00+01:00"),
    ],
)
def test_a_clock_that_is_set_moves_the_hours_with_it(written: str, at: str, opens: str) -> None:
    """In the night in which the clock is set they begin when the wall says so, and not an hour off."""
    opening = read_hours([written]).next_open(datetime.fromisoformat(at), PARIS)
    assert opening == datetime.fromisoformat(opens)


windows = st.builds(
    lambda days, start, length: (
        f"{days}{start // 60:02}:{start % 60:02}-{(start + length) % 1440 // 60:02}:{(start + length) % 60:02}"
    ),
    st.sampled_from(["", "Mon ", "Tue,Sat ", "Fri-Mon "]),
    st.integers(0, 1439),
    st.integers(1, 1439),
)


@tried(150)
@given(
    st.lists(windows, min_size=1, max_size=3),
    st.integers(0, 366 * 24 * 3600),
    st.sampled_from(ZONES),
)
@example(["00:30-00:45"], 95 * 24 * 3600, "America/Santiago")
def test_they_open_at_the_first_moment_that_is_open(written: list[str], second: int, name: str) -> None:
    """Whatever the hours, the moment and the zone: it is open then, and was not a moment before, nor in between."""
    hours, zone = read_hours(written), ZoneInfo(name)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    opening = hours.next_open(now, zone)
    assert opening >= now
    assert hours.are_open(opening, zone)
    if opening > now:
        assert not hours.are_open(opening - timedelta(microseconds=1), zone)
        steps = max(1, (opening - now) // (7 * MINUTE))
        assert not any(hours.are_open(now + (opening - now) * step / steps, zone) for step in range(steps))


@tried(150)
@given(st.integers(0, 366 * 24 * 3600), st.sampled_from(ZONES))
def test_a_day_ends_when_the_next_one_begins(second: int, name: str) -> None:
    """The moment that a day's quota begins anew is the first of the next date on the wall, and never past."""
    zone, now = ZoneInfo(name), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    midnight = day_after(now, zone)
    assert timedelta() < midnight - now <= timedelta(hours=25)
    assert local_day(midnight, zone) == local_day(now, zone) + timedelta(days=1)
    assert local_day(midnight - timedelta(microseconds=1), zone) == local_day(now, zone)


@pytest.fixture
def _system_in_paris(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The computer's own zone is Paris while the test runs."""
    with monkeypatch.context() as changed:
        changed.setitem(os.environ, "TZ", "Europe/Paris")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_system_in_paris")
def test_without_a_zone_the_systems_counts() -> None:
    """The computer's own zone, its summer time included, gives the same hours and days as the zone of that name."""
    hours = read_hours(["Mon-Fri 08:00-18:00"])
    for month in range(1, 13):
        now = datetime(2026, month, 27, 19, 30, tzinfo=UTC)
        assert hours.are_open(now, None) == hours.are_open(now, PARIS)
        assert hours.next_open(now, None) == hours.next_open(now, PARIS)
        assert day_after(now, None) == day_after(now, PARIS)
        assert local_day(datetime(2026, month, 27, 23, 30, tzinfo=UTC), None) == date(2026, month, 28)
