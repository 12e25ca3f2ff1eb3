"""Whether each worker makes progress: the rule by which the service tells systemd that all is well, or does not.

Every worker's thread notes what it is at, and since when. Three things are told apart:

- **its own work**, which consists of steps, each of which is short: more than `STEP_S` without one, and it is stuck;
- **a wait with an end**: a call with a time limit, an examination with a wall limit, a sleep. It is stuck if it goes on
  for more than `STEP_S` beyond its end;
- **a file system of somebody else's**, that of an inbound, outbound, rejected or failed folder. No time limit can be
  put on it: a share that hangs holds its thread in the kernel, and a service that was killed would come back to the
  same share. So a worker that waits there is never stuck, however long; after `HELD_UP_S` it is a trouble that people
  are told of. It is stuck all the same if it spends `CPU_S` of CPU time on one step there: who waits spends none.

A thread that has ended without having been asked to is stuck, too. Code far below a worker's loop says what it does by
`step` and `waiting`, without having been handed anything; in threads that are no workers these do nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from sealdrop import pace
from sealdrop.clock import Clock, CpuTime

STEP_S = 300.0  # an honest step takes some seconds at worst; a disk that has to be waited for is no reason to kill
HELD_UP_S = 60.0
CPU_S = 300.0  # to read and hash the largest document there may be takes some 10 s


class Verdict(Enum):
    """How a worker is."""

    FINE = auto()
    HELD_UP = auto()
    STUCK = auto()


@dataclass(frozen=True, slots=True)
class Doing:
    """What a thread is at, since when (monotonic), in seconds.

    ``end_s`` is how long it may take, None for a file system of somebody else's: then ``spent_s`` is the CPU time that
    was spent before, and ``tell`` is called if that does not answer, with a text that says so.
    """

    what: str
    since: float
    spent_s: float
    end_s: float | None = 0.0
    tell: Callable[[str], None] | None = None


def judge(doing: Doing, now: float, spent_s: float, *, is_alive: bool) -> Verdict:
    """Return how a worker is whose thread has spent ``spent_s`` of CPU time by ``now``; see the module."""
    elapsed_s = now - doing.since
    if not is_alive:
        return Verdict.STUCK
    if doing.end_s is not None:
        return Verdict.STUCK if elapsed_s > doing.end_s + STEP_S else Verdict.FINE
    if spent_s - doing.spent_s > CPU_S:
        return Verdict.STUCK
    return Verdict.HELD_UP if elapsed_s > HELD_UP_S else Verdict.FINE


class Progress:
    """What one worker's thread is at. Written by that thread, read by any."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._cpu: CpuTime | None = None
        self._doing: Doing | None = None

    @contextmanager
    def attended(self) -> Iterator[None]:
        """From now on, this thread is the worker; once the block has ended without an error, nobody is any more."""
        self._thread, self._cpu = threading.current_thread(), CpuTime()
        _here.progress = self
        pace.tell(self.step)
        self.step()
        try:
            yield
            self._doing = None
        finally:
            _here.progress = None
            pace.tell(None)

    def step(self) -> None:
        """Say that a step has been made, and another one begins."""
        before = self._doing
        if before is None:
            self._begin("its own work", 0.0, None)
        else:
            self._begin(before.what, before.end_s, before.tell)

    def expect(self, what: str, within_s: float) -> None:
        """Say that one will be heard of again in time, in whichever thread: for what has no thread of its own."""
        self._begin(what, within_s, None)

    def dismiss(self) -> None:
        """Say that nothing is to be expected any more."""
        self._doing = None

    @contextmanager
    def waiting(self, what: str, end_s: float | None, tell: Callable[[str], None] | None = None) -> Iterator[None]:
        """Say what the block waits for, and how long that may take at most; see `Doing`."""
        outer = self._doing
        self._begin(what, end_s, tell)
        try:
            yield
        finally:
            self._doing = outer
            self.step()

    def _begin(self, what: str, end_s: float | None, tell: Callable[[str], None] | None) -> None:
        spent_s = self._spent_s() if end_s is None else 0.0  # only there it decides anything, and to ask costs a call
        self._doing = Doing(what, self._clock.monotonic(), spent_s, end_s, tell)

    def judged(self) -> tuple[Verdict, Doing | None]:
        """Return how the worker is now, and what it is at; None if it has not begun or has ended as it should."""
        doing = self._doing
        if doing is None:
            return Verdict.FINE, None
        is_alive = self._thread is None or self._thread.is_alive()
        return judge(doing, self._clock.monotonic(), self._spent_s(), is_alive=is_alive), doing

    def _spent_s(self) -> float:
        return self._cpu.spent_s() if self._cpu is not None else 0.0

    @property
    def ident(self) -> int | None:
        """The thread's identifier, None if it has not begun."""
        return self._thread.ident if self._thread is not None else None


class _Here(threading.local):
    progress: Progress | None = None


_here = _Here()


def step() -> None:
    """Say that this thread, if it is a worker's, has made a step."""
    if _here.progress is not None:
        _here.progress.step()


@contextmanager
def waiting(what: str, end_s: float | None, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Say what this thread, if it is a worker's, waits for in the block; see `Progress.waiting`."""
    if _here.progress is None:
        yield
        return
    with _here.progress.waiting(what, end_s, tell):
        yield
