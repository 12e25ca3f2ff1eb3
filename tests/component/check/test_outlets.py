"""Who is told, and where figures go: what `check` says of `[alerts]` and `[metrics]`, and the test of the alerts."""

import os
import socket
from collections.abc import Iterator

import pytest

from checking import SECRET, Scene
from command import sealdrop
from letterbox import PASSWORD, USER, Authority, Hook, Mailbox, hook_server, mail_server, text_of
from running import KeptLog
from sealdrop.checks.findings import Condition, Mark
from sealdrop.daemon import Daemon


@pytest.fixture
def mailbox(scene: Scene) -> Iterator[Mailbox]:
    """Give a mail server that wants TLS and a password, which stands in a file, and have alerts go there."""
    authority = Authority(scene.root)
    with mail_server(authority) as box:
        (scene.root / "smtp").write_text(f"{PASSWORD}\n")
        (scene.root / "smtp").chmod(0o600)
        mail_to(scene, box.port, '{ file = "smtp" }')
        yield box


@pytest.fixture
def hook(scene: Scene) -> Iterator[Hook]:
    """Give a webhook's server, and have alerts go there."""
    with hook_server(None) as server:
        scene.set("service", f'[alerts.webhook]\nurl = "{server.url}"')
        yield server


def mail_to(scene: Scene, port: int, password: str) -> None:
    """Have alerts go to a mail server on this machine."""
    lines = ("[alerts.email]", 'host = "localhost"', f"port = {port}", 'ca_file = "mail-ca.pem"', f'user = "{USER}"')
    who = ('from = "sealdrop@example.com"', 'to = ["it@example.com", "boss@example.com"]', f"password = {password}")
    scene.set("service", "\n".join((*lines, *who)))


def figures_to(scene: Scene, line: str) -> None:
    """Have figures go out."""
    scene.set("service", f"[metrics]\n{line}")


class TestTrial:
    """`sealdrop check --alerts`."""

    def test_everybody_gets_a_test(self, scene: Scene, mailbox: Mailbox, hook: Hook) -> None:
        """A message that says that it is a test goes through each channel, and a line says so; the exit code is 0."""
        ended = sealdrop("check", "--alerts", "--config", scene.config_path)
        assert (ended.code, ended.out.splitlines()) == (0, ["email: the test was sent", "webhook: the test was sent"])
        (mail,) = mailbox.mails
        assert "test of the alerts" in mail["Subject"]
        assert "Nothing is wrong" in text_of(mail)
        assert len(hook.requests) == 1

    def test_a_channel_that_fails(self, scene: Scene, mailbox: Mailbox, hook: Hook) -> None:
        """What is wrong with one is said, the other is tried all the same, and the exit code is 1."""
        hook.status = 403
        mailbox.refused.add("boss@example.com")
        ended = sealdrop("check", "--alerts", "--json", "--config", scene.config_path)
        assert ended.code == 1
        assert ended.json() == {
            "ok": False,
            "channels": [
                {"channel": "email", "problem": "the mail server refuses boss@example.com"},
                {"channel": "webhook", "problem": "webhook: it answered with HTTP 403"},
            ],
        }
        assert mailbox.envelopes[0][1] == ["it@example.com"]

    def test_nobody_to_tell(self, scene: Scene) -> None:
        """Without a channel nothing was tried, so the answer is no, in plain words."""
        ended = sealdrop("check", "--alerts", "--config", scene.config_path)
        assert (ended.code, ended.err) == (1, "")
        assert "neither [alerts.email] nor [alerts.webhook]" in ended.out

    def test_a_password_that_systemd_hands_out(self, scene: Scene) -> None:
        """Without the credential the mail cannot be sent; how to have it handed out is said, with its name."""
        Authority(scene.root)
        mail_to(scene, 1, '{ credential = "smtp-password" }')
        ended = sealdrop("check", "--alerts", "--config", scene.config_path)
        assert ended.code == 1
        assert "no credential 'smtp-password'" in ended.out
        assert "LoadCredential=smtp-password:/etc/sealdrop/credentials/smtp-password" in ended.err
        assert "sealdrop check --alerts --config" in ended.err

    def test_one_thing_at_a_time(self, scene: Scene) -> None:
        """--unit and --alerts are two questions."""
        assert sealdrop("check", "--alerts", "--unit", "--config", scene.config_path).code == 2


def test_a_configuration_with_faults(scene: Scene) -> None:
    """Neither is answered by a configuration that cannot be used: every fault, and 78."""
    scene.set("service", "nonsense = 1")
    for option in ("--alerts", "--unit"):
        ended = sealdrop("check", option, "--config", scene.config_path)
        assert (ended.code, ended.out) == (78, "")
        assert "nonsense" in ended.err


