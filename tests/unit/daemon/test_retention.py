"""What is kept for a time: kept, then removed with a record, and only if it is ours and nobody changed it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from documents import FakeClock, verified
from running import KeptLog, sha256
from sealdrop.audit.chain import link
from sealdrop.config import Config
from sealdrop.daemon.clocktrust import SETTLE_S, STEADY_S, ClockTrust
from sealdrop.daemon.crew import OUTLETS
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.retention import AGAIN_S, LEASE_S, Retention
from sealdrop.daemon.retry import ask_for_retry
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger
from sealdrop.model import Document, DocumentId, Event, Reason, Sha256, State
from sealdrop.pipeline import expire
from sealdrop.pipeline.deliver import give_back, keep

ORIGINAL = b"%PDF-1.7 original"
DAYS = 10.0
DAY_S = 86_400.0


class Killed(BaseException):
    """The daemon's process is gone."""


@dataclass
class Rooms:
    """Folders with what was put there, a ledger that knows of it, and who removes it in time."""

    place: Path
    ledger: Ledger
    clock: FakeClock
    log: KeptLog = field(default_factory=KeptLog)
    events: list[tuple[Document, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folders."""
        for name in ("inbound", "outbound", "rejected", "failed", "processed", "spool"):
            (self.place / name).mkdir()
        self.start()
        self.configure()

    def start(self) -> None:
        """Have the service start, with what the ledger has on record by then."""
        self.trust = ClockTrust(self.clock, self.ledger.audit_head().at)
        self.troubles = Troubles("host", self.ledger, self.clock, self.log)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - whatever a folder may have
        """Have the folder be configured so."""
        account = {
            "base_url": "https://signapi.example",
            "certificate": "c.p12",
            "organisation": "Demo",
            "trust_anchors": ["root.pem"],
        }
        folder = {name: self.place / name for name in ("inbound", "outbound", "rejected", "failed", "processed")}
        days = dict.fromkeys(("keep_processed_days", "keep_rejected_days", "keep_failed_days"), DAYS)
        self.config = Config.model_validate(
            {
                "service": {"state_dir": self.place / "state"},
                "accounts": {"main": account},
                "folders": {"invoices": {"account": "main", **folder, **days, **changes}},
            }
        )
        recorder = Recorder(self.ledger, self.clock, self.log, on_stored=lambda _: None, on_record=lambda: None)
        recorder.listen(lambda document, event: self.events.append((document, event)))
        outlets = {
            ("invoices", state): Outlet(
                "invoices", name, folder[name], self.place / "state", self.troubles, self.clock, {}
            )
            for state, name in OUTLETS.items()
        }
        self.retention = Retention(
            self.config, self.ledger, recorder, outlets, self.troubles, self.trust, self.clock, self.log
        )

    def put(self, state: State, name: str = "sub/deeper/a.pdf", number: int = 1, **changes: object) -> Document:
        """Have a document be over, its files in their folder for ten days from now."""
        copy = self.place / "spool" / "original"
        copy.write_bytes(ORIGINAL)
        now = self.clock.now()
        facts: dict[str, object] = {
            "id": DocumentId(f"20261123-{number:016x}"),
            "name": name,
            "state": state,
            "sha256": Sha256(sha256(ORIGINAL)),
            "size_bytes": len(ORIGINAL),
            "received_at": now,
            "updated_at": now,
            "due_at": None,
            "kept_until": now + timedelta(days=DAYS),
        }
        if state is not State.DELIVERED:
            facts |= {"reason": Reason.SEAL_FAILED, "reason_detail": "no", "sealed_sha256": None}
        document = verified(**{**facts, **changes})
        if state is State.DELIVERED:
            names = self._anothers(document)
            kept = keep(document, copy, self.place / "processed", is_anothers=names)
            document = replace(document, kept_name=kept)
        else:
            given = give_back(document, copy, self.place / "none", self.place / state)
            document = replace(document, published_name=given)
        return self.ledger.add(document, Event("x"))

    def _anothers(self, document: Document) -> Callable[[str], bool]:
        return lambda name: self.ledger.is_kept_by_another(document, name, ["invoices"])

    def turn(self) -> int:
        """Do what is due; return how many documents were."""
        claimed = self.retention.claim()
        self.retention.work(claimed.documents)
        return len(claimed.documents)

    def later(self, days: float) -> None:
        """Let days pass, and do what is due."""
        self.clock.go(days * DAY_S)
        while self.turn():
            pass

    def files(self, place: str) -> list[str]:
        """All that is in a folder, sub-folders included."""
        root = self.place / place
        return sorted(str(path.relative_to(root)) for path in root.rglob("*"))

    def get(self, document: Document) -> Document:
        """Return the document as it stands."""
        found = self.ledger.get(document.id)
        assert found is not None
        return found

    def expired(self) -> list[Any]:
        """What was put on record to be removed."""
        return [event.fields["files"] for _, event in self.events if event.name == "original_expired"]


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Empty ones."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Rooms(tmp_path, ledger, clock)


KEPT = ["sub/deeper/a.pdf"]
RETURNED = ["sub/deeper/a.pdf", "sub/deeper/a.pdf.reason.txt", "sub/deeper/a.pdf.reason.json"]


@pytest.mark.parametrize(
    ("state", "place", "files"),
    [
        (State.DELIVERED, "processed", KEPT),
        (State.REJECTED, "rejected", RETURNED),
        (State.FAILED, "failed", RETURNED),
    ],
)
def test_files_go_when_their_days_are_over(rooms: Rooms, state: State, place: str, files: list[str]) -> None:
    """Not a moment before; with what stands beside them and empty sub-folders, and on record with their names."""
    document = rooms.put(state)
    there = rooms.files(place)
    rooms.later(DAYS - 0.001)
    assert rooms.files(place) == there
    rooms.later(0.001)
    assert rooms.files(place) == []
    assert rooms.expired() == [files]
    after = rooms.get(document)
    assert (after.state, after.kept_until, after.lease, after.due_at) == (state, None, None, None)
    assert after.expired_at == rooms.clock.now()


def test_what_is_not_ours_stays_and_keeps_its_folder(rooms: Rooms) -> None:
    """A file that was changed, one that somebody put beside it, and one under a name of ours with other content."""
    rooms.put(State.REJECTED)
    folder = rooms.place / "rejected" / "sub" / "deeper"
    (folder / "a.pdf").write_bytes(ORIGINAL + b" annotated")
    (folder / "a.pdf.reason.txt").write_text("my own notes")
    (folder / "b.pdf").write_bytes(ORIGINAL)
    rooms.later(DAYS)
    assert {path.name for path in folder.iterdir()} == {"a.pdf", "a.pdf.reason.txt", "b.pdf"}
    assert rooms.expired() == [["sub/deeper/a.pdf.reason.json"]]


def test_what_was_taken_away_leaves_its_reason_to_be_removed(rooms: Rooms) -> None:
    """A file that was dragged back into inbound leaves its reasons behind; they go in time, and it is on record."""
    rooms.put(State.REJECTED)
    (rooms.place / "rejected" / "sub" / "deeper" / "a.pdf").unlink()
    rooms.later(DAYS)
    assert rooms.files("rejected") == []
    assert rooms.expired() == [RETURNED[1:]]


def test_nothing_is_on_record_where_nothing_stands(rooms: Rooms) -> None:
    """What somebody has taken away whole is looked for once, and that is all."""
    document = rooms.put(State.DELIVERED)
    (rooms.place / "processed" / "sub" / "deeper" / "a.pdf").unlink()
    rooms.later(DAYS)
    assert rooms.expired() == []
    assert rooms.get(document).kept_until is None


def test_no_link_is_followed(rooms: Rooms) -> None:
    """A link in the place of a file or of a sub-folder: what it leads to stays, and so does the link."""
    elsewhere = rooms.place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.pdf").write_bytes(ORIGINAL)
    rooms.put(State.DELIVERED)
    rooms.put(State.DELIVERED, "b.pdf", 2)
    folder = rooms.place / "processed" / "sub" / "deeper"
    (folder / "a.pdf").unlink()
    folder.rmdir()
    folder.symlink_to(elsewhere)
    (rooms.place / "processed" / "b.pdf").unlink()
    (rooms.place / "processed" / "b.pdf").symlink_to(elsewhere / "a.pdf")
    rooms.later(DAYS)
    assert (elsewhere / "a.pdf").read_bytes() == ORIGINAL
    assert rooms.files("processed") == ["b.pdf", "sub", "sub/deeper"]
    assert rooms.expired() == []


@pytest.mark.parametrize(
    "sealed",
    [
        {"sealed_sha256": Sha256("ab" * 32), "reason": Reason.ARCHIVE_FAILED},
        {"sealed_sha256": Sha256("ab" * 32), "reason": Reason.SEAL_UNTRUSTED},
        {"reason": Reason.SEALED_CONTENT_MISSING},
        {"reason": Reason.ARCHIVE_FAILED},
    ],
)
def test_what_was_sealed_and_not_handed_out_is_never_removed(rooms: Rooms, sealed: dict[str, object]) -> None:
    """Its files are the only copy of a seal that was billed, or what it can be had with: no number of days counts."""
    document = rooms.put(State.FAILED, **sealed)
    there = rooms.files("failed")
    rooms.later(10_000)
    assert rooms.files("failed") == there
    assert rooms.get(document).kept_until is None
    assert rooms.expired() == []


def test_fewer_days_count_from_then_on_and_more_at_once(rooms: Rooms) -> None:
    """What ended under ten days keeps its ten when five are configured; when it is twenty by then, it has twenty."""
    rooms.put(State.REJECTED)
    rooms.configure(keep_rejected_days=5)
    rooms.later(9)
    assert rooms.files("rejected") != []
    rooms.configure(keep_rejected_days=20)
    rooms.later(10.9)
    assert rooms.files("rejected") != []
    rooms.later(0.2)
    assert rooms.files("rejected") == []


def test_for_ever_counts_at_once(rooms: Rooms) -> None:
    """Once a folder keeps everything, or is gone from the configuration, nothing is removed any more."""
    rooms.put(State.REJECTED)
    rooms.put(State.DELIVERED, number=2)
    rooms.configure(keep_rejected_days=None, processed=None, keep_processed_days=None)
    rooms.later(1_000)
    assert KEPT[0] in rooms.files("rejected")
    assert KEPT[0] in rooms.files("processed")


@pytest.mark.parametrize("calls", range(9))
def test_a_crash_at_any_step_is_continued(rooms: Rooms, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Killed at each removal, flush and commit: all is gone in the end, and on record once, before it was done."""
    document = rooms.put(State.FAILED)
    rooms.clock.go(DAYS * DAY_S)
    left = [calls]

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return function(*arguments, **options)

        return step

    with monkeypatch.context() as changed:
        for name in ("unlink", "fsync", "rmdir"):
            changed.setattr(expire.os, name, dying(getattr(os, name)))
        changed.setattr(rooms.ledger, "record", dying(rooms.ledger.record))
        with pytest.raises(Killed):
            rooms.turn()
        assert rooms.expired() or len(rooms.files("failed")) == 5
        assert not ask_for_retry(document.id, rooms.config, rooms.ledger, rooms.clock).accepted
    rooms.configure()
    assert rooms.turn() == 0  # it is under a lease
    rooms.later(2 * LEASE_S / DAY_S)
    assert rooms.files("failed") == []
    assert rooms.expired() == [RETURNED]
    assert rooms.get(document).lease is None


def test_a_retry_is_told_that_its_original_was_removed(rooms: Rooms) -> None:
    """After it, with the day and the key; if somebody has put it back, it can be tried again like any other."""
    document = rooms.put(State.FAILED)
    rooms.later(DAYS)
    answer = ask_for_retry(document.id, rooms.config, rooms.ledger, rooms.clock)
    assert not answer.accepted
    assert "was removed on 2026-12-03, as the folder's keep_failed_days says: drop the document again" in answer.text
    (rooms.place / "failed" / "sub" / "deeper").mkdir(parents=True)
    (rooms.place / "failed" / "sub" / "deeper" / "a.pdf").write_bytes(ORIGINAL)
    answer = ask_for_retry(document.id, rooms.config, rooms.ledger, rooms.clock)
    assert answer.accepted
    assert rooms.get(document).expired_at is None


def test_a_retry_and_the_end_of_its_time_exclude_each_other(rooms: Rooms) -> None:
    """Who asks first has it: a document in hand to be removed is not tried again, and the other way round."""
    first, second = rooms.put(State.FAILED), rooms.put(State.FAILED, "b.pdf", 2)
    assert ask_for_retry(second.id, rooms.config, rooms.ledger, rooms.clock).accepted
    rooms.clock.go(DAYS * DAY_S)
    claimed = rooms.ledger.claim_kept(now=rooms.clock.now(), limit=32, lease_s=LEASE_S)
    assert [each.id for each in claimed.documents] == [first.id]
    answer = ask_for_retry(first.id, rooms.config, rooms.ledger, rooms.clock)
    assert (answer.accepted, "just being removed" in answer.text) == (False, True)
    rooms.retention.work(claimed.documents)
    assert "b.pdf" in rooms.files("failed")
    assert KEPT[0] not in rooms.files("failed")


def test_two_documents_of_one_content_have_a_file_each(rooms: Rooms) -> None:
    """The same content under the same name is kept twice, so that neither's end takes the other's file."""
    rooms.put(State.DELIVERED, "a.pdf")
    rooms.clock.go(DAY_S)
    later = rooms.put(State.DELIVERED, "a.pdf", 2)
    assert rooms.files("processed") == ["a-00000000.pdf", "a.pdf"]
    rooms.later(DAYS - 1)
    assert rooms.files("processed") == [later.kept_name]
    rooms.later(1)
    assert rooms.files("processed") == []


def test_one_file_that_two_documents_have_goes_with_the_last(rooms: Rooms) -> None:
    """Should two folders that share a processed folder ever have come to one file, it stays until both are over."""
    rooms.put(State.DELIVERED, "a.pdf")
    second = rooms.put(State.DELIVERED, "b.pdf", 2, kept_until=rooms.clock.now() + timedelta(days=2 * DAYS))
    (rooms.place / "processed" / "b.pdf").unlink()
    with closing(create_engine(f"sqlite:///{rooms.place / 'ledger.sqlite'}").connect()) as connection:
        connection.execute(text("UPDATE document SET kept_name = 'a.pdf' WHERE id = :id"), {"id": second.id})
        connection.commit()
    rooms.later(DAYS)
    assert rooms.files("processed") == ["a.pdf"]
    rooms.later(DAYS)
    assert rooms.files("processed") == []
    assert rooms.expired() == [["a.pdf"]]


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (State.REJECTED, {}),
        (State.FAILED, {}),
        (State.FAILED, {"reason": Reason.SEALED_CONTENT_MISSING, "kept_until": None}),
    ],
)
@pytest.mark.parametrize("reasons_come_back", [False, True])
def test_a_file_dropped_again_outlasts_the_first_drops_days(
    rooms: Rooms, state: State, changes: dict[str, object], reasons_come_back: bool
) -> None:
    """Dragged into inbound on the ninth day and given back under the same name: it stays for its own days, or for ever.

    Even if the first drop's reasons are put beside it.
    """
    place = rooms.place / state
    rooms.put(state, "a.pdf")
    rooms.later(DAYS - 1)
    firsts = {path: path.read_bytes() for path in place.iterdir()}
    for path in firsts:
        path.unlink()
    rooms.put(state, "a.pdf", 2, **changes)
    there = rooms.files(state)
    assert there == ["a.pdf", "a.pdf.reason.json", "a.pdf.reason.txt"]
    if reasons_come_back:
        for path, content in firsts.items():
            path.write_bytes(content)
    rooms.later(2)
    assert rooms.files(state) == there
    assert rooms.expired() == []
    rooms.later(DAYS)
    assert rooms.files(state) == (there if changes or reasons_come_back else [])


