"""The time that a report is about: whole days of one time zone, and how they are grouped for a chart."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_DAYS_SHOWN_AT_MOST = 62  # in one chart; what is longer is shown by month


class Grain(StrEnum):
    """What one bar of a chart stands for."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Period:
    """The days from ``first`` to ``last``, both included, in ``zone``, whose name is ``zone_name``."""

    first: date
    last: date
    zone: tzinfo
    zone_name: str

    @property
    def since(self) -> datetime:
        """The moment at which it begins."""
        return datetime.combine(self.first, time(), self.zone)

    @property
    def until(self) -> datetime:
        """The moment at which it is over; not part of it."""
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone)

    @property
    def grain(self) -> Grain:
        """What one bar of its chart stands for."""
        return Grain.DAY if (self.last - self.first).days < _DAYS_SHOWN_AT_MOST else Grain.MONTH

    @property
    def is_month(self) -> bool:
        """Whether it is exactly one month of the calendar."""
        return (self.first, self.last) == month_days(f"{self.first:%Y-%m}")

    def bar_of(self, moment: datetime) -> date:
        """Return the first day of what the bar stands for in which ``moment`` lies."""
        day = moment.astimezone(self.zone).date()
        return day if self.grain is Grain.DAY else day.replace(day=1)

    def bars(self) -> tuple[date, ...]:
        """Return the first day of each bar, those in which nothing happened included."""
        days = ((self.first + timedelta(days=number)) for number in range((self.last - self.first).days + 1))
        return tuple(dict.fromkeys(day if self.grain is Grain.DAY else day.replace(day=1) for day in days))


def month_days(month: str) -> tuple[date, date]:
    """Return the first and the last day of a month, given as ``2026-11``.

    Raises:
        ValueError: it is not of that form.
    """
    found = _MONTH.fullmatch(month)
    if found is None:
        raise ValueError(f"{month!r} is no month: give it as 2026-11")
    first = date(int(found[1]), int(found[2]), 1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
