"""Time as a parameter: whoever needs the time is handed a `Clock`, and nothing else reads the system's."""

import threading
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


class CpuTime:
    """The CPU time of the thread that makes this."""

    def __init__(self) -> None:
        # Made of the kernel's number of the thread: unlike Python's, it may be asked for when the thread has ended.
        self._clock_id = time.pthread_getcpuclockid(threading.get_ident())

    def spent_s(self) -> float:
        """Return the seconds spent until now; 0 once the thread has ended. Any thread may ask."""
        try:
            return time.clock_gettime(self._clock_id)
        except OSError:
            return 0.0