def test_an_original_without_its_reasons_stays(rooms: Rooms) -> None:
    """Nothing says any more whose it is: somebody has taken it in hand."""
    rooms.put(State.FAILED, "a.pdf")
    for path in (rooms.place / "failed").glob("*.reason.*"):
        path.unlink()
    rooms.later(DAYS)
    assert rooms.files("failed") == ["a.pdf"]
    assert rooms.expired() == []


def test_a_clock_that_jumps_forward_and_comes_back_removes_nothing(rooms: Rooms) -> None:
    """Ten years for some hours: all is still there, and whoever looks is told why; then each goes on its own day."""
    rooms.put(State.FAILED)
    rooms.put(State.DELIVERED, "b.pdf", 2)
    rooms.later(1)
    rooms.clock.set_by_s = 3_650 * DAY_S
    rooms.later(0.2)
    assert [each.subject for each in rooms.troubles.present()] == ["retention"]
    assert "2036-11-21" in rooms.troubles.present()[0].text
    assert len(rooms.log.events("retention_held")) == 1
    rooms.clock.set_by_s = 0.0
    rooms.later(SETTLE_S / DAY_S)
    assert rooms.troubles.present() == ()
    rooms.later(DAYS - 1.3)
    assert (rooms.files("processed"), rooms.expired()) == (["b.pdf"], [])
    rooms.later(0.1)
    assert (rooms.files("processed"), len(rooms.expired())) == ([], 2)


