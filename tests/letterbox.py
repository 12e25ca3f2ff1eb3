"""A mail server and a webhook's server on this machine, with certificates of their own, that keep what they get."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from running import PATIENCE_S

USER, PASSWORD = "sealdrop", "m4il-p4ss"


class Authority:
    """Who both servers' certificates come from; ``ca_file`` is its own."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = folder / "mail-ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def context(self, name: str = "localhost") -> ssl.SSLContext:
        """Return a server's side of TLS, in that name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name).configure_cert(context)
        return context


@dataclass
class Mailbox:
    """Mails that a server took, and how it is to behave: ``answer`` is what it says to each mail."""

    port: int = 0
    answer: str = "250 OK"
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    logins: list[tuple[str, str]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or refuse it."""
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Take a mail, or refuse it."""
        with self.came:
            if self.answer.startswith("250"):
                content = envelope.content
                assert isinstance(content, bytes)
                mail: Any = message_from_bytes(content, policy=default)
                self.mails.append(mail)
                self.envelopes.append((envelope.mail_from or "", list(envelope.rcpt_tos)))
            self.came.notify_all()
        return self.answer

    def wait_for(self, number: int) -> None:
        """Return once so many mails have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.mails) >= number, PATIENCE_S), self.mails


def text_of(mail: EmailMessage) -> str:
    """Return what a person reads."""
    content: str = mail.get_content()
    return content.replace("\r\n", "\n")


class _OnAnyPort(Controller):
    """Knows the port that the system chose, where 0 was asked for."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(authority: Authority | None, *, name: str = "localhost", implicit: bool = False) -> Iterator[Mailbox]:
    """Run a mail server while the block runs: with TLS, by STARTTLS or ``implicit``, and a password; or without."""
    box = Mailbox()

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:  # noqa: ANN401 - the library's
        login = (data.login.decode(), data.password.decode())
        box.logins.append(login)
        return AuthResult(success=login == (USER, PASSWORD), handled=False)

    options: dict[str, Any] = {}
    if authority is not None:
        context = authority.context(name)
        tls = {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
        options = {**tls, "authenticator": check, "auth_required": not implicit, "auth_require_tls": not implicit}
    controller = _OnAnyPort(box, hostname="127.0.0.1", port=0, ready_timeout=PATIENCE_S, **options)
    controller.start()
    try:
        box.port = controller.port
        yield box
    finally:
        controller.stop()


@dataclass
class Hook:
    """Requests that came: path, headers and body; ``status`` is what is answered."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)


@contextmanager
def hook_server(authority: Authority | None) -> Iterator[Hook]:
    """Run a webhook's server while the block runs, with TLS if an authority is given."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with hook.came:
                hook.requests.append((self.path, dict(self.headers), body))
                hook.came.notify_all()
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if authority is not None:
        server.socket = authority.context().wrap_socket(server.socket, server_side=True)
        scheme = "https"
    hook.url = f"{scheme}://localhost:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)
