"""The service is killed again and again while documents are dropped all the while; nothing is lost, doubled or left.

``SEALDROP_TEST_KILLS`` sets the number of kills (10 unless told; the long form has 100 and more) and
``SEALDROP_TEST_SEED`` the seed, which decides what is dropped when and at which line of the log the service is killed::

    SEALDROP_TEST_KILLS=150 SEALDROP_TEST_SEED=7 pytest tests/system/test_crashes.py --timeout 3600 -s
"""

import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from invariants import Drop, check, settled
from programs import Program, program
from running import PATIENCE_S, drop, quicken, unique
from sealdrop.config import Config, load
from sealdrop.model import State
from sealdrop.sandbox import samples

KILLS = int(os.environ.get("SEALDROP_TEST_KILLS", "10"))
SEED = int(os.environ.get("SEALDROP_TEST_SEED", "1"))
QUIET_S = 1.0  # nothing has been logged for so long: all that can be killed now is a service that waits
PAUSE_S = 0.2

# All that a document may have to wait for after a crash, made short; `sealdrop.config` wants the first below the last.
IMPATIENT = {
    "call_timeout_s": "3",
    "connect_timeout_s": "2",
    "read_timeout_s": "3",
    "sign_again_after_s": "4",
    "ask_after_s": "0.2",
    "retry_first_s": "0.1",
    "retry_longest_s": "1",
    "poll_longest_s": "0.5",
}


@dataclass
class Feeder:
    """Drops documents, fit and unfit, into both folders, as many as it was granted, each after a pause of its own."""

    config: Config
    rng: random.Random
    drops: list[Drop] = field(default_factory=list)
    granted: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Drop until told to stop."""
        while True:
            self.granted.acquire()
            if self.stopping.is_set():
                return
            self.stopping.wait(self.rng.uniform(0.0, 0.15))
            new = self._next(len(self.drops))
            self.drops.append(new)
            self._put(new)

    def stop(self) -> None:
        """Drop nothing more."""
        self.stopping.set()
        self.granted.release()

    def _next(self, number: int) -> Drop:
        folder = self.rng.choice(("invoices", "contracts", "contracts"))
        name = self.rng.choice(("", "2026/", "2026/été/")) + f"{number}.pdf"
        kind = self.rng.random()
        if kind < 0.1:
            return Drop(folder, name, samples.encrypted() + b"%% %d\n" % number, State.REJECTED)
        if kind < 0.2:
            return Drop(folder, name, samples.not_a_pdf() + b"%d\n" % number, State.REJECTED)
        return Drop(folder, name, unique(samples.invoice(), number))

    def _put(self, new: Drop) -> None:
        """Write it under its name, or elsewhere and move it in."""
        inbound = self.config.folders[new.folder].inbound
        if self.rng.random() < 0.5:
            drop(new.content, inbound, new.name)
        else:
            drop(new.content, inbound, f"{new.name}.part")
            (inbound / f"{new.name}.part").rename(inbound / new.name)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for a sandbox."""
    return tmp_path / "sandbox"


@pytest.mark.timeout(300 + 20 * KILLS)
def test_a_service_that_is_killed_again_and_again_loses_and_doubles_nothing(directory: Path) -> None:
    """Killed at random moments, at times with the sandbox: every drop ends once, as it must, nothing is left over."""
    rng = random.Random(SEED)
    config_path = directory / "sealdrop.toml"
    arguments = ("run", "--config", config_path)
    killed = {"service": 0, "sandbox": 0}
    with ExitStack() as stack:
        sandbox = stack.enter_context(ExitStack())
        _start_sandbox(directory, sandbox)
        quicken(config_path, **IMPATIENT)
        config = load(config_path)
        for _, place in (each for folder in config.folders.values() for each in folder.places()):
            place.mkdir(parents=True)
        feeder = Feeder(config, random.Random(SEED + 1))
        thread = threading.Thread(target=feeder.run, daemon=True)
        thread.start()
        stack.callback(feeder.stop)
        for _ in range(KILLS):
            feeder.granted.release(rng.randint(1, 6))
            with program(*arguments) as service:
                _until_some_moment(service, rng)
                if rng.random() < 0.2:
                    killed["sandbox"] += 1
                    sandbox.close()
                    if rng.random() < 0.5:
                        service.wait_for_lines(rng.randint(1, 5), quiet_s=QUIET_S)
                    _start_sandbox(directory, sandbox)
                    service.wait_for_lines(rng.randint(0, 20), quiet_s=QUIET_S)
                service.process.kill()
                killed["service"] += 1
        feeder.stop()
        thread.join(PATIENCE_S)
        with program(*arguments) as service:
            deadline = time.monotonic() + PATIENCE_S
            pause = threading.Event()
            while not settled(config, len(feeder.drops)) and time.monotonic() < deadline:
                pause.wait(PAUSE_S)
            check(directory, config, feeder.drops)
            assert service.end(signal.SIGTERM) == 0
    check(directory, config, feeder.drops)
    unfit = sum(each.state is State.REJECTED for each in feeder.drops)
    print(f"seed {SEED}: {killed} killed, {len(feeder.drops)} documents, {unfit} of them unfit, 0 lost")  # noqa: T201


def _start_sandbox(directory: Path, stack: ExitStack) -> None:
    running = stack.enter_context(program("sandbox", "--dir", directory))
    running.wait_for("ready")


def _until_some_moment(service: Program, rng: random.Random) -> None:
    """Wait a while: mostly until a line of the log and some ms more, sometimes no longer than the start may take."""
    pause = threading.Event()
    if rng.random() < 0.15:
        pause.wait(rng.uniform(0.0, 1.5))
        return
    service.wait_for_lines(rng.randint(1, 45), quiet_s=QUIET_S)
    pause.wait(rng.uniform(0.0, 0.03))