def test_a_start_with_a_clock_far_ahead_removes_nothing_for_hours(rooms: Rooms) -> None:
    """It may have been out of use for so long, or have a wrong clock: nobody can tell before the clock has run on."""
    rooms.put(State.FAILED)
    rooms.clock.go(3 * DAYS * DAY_S)
    rooms.start()
    rooms.configure()
    rooms.later(STEADY_S / DAY_S - 0.001)
    assert (rooms.expired(), len(rooms.troubles.present())) == ([], 1)
    rooms.later(0.001)
    assert (rooms.expired(), rooms.troubles.present()) == ([RETURNED], ())


def test_a_start_waits_for_the_clock_to_be_set(rooms: Rooms) -> None:
    """What is due at a start goes a quarter of an hour later, and nobody is told of that."""
    rooms.clock.go(DAYS * DAY_S)
    rooms.put(State.FAILED, kept_until=rooms.clock.now(), updated_at=rooms.clock.now() - timedelta(days=DAYS))
    rooms.start()
    rooms.configure()
    rooms.later(SETTLE_S / DAY_S - 0.001)
    assert (rooms.expired(), rooms.troubles.present()) == ([], ())
    rooms.later(0.001)
    assert rooms.expired() == [RETURNED]


def test_a_folder_that_is_away_is_tried_again_and_fills_no_log(rooms: Rooms) -> None:
    """Forty documents whose folder is gone: one warning, nothing taken for removed, and all go when it is back."""
    for number in range(40):
        rooms.put(State.REJECTED, f"{number}.pdf", number)
    (rooms.place / "rejected").rename(rooms.place / "away")
    rooms.later(DAYS)
    assert len(rooms.log.events("expiry_postponed")) == 1
    (rooms.place / "away").rename(rooms.place / "rejected")
    rooms.later(AGAIN_S / DAY_S)
    assert rooms.files("rejected") == []
    assert len(rooms.expired()) == 40


