"""What is done in a jail has its libraries there, and nowhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pdfs
from seal_pdfs import make_pdf
from seal_pki import make_pki
from sealdrop.config import Validation
from sealdrop.model import SealLevel, Verdict
from sealdrop.pdf import jobs
from sealdrop.pdf.jail import Jail, JailLimits
from seals import expect, seal

FOR_PDFS = {"pypdf", "pyhanko", "pyhanko_certvalidator", "asn1crypto"}
FOR_VISIBLE_SEALS = {"PIL", "reportlab"}
LOADED = "sorted(__import__('sys').modules)"


def _loaded_by(program: str) -> set[str]:
    """Return the modules that are there in a new process once it has run ``program``."""
    told = subprocess.run(
        [sys.executable, "-c", f"import json, sys; {program}; print(json.dumps(sorted(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(told.stdout))


def test_the_service_loads_no_library_for_pdfs() -> None:
    """Neither the command line nor the daemon can open a PDF by mistake, or holds what only its children need."""
    loaded = _loaded_by("import sealdrop.__main__; from sealdrop.cli import check, demo, run, sandbox, status, verify")
    assert "sealdrop.daemon.service" in loaded
    assert not loaded & FOR_PDFS
    assert not loaded & FOR_VISIBLE_SEALS


def test_a_child_loads_no_commands() -> None:
    """Each child imports the program that the service was started by, which is next to nothing."""
    loaded = _loaded_by("import sealdrop.cli")
    assert {name for name in loaded if name.startswith("sealdrop")} == {"sealdrop", "sealdrop.cli"}
    assert "typer" not in loaded


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    """A jail of one child, which may read the test's folder."""
    return Jail(1, JailLimits(wall_s=60.0), readable=[tmp_path])


def test_children_share_all_that_they_need(jail: Jail, tmp_path: Path) -> None:
    """All was loaded before the child began: it imports nothing for its first documents, and collects nothing of it."""
    pdf, original, sealed, anchor = make_pdf(), tmp_path / "original", tmp_path / "sealed", tmp_path / "anchor"
    original.write_bytes(pdfs.pdfa())
    sealed.write_bytes(seal(pdf, SealLevel.LTA))
    anchor.write_bytes(make_pki().root.pem)
    with jail:
        before = jail.run(eval, LOADED)
        assert set(before) > FOR_PDFS
        assert jail.run(jobs.inspect, original, Validation()).verdict is Verdict.ACCEPT
        report = jail.run(jobs.verify_seal, sealed, expect(pdf, anchor, level=SealLevel.LTA))
        assert report.first_failure is None
        assert len(jail.run(jobs.describe_anchors, [anchor])) == 1
        assert jail.run(eval, LOADED) == before
        assert jail.run(eval, "__import__('gc').get_freeze_count()") > 10_000
