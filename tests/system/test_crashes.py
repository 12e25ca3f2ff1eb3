"""The service is killed again and again while documents are dropped all the while; nothing is lost, doubled or left.

Documents come with sidecars and checksum files, originals are kept, and the configuration is read anew at random
moments: one of two in turn, by which some documents are another account's. Old workers are hardly waited for.

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
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from invariants import Drop, check, settled
from programs import Program, program
from running import PATIENCE_S, drop, quicken, unique
from sealdrop.audit.reading import read_records
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
# What the sandbox's configuration has besides, in one of two forms.
FOLDER = """processed = "{name}/processed"
sidecar = "optional"
checksum = "optional"
daily_quota = 100000
hours = []
"""
FORMS = (
    ("grace_s = 0.1", "grace_s = 1"),
    ("inspectors = 1", "inspectors = 2"),
    ("poll_first_s = 0.05", "poll_first_s = 0.1"),
    ("daily_quota = 100000", "daily_quota = 90000"),
    ("hours = []", 'hours = ["00:00-24:00"]'),
    ('[folders.contracts]\naccount = "sandbox"', '[folders.contracts]\naccount = "second"'),
)


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
            new = Drop(folder, name, samples.encrypted() + b"%% %d\n" % number, State.REJECTED)
        elif kind < 0.2:
            new = Drop(folder, name, samples.not_a_pdf() + b"%d\n" % number, State.REJECTED)
        else:
            new = Drop(folder, name, unique(samples.invoice(), number))
        if self.rng.random() < 0.5:
            new = replace(new, sidecar=b'{"reference": "number %d"}' % number)
        if self.rng.random() < 0.5:
            new = replace(new, checksum=f"{new.sha256}  {number}.pdf\n".encode())
        return new

    def _put(self, new: Drop) -> None:
        """Write it under its name, or elsewhere and move it in; first what comes with it."""
        inbound = self.config.folders[new.folder].inbound
        for companion, content in new.companions.items():
            drop(content, inbound, new.name + companion.suffix)
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
    killed, asked = {"service": 0, "sandbox": 0}, 0
    with ExitStack() as stack:
        sandbox = stack.enter_context(ExitStack())
        _start_sandbox(directory, sandbox)
        _extend(config_path)
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
                for _ in range(rng.choice((0, 1, 1, 2))):
                    if any('"service_started"' in line for line in service.lines):
                        asked += 1
                        _change(config_path)
                        service.process.send_signal(signal.SIGHUP)
                        if rng.random() < 0.6:
                            service.wait_for("configuration_reloaded")
                        service.wait_for_lines(rng.randint(0, 15), quiet_s=QUIET_S)
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
    reloads = sum(1 for _ in read_records(config.service.state_dir / "audit", event="configuration_reloaded"))
    print(  # noqa: T201
        f"seed {SEED}: {killed} killed, {asked} reloads asked for, {reloads} on record, {len(feeder.drops)} documents, "
        f"{unfit} of them unfit, 0 lost, 0 sealed twice"
    )
    assert reloads


def _extend(path: Path) -> None:
    """Give the sandbox's configuration another account, which is the same, and folders that keep more and take more."""
    text = path.read_text()
    account = text[text.index("[accounts.sandbox]") : text.index("# Invoices")]
    for name in ("invoices", "contracts"):
        text = text.replace(f"[folders.{name}.seal]", f"{FOLDER.format(name=name)}\n[folders.{name}.seal]")
    text = text.replace("create_folders = true", "create_folders = true\ngrace_s = 0.1\ninspectors = 1")
    path.write_text(text + "\n" + account.replace("[accounts.sandbox]", "[accounts.second]"))


def _change(path: Path) -> None:
    """Put the other one of the two forms in the place of a configuration, at once as a whole."""
    text = path.read_text()
    first, _ = FORMS[0]
    old, new = (0, 1) if first + "\n" in text else (1, 0)
    for form in FORMS:
        assert f"{form[old]}\n" in text, form
        text = text.replace(f"{form[old]}\n", f"{form[new]}\n")
    changed = path.with_name("changed.toml")
    changed.write_text(text)
    changed.rename(path)


def _start_sandbox(directory: Path, stack: ExitStack) -> None:
    running = stack.enter_context(program("sandbox", "--dir", directory))
    running.wait_for("ready")


def _until_some_moment(service: Program, rng: random.Random) -> None:
    """Wait a while: mostly until a line of the log and some ms more, sometimes no longer than the start may take.

    However slow the machine is, a service is mostly let start: one that is always killed before shows nothing.
    """
    pause = threading.Event()
    if rng.random() < 0.15:
        pause.wait(rng.uniform(0.0, 1.5))
        return
    service.wait_for('"service_started"')
    service.wait_for_lines(rng.randint(0, 40), quiet_s=QUIET_S)
    pause.wait(rng.uniform(0.0, 0.03))
