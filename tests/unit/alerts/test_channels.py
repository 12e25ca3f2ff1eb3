"""Messages over real SMTP and HTTP on this machine: TLS, passwords, refusals, and nothing secret in any error."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from documents import FakeClock
from letterbox import PASSWORD, USER, Authority, Hook, Mailbox, hook_server, mail_server, text_of
from sealdrop.alerts.mail import MailChannel
from sealdrop.alerts.message import Message
from sealdrop.alerts.trial import try_channels
from sealdrop.alerts.webhook import WebhookChannel
from sealdrop.config import Alerts, Email, Webhook
from sealdrop.errors import Retryable

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOSTILE = "a\r\nBcc: x@y\nX: <!channel> ``` & [me](https://evil.example)"


def message(subject: str = "[sealdrop host] 1 document failed", text: str = "é: invoices/facture.pdf\n") -> Message:
    """Return a message."""
    return Message("host", AT, subject, text, ({"kind": "document_failed", "count": 1},))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who the servers' certificates come from."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def box(authority: Authority) -> Iterator[Mailbox]:
    """A mail server with STARTTLS and a password."""
    with mail_server(authority) as started:
        yield started


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is where the configuration says."""
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)


def mail(port: int, authority: Authority | None, **changes: Any) -> MailChannel:  # noqa: ANN401 - any key
    """Return a channel to a mail server on this machine."""
    keys: dict[str, Any] = {
        "host": "localhost",
        "port": port,
        "from": "sealdrop@example.com",
        "to": ["it@example.com", "audit@example.com"],
        "user": USER,
        "password": {"env": "MAIL_PASSWORD"},
        "ca_file": authority.ca_file if authority else None,
        "timeout_s": 20.0,
        **changes,
    }
    return MailChannel(Email.model_validate(keys))


def test_a_mail_arrives_over_tls_with_a_password(box: Mailbox, authority: Authority) -> None:
    """It is a plain mail: from, to, subject, date, text as written, marked as automatic."""
    assert mail(box.port, authority).send(message()) is None
    assert box.logins == [(USER, PASSWORD)]
    assert box.envelopes == [("sealdrop@example.com", ["it@example.com", "audit@example.com"])]
    (arrived,) = box.mails
    assert arrived["From"] == "sealdrop@example.com"
    assert arrived["To"] == "it@example.com, audit@example.com"
    assert arrived["Subject"] == "[sealdrop host] 1 document failed"
    assert arrived["Date"].datetime == AT
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert "@example.com>" in arrived["Message-ID"]
    assert text_of(arrived) == "é: invoices/facture.pdf\n"


def test_a_subject_adds_no_header(box: Mailbox, authority: Authority) -> None:
    """Line breaks in a subject neither end it nor reach anybody else."""
    mail(box.port, authority).send(message(subject=HOSTILE))
    (arrived,) = box.mails
    assert "Bcc" not in arrived
    assert "Bcc" in arrived["Subject"]
    assert box.envelopes[0][1] == ["it@example.com", "audit@example.com"]


def test_a_server_of_another_authority_or_name_gets_nothing(authority: Authority, tmp_path: Path) -> None:
    """The certificate must be trusted, and be the host's: neither mail nor password is sent otherwise."""
    other = tmp_path / "other"
    other.mkdir()
    with mail_server(authority) as box, pytest.raises(Retryable, match="certificate verify failed"):
        mail(box.port, Authority(other)).send(message())
    with mail_server(authority, name="elsewhere") as wrong, pytest.raises(Retryable, match="certificate verify failed"):
        mail(wrong.port, authority).send(message())
    assert box.logins == wrong.logins == []


def test_a_server_without_tls_gets_nothing(authority: Authority) -> None:
    """STARTTLS that is not offered is no reason to go on without; "none" is for those who said so."""
    with mail_server(None) as box:
        with pytest.raises(Retryable, match="STARTTLS"):
            mail(box.port, authority).send(message())
        assert box.mails == []
        mail(box.port, None, security="none", user=None, password=None).send(message())
        assert len(box.mails) == 1


def test_tls_from_the_start(authority: Authority) -> None:
    """With "tls" the connection is encrypted before anything is said."""
    with mail_server(authority, implicit=True) as box:
        mail(box.port, authority, security="tls").send(message())
    assert len(box.mails) == 1


