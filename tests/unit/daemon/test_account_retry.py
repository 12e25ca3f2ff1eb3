"""Documents that failed and are tried again, and duplicates, against a service that forgets, at SignAPI's door."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from account_stage import Stage
from documents import NOW
from sealdrop.ledger.store import Step
from sealdrop.model import (
    Document,
    DocumentId,
    Earlier,
    Event,
    ExternalId,
    Reason,
    Remote,
    RemoteStatus,
    RemoteStep,
    RequestId,
    State,
)
from sealdrop.signapi.wire import RequestStatus

ID = "20261123-0000000000000000"
FIRST, SECOND = ExternalId(f"{ID}-1"), ExternalId(f"{ID}-2")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage with nothing on it."""
    made = Stage(tmp_path)
    yield made
    made.ledger.close()


def _tried_again(stage: Stage, *seen: RemoteStatus, **facts: object) -> Document:
    """Put a document on record whose original was fetched back after it had failed; ``seen`` is what we saw of it."""
    steps = tuple(RemoteStep(status, NOW) for status in seen)
    validated = stage.add(0)
    fetched = replace(
        validated,
        state=State.SUBMITTING,
        retries=1,
        external_id=FIRST,
        remote=Remote(steps=steps),
        **{"request_id": RequestId(f"r-{FIRST}"), "sign_called_at": NOW, "sign_accepted": True, **facts},
    )
    (stored,) = stage.ledger.record(Step(validated, fetched, Event("original_fetched")))
    assert isinstance(stored, Document)
    return stored


def _remote(stage: Stage, status: RemoteStatus) -> None:
    """Have the service know the first request, with a status."""
    stage.service.external[FIRST] = RequestId(f"r-{FIRST}")
    stage.service.status_of[RequestId(f"r-{FIRST}")] = status


@pytest.mark.parametrize("status", [RemoteStatus.SIGN_FAILED, RemoteStatus.REFUSED, RemoteStatus.DISCARDED])
def test_what_was_never_sealed_gets_a_request_of_its_own(stage: Stage, status: RemoteStatus) -> None:
    """A request that ended without a seal is left, and another one is created and signed under the next identifier."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED, status)
    _remote(stage, status)
    stage.run(60)
    assert list(stage.service.external) == [FIRST, SECOND]
    assert list(stage.service.accepted) == [RequestId(f"r-{SECOND}")]
    assert stage.get(0).external_id == SECOND


@pytest.mark.parametrize("status", [None, RemoteStatus.DISCARDED, RemoteStatus.SIGN_FAILED])
@pytest.mark.parametrize("seen", [RemoteStatus.SIGNED, RemoteStatus.ARCHIVED, RemoteStatus.ARCHIVE_FAILED])
def test_what_was_seen_sealed_is_never_sent_again(
    stage: Stage, seen: RemoteStatus, status: RemoteStatus | None
) -> None:
    """Whatever the service has forgotten or thrown away since: it fails, and nothing is created or signed."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED, seen)
    if status is not None:
        _remote(stage, status)
    stage.run(600)
    assert stage.get(0).state is State.FAILED
    assert set(stage.service.calls) == {"status"}


def test_what_is_being_sealed_is_waited_for(stage: Stage) -> None:
    """A request that turns out to go on is polled, not signed again."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED)
    _remote(stage, RemoteStatus.SIGN_IN_PROGRESS)
    stage.run(60)
    stage.service.status_of[RequestId(f"r-{FIRST}")] = RemoteStatus.ARCHIVED
    stage.run(600)
    assert stage.get(0).state is State.SEALED
    assert set(stage.service.calls) == {"status"}


def test_a_sign_call_that_was_accepted_once_is_not_made_again(stage: Stage) -> None:
    """A request that is said not to be signed, though signing was accepted once, waits for a person to look."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED)
    _remote(stage, RemoteStatus.SIGN_CREATED)
    stage.run(2_000)
    assert stage.get(0).state is State.SEALING
    assert "which the service accepted" in (stage.get(0).last_error or "")
    assert set(stage.service.calls) == {"status"}


def test_a_refused_sign_call_is_made_again(stage: Stage) -> None:
    """A request of which signing was refused is signed by the next try, once no call can be under way any more."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED, sign_accepted=False)
    _remote(stage, RemoteStatus.SIGN_CREATED)
    stage.run(2_000)
    assert list(stage.service.accepted) == [RequestId(f"r-{FIRST}")]
    assert "create" not in stage.service.calls


def test_a_request_known_by_the_services_identifier_only_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our own identifier is unknown, the service's own is asked for before anything is sent."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED)
    stage.service.status_of[RequestId(f"r-{FIRST}")] = RemoteStatus.ARCHIVED

    def answer(request_id: RequestId) -> RequestStatus:
        return RequestStatus(request_id, None, RemoteStatus.ARCHIVED, None, None, (), {"status": "ARCHIVED"})

    monkeypatch.setattr(stage.service, "_answer", answer)
    stage.run(60)
    assert stage.get(0).state is State.SEALED
    assert set(stage.service.calls) == {"status"}


@pytest.mark.parametrize("status", [None, RemoteStatus.SIGN_CREATED])
@pytest.mark.parametrize("called_at", [None, NOW])
def test_a_seal_to_be_delivered_again_that_is_gone_fails_its_document(
    stage: Stage, status: RemoteStatus | None, called_at: datetime | None
) -> None:
    """A duplicate whose earlier seal the service no longer has fails in words; nothing is sent or signed for it."""
    validated = stage.add(0)
    if status is not None:
        stage.service.status_of[RequestId("r-gone")] = status
    earlier = Earlier(DocumentId("20251123-ffffffffffffffff"), NOW)
    facts = {"duplicate_of": earlier, "request_id": RequestId("r-gone"), "sign_called_at": called_at}
    (stored,) = stage.ledger.record(Step(validated, replace(validated, **facts), Event("x")))
    assert isinstance(stored, Document)
    stage.run(5_000)
    after = stage.get(0)
    assert (after.state, after.reason) == (State.FAILED, Reason.SEALED_CONTENT_MISSING)
    assert earlier.document in (after.reason_detail or "")
    assert set(stage.service.calls) == {"status"}


def test_what_the_service_has_forgotten_gets_a_request_of_its_own(stage: Stage) -> None:
    """A request that failed unsealed, and is unknown by now, is created anew and signed; nothing of it counts."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED, RemoteStatus.SIGN_FAILED)
    stage.run(60)
    assert list(stage.service.external) == [SECOND]
    assert list(stage.service.accepted) == [RequestId(f"r-{SECOND}")]


def test_a_new_identifier_is_asked_for_before_anything_is_sent(stage: Stage) -> None:
    """Should the service know the next identifier already, that request is gone on with: no second one is made."""
    _tried_again(stage, RemoteStatus.SIGN_CREATED, RemoteStatus.SIGN_FAILED)
    _remote(stage, RemoteStatus.SIGN_FAILED)
    stage.service.external[SECOND] = RequestId(f"r-{SECOND}")
    stage.service.status_of[RequestId(f"r-{SECOND}")] = RemoteStatus.ARCHIVED
    stage.run(60)
    assert stage.get(0).state is State.SEALED
    assert set(stage.service.calls) == {"status"}
