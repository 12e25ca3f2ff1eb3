"""The secrets of `[alerts]`, through servers that refuse and repeat them: none comes out anywhere."""

import base64
from pathlib import Path

import pytest

from command import sealdrop
from letterbox import PASSWORD, USER, Authority, hook_server, mail_server
from running import QUICK, drop, quicken, running_daemon, until
from sealdrop.alerts import teller
from sealdrop.sandbox.faults import Operation, SealFault
from sealdrop.sandbox.server import Sandbox

TOKEN, PATH = "t0ken-of-the-hook", "s3cret-path"


def test_no_secret_of_the_alerts_comes_out(directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Password, header and address are in no log, no state file, no companion and no command's output."""
    monkeypatch.setattr(teller, "LOOK_S", 0.1)
    monkeypatch.setattr(teller, "GATHER_S", 0.1)
    authority = Authority(directory)
    login = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode().rstrip("=")
    password = base64.b64encode(PASSWORD.encode()).decode().rstrip("=")
    with (
        Sandbox.start(directory, delays=QUICK) as sandbox,
        mail_server(authority) as box,
        hook_server(authority) as hook,
    ):
        box.answer = f"554 you are {PASSWORD} or {login} or {password}"
        hook.status = 500
        monkeypatch.setenv("HOOK", f"{hook.url}/{PATH}")
        monkeypatch.setenv("TOKEN", TOKEN)
        monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
        quicken(sandbox.config_path)
        with sandbox.config_path.open("a") as config:
            config.write(
                f'[alerts.email]\nhost = "localhost"\nport = {box.port}\nca_file = "{authority.ca_file}"\n'
                f'from = "sealdrop@example.com"\nto = ["it@example.com"]\nuser = "{USER}"\n'
                'password = { env = "MAIL_PASSWORD" }\n'
                f'[alerts.webhook]\nurl = {{ env = "HOOK" }}\nca_file = "{authority.ca_file}"\n'
                'headers = { Authorization = { env = "TOKEN" } }\n'
            )
        with running_daemon(sandbox.config_path) as running:
            sandbox.faults.add(SealFault.OTHER_ORGANISATION, Operation.ANY)
            drop(invoice, running.folder().inbound, "failed.pdf")
            until(lambda: {each["channel"] for each in running.log.events("alerts_fail")} == {"email", "webhook"})
            assert box.logins == [(USER, PASSWORD)]
            assert hook.requests[0][1]["Authorization"] == TOKEN
            asked = [
                sealdrop(*command, "--config", sandbox.config_path)
                for command in (("status",), ("status", "--json"), ("status", "failed.pdf"), ("audit", "show"))
            ]
    said = [str(running.log.lines), *(ended.out + ended.err for ended in asked)]
    assert "554 you are *** or *** or ***" in said[0]
    assert "it answered with HTTP 500" in said[1]
    assert (running.config.service.state_dir / "alerts.json").is_file()
    kept = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    for secret in (PASSWORD, login, password, TOKEN, PATH):
        assert not [text for text in said if secret in text], secret
        assert not [content for content in kept if secret.encode() in content], secret
