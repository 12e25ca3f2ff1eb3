"""What the ledger promises the daemon."""

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sealdrop.errors import Fatal, IllegalMove, LeaseLost, Unrecordable
from sealdrop.ledger import Ledger, Step
from sealdrop.model import (
    GENESIS,
    ArchiveId,
    AuditHead,
    Check,
    CheckName,
    CheckOutcome,
    Document,
    Event,
    ExternalId,
    FileIdentity,
    Finding,
    Inspection,
    Reason,
    Remote,
    RemoteStatus,
    RemoteStep,
    RequestId,
    SealCertificate,
    SealLevel,
    Sha256,
    State,
    Timestamp,
    Verdict,
    Verification,
)

from .conftest import LINK, START, MakeDocument, StoppedClock

RECEIVED = Event("document_received", {"size_bytes": 10})
MOVED = Event("document_moved")


def full(document: Document) -> Document:
    """The document with every field filled, and with values that databases like to bend."""
    return replace(
        document,
        name="sub folder/été “1”\n'quoted'\t\u2028.pdf",
        identity=FileIdentity(device=2**64 - 1, inode=2**64 - 1, size_bytes=2**40, mtime_ns=-1),
        size_bytes=2**40,
        due_at=START + timedelta(microseconds=1),
        attempts=3,
        last_error='it\'s "no"\x00 use',
        external_id=ExternalId("ext"),
        request_id=RequestId("req"),
        sign_called_at=START,
        reason=Reason.ALREADY_SIGNED,
        reason_detail="why",
        inspection=Inspection(
            Verdict.ACCEPT, None, (Finding(Reason.CERTIFIED, "P=2"),), (Finding(Reason.LAYERS, "2"),), 40, 1, "1.7"
        ),
        remote=Remote(
            (RemoteStep(RemoteStatus.SIGN_CREATED, START),),
            START,
            (ArchiveId("nf461", "A-1"),),
            {"status": "ARCHIVED", "list": [1, 2.5, None, True], "é": 2**70},
        ),
        verification=Verification(
            (Check(CheckName.PREFIX, CheckOutcome.PASSED, "exact"),),
            SealLevel.LTA,
            START,
            SealCertificate("CN=x", "Org", "CN=ca", "12345678901234567890", Sha256("a" * 64), START, START),
            (Timestamp("document", START, "TSA"),),
        ),
        sealed_size_bytes=5,
        sealed_sha256=Sha256("b" * 64),
        published_name="x.pdf",
    )


def pending(ledger: Ledger) -> list[dict[str, Any]]:
    """The records in the outbox, read."""
    return [json.loads(record.line) for record in ledger.audit_pending(10_000)]


def lease(ledger: Ledger, clock: StoppedClock, *states: State, limit: int = 100) -> tuple[Document, ...]:
    """Claim what is due now, for a minute."""
    return ledger.claim(*states, now=clock.now(), limit=limit, lease_s=60).documents


def test_document_comes_back_as_it_was_stored(path: Path, clock: StoppedClock, make_document: MakeDocument) -> None:
    """Every field of a document survives, to the microsecond and to the byte, when the ledger is opened again."""
    document = full(make_document())
    with Ledger.open(path, link=LINK, clock=clock) as ledger:
        added = ledger.add(document, RECEIVED)
    with Ledger.open(path, link=LINK, clock=clock) as ledger:
        assert ledger.get(document.id) == added == replace(document, first_seq=1, last_seq=1)


def test_every_change_is_on_record_in_one_chain(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """Additions, steps and notes make one chain without gaps, and documents know their first and newest record."""
    first = ledger.add(make_document(), RECEIVED)
    second = ledger.add(make_document(), RECEIVED)
    note = ledger.note(Event("service_started"))
    clock.pass_s(1)
    outcomes = ledger.record(
        Step(first, replace(first, state=State.VALIDATED), MOVED),
        Step(second, replace(second, state=State.REJECTED), MOVED),
    )
    assert [(each.first_seq, each.last_seq) for each in outcomes if isinstance(each, Document)] == [(1, 4), (2, 5)]
    assert outcomes == (ledger.get(first.id), ledger.get(second.id))
    records = pending(ledger)
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5]
    assert [record["document"] for record in records] == [first.id, second.id, None, first.id, second.id]
    assert records[0]["prev"] == GENESIS.hash
    assert all(after["prev"] == before["hash"] for before, after in pairwise(records))
    assert note.seq == 3
    assert ledger.audit_head() == AuditHead(5, records[4]["hash"], clock.now())


