"""Alerts by e-mail (RFC 5321, RFC 5322), over TLS unless the configuration says otherwise.

The server's certificate and name are always verified. What others have a hand in, such as names of files, cannot reach
beyond the line it stands in: the subject is one printable line, and the library refuses a header with a line break.
"""

import smtplib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from sealdrop.alerts.message import Message, shown
from sealdrop.alerts.trust import verified
from sealdrop.config import Email
from sealdrop.errors import ConfigurationError, Retryable

PORTS = {"starttls": 587, "tls": 465, "none": 25}


class MailChannel:
    """One mail server and whom to write to."""

    name = "email"

    def __init__(self, config: Email) -> None:
        self._config = config

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
        if config.security == "tls":
            with smtplib.SMTP_SSL(
                config.host, port, timeout=config.timeout_s, context=verified(config.ca_file)
            ) as server:
                yield server
            return
        with smtplib.SMTP(config.host, port, timeout=config.timeout_s) as server:
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
