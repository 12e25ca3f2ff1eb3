"""A call ends by its own deadline, whatever the peer does, which would go on for minutes."""

import fcntl
import random
import select
import socket
import ssl
import struct
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import httpcore
import pytest

from running import until
from sealdrop.clock import SystemClock
from sealdrop.config import Seal
from sealdrop.errors import OutcomeUnknown, Retryable
from sealdrop.model import ExternalId, RequestId
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.deadline import DeadlineBackend, call_within
from sealdrop.signapi.tls import client_context
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


def secured(pki: Pki, peer: Peer) -> httpcore.NetworkStream:
    """Return a connection to the peer, as a call has one."""
    context = client_context(pki.account(peer.port), now=SystemClock().now())
    return DeadlineBackend().connect_tcp("127.0.0.1", peer.port).start_tls(context, "localhost")


def waiting_bytes(stream: httpcore.NetworkStream) -> int:
    """Return how much has come, as it came over the network."""
    found = fcntl.ioctl(stream.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(found, sys.byteorder)


def test_one_read_takes_all_records_that_have_come(pki: Pki) -> None:
    """Four TLS records that are there make one read, and no more than was asked for."""
    content = bytes(range(256)) * 256

    def speak(connection: socket.socket, peer: Peer) -> None:
        with pki.server_context().wrap_socket(connection, server_side=True) as side:
            side.sendall(content)
            peer.stopping.wait(SERVER_S)

    with running(pki.server_context(), raw=speak) as peer, call_within(SERVER_S, SystemClock()):
        stream = secured(pki, peer)
        until(lambda: waiting_bytes(stream) > len(content))
        assert stream.read(40_000) == content[:40_000]
        assert stream.read(1 << 16) == content[40_000:]
        stream.close()


def test_what_came_before_a_break_is_read(pki: Pki) -> None:
    """An answer that is followed by a reset arrives; then the break is told, and noted as what it was."""

    def answer_and_reset(connection: socket.socket, _: Peer) -> None:
        connection.recv(1)
        connection.sendall(b"the answer")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        running(pki.server_context(), raw=answer_and_reset) as peer,
        call_within(SERVER_S, SystemClock()) as progress,
    ):
        stream = DeadlineBackend().connect_tcp("127.0.0.1", peer.port)
        stream.write(b"?")
        broken = select.poll()
        broken.register(stream.get_extra_info("socket"), select.POLLHUP)
        assert broken.poll(SERVER_S * 1000)
        assert stream.read(1 << 16) == b"the answer"
        with pytest.raises(httpcore.ReadError):
            stream.read(1 << 16)
        assert isinstance(progress.failures[-1], ConnectionResetError)
        stream.close()


def test_a_connection_that_was_said_to_end_is_not_used_again(pki: Pki) -> None:
    """The end came with the answer, and was read with it: nothing is left that would show it to the pool."""
    said = threading.Event()

    def answer_and_end(connection: socket.socket, peer: Peer) -> None:
        with pki.server_context().wrap_socket(connection, server_side=True) as side:
            side.sendall(b"the answer")
            side.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                side.unwrap()  # says so, and does not wait for the other side to say it, too
            said.set()
            peer.stopping.wait(SERVER_S)

    with running(pki.server_context(), raw=answer_and_end) as peer, call_within(SERVER_S, SystemClock()):
        stream = secured(pki, peer)
        assert said.wait(SERVER_S)
        assert stream.read(1 << 16) == b"the answer"
        assert stream.get_extra_info("is_readable")
        assert stream.read(1 << 16) == b""
        stream.close()


def test_a_request_that_is_read_bit_by_bit_arrives(pki: Pki) -> None:
    """What the network does not take at once is sent as it takes it, whole and in order."""
    content = random.Random(1).randbytes(3 << 20)
    took = bytearray()

    def sip(connection: socket.socket, _: Peer) -> None:
        with pki.server_context().wrap_socket(connection, server_side=True) as side:
            while len(took) < len(content) and (piece := side.recv(5000)):
                took.extend(piece)
            side.sendall(b"done")

    with running(pki.server_context(), raw=sip, receive_buffer=4096) as peer, call_within(SERVER_S, SystemClock()):
        stream = secured(pki, peer)
        stream.write(content)
        assert stream.read(1 << 16) == b"done"
        assert took == content
        stream.close()


def test_a_single_read_has_its_own_limit(pki: Pki) -> None:
    """Where nothing comes, a read ends by its own timeout, long before the call's deadline, and says so."""
    with (
        running(pki.server_context(), raw=lambda _, peer: peer.stopping.wait(SERVER_S) and None) as peer,
        call_within(SERVER_S, SystemClock()) as progress,
    ):
        stream = DeadlineBackend().connect_tcp("127.0.0.1", peer.port)
        with pytest.raises(httpcore.ReadTimeout, match="The read operation timed out"):
            stream.read(1, timeout=STEP_S)
        with pytest.raises(httpcore.WriteTimeout, match="The write operation timed out"):
            stream.write(bytes(64 << 20), timeout=STEP_S)
        assert not progress.is_over()
        stream.close()
