"""Writing down what happened, and copying it into the audit files."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from documents import FakeClock, document
from running import PATIENCE_S, KeptLog, until
from sealdrop.audit.check import verify_trail
from sealdrop.audit.trail import Trail
from sealdrop.daemon.recorder import Recorder, TrailWriter
from sealdrop.errors import Fatal, Retryable
from sealdrop.ledger.store import Ledger
from sealdrop.model import AuditHead, AuditRecord, Document, Event, Reason, State


@pytest.fixture
def recorder(ledger: Ledger) -> Recorder:
    """What writes to it."""
    return Recorder(ledger, FakeClock(), KeptLog(), on_stored=lambda _: None, on_record=lambda: None)


def test_what_is_received_is_told(ledger: Ledger) -> None:
    """A received document is in the ledger and its listeners, wakers and log know of it."""
    log, stored, told = KeptLog(), list[Document](), list[Event]()
    recorder = Recorder(ledger, FakeClock(), log, on_stored=stored.append, on_record=lambda: None)
    recorder.listen(lambda _, event: told.append(event))
    recorder.received([document()])
    assert ledger.get(document().id) == stored[0]
    assert [event.name for event in told] == ["document_received"]
    assert [line["event"] for line in log.lines] == ["document_received"]


def test_tries_count_until_the_state_changes(ledger: Ledger, recorder: Recorder) -> None:
    """A failed try counts and is remembered; a move to another state starts anew, one to the same state does not."""
    recorder.received([document()])
    (stored,) = recorder.commit([recorder.later(ledger.get(document().id) or document(), 5.0, Retryable("no"))])
    assert (stored.attempts, stored.last_error) == (1, "no")
    same = recorder.move(stored, State.RECEIVED, "x")  # type: ignore[arg-type]
    assert same.after.attempts == 1
    other = recorder.give_up(stored, State.REJECTED, Reason.EMPTY, "0 bytes")
    assert (other.after.attempts, other.after.last_error, other.after.reason) == (0, None, Reason.EMPTY)


def test_what_a_library_quotes_is_not_remembered(recorder: Recorder) -> None:
    """The text of an error that is not ours may hold a document; it is kept without, and short."""
    recorder.received([document()])
    quoted = RuntimeError(f"bad object in {'JVBERi0x' * 200} at %PDF-1.7 secret")
    step = recorder.later(document(), 5.0, quoted)
    assert step.after.last_error == "RuntimeError: bad object in [...] at [...]"


class HaltingTrail:
    """A trail whose disk is full for a while."""

    def __init__(self, trail: Trail, failures: int) -> None:
        self._trail = trail
        self.failures = failures
        self.written = threading.Event()
        self.appended: list[int] = []

    def append(self, records: Sequence[AuditRecord]) -> AuditHead:
        """Fail, or append."""
        if self.failures:
            self.failures -= 1
            raise Retryable("No space left on device")
        head = self._trail.append(records)
        self.appended.append(len(records))
        self.written.set()
        return head


def test_a_trail_that_cannot_be_written_is_tried_again_by_itself(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk delays the files; nobody need do anything for them to be completed."""
    monkeypatch.setattr(TrailWriter, "RETRY_S", 0.01)
    trail = HaltingTrail(Trail.open(tmp_path / "audit"), failures=3)
    log = KeptLog()
    writer = TrailWriter(ledger, trail, log, clock=FakeClock(), on_fatal=lambda _: None)  # type: ignore[arg-type]
    ledger.note(Event("service_started"))
    writer.start()
    assert trail.written.wait(PATIENCE_S)
    writer.stop(PATIENCE_S)
    assert len(log.events("worker_troubled")) == 3
    assert verify_trail(tmp_path / "audit").records == 1


def test_records_that_come_one_after_the_other_are_copied_together(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While documents are on their way, the files are flushed now and then, not for each step; a stop is not late."""
    monkeypatch.setattr(TrailWriter, "GATHER_S", 10 * PATIENCE_S)
    trail = HaltingTrail(Trail.open(tmp_path / "audit"), failures=0)
    writer = TrailWriter(ledger, trail, KeptLog(), clock=FakeClock(), on_fatal=lambda _: None)  # type: ignore[arg-type]
    ledger.note(Event("service_started"))
    writer.start()
    until(lambda: (at := writer.progress.judged()[1]) is not None and at.what == "more records", "the first copied")
    for _ in range(3):
        ledger.note(Event("service_started"))
        writer.wake()
    writer.stop(PATIENCE_S)
    assert trail.appended == [1, 3]


def test_a_trail_that_cannot_be_trusted_ends_the_service(ledger: Ledger) -> None:
    """Files that do not fit the ledger are reported, once, and nothing more is written."""

    class WrongTrail:
        def append(self, _: Sequence[AuditRecord]) -> AuditHead:
            raise Fatal("does not fit")

    reported: list[BaseException] = []
    ended = threading.Event()

    def on_fatal(error: BaseException) -> None:
        reported.append(error)
        ended.set()

    writer = TrailWriter(ledger, WrongTrail(), KeptLog(), clock=FakeClock(), on_fatal=on_fatal)  # type: ignore[arg-type]
    ledger.note(Event("service_started"))
    writer.start()
    assert ended.wait(PATIENCE_S)
    writer.stop(PATIENCE_S)
    assert [str(error) for error in reported] == ["does not fit"]
