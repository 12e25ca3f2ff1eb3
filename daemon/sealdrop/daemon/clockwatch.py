"""What is done when the computer's clock is set: by a person, or by the network after a start with a wrong one.

Due times are moments of the wall clock, for they outlive the process. Set forward, it makes everything due early, which
workers and breakers bound as ever. Set back by an hour, it would have everything wait an hour longer, sweeps of the
folders included. So somebody compares it with the clock that only goes forward, and has what waits done at once.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

from sealdrop.clock import Clock
from sealdrop.daemon.progress import Progress
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.threads import NamedThread

LOOK_S = 10.0
TOLERATED_S = 5.0  # within LOOK_S; what keeps a clock right shifts it by far less


class ClockWatch:
    """Compares the two clocks, in a thread of its own. ``on_set_back`` is called after documents were made due."""

    def __init__(self, clock: Clock, ledger: Ledger, log: Log, *, on_set_back: Callable[[], None]) -> None:
        self.progress = Progress("clock", clock)
        self._clock = clock
        self._ledger = ledger
        self._log = log
        self._on_set_back = on_set_back
        self._expected = clock.now() - timedelta(seconds=clock.monotonic())
        self._behind = False
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "clock")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Compare the clocks once, and do what is to be done; what cannot be done now is done at the next look."""
        actual = self._clock.now() - timedelta(seconds=self._clock.monotonic())
        by_s = (actual - self._expected) / timedelta(seconds=1)
        self._expected = actual
        if abs(by_s) > TOLERATED_S:
            self._log.warning(EventName.CLOCK_SET, by_s=round(by_s, 1))
        self._behind = self._behind or by_s < -TOLERATED_S
        if not self._behind:
            return
        try:
            self._ledger.hasten(self._clock.now())
            self._on_set_back()
        except Exception as error:  # noqa: BLE001 - whoever looks at the clock goes on looking
            self._log.error(EventName.WORKER_TROUBLED, worker="clock", error=str(error))
            return
        self._behind = False

    def _run(self) -> None:
        with self.progress.attended():
            while not self._sleep():
                self.look()

    def _sleep(self) -> bool:
        with self.progress.waiting("the next look", LOOK_S):
            return self._stopping.wait(LOOK_S)
