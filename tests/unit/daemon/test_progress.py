"""Whether a worker makes progress: the rule, by a clock that goes when told."""

import io
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from documents import FakeClock, document
from running import PATIENCE_S, KeptLog
from sealdrop.daemon import progress
from sealdrop.daemon.progress import CPU_S, HELD_UP_S, STEP_S, Doing, Progress, Verdict, judge
from sealdrop.daemon.pump import Pump
from sealdrop.durable import copy_hashed
from sealdrop.ledger.store import Claimed
from sealdrop.model import Document


@pytest.mark.parametrize(
    ("end_s", "elapsed_s", "spent_s", "is_alive", "verdict"),
    [
        (0.0, STEP_S - 1, 0.0, True, Verdict.FINE),
        (0.0, STEP_S + 1, 0.0, True, Verdict.STUCK),
        (120.0, 120 + STEP_S - 1, 0.0, True, Verdict.FINE),
        (120.0, 120 + STEP_S + 1, 0.0, True, Verdict.STUCK),
        (None, HELD_UP_S - 1, 0.0, True, Verdict.FINE),
        (None, HELD_UP_S + 1, 0.0, True, Verdict.HELD_UP),
        (None, 30 * 86_400.0, 1.0, True, Verdict.HELD_UP),
        (None, CPU_S + 60, CPU_S + 1, True, Verdict.STUCK),
        (None, 1.0, 0.0, False, Verdict.STUCK),
        (120.0, 1.0, 0.0, False, Verdict.STUCK),
    ],
)
def test_the_rule(end_s: float | None, elapsed_s: float, spent_s: float, is_alive: bool, verdict: Verdict) -> None:
    """Own work has a limit, a wait its own beside it, a share none unless it burns CPU time; the dead are stuck."""
    doing = Doing("something", 1_000.0, 5.0, end_s)
    assert judge(doing, 1_000.0 + elapsed_s, 5.0 + spent_s, is_alive=is_alive) is verdict


class Worker:
    """A thread that does as it is told, one thing at a time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.progress = Progress("worker", self.clock)
        self._did, self._may = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with suppress(ZeroDivisionError), self.progress.attended():
            self.work()

    def work(self) -> None:
        """Wait for a call, and for a share with the ledger in between; then make two steps."""
        with progress.waiting("a call", 20.0):
            self.pause()
        self.pause()
        with progress.waiting("a share", None, lambda _: None):
            self.pause()
            with progress.waiting("the ledger", 0.0):
                self.pause()
            self.pause()
        progress.step()
        self.pause()

    def pause(self) -> None:
        """Let the test look."""
        self._did.release()
        assert self._may.acquire(timeout=PATIENCE_S)

    def next(self) -> None:
        """Wait until the worker is at the next thing."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._may.release()
        assert self._did.acquire(timeout=PATIENCE_S)

    def end(self) -> None:
        """Wait until the worker has ended."""
        self._may.release()
        self._thread.join(PATIENCE_S)

    def at(self) -> tuple[Verdict, str]:
        """Return how it is and what it is at."""
        verdict, doing = self.progress.judged()
        return verdict, doing.what if doing is not None else ""


def test_what_a_worker_waits_for_is_told_from_below() -> None:
    """Waits nest; the end of each is a step, after which what is around it has all of its time again."""
    worker = Worker()
    assert worker.at() == (Verdict.FINE, "")
    for what, limit_s in (
        ("a call", 20 + STEP_S),
        ("its own work", STEP_S),
        ("a share", None),
        ("the ledger", STEP_S),
        ("a share", None),
        ("its own work", STEP_S),
    ):
        worker.next()
        worker.clock.go(limit_s or HELD_UP_S)
        assert worker.at() == (Verdict.FINE, what)
        worker.clock.go(1)
        assert worker.at() == (Verdict.STUCK if limit_s else Verdict.HELD_UP, what)
    worker.end()
    worker.clock.go(86_400)
    assert worker.at() == (Verdict.FINE, "")


