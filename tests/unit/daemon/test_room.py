"""Room on the state directory's file system."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from documents import FakeClock
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.checks.space import MIN_FREE_FILES
from sealdrop.daemon.room import Room
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger

MIB = 1 << 20


@pytest.fixture
def troubles(tmp_path: Path) -> Iterator[Troubles]:
    """The troubles of a host, on a real ledger."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Troubles("host", ledger, clock, KeptLog())


@pytest.mark.parametrize(
    ("free_mib", "files", "free_files", "lacks"),
    [
        (100, 0, 0, False),  # a file system that makes room for names as it needs it
        (100, 1_000, MIN_FREE_FILES, False),
        (100, 1_000, MIN_FREE_FILES - 1, True),
        (26, 0, 0, False),
        (25, 0, 0, True),
    ],
)
def test_bytes_and_names_both_count(
    tmp_path: Path,
    troubles: Troubles,
    monkeypatch: pytest.MonkeyPatch,
    free_mib: int,
    files: int,
    free_files: int,
    lacks: bool,
) -> None:
    """What is needed must leave the reserve, which is for everything that goes on."""
    status = SimpleNamespace(f_bavail=free_mib, f_frsize=MIB, f_files=files, f_favail=free_files)
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    assert (Room(tmp_path, 16, troubles).lacks(10 * MIB) is not None) is lacks
    assert Room(tmp_path, 0, troubles).lacks(10 * MIB) is None


def test_it_is_over_when_nobody_waits_any_more(tmp_path: Path, troubles: Troubles) -> None:
    """With two folders waiting, one that has room again does not end the other's trouble."""
    room = Room(tmp_path, 16, troubles)
    room.wanted("invoices", "too little")
    room.wanted("contracts", "too little")
    room.enough("invoices")
    assert [trouble.subject for trouble in troubles.present()] == ["state_dir"]
    room.enough("contracts")
    assert troubles.present() == ()
