"""Alerts by e-mail (RFC 5321, RFC 5322), over TLS unless the configuration says otherwise.

The server's certificate and name are always verified. What others have a hand in, such as names of files, cannot reach
beyond the line it stands in: the subject is one printable line, and the library refuses a header with a line break.

The library bounds each wait for some bytes and each line, but neither the number of lines nor the whole; so what the
server says is read within a deadline, and up to a size.
"""

import smtplib
import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Any

from sealdrop.alerts.message import CALL_TIMEOUTS, Message, shown
from sealdrop.alerts.trust import verified
from sealdrop.clock import Clock, SystemClock
from sealdrop.config import Email
from sealdrop.errors import ConfigurationError, Retryable

PORTS = {"starttls": 587, "tls": 465, "none": 25}
LONGEST_ANSWERS_BYTES = 256 << 10  # of a server in all; an honest one says some hundred
_PIECE_BYTES = 4_096


class MailChannel:
    """One mail server and whom to write to."""

    name = "email"

    def __init__(self, config: Email, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()

    def send(self, message: Message) -> str | None:
        """Hand the message to the mail server; return whom it refused, if it took it for others.

        Raises:
            Retryable: it took it for nobody.
        """
        password = None
        try:
            password = self._config.password.read() if self._config.password is not None else None
            with self._connected() as server:
                if self._config.user is not None and password is not None:
                    server.login(self._config.user, password)
                refused = server.send_message(self._written(message), self._config.sender, self._config.to)
        except ConfigurationError as error:
            raise Retryable("; ".join(error.problems)) from error
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # ssl's errors are OSErrors; ValueError is what a password that is not ASCII makes of some servers' ways.
            secrets = _spellings(self._config.user or "", password or "")
            raise Retryable(f"mail server {self._config.host}: {_words(error, secrets)}") from None
        return f"the mail server refuses {', '.join(sorted(refused))}" if refused else None

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        config = self._config
        port = config.port or PORTS[config.security]
        patience = _Patience(config.timeout_s, self._clock)
        if config.security == "tls":
            trust = verified(config.ca_file)
            with _TlsServer(patience, config.host, port, timeout=config.timeout_s, context=trust) as server:
                yield server
            return
        with _Server(patience, config.host, port, timeout=config.timeout_s) as server:
            if config.security == "starttls":
                server.starttls(context=verified(config.ca_file))
            yield server

    def _written(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._config.sender
        mail["To"] = ", ".join(self._config.to)
        mail["Subject"] = shown(message.subject)
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = make_msgid("sealdrop", domain=self._config.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice answers it
        mail.set_content(message.text, cte="quoted-printable")  # every server takes it
        return mail


class _Patience:
    """What is left, of one message, of the time and of the bytes that the server may take to answer."""

    def __init__(self, timeout_s: float, clock: Clock) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline = clock.monotonic() + timeout_s * CALL_TIMEOUTS
        self._bytes = LONGEST_ANSWERS_BYTES

    def receive(self, connection: socket.socket) -> bytes:
        """Return what comes next, empty at the end.

        Raises:
            OSError: nothing came in time, or too much.
        """
        left_s = self._deadline - self._clock.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"not done after {self._timeout_s * CALL_TIMEOUTS:g} s")
        connection.settimeout(min(self._timeout_s, left_s))
        piece = connection.recv(_PIECE_BYTES)
        self._bytes -= len(piece)
        if self._bytes < 0:
            raise OSError("it answers without end")
        return piece


class _Answers:
    """The lines that a server says, as the library reads them."""

    def __init__(self, connection: socket.socket, patience: _Patience) -> None:
        self._connection = connection
        self._patience = patience
        self._unread = b""

    def readline(self, limit: int) -> bytes:
        """Return the next line, or its first ``limit`` bytes; less at the end."""
        while b"\n" not in self._unread and len(self._unread) < limit:
            piece = self._patience.receive(self._connection)
            if not piece:
                break
            self._unread += piece
        end = min(self._unread.find(b"\n") + 1 or limit, limit)
        line, self._unread = self._unread[:end], self._unread[end:]
        return line

    def close(self) -> None:
        """Forget the rest; the connection is the library's to close."""
        self._unread = b""


class _Server(smtplib.SMTP):
    """The library's side of a conversation that has an end."""

    def __init__(self, patience: _Patience, *where: Any, **options: Any) -> None:  # noqa: ANN401 - the library's own
        self._patience = patience
        super().__init__(*where, **options)

    def getreply(self) -> tuple[int, bytes]:
        """Return the next answer.

        Raises:
            smtplib.SMTPException: there is none.
        """
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock, self._patience)
        return super().getreply()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


def _spellings(user: str, password: str) -> Sequence[str]:
    """Return the password as it is, and as it is sent with a login (RFC 4616 and its forerunner), if there is one."""
    sent = (f"\0{user}\0{password}".encode(), password.encode())
    return (*(b64encode(each).decode().rstrip("=") for each in sent), password) if password else ()


def _words(error: Exception, secrets: Sequence[str]) -> str:
    """Return what went wrong, without the message, the password or anything else that was sent.

    A server may repeat what it was sent: of its words, the ``secrets`` are left out.
    """
    match error:
        case smtplib.SMTPRecipientsRefused():
            return f"it refuses {', '.join(sorted(error.recipients))}"
        case smtplib.SMTPResponseException():
            said = error.smtp_error
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            for secret in secrets:
                text = text.replace(secret, "***")
            return shown(f"{type(error).__name__}: {error.smtp_code} {text}")
        case OSError():
            return shown(f"{type(error).__name__}: {error.strerror or error}")
        case _:
            return (
                shown(f"{type(error).__name__}: {error}") if isinstance(error, smtplib.SMTPException) else "ValueError"
            )
