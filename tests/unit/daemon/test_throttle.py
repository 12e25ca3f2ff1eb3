"""How often an account is called: no more than it may be, everybody in turn, and nobody waits once the work stops."""

import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from account_stage import LEASE_S, Stage
from documents import FakeClock
from running import PATIENCE_S, until
from sealdrop.clock import SystemClock
from sealdrop.daemon.account import CALLS_EACH
from sealdrop.daemon.duties import duties, lease_s
from sealdrop.daemon.line import longest_wait_s
from sealdrop.daemon.throttle import Throttle
from sealdrop.errors import NotCalled
from sealdrop.model import Document, RemoteStatus, State
from virtual_time import VirtualCondition, VirtualTime

APART_S = 0.125


class _Waiting:
    """The condition variable of a lone thread: while it waits, time goes on."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        """Nobody else is there."""

    def __exit__(self, *_: object) -> None:
        """Nobody else has waited."""

    def wait(self, timeout_s: float | None) -> None:
        """Let time pass."""
        assert timeout_s is not None
        self._clock.go(timeout_s)

    def notify_all(self) -> None:
        """There is nobody to wake."""


def _stage(tmp_path: Path, **account: float) -> Stage:
    """Return an account that waits for its turn in the time of its own clock."""
    stage = Stage(tmp_path)
    _virtual(stage.throttle, _Waiting(stage.clock))
    stage.reload(**account)
    return stage


def _virtual(throttle: Throttle, condition: Any) -> None:  # noqa: ANN401 - it stands for a `threading.Condition`
    throttle._turns = condition


def test_calls_are_as_far_apart_as_they_must_be_and_everybody_has_a_turn() -> None:
    """Eight threads that call all the time, and one that seldom does, which waits for one call of each at most."""
    clock = FakeClock()
    world, throttle = VirtualTime(clock), Throttle(clock)
    _virtual(throttle, VirtualCondition(world))
    made: list[tuple[float, str]] = []
    waited: list[float] = []

    def call(name: str, pause_s: float) -> None:
        world.sleep(pause_s)
        wanted = clock.elapsed_s
        assert throttle.wait(APART_S, lambda: False)
        made.append((clock.elapsed_s, name))
        if name == "seldom":
            waited.append(clock.elapsed_s - wanted)

    for number in range(8):
        world.start(f"busy {number}", partial(call, f"busy {number}", 0.0))
    world.start("seldom", partial(call, "seldom", 7.3))
    try:
        world.run(lambda: len(made) == 400, at_most_s=400 * APART_S)
    finally:
        world.end()
    assert all(after[0] - before[0] >= APART_S for before, after in pairwise(made))
    assert len(waited) >= 4
    assert max(waited) <= 9 * APART_S
    busy = [sum(name == f"busy {number}" for _, name in made) for number in range(8)]
    assert max(busy) - min(busy) <= 1


def test_all_kinds_of_calls_wait_for_their_turn(tmp_path: Path) -> None:
    """Creating, signing, asking after one or for a list: none begins too soon after another, and all is sealed."""
    stage = _stage(tmp_path, calls_per_s=100.0, poll_longest_s=1.0, batch_documents=7)
    times: list[float] = []
    stage.service.before = lambda _: times.append(stage.clock.elapsed_s)
    for number in range(15):
        stage.add(number)
    stage.run(60)
    stage.archive()
    stage.run(30)
    assert {stage.get(number).state for number in range(15)} == {State.SEALED}
    assert set(stage.service.calls) == {"create", "sign", "sign_many", "status", "search"}
    assert all(after - before >= 0.009_999 for before, after in pairwise(times))


def test_a_sign_call_counts_from_when_it_is_made_not_from_when_it_is_wanted(tmp_path: Path) -> None:
    """However long it waits for its turn: else it could be taken for one that was lost, and be made once more."""
    stage = _stage(tmp_path, calls_per_s=0.1)
    signed: list[float] = []

    def note(call: str) -> None:
        if call == "sign":
            called_at = stage.get().sign_called_at
            assert called_at is not None
            signed.append((stage.clock.now() - called_at).total_seconds())

    stage.service.before = note
    stage.add()
    stage.run(60)
    assert signed == [0.0]
    assert len(stage.service.accepted) == 1


def test_sign_calls_that_are_made_again_wait_for_their_turn_too(tmp_path: Path) -> None:
    """Also what is created or signed anew, after the service did not hear of it, is no call too many."""
    stage = _stage(tmp_path, calls_per_s=0.1)
    times: list[float] = []

    def strike(_call: str) -> None:
        times.append(stage.clock.elapsed_s)
        if len(times) in (1, 4):
            raise TimeoutError("nothing was heard of it")

    stage.service.before = strike
    stage.add()
    stage.run(1_000)
    assert stage.service.calls[:6] == ["create", "status", "create", "sign", "status", "status"]
    assert stage.service.calls.count("sign") == 2
    assert all(after - before >= 9.999 for before, after in pairwise(times))


def test_whoever_waits_stops_at_once() -> None:
    """A stop ends all waiting, though the next turn is an hour away; who stops or asks does not wait for a lock."""
    throttle = Throttle(SystemClock())
    assert throttle.wait(3_600.0, lambda: False)
    over = threading.Event()
    may: list[bool] = []
    threads = [threading.Thread(target=lambda: may.append(throttle.wait(1.0, over.is_set))) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(throttle._line) == 3)
    over.set()
    throttle.wake()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert may == [False] * 3


def _each_state(stage: Stage) -> list[Document]:
    """Have a document in each state that a worker calls for."""
    for number in range(4):
        stage.add(number)
    stage.service.begins_at_once = False
    worker, ledger = stage.worker, stage.ledger

    def claim(state: State, limit: int) -> tuple[Document, ...]:
        return ledger.claim(state, now=stage.clock.now(), limit=limit, lease_s=LEASE_S).documents

    worker.submit(claim(State.VALIDATED, 2))
    worker.sign(claim(State.SUBMITTED, 1))
    (one,) = claim(State.VALIDATED, 1)
    stage.recorder.commit([worker._intend(one)])
    ledger.release_leases("host")
    ledger.hasten(stage.clock.now())
    states = [stage.get(number) for number in range(4)]
    assert {each.state for each in states} == {State.VALIDATED, State.SUBMITTING, State.SUBMITTED, State.SEALING}
    return states


def test_what_stops_before_it_was_called_for_is_given_back_as_it_was(tmp_path: Path) -> None:
    """No try is counted, no intent put on record, and no call made; the next start has them at once."""
    stage = Stage(tmp_path)
    before = _each_state(stage)
    calls = len(stage.service.calls)
    stage.reload(calls_per_s=0.1)
    stage.line.stop()
    for duty in duties(stage.worker, stage.account):
        claimed = stage.ledger.claim(*duty.states, now=stage.clock.now(), limit=9, lease_s=lease_s(stage.account))
        if claimed.documents:
            duty.work(claimed.documents)
    with pytest.raises(NotCalled):
        stage.line.ask_aside(stage.service.search, RemoteStatus.SIGN_IN_PROGRESS)
    assert len(stage.service.calls) == calls
    for was in before:
        now = stage.ledger.get(was.id)
        assert now is not None
        assert (now.state, now.attempts, now.last_error, now.lease) == (was.state, 0, None, None)
        assert now.due_at is not None
        assert now.due_at <= stage.clock.now()


def test_the_limit_outlasts_a_configuration(tmp_path: Path) -> None:
    """A line that follows another one does not begin anew."""
    stage = _stage(tmp_path, calls_per_s=0.1)
    assert stage.line.may_begin()
    stage.line.stop()
    stage.reload(calls_per_s=0.2)
    assert stage.line.may_begin()
    assert stage.clock.elapsed_s == 10.0
    assert stage.line.may_begin()
    assert stage.clock.elapsed_s == 15.0


def test_a_lease_outlasts_the_waiting(tmp_path: Path) -> None:
    """What could be claimed by somebody else while it waits for its turns is not begun, but given back."""
    stage = _stage(tmp_path, calls_per_s=0.1)
    longest_s = CALLS_EACH * (longest_wait_s(stage.account) + stage.account.call_timeout_s)
    assert lease_s(stage.account) > 4 * longest_s
    stage.add()

    def reconcile(remaining_s: float) -> None:
        claimed = stage.ledger.claim(State.SUBMITTING, now=stage.clock.now(), limit=1, lease_s=remaining_s)
        stage.worker.reconcile(claimed.documents)

    (one,) = stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=1, lease_s=LEASE_S).documents
    stage.recorder.commit([stage.worker._intend(one)])
    stage.ledger.release_leases("host")
    reconcile(longest_s - 1)
    assert stage.service.calls == []
    reconcile(longest_s + 1)
    assert stage.service.calls == ["status", "create"]


def test_without_a_limit_nobody_waits(tmp_path: Path) -> None:
    """Then calls begin as they come; also those that a stop finds in the middle of its work."""
    stage = Stage(tmp_path)
    made: Callable[[], bool] = stage.line.may_begin
    stage.line.stop()
    assert made()
    assert made()
    assert longest_wait_s(stage.account) == 0.0
