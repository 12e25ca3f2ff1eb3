"""Hours of outage with many documents waiting, in virtual time: real ledger, real workers, real pumps.

Nothing waits for real. ``SEALDROP_WAITING`` says how many documents wait, and ``SEALDROP_OUTAGE_H`` for how many hours.
The defaults are small: six hours with 10,000 documents take minutes, best with ``--basetemp`` in memory. ``pytest -s``
shows the figures.

The bounds, per virtual hour of an outage. A breaker that is open lets one call through at a time, and waits at least
half of `retry_longest_s` (300 s) between two: 24 an hour for each operation. Before it is open that far, it has waited
2, 4, … 256 s: eight more. And it opens after five failures, when as many calls may be under way as there are threads:
ten more.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from account_stage import FakeService, Stage
from documents import DIGEST, document
from sealdrop.daemon.duties import Duty, duties, lease_s
from sealdrop.daemon.line import REFUSED_LONGEST_S
from sealdrop.daemon.pump import Pump
from sealdrop.errors import LeaseLost, OutcomeUnknown, Refused, Retryable
from sealdrop.ledger.store import Claimed, Ledger, Step
from sealdrop.model import (
    Document,
    DocumentId,
    Event,
    ExternalId,
    Remote,
    RemoteStatus,
    RemoteStep,
    RequestId,
    State,
)
from sealdrop.signapi.client import StatusAnswer
from sealdrop.signapi.wire import NewRequest, RequestStatus
from virtual_time import Sleeper, VirtualCondition, VirtualTime

pytestmark = pytest.mark.timeout(3_600 if "SEALDROP_WAITING" in os.environ else 120)

WAITING = int(os.environ.get("SEALDROP_WAITING", "60"))
HOUR_S = 3_600.0
OUTAGE_H = int(os.environ.get("SEALDROP_OUTAGE_H", "2"))
CALL_S = 0.2  # that a call takes when all is well
TIMEOUT_S = 120.0
SEAL_S = 5.0
WISH_S = 600.0  # Retry-After
CHANGING = ("create", "sign", "sign_many")
PROBES = 24 + 8 + 10  # calls an hour of an operation that is broken; see above
PUMPS = 9  # submitting, reconciling, signing, and six that poll


@dataclass(frozen=True)
class Struck:
    """What becomes of a call: how long it takes, how it ends, and whether it is carried out all the same."""

    seconds: float
    error: Exception
    applied: bool = False


Outage = Callable[[str, float, random.Random], Struck | None]


def _changing(call: str) -> bool:
    return call in CHANGING


def refused(_call: str, _now: float, _chance: random.Random) -> Struck | None:
    """Nobody listens."""
    return Struck(0.01, Retryable("connection refused"))


def overloaded(call: str, _now: float, _chance: random.Random) -> Struck | None:
    """503 with Retry-After."""
    kind = OutcomeUnknown if _changing(call) else Retryable
    return Struck(CALL_S, kind("HTTP 503", retry_after_s=WISH_S))


def silent(call: str, _now: float, chance: random.Random) -> Struck | None:
    """No answer, whether the call was carried out or not."""
    if not _changing(call):
        return Struck(TIMEOUT_S, Retryable("out of time"))
    return Struck(TIMEOUT_S, OutcomeUnknown("out of time"), applied=chance.random() < 0.5)


def polite(call: str, _now: float, _chance: random.Random) -> Struck | None:
    """200 with an errorMsg, for everything."""
    return Struck(CALL_S, Refused("we are sorry") if _changing(call) else Retryable("we are sorry"))


def refuses_to_create(call: str, _now: float, _chance: random.Random) -> Struck | None:
    """200 with an errorMsg, for new documents only."""
    return Struck(CALL_S, Refused("we are sorry")) if call == "create" else None


def cannot_create(call: str, _now: float, chance: random.Random) -> Struck | None:
    """Only creating fails, now and then after it was carried out."""
    return Struck(CALL_S, OutcomeUnknown("HTTP 500"), applied=chance.random() < 0.1) if call == "create" else None


def cannot_sign(call: str, _now: float, chance: random.Random) -> Struck | None:
    """Only signing fails, now and then after it was carried out."""
    broken = call in ("sign", "sign_many")
    return Struck(CALL_S, OutcomeUnknown("HTTP 500"), applied=chance.random() < 0.1) if broken else None


def cannot_tell(call: str, _now: float, _chance: random.Random) -> Struck | None:
    """Only asking for a status fails."""
    return Struck(CALL_S, Retryable("HTTP 500")) if call == "status" else None


def flapping(call: str, now: float, chance: random.Random) -> Struck | None:
    """Nine minutes of no answers, one minute of answers, and so on."""
    return silent(call, now, chance) if now % 600 < 540 else None


def flapping_politely(call: str, now: float, chance: random.Random) -> Struck | None:
    """Nine minutes of errorMsg for everything that changes anything, one minute of answers, and so on."""
    return polite(call, now, chance) if now % 600 < 540 and _changing(call) else None


class CountingLedger(Ledger):
    """A ledger that counts what it writes."""

    written = 0

    def record(self, *steps: Step) -> tuple[Document | LeaseLost, ...]:
        """Count, and record."""
        self.written += bool(steps)
        return super().record(*steps)

    def claim(self, *states: State, **how: object) -> Claimed:
        """Claim, and count if that wrote anything."""
        claimed = super().claim(*states, **how)  # type: ignore[arg-type]
        self.written += bool(claimed.documents)
        return claimed


class SlowService(FakeService):
    """A service whose calls take virtual time, and that has an outage."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage: Outage | None = outage
        self.made: list[tuple[float, str, str]] = []
        self.asked: Counter[tuple[int, str]] = Counter()
        self.succeeded_at: list[float] = []
        self.flying = 0
        self.most_flying = 0
        self._world: VirtualTime | None = None
        self._chance = random.Random(2)
        self._lost: dict[str, Exception] = {}
        self._creating: set[ExternalId] = set()
        self._began_at: dict[RequestId, float] = {}
        self.before = self._strike
        self.after = self._lose

    @property
    def world(self) -> VirtualTime:
        """The time that calls take."""
        assert self._world is not None
        return self._world

    @world.setter
    def world(self, world: VirtualTime) -> None:
        self._world = world

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create requests; while that goes on nobody else may send the same."""
        sent = {new.external_id for new in documents}
        assert not sent & self._creating, "sent twice at a time"
        self._creating |= sent
        self.asked.update((self._hour(), f"create {each}") for each in sent)
        try:
            return super().create(documents)
        finally:
            self._creating -= sent

    def status(
        self,
        *,
        request_id: RequestId | None = None,
        external_id: ExternalId | None = None,
        content_to: Path | None = None,
    ) -> StatusAnswer:
        """Say where a request stands."""
        self.asked[self._hour(), f"status {request_id or external_id}"] += 1
        return super().status(request_id=request_id, external_id=external_id, content_to=content_to)

    def _hour(self) -> int:
        return int(self.world.clock.elapsed_s // HOUR_S)

    def _strike(self, call: str) -> None:
        now = self.world.clock.elapsed_s
        self.made.append((now, call, self.world.present))
        struck = self.outage(call, now, self._chance) if self.outage else None
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        self.world.sleep(struck.seconds if struck else CALL_S)
        self.flying -= 1
        if struck is None:
            self.succeeded_at.append(self.world.clock.elapsed_s)
        elif struck.applied:
            self._lost[self.world.present] = struck.error
        else:
            raise struck.error

    def _lose(self, _call: str) -> None:
        error = self._lost.pop(self.world.present, None)
        if error is not None:
            raise error

    def _answer(self, request_id: RequestId) -> RequestStatus:
        if request_id in self.accepted:
            now = self.world.clock.elapsed_s
            began_at = self._began_at.setdefault(request_id, now)
            done = now - began_at >= SEAL_S
            self.status_of[request_id] = RemoteStatus.ARCHIVED if done else RemoteStatus.SIGN_IN_PROGRESS
        return super()._answer(request_id)


class Scene:
    """Many documents, one account's pumps, an outage."""

    def __init__(self, tmp_path: Path, outage: Outage, **account: float) -> None:
        self.service = SlowService(outage)
        self.stage = Stage(tmp_path, service=self.service, ledger=CountingLedger, on_stored=self._stored)
        self.stage.reload(**account)
        self.world = self.service.world = VirtualTime(self.stage.clock)
        self.stage.throttle._turns = cast(threading.Condition, VirtualCondition(self.world))
        self.ledger = cast(CountingLedger, self.stage.ledger)
        self.turns = 0
        self.sealed: Counter[DocumentId] = Counter()
        self.failed: list[Document] = []
        self._waiting_for: dict[State, list[Sleeper]] = {}
        self._fill()
        for duty in duties(self.stage.worker, self.stage.account):
            pump = self._pump(duty)
            sleeper = self.world.start(duty.name, partial(self._turn, pump))
            for state in duty.states:
                self._waiting_for.setdefault(state, []).append(sleeper)

    def _pump(self, duty: Duty) -> Pump:
        line, lasts_s = self.stage.line, lease_s(self.stage.account)

        def claim() -> Claimed:
            now, limit = self.stage.clock.now(), duty.limit()
            return self.ledger.claim(*duty.states, now=now, limit=limit, lease_s=lasts_s, account="main")

        def broken(error: BaseException) -> None:
            raise error

        return Pump(
            duty.name,
            claim=claim,
            give_up=self.ledger.give_up_leases,
            work=duty.work,
            clock=self.stage.clock,
            log=self.stage.log,
            on_fatal=broken,
            closed_s=lambda: line.closed_s(*duty.needs),
        )

    def _turn(self, pump: Pump) -> None:
        self.turns += 1
        self.world.sleep(pump.turn(), interruptible=True)

    def _stored(self, stored: Document) -> None:
        if stored.state is State.SEALED:
            self.sealed[stored.id] += 1
        elif stored.state is State.FAILED:
            self.failed.append(stored)
        for sleeper in self._waiting_for.get(stored.state, ()):
            self.world.wake(sleeper)

    def _fill(self) -> None:
        steps = [Step(None, self._waiting(number), Event("document_received")) for number in range(WAITING)]
        for start in range(0, WAITING, 500):
            self.ledger.record(*steps[start : start + 500])

    def _waiting(self, number: int) -> Document:
        """Return a document that waits: in ten, six are to be sent, and one is in each further state."""
        now = self.stage.clock.now()
        identifier = DocumentId(f"20261123-{number:016x}")
        self.stage.spool.make(identifier)
        new = document(id=identifier, name=f"{number}.pdf", due_at=now, sha256=DIGEST, state=State.VALIDATED)
        external_id = ExternalId(f"{identifier}-1")
        request_id = RequestId(f"r-{external_id}")
        kind = number % 10
        if kind < 6:
            return new
        new = replace(new, state=State.SUBMITTING, external_id=external_id)
        if kind == 6 and number % 20 == 6:
            return new
        self.service.external[external_id] = request_id
        self.service.status_of[request_id] = RemoteStatus.SIGN_CREATED
        if kind == 6:
            return new
        new = replace(new, state=State.SUBMITTED, request_id=request_id)
        if kind == 7:
            return new
        self.service.accepted[request_id] = None
        status, state = RemoteStatus.SIGN_IN_PROGRESS, State.SEALING
        if kind == 9:
            status, state = RemoteStatus.ARCHIVE_IN_PROGRESS, State.ARCHIVING
        remote = Remote(steps=(RemoteStep(status, now - timedelta(seconds=9)),))
        return replace(new, state=state, remote=remote, sign_called_at=now, sign_accepted=True)


