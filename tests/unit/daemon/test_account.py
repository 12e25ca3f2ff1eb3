"""What is done at SignAPI, against a service that can be made to lag, lose and contradict itself.

The service below counts what would be billed: a sign call for a request that it has already accepted fails the test.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from documents import DIGEST, FakeClock, document
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.config import Config
from sealdrop.daemon.account import CONTENT_TRIES, REFUSALS, AccountWorker
from sealdrop.daemon.line import AccountLine
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import AccountRefused, OutcomeUnknown, Refused, Retryable
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import (
    Document,
    DocumentId,
    Event,
    ExternalId,
    Reason,
    RemoteStatus,
    RequestId,
    Sha256,
    State,
)
from sealdrop.signapi.client import SignApi, StatusAnswer
from sealdrop.signapi.wire import NewRequest, RequestStatus
from sealdrop.spool import Spool

LEASE_S = 2_000.0


@dataclass
class FakeService:
    """A SignAPI in memory. ``before`` and ``after`` may raise around each call; ``shown`` is what it says instead."""

    status_of: dict[RequestId, RemoteStatus] = field(default_factory=dict)
    external: dict[ExternalId, RequestId] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    accepted: list[RequestId] = field(default_factory=list)
    begins_at_once: bool = True
    with_content: bool = True
    shown: list[RemoteStatus] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create requests."""
        self._enter("create")
        for new in documents:
            assert new.external_id not in self.external, "sent a second time"
            self.external[new.external_id] = RequestId(f"r-{new.external_id}")
            self.status_of[self.external[new.external_id]] = RemoteStatus.SIGN_CREATED
        self.after("create")
        return tuple(self._answer(self.external[new.external_id]) for new in documents)

    def sign(self, request_id: RequestId) -> RequestStatus:
        """Accept one request."""
        return self._sign("sign", [request_id])[0]

    def sign_many(self, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        """Accept several requests."""
        return self._sign("sign_many", request_ids)

    def _sign(self, call: str, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        self._enter(call)
        for request_id in request_ids:
            assert request_id not in self.accepted, "sealed twice"
            self.accepted.append(request_id)
            if self.begins_at_once:
                self.status_of[request_id] = RemoteStatus.SIGN_IN_PROGRESS
        self.after(call)
        return tuple(self._answer(request_id) for request_id in request_ids)

    def status(
        self,
        *,
        request_id: RequestId | None = None,
        external_id: ExternalId | None = None,
        content_to: Path | None = None,
    ) -> StatusAnswer:
        """Say where a request stands."""
        self._enter("status")
        found = request_id or self.external.get(external_id or ExternalId(""))
        self.after("status")
        if found is None or found not in self.status_of:
            return StatusAnswer(None)
        answer = self._answer(found)
        sealed = answer.status in (RemoteStatus.SIGNED, RemoteStatus.ARCHIVED)
        if sealed and self.with_content and content_to is not None:
            content_to.write_bytes(b"%PDF sealed")
            return StatusAnswer(answer, 11, Sha256("cd" * 32))
        return StatusAnswer(answer)

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)

    def _answer(self, request_id: RequestId) -> RequestStatus:
        status = self.shown.pop(0) if self.shown else self.status_of[request_id]
        external_id = next(key for key, value in self.external.items() if value == request_id)
        return RequestStatus(request_id, external_id, status, None, None, (), {"status": status})


class Stage:
    """One account with a real ledger, a fake service and a clock that goes when told."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.log = KeptLog()
        self.service = FakeService()
        self.spool = Spool(tmp_path / "spool")
        self.spool.root.mkdir()
        self.ledger = Ledger.open(
            tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=self.clock
        )
        config = Config.model_validate(
            {
                "service": {"state_dir": tmp_path},
                "accounts": {
                    "main": {
                        "base_url": "https://signapi.example",
                        "certificate": "c.p12",
                        "organisation": "Demo",
                        "trust_anchors": ["root.pem"],
                    }
                },
                "folders": {
                    "invoices": {
                        "account": "main",
                        **{key: tmp_path / key for key in ("inbound", "outbound", "rejected", "failed")},
                    }
                },
            }
        )
        rng = random.Random(1)
        recorder = Recorder(self.ledger, self.clock, self.log, on_stored=lambda _: None, on_record=lambda: None)
        troubles = Troubles("host", self.ledger, self.clock, self.log)
        self.line = AccountLine("main", config.accounts["main"], self.clock, troubles, rng)
        self.worker = AccountWorker(
            self.line, config, cast(SignApi, self.service), self.spool, recorder, self.clock, rng
        )
        self.account = config.accounts["main"]

    def add(self, number: int = 0) -> Document:
        """Put a validated document on record."""
        identifier = DocumentId(f"20261123-{number:016x}")
        self.spool.make(identifier)
        self.spool.original(identifier).write_bytes(b"%PDF")
        new = document(id=identifier, name=f"{number}.pdf", due_at=self.clock.now(), sha256=DIGEST)
        stored = self.ledger.add(new, Event("document_received"))
        after = replace(stored, state=State.VALIDATED)
        (validated,) = self.ledger.record(Step(stored, after, Event("document_validated")))
        assert isinstance(validated, Document)
        return validated

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, from one thing that falls due to the next, doing them as the pumps do."""
        until = self.clock.elapsed_s + seconds
        while True:
            wait_s = self._turn()
            if wait_s > 0:
                if self.clock.elapsed_s + wait_s > until:
                    self.clock.elapsed_s = until
                    return
                self.clock.go(wait_s)

    def _turn(self) -> float:
        """Do what is due; return 0 if there may be more, else the seconds until something is."""
        closed_s = self.line.closed_s()
        if closed_s > 0:
            return closed_s
        work = (
            (self.worker.submit, (State.VALIDATED,), 16),
            (self.worker.reconcile, (State.SUBMITTING,), 4),
            (self.worker.sign, (State.SUBMITTED,), 16),
            (self.worker.poll, (State.SEALING, State.ARCHIVING), 4),
        )
        due_s = [1e9]
        for stage, states, limit in work:
            claimed = self.ledger.claim(*states, now=self.clock.now(), limit=limit, lease_s=LEASE_S)
            if claimed.documents:
                stage(claimed.documents)
                return 0.0
            if claimed.next_due_at is not None:
                due_s.append((claimed.next_due_at - self.clock.now()).total_seconds() + 0.001)
        return min(due_s)

    def get(self, number: int = 0) -> Document:
        """Return a document as it stands."""
        found = self.ledger.get(f"20261123-{number:016x}")
        assert found is not None
        return found

    def archive(self) -> None:
        """The service is done with everything that it accepted."""
        for request_id in self.service.accepted:
            self.service.status_of[request_id] = RemoteStatus.ARCHIVED


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An account to try."""
    made = Stage(tmp_path)
    yield made
    made.ledger.close()


def _once(call: str, error: Exception) -> Callable[[str], None]:
    left = [error]

    def fail(name: str) -> None:
        if name == call and left:
            raise left.pop()

    return fail


def _always(call: str, error: Exception) -> Callable[[str], None]:
    def fail(name: str) -> None:
        if name == call:
            raise error

    return fail


def test_a_document_goes_its_way(stage: Stage) -> None:
    """Created, signed, polled, sealed: one call each, but for polling."""
    stage.add()
    stage.run(3)
    assert stage.get().state is State.SEALING
    stage.archive()
    stage.run(60)
    assert stage.get().state is State.SEALED
    assert stage.get().sealed_sha256 == "cd" * 32
    assert stage.spool.sealed(stage.get().id, stage.get().sealed_sha256).read_bytes() == b"%PDF sealed"
    assert stage.service.calls[:2] == ["create", "sign"]
    assert set(stage.service.calls[2:]) == {"status"}


def test_several_are_sent_and_signed_together(stage: Stage) -> None:
    """What waits together goes in one call."""
    for number in range(5):
        stage.add(number)
    stage.run()
    assert stage.service.calls == ["create", "sign_many"]


def test_a_seal_that_was_accepted_is_never_asked_for_again(stage: Stage) -> None:
    """A service that accepts, and then says SIGN_CREATED for hours, is asked how far it is, and told of; no more."""
    stage.service.begins_at_once = False
    stage.add()
    stage.run(4 * 3600)
    assert stage.service.calls.count("sign") == 1
    assert "accepted and has not begun" in (stage.get().last_error or "")
    stage.archive()
    stage.run(600)
    assert stage.get().state is State.SEALED


@pytest.mark.parametrize("state", [State.SEALING, State.ARCHIVING])
def test_an_answer_that_goes_back_changes_nothing(stage: Stage, state: State) -> None:
    """A late SIGN_CREATED from some replica neither signs again nor moves the document back nor stops the service."""
    stage.add()
    stage.run(3)
    if state is State.ARCHIVING:
        (request_id,) = stage.service.accepted
        stage.service.status_of[request_id] = RemoteStatus.ARCHIVE_IN_PROGRESS
        stage.run(60)
    assert stage.get().state is state
    stage.clock.go(stage.account.sign_again_after_s * 2)
    stage.service.shown = [RemoteStatus.SIGN_CREATED] * 3
    stage.run(600)
    assert stage.get().state is state
    assert stage.service.shown == []
    stage.archive()
    stage.run(600)
    assert stage.get().state is State.SEALED
    assert stage.service.calls.count("sign") == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["create", "sign"])
def test_a_call_without_an_answer_is_asked_about(stage: Stage, call: str, moment: str) -> None:
    """Whether it was applied or not, the service is asked, and nothing is done twice."""
    setattr(stage.service, moment, _once(call, OutcomeUnknown("no answer")))
    stage.add()
    stage.run(stage.account.sign_again_after_s + 60)
    stage.archive()
    stage.run(120)
    assert stage.get().state is State.SEALED
    assert len(stage.service.accepted) == 1


def test_a_sign_call_that_may_be_under_way_is_waited_for(stage: Stage) -> None:
    """While a lost call could still arrive, sign is not called again, however often SIGN_CREATED is seen."""
    stage.service.before = _once("sign", OutcomeUnknown("no answer"))
    stage.add()
    stage.run(stage.account.sign_again_after_s - 5)
    assert stage.service.calls.count("sign") == 1
    assert stage.service.calls.count("status") > 3
    stage.run(60)
    assert stage.service.calls.count("sign") == 2


def test_a_sign_call_that_never_left_is_made_soon(stage: Stage) -> None:
    """When it is known that nothing was sent, nobody waits for an answer."""
    stage.service.before = _once("sign", Retryable("connection refused"))
    stage.add()
    stage.run(30)
    assert len(stage.service.accepted) == 1


def test_an_account_that_is_refused_may_have_been_heard(stage: Stage) -> None:
    """A refusal of the account says nothing of whether the call was applied: it is waited for, too."""
    stage.service.before = _once("sign", AccountRefused("HTTP 403"))
    stage.add()
    stage.run(stage.account.sign_again_after_s - 5)
    assert stage.service.calls.count("sign") == 1


def test_a_refused_batch_of_seals_is_asked_about_one_by_one(stage: Stage) -> None:
    """An errorMsg after some of a batch were accepted signs none of them again."""
    stage.service.after = _once("sign_many", Refused("one of them is bad"))
    stage.service.begins_at_once = False
    for number in range(3):
        stage.add(number)
    stage.run(stage.account.sign_again_after_s - 5)
    assert stage.service.calls.count("sign") + stage.service.calls.count("sign_many") == 1


def test_a_refused_batch_of_documents_is_sent_one_by_one(stage: Stage) -> None:
    """One bad document does not fail its neighbours; each is asked for before it is sent alone."""

    def fail(call: str) -> None:
        if call == "create" and stage.service.calls.count("create") == 1:
            raise Refused("one of them is bad")

    stage.service.before = fail
    for number in range(3):
        stage.add(number)
    stage.run(10)
    assert len(stage.service.external) == 3
    assert stage.service.calls[:3] == ["create", "status", "create"]


def test_a_no_counts_when_it_is_repeated(stage: Stage) -> None:
    """An outage that speaks with errorMsg is waited out; a document that is refused again and again fails once."""
    stage.service.before = _once("create", Refused("try again later"))
    stage.add(0)
    stage.run(30)
    assert stage.get(0).request_id is not None
    stage.service.before = _always("create", Refused("not a PDF/A"))
    stage.add(1)
    stage.run(300)
    assert (stage.get(1).state, stage.get(1).reason) == (State.FAILED, Reason.SEAL_REFUSED)
    assert stage.get(1).reason_detail == "not a PDF/A"
    assert stage.service.calls.count("create") == 2 + REFUSALS


def test_an_unreadable_copy_is_its_own_trouble(stage: Stage) -> None:
    """A copy that cannot be read holds up none of those that were claimed with it."""
    create = stage.service.create

    def reading(documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        for new in documents:
            new.path.read_bytes()
        return create(documents)

    stage.service.create = reading  # type: ignore[method-assign]
    for number in range(3):
        stage.add(number)
    stage.spool.original(stage.get(0).id).unlink()
    stage.run(60)
    assert [stage.get(number).request_id is not None for number in (1, 2)] == [True, True]


def test_tries_grow_rarer(stage: Stage) -> None:
    """A call that always fails is made ever more rarely: tens of times in a day's first hour, not hundreds."""
    stage.service.before = _always("create", OutcomeUnknown("HTTP 500"))
    stage.add()
    stage.run(3600)
    assert 5 < stage.service.calls.count("create") < 40
    assert stage.get().attempts > 5
    assert "HTTP 500" in (stage.get().last_error or "")


def test_an_outage_is_told_once_and_tried_by_one(stage: Stage) -> None:
    """With the service away, calls are few whatever waits; when it is back, all goes on by itself."""

    def refuse(_: str) -> None:
        raise Retryable("connection refused")

    stage.service.before = refuse
    for number in range(40):
        stage.add(number)
    stage.run(3600)
    assert len(stage.log.events("account_unreachable")) == 1
    assert len(stage.service.calls) < 60
    stage.service.before = lambda _: None
    stage.run(1200)
    stage.archive()
    stage.run(600)
    assert {stage.get(number).state for number in range(40)} == {State.SEALED}
    assert len(stage.log.events("account_reachable")) == 1


def test_failed_polls_are_not_counted_as_missing_documents(stage: Stage) -> None:
    """Network failures do not use up the patience for a sealed PDF that has not come yet."""
    stage.add()
    stage.run(3)
    stage.archive()
    stage.service.before = _always("status", Retryable("reset"))
    stage.run(3600)
    assert stage.get().attempts >= CONTENT_TRIES
    stage.service.before = lambda _: None
    stage.service.with_content = False
    stage.run(400)
    assert stage.get().state in (State.SEALING, State.ARCHIVING)
    stage.service.with_content = True
    stage.run(900)
    assert stage.get().state is State.SEALED


def test_done_without_a_document_fails_in_the_end(stage: Stage) -> None:
    """A service that says ARCHIVED and never sends the PDF fails the document, with that reason."""
    stage.service.with_content = False
    stage.add()
    stage.run(3)
    stage.archive()
    stage.run(24 * 3600)
    assert (stage.get().state, stage.get().reason) == (State.FAILED, Reason.SEALED_CONTENT_MISSING)


def test_what_was_asked_at_the_drop_holds(stage: Stage) -> None:
    """A document that was dropped without archiving is done when it is signed, whatever the folder says later."""
    stage.add()
    stage.run(3)
    (request_id,) = stage.service.accepted
    stage.service.status_of[request_id] = RemoteStatus.SIGNED
    stage.run(60)
    assert stage.get().state is State.ARCHIVING


def test_a_lost_lease_calls_nothing(stage: Stage) -> None:
    """A worker whose document was claimed by somebody else neither sends nor signs it."""
    stage.add()
    (stale,) = stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=1, lease_s=1).documents
    stage.clock.go(2)
    stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=1, lease_s=LEASE_S)
    stage.worker.submit([stale])
    assert stage.service.calls == []
    assert len(stage.log.events("lease_lost")) == 1


def test_a_document_whose_lease_runs_out_is_given_back(stage: Stage) -> None:
    """A worker that is late with its claim calls nothing for those whose lease could end under its hands."""
    stage.add()
    stage.run(3)
    stage.clock.go(3600)
    (claimed,) = stage.ledger.claim(State.SEALING, now=stage.clock.now(), limit=1, lease_s=LEASE_S).documents
    calls = len(stage.service.calls)
    stage.clock.go(LEASE_S - 10)
    stage.worker.poll([claimed])
    assert len(stage.service.calls) == calls
    assert stage.get().lease is None
    assert stage.get().due_at is not None
    assert stage.get().due_at <= stage.clock.now() + timedelta(seconds=1)
