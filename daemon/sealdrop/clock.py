"""Time as a parameter: whoever needs the time is handed a `Clock`, and nothing else reads the system's."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two times: one to write down, one to measure with."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""


class SystemClock:
    """The computer's own clocks."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds of the system's monotonic clock."""
        return time.monotonic()
