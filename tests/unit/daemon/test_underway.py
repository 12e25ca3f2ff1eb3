"""How much of a folder is under way, and when its next file may be taken over."""

from dataclasses import replace
from pathlib import Path

import pytest

from documents import FakeClock, document
from intakes import CONFIG, intake
from running import KeptLog, until
from sealdrop.config import load
from sealdrop.daemon import underway
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.underway import MIB, SEAL_BYTES, Load, Turn, UnderWay
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, DocumentId, Event, State

UNSEALED = 1_000 + 1_000 + SEAL_BYTES  # what a document of 1,000 bytes takes, with its sealed PDF to come
MOVED = Event(EventName.DOCUMENT_SEALED, {})


@pytest.fixture
def troubles(ledger: Ledger) -> Troubles:
    """The troubles of a host."""
    return Troubles("host", ledger, FakeClock(), KeptLog())


def _turn(place: Path, troubles: Troubles, limits: str, service: str = "") -> tuple[Turn, UnderWay]:
    """Return the turn of a folder with those limits, and what is under way of it."""
    (place / "sealdrop.toml").write_text(CONFIG.format(service=f"inspectors = 1\n{service}", folder=limits))
    counts = UnderWay()
    return Turn("invoices", load(place / "sealdrop.toml"), counts, troubles), counts


def _document(number: int, size_bytes: int = 1_000, **changes: object) -> Document:
    return document(id=DocumentId(f"20261123-{number:016x}"), size_bytes=size_bytes, **changes)


def _ends(counts: UnderWay, number: int) -> None:
    verified = _document(number, state=State.VERIFIED)
    counts.recorded(Step(verified, replace(verified, state=State.DELIVERED, due_at=None), MOVED))


def test_documents_and_bytes_are_counted_until_their_end() -> None:
    """What comes back for a document counts before it is there; each folder counts by itself; the end is the end."""
    counts = UnderWay()
    for number in range(3):
        counts.add(_document(number))
    counts.add(_document(7, folder="letters"))
    sealed = _document(1, state=State.SEALED, sealed_size_bytes=1_500)
    counts.recorded(Step(_document(1, state=State.ARCHIVING), sealed, MOVED))
    assert counts.of("invoices") == Load(3, 2 * UNSEALED + 2_500)
    assert counts.of("letters") == Load(1, UNSEALED)
    assert counts.spool_bytes() == 3 * UNSEALED + 2_500
    _ends(counts, 1)
    assert counts.of("invoices") == Load(2, 2 * UNSEALED)
    counts.drop(_document(0).id)
    counts.drop(_document(0).id)
    assert counts.of("invoices") == Load(1, UNSEALED)
    assert counts.spool_bytes() == 2 * UNSEALED


def test_no_sealed_pdf_is_expected_of_what_is_given_back() -> None:
    """A rejected document takes no more room than its original, as long as that waits for its folder."""
    counts = UnderWay()
    counts.add(_document(1))
    counts.recorded(Step(_document(1), _document(1, state=State.REJECTED), MOVED))
    assert counts.of("invoices") == Load(1, 1_000)


def test_what_is_told_late_does_not_bring_back_what_has_ended() -> None:
    """A worker may tell of a move when another has told of the document's end; one that is tried again is back."""
    counts = UnderWay()
    counts.add(_document(1))
    _ends(counts, 1)
    counts.recorded(Step(_document(1, state=State.ARCHIVING), _document(1, state=State.SEALED), MOVED))
    assert counts.of("invoices") == Load()
    retried = _document(1, state=State.RETRYING)
    counts.recorded(Step(retried, replace(retried, state=State.SUBMITTING), MOVED))
    assert counts.of("invoices") == Load(1, UNSEALED)


def test_what_the_last_run_left_counts(ledger: Ledger) -> None:
    """Also a document that has only to be given back; not one that is at its end."""
    ledger.add(_document(1, sealed_size_bytes=500), MOVED)
    ledger.add(_document(2, state=State.FAILED), MOVED)
    ledger.add(_document(3, state=State.DELIVERED, due_at=None), MOVED)
    counts = UnderWay()
    counts.load(ledger.under_way())
    assert counts.of("invoices") == Load(2, 2_500)
    assert counts.spool_bytes() == 2_500


