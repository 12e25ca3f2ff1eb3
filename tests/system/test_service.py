"""The real process as systemd runs it: what it tells, reloads while documents flow, and stops in the middle of one."""

import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from programs import program
from running import PATIENCE_S, drop, leftovers, quicken, sha256, stored, unique
from sealdrop.audit.check import verify_trail
from sealdrop.audit.reading import read_records
from sealdrop.config import Config, load
from sealdrop.model import State
from sealdrop.sandbox import samples
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

DOCUMENTS = 20
RELOADS = 4


class Manager:
    """A service manager's end: what the service tells, message by message."""

    def __init__(self, listening: socket.socket) -> None:
        self._heard: SimpleQueue[list[str]] = SimpleQueue()
        self._listening = listening
        self.told: list[list[str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._heard.put(self._listening.recv(65536).decode().splitlines())
            except OSError:
                return

    def wait_for(self, assignment: str) -> list[str]:
        """Return the next message that begins with the assignment."""
        while True:
            try:
                message = self._heard.get(timeout=PATIENCE_S)
            except Empty:
                raise AssertionError(f"no {assignment!r} in time; so far: {self.told}") from None
            self.told.append(message)
            if message[0].startswith(assignment):
                return message


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager whose socket is named in the environment, with a watchdog of four seconds."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        yield Manager(listening)
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox whose documents take a while, so that some are always under way."""
    Pki.ensure(tmp_path / "sandbox")
    with Sandbox.start(tmp_path / "sandbox", delays=Delays(sign_s=0.3, archive_start_s=0.1, archive_s=0.2)) as running:
        quicken(running.config_path)
        yield running


def _wait_until_delivered(config: Config, number: int, process: subprocess.Popen[str]) -> None:
    pause = threading.Event()
    with stored(config) as ledger:
        for _ in range(int(PATIENCE_S * 20)):
            if ledger.counts().get("invoices", {}).get(State.DELIVERED, 0) >= number:
                return
            assert process.poll() is None
            pause.wait(0.05)
    raise AssertionError("not all were delivered")


def _reloads(config: Config) -> int:
    return len(list(read_records(config.service.state_dir / "audit", event="configuration_reloaded")))


def test_hangups_while_documents_flow_lose_and_double_nothing(sandbox: Sandbox, manager: Manager) -> None:
    """The service says when it is ready, reads its configuration anew at each SIGHUP, refuses a bad one, and stops."""
    config = load(sandbox.config_path)
    drops = [unique(samples.invoice(), each) for each in range(DOCUMENTS)]
    good = sandbox.config_path.read_text()
    with program("run", "--config", sandbox.config_path) as service:
        assert manager.wait_for("READY=1")[1] == "STATUS=0 in work, 0 delivered since start"
        assert manager.told[0][0].startswith("EXTEND_TIMEOUT_USEC=")
        for each in range(RELOADS):
            for number in range(each * DOCUMENTS // RELOADS, (each + 1) * DOCUMENTS // RELOADS):
                drop(drops[number], config.folders["invoices"].inbound, f"{number}.pdf")
            sandbox.config_path.write_text(good.replace("poll_longest_s = 2", f"poll_longest_s = {each + 3}"))
            service.process.send_signal(signal.SIGHUP)
            assert manager.wait_for("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
            manager.wait_for("READY=1")
        sandbox.config_path.write_text(good.replace("[service]", "[server]"))
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("reload_refused")
        manager.wait_for("RELOADING=1")
        assert manager.wait_for("READY=1")[1].startswith("STATUS=RELOAD REFUSED, the old configuration stays (")
        _wait_until_delivered(config, DOCUMENTS, service.process)
        manager.wait_for("WATCHDOG=1")
        assert service.end(signal.SIGTERM) == 0
        assert manager.wait_for("STOPPING=1")[1].startswith("EXTEND_TIMEOUT_USEC=")
    once = Counter(sha256(content) for content in drops)
    assert Counter(seal.sha256 for seal in sandbox.seals()) == once
    assert Counter(deposit.sha256 for deposit in sandbox.deposits()) == once
    assert _reloads(config) == RELOADS
    assert leftovers(config) == []
    assert verify_trail(config.service.state_dir / "audit").ok


def test_a_stop_during_a_reload_stops_and_the_next_start_finishes(sandbox: Sandbox) -> None:
    """SIGTERM while the old workers are waited for: the service ends with 0 at once, by the old configuration."""
    config = load(sandbox.config_path)
    sandbox.faults.add("timeout", "sign", applied=True, seconds=3)
    with program("run", "--config", sandbox.config_path) as service:
        service.wait_for("service_started")
        drop(samples.invoice(), config.folders["invoices"].inbound, "one.pdf")
        service.wait_for("seal_intended")
        service.process.send_signal(signal.SIGHUP)
        service.process.send_signal(signal.SIGHUP)
        assert service.end(signal.SIGTERM) == 0
    assert _reloads(config) == 0
    with program("run", "--config", sandbox.config_path) as service:
        service.wait_for("service_started")
        _wait_until_delivered(config, 1, service.process)
        assert service.end(signal.SIGTERM) == 0
    assert len(sandbox.seals()) == 1
    assert leftovers(config) == []


def test_a_socket_that_is_gone_harms_nothing(sandbox: Sandbox, manager: Manager) -> None:
    """When the manager goes away while the service runs, the service goes on, and stops as ever."""
    config = load(sandbox.config_path)
    with program("run", "--config", sandbox.config_path) as service:
        manager.wait_for("READY=1")
        Path(os.environ["NOTIFY_SOCKET"]).unlink()
        drop(samples.invoice(), config.folders["invoices"].inbound, "one.pdf")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("configuration_reloaded")
        _wait_until_delivered(config, 1, service.process)
        assert service.end(signal.SIGTERM) == 0
