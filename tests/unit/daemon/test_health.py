"""Troubles as alerts know them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import FakeClock
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.config import Config, load
from sealdrop.daemon.health import ALERTS, observations
from sealdrop.daemon.line import AccountLine, Operation
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.model import AlertKind, DocumentId, State
from unit_config import CONFIG

COUNTS = {"invoices": {State.SEALING: 9_000, State.VALIDATED: 1_000, State.VERIFIED: 5, State.DELIVERED: 70}}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with one account and one folder."""
    (tmp_path / "sealdrop.toml").write_text(CONFIG)
    return load(tmp_path / "sealdrop.toml")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that goes when told."""
    return FakeClock()


@pytest.fixture
def troubles(tmp_path: Path, clock: FakeClock) -> Iterator[Troubles]:
    """No trouble yet."""
    where = tmp_path / "ledger.sqlite"
    with Ledger.open(where, link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Troubles("host", ledger, clock, KeptLog())


def test_an_outage_is_one_matter_with_all_that_waits(config: Config, troubles: Troubles, clock: FakeClock) -> None:
    """Three breakers open one after the other: one observation, since the first, with the documents at SignAPI."""
    calls: list[tuple[str, ...]] = []
    line = AccountLine(
        "main", config.accounts["main"], clock, troubles, random.Random(1), lambda *told: calls.append(told[:3])
    )

    def down() -> None:
        raise Retryable("connection refused")

    began = clock.now()
    for operation in (Operation.CREATE, Operation.SIGN):
        for _ in range(5):
            with pytest.raises(Retryable):
                line.change(operation, [DocumentId("1")], down)
        clock.go(60)
    for _ in range(5):
        with pytest.raises(Retryable):
            line.call(down)
    assert line.out_of_reach() == dict.fromkeys(Operation, True)
    (observed,) = observations(config, troubles, lambda: COUNTS)
    assert (observed.kind, observed.key, observed.since) == (AlertKind.SIGNAPI_UNREACHABLE, "account main", began)
    assert observed.waiting == 10_000
    assert "connection refused" in observed.text
    assert calls == [("main", operation, "failed") for operation in Operation for _ in range(5)]


def test_what_waits_for_a_folder_is_what_is_to_be_written_there(config: Config, troubles: Troubles) -> None:
    """The outbound folder holds up verified documents; of the others nobody can say."""
    for place in ("outbound", "failed"):
        fields = {"folder": "invoices", "place": place}
        troubles.tell(f"folder invoices {place}", "full", EventName.FOLDER_UNWRITABLE, **fields)
    found = {each.key: each.waiting for each in observations(config, troubles, lambda: COUNTS)}
    assert found == {"folder invoices outbound": 5, "folder invoices failed": 0}


def test_a_ledger_that_cannot_be_read_hides_no_trouble(config: Config, troubles: Troubles) -> None:
    """Then the number of documents is left out."""

    def busy() -> dict[str, dict[State, int]]:
        raise Retryable("busy")

    troubles.tell("folder invoices oldest document", "late", EventName.DOCUMENT_LATE, folder="invoices")
    ((kind, waiting),) = [(each.kind, each.waiting) for each in observations(config, troubles, busy)]
    assert (kind, waiting) == (AlertKind.DOCUMENT_LATE, 0)


def test_only_the_end_of_a_certificate_is_repeated(config: Config, troubles: Troubles) -> None:
    """Thirty days ahead once is enough; what has expired is said each day."""
    for days in (30, 0):
        troubles.tell_anew("client", f"in {days}", EventName.CERTIFICATE_EXPIRING, certificate="client", days=days)
        (observed,) = observations(config, troubles, lambda: COUNTS)
        assert (observed.text, observed.repeats) == (f"in {days}", days == 0)


def test_troubles_of_no_consequence_are_not_told(config: Config, troubles: Troubles) -> None:
    """A share without file events is normal; a mail server that is down cannot be told of by mail."""
    troubles.tell("folder invoices events", "none", EventName.WATCH_UNAVAILABLE, folder="invoices")
    troubles.tell("alerts by email", "down", EventName.ALERTS_FAIL, channel="email")
    assert list(observations(config, troubles, lambda: COUNTS)) == []


def test_every_lasting_kind_has_a_trouble() -> None:
    """Each kind of alert comes from a trouble, or is one of those that happen."""
    happen = {AlertKind.DOCUMENT_FAILED, AlertKind.UNCLEAN_STOP, AlertKind.SERVICE_BROKEN}
    assert set(ALERTS.values()) == set(AlertKind) - happen


def test_a_thousand_documents_that_cannot_be_checked_are_one_matter(config: Config, troubles: Troubles) -> None:
    """Each is a trouble of its own; together they are told once, with their number."""
    for number in range(1_000):
        troubles.tell(f"verification of {number}", f"document {number}", EventName.VERIFICATION_BROKEN)
    (observed,) = observations(config, troubles, lambda: COUNTS)
    assert (observed.kind, observed.key, observed.waiting) == (AlertKind.DOCUMENT_STUCK, "verification", 1_000)