def _file(folder: Path) -> Path:
    """Return a file that stands in the folder."""
    path = folder / "waits.pdf"
    path.touch()
    return path


def test_what_found_no_room_and_is_gone_keeps_nothing_out(tmp_path: Path, troubles: Troubles) -> None:
    """A file that was too large for what is under way holds up smaller ones only while it is there."""
    turn, counts = _turn(tmp_path, troubles, "in_flight_mib = 20")
    counts.add(_document(1, 6 * MIB))
    assert turn.keeps_out(_file(tmp_path), 20 * MIB)
    assert turn.must_be_waited_for()
    _file(tmp_path).unlink()
    assert not turn.must_be_waited_for()
    assert not turn.keeps_out(_file(tmp_path), 1 * MIB)


def test_what_an_earlier_configuration_told_of_its_limits_is_forgotten(tmp_path: Path, troubles: Troubles) -> None:
    """After a reload with a higher limit, status no longer has the lower one."""
    turn, counts = _turn(tmp_path, troubles, "in_flight_documents = 1")
    counts.add(_document(1))
    assert turn.keeps_out(_file(tmp_path), 1_000)
    assert "limit 1" in troubles.present()[0].text
    reloaded, _ = _turn(tmp_path, troubles, "in_flight_documents = 20")
    assert not reloaded.must_be_waited_for()
    assert troubles.present() == ()