@dataclass(frozen=True)
class Report:
    """What happened in each hour of an outage, what was wrong at its end, and how it went on."""

    hours: Sequence[Mapping[str, int]]
    troubles: set[str]
    waiting: int
    resumed_s: float
    took_s: float
    peak: int

    def most(self, what: str) -> int:
        """Return how many there were in the worst hour."""
        return max(hour.get(what, 0) for hour in self.hours)


def play(scene: Scene) -> Report:
    """Let the outage be for hours, and then the time until all documents are over."""
    world, service, ledger, clock = scene.world, scene.service, scene.ledger, scene.stage.clock
    hours = []
    for hour in range(OUTAGE_H):
        calls, turns, written = len(service.made), scene.turns, ledger.written
        ends_s = (hour + 1) * HOUR_S
        world.run(lambda ends_s=ends_s: clock.elapsed_s >= ends_s, at_most_s=2 * HOUR_S)  # type: ignore[misc]
        counted = Counter("sign" if call == "sign_many" else call for _, call, _ in service.made[calls:])
        counted.update(turns=scene.turns - turns, writes=ledger.written - written)
        hours.append(counted)
    service.outage = None
    troubles = {trouble.subject for trouble in ledger.troubles()}
    waiting, over_at_s = WAITING - len(scene.sealed), clock.elapsed_s
    world.run(lambda: len(scene.sealed) + len(scene.failed) >= WAITING, at_most_s=2 * HOUR_S + WAITING)
    resumed_at_s = min((at_s for at_s in service.succeeded_at if at_s > over_at_s), default=over_at_s)
    peak = max(Counter(int(at_s) for at_s, _, _ in service.made).values())
    took_s = clock.elapsed_s - over_at_s
    return Report([dict(hour) for hour in hours], troubles, waiting, resumed_at_s - over_at_s, took_s, peak)


