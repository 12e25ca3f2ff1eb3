"""What anybody may ask of the ledger."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sealdrop.errors import Fatal
from sealdrop.ledger import Ledger, LedgerReader, Step
from sealdrop.model import Document, Event, Hold, State

from .conftest import LINK, START, MakeDocument, StoppedClock

EVENT = Event("something_happened")


def end(ledger: Ledger, document: Document, state: State = State.REJECTED, **changes: object) -> None:
    """Bring a document that was just received to an end."""
    ledger.record(Step(document, replace(document, state=state, **{"due_at": None, **changes}), EVENT))


def ids(*documents: Document) -> list[str]:
    """The documents' IDs."""
    return [document.id for document in documents]


def test_documents_are_found_by_id_short_id_and_name(ledger: Ledger, make_document: MakeDocument) -> None:
    """A document is found by whatever a person has at hand, and by nothing else."""
    one = ledger.add(make_document(name="a/invoice.pdf"), EVENT)
    two = ledger.add(make_document(name="b/invoice.pdf"), EVENT)
    three = ledger.add(make_document(name="100%_\n.pdf"), EVENT)
    assert ids(*ledger.find(one.id)) == [one.id]
    assert ids(*ledger.find(f" {two.short_id.upper()}\n")) == [two.id]
    assert ids(*ledger.find("invoice.pdf")) == ids(two, one)
    assert ids(*ledger.find("a/invoice.pdf")) == [one.id]
    assert ids(*ledger.find("100%_\n.pdf")) == [three.id]
    assert ledger.find("c/invoice.pdf") == ledger.find("%") == ledger.find("") == ()


def test_find_is_bounded_and_newest_first(ledger: Ledger, make_document: MakeDocument) -> None:
    """However many documents have the name, only the newest come, newest first; an ID that is a name counts too."""
    documents = [ledger.add(make_document(name="x.pdf"), EVENT) for _ in range(5)]
    assert ids(*ledger.find("x.pdf", limit=2)) == ids(documents[4], documents[3])
    namesake = ledger.add(make_document(name=documents[0].id), EVENT)
    assert ids(*ledger.find(documents[0].id)) == ids(namesake, documents[0])


def test_content_is_known_once_it_was_taken_over(ledger: Ledger, make_document: MakeDocument) -> None:
    """A digest is known when any document has it, whatever became of that, and not before."""
    document = make_document()
    assert not ledger.knows_content(document.sha256)
    end(ledger, ledger.add(document, EVENT))
    assert ledger.knows_content(document.sha256)


def test_counts_follow_every_move(ledger: Ledger, make_document: MakeDocument) -> None:
    """Counts are by folder and state, and states that nothing is in any more are not listed."""
    assert ledger.counts() == {}
    documents = [ledger.add(make_document(), EVENT) for _ in range(3)]
    ledger.add(make_document(folder="contracts"), EVENT)
    for document in documents:
        end(ledger, document)
    assert ledger.counts() == {"contracts": {State.RECEIVED: 1}, "invoices": {State.REJECTED: 3}}


def test_oldest_waiting_is_per_folder_and_has_not_ended(ledger: Ledger, make_document: MakeDocument) -> None:
    """The oldest document that has not ended is named for each folder, one that is only to be given back is, too."""
    ended = ledger.add(make_document(), EVENT)
    given_back = ledger.add(make_document(), EVENT)
    ledger.add(make_document(), EVENT)
    ledger.add(make_document(), EVENT)
    other = ledger.add(make_document(folder="contracts"), EVENT)
    ledger.add(make_document(folder="done"), EVENT)
    end(ledger, ended)
    end(ledger, given_back, due_at=START)
    end(ledger, ledger.find("6.pdf")[0])
    assert ledger.oldest_waiting() == {"contracts": other, "invoices": ledger.get(given_back.id)}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file in a folder with its content, SQLite's shared memory aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def test_reader_sees_a_working_daemon_and_changes_nothing(
    path: Path, ledger: Ledger, make_document: MakeDocument
) -> None:
    """While a daemon writes, a reader sees each commit, and no file but the shared memory is touched."""
    document = ledger.add(make_document(), EVENT)
    before = snapshot(path.parent)
    with LedgerReader.open_read_only(path) as reader:
        assert reader.get(document.id) == document
        assert snapshot(path.parent) == before
        end(ledger, document)
        assert reader.counts() == {"invoices": {State.REJECTED: 1}}
        assert reader.audit_head() == ledger.audit_head()
    assert ledger.note(EVENT).seq == 3


def test_reader_leaves_no_trace_when_no_daemon_runs(
    path: Path, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """After a daemon has stopped, a reader sees everything and leaves the folder exactly as it was."""
    with Ledger.open(path, link=LINK, clock=clock) as ledger:
        document = ledger.add(make_document(), EVENT)
    before = sorted(path.parent.iterdir())
    content = path.read_bytes()
    with LedgerReader.open_read_only(path) as reader:
        assert reader.get(document.id) == document
    assert sorted(path.parent.iterdir()) == before == [path]
    assert path.read_bytes() == content


def test_reader_of_nothing_says_so(path: Path) -> None:
    """Where no daemon ever ran, a reader says so and creates nothing."""
    with pytest.raises(Fatal, match="has the daemon been started"):
        LedgerReader.open_read_only(path)
    assert list(path.parent.iterdir()) == []


def test_reader_of_an_empty_ledger_says_so(path: Path) -> None:
    """A ledger whose first start was cut short is not mistaken for one without documents."""
    path.touch()
    with pytest.raises(Fatal, match="start this one's daemon once"):
        LedgerReader.open_read_only(path)


def test_failed_documents_come_in_the_order_in_which_they_were_given_back(
    ledger: Ledger, make_document: MakeDocument
) -> None:
    """Only those that stand in the failed folder, each once, from the record that was seen last."""
    waiting, first, second = (ledger.add(make_document(state=State.SUBMITTED), EVENT) for _ in range(3))
    end(ledger, ledger.add(make_document(), EVENT))
    failed = {each.id: replace(each, state=State.FAILED) for each in (waiting, first, second)}
    ledger.record(*(Step(each, failed[each.id], EVENT) for each in (waiting, first, second)))
    for each in (second, first):
        end(ledger, failed[each.id], State.FAILED)
    found = ledger.failed_after(0, limit=9)
    assert ids(*found) == ids(second, first)
    assert ids(*ledger.failed_after(found[0].last_seq or 0, limit=9)) == ids(first)
    assert ledger.failed_after(found[1].last_seq or 0, limit=9) == ()
    assert ids(*ledger.failed_after(0, limit=1)) == ids(second)


def test_what_waits_on_purpose_can_be_left_out(ledger: Ledger, make_document: MakeDocument) -> None:
    """A document that is held does not hide the oldest of those that are not; once it may go on, it is one of them."""
    later = START + timedelta(hours=1)
    held = ledger.add(make_document(hold=Hold.QUOTA, due_at=later), EVENT)
    waiting = ledger.add(make_document(), EVENT)
    assert ids(ledger.oldest_waiting()["invoices"]) == ids(held)
    assert ids(ledger.oldest_waiting(unheld_at=START)["invoices"]) == ids(waiting)
    assert ids(ledger.oldest_waiting(unheld_at=later)["invoices"]) == ids(held)
