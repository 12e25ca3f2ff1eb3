"""Whether the computer's clock may be believed where something is removed for good by what it shows.

A clock that is wrong for a minute, after a start or because somebody mistyped a year, makes everything due that is kept
for a time, and what is removed then does not come back when the clock does. So:

- after a start it is believed once it has run for `SETTLE_S` without having been set;
- if it is more than `AWAY` past the newest record of the runs before, or was set forward by more than `SET` in all, it
  is believed once it has been set back, or has run for `STEADY_S` without having been set.
"""

import threading
from datetime import datetime, timedelta
from enum import Enum, auto

from sealdrop.clock import Clock
from sealdrop.daemon.clockwatch import TOLERATED_S

SETTLE_S = 900.0  # in which a computer that was switched on has asked the network for the time
STEADY_S = 6 * 3_600.0  # in which somebody notices a wrong clock, if the network does not
AWAY = timedelta(days=2)
SET = timedelta(hours=1)


class Trust(Enum):
    """How far the clock may be believed."""

    FULL = auto()
    SETTLING = auto()
    AHEAD = auto()


class ClockTrust:
    """Compares the clock with the one that only goes forward. ``last`` is when an earlier run was last at work."""

    def __init__(self, clock: Clock, last: datetime | None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        now, elapsed_s = clock.now(), clock.monotonic()
        # Both clocks' difference: as it was at the last look, as it is believed, and how much more of it is, too.
        self._difference = now - timedelta(seconds=elapsed_s)
        self._believed = (last or now) - timedelta(seconds=elapsed_s)
        self._allowed = AWAY
        self._set_at = float("-inf") if last is None else elapsed_s  # a first start has nothing to remove

    def look(self) -> Trust:
        """Return how far the clock may be believed now. To be asked each time, since it may be set at any moment."""
        with self._lock:
            elapsed_s = self._clock.monotonic()
            difference = self._clock.now() - timedelta(seconds=elapsed_s)
            if abs(difference - self._difference) > timedelta(seconds=TOLERATED_S):
                self._set_at = elapsed_s
            self._difference = difference
            steady_s = elapsed_s - self._set_at
            is_ahead = difference - self._believed > self._allowed
            if steady_s < (STEADY_S if is_ahead else SETTLE_S):
                return Trust.AHEAD if is_ahead else Trust.SETTLING
            self._believed, self._allowed = difference, SET
            return Trust.FULL
