"""Many files at once and many that wait already: how soon the first is delivered, how fast they are taken, in how much.

The long form is run by hand, with the numbers in SEALDROP_NUMBERS, as "1000 20000 100000"; it prints what it measured
and claims only what must always hold.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from running import quicken, stored, unique, until
from sealdrop.config import load
from sealdrop.sandbox import samples

SEALDROP = Path(sys.executable).with_name("sealdrop")
NUMBERS = [int(number) for number in os.environ.get("SEALDROP_NUMBERS", "").split()]
BOUND_MIB = 400  # whatever the number


def _pss_mib(process: int) -> float:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Memory(threading.Thread):
    """Looks at the memory that a process uses, and keeps the most that it saw."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.most_mib = 0.0
        self._process = process
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(0.25):
            self.most_mib = max(self.most_mib, _pss_mib(self._process))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def _drop(invoice: bytes, inbound: Path, number: int) -> None:
    for each in range(number):
        (inbound / f"{each}.pdf").write_bytes(unique(invoice, each))


@pytest.mark.skipif(not NUMBERS, reason="takes minutes: set SEALDROP_NUMBERS, as in its docstring")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("when", ["there at the start", "dropped at once"])
@pytest.mark.parametrize("number", NUMBERS or [0])
def test_every_one_of_many_files_is_taken(tmp_path: Path, number: int, when: str) -> None:
    """Every file is taken over, once; the first is delivered within seconds; memory does not grow with the number."""
    directory, invoice = tmp_path / "sandbox", samples.invoice()
    config_path = directory / "sealdrop.toml"
    sandbox = _program("sandbox", "--dir", directory, log=tmp_path / "sandbox.log")
    daemon = None
    try:
        until(lambda: "ready" in (tmp_path / "sandbox.log").read_text())
        quicken(config_path, settle_s="2", sweep_s="30")
        config = load(config_path)
        folder = config.folders["contracts"]
        folder.inbound.mkdir(parents=True)
        if when == "there at the start":
            _drop(invoice, folder.inbound, number)
        daemon = _program("run", "--config", config_path, log=tmp_path / "daemon.log")
        started = _moment(lambda: '"service_started"' in (tmp_path / "daemon.log").read_text())
        before_mib = _pss_mib(daemon.pid)
        memory = Memory(daemon.pid)
        memory.start()
        if when == "dropped at once":
            started = time.monotonic()
            dropper = threading.Thread(target=_drop, args=(invoice, folder.inbound, number))
            dropper.start()
        first = _moment(lambda: folder.outbound.is_dir() and any(folder.outbound.glob("*.receipt.json"))) - started
        if when == "dropped at once":
            dropper.join()
        taken = _moment(lambda: not any(_visible(folder.inbound)), every_s=0.5) - started
        memory.end()
        with stored(config) as ledger:
            received = sum(ledger.counts()["contracts"].values())
        sys.stdout.write(
            f"\n{number} {when}: first delivered after {first:.1f} s, all taken after {taken:.0f} s "
            f"({number / taken:.0f}/s), PSS {before_mib:.0f} MiB before, {memory.most_mib:.0f} MiB at most\n"
        )
        assert received == number
        assert memory.most_mib < BOUND_MIB
    finally:
        for process in (daemon, sandbox):
            if process is not None:
                process.send_signal(signal.SIGKILL)
                process.wait()


def _visible(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".")][:1]


def _program(*arguments: str | Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as out:
        return subprocess.Popen([SEALDROP, *arguments], stdout=out, stderr=out, stdin=subprocess.DEVNULL)


def _moment(condition: Callable[[], bool], every_s: float = 0.02) -> float:
    """Return when the condition came to hold (monotonic seconds)."""
    while not condition():
        time.sleep(every_s)
    return time.monotonic()
