"""What happens on this machine, where the whole service cannot show it."""

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from documents import FakeClock, verified
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.config import Config, Folder, Service
from sealdrop.daemon import stages as module
from sealdrop.daemon.crew import OUTLETS
from sealdrop.daemon.jails import Jails, TwoLimits
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.stages import LocalStages
from sealdrop.daemon.troubles import Troubles
from sealdrop.durable import hash_file
from sealdrop.errors import Fatal
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, DocumentId, Event, Reason, State
from sealdrop.spool import Spool

ORIGINAL = b"%PDF-1.7 original"
LEASE_S = 600.0


class House:
    """A ledger, a spool and the folders, with the stages that work on them."""

    def __init__(self, ledger: Ledger, clock: FakeClock, place: Path) -> None:
        self.ledger = ledger
        self.clock = clock
        self.spool = Spool(place / "spool")
        folders = {name: place / name for name in ("inbound", "outbound", "rejected", "failed", "processed")}
        for path in (self.spool.root, *folders.values()):
            path.mkdir()
        self.folder = Folder(account="main", **folders)
        config = Config.model_construct(
            service=Service(state_dir=place), accounts={}, folders={"invoices": self.folder}, source=place
        )
        recorder = Recorder(ledger, clock, KeptLog(), on_stored=lambda _: None, on_record=lambda: None)
        troubles = Troubles("host", ledger, clock, KeptLog())
        outlets = {
            ("invoices", state): Outlet("invoices", name, folders[name], place / "state", troubles, clock, {})
            for state, name in OUTLETS.items()
        }
        jails = Jails(1, TwoLimits(), readable=[], anchors=[])  # never asked: nothing is examined here
        self.stages = LocalStages(
            config, self.spool, jails, ledger, recorder, outlets, troubles, clock, random.Random(1)
        )

    def add(self, **changes: object) -> Document:
        """Put a document of `ORIGINAL` on record."""
        place = self.folder.inbound / "x"
        place.write_bytes(ORIGINAL)
        size_bytes, sha256 = hash_file(place)
        place.unlink()
        facts = {"size_bytes": size_bytes, "sha256": sha256, "folder": "invoices", **changes}
        return self.ledger.add(verified(**facts), Event("x"))

    def deliver(self) -> None:
        """Run the folder's worker once."""
        states = (State.VERIFIED, State.REJECTED, State.FAILED, State.RETRYING, State.DELIVERED)
        claimed = self.ledger.claim(*states, now=self.clock.now(), limit=4, lease_s=LEASE_S)
        self.stages.deliver(claimed.documents)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty one."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield House(ledger, clock, tmp_path)


RETRYING = {"state": State.RETRYING, "reason": Reason.SEAL_FAILED, "reason_detail": "SIGN_FAILED: no", "retries": 1}


def test_a_retry_whose_original_is_gone_fails_as_before(house: House) -> None:
    """Nothing is sent and nothing is changed; the document has failed for its old reason, and says why it stays so."""
    retrying = house.add(**RETRYING, published_name="invoice.pdf")
    house.deliver()
    after = house.ledger.get(retrying.id)
    assert after is not None
    assert (after.state, after.due_at, after.reason) == (State.FAILED, None, Reason.SEAL_FAILED)
    assert not house.spool.folder(retrying.id).exists()


def test_a_retry_that_is_overtaken_after_it_was_fetched_is_given_back(house: House) -> None:
    """A copy that only the spool holds is not lost when the same content was dropped again meanwhile."""
    retrying = house.add(**RETRYING, published_name="invoice.pdf")
    house.spool.make(retrying.id)
    house.spool.original(retrying.id).write_bytes(ORIGINAL)
    house.add(id=DocumentId("20261123-ffffffffffffffff"), state=State.SEALED, due_at=None)
    house.deliver()
    house.deliver()
    after = house.ledger.get(retrying.id)
    assert after is not None
    assert (after.state, after.due_at) == (State.FAILED, None)
    assert (house.folder.failed / "invoice.pdf").read_bytes() == ORIGINAL
    assert (house.folder.failed / "invoice.pdf.reason.json").is_file()
    assert not house.spool.folder(retrying.id).exists()


def test_a_retry_goes_to_signapi_with_its_old_identifier(house: House) -> None:
    """What is fetched back asks under the identifier it was sent with, and nothing is left in the failed folder."""
    retrying = house.add(**RETRYING, published_name="sub/invoice.pdf")
    place = house.folder.failed / "sub" / "invoice.pdf"
    place.parent.mkdir()
    place.write_bytes(ORIGINAL)
    house.deliver()
    after = house.ledger.get(retrying.id)
    assert after is not None
    assert (after.state, after.external_id, after.reason) == (State.SUBMITTING, retrying.external_id, None)
    assert house.spool.original(retrying.id).read_bytes() == ORIGINAL
    assert not place.exists()