@dataclass(frozen=True)
class Bound:
    """What an outage may cost, and what it must be called. Calls are those of an hour."""

    outage: Outage
    calls: Mapping[str, int]
    troubles: set[str]
    resumed_s: float = 300 + 60

    def __str__(self) -> str:
        """Return the outage's name."""
        return str(getattr(self.outage, "__name__", self.outage))


# An operation that answers with a no is tried every five to ten seconds; the document is asked for before and after.
REFUSED = int(HOUR_S / (REFUSED_LONGEST_S / 2)) + 10
# Documents under way are polled as ever where polling works; those that wait to be signed anew are looked at as rarely
# as a broken operation is tried. Polling takes 27 s (`poll_longest_s`, less a tenth) at most: 133 times an hour.
EACH = 150
POLLED = EACH * WAITING
EVERYTHING = {"create": PROBES, "sign": PROBES, "status": PROBES}
BOUNDS = [
    Bound(refused, EVERYTHING, {"status"}),
    Bound(overloaded, EVERYTHING, {"status"}, resumed_s=WISH_S * 1.1 + 60),
    Bound(silent, EVERYTHING, {"status"}),
    Bound(polite, {**EVERYTHING, "create": REFUSED, "sign": REFUSED}, {"status"}),
    Bound(refuses_to_create, {"create": REFUSED, "status": 2 * REFUSED + POLLED}, {"create"}, resumed_s=10 + 60),
    Bound(cannot_create, {"create": PROBES}, {"create"}),
    Bound(cannot_sign, {"sign": PROBES}, {"sign"}),
    Bound(cannot_tell, {"status": PROBES}, {"status"}),
    Bound(flapping, {}, set()),
    Bound(flapping_politely, {}, set()),
]


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_an_outage_of_hours_is_waited_out(tmp_path: Path, bound: Bound) -> None:
    """Few calls during it, no rush after it, no document failed by it, and each is sealed once."""
    scene = Scene(tmp_path, bound.outage)
    try:
        report = play(scene)
        service = scene.service
        print(bound, report)  # noqa: T201 - the figures, for who asks for them with -s
        # Each document is over, for its own sake, once.
        assert scene.failed == []
        assert len(scene.sealed) == WAITING
        assert set(scene.sealed.values()) == {1}
        assert len(service.accepted) == WAITING  # the service itself sees to it that nothing is accepted twice
        # During the outage: few calls, and no busy loop.
        for operation, calls in bound.calls.items():
            assert report.most(operation) <= calls, operation
        assert report.most("turns") <= PUMPS * HOUR_S
        assert (
            report.most("writes")
            <= 8 * max(sum(hour.get(call, 0) for call in EVERYTHING) for hour in report.hours) + 100
        )
        # Each document by itself.
        often = {subject: count for (_, subject), count in service.asked.items() if count > EACH}
        assert often == {}
        # It has a name, and no other.
        told = {str(line["operation"]) for line in scene.stage.log.events("account_unreachable")}
        assert bound.troubles <= told
        assert report.troubles <= {f"account main {operation}" for operation in told}
        if bound.troubles:
            assert {f"account main {operation}" for operation in bound.troubles} <= report.troubles
        assert scene.ledger.troubles() == ()
        # At its end: all goes on by itself, soon, and no faster than the threads can.
        assert report.resumed_s <= bound.resumed_s
        assert report.took_s <= 2 * bound.resumed_s + 600 + WAITING
        assert report.peak <= PUMPS * (1 / CALL_S + 1)
        assert service.most_flying <= PUMPS
    finally:
        scene.world.end()
        scene.ledger.close()


def test_a_limit_of_calls_starves_nobody(tmp_path: Path) -> None:
    """An outage with all pumps at work, and what it leaves behind: never a call too many, and all of it is sealed."""
    scene = Scene(tmp_path, refused, calls_per_s=1.0)
    try:
        report = play(scene)
        assert scene.failed == []
        assert set(scene.sealed.values()) == {1}
        assert all(after[0] - before[0] >= 0.999_999 for before, after in pairwise(scene.service.made))
        # A call each for what is created and signed together, and some questions for each document.
        assert report.took_s <= Bound(refused, {}, set()).resumed_s + 10 * WAITING
    finally:
        scene.world.end()
        scene.ledger.close()
