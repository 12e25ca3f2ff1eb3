"""What other people wrote reaches an administrator's terminal as text."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_months import Happening, write_trail
from command import sealdrop
from sealdrop.cli.app import complain
from sealdrop.cli.verify import _seal_lines
from sealdrop.errors import Fatal
from sealdrop.events import EventName
from sealdrop.model import Event, SealCertificate, Verification

HOSTILE = "a\x1b]0;owned\x07\x1b[2K\x9b2J\u202egpj[bold].pdf"
SHOWN = r"a\x1b]0;owned\x07\x1b[2K\x9b2J\u202egpj[bold].pdf"
NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """The trail of one document whose name a terminal would obey."""
    received = Event(EventName.DOCUMENT_RECEIVED, {"folder": "invoices", "name": HOSTILE, "size_bytes": 1})
    happened: list[Happening] = [(NOON, "20261104-0123456789abcdef", received)]
    write_trail(tmp_path / "audit", happened)
    return tmp_path / "audit"


@pytest.mark.parametrize("asked", [("--event", "document_received"), ("--folder", "invoices")])
def test_a_name_in_the_trail_is_text(trail: Path, asked: tuple[str, str]) -> None:
    """Records and stories show what a terminal would obey, and obey it not."""
    told = sealdrop("audit", "show", "--dir", trail, *asked)
    assert SHOWN in told.out
    assert told.out.replace("\n", "").isprintable()


def test_a_name_in_a_folder_to_verify_is_text(tmp_path: Path) -> None:
    """What does not agree is told of a file by its name, as text."""
    (tmp_path / f"{HOSTILE}.receipt.json").write_text("{}")
    told = sealdrop("verify", tmp_path)
    assert told.code == 1
    assert SHOWN in told.out
    assert told.out.replace("\n", "").isprintable()


def test_a_certificate_and_a_file_to_verify_are_text() -> None:
    """Whoever made a certificate chose its words, and whoever sent a file its name."""
    certificate = SealCertificate(
        subject=HOSTILE,
        issuer=HOSTILE,
        serial="1",
        sha256="0" * 64,
        organisation=HOSTILE,
        not_before=NOON,
        not_after=NOON,
    )
    lines = list(_seal_lines(Path(HOSTILE), Path(HOSTILE), None, Verification((), certificate=certificate)))
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


def test_an_error_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A name in what went wrong is no command to the terminal either; its lines stay lines."""
    complain(Fatal(f"{HOSTILE}\nand more"))
    said = capsys.readouterr().err
    assert said == f"sealdrop: {SHOWN}\nand more\n"