@pytest.mark.parametrize("what", ["password", "missing", "mail", "recipients", "nobody"])
def test_what_is_refused_is_told_without_secrets(
    box: Mailbox, authority: Authority, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each refusal is an error that may pass, names what was refused, and holds no password."""
    channel = mail(box.port, authority)
    expected = what
    if what == "password":
        monkeypatch.setenv("MAIL_PASSWORD", "wr0ng-p4ss")
        expected = "SMTPAuthenticationError: 535"
    elif what == "missing":
        monkeypatch.delenv("MAIL_PASSWORD")
        expected = "MAIL_PASSWORD is not set"
    elif what == "mail":
        box.answer = "451 later"
        expected = "SMTPDataError: 451 later"
    elif what == "recipients":
        box.refused = {"it@example.com", "audit@example.com"}
        expected = "it refuses audit@example.com, it@example.com"
    else:
        channel = mail(1, authority)
        expected = "refused"
    with pytest.raises(Retryable, match=expected) as caught:
        channel.send(message())
    assert box.mails == []
    for secret in (PASSWORD, "wr0ng-p4ss"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None or "p4ss" not in str(caught.value.__cause__)


def test_one_refused_recipient_does_not_keep_the_others_waiting(box: Mailbox, authority: Authority) -> None:
    """The mail counts as sent; who was refused is remarked."""
    box.refused = {"audit@example.com"}
    assert mail(box.port, authority).send(message()) == "the mail server refuses audit@example.com"
    assert len(box.mails) == 1


def hook(server: Hook, authority: Authority | None, **changes: Any) -> WebhookChannel:  # noqa: ANN401 - any key
    """Return a channel to a webhook on this machine."""
    keys = {"url": server.url, "ca_file": authority.ca_file if authority else None, "timeout_s": 20.0, **changes}
    return WebhookChannel(Webhook.model_validate(keys))


def test_a_webhook_gets_json_and_the_headers(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over verified TLS: what people read, and the same for programs; the secret header with it."""
    monkeypatch.setenv("TOKEN", "Bearer t0ken")
    with hook_server(authority) as server:
        hook(server, authority, headers={"Authorization": {"env": "TOKEN"}}).send(message())
    ((path, headers, body),) = server.requests
    assert path == "/hook"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Content-Type"] == "application/json"
    content = json.loads(body)
    assert content["host"] == "host"
    assert content["subject"] == "[sealdrop host] 1 document failed"
    assert content["alerts"] == [{"kind": "document_failed", "count": 1}]
    assert datetime.fromisoformat(content["at"]) == AT


@pytest.mark.parametrize("form", ["slack", "teams"])
def test_in_a_chat_names_are_text(form: str) -> None:
    """A file's name calls nobody, links to nothing and ends no block of text."""
    with hook_server(None) as server:
        hook(server, None, format=form).send(message(subject=HOSTILE, text=HOSTILE))
    content = json.loads(server.requests[0][2])
    if form == "slack":
        assert set(content) == {"text"}
        assert "<" not in content["text"]
        assert content["text"].count("```") == 2
        assert "&lt;!channel&gt;" in content["text"]
    else:
        card = content["attachments"][0]["content"]
        assert {block["type"] for block in card["body"]} == {"RichTextBlock"}  # in which nothing is markup
        assert "evil.example" in json.dumps(card)


@pytest.mark.parametrize("what", ["status", "redirect", "gone", "authority", "header", "plain"])
def test_a_webhook_that_fails_is_told_without_its_address(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The address and the headers may be secrets: no error, and nothing behind it, holds them."""
    trusted = authority
    with ExitStack() as open_, hook_server(authority) as server:
        monkeypatch.setenv("HOOK", server.url + "/s3cret-path")
        monkeypatch.setenv("TOKEN", "t0ken\nX: y" if what == "header" else "t0ken")
        if what in ("status", "redirect"):
            server.status = 500 if what == "status" else 302
        elif what == "authority":
            trusted = Authority(tmp_path)
        elif what == "gone":
            monkeypatch.setenv("HOOK", "https://localhost:1/s3cret-path")
        elif what == "plain":
            monkeypatch.setenv("HOOK", "http://elsewhere.example/s3cret-path")
        channel = hook(server, trusted, url={"env": "HOOK"}, headers={"Authorization": {"env": "TOKEN"}})
        caught = open_.enter_context(pytest.raises(Retryable))
        channel.send(message())
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "t0ken" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert (len(server.requests) == 1) == (what in ("status", "redirect"))


def test_a_test_message_goes_through_every_channel(box: Mailbox, authority: Authority) -> None:
    """Each channel is tried, whatever became of the other, and says how it did."""
    email = mail(box.port, authority)._config
    webhook = Webhook.model_validate({"url": "http://localhost:1/"})
    tried = list(try_channels(Alerts(email=email, webhook=webhook), "host.example", FakeClock()))
    assert [each.channel for each in tried] == ["email", "webhook"]
    assert tried[0].problem is None
    assert "refused" in (tried[1].problem or "")
    assert box.mails[0]["Subject"] == "[sealdrop host.example] test of the alerts"
    assert "Nothing is wrong" in text_of(box.mails[0])
