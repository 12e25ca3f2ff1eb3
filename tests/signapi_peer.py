"""A peer for the SignAPI client: a TLS server on loopback whose every byte a test decides, and its certificates."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import trustme

from sealdrop.config import Account


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Pki:
    """One authority for the server, another for its clients, and where our own files are."""

    folder: Path
    server_ca: trustme.CA
    client_ca: trustme.CA
    server: trustme.LeafCert
    client: trustme.LeafCert

    @classmethod
    def make(cls, folder: Path) -> "Pki":
        """Return new certificates, with our files in ``folder``."""
        server_ca, client_ca = trustme.CA(), trustme.CA()
        made = cls(
            folder,
            server_ca,
            client_ca,
            server_ca.issue_cert("localhost", "127.0.0.1"),
            client_ca.issue_cert("client@example.org"),
        )
        server_ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        made.client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
        return made

    def server_context(self) -> ssl.SSLContext:
        """Return a context that demands a certificate of the client authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(context)
        self.client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def account(self, port: int, **changes: object) -> Account:
        """Return an account at the peer on ``port``."""
        values = {
            "base_url": f"https://localhost:{port}",
            "certificate": self.folder / "client.pem",
            "ca_file": self.folder / "ca.pem",
            "organisation": "Example",
            "trust_anchors": (self.folder / "ca.pem",),
            "call_timeout_s": 20.0,
        }
        return Account.model_validate({**values, **changes})


Reply = bytes | Callable[[ssl.SSLSocket], None] | None


@dataclass
class Peer:
    """The server. ``replies`` are used up in order, the last one again and again; None closes the connection."""

    port: int
    replies: list[Reply] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def next_reply(self) -> Reply:
        """Return what to answer now."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def reply(status: int, body: object, **headers: str) -> bytes:
    """Return a whole HTTP answer; ``body`` is sent as it is if it is bytes, else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@contextmanager
def running(
    context: ssl.SSLContext, *, raw: Callable[[socket.socket, Peer], None] | None = None, receive_buffer: int = 0
) -> Iterator[Peer]:
    """Serve until the block is left; ``raw`` takes each connection over before TLS."""
    listener = socket.socket()
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    peer = Peer(listener.getsockname()[1])
    threads: list[threading.Thread] = []
    open_sockets: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            peer.connections += 1
            open_sockets.append(connection)
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if raw is not None:
                raw(connection, peer)
                return
            with context.wrap_socket(connection, server_side=True) as secured:
                open_sockets.append(secured)
                while (request := _receive(secured)) is not None:
                    peer.received.append(request)
                    answer = peer.next_reply()
                    if answer is None:
                        return
                    if callable(answer):
                        answer(secured)
                        return
                    secured.sendall(answer)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield peer
    finally:
        peer.stopping.set()
        for each in (listener, *open_sockets):
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for thread in threads:
            thread.join(10)


def _receive(connection: ssl.SSLSocket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = bytearray(rest)
    while len(body) < int(headers.get("content-length", "0")):
        piece = connection.recv(65536)
        if not piece:
            return None
        body += piece
    method, target, _ = first.split(" ")
    url = urlsplit(target)
    return Received(method, url.path, dict(parse_qsl(url.query)), headers, bytes(body))
