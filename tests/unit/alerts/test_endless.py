"""Servers that never come to an end: a message takes a bounded time and bounded memory, and is tried again later."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import pytest

from running import PATIENCE_S
from sealdrop.alerts.mail import LONGEST_ANSWERS_BYTES, MailChannel
from sealdrop.alerts.message import Channel, Message
from sealdrop.alerts.webhook import WebhookChannel
from sealdrop.config import Email, Webhook
from sealdrop.errors import Retryable

MESSAGE = Message("host", datetime(2026, 11, 24, tzinfo=UTC), "subject", "text\n", ())
TIMEOUT_S = 0.3
DRIPS = 1_000  # after which a server that dribbles comes to its end after all: much later than anybody may wait
PAUSE_S = 0.02


@contextmanager
def server(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Run a server of one connection while the block runs; give its port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError), listening.accept()[0] as connection:
                behave(connection, over)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join(PATIENCE_S)


def mail(port: int, **changes: Any) -> Channel:  # noqa: ANN401 - any key
    """Return a channel to a mail server on this machine."""
    keys = {"host": "127.0.0.1", "port": port, "security": "none", "from": "a@b.example", "to": ["a@b.example"]}
    return MailChannel(Email.model_validate({**keys, **changes}))


def hook(port: int, **changes: Any) -> Channel:  # noqa: ANN401 - any key
    """Return a channel to a webhook on this machine."""
    return WebhookChannel(Webhook.model_validate({"url": f"http://127.0.0.1:{port}/", **changes}))


@pytest.mark.parametrize("line", [b"220-" + b"x" * 1_000 + b"\r\n", b"x" * 1_000])
def test_a_greeting_without_end_is_not_gathered(line: bytes) -> None:
    """Lines that are to be followed by another, and one that never ends: little of it is read."""
    sent = []

    def behave(connection: socket.socket, _: threading.Event) -> None:
        for piece in repeat(line, 64 * LONGEST_ANSWERS_BYTES // len(line)):
            connection.sendall(piece)
            sent.append(len(piece))

    with server(behave) as port, pytest.raises(Retryable, match=r"answers without end|Line too long"):
        mail(port).send(MESSAGE)
    assert sum(sent) < 63 * LONGEST_ANSWERS_BYTES


@pytest.mark.parametrize(
    ("channel", "begin", "drip", "end"),
    [
        (mail, b"", b"220-\r\n", b"220 at last\r\n"),
        (mail, b"220 hello\r\n", b"2", b"50 at last\r\n"),
        (hook, b"HTTP/1.1 200 OK\r\nx: ", b"a", b"\r\nContent-Length: 0\r\n\r\n"),
        (hook, b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_who_dribbles_is_not_waited_for(channel: Callable[..., Channel], begin: bytes, drip: bytes, end: bytes) -> None:
    """Each wait is short, and there is no end of them: the message has a time of its own."""
    dripped = []

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(begin)
        for piece in repeat(drip, DRIPS):
            connection.sendall(piece)
            dripped.append(piece)
            if over.wait(PAUSE_S):
                return
        connection.sendall(end)

    with server(behave) as port, pytest.raises(Retryable):
        channel(port, timeout_s=TIMEOUT_S).send(MESSAGE)
    assert 2 < len(dripped) < DRIPS


@pytest.mark.parametrize("host", ["xn--a.example", "a" * 63 + "\N{LATIN SMALL LETTER E WITH ACUTE}.example"])
def test_what_is_no_hosts_name_is_a_failed_try(host: str) -> None:
    """A library's refusal of the name itself ends neither the sender nor the trial, and does not tell the address."""
    with pytest.raises(Retryable) as caught:
        WebhookChannel(Webhook.model_construct(url=f"https://{host}/s3cret")).send(MESSAGE)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["hooks..example.com", "a" * 70 + ".example.com", "ex\N{LATIN SMALL LETTER A}..com"])
def test_an_address_without_a_hosts_name_is_refused_in_the_configuration(host: str) -> None:
    """Whoever writes it is told at once, not when something is wrong."""
    with pytest.raises(ValueError, match="must be an https:// address"):
        Webhook.model_validate({"url": f"https://{host}/x"})
