"""A call ends by its own deadline, whatever the peer does, which would go on for minutes."""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import httpcore
import pytest

from sealdrop.clock import SystemClock
from sealdrop.config import Seal
from sealdrop.errors import OutcomeUnknown, Retryable
from sealdrop.model import ExternalId, RequestId
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.deadline import DeadlineBackend, call_within
from sealdrop.signapi.wire import NewRequest
from signapi_peer import Peer, Pki, running

DEADLINE_S = 0.5
SERVER_S = 120.0  # how long the peers below would go on
STEP_S = 0.05
STEPS = int(SERVER_S / STEP_S)
ENDED = "the deadline of 0.5 s for the whole call passed"


def trickle(secured: socket.socket, peer: Peer, pieces: bytes) -> None:
    """Send one byte at a time, each well within any read timeout, until the test is over."""
    for start in range(len(pieces)):
        if peer.stopping.wait(STEP_S):
            return
        secured.sendall(pieces[start : start + 1])


def connect(pki: Pki, peer: Peer) -> SignApi:
    """Return a client with a short deadline and long timeouts of every other kind."""
    account = pki.account(peer.port, call_timeout_s=DEADLINE_S, connect_timeout_s=SERVER_S, read_timeout_s=SERVER_S)
    return SignApi(account, SystemClock(), largest_document_bytes=1 << 20)


def headers(secured: ssl.SSLSocket, peer: Peer) -> None:
    """Answer with headers that never end."""
    trickle(secured, peer, b"HTTP/1.1 200 OK\r\nX: " + b"x" * STEPS)


def body(secured: ssl.SSLSocket, peer: Peer) -> None:
    """Answer with a body that never ends."""
    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % STEPS)
    trickle(secured, peer, b" " * STEPS)


def interim(secured: ssl.SSLSocket, peer: Peer) -> None:
    """Say again and again that the answer will come."""
    while not peer.stopping.wait(STEP_S):
        secured.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def silence(_: ssl.SSLSocket, peer: Peer) -> None:
    """Say nothing."""
    peer.stopping.wait(SERVER_S)


@pytest.mark.parametrize("answer", [headers, body, interim, silence])
def test_a_slow_answer(pki: Pki, answer: Callable[[ssl.SSLSocket, Peer], None]) -> None:
    """An answer that never ends ends at the deadline: retryable when reading, unknown when changing."""
    with running(pki.server_context()) as peer, connect(pki, peer) as api:
        peer.replies = [lambda secured: answer(secured, peer)]
        with pytest.raises(Retryable, match=f"no answer: {ENDED}"):
            api.status(external_id=ExternalId("x"))
        with pytest.raises(OutcomeUnknown, match=f"no answer: {ENDED}"):
            api.sign(RequestId("1"))
        assert not peer.stopping.is_set()


def stalled_record(connection: socket.socket, peer: Peer) -> None:
    """Begin a TLS record of the server's, a byte at a time."""
    connection.recv(1 << 16)
    trickle(connection, peer, b"\x16\x03\x03\x10\x00" + b"\x02" * STEPS)


def stalled_handshake(_: socket.socket, peer: Peer) -> None:
    """Take the connection and say nothing."""
    peer.stopping.wait(SERVER_S)


@pytest.mark.parametrize("raw", [stalled_record, stalled_handshake])
def test_a_slow_handshake(pki: Pki, raw: Callable[[socket.socket, Peer], None]) -> None:
    """A handshake that never ends ends at the deadline, and nothing was sent."""
    with running(pki.server_context(), raw=raw) as peer, connect(pki, peer) as api:
        with pytest.raises(Retryable, match=f"nothing was sent: {ENDED}"):
            api.sign(RequestId("1"))
        assert not peer.stopping.is_set()


def test_a_request_that_is_never_read(pki: Pki, tmp_path: Path) -> None:
    """A peer that leaves the request lying holds us no longer than the deadline."""
    document = tmp_path / "large.pdf"
    document.write_bytes(bytes(16 << 20))

    def unread(connection: socket.socket, peer: Peer) -> None:
        with pki.server_context().wrap_socket(connection, server_side=True):
            peer.stopping.wait(SERVER_S)

    with running(pki.server_context(), raw=unread, receive_buffer=4096) as peer, connect(pki, peer) as api:
        with pytest.raises(OutcomeUnknown, match=f"no answer: {ENDED}"):
            api.create([NewRequest(ExternalId("x"), document, Seal())])
        assert not peer.stopping.is_set()