def test_a_long_copy_from_a_slow_share_is_no_share_that_hangs() -> None:
    """Each chunk that comes is a sign of life, however long the whole of it takes."""
    clock = FakeClock()
    progress, judged = Progress("inbound invoices", clock), list[Verdict]()

    class Slow:
        left = 60

        def read(self, _: int, /) -> bytes:
            clock.go(5.0)
            judged.append(progress.judged()[0])
            self.left -= 1
            return b"x" if self.left else b""

    with progress.attended(), progress.waiting("/srv/share/in", None):
        copy_hashed(Slow(), io.BytesIO())
        clock.go(HELD_UP_S + 1)
        assert progress.judged()[0] is Verdict.HELD_UP
    assert set(judged) == {Verdict.FINE}


def test_a_thread_that_dies_is_found() -> None:
    """A worker whose thread ended by an error, and not because it was asked to, is stuck at once."""

    class Dying(Worker):
        def work(self) -> None:
            self.pause()
            raise ZeroDivisionError

    worker = Dying()
    worker.next()
    assert worker.at()[0] is Verdict.FINE
    worker.end()
    assert worker.at()[0] is Verdict.STUCK


def test_a_loop_without_end_on_a_share_is_no_wait() -> None:
    """The CPU time of the very thread is counted: one that spins is told from one that waits."""
    done = threading.Event()

    class Spinning(Worker):
        def work(self) -> None:
            with progress.waiting("a share", None):
                self.pause()
                while not done.is_set():
                    pass

    worker = Spinning()
    worker.next()
    worker._may.release()
    _, doing = worker.progress.judged()
    assert doing is not None
    pause = threading.Event()
    try:
        while worker.progress._spent_s() - doing.spent_s < 0.05:
            pause.wait(0.01)
    finally:
        done.set()
    worker._thread.join(PATIENCE_S)


def test_outside_of_workers_nothing_is_noted() -> None:
    """In a thread that is no worker's, saying what is waited for does nothing."""
    progress.step()
    with progress.waiting("nothing", 1.0):
        pass


def test_something_without_a_thread_is_expected_again() -> None:
    """What runs in whichever thread is stuck when it is not heard of in time, and not once it is dismissed."""
    clock = FakeClock()
    schedule = Progress("schedule", clock)
    schedule.expect("the next sign of life", 5.0)
    clock.go(STEP_S)
    assert schedule.judged()[0] is Verdict.FINE
    clock.go(6)
    assert schedule.judged()[0] is Verdict.STUCK
    schedule.dismiss()
    assert schedule.judged()[0] is Verdict.FINE


def _pump(clock: FakeClock, work: Callable[[Sequence[Document]], None], claims: list[Claimed]) -> Pump:
    def broken(error: BaseException) -> None:
        raise error

    return Pump(
        "p",
        claim=lambda: claims.pop(0) if claims else Claimed((), None),
        give_up=lambda _: None,
        work=work,
        clock=clock,
        log=KeptLog(),
        on_fatal=broken,
    )


def test_a_pump_that_sleeps_is_well_and_one_stuck_in_its_work_is_not() -> None:
    """With nothing to do a pump may sleep as long as it says; work that takes no step for too long is found."""
    clock, began, may_end = FakeClock(), threading.Event(), threading.Event()

    def work(_: Sequence[Document]) -> None:
        began.set()
        assert may_end.wait(PATIENCE_S)

    pump = _pump(clock, work, [Claimed((document(),), None)])
    pump.start()
    assert began.wait(PATIENCE_S)
    clock.go(STEP_S + 1)
    assert pump.progress.judged()[0] is Verdict.STUCK
    may_end.set()
    pause = threading.Event()
    while (doing := pump.progress.judged()[1]) is None or doing.what != "more to do":
        pause.wait(0.01)
    clock.go(60)
    assert pump.progress.judged()[0] is Verdict.FINE
    pump.stop()
    assert pump.join(PATIENCE_S)
    assert pump.progress.judged() == (Verdict.FINE, None)
