"""What `sealdrop status` makes of many folders in many states, in terminals of several widths."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from documents import document
from sealdrop.audit.chain import link
from sealdrop.cli.status import _overview, _table
from sealdrop.clock import SystemClock
from sealdrop.config import load
from sealdrop.ledger.store import Ledger
from sealdrop.model import DocumentId, Event, Hold, State, Trouble
from unit_config import CONFIG

FOLDERS = ("invoices", "contracts-with-suppliers-abroad", "payslips")


def shown(counts: dict[str, dict[State, int]], width: int) -> str:
    """Return the table in a terminal of that width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(_table(counts, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 250])
def test_every_folder_state_and_number_can_be_read(width: int) -> None:
    """Where columns have no room there is a line for each state; nothing is cut short, and nothing is too wide."""
    counts = {name: {state: 1_000_000 + number for number, state in enumerate(State)} for name in FOLDERS}
    text = shown(counts, width)
    for word in (*FOLDERS, *State):
        assert word in text
    assert all(text.count(str(1_000_000 + number)) == len(FOLDERS) for number in range(len(State)))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert (len(text.splitlines()) > 20) == (width < 250)


def test_what_is_held_hides_nothing_and_waits_for_no_account(tmp_path: Path) -> None:
    """The oldest that is not held is named, and an account's trouble counts only what it holds up."""
    path = tmp_path / "sealdrop.toml"
    path.write_text(CONFIG)
    config, clock = load(path), SystemClock()
    now, out = clock.now(), io.StringIO()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        for number in range(4):
            held = {"hold": Hold.WINDOW, "due_at": now + timedelta(hours=9)} if number < 3 else {"due_at": now}
            name, received_at = f"{number}.pdf", now - timedelta(hours=9 - number)
            more = {"name": name, "received_at": received_at, "state": State.VALIDATED, **held}
            ledger.add(document(id=DocumentId(f"20261123-{number:016x}"), **more), Event("document_received"))
        ledger.troubled("host", Trouble("account main create", now, "it is down"))
        _overview(config, ledger, Console(file=out, width=200), as_json=False)
    told = out.getvalue()
    assert "1 document waits for it." in told
    assert "invoices: it is outside the folder's hours, 3 documents wait until" in told
    assert "'3.pdf' (20261123-0000000000000003) waits longest" in told
