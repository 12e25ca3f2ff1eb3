"""Local time: the hours at which a folder's documents may be sent, and the days by which its quota is counted.

What counts is what the clock on the wall shows. Where it is set back, what is true of the hour that comes twice is
true both times; where it is set forward, what would begin in the hour that is left out begins when it is over, and
hours that lie wholly in it do not come on that day.

A zone of None is the system's own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = timedelta(days=1)
WEEK = timedelta(days=7)

_WINDOW = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+) )?(?P<start>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<end>(?:[01]\d|2[0-3]):[0-5]\d|24:00)"
)
_FORM = 'is not written like "22:00-06:00", "Mon-Fri 08:00-18:00" or "Sat,Sun 00:00-24:00"'


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a week: when it begins, counted from Monday, 00:00, and how long it lasts."""

    start: timedelta
    length: timedelta

    def holds(self, at: timedelta) -> bool:
        """Return whether a moment of the week lies in it; its end does not."""
        return (at - self.start) % WEEK < self.length

    def wait(self, at: timedelta) -> timedelta:
        """Return how long after a moment of the week it begins."""
        return (self.start - at) % WEEK


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a week at which something may be done; without any window, always."""

    windows: tuple[Window, ...] = ()

    def are_open(self, moment: datetime, zone: tzinfo | None) -> bool:
        """Return whether it may be done at that moment."""
        at = _of_week(moment, zone)
        return not self.windows or any(window.holds(at) for window in self.windows)

    def next_open(self, moment: datetime, zone: tzinfo | None) -> datetime:
        """Return the first moment, from that one on, at which it may be done."""
        while not self.are_open(moment, zone):
            at = _of_week(moment, zone)
            # No further than a day, so that there is at most one change of the clock in between.
            there = moment + min([DAY, *(window.wait(at) for window in self.windows)])
            moment = there if _offset(there, zone) == _offset(moment, zone) else _change(moment, there, zone)
        return moment.astimezone(UTC)


def read_hours(written: object) -> Hours:
    """Return the hours that a list of texts gives, like ``22:00-06:00`` or ``Mon-Fri 08:00-18:00``.

    A window that goes past midnight belongs to the day on which it begins.

    Raises:
        ValueError: it gives none.
    """
    if isinstance(written, Hours):
        return written
    if not isinstance(written, list | tuple) or not all(isinstance(each, str) for each in written):
        raise ValueError("must be a list of texts")
    return Hours(tuple(window for each in written for window in _windows(each)))


def _windows(written: str) -> Sequence[Window]:
    found = _WINDOW.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} {_FORM}")
    start, end = _of_day(found["start"]), _of_day(found["end"])
    if start == end:
        raise ValueError(f"{written!r} begins when it ends; all day is 00:00-24:00")
    length = (end - start) % DAY or DAY
    return [Window(day * DAY + start, length) for day in _days(found["days"], written)]


def _of_day(written: str) -> timedelta:
    hours, _, minutes = written.partition(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


def _days(written: str | None, whole: str) -> Sequence[int]:
    if written is None:
        return range(7)
    found: set[int] = set()
    for part in written.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{whole!r} {_FORM}")
        begin = DAYS.index(first)
        length = (DAYS.index(last) - begin) % 7 if dash else 0
        found |= {(begin + more) % 7 for more in range(length + 1)}
    return sorted(found)


def _of_week(moment: datetime, zone: tzinfo | None) -> timedelta:
    wall = moment.astimezone(zone).replace(tzinfo=None)
    return wall - datetime.combine(wall.date() - wall.weekday() * DAY, time.min)


def _offset(moment: datetime, zone: tzinfo | None) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def _change(before: datetime, after: datetime, zone: tzinfo | None) -> datetime:
    """Return the moment between the two at which the clock is set: always a whole second."""
    early, late = int(before.timestamp()), int(after.timestamp())
    there = _offset(after, zone)
    while late - early > 1:
        middle = (early + late) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == there:
            late = middle
        else:
            early = middle
    return datetime.fromtimestamp(late, UTC)


def local_day(moment: datetime, zone: tzinfo | None) -> date:
    """Return the date on the wall."""
    return moment.astimezone(zone).date()


def day_after(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return when the next day begins."""
    midnight = datetime.combine(local_day(moment, zone) + DAY, time.min)
    # astimezone takes a moment without a zone for the system's.
    return (midnight if zone is None else midnight.replace(tzinfo=zone)).astimezone(UTC)