class TestAlerts:
    """What is said of the channels without using them."""

    def test_channels(self, scene: Scene, mailbox: Mailbox) -> None:
        """They are named, and nobody is written to."""
        checked = scene.check()
        assert checked.bad() == set()
        assert "by email" in {each["text"] for each in checked.findings if each["subject"] == "alerts"}
        assert mailbox.mails == []

    def test_nobody_is_told(self, scene: Scene) -> None:
        """It is no fault, and it is said."""
        (found,) = (each for each in scene.check().findings if each["subject"] == "alerts")
        assert found["text"].startswith("nobody is told")

    @pytest.mark.usefixtures("mailbox")
    def test_a_password_that_is_not_there(self, scene: Scene) -> None:
        """The channel is mute: a failure; but documents are sealed all the same."""
        (scene.root / "smtp").unlink()
        found = scene.check().has(Condition.ALERTS_MUTE)
        assert (found["what"], found["run_refuses"]) == ("email.password", False)
        assert "there is no file" in found["text"]
        scene.starts()

    def test_a_credential(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not handed out here, it was not looked at; where credentials are, it has to be among them."""
        Authority(scene.root)
        mail_to(scene, 1, '{ credential = "smtp-password" }')
        assert scene.check().has(Condition.CREDENTIAL_ELSEWHERE)["subject"] == "alerts"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(scene.root))
        assert scene.check().has(Condition.ALERTS_MUTE)["what"] == "email.password"
        (scene.root / "smtp-password").write_text(SECRET)
        assert scene.check().bad() == set()

    def test_a_variable(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret from the environment that is not set here was not looked at."""
        scene.set("service", '[alerts.webhook]\nurl = { env = "HOOK" }')
        assert scene.check().has(Condition.CREDENTIAL_ELSEWHERE)["what"] == "webhook.url"
        monkeypatch.setenv("HOOK", SECRET)
        assert scene.check().bad() == set()


class TestMetrics:
    """Where the figures go."""

    def test_a_free_port(self, scene: Scene) -> None:
        """Nobody has it: the service will."""
        figures_to(scene, 'listen = "127.0.0.1:0"')
        checked = scene.check()
        assert checked.bad() == set()
        assert any(each["text"] == "127.0.0.1:0 is free" for each in checked.findings)

    def test_a_port_that_is_taken(self, scene: Scene) -> None:
        """Somebody else has it: a warning, and the service starts."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            figures_to(scene, f'listen = "127.0.0.1:{port}"')
            found = scene.check().has(Condition.METRICS_NOT_OUT)
            assert f"could not listen on 127.0.0.1:{port}: Address already in use" in found["text"]
            scene.starts()

    def test_a_port_that_is_ours(self, scene: Scene) -> None:
        """While the service runs, somebody has to answer."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            figures_to(scene, f'listen = "127.0.0.1:{server.getsockname()[1]}"')
            daemon = Daemon(
                scene.config().model_copy(
                    update={"metrics": scene.config().metrics.model_copy(update={"listen": None})}
                ),
                KeptLog(),
            )
            daemon.start()
            try:
                assert self._metrics(scene)["text"].endswith(" answers")
                server.close()
                assert self._metrics(scene)["condition"] == Condition.METRICS_NOT_OUT
            finally:
                daemon.stop()

    @staticmethod
    def _metrics(scene: Scene) -> dict[str, str]:
        # Not `scene.check`: the service may write meanwhile.
        findings = sealdrop("check", "--offline", "--json", "--config", scene.config_path).json()["findings"]
        (found,) = (each for each in findings if each["subject"] == "metrics")
        return dict(found)

    def test_a_text_file(self, scene: Scene) -> None:
        """Its folder has to be there for the service's user to write; documents do not wait for it."""
        figures_to(scene, 'textfile = "figures/sealdrop.prom"')
        found = scene.check().has(Condition.METRICS_NOT_OUT)
        assert (found["what"], found["mark"]) == ("textfile", Mark.WARNING)
        assert f"there is no folder {scene.root / 'figures'}" in found["text"]
        scene.starts()
        (scene.root / "figures").mkdir()
        assert scene.check().bad() == set()


def test_the_zone_that_hours_are_counted_in(scene: Scene) -> None:
    """Whose clock on the wall counts is said, with the time there."""
    assert "the system's own" in _zone(scene)
    scene.set("service", 'time_zone = "Asia/Kathmandu"')
    assert _zone(scene).startswith("Asia/Kathmandu: it is ")


def _zone(scene: Scene) -> str:
    (found,) = (each for each in scene.check().findings if each["what"] == "time zone")
    return str(found["text"])


class TestUnit:
    """`sealdrop check --unit`, where systemd has no unit of ours."""

    @pytest.fixture(autouse=True)
    def no_systemd(self, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
        """Have no systemctl, so that this machine's own systemd is not asked."""
        monkeypatch.setenv("PATH", os.fspath(scene.root))

    def test_what_is_blocked_and_what_is_needed(self, scene: Scene) -> None:
        """The drop-in alone is printed, so that it can go into a file; what the unit blocks is said beside it."""
        scene.values["passphrase"] = '{ credential = "client-2027" }'
        scene.more["accounts.main"] = 'passphrase = { credential = "client-2027" }'
        ended = sealdrop("check", "--unit", "--offline", "--config", scene.config_path)
        assert ended.code == 1
        assert ended.out.startswith("# For ")
        assert "[Service]" in ended.out
        assert f"BindPaths={scene.root}" in ended.out
        assert "LoadCredential=client-2027:/etc/sealdrop/credentials/client-2027" in ended.out
        assert "systemd has no sealdrop.service yet" in ended.err
        assert f"folders.invoices.inbound: {scene.folder('inbound')} would not be there" in ended.err
        assert "'client-2027'" in ended.err

    def test_for_a_program(self, scene: Scene) -> None:
        """The same as one JSON object."""
        told = sealdrop("check", "--unit", "--offline", "--json", "--config", scene.config_path).json()
        assert not told["ok"]
        assert "folders.invoices.inbound" in {each["key"] for each in told["blocked"]}
        assert "[Service]" in told["drop_in"]

    def test_addresses(self, scene: Scene) -> None:
        """Hosts are looked up, unless the network is to be left out."""
        scene.renamed["https://localhost:1"] = "https://sealdrop.localhost:1"
        asked = sealdrop("check", "--unit", "--config", scene.config_path).out
        assert "sealdrop.localhost" in asked
        offline = sealdrop("check", "--unit", "--offline", "--config", scene.config_path).out
        assert "# sealdrop.localhost: no address is known here" in offline