def test_new_documents_and_steps_share_a_transaction(ledger: Ledger, make_document: MakeDocument) -> None:
    """Several new documents can be put on record at once, and a later step of one may follow in the same call."""
    one, two = make_document(), make_document()
    validated = replace(one, state=State.VALIDATED)
    outcomes = ledger.record(Step(None, one, RECEIVED), Step(None, two, RECEIVED), Step(one, validated, MOVED))
    assert [each.state for each in outcomes if isinstance(each, Document)] == [
        State.RECEIVED,
        State.RECEIVED,
        State.VALIDATED,
    ]
    stored = ledger.get(one.id)
    assert stored == replace(validated, first_seq=1, last_seq=3)
    assert ledger.counts() == {"invoices": {State.RECEIVED: 1, State.VALIDATED: 1}}


def test_steps_of_one_document_in_one_call_add_up(ledger: Ledger, make_document: MakeDocument) -> None:
    """What a document becomes is all of its last step, also where that was formed without knowing of the others."""
    document = ledger.add(make_document(), RECEIVED)
    once = replace(document, attempts=1, last_error="no", inspection=Inspection(Verdict.ACCEPT, pages=1))
    validated = replace(document, state=State.VALIDATED)
    outcomes = ledger.record(Step(document, once, None), Step(document, validated, MOVED))
    assert ledger.get(document.id) == outcomes[1] == replace(validated, last_seq=2)
    submitting = replace(validated, state=State.SUBMITTING)
    again = Step(submitting, replace(submitting, attempts=1), None)  # with the newest record of long ago
    outcomes = ledger.record(Step(validated, submitting, MOVED), again)
    assert ledger.get(document.id) == outcomes[1] == replace(submitting, attempts=1, last_seq=3)


def test_a_step_leaves_what_it_does_not_change(ledger: Ledger, path: Path, make_document: MakeDocument) -> None:
    """A report that stays what it was is neither spelled out nor written again."""
    document = ledger.add(full(make_document()), RECEIVED)
    spelling = '{"verdict": "accept"}'  # ours has every member
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE document SET inspection = ?", (spelling,))
        ledger.record(Step(document, replace(document, state=State.VALIDATED, verification=None), MOVED))
        found = connection.execute("SELECT state, inspection, verification FROM document").fetchone()
    assert found == ("validated", spelling, None)


