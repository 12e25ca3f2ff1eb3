"""Threads in virtual time: each runs alone until it sleeps, and time goes on at once to whoever wakes next.

Hours pass in seconds, nothing waits for real, and the same seed gives the same run.
"""

import heapq
import math
import threading
from collections.abc import Callable
from typing import Any

from documents import FakeClock

TURNS_AT_ONCE = 20_000  # without time going on: more is a loop that will never sleep


class Sleeper:
    """One thread; ``interruptible`` while it sleeps in a way that others may end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go = threading.Semaphore(0)
        self.entry = 0
        self.interruptible = False
        self.woken = False


class VirtualTime:
    """The time of some threads, which `start` makes; `run` lets it pass. For them and for the one that runs them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._entries = 0
        self._back = threading.Semaphore(0)
        self._present: Sleeper | None = None
        self._error: BaseException | None = None
        self._ending = False
        self._threads: list[threading.Thread] = []

    @property
    def present(self) -> str:
        """The name of the thread that runs."""
        return self._present.name if self._present else ""

    def start(self, name: str, function: Callable[[], Any]) -> Sleeper:
        """Have a thread of that name run ``function`` again and again, from `run` on."""
        sleeper = Sleeper(name)

        def loop() -> None:
            sleeper.go.acquire()
            try:
                while not self._ending:
                    function()
            except _EndError:
                pass
            except BaseException as error:  # noqa: BLE001 - it is raised again by `run`
                self._error = error
            self._back.release()

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        self._put(sleeper, 0.0)
        return sleeper

    @property
    def sleeper(self) -> Sleeper:
        """The thread that runs."""
        assert self._present is not None
        return self._present

    def sleep(self, seconds: float, *, interruptible: bool = False) -> None:
        """Let the calling thread sleep."""
        sleeper = self.sleeper
        if interruptible and sleeper.woken:
            seconds = 0.0
        sleeper.woken = False
        sleeper.interruptible = interruptible
        self._put(sleeper, seconds)
        self._back.release()
        sleeper.go.acquire()
        sleeper.interruptible = False
        if self._ending:
            raise _EndError

    def wake(self, sleeper: Sleeper) -> None:
        """End a thread's sleep; or the next one, if it does not sleep now or must not be woken."""
        if sleeper.interruptible:
            sleeper.interruptible = False
            self._put(sleeper, 0.0)
        else:
            sleeper.woken = True

    def run(self, until: Callable[[], bool], *, at_most_s: float) -> None:
        """Let time pass until ``until`` holds; it is looked at before each turn of a thread.

        Raises:
            AssertionError: that took longer, or threads run without ever sleeping.
        """
        turns = 0
        end_s = self.clock.elapsed_s + at_most_s
        while not until():
            at_s, entry, sleeper = heapq.heappop(self._heap)
            if entry != sleeper.entry:
                continue
            turns = turns + 1 if at_s <= self.clock.elapsed_s else 0
            assert turns < TURNS_AT_ONCE, f"{sleeper.name} and others do not sleep"
            self.clock.elapsed_s = max(at_s, self.clock.elapsed_s)
            assert self.clock.elapsed_s <= end_s, "it did not come to that in time"
            self._let(sleeper)

    def end(self) -> None:
        """End all threads."""
        self._ending = True
        while self._heap:
            _, entry, sleeper = heapq.heappop(self._heap)
            if entry == sleeper.entry:
                self._let(sleeper)
        for thread in self._threads:
            thread.join()

    def _let(self, sleeper: Sleeper) -> None:
        self._present = sleeper
        sleeper.go.release()
        self._back.acquire()
        self._present = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _put(self, sleeper: Sleeper, seconds: float) -> None:
        self._entries += 1
        sleeper.entry = self._entries
        heapq.heappush(self._heap, (self.clock.elapsed_s + seconds, self._entries, sleeper))


class VirtualCondition:
    """What `threading.Condition` is, for threads of which one runs at a time."""

    def __init__(self, world: VirtualTime) -> None:
        self._world = world
        self._waiting: list[Sleeper] = []

    def __enter__(self) -> None:
        """Nobody else runs."""

    def __exit__(self, *_: object) -> None:
        """Nobody else has waited."""

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleep until somebody notifies, or for so long."""
        sleeper = self._world.sleeper
        self._waiting.append(sleeper)
        self._world.sleep(math.inf if timeout_s is None else timeout_s, interruptible=True)
        self._waiting.remove(sleeper)

    def notify_all(self) -> None:
        """Wake all who wait, the last one first: nobody may rely on any order."""
        for sleeper in reversed(self._waiting):
            self._world.wake(sleeper)


class _EndError(BaseException):
    """Ends a sleeping thread."""
