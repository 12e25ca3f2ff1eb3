"""What the ledger's tests share: a clock that stands still, documents, and an open ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from sealdrop.audit.chain import link
from sealdrop.ledger import Ledger
from sealdrop.model import Document, DocumentId, FileIdentity, Sha256, State

START = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
LINK = partial(link, node="host-1")

MakeDocument = Callable[..., Document]


@dataclass
class StoppedClock:
    """A clock that a test moves."""

    moment: datetime = START

    def now(self) -> datetime:
        """Return the moment that the test has set."""
        return self.moment

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self.moment - START).total_seconds()

    def pass_s(self, seconds: float) -> datetime:
        """Let time pass, and return the new moment."""
        self.moment += timedelta(seconds=seconds)
        return self.moment


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands at `START`."""
    return StoppedClock()


@pytest.fixture
def make_document() -> MakeDocument:
    """Makes documents that have just been received, each different; fields can be set."""
    numbers = count(1)

    def make(**fields: object) -> Document:
        number = next(numbers)
        plain = Document(
            id=DocumentId(f"20260301-{number:08x}{0:08x}"),
            node="host-1",
            account="main",
            folder="invoices",
            name=f"{number}.pdf",
            identity=FileIdentity(device=1, inode=number, size_bytes=10, mtime_ns=20),
            size_bytes=10,
            sha256=Sha256(f"{number:064x}"),
            state=State.RECEIVED,
            received_at=START + timedelta(seconds=number),
            updated_at=START,
            due_at=START,
        )
        return replace(plain, **fields)

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger of a test is."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, clock: StoppedClock) -> Iterator[Ledger]:
    """A new ledger."""
    with Ledger.open(path, link=LINK, clock=clock) as opened:
        yield opened
