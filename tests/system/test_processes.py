"""The real programs as processes: started, signalled, restarted."""

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from programs import SEALDROP, program
from running import PATIENCE_S, drop, leftovers, quicken, sha256, stored, unique
from sealdrop.config import Config, load
from sealdrop.model import State
from sealdrop.sandbox import samples

DOCUMENTS = 10


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for a sandbox."""
    return tmp_path / "sandbox"


def _config(directory: Path) -> Config:
    quicken(directory / "sealdrop.toml")
    return load(directory / "sealdrop.toml")


def _entries(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_in_the_middle_and_a_restart_finishes(
    directory: Path, number: signal.Signals
) -> None:
    """One SIGTERM or SIGINT ends the service with 0 while documents are under way; the next run finishes them."""
    drops = [unique(samples.invoice(), each) for each in range(DOCUMENTS)]
    with program("sandbox", "--dir", directory) as sandbox:
        assert "ready: https://localhost:" in sandbox.wait_for("ready")
        config = _config(directory)
        with program("run", "--config", directory / "sealdrop.toml") as first:
            first.wait_for("service_started")
            for each, content in enumerate(drops):
                drop(content, config.folders["invoices"].inbound, f"{each}.pdf")
            first.wait_for("seal_intended")
            assert first.end(number) == 0
        lines = [json.loads(line) for line in first.lines]
        assert {"event", "level", "at"} <= lines[0].keys()
        with program("run", "--config", directory / "sealdrop.toml") as second:
            second.wait_for("service_started")
            with stored(config) as ledger:
                while ledger.counts().get("invoices", {}).get(State.DELIVERED, 0) < DOCUMENTS:
                    second.wait_for("document_delivered")
            assert second.end(signal.SIGTERM) == 0
        assert sandbox.end(signal.SIGTERM) == 0
    once = Counter(sha256(content) for content in drops)
    assert Counter(entry["sha256"] for entry in _entries(directory / "seals.jsonl")) == once
    assert Counter(entry["sha256"] for entry in _entries(directory / "deposits.jsonl")) == once
    assert leftovers(config) == []


def test_no_process_is_left_behind(directory: Path) -> None:
    """After a stop none of the service's child processes lives on."""
    with program("sandbox", "--dir", directory, "--json") as sandbox:
        ready = json.loads(sandbox.wait_for("ready"))
        assert ready["configuration"] == str(directory / "sealdrop.toml")
        config = _config(directory)
        with program("run", "--config", directory / "sealdrop.toml") as running:
            running.wait_for("service_started")
            drop(samples.invoice(), config.folders["contracts"].inbound, "one.pdf")
            running.wait_for("document_delivered")
            children = _children(running.process.pid)
            assert children
            assert running.end(signal.SIGTERM) == 0
        # They end with the service, each in its own time.
        deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while (alive := [child for child in children if _is_alive(child)]) and time.monotonic() < deadline:
            pause.wait(0.05)
        assert not alive


def _children(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").iterdir():
            children = [int(child) for child in (task / "children").read_text().split()]
            found += children
            waiting += children
    return found


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_demonstration_does_what_it_says(tmp_path: Path) -> None:
    """`sealdrop demo --once` ends with 0, and the files that it names are there."""
    environment = {**os.environ, "COLUMNS": "120"}
    ended = subprocess.run(
        [SEALDROP, "demo", "--once", "--dir", tmp_path / "demo"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    named = [line.strip() for line in ended.stdout.splitlines() if line.startswith("  demo/") and "bound/" in line]
    assert len(named) == 6
    assert all((tmp_path / name).is_file() for name in named)
    assert "unbroken" in ended.stdout


def test_the_demonstration_in_json(tmp_path: Path) -> None:
    """With --json it prints one object that says of every sample whether it went as it should, and runs twice alike."""
    for _ in range(2):
        ended = subprocess.run(
            [SEALDROP, "demo", "--once", "--json", "--dir", tmp_path / "demo"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        content = json.loads(ended.stdout)
        assert [document["as_expected"] for document in content["documents"]] == [True] * 5
        assert content["audit"]["ok"]
