"""What the audit trail's tests share: chains of records over several days, and how to write them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealdrop.audit import Trail
from sealdrop.audit.chain import link
from sealdrop.model import GENESIS, AuditHead, AuditRecord, Event

START = datetime(2026, 3, 1, 23, 0, 0, tzinfo=UTC)


def head_of(record: AuditRecord) -> AuditHead:
    """The head of a chain that ends with the record."""
    return AuditHead(record.seq, record.hash, record.at)


def chain_of(events: Iterable[tuple[datetime, str | None, Event]]) -> tuple[AuditRecord, ...]:
    """The records of these events, chained."""
    head, records = GENESIS, []
    for at, document, event in events:
        records.append(link(head, at, document, event, node="host-1"))
        head = head_of(records[-1])
    return tuple(records)


def expected_files(records: Iterable[AuditRecord]) -> dict[str, bytes]:
    """What the files must hold: each record's line in the file of its day."""
    files: dict[str, bytes] = {}
    for record in records:
        name = f"{record.at:%Y-%m-%d}.jsonl"
        files[name] = files.get(name, b"") + record.line.encode() + b"\n"
    return files


def read_files(directory: Path) -> dict[str, bytes]:
    """What the files hold."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def records() -> tuple[AuditRecord, ...]:
    """Nine records over four days, one of which has none."""
    hours = (0, 0.5, 0.9, 1, 2, 2, 49, 50, 72.5)
    return chain_of(
        (START + timedelta(hours=hour), f"doc-{number % 3}", Event("tick", {"number": number, "name": "été\n\u2028"}))
        for number, hour in enumerate(hours, start=1)
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a test's trail is."""
    return tmp_path / "state" / "audit"


@pytest.fixture
def written(directory: Path, records: tuple[AuditRecord, ...]) -> Path:
    """The directory, with all records written."""
    Trail.open(directory).append(records)
    return directory


Damage = Callable[[Path], None]
