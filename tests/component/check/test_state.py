"""What can be wrong with the ledger, the audit trail and the configuration: seen by `check`, and by the service."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from checking import Scene
from command import sealdrop
from running import KeptLog
from sealdrop.checks.findings import Condition, Mark
from sealdrop.checks.state import running_on
from sealdrop.daemon import Daemon
from sealdrop.ledger import health
from sealdrop.ledger.schema import SCHEMA_VERSION


def _days(scene: Scene) -> Path:
    (day,) = scene.config().service.audit_folder.iterdir()
    return day


def test_what_a_run_left(scene: Scene) -> None:
    """Ledger and trail are looked over and compared, and nothing is changed by that."""
    scene.run_once()
    checked = scene.check()
    assert checked.bad() == set(), checked.ended.out
    found = {each["what"]: each["text"] for each in checked.findings}
    assert f"whole, version {SCHEMA_VERSION}" in found["file"]
    assert "whole: 2 records in 1 file, the end as the ledger has it" in found["files"]
    assert found["running"] == "no service runs on it now"


def test_a_running_service_is_not_disturbed(scene: Scene) -> None:
    """While the service runs, it is named, its ledger can be read, and it keeps its lock."""
    daemon = Daemon(scene.config(), KeptLog())
    daemon.start()
    try:
        # Not `scene.check`: the service may write meanwhile.
        assert running_on(scene.state) == os.getpid()
        ended = sealdrop("check", "--offline", "--json", "--config", scene.config_path)
        found = {(each["subject"], each["what"]): each for each in ended.json()["findings"]}
        assert found["service", "running"]["text"] == f"a service runs on it, process {os.getpid()}"
        assert found["ledger", "file"]["mark"] == Mark.OK
        assert ended.code == 0
        assert "another sealdrop is running" in scene.refusal()
    finally:
        daemon.stop()
    assert daemon.stopped_by is None
    assert running_on(scene.state) is None


def test_a_damaged_ledger(scene: Scene) -> None:
    """Bytes changed within its pages are found, as at the start."""
    scene.run_once(documents=40)
    path = scene.config().service.ledger_path
    content = bytearray(path.read_bytes())
    page = 4096
    content[2 * page : 2 * page + 200] = b"\xff" * 200
    path.write_bytes(content)
    found = scene.check().has(Condition.LEDGER_BROKEN)
    assert "is damaged" in found["text"]
    assert "is damaged" in scene.refusal()


def test_another_file_in_the_ledgers_place(scene: Scene) -> None:
    """What is no database, and a database of another program."""
    path = scene.config().service.ledger_path
    path.write_text("this is not a database, whatever its name says" * 100)
    assert scene.check().has(Condition.LEDGER_BROKEN)["run_refuses"]
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")
    assert "not sealdrop's" in scene.check().has(Condition.LEDGER_BROKEN)["text"]
    assert "not sealdrop's" in scene.refusal()


@pytest.mark.parametrize(("version", "condition"), [(99, Condition.LEDGER_TOO_NEW), (2, Condition.LEDGER_OLDER)])
def test_a_ledger_of_another_sealdrop(scene: Scene, version: int, condition: Condition) -> None:
    """A newer one is refused, an older one will be brought forward."""
    scene.run_once()
    with closing(sqlite3.connect(scene.config().service.ledger_path)) as database:
        database.execute("UPDATE schema_version SET version = ?", (version,))
        database.commit()
    found = scene.check().has(condition)
    assert f"version {version}" in found["text"]
    assert found["run_refuses"] == (condition is Condition.LEDGER_TOO_NEW)
    if found["run_refuses"]:
        assert "version 99" in scene.refusal()


def test_a_large_ledger_is_not_read_whole(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take minutes, and the check says that it did not."""
    scene.run_once()
    monkeypatch.setattr(health, "QUICK_CHECK_BYTES", 1)
    assert scene.check().has(Condition.LEDGER_LARGE)["mark"] == Mark.NOT_CHECKED


