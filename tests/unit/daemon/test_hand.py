"""What a worker found out, and when it goes on record."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from documents import FakeClock, document
from sealdrop.daemon.hand import LONGEST_S, Hand, Outcome
from sealdrop.ledger.store import Step
from sealdrop.model import Document, DocumentId, Sha256


class Worker:
    """A worker with a hand, and what it has put on record: the numbers of each transaction's documents."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.recorded: list[list[int]] = []
        self.hand = Hand(self._record, self.clock)

    def work(self, number: int, took_s: float, content: str | None = None, *, looks_at_copies: bool = False) -> None:
        """Find something out of a document."""
        one = _document(number, content)
        self.hand.begin(one, looks_at_copies=looks_at_copies)
        self.clock.go(took_s)
        self.hand.take(one, Step(one, replace(one, attempts=1), None))

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        self.recorded.append([int(document.id[9:], 16) for document, _ in outcomes])


def _document(number: int, content: str | None = None) -> Document:
    sha256 = Sha256(f"{number:064x}" if content is None else content * 64)
    return document(id=DocumentId(f"20261123-{number:016x}"), sha256=sha256)


@pytest.fixture
def worker() -> Worker:
    """A worker that has done nothing yet."""
    return Worker()


def test_what_was_found_quickly_goes_on_record_together(worker: Worker) -> None:
    """Many short examinations make one transaction, in their order, and an empty hand makes none."""
    for number in range(4):
        worker.work(number, LONGEST_S / 10)
    assert worker.recorded == []
    worker.hand.empty()
    worker.hand.empty()
    assert worker.recorded == [[0, 1, 2, 3]]


def test_nothing_is_held_for_long(worker: Worker) -> None:
    """Once the first outcome is as old as may be, the next document has to wait, not that one."""
    for number in range(4):
        worker.work(number, LONGEST_S * 0.4)
    assert worker.recorded == [[0, 1, 2]]


def test_nothing_is_held_while_slow_work_is_done(worker: Worker) -> None:
    """Where the last document took long, so will the next, and what is in hand is recorded before."""
    worker.work(0, LONGEST_S * 100)
    worker.work(1, LONGEST_S * 100)
    worker.work(2, LONGEST_S / 10)
    assert worker.recorded == [[0], [1]]


def test_copies_are_looked_at_one_after_the_other(worker: Worker) -> None:
    """What was found of a content is on record before a document is worked on for which that matters."""
    worker.work(0, 0.0, "a")
    worker.work(1, 0.0, "b")
    worker.work(2, 0.0, "a")
    assert worker.recorded == []
    worker.work(3, 0.0, "c", looks_at_copies=True)
    assert worker.recorded == []
    worker.work(4, 0.0, "a", looks_at_copies=True)
    assert worker.recorded == [[0, 1, 2, 3]]
