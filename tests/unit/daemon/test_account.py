"""What is done at SignAPI, against a service that can be made to lag, lose and contradict itself."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from account_stage import LEASE_S, FakeService, Stage
from sealdrop.daemon.account import CONTENT_TRIES
from sealdrop.daemon.clockwatch import ClockWatch
from sealdrop.daemon.listing import PAUSE_S
from sealdrop.daemon.refusals import REFUSALS
from sealdrop.errors import AccountRefused, MalformedAnswer, OutcomeUnknown, Refused, Retryable
from sealdrop.model import ExternalId, Reason, RemoteStatus, State
from sealdrop.signapi.client import StatusAnswer
from sealdrop.signapi.wire import NewRequest, RequestStatus

MANY = 100  # documents, of which several are asked for within a second


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


def test_a_reload_does_not_shorten_the_wait_for_a_sign_call(stage: Stage) -> None:
    """A call that was made with much time keeps another one away for as long as was said then, not as is said now."""
    before_s = stage.account.sign_again_after_s
    stage.service.before = _once("sign", OutcomeUnknown("no answer"))
    stage.add()
    stage.run(10)
    assert stage.service.calls.count("sign") == 1
    stage.reload(call_timeout_s=3.0, sign_again_after_s=4.0)
    stage.run(before_s - 15)
    assert stage.service.calls.count("sign") == 1
    stage.run(60)
    assert stage.service.calls.count("sign") == 2


def test_a_contract_that_knows_nothing_of_a_sealed_document_seals_no_other(stage: Stage) -> None:
    """Another certificate for the same account, of another contract: what was signed for waits for the first one."""
    first = stage.service
    stage.add()
    stage.run(3)
    assert stage.get().state is State.SEALING
    stage.reload(FakeService())
    stage.run(stage.account.sign_again_after_s * 3)
    assert {call for call in stage.service.calls if call != "status"} == set()
    assert "does not know its own request" in (stage.get().last_error or "")
    stage.reload(first)
    stage.archive()
    stage.run(stage.account.retry_longest_s * 2)
    assert stage.get().state is State.SEALED


def test_a_contract_that_knows_nothing_of_what_was_sent_gets_it_and_seals_it_alone(stage: Stage) -> None:
    """What was sent to the first contract without an answer is sent to the second: only there is it signed for."""
    first = stage.service
    first.after = _once("create", OutcomeUnknown("no answer"))
    stage.add()
    stage.run(1)
    assert stage.get().state is State.SUBMITTING
    stage.reload(FakeService())
    stage.run(30)
    stage.archive()
    stage.run(60)
    assert stage.get().state is State.SEALED
    assert (len(first.accepted), len(stage.service.accepted)) == (0, 1)


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


def test_a_no_counts_when_others_are_taken(stage: Stage) -> None:
    """A document that is refused while others are taken fails once, with the service's words; they are sealed."""
    stage.spoil(0)
    for number in range(3):
        stage.add(number)
    for number in range(3, 3 + REFUSALS):
        stage.run(400)
        stage.add(number)
    stage.run(400)
    assert (stage.get(0).state, stage.get(0).reason) == (State.FAILED, Reason.SEAL_REFUSED)
    assert stage.get(0).reason_detail == "not a PDF/A"
    assert all(stage.get(number).request_id for number in range(1, 3 + REFUSALS))
    assert stage.log.events("account_unreachable") == []


def test_a_no_that_nobody_can_witness_counts_in_the_end(stage: Stage) -> None:
    """A document that is refused, with nothing else to send, is believed to be at fault itself after a while."""
    stage.spoil(0)
    stage.add(0)
    stage.run(stage.account.refused_alone_s / 2)
    assert stage.get(0).state is State.SUBMITTING
    assert stage.get(0).attempts >= REFUSALS
    stage.run(stage.account.refused_alone_s * 2)
    assert (stage.get(0).state, stage.get(0).reason) == (State.FAILED, Reason.SEAL_REFUSED)


@pytest.mark.parametrize("broken", [{"create"}, {"sign", "sign_many"}, {"create", "sign", "sign_many"}])
def test_a_service_that_refuses_everything_fails_nothing(stage: Stage, broken: set[str]) -> None:
    """An outage that answers every document with a no for hours, politely, is an outage: told, and waited out."""

    def refuse(call: str) -> None:
        if call in broken:
            raise Refused("we are sorry")

    stage.service.before = refuse
    for number in range(8):
        stage.add(number)
    stage.run(5_000)
    assert not [number for number in range(8) if stage.get(number).state is State.FAILED]
    (told,) = stage.log.events("account_unreachable")
    assert told["operation"] == ("create" if "create" in broken else "sign")
    assert "we are sorry" in str(told["error"])
    stage.service.before = lambda _: None
    stage.run(900)
    stage.archive()
    stage.run(600)
    assert {stage.get(number).state for number in range(8)} == {State.SEALED}


def test_a_service_that_refuses_at_random_fails_nothing(stage: Stage) -> None:
    """Where what was refused is taken later, a no means nothing, however often one document happens to meet it."""
    chance = random.Random(7)

    def refuse(call: str) -> None:
        if call in ("create", "sign", "sign_many") and chance.random() < 0.7:
            raise Refused("too busy")

    stage.service.before = refuse
    for number in range(20):
        stage.add(number)
        stage.run(30)
    stage.run(1800)
    stage.archive()
    stage.run(600)
    assert not [number for number in range(20) if stage.get(number).state is State.FAILED]


