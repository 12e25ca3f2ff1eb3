"""The loop that all workers share."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from queue import SimpleQueue

from documents import NOW, FakeClock, document
from running import PATIENCE_S, KeptLog, until
from sealdrop.daemon.pump import Pump, Team
from sealdrop.errors import Retryable
from sealdrop.ledger.store import Claimed
from sealdrop.model import Document


def test_what_could_not_be_recorded_is_given_back_before_anything_else() -> None:
    """Documents whose outcome could not be written down are given back, and only then is more claimed."""
    told: list[str] = []
    done = threading.Event()
    claims = [Claimed((document(),), None), Claimed((), None)]

    def claim() -> Claimed:
        told.append("claim")
        return claims.pop(0) if claims else Claimed((), None)

    def give_up(documents: Sequence[Document]) -> None:
        told.append(f"give up {len(documents)}")

    def work(documents: Sequence[Document]) -> None:
        assert documents
        told.append("work")
        raise Retryable("the disk is full")

    def broken(error: BaseException) -> None:
        raise error

    pump = Pump("p", claim=claim, give_up=give_up, work=work, clock=FakeClock(), log=KeptLog(), on_fatal=broken)
    pump.start()
    while len(told) < 4 and not done.wait(0.01):
        pump.wake()
    pump.stop()
    assert pump.join(PATIENCE_S)
    assert told[:4] == ["claim", "work", "give up 1", "claim"]


class _Looks:
    """A pump that tells when it looks for documents, and is handed what there is."""

    def __init__(self, clock: FakeClock, call_help: Callable[[float], None] = lambda _: None) -> None:
        self.looked = threading.Semaphore(0)
        self.claims: SimpleQueue[Claimed] = SimpleQueue()
        self.pump = Pump(
            "p",
            claim=self._claim,
            give_up=lambda _: None,
            work=lambda _: None,
            clock=clock,
            log=KeptLog(),
            on_fatal=lambda _: None,
            call_help=call_help,
        )

    def _claim(self) -> Claimed:
        self.looked.release()
        return Claimed((), None) if self.claims.empty() else self.claims.get()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Have it run, and sleep after its first look."""
        self.pump.start()
        try:
            until(lambda: self.pump.is_asleep)
            assert self.looked.acquire(blocking=False)
            yield
        finally:
            self.pump.stop()
            assert self.pump.join(PATIENCE_S)


def test_who_is_woken_for_later_looks_then_and_not_before() -> None:
    """For what falls due in a while nobody looks at once; an earlier moment takes the place of a later one."""
    clock = FakeClock()
    one = _Looks(clock)
    with one.asleep():
        one.pump.wake(50.0)
        one.pump.wake(55.0)
        clock.go(20.0)
        one.pump.wake(29.0)  # a moment earlier, and so it looks at its clock
        assert not one.looked.acquire(timeout=0.1)
        clock.go(30.0)
        one.pump.wake(-1.0)
        assert one.looked.acquire(timeout=PATIENCE_S)


def test_a_team_has_one_of_those_woken_that_sleep() -> None:
    """What is due is one pump's work; the others sleep on, and if nobody sleeps all look when they are done."""
    clock, team = FakeClock(), Team()
    first, second = _Looks(clock), _Looks(clock)
    team.pumps += [first.pump, second.pump]
    with first.asleep():
        with second.asleep():
            team.wake()
            assert first.looked.acquire(timeout=PATIENCE_S)
            assert not second.looked.acquire(timeout=0.1)
        assert team.is_working
        assert not second.pump.is_asleep
        until(lambda: first.pump.is_asleep)
        team.wake()
        assert first.looked.acquire(timeout=PATIENCE_S)
    assert not team.is_working


def test_who_finds_more_than_it_can_take_calls_for_help() -> None:
    """A claim that leaves something has another pump of the team look once that is due, be it now."""
    clock, team = FakeClock(), Team()
    busy, helper = _Looks(clock, team.wake), _Looks(clock, team.wake)
    team.pumps += [busy.pump, helper.pump]
    with helper.asleep():
        busy.claims.put(Claimed((document(),), NOW + timedelta(seconds=5)))
        assert busy.pump.turn() == 0.0
        assert not helper.looked.acquire(timeout=0.1)
        assert helper.pump._look_at == clock.monotonic() + 5
        busy.claims.put(Claimed((document(),), NOW))
        assert busy.pump.turn() == 0.0
        assert helper.looked.acquire(timeout=PATIENCE_S)