def test_a_request_that_is_read_slowly(pki: Pki, tmp_path: Path) -> None:
    """Reading on, if slowly, buys a peer no more time than the deadline."""
    document = tmp_path / "large.pdf"
    document.write_bytes(bytes(16 << 20))

    def sipping(connection: socket.socket, peer: Peer) -> None:
        with pki.server_context().wrap_socket(connection, server_side=True) as secured:
            while not peer.stopping.wait(STEP_S) and secured.recv(4096):
                pass

    with running(pki.server_context(), raw=sipping, receive_buffer=4096) as peer, connect(pki, peer) as api:
        with pytest.raises(OutcomeUnknown, match=f"no answer: {ENDED}"):
            api.create([NewRequest(ExternalId("x"), document, Seal())])
        assert not peer.stopping.is_set()


def test_a_name_lookup_that_does_not_come_back(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs is left behind at the deadline, and nothing was sent."""
    never = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        never.wait(SERVER_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with running(pki.server_context()) as peer, connect(pki, peer) as api:
        with pytest.raises(Retryable, match=f"nothing was sent: {ENDED}"):
            api.sign(RequestId("1"))
        assert peer.connections == 0
    never.set()


def test_waiting_for_a_connection_is_bounded(pki: Pki) -> None:
    """A call that finds all connections busy for the length of its timeout ends, and nothing was sent."""
    with running(pki.server_context()) as peer:
        entered = threading.Event()

        def held(_: ssl.SSLSocket) -> None:
            entered.set()
            peer.stopping.wait(SERVER_S)

        peer.replies = [held]
        patient = pki.account(peer.port, connections=1, call_timeout_s=SERVER_S, read_timeout_s=SERVER_S)
        with SignApi(patient, SystemClock(), largest_document_bytes=1) as api:
            outcome: list[BaseException] = []

            def first() -> None:
                try:
                    api.sign(RequestId("1"))
                except OutcomeUnknown as error:
                    outcome.append(error)

            thread = threading.Thread(target=first)
            thread.start()
            assert entered.wait(10)
            api._transport._client.timeout = DEADLINE_S
            with pytest.raises(Retryable, match="nothing was sent: PoolTimeout"):
                api.sign(RequestId("2"))
            peer.stopping.set()
            thread.join(10)
            assert len(outcome) == 1
            assert len(peer.received) == 1


def test_each_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a dead address and a live one is reached; with none that is live, the last failure is told."""
    with socket.socket() as listener, socket.socket() as dead:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        dead.bind(("127.0.0.2", port))
        addresses = ["127.0.0.2", "127.0.0.1"]
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, port, *_, **__: [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in (addresses if host == "service.test" else [host])
            ],
        )
        backend = DeadlineBackend()
        with call_within(10.0, SystemClock()) as progress:
            stream = backend.connect_tcp("service.test", port, timeout=5.0)
            assert progress.connected
            stream.close()
            addresses.remove("127.0.0.1")
            with pytest.raises(httpcore.ConnectError, match="refused"):
                backend.connect_tcp("service.test", port, timeout=5.0)
            addresses.clear()
            with pytest.raises(httpcore.ConnectError, match="no address"):
                backend.connect_tcp("service.test", port, timeout=5.0)


def test_no_network_outside_of_a_call() -> None:
    """A connection made without a deadline would have none, so it cannot be made."""
    with pytest.raises(LookupError):
        DeadlineBackend().connect_tcp("127.0.0.1", 9)


class Stepping:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time_s = 0.0

    now = SystemClock().now

    def monotonic(self) -> float:
        """Return the time that the test has set."""
        return self.time_s


def test_nothing_is_written_after_the_deadline() -> None:
    """A call whose time is up sends nothing more, reads nothing more, and closes what it was about to secure."""
    clock = Stepping()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with call_within(10.0, clock) as progress:
            stream = DeadlineBackend().connect_tcp("127.0.0.1", listener.getsockname()[1])
            clock.time_s = 10.0
            assert progress.is_over()
            with pytest.raises(httpcore.TimeoutException, match="deadline of 10 s"):
                stream.write(b"x")
            assert not progress.began_sending
            with pytest.raises(httpcore.TimeoutException):
                stream.read(1)
            with pytest.raises(httpcore.TimeoutException):
                stream.start_tls(ssl.create_default_context(), "localhost")
            assert stream.get_extra_info("socket").fileno() == -1
