"""What the tests of the daemon's parts share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import FakeClock
from sealdrop.audit.chain import link
from sealdrop.ledger.store import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as opened:
        yield opened