def test_it_is_waited_until_some_may_be_taken_together(
    tmp_path: Path, troubles: Troubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit nothing is taken until there is room for several; status has it, as no trouble, until it is low."""
    monkeypatch.setattr(underway, "SPARE", 3)
    turn, counts = _turn(tmp_path, troubles, "in_flight_documents = 20")
    for number in range(20):
        assert not turn.must_be_waited_for()
        assert not turn.keeps_out(_file(tmp_path), 1_000)
        counts.add(_document(number))
    assert turn.keeps_out(_file(tmp_path), 1_000)
    (told,) = troubles.present()
    assert told.text == "taking over waits: 20 documents are under way (limit 20)"
    assert told.is_pressure
    for number in range(3):
        assert turn.must_be_waited_for()
        assert turn.keeps_out(_file(tmp_path), 1_000)
        _ends(counts, number)
    assert turn.must_be_waited_for()
    _ends(counts, 3)
    assert not turn.must_be_waited_for()
    assert not turn.keeps_out(_file(tmp_path), 1_000)
    assert troubles.present() == (told,)
    for number in range(4, 10):
        _ends(counts, number)
    assert not turn.must_be_waited_for()
    assert troubles.present() == ()


def test_bytes_count_and_what_is_too_large_goes_alone(tmp_path: Path, troubles: Troubles) -> None:
    """What does not fit is passed by nothing smaller; and larger than all may be, it goes when nothing else does.

    So a limit that is less than the folder's largest document keeps none of them in inbound for ever.
    """
    limits = "in_flight_mib = 20\n[folders.invoices.validation]\nmax_mib = 100"
    turn, counts = _turn(tmp_path, troubles, limits)
    counts.add(_document(1, 6 * MIB))
    assert not turn.keeps_out(_file(tmp_path), 3 * MIB)
    assert turn.keeps_out(_file(tmp_path), 100 * MIB)
    assert "would take 212 MiB (limit 20 MiB)" in troubles.present()[0].text
    assert turn.keeps_out(_file(tmp_path), 1)
    assert turn.must_be_waited_for()
    _ends(counts, 1)
    assert not turn.must_be_waited_for()
    assert not turn.keeps_out(_file(tmp_path), 100 * MIB)


def _two_turns(place: Path, troubles: Troubles) -> tuple[Turn, Turn, UnderWay]:
    """Return the turns of two folders whose documents may take 40 MiB together, and what is under way."""
    letters = '[folders.letters]\naccount = "main"\ninbound = "in2"\noutbound = "out"\nrejected = "r"\nfailed = "f"'
    invoices, counts = _turn(place, troubles, letters, "spool_mib = 40")
    return invoices, Turn("letters", load(place / "sealdrop.toml"), counts, troubles), counts


def test_the_spool_has_a_limit_over_all_folders(tmp_path: Path, troubles: Troubles) -> None:
    """At it both folders wait, and say so as no trouble; each goes on by itself, and says that when there is room."""
    invoices, letters, counts = _two_turns(tmp_path, troubles)
    assert not invoices.must_be_waited_for()
    assert not letters.must_be_waited_for()
    counts.add(_document(1, 8 * MIB))
    counts.add(_document(2, 8 * MIB, folder="letters"))
    assert not invoices.keeps_out(_file(tmp_path), 3 * MIB)
    counts.add(_document(3, 3 * MIB))
    assert invoices.keeps_out(_file(tmp_path), 3 * MIB)
    assert letters.keeps_out(_file(tmp_path), 3 * MIB)
    first, second = troubles.present()
    assert first.is_pressure
    assert second.is_pressure
    assert first.text.endswith("the spool would hold 44 MiB of all folders (limit 40 MiB)")
    assert invoices.must_be_waited_for()
    _ends(counts, 3)
    assert not invoices.must_be_waited_for()
    assert not invoices.keeps_out(_file(tmp_path), 3 * MIB)
    assert len(troubles.present()) == 2
    invoices.give_back()
    _ends(counts, 1)
    assert not invoices.must_be_waited_for()
    assert not letters.must_be_waited_for()
    assert troubles.present() == ()


def test_no_folder_is_kept_out_of_the_spool_by_what_others_leave_there(tmp_path: Path, troubles: Troubles) -> None:
    """One document of each folder goes whatever its size, though the spool is full of others' that do not get on."""
    invoices, letters, counts = _two_turns(tmp_path, troubles)
    for number in range(3):
        counts.add(_document(number, 10 * MIB))
    assert not letters.keeps_out(_file(tmp_path), 100 * MIB)
    counts.add(_document(7, 100 * MIB, folder="letters"))
    assert letters.keeps_out(_file(tmp_path), 1)
    assert invoices.keeps_out(_file(tmp_path), 1)


def test_a_folder_that_has_nothing_under_way_is_not_said_to_wait(tmp_path: Path, troubles: Troubles) -> None:
    """However much of the spool others hold, for days perhaps: it found room for all that it was told to wait with."""
    _, letters, counts = _two_turns(tmp_path, troubles)
    letters.must_be_waited_for()
    counts.add(_document(1, 13 * MIB))
    counts.add(_document(2, 5 * MIB, folder="letters"))
    assert letters.keeps_out(_file(tmp_path), 5 * MIB)
    ended = _document(2, folder="letters", state=State.VERIFIED)
    counts.recorded(Step(ended, replace(ended, state=State.DELIVERED, due_at=None), MOVED))
    assert not letters.must_be_waited_for()
    assert not letters.is_pressed


def test_two_folders_do_not_take_the_same_room(tmp_path: Path, troubles: Troubles) -> None:
    """What one folder is copying counts for the other; it counts once when it is copied, and not if it came to none."""
    invoices, letters, counts = _two_turns(tmp_path, troubles)
    counts.add(_document(1, 4 * MIB))
    counts.add(_document(2, 4 * MIB, folder="letters"))
    assert not invoices.keeps_out(_file(tmp_path), 8 * MIB)
    assert letters.keeps_out(_file(tmp_path), 8 * MIB)
    invoices.give_back()
    assert not letters.must_be_waited_for()
    assert not letters.keeps_out(_file(tmp_path), 8 * MIB)
    before = counts.spool_bytes()
    counts.add(_document(3, 8 * MIB, folder="letters"))
    assert counts.spool_bytes() == before


def test_little_is_taken_ahead_of_what_is_examined(
    tmp_path: Path, troubles: Troubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While enough waits to be inspected or to be verified, there is no use in more; then several are taken."""
    monkeypatch.setattr(underway, "RECEIVED_EACH", 4)
    monkeypatch.setattr(underway, "SEALED_EACH", 2)
    turn, counts = _turn(tmp_path, troubles, "")
    assert turn.number() == 4
    for number in range(4):
        counts.add(_document(number))
    assert turn.number() == 0
    counts.recorded(Step(_document(0), _document(0, state=State.VALIDATED), MOVED))
    assert turn.number() == 0
    counts.recorded(Step(_document(1), _document(1, last_error="it waits for an earlier one"), None))
    assert turn.number() == 2
    for number in range(3):
        assert turn.number() == 2
        counts.recorded(Step(_document(number, state=State.ARCHIVING), _document(number, state=State.SEALED), MOVED))
    assert turn.number() == 0
    for number in range(2):
        assert turn.number() == 0
        sealed = _document(number, state=State.SEALED)
        counts.recorded(Step(sealed, replace(sealed, attempts=1), None))
    counts.drop(_document(2).id)
    assert turn.number() == 3
    assert troubles.present() == ()


def test_what_is_sealed_is_not_waited_for_after_its_end(tmp_path: Path, troubles: Troubles) -> None:
    """That it was sealed may be told when it has come to its end."""
    turn, counts = _turn(tmp_path, troubles, "")
    free = turn.number()
    counts.add(_document(1))
    _ends(counts, 1)
    counts.recorded(Step(_document(1, state=State.ARCHIVING), _document(1, state=State.SEALED), MOVED))
    assert counts.unexamined("invoices", State.SEALED) == 0
    assert turn.number() == free


def test_files_wait_in_inbound_and_none_is_forgotten(tmp_path: Path) -> None:
    """No more is taken than may be under way, whatever is looked at together; all of it comes in its turn."""
    folder = "settle_s = 0.05\nsweep_s = 3600\nin_flight_documents = 3"
    with intake(tmp_path, folder=folder) as running:
        for number in range(8):
            (running.inbound / f"{number}.pdf").write_bytes(b"%%PDF-1.7\nnumber %d\n%%%%EOF\n" % number)
        running.worker.sweep()
        running.worker.start()
        for ended in range(8):
            until(lambda ended=ended: len(running.taken) == min(ended + 3, 8))
            until(lambda ended=ended: len(list(running.inbound.iterdir())) == max(5 - ended, 0))
            running.under_way.drop(running.taken[ended].id)
        until(lambda: bool(running.log.events("taking_over_goes_on")))
    assert {each.name for each in running.taken} == {f"{number}.pdf" for number in range(8)}
    (waits,) = running.log.events("taking_over_waits")
    assert waits["level"] == "info"


def test_what_is_not_taken_after_all_keeps_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that was set apart for a file that goes away while it is copied is there for other folders at once."""
    with intake(tmp_path, folder="settle_s = 0.05\nsweep_s = 3600", service="spool_mib = 10") as running:
        path = running.inbound / "a.pdf"
        path.write_bytes(b"%PDF-1.7\n%%EOF\n")
        apart: list[int] = []

        def go(*_: object, **__: object) -> None:
            apart.append(running.under_way.spool_bytes())
            path.unlink()
            raise FileNotFoundError(path)

        monkeypatch.setattr("sealdrop.daemon.inbound.intake.take", go)
        monkeypatch.setattr("sealdrop.daemon.inbound.TROUBLED_SLEEP_S", 0.01)
        running.worker.start()
        running.worker.sweep()
        until(lambda: bool(apart) and running.under_way.spool_bytes() == 0)
        assert apart[0] > SEAL_BYTES


def test_what_could_not_be_put_on_record_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that fails now and then does not use the limit up."""
    with intake(tmp_path, folder="settle_s = 0.05\nsweep_s = 3600\nin_flight_documents = 1") as running:
        (running.inbound / "a.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
        failed = list[Load]()
        received = running.worker._recorder.received

        def failing(documents: list[Document]) -> None:
            if len(failed) < 2:
                failed.append(running.under_way.of("invoices"))
                raise Retryable("the disk is full")
            received(documents)

        monkeypatch.setattr(running.worker._recorder, "received", failing)
        monkeypatch.setattr("sealdrop.daemon.inbound.TROUBLED_SLEEP_S", 0.01)
        running.worker.start()
        running.worker.sweep()
        until(lambda: len(running.taken) == 1)
        assert [load.documents for load in failed] == [1, 1]
        assert running.under_way.of("invoices").documents == 1
