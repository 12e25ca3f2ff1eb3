"""How often an account may be called: calls begin in the order in which they were wanted, so far apart as is allowed.

Each thread that calls waits for its own call only, and behind each other thread's once at most. So no kind of work
keeps another from being done, however much there is of it: with a limit of one call a second and nine threads, each
makes one call in nine seconds at worst.
"""

import threading
from collections import deque
from collections.abc import Callable

from sealdrop.clock import Clock


class Throttle:
    """Whose turn it is to call one account. Used by all threads that do, also by an earlier configuration."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turns = threading.Condition()
        self._line: deque[object] = deque()
        self._next_at = float("-inf")

    def wait(self, apart_s: float, is_over: Callable[[], bool]) -> bool:
        """Wait until a call may begin, and count it: the next one may ``apart_s`` later; return whether it may.

        It may not once ``is_over``, which is looked at anew after each `wake`. Then nothing is counted.
        """
        me = object()
        with self._turns:
            self._line.append(me)
            try:
                while not is_over():
                    left_s = self._next_at - self._clock.monotonic() if self._line[0] is me else None
                    if left_s is not None and left_s <= 0:
                        self._next_at = self._clock.monotonic() + apart_s
                        return True
                    self._turns.wait(left_s)
            finally:
                self._line.remove(me)
                self._turns.notify_all()
        return False

    def wake(self) -> None:
        """Have all who wait look whether they still should."""
        with self._turns:
            self._turns.notify_all()