def test_a_file_that_cannot_be_removed_holds_up_no_other(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of, tried again an hour later, and on record once."""
    rooms.put(State.REJECTED, "a.pdf")
    rooms.put(State.DELIVERED, "b.pdf", 2)
    with monkeypatch.context() as changed:

        def refuse(name: str, **options: Any) -> None:  # noqa: ANN401
            if name == "a.pdf":
                raise PermissionError(errno.EACCES, "Permission denied", name)
            os.remove(name, **options)

        changed.setattr(expire.os, "unlink", refuse)
        rooms.later(DAYS)
    assert rooms.files("processed") == []
    assert "a.pdf" in rooms.files("rejected")
    rooms.later(AGAIN_S / DAY_S)
    assert rooms.files("rejected") == []
    assert len(rooms.expired()) == 2


def test_looking_for_what_is_due_reads_an_index_alone(rooms: Rooms) -> None:
    """However many documents the ledger has: neither the claim nor the counting of what is held walks through them."""
    claim = "SELECT id FROM document WHERE kept_until IS NOT NULL AND due_at IS NULL AND kept_until <= 5"
    held = "SELECT folder, hold, count(*), min(due_at) FROM document WHERE hold IS NOT NULL AND lease IS NULL"
    same = "SELECT id FROM document WHERE sha256 = 'x' AND folder IN ('a') AND kept_name = 'n' AND id != 'i'"
    given = "SELECT id FROM document WHERE sha256 = 'x' AND folder IN ('a') AND published_name = 'n' AND last_seq > 5"
    engine = create_engine(f"sqlite:///{rooms.place / 'ledger.sqlite'}")
    with closing(engine.connect()) as connection:
        for query, index in (
            (f"{claim} ORDER BY kept_until LIMIT 32", "document_kept"),
            (f"{held} AND due_at > 5 GROUP BY folder, hold", "document_hold"),
            (same, "document_content"),
            (f"{given} AND state IN ('rejected', 'failed')", "document_content"),
        ):
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert index in plan, plan
            assert "TEMP B-TREE" not in plan, plan
    engine.dispose()