def test_lost_document_is_left_alone_and_others_are_recorded(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """A worker whose lease ran out and was claimed by another gets LeaseLost for that document, and only for it."""
    for _ in range(3):
        ledger.add(make_document(), RECEIVED)
    mine = lease(ledger, clock, State.RECEIVED)
    clock.pass_s(61)
    (theirs,) = lease(ledger, clock, State.RECEIVED, limit=1)
    outcomes = ledger.record(*(Step(each, replace(each, state=State.VALIDATED), MOVED) for each in mine))
    lost = [before.id for before, outcome in zip(mine, outcomes, strict=True) if isinstance(outcome, LeaseLost)]
    assert lost == [theirs.id]
    assert ledger.get(theirs.id) == theirs
    assert [record["document"] for record in pending(ledger)[3:]] == [each.id for each in mine if each.id != theirs.id]
    assert ledger.counts() == {"invoices": {State.RECEIVED: 1, State.VALIDATED: 2}}


def test_document_that_moved_on_is_lost_to_a_second_step(ledger: Ledger, make_document: MakeDocument) -> None:
    """The same step made twice is recorded once."""
    document = ledger.add(make_document(), RECEIVED)
    step = Step(document, replace(document, state=State.VALIDATED), MOVED)
    assert isinstance(ledger.record(step)[0], Document)
    assert isinstance(ledger.record(step)[0], LeaseLost)
    assert ledger.audit_head().seq == 2


def test_step_without_event_changes_only_when_to_look_again(ledger: Ledger, make_document: MakeDocument) -> None:
    """A step that leaves the state as it is may go without a record, and the newest record stays the newest."""
    document = ledger.add(make_document(), RECEIVED)
    later = replace(document, due_at=START + timedelta(hours=1), attempts=1, last_seq=None)
    assert ledger.record(Step(document, later, None)) == (ledger.get(document.id),)
    assert ledger.get(document.id) == replace(later, last_seq=1)
    assert ledger.audit_head().seq == 1


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        pytest.param({"state": State.SEALED}, MOVED, id="a move that is not in the table"),
        pytest.param({"state": State.VALIDATED}, None, id="a move that nothing tells of"),
        pytest.param({"sha256": Sha256("f" * 64)}, MOVED, id="another content"),
        pytest.param({"id": "20260301-ffffffffffffffff"}, MOVED, id="another document"),
    ],
)
def test_illegal_step_cannot_be_made(make_document: MakeDocument, changes: dict[str, Any], event: Event | None) -> None:
    """A step that the table of moves does not allow, or that changes what was dropped, cannot even be formed."""
    document = make_document()
    with pytest.raises(IllegalMove, match=document.id if "id" not in changes else "about to"):
        Step(document, replace(document, **changes), event)


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        pytest.param({}, Event("document_moved", {"name": "\ud800"}), id="in the event"),
        pytest.param({}, Event("document_moved", {"inode": 2**53}), id="a number JSON cannot hold exactly"),
        pytest.param({"last_error": "\ud800"}, MOVED, id="in a text"),
        pytest.param({"remote": Remote(answer={"reason": "\ud800"})}, MOVED, id="in a report"),
        pytest.param({"sealed_size_bytes": 2**63}, MOVED, id="a number the database cannot hold"),
    ],
)
def test_what_cannot_be_written_down_leaves_nothing(
    ledger: Ledger, make_document: MakeDocument, changes: dict[str, Any], event: Event
) -> None:
    """If one step of several cannot be written, none is, nothing is on record, and the ledger goes on working."""
    one, two = (ledger.add(make_document(), RECEIVED) for _ in range(2))
    with pytest.raises(Unrecordable):
        ledger.record(
            Step(one, replace(one, state=State.VALIDATED), MOVED),
            Step(two, replace(two, state=State.VALIDATED, **changes), event),
        )
    assert (ledger.get(one.id), ledger.get(two.id)) == (one, two)
    assert ledger.audit_head().seq == 2
    assert ledger.counts() == {"invoices": {State.RECEIVED: 2}}
    ledger.note(Event("still_there"))
    assert [record["seq"] for record in pending(ledger)] == [1, 2, 3]


def test_same_id_twice_is_refused(ledger: Ledger, make_document: MakeDocument) -> None:
    """A second document with an ID that is taken stops the daemon, and leaves no record."""
    document = ledger.add(make_document(), RECEIVED)
    with pytest.raises(Fatal):
        ledger.add(document, RECEIVED)
    assert ledger.audit_head().seq == 1


def test_claims_go_by_due_time(ledger: Ledger, clock: StoppedClock, make_document: MakeDocument) -> None:
    """The oldest due comes first, what is not due yet is left, and the answer says when to come back."""
    due = [START + timedelta(seconds=seconds) for seconds in (3, 1, 2, 900)]
    documents = [ledger.add(make_document(due_at=at), RECEIVED) for at in due]
    assert ledger.claim(State.RECEIVED, now=START, limit=2, lease_s=60).next_due_at == due[1]
    now = clock.pass_s(10)
    claimed = ledger.claim(State.RECEIVED, now=now, limit=2, lease_s=60)
    assert [each.id for each in claimed.documents] == [documents[1].id, documents[2].id]
    assert claimed.next_due_at == due[0]
    assert {each.due_at for each in claimed.documents} == {now + timedelta(seconds=60)}
    assert all(each.lease for each in claimed.documents)
    assert tuple(map(ledger.get, (each.id for each in claimed.documents))) == claimed.documents
    rest = ledger.claim(State.RECEIVED, now=now, limit=9, lease_s=60)
    assert [each.id for each in rest.documents] == [documents[0].id]
    assert rest.next_due_at == now + timedelta(seconds=60)
    assert ledger.claim(State.VALIDATED, now=now, limit=9, lease_s=60).next_due_at is None


