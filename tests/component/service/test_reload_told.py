"""Reading the configuration anew: hours and quotas count at once, and whoever tells of the service does so as it says.

The rest of a reload is in `test_reload`.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from disks import troubles
from letterbox import Hook, hook_server
from running import PATIENCE_S, QUICK, Running, drop, quicken, running_daemon, unique, until
from sealdrop.alerts import teller
from sealdrop.model import State
from sealdrop.sandbox.faults import Operation, SealFault
from sealdrop.sandbox.server import Sandbox

EMAIL = """[alerts.email]
host = "localhost"
port = {port}
security = "none"
from = "sealdrop@example.com"
to = ["it@example.com"]
"""
METRICS = '[metrics]\nlisten = "127.0.0.1:{port}"\nevery_s = 0.2\n'


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts are told soon."""
    monkeypatch.setattr(teller, "LOOK_S", 0.1)
    monkeypatch.setattr(teller, "GATHER_S", 0.2)


@contextmanager
def silent_server() -> Iterator[tuple[int, threading.Event]]:
    """Listen, take each connection and say nothing; the event says that somebody came."""
    came, taken = threading.Event(), []

    def take() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return
            came.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)
            for each in taken:
                each.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def reload(running: Running, text: str) -> None:
    """Have the configuration be this one from now on."""
    before = running.daemon._health
    running.config.source.write_text(text)
    running.daemon.reload_soon()
    until(lambda: running.daemon._health is not before)


def told(hook: Hook) -> list[str]:
    """Return the kinds that the webhook was told of."""
    return [each["kind"] for _, _, body in hook.requests for each in json.loads(body)["alerts"]]


def answers(port: int) -> bool:
    """Whether figures can be had there."""
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            return b"sealdrop_documents" in answer.read()
    except OSError:
        return False


def test_hours_and_quotas_that_change_count_at_once(directory: Path, invoice: bytes) -> None:
    """What a quota holds until tomorrow is sent as soon as there is a larger one, without a restart."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        text = sandbox.config_path.read_text()
        sandbox.config_path.write_text(text.replace("[folders.contracts]", "[folders.contracts]\ndaily_quota = 1"))
        with running_daemon(sandbox.config_path) as running:
            for number in range(3):
                drop(unique(invoice, number), running.folder("contracts").inbound, f"{number}.pdf")
            running.wait_until_over(1)
            until(lambda: "2 held for hours or quotas" in running.daemon._status())
            reload(running, text)
            documents = running.wait_until_over(3)
            assert {each.state for each in documents} == {State.DELIVERED}
            assert len(sandbox.seals()) == 3
            until(lambda: "held" not in running.daemon._status())


def test_who_is_told_and_where_figures_are_had_changes_with_a_reload(directory: Path, invoice: bytes) -> None:
    """A mail server that is away gives way to a webhook, which is told what it was not; a port to another one."""
    first, second = free_port(), free_port()
    with Sandbox.start(directory, delays=QUICK) as sandbox, hook_server(None) as hook:
        quicken(sandbox.config_path)
        text = sandbox.config_path.read_text()
        sandbox.config_path.write_text(text + METRICS.format(port=first) + EMAIL.format(port=free_port()))
        with running_daemon(sandbox.config_path) as running:
            sandbox.faults.add(SealFault.OTHER_ORGANISATION, Operation.ANY)
            drop(invoice, running.folder().inbound, "failed.pdf")
            until(lambda: "alerts by email" in troubles(running))
            until(lambda: answers(first))
            reload(running, f'{text}{METRICS.format(port=second)}[alerts.webhook]\nurl = "{hook.url}"\n')
            until(lambda: told(hook) == ["document_failed"])
            assert "alerts by email" not in troubles(running)
            until(lambda: answers(second))
            assert not answers(first)
            reload(running, text)
            assert not answers(second)
            reload(running, f'{text}{METRICS.format(port=second)}[alerts.webhook]\nurl = "{hook.url}"\n')
            until(lambda: answers(second))
            assert "metrics" not in troubles(running)
        assert told(hook) == ["document_failed"]


def test_a_mail_server_that_hangs_holds_up_neither_a_reload_nor_a_stop(directory: Path, invoice: bytes) -> None:
    """While the message is under way still, another configuration is in force, and then the service has stopped."""
    with Sandbox.start(directory, delays=QUICK) as sandbox, silent_server() as (port, came):
        quicken(sandbox.config_path)
        text = sandbox.config_path.read_text() + EMAIL.format(port=port) + "timeout_s = 120\n"
        sandbox.config_path.write_text(text)
        with running_daemon(sandbox.config_path) as running:
            sandbox.faults.add(SealFault.OTHER_ORGANISATION, Operation.ANY)
            drop(invoice, running.folder().inbound, "failed.pdf")
            assert came.wait(PATIENCE_S)
            first = running.daemon._health
            reload(running, text)
            assert first.teller.at_work("email")
            assert {each.judged()[0].name for each in running.daemon._progress()} == {"FINE"}
        assert first.teller.at_work("email"), "the stop has waited for it"
    until(lambda: not first.teller.at_work("email"))