def test_what_cannot_be_cleared_away_keeps_nothing_from_being_delivered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed folder that refuses is untidy: the document is published, and on record as delivered."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "clear_failed", refuse)
    document = house.add(retries=1)
    house.spool.make(document.id)
    house.spool.original(document.id).write_bytes(ORIGINAL)
    content = house.spool.sealed(document.id, document.sealed_sha256)
    content.write_bytes(ORIGINAL)
    monkeypatch.setattr(module, "deliver", lambda *_: ["invoice.pdf"])
    house.deliver()
    after = house.ledger.get(document.id)
    assert after is not None
    assert after.state is State.DELIVERED


def test_a_retry_that_is_overtaken_leaves_no_trouble_behind(house: House) -> None:
    """The failed folder could not be read for it; once it need not be, that says nothing of the folder any more."""
    retrying = house.add(**RETRYING, published_name="invoice.pdf")
    outlet = house.stages.outlets["invoices", State.FAILED]
    outlet._failing.add(retrying.id)
    house.add(id=DocumentId("20261123-ffffffffffffffff"), state=State.SEALED, due_at=None)
    house.deliver()
    assert outlet._failing == set()


def test_two_folders_that_keep_originals_in_one_place_keep_two(house: House) -> None:
    """Also where the second looks in the instant between the first one's file and its record; and once that is over."""
    folders = dict.fromkeys(("invoices", "letters"), house.folder)
    kept_by = {(name, State.DELIVERED): house.stages.outlets["invoices", State.DELIVERED] for name in folders}
    config = house.stages.config.model_copy(update={"folders": folders})
    stages = replace(house.stages, config=config, outlets=kept_by)
    for number, name in enumerate(("invoices", "letters", "letters")):
        one = house.add(id=DocumentId(f"20261123-{number:016x}"), state=State.DELIVERED, folder=name)
        house.spool.make(one.id)
        house.spool.original(one.id).write_bytes(ORIGINAL)
    claimed = house.ledger.claim(State.DELIVERED, now=house.clock.now(), limit=3, lease_s=LEASE_S).documents
    outcomes = [(each, stages._keep(each)) for each in claimed[:2]]
    stages._settle(outcomes)
    stages.deliver(claimed[2:])
    kept = {each.kept_name for number in range(3) if (each := house.ledger.get(f"20261123-{number:016x}"))}
    assert len(kept) == 3
    assert {path.name for path in (house.folder.processed or Path()).iterdir()} == kept
    assert stages.being_kept._names == {}


def test_what_is_published_together_is_recorded_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction for all of a claim, and trouble with one of them is its own: it is tried again, later."""
    ids = [DocumentId(f"20261123-{number:016x}") for number in range(4)]
    size_bytes = len(ORIGINAL)
    sha256 = house.add(id=DocumentId("20261123-ffffffffffffffff"), due_at=None).sha256
    for number, each in enumerate(ids):
        house.add(id=each, name=f"{number}.pdf", sealed_size_bytes=size_bytes, sealed_sha256=sha256)
        house.spool.make(each)
        house.spool.sealed(each, sha256).write_bytes(b"%PDF-1.7 changed!" if number == 2 else ORIGINAL)
    recorded: list[int] = []
    record = house.ledger.record

    def noted(*steps: Step) -> object:
        recorded.append(len(steps))
        return record(*steps)

    monkeypatch.setattr(house.ledger, "record", noted)
    house.deliver()
    assert recorded == [4]
    found = [house.ledger.get(each) for each in ids]
    assert [each.state for each in found if each is not None] == [State.DELIVERED] * 2 + [
        State.VERIFIED,
        State.DELIVERED,
    ]
    assert found[2] is not None
    assert found[2].attempts == 1
    assert len(list(house.folder.outbound.iterdir())) == 6


def test_what_is_published_beside_a_fatal_one_is_recorded(house: House) -> None:
    """The service stops for it, and the others stand in outbound: that must be on record."""
    good, bad = DocumentId("20261123-0000000000000001"), DocumentId("20261123-0000000000000002")
    sha256 = house.add(id=DocumentId("20261123-ffffffffffffffff"), due_at=None).sha256
    for each, name in ((bad, "../out.pdf"), (good, "good.pdf")):
        house.add(id=each, name=name, sealed_size_bytes=len(ORIGINAL), sealed_sha256=sha256)
        house.spool.make(each)
        house.spool.sealed(each, sha256).write_bytes(ORIGINAL)
    with pytest.raises(Fatal):
        house.deliver()
    found = house.ledger.get(good)
    assert found is not None
    assert found.state is State.DELIVERED


def test_a_document_whose_lease_is_about_to_end_is_not_published(house: House) -> None:
    """Somebody may be about to claim it: it falls due at once instead, and what else was claimed is published."""
    late = house.add(id=DocumentId("20261123-0000000000000001"))
    (claimed,) = house.ledger.claim(State.VERIFIED, now=house.clock.now(), limit=1, lease_s=10.0).documents
    house.stages.deliver([claimed])
    after = house.ledger.get(late.id)
    assert after is not None
    assert (after.state, after.lease, after.due_at) == (State.VERIFIED, None, house.clock.now())
    assert list(house.folder.outbound.iterdir()) == []