@pytest.mark.parametrize("missing", ["folders", "accounts"])
def test_documents_that_wait_for_what_is_gone(scene: Scene, missing: str) -> None:
    """A folder or an account was renamed while documents of it wait."""
    scene.run_once()
    if missing == "folders":
        scene.renamed = {"[folders.invoices": "[folders.bills"}
    else:
        scene.renamed = {"[accounts.main]": "[accounts.first]", 'account = "main"': 'account = "first"'}
    found = scene.check().has(Condition.DOCUMENTS_STRANDED)
    assert f"{missing}." in found["text"]
    assert "wait" in scene.refusal()


class TestTrail:
    """The trail of a run, tampered with."""

    def test_an_edited_record(self, scene: Scene) -> None:
        """It is found with file and line; the service itself looks at the end only, and starts."""
        scene.run_once()
        day = _days(scene)
        day.write_bytes(day.read_bytes().replace(b"host", b"hosu", 1))
        found = scene.check().has(Condition.TRAIL_BROKEN)
        assert f"{day.name} line 1:" in found["text"]
        assert (found["mark"], found["run_refuses"]) == (Mark.FAILURE, False)
        scene.starts()

    def test_a_cut_off_end(self, scene: Scene) -> None:
        """The ledger knows what was in the files; the service does not start with less."""
        scene.run_once()
        day = _days(scene)
        day.write_bytes(day.read_bytes().splitlines(keepends=True)[0])
        assert "was cut off" in scene.check().has(Condition.TRAIL_BROKEN)["text"]
        assert "do not belong together" in scene.refusal()

    def test_no_trail_at_all(self, scene: Scene) -> None:
        """The folder is gone, while the ledger knows of records."""
        scene.run_once()
        shutil.rmtree(scene.config().service.audit_folder)
        assert scene.check().has(Condition.TRAIL_MISSING)["run_refuses"]
        assert "do not belong together" in scene.refusal()

    def test_left_out(self, scene: Scene) -> None:
        """--no-audit says that nobody looked."""
        scene.run_once()
        assert scene.check("--no-audit").has(Condition.TRAIL_SKIPPED)["mark"] == Mark.NOT_CHECKED


class TestConfiguration:
    """What is wrong with the file itself."""

    def test_every_fault_is_told(self, scene: Scene) -> None:
        """A configuration that cannot be used: each fault is a finding, and the exit code says so."""
        scene.set("service", "grace_s = -1\nnonsense = 1")
        checked = scene.check()
        assert checked.ended.code == 78
        faults = [each["text"] for each in checked.findings if each["condition"] == Condition.CONFIGURATION_FAULTY]
        assert len(faults) == 2
        assert any("service.nonsense: unknown key" in fault for fault in faults)

    def test_no_file(self, scene: Scene) -> None:
        """A configuration that is not there."""
        ended = sealdrop("check", "--config", scene.root / "none.toml")
        assert ended.code == 78
        assert "cannot be read" in ended.out

    def test_a_pattern_that_takes_other_faults_for_an_unknown_request(self, scene: Scene) -> None:
        """With it a document would be sent twice, so the service does not start."""
        scene.set("accounts.main", "unknown_request_pattern = '(unknown|not found)'")
        assert "also matches 'unknown error'" in scene.check().has(Condition.PATTERN_TOO_WIDE)["text"]
        assert "sealed twice" in scene.refusal()
        scene.more["accounts.main"] = "unknown_request_pattern = '^request unknown$'"
        assert scene.check().bad() == set()

    def test_for_people(self, scene: Scene) -> None:
        """Without --json there is a line for each finding, and below a failure what to do."""
        scene.folder("failed").rmdir()
        ended = sealdrop("check", "--offline", "--config", scene.config_path)
        assert ended.code == 1
        lines = [line.strip() for line in ended.out.splitlines()]
        at = next(number for number, line in enumerate(lines) if line.startswith("✗ failed"))
        assert lines[at].endswith(f"there is no folder {scene.folder('failed')}")
        assert lines[at + 1].startswith("→ Create it for the service's user")
        assert lines[-1].startswith("The service would not start like this: 1 failure")