def test_claims_can_be_for_an_account_a_folder_and_several_states(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """A claim takes only what it names, in the order of the due times across the states it names."""
    a = ledger.add(make_document(account="a", due_at=START), RECEIVED)
    b = ledger.add(make_document(account="b", folder="contracts", due_at=START), RECEIVED)
    c = ledger.add(make_document(account="a", due_at=START - timedelta(seconds=1)), RECEIVED)
    d = ledger.add(make_document(account="a", due_at=START - timedelta(seconds=2)), RECEIVED)
    moved = [Step(each, replace(each, state=State.VALIDATED), MOVED) for each in (a, d)]
    ledger.record(*moved)

    def claim(*states: State, **only: str) -> list[str]:
        claimed = ledger.claim(*states, now=clock.now(), limit=2, lease_s=60, **only)
        return [each.id for each in claimed.documents]

    assert claim(State.RECEIVED, State.VALIDATED, account="c") == []
    assert claim(State.RECEIVED, folder="contracts") == [b.id]
    assert claim(State.RECEIVED, State.VALIDATED, account="a") == [d.id, c.id]
    assert claim(State.RECEIVED, State.VALIDATED) == [a.id]


def test_expired_lease_makes_the_document_due_again(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """A document whose worker died is claimed again once its lease ends, under another lease."""
    ledger.add(make_document(), RECEIVED)
    (first,) = lease(ledger, clock, State.RECEIVED)
    clock.pass_s(59)
    assert lease(ledger, clock, State.RECEIVED) == ()
    clock.pass_s(1)
    (second,) = lease(ledger, clock, State.RECEIVED)
    assert second.id == first.id
    assert second.lease != first.lease


def test_start_releases_only_what_this_node_held(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """After a crash the node's claimed documents are due at once; another node's, and what merely waits, are not."""
    mine = ledger.add(make_document(), RECEIVED)
    ledger.add(make_document(node="host-2"), RECEIVED)
    lease(ledger, clock, State.RECEIVED)
    ledger.add(make_document(due_at=START + timedelta(hours=1)), RECEIVED)
    clock.pass_s(1)
    assert ledger.release_leases("host-1") == 1
    assert [each.id for each in lease(ledger, clock, State.RECEIVED)] == [mine.id]


def test_original_is_known_to_stand_until_it_is_noted_as_gone(ledger: Ledger, make_document: MakeDocument) -> None:
    """The originals that may still stand in a folder are exactly those that were not noted as removed."""
    here, gone = (ledger.add(make_document(), RECEIVED) for _ in range(2))
    elsewhere = ledger.add(make_document(folder="contracts"), RECEIVED)
    ledger.original_removed([gone.id])
    ledger.original_removed([])
    assert ledger.originals_standing("invoices") == (here,)
    assert ledger.originals_orphaned(["invoices"]) == (elsewhere,)
    assert ledger.originals_orphaned(["invoices", "contracts"]) == ()


def test_threads_and_processes_share_the_work_without_a_fork(
    path: Path, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """Several threads on several connections claim each document once, and their records form one chain."""
    ledgers = [Ledger.open(path, link=LINK, clock=clock) for _ in range(2)]
    documents = [ledgers[0].add(make_document(), RECEIVED) for _ in range(40)]
    claimed: list[str] = []
    troubles: list[BaseException] = []

    def work(ledger: Ledger) -> None:
        try:
            while due := lease(ledger, clock, State.RECEIVED, limit=3):
                claimed.extend(each.id for each in due)
                for each in due:
                    ledger.record(Step(each, replace(each, state=State.VALIDATED), MOVED))
        except BaseException as error:
            troubles.append(error)
            raise

    threads = [threading.Thread(target=work, args=(ledgers[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not troubles
    assert sorted(claimed) == sorted(each.id for each in documents)
    records = pending(ledgers[0])
    assert [record["seq"] for record in records] == list(range(1, 81))
    assert all(after["prev"] == before["hash"] for before, after in pairwise(records))
    assert ledgers[1].counts() == {"invoices": {State.VALIDATED: 40}}
    for ledger in ledgers:
        ledger.close()


def test_records_leave_the_outbox_once_they_are_written(ledger: Ledger) -> None:
    """Records are handed out in order until they are noted as written, and the noted head is remembered."""
    records = [ledger.note(Event("tick", {"number": number})) for number in range(5)]
    assert ledger.audit_pending(3) == tuple(records[:3])
    assert ledger.audit_pending(3) == tuple(records[:3])
    assert ledger.audit_flushed_head() == GENESIS
    ledger.audit_written(records[2])
    assert ledger.audit_pending(9) == tuple(records[3:])
    ledger.audit_written(AuditHead(records[4].seq, records[4].hash, records[4].at))
    ledger.audit_written(records[3])  # late, and known
    assert ledger.audit_pending(9) == ()
    assert ledger.audit_flushed_head() == ledger.audit_head()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(AuditHead(3, "f" * 64), id="beyond what the ledger has"),
        pytest.param(AuditHead(2, "f" * 64), id="another record that waits"),
        pytest.param(AuditHead(1, "f" * 64), id="another record that was written"),
    ],
)
def test_files_with_another_chain_stop_the_daemon(ledger: Ledger, head: AuditHead) -> None:
    """If the files hold a chain that is not the ledger's, as after restoring one of the two, nothing is let go of."""
    ledger.audit_written(ledger.note(Event("one")))
    two = ledger.note(Event("two"))
    with pytest.raises(Fatal, match="one of the two was replaced"):
        ledger.audit_written(head)
    assert ledger.audit_pending(9) == (two,)


def test_leases_given_up_fall_due_at_once(ledger: Ledger, clock: StoppedClock, make_document: MakeDocument) -> None:
    """A worker gives back what it claimed; what somebody else has claimed meanwhile is not touched."""
    for _ in range(2):
        ledger.add(make_document(), RECEIVED)
    mine = ledger.claim(State.RECEIVED, now=clock.now(), limit=2, lease_s=60).documents
    clock.pass_s(61)
    (other,) = ledger.claim(State.RECEIVED, now=clock.now(), limit=1, lease_s=60).documents
    ledger.give_up_leases(mine)
    due = ledger.claim(State.RECEIVED, now=clock.now(), limit=2, lease_s=60).documents
    assert {each.id for each in due} == {each.id for each in mine} - {other.id}


def test_suspects_are_claimed_apart(ledger: Ledger, clock: StoppedClock, make_document: MakeDocument) -> None:
    """Documents that took long to examine are claimed by those who ask for them, and not by those who do not."""
    quick, slow = make_document(), make_document(suspect=True)
    for each in (quick, slow):
        ledger.add(each, RECEIVED)
    for suspect, expected in ((False, quick), (True, slow)):
        claimed = ledger.claim(State.RECEIVED, now=clock.now(), limit=5, lease_s=60, suspect=suspect)
        assert [each.id for each in claimed.documents] == [expected.id]


def test_a_step_of_an_earlier_try_is_dropped(ledger: Ledger, make_document: MakeDocument) -> None:
    """What somebody saw before a document was tried again does not overwrite what came of that."""
    seen = ledger.add(make_document(state=State.FAILED, due_at=None), RECEIVED)
    again = replace(seen, state=State.RETRYING, retries=1)
    (retrying,) = ledger.record(Step(seen, again, MOVED))
    assert isinstance(retrying, Document)
    (failed,) = ledger.record(Step(retrying, replace(retrying, state=State.FAILED), MOVED))
    (stale,) = ledger.record(Step(seen, again, MOVED))
    assert isinstance(stale, LeaseLost)
    assert ledger.get(seen.id) == failed


def test_copies_that_wait_fall_due_together(ledger: Ledger, clock: StoppedClock, make_document: MakeDocument) -> None:
    """The copies of a content in its folder are made due when asked; others, and those that are held, are not."""
    later = clock.moment + timedelta(seconds=600)
    first = ledger.add(make_document(), RECEIVED)
    same = {"sha256": first.sha256, "due_at": later}
    copy = ledger.add(make_document(**same), RECEIVED)
    for other in ({"folder": "contracts"}, {"state": State.VALIDATED}, {"lease": "held"}, {"sha256": "ab" * 32}):
        ledger.add(make_document(**{**same, **other}), RECEIVED)
    assert ledger.hasten_copies(first) == 1
    assert ledger.get(copy.id) == replace(copy, due_at=clock.moment)
    assert ledger.hasten_copies(first) == 0


def test_what_is_to_be_given_back_is_waited_for_too(ledger: Ledger, make_document: MakeDocument) -> None:
    """Every folder and account that a document still needs is told, whatever its state."""
    back = ledger.add(make_document(state=State.REJECTED, folder="a", account="x"), RECEIVED)
    ledger.add(make_document(state=State.REJECTED, folder="b", due_at=None), RECEIVED)
    assert ledger.waiting_for() == {("a", "x"): back.id}
    assert list(ledger.oldest_waiting()) == ["a"]