@pytest.mark.parametrize("broken", ["create", "status"])
def test_what_works_is_used_while_a_part_is_broken(stage: Stage, broken: str) -> None:
    """With one operation away for hours, few calls are made of it, the others go on, and the trouble names it."""
    for number in range(20):
        stage.add(number)
    stage.run()
    stage.service.before = _always(broken, Retryable("connection refused"))
    for number in range(20, 40):
        stage.add(number)
    before = len(stage.service.calls)
    stage.run(60)
    stage.archive()
    stage.run(2 * 3600)
    calls = stage.service.calls[before:]
    assert calls.count(broken) < 80
    assert [told["operation"] for told in stage.log.events("account_unreachable")] == [broken]
    assert [trouble.subject for trouble in stage.ledger.troubles()] == [f"account main {broken}"]
    if broken == "create":
        assert {stage.get(number).state for number in range(20)} == {State.SEALED}
        assert calls.count("status") < 20 * 25
    else:
        assert len(stage.service.accepted) == 40
    stage.service.before = lambda _: None
    stage.run(900)
    stage.archive()
    stage.run(900)
    assert {stage.get(number).state for number in range(40)} == {State.SEALED}
    assert stage.ledger.troubles() == ()


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


def test_a_clock_set_forward_signs_nothing_twice(stage: Stage) -> None:
    """An hour that did not pass does not end the time in which a lost sign call may still arrive."""
    stage.service.after = _once("sign", OutcomeUnknown("no answer"))
    stage.service.begins_at_once = False
    stage.add()
    stage.run(1)
    stage.clock.set_by_s = 3600
    stage.run(stage.account.sign_again_after_s - 10)
    assert stage.service.calls.count("sign") == 1
    assert stage.service.calls.count("status") > 3


@pytest.mark.parametrize("set_by_s", [-3600, 3600])
def test_a_clock_that_is_set_delays_nothing_for_long(stage: Stage, set_by_s: float) -> None:
    """What waits for its next try goes on within minutes, whichever way the clock was set; each is sealed once."""
    watch = ClockWatch(stage.clock, stage.ledger, stage.log, on_set_back=lambda: None)
    stage.service.before = _always("status", Retryable("reset"))
    for number in range(5):
        stage.add(number)
    stage.run(600)
    stage.clock.set_by_s = set_by_s
    watch.look()
    stage.service.before = lambda _: None
    stage.run(400)
    stage.archive()
    stage.run(100)
    assert {stage.get(number).state for number in range(5)} == {State.SEALED}
    assert [line["by_s"] for line in stage.log.events("clock_set")] == [set_by_s]
    watch.look()
    assert len(stage.log.events("clock_set")) == 1


def test_what_a_worker_holds_is_not_hastened(stage: Stage) -> None:
    """Setting the clock back takes no document out of the hands of who works on it."""
    for number in range(2):
        stage.add(number)
    stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=1, lease_s=LEASE_S)
    (held, *_) = [stage.get(number) for number in range(2) if stage.get(number).lease]
    stage.clock.set_by_s = -3600
    assert stage.ledger.hasten(stage.clock.now()) == 1
    assert stage.ledger.get(held.id) == held


def test_the_answer_about_another_document_is_not_taken(stage: Stage) -> None:
    """An answer to our question that names somebody else's document changes nothing; the right one, later, does."""
    stage.add()
    stage.run(3)
    stage.archive()
    status = stage.service.status

    def confused(**asked: Any) -> StatusAnswer:  # noqa: ANN401 - whatever is asked
        found = status(**asked)
        return replace(found, status=found.status and replace(found.status, external_id=ExternalId("another-1")))

    stage.service.status = confused  # type: ignore[method-assign]
    stage.run(600)
    assert stage.get().state is State.SEALING
    assert stage.get().sealed_sha256 is None
    assert "another-1" in (stage.get().last_error or "")
    stage.service.status = status  # type: ignore[method-assign]
    stage.run(600)
    assert stage.get().state is State.SEALED


def test_many_that_wait_for_long_are_looked_up_in_a_list(stage: Stage) -> None:
    """One question tells of all that are not done yet; each that is done is asked for by itself, and delivered."""
    for number in range(MANY):
        stage.add(number)
    stage.run(12)
    asked = len(stage.service.calls)
    stage.run(10)
    calls = Counter(stage.service.calls[asked:])
    assert 1 <= calls["search"] <= 11
    assert calls["status"] < MANY, "documents were asked for one by one"
    assert all(stage.get(number).state is State.SEALING for number in range(MANY))
    stage.archive()
    stage.run(60)
    assert all(stage.get(number).state is State.SEALED for number in range(MANY))


class WrongLists(FakeService):
    """A service whose lists say nothing, nonsense, or that all is still being worked on."""

    lists: str = ""

    def search(self, status: RemoteStatus) -> tuple[RequestStatus, ...]:
        """Answer as told."""
        self.calls.append("search")
        if self.lists == "none":
            raise MalformedAnswer("no list")
        if self.lists == "nonsense":
            raise ValueError("something that nobody thought of")
        return tuple(RequestStatus(each, None, status, None, None, (), {}) for each in self.accepted)


@pytest.mark.parametrize("lists", ["none", "nonsense", "everything"])
def test_a_list_that_is_wrong_keeps_nobody_waiting(tmp_path: Path, lists: str) -> None:
    """Where the service has no lists, or lists as waiting what is done, all documents are found out all the same."""
    service = WrongLists()
    service.lists = lists
    stage = Stage(tmp_path, service=service)
    for number in range(MANY):
        stage.add(number)
    stage.run(12)
    stage.archive()
    stage.run(600)
    assert all(stage.get(number).state is State.SEALED for number in range(MANY))
    assert "search" in service.calls
    if lists != "everything":
        assert service.calls.count("search") <= 600 / PAUSE_S + 1
    stage.ledger.close()
