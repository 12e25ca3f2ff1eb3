"""The running service tells how it is: figures that agree with the ledger, an e-mail for a document that failed."""

import json
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from letterbox import PASSWORD, USER, Authority, Hook, hook_server, mail_server, text_of
from running import PATIENCE_S, QUICK, KeptLog, drop, quicken, running_daemon, stored, unique
from sealdrop.alerts import teller
from sealdrop.config import load
from sealdrop.daemon import Daemon
from sealdrop.daemon.recorder import Recorder
from sealdrop.errors import Fatal, TrailBroken
from sealdrop.events import EventName
from sealdrop.model import State
from sealdrop.sandbox.faults import Operation, SealFault
from sealdrop.sandbox.server import Sandbox


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_agree_with_the_ledger_and_a_failure_is_one_mail(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sealed documents, one unfit, one refused: the scraped figures are the ledger's, and one mail tells of one."""
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    monkeypatch.setattr(teller, "LOOK_S", 0.2)
    monkeypatch.setattr(teller, "GATHER_S", 0.5)
    authority = Authority(directory)
    with Sandbox.start(directory, delays=QUICK) as sandbox, mail_server(authority) as box:
        quicken(sandbox.config_path)
        textfile = directory / "sealdrop.prom"
        with sandbox.config_path.open("a") as config:
            config.write(
                f'[metrics]\nlisten = "127.0.0.1:0"\ntextfile = "{textfile}"\nevery_s = 0.2\n'
                f'[alerts.email]\nhost = "localhost"\nport = {box.port}\nca_file = "{authority.ca_file}"\n'
                f'from = "sealdrop@example.com"\nto = ["it@example.com"]\n'
                f'user = "{USER}"\npassword = {{ env = "MAIL_PASSWORD" }}\n'
            )
        with running_daemon(sandbox.config_path) as running:
            drop(unique(invoice, 1), running.folder().inbound, "one.pdf")
            drop(unique(invoice, 2), running.folder().inbound, "two.pdf")
            drop(b"no PDF at all", running.folder().inbound, "three.pdf")
            running.wait_until_over(3)
            sandbox.faults.add(SealFault.OTHER_ORGANISATION, Operation.ANY)
            drop(unique(invoice, 4), running.folder().inbound, "four.pdf")
            running.wait_until_over(4)
            box.wait_for(1)
            health = running.daemon._health
            assert health is not None
            health._exporter.gather()
            url = f"http://127.0.0.1:{health._exporter.port}/metrics"
            with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE_S) as answer:
                scraped = figures(answer.read().decode())
            with stored(running.config) as ledger:
                counts = ledger.counts()
            for state in State:
                labels = frozenset({("folder", "invoices"), ("state", state.value)})
                assert scraped["sealdrop_documents", labels] == counts["invoices"].get(state, 0)
            ended = {("folder", "invoices"), ("outcome", "failed"), ("reason", "SEAL_TIME")}
            assert scraped["sealdrop_documents_finished_total", frozenset(ended)] == 0  # so that the first is seen
    assert figures(textfile.read_text()).keys() == scraped.keys()
    (mail,) = box.mails
    text = text_of(mail)
    assert "1 document failed" in mail["Subject"]
    assert "four.pdf" in text


def _with_webhook(sandbox: Sandbox, hook: Hook) -> None:
    """Have the service tell a webhook on this machine."""
    quicken(sandbox.config_path)
    with sandbox.config_path.open("a") as config:
        config.write(f'[alerts.webhook]\nurl = "{hook.url}"\n')


def _told(hook: Hook) -> list[str]:
    """Return the kinds that the webhook was told of."""
    return [each["kind"] for _, _, body in hook.requests for each in json.loads(body)["alerts"]]


def test_how_the_service_ended_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was cut off is told by the next one; a service that stops itself says so before it ends."""
    monkeypatch.setattr(teller, "LOOK_S", 0.2)
    monkeypatch.setattr(teller, "GATHER_S", 0.2)
    note = Recorder.note

    def forgetful(recorder: Recorder, name: EventName, **fields: object) -> None:
        if name is not EventName.SERVICE_STOPPED:
            note(recorder, name, **fields)  # type: ignore[arg-type]

    with Sandbox.start(directory, delays=QUICK) as sandbox, hook_server(None) as hook:
        _with_webhook(sandbox, hook)
        with running_daemon(sandbox.config_path):
            pass
        with monkeypatch.context() as cut_off:
            cut_off.setattr(Recorder, "note", forgetful)
            with running_daemon(sandbox.config_path) as running:
                assert running.log.events("unclean_stop") == []
        with running_daemon(sandbox.config_path) as running:
            assert len(running.log.events("unclean_stop")) == 1
            with hook.came:
                assert hook.came.wait_for(lambda: _told(hook) == ["unclean_stop"], PATIENCE_S)
        asked: list[bool] = []
        daemon = Daemon(load(sandbox.config_path), KeptLog())
        daemon.start(on_broken=lambda: asked.append(True))
        daemon._broken(Fatal("the ledger is damaged"))
        daemon.stop()
        assert asked == [True]
        assert _told(hook) == ["unclean_stop", "service_broken"]
        assert b"the ledger is damaged" in hook.requests[1][2]


def test_a_start_that_fails_is_told_once(directory: Path) -> None:
    """A cut audit trail keeps the service from starting, however often it is tried; one message says so."""
    with Sandbox.start(directory, delays=QUICK) as sandbox, hook_server(None) as hook:
        _with_webhook(sandbox, hook)
        with running_daemon(sandbox.config_path) as running:
            state = running.config.service.state_dir
        (day,) = (state / "audit").iterdir()
        day.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[:-1]))
        for _ in range(3):
            with pytest.raises(TrailBroken):
                Daemon(load(sandbox.config_path), KeptLog())
    assert _told(hook) == ["audit_broken"]
    assert b"do not belong together" in hook.requests[0][2]
