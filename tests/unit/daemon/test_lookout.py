"""What nobody meets by itself: documents that wait too long, certificates that end, audit files that stand still."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from documents import NOW, FakeClock, document
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.config import load
from sealdrop.daemon.lookout import Counted, Lookout
from sealdrop.daemon.troubles import Troubles
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import DocumentId, Event, Hold
from sealdrop.signapi.certificates import Role, Validity
from unit_config import CONFIG

RECEIVED = Event("document_received")


class Place:
    """A lookout with what it looks at."""

    def __init__(self, tmp_path: Path, ledger: Ledger, clock: FakeClock) -> None:
        (tmp_path / "sealdrop.toml").write_text(CONFIG)
        self.config = load(tmp_path / "sealdrop.toml")
        self.clock = clock
        self.ledger = ledger
        self.log = KeptLog()
        self.troubles = Troubles("host", ledger, clock, self.log)
        self.certificates: dict[str, tuple[Validity, ...]] = {}
        self.lookout = self.started()

    def started(self, counted: Counted | None = None) -> Lookout:
        """Return what a start, or a new configuration, begins with."""
        return Lookout(
            self.config, self.ledger, self.troubles, lambda: self.certificates, self.clock, self.log, counted
        )

    def go(self, minutes: float) -> None:
        """Let time pass in small steps, the trail's files following."""
        for _ in range(int(minutes)):
            self.clock.go(60)
            self.lookout.look()

    def told(self) -> list[tuple[str, str]]:
        """Return what there is trouble with, and what is said of it."""
        return [(each.subject, each.text) for each in self.troubles.present()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty place."""
    clock = FakeClock()
    where = tmp_path / "ledger.sqlite"
    with Ledger.open(where, link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Place(tmp_path, ledger, clock)


def _flushed(place: Place) -> None:
    """Have the files hold all records."""
    place.ledger.audit_written(place.ledger.audit_pending(100)[-1])


def test_a_document_that_waits_too_long_is_told_with_its_last_error(place: Place) -> None:
    """After the configured hour, once, in words that name it; over when it is over."""
    place.ledger.add(document(attempts=3, last_error="it is locked"), RECEIVED)
    _flushed(place)
    place.go(59)
    assert place.told() == []
    place.go(30)
    ((subject, text),) = place.told()
    assert subject == "folder invoices oldest document"
    assert "'invoice.pdf'" in text
    assert "still received; 3 failed tries, the last: it is locked" in text
    assert len(place.log.events("document_late")) == 1


def test_documents_that_are_held_on_purpose_are_not_late(place: Place) -> None:
    """A folder's hours and quota keep documents waiting by its owner's own wish."""
    place.ledger.add(document(hold=Hold.WINDOW, due_at=NOW + timedelta(minutes=600)), RECEIVED)
    _flushed(place)
    place.go(599)
    assert place.told() == []


def test_what_is_let_go_of_has_an_hour_from_then(place: Place) -> None:
    """A document that was dropped at noon and may be sent at ten in the evening is late at eleven, not at ten."""
    opens = NOW + timedelta(minutes=600)
    held = place.ledger.add(document(hold=Hold.WINDOW, due_at=opens), RECEIVED)
    _flushed(place)
    place.go(600)
    (claimed,) = place.ledger.claim(held.state, now=place.clock.now(), limit=9, lease_s=60).documents
    place.ledger.record(Step(claimed, replace(claimed, hold=None, lease=None, due_at=opens), None))
    assert place.lookout.waits_since(held) == opens
    place.go(59)
    assert place.told() == []
    place.go(2)
    assert [subject for subject, _ in place.told()] == ["folder invoices oldest document"]


def test_a_folder_that_holds_documents_counts_from_the_start(place: Place) -> None:
    """What was let go of before a restart is not known any more, so nothing counts from before it there."""
    text = place.config.source.read_text() + "daily_quota = 5\n"
    place.config.source.write_text(text)
    place.config = load(place.config.source)
    place.lookout = place.started()
    assert place.lookout.waits_since(document(received_at=NOW - timedelta(days=3))) == NOW


def test_a_new_configuration_does_not_begin_anew(place: Place) -> None:
    """Reading the configuration every half hour does not keep a document from being late."""
    place.ledger.add(document(), RECEIVED)
    _flushed(place)
    for _ in range(3):
        place.go(21)
        place.lookout = place.started(place.lookout.counted)
    assert len(place.told()) == 1


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (EventName.ACCOUNT_UNREACHABLE, {"account": "main"}),
        (EventName.FOLDER_UNWRITABLE, {"folder": "invoices"}),
    ],
)
def test_what_is_told_by_itself_excuses_its_documents(place: Place, event: EventName, fields: dict[str, str]) -> None:
    """Throughout an outage, and for an hour after it while the backlog goes, nobody is told that documents are late."""
    place.ledger.add(document(), RECEIVED)
    _flushed(place)
    place.troubles.tell("cause", "it is down", event, **fields)
    place.go(300)
    place.troubles.over("cause", EventName.ACCOUNT_REACHABLE)
    place.go(59)
    assert place.told() == []
    place.go(2)
    assert [subject for subject, _ in place.told()] == ["folder invoices oldest document"]


def test_an_outage_does_not_end_what_was_late_before(place: Place) -> None:
    """Documents that were late before the account went are late while it is away."""
    place.ledger.add(document(), RECEIVED)
    _flushed(place)
    place.go(61)
    place.troubles.tell("cause", "it is down", EventName.ACCOUNT_UNREACHABLE, account="main")
    place.go(10)
    assert "folder invoices oldest document" in dict(place.told())
    assert place.log.events("documents_on_time") == []


def test_a_restart_gives_the_backlog_an_hour(place: Place) -> None:
    """What was dropped on Friday and is met on Monday is not late at once."""
    place.ledger.add(document(received_at=NOW - timedelta(days=3)), RECEIVED)
    _flushed(place)
    place.go(59)
    assert place.told() == []
    place.go(2)
    assert len(place.told()) == 1


def test_certificates_are_told_at_each_stage_and_their_end(place: Place) -> None:
    """Thirty, fourteen, seven days, one, and the end: each once; over when a new one is there."""
    end = NOW + timedelta(days=31)
    place.certificates = {"main": (Validity(Role.CLIENT, "CN=client", end),)}
    said: list[str] = []
    for _ in range(33):
        place.lookout.look()
        said += [text for _, text in place.told() if text not in said]
        place.clock.go(86_400)
    assert [text.partition(" (")[0].rpartition(", ")[2] for text in said] == [
        "in less than 30 days",
        "in less than 14 days",
        "in less than 7 days",
        "in less than 1 day",
        f"on {end:%Y-%m-%d at %H:%M} UTC",
    ]
    assert said[-1].startswith("it has expired")
    assert [line["days"] for line in place.log.events("certificate_expiring")] == [30, 14, 7, 1, 0]
    place.certificates = {"main": (Validity(Role.CLIENT, "CN=client", end + timedelta(days=700)),)}
    place.lookout = place.started()  # as after a reload
    place.lookout.look()
    assert place.told() == []


def test_each_kind_of_certificate_has_its_name(place: Place) -> None:
    """Whoever reads it knows whose certificate it is, and who renews it."""
    soon = NOW + timedelta(days=3)
    place.certificates = {
        "main": (
            Validity(Role.CLIENT, "CN=client", soon),
            Validity(Role.SERVER, "https://signapi.example", soon),
            Validity(Role.ANCHOR, "CN=root", soon),
            Validity(Role.ANCHOR, "CN=other root", NOW + timedelta(days=300)),
        )
    }
    place.lookout.look()
    assert sorted(subject for subject, _ in place.told()) == [
        "SignAPI's certificate of account main",
        "client certificate of account main",
        "trust anchor CN=root of account main",
    ]


def test_audit_files_that_stand_still_are_told(place: Place) -> None:
    """Records that wait for five minutes are a trouble, over once the files have them; steady work is none."""
    place.ledger.add(document(), RECEIVED)
    place.go(4)
    assert place.told() == []
    place.go(3)
    assert [subject for subject, _ in place.told()] == ["audit trail"]
    _flushed(place)
    place.go(1)
    assert place.told() == []
    for number in range(20):
        place.ledger.add(document(id=DocumentId(f"20261123-{number:016x}")), RECEIVED)
        place.go(1)
        _flushed(place)
    assert place.log.events("audit_behind") != []
    assert place.told() == []
