"""Alerts by an HTTP request: to a program of one's own, or to a chat.

The address and the headers may be secrets, so no error repeats them: neither ours nor the library's.
"""

import ssl
from collections.abc import Mapping

import httpx
from pydantic import JsonValue

from sealdrop import __version__
from sealdrop.alerts.message import CALL_TIMEOUTS, Message, shown
from sealdrop.alerts.trust import verified
from sealdrop.clock import Clock, SystemClock
from sealdrop.config import Webhook, is_protected
from sealdrop.errors import ConfigurationError, Retryable
from sealdrop.places import Secret
from sealdrop.signapi.deadline import call_within
from sealdrop.signapi.transport import BoundedTransport

SLACK_CHARACTERS = 30_000  # of 40,000 that Slack takes; it cuts what is longer
TEAMS_CHARACTERS = 20_000  # of the 28 KB that Teams takes


class WebhookChannel:
    """One address that is called."""

    name = "webhook"

    def __init__(self, config: Webhook, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()

    def send(self, message: Message) -> str | None:
        """Call the address; what it answers is not read beyond its status.

        Raises:
            Retryable: it could not be called, or answered with anything but success.
        """
        try:
            url, headers = self._address(), self._headers()
            timeout_s, transport = self._config.timeout_s, BoundedTransport(verified(self._config.ca_file), 1)
            with (
                call_within(timeout_s * CALL_TIMEOUTS, self._clock),
                httpx.Client(transport=transport, timeout=timeout_s, trust_env=False) as client,
                client.stream("POST", url, json=_body(message, self._config.format), headers=headers) as answer,
            ):
                status = answer.status_code
        except ConfigurationError as error:
            raise Retryable("; ".join(error.problems)) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # ValueError: no host's name
            raise Retryable(f"webhook: {_words(error)}") from None  # the error behind it may hold the address
        if not 200 <= status < 300:
            raise Retryable(f"webhook: it answered with HTTP {status}")
        return None

    def _address(self) -> str:
        url = self._config.url
        if isinstance(url, str):
            return url
        address = url.read()
        if not is_protected(address):
            raise ConfigurationError("alerts.webhook", ["url: the secret is not an https:// address"])
        return address

    def _headers(self) -> Mapping[str, str]:
        headers = {"User-Agent": f"sealdrop/{__version__}"}
        for name, secret in self._config.headers.items():
            headers[name] = _header(name, secret)
        return headers


def _header(name: str, secret: Secret) -> str:
    value = secret.read()
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError("alerts.webhook", [f"headers.{name}: the secret is not one line of ASCII"])
    return value


def _words(error: Exception) -> str:
    """Return what went wrong; only what the system or OpenSSL says of it, which knows no address."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, OSError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, ssl.SSLError):
        return f"{type(error).__name__}: {reason.reason}"
    return (
        f"{type(error).__name__}: {reason.strerror}" if reason is not None and reason.strerror else type(error).__name__
    )


def _body(message: Message, form: str) -> JsonValue:
    if form == "slack":
        return {"text": f"*{_for_slack(message.subject)}*\n```{_for_slack(message.text[:SLACK_CHARACTERS])}```"}
    if form == "teams":
        return _for_teams(message)
    return {
        "sealdrop": __version__,
        "host": message.host,
        "at": message.at.isoformat(),
        "subject": shown(message.subject),
        "text": message.text,
        "alerts": list(message.alerts),
    }


def _for_slack(text: str) -> str:
    """Slack's escapes, and nothing that ends the block that the text stands in: a file's name calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("```", "'''")


def _for_teams(message: Message) -> JsonValue:
    """An adaptive card of runs of text, in which nothing is markup."""

    def block(text: str, **looks: JsonValue) -> JsonValue:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **looks}]}

    card: JsonValue = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [
            block(shown(message.subject), weight="Bolder", size="Medium"),
            block(message.text[:TEAMS_CHARACTERS], fontType="Monospace"),
        ],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }
