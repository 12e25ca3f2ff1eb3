"""How long a document waits for what goes with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from documents import DIGEST, FakeClock
from intakes import CONFIG
from running import KeptLog
from sealdrop.config import load
from sealdrop.daemon.companions import Beside, Companions
from sealdrop.daemon.standing import Standing
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger
from sealdrop.model import CompanionKind, FileIdentity, Sha256
from sealdrop.spool import Spool

SETTLE, INCOMPLETE = 2.0, 60.0
GOOD, CUT, WRONG = b'{"reference": "a"}', b'{"reference": "a', b'{"refrence": "a"}'


@pytest.fixture
def made(tmp_path: Path, no_ledger: Ledger) -> Callable[[str], Companions]:
    """Return the companions of a folder with these keys."""

    def make(keys: str) -> Companions:
        (tmp_path / "in").mkdir()
        (tmp_path / "sealdrop.toml").write_text(CONFIG.format(service="", folder=keys))
        folder = load(tmp_path / "sealdrop.toml").folders["invoices"]
        spool = Spool(tmp_path / "spool")
        log = KeptLog()
        troubles = Troubles("host", no_ledger, FakeClock(), log)
        return Companions(folder, spool, Standing("invoices", folder.inbound, spool, no_ledger, troubles, log))

    return make


@pytest.fixture
def no_ledger() -> Ledger:
    """A ledger that nobody asks: nothing stands from before."""
    return object.__new__(Ledger)


def _look(companions: Companions, path: Path, seen: FileIdentity, now: float) -> Beside | float:
    return companions.look(path, seen, now, tell=lambda *_: None)


def _dropped(tmp_path: Path, name: str = "a.pdf") -> tuple[Path, FileIdentity]:
    path = tmp_path / "in" / name
    path.write_bytes(b"%PDF-1.7 %%EOF")
    return path, FileIdentity.of(path.stat())


@pytest.mark.parametrize(
    ("keys", "beside", "patience_s"),
    [
        ("", None, 0.0),
        ("", CUT, 0.0),
        ('sidecar = "optional"', None, SETTLE),
        ('sidecar = "optional"', GOOD, 0.0),
        ('sidecar = "optional"', CUT, INCOMPLETE),
        ('sidecar = "optional"', WRONG, 0.0),
        ('sidecar = "required"', None, INCOMPLETE),
        ('sidecar = "required"', GOOD, 0.0),
        ('sidecar = "required"\nchecksum = "optional"', GOOD, SETTLE),
        ('sidecar = "optional"\nchecksum = "required"', GOOD, INCOMPLETE),
    ],
)
def test_patience(
    tmp_path: Path, made: Callable[[str], Companions], keys: str, beside: bytes | None, patience_s: float
) -> None:
    """A document waits for what may yet come or be finished, exactly so long, and for nothing else."""
    companions = made(keys)
    path, seen = _dropped(tmp_path)
    if beside is not None:
        path.with_name("a.pdf.json").write_bytes(beside)
    if patience_s:
        assert _look(companions, path, seen, 100.0) == patience_s
        assert _look(companions, path, seen, 100.0 + patience_s - 0.5) == 0.5
    found = _look(companions, path, seen, 100.0 + patience_s)
    assert isinstance(found, Beside)
    assert set(found.found) == ({CompanionKind.SIDECAR} if beside is not None and keys else set())


def test_each_change_begins_the_wait_anew(tmp_path: Path, made: Callable[[str], Companions]) -> None:
    """A sidecar that grows is not finished; once it makes sense, nothing is waited for."""
    companions = made('sidecar = "required"')
    path, seen = _dropped(tmp_path)
    sidecar = path.with_name("a.pdf.json")
    assert _look(companions, path, seen, 0.0) == INCOMPLETE
    sidecar.write_bytes(CUT[:5])
    assert _look(companions, path, seen, 59.0) == INCOMPLETE
    sidecar.write_bytes(CUT)
    assert _look(companions, path, seen, 118.0) == INCOMPLETE
    sidecar.write_bytes(GOOD)
    assert isinstance(_look(companions, path, seen, 119.0), Beside)


def test_what_cannot_be_taken_is_waited_for_as_long_as_it_stands(
    tmp_path: Path, made: Callable[[str], Companions]
) -> None:
    """A link in the place of a sidecar is neither followed nor passed over."""
    companions = made('sidecar = "optional"')
    path, seen = _dropped(tmp_path)
    (tmp_path / "outside.json").write_bytes(GOOD)
    link = path.with_name("a.pdf.json")
    link.symlink_to(tmp_path / "outside.json")
    for now in (0.0, 1_000.0, 1_000_000.0):
        assert _look(companions, path, seen, now) == INCOMPLETE
    link.unlink()
    assert _look(companions, path, seen, 1_000_000.0) == SETTLE


@pytest.mark.parametrize("length", [247, 248, 250, 251, 255])
def test_a_name_with_no_room_for_the_endings_has_no_companions(
    tmp_path: Path, made: Callable[[str], Companions], length: int
) -> None:
    """Of a document whose name is so long that there can be no sidecar beside it, none is waited for without end."""
    companions = made('sidecar = "optional"\nchecksum = "optional"')
    path, seen = _dropped(tmp_path, "a" * (length - len(".pdf")) + ".pdf")
    assert _look(companions, path, seen, 0.0) == SETTLE
    assert _look(companions, path, seen, SETTLE) == Beside({})


def test_a_checksum_that_does_not_agree_is_waited_for(tmp_path: Path, made: Callable[[str], Companions]) -> None:
    """Another copy is made only when something has changed, or when it has stood still for the incomplete time."""
    companions = made('checksum = "optional"')
    path, seen = _dropped(tmp_path)
    path.with_name("a.pdf.sha256").write_text(DIGEST)
    beside = _look(companions, path, seen, 0.0)
    assert isinstance(beside, Beside)
    assert not companions.must_wait(path, beside, DIGEST, 0.0)
    assert companions.must_wait(path, beside, Sha256("00" * 32), 0.0)
    assert _look(companions, path, seen, 10.0) == INCOMPLETE - 10.0
    beside = _look(companions, path, seen, INCOMPLETE)
    assert isinstance(beside, Beside)
    assert not companions.must_wait(path, beside, Sha256("00" * 32), INCOMPLETE), "now it is the truth"


@pytest.mark.parametrize(
    ("keys", "name", "owner"),
    [
        ('sidecar = "optional"', "a.pdf.json", "a.pdf"),
        ('sidecar = "optional"', "a.PDF.json", "a.PDF"),
        ('sidecar = "optional"', "a.pdf.sha256", None),
        ('checksum = "required"', "a.pdf.sha256", "a.pdf"),
        ('sidecar = "optional"', "a.json", None),
        ('sidecar = "optional"', "a.pdf.receipt.json", None),
        ('sidecar = "optional"', "a.pdf.reason.json", None),
        ("", "a.pdf.json", None),
    ],
)
def test_whose_companion_a_file_is(
    tmp_path: Path, made: Callable[[str], Companions], keys: str, name: str, owner: str | None
) -> None:
    """Only what the folder takes, only beside what ends with .pdf, and none of our own records."""
    expected = None if owner is None else tmp_path / "in" / owner
    assert made(keys).document_of(tmp_path / "in" / name) == expected


def test_what_has_no_pdf_name_waits_for_nothing(tmp_path: Path, made: Callable[[str], Companions]) -> None:
    """It can have no companion, so none is missed while it stands in inbound."""
    companions = made('sidecar = "required"')
    path, seen = _dropped(tmp_path, "notes.txt")
    path.with_name("notes.txt.json").write_text(json.dumps({}))
    assert _look(companions, path, seen, 0.0) == Beside({})
