"""A deadline for each whole call, kept at the sockets.

httpx and httpcore bound each connect, read and write, but not their number: a server that sends one byte a minute
holds a call for ever. So every network operation of a call is given what is left of the call's own time, and no more:

- the name lookup, in a thread that is left behind if it does not come back (the resolver gives up by itself);
- each address that is tried, and the TLS handshake, which Python bounds as a whole;
- each read, and each write of at most `_PIECE_BYTES`.

The call's record also notes how far it came, which decides what its failure means: was a connection made, did
anything of the request leave, did anything come back?
"""

import queue
import select
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

from sealdrop.clock import Clock
from sealdrop.threads import NamedThread

_PIECE_BYTES = 1 << 16
# How a socket that never blocks says that it would have to. TLS may have to read before it writes, and says so.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_EVENTS: Mapping[type[OSError], int] = {ssl.SSLWantReadError: select.POLLIN, ssl.SSLWantWriteError: select.POLLOUT}


class Progress:
    """How far one call came, and how much of its time is left. Belongs to the thread that makes the call."""

    def __init__(self, limit_s: float, clock: Clock) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._deadline = clock.monotonic() + limit_s
        self.connected = False  # a connection was made for this call, not kept from an earlier one
        self.shown: Mapping[str, Any] | None = None  # the certificate that the server showed on that connection
        self.began_sending = False
        self.answered = False
        # What the operating system or OpenSSL said, in order: httpcore lets a failed write pass, in case an answer was
        # sent before, and drops the causes of its errors.
        self.failures: list[BaseException] = []

    def is_over(self) -> bool:
        """Return whether the call's time is used up."""
        return self._clock.monotonic() >= self._deadline

    def left_s(self, timeout_s: float | None) -> float:
        """Return the seconds that the next operation may take: ``timeout_s``, or what is left if that is less.

        Raises:
            httpcore.TimeoutException: nothing is left.
        """
        left_s = self._deadline - self._clock.monotonic()
        if left_s <= 0:
            raise httpcore.TimeoutException(self.words())
        return left_s if timeout_s is None else min(timeout_s, left_s)

    def ends(self, timeout_s: float | None) -> float:
        """Return when the next operation must have ended, on the clock that `until_s` reads.

        Raises:
            httpcore.TimeoutException: nothing is left.
        """
        left_s = self.left_s(timeout_s)
        return self._clock.monotonic() + left_s

    def until_s(self, moment: float) -> float:
        """Return the seconds until then, 0 if it has passed."""
        return max(moment - self._clock.monotonic(), 0.0)

    def words(self) -> str:
        """Return what to say of a call that its deadline ended."""
        return f"the deadline of {self._limit_s:g} s for the whole call passed"


_progress: ContextVar[Progress] = ContextVar("sealdrop_signapi_progress")


@contextmanager
def call_within(limit_s: float, clock: Clock) -> Iterator[Progress]:
    """Hold all network operations of this thread to ``limit_s`` seconds in total, and note their progress."""
    progress = Progress(limit_s, clock)
    token = _progress.set(progress)
    try:
        yield progress
    finally:
        _progress.reset(token)


class DeadlineBackend(httpcore.NetworkBackend):
    """Network connections that can only be used inside of `call_within`, and never outlast it."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to the first address of ``host`` that takes one.

        Raises:
            httpcore.ConnectError: none does, or the name has none.
            httpcore.TimeoutException: none did in time.
        """
        progress = _progress.get()
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port, progress.left_s(timeout)):
            try:
                stream = self._inner.connect_tcp(address, port, progress.left_s(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                progress.connected = True
                return _DeadlineStream(stream)
        raise failure


class _DeadlineStream(httpcore.NetworkStream):
    """A connection, plain or TLS, whose every operation is held to the deadline of the call that makes it.

    The socket never blocks: what there is is taken, and only for what is not there yet is there a wait, of bounded
    length. So one read takes as many TLS records (of at most 16 KiB) as have come, and what reads them has them at
    once; and no operation needs the system to be told of its timeout.
    """

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._socket: socket.socket = inner.get_extra_info("socket")
        self._socket.settimeout(0.0)
        self._awaited = select.POLLIN
        self._failure: OSError | None = None  # what came after the last bytes that were read
        self._has_ended = False  # nothing more will come: it must not be used again

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        progress = _progress.get()
        try:
            left_s = progress.left_s(timeout)
        except httpcore.TimeoutException:
            self._inner.close()
            raise
        try:
            secured = self._inner.start_tls(ssl_context, server_hostname, left_s)
        except httpcore.NetworkError as error:
            if error.__cause__ is not None:
                progress.failures.append(error.__cause__)
            raise
        progress.shown = secured.get_extra_info("ssl_object").getpeercert()
        return _DeadlineStream(secured)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        progress = _progress.get()
        ends = progress.ends(timeout)
        try:
            while (data := self._take(max_bytes)) is None:
                if not self._waited(progress, ends):
                    raise httpcore.ReadTimeout("The read operation timed out")
        except OSError as error:
            progress.failures.append(error)
            raise httpcore.ReadError(error) from error
        progress.answered = progress.answered or bool(data)
        return data

    def _take(self, max_bytes: int) -> bytes | None:
        """Return what has come, and nothing at the end; None if nothing has come yet."""
        if self._failure is not None:
            raise self._failure
        pieces, left_bytes = list[bytes](), max_bytes
        try:
            while left_bytes and not self._has_ended:
                piece = self._socket.recv(left_bytes)
                self._has_ended = not piece
                pieces.append(piece)
                left_bytes -= len(piece)
        except _NOT_YET as error:
            if not pieces:
                self._awaited = _EVENTS.get(type(error), select.POLLIN)
                return None
        except OSError as error:
            if not pieces:
                raise
            self._failure = error  # what came before it may be a whole answer
            self._has_ended = True
        return b"".join(pieces)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        progress = _progress.get()
        view = memoryview(buffer)
        for start in range(0, len(buffer), _PIECE_BYTES):
            ends = progress.ends(timeout)
            progress.began_sending = True
            try:
                self._send(view[start : start + _PIECE_BYTES], progress, ends)
            except OSError as error:
                progress.failures.append(error)
                raise httpcore.WriteError(error) from error

    def _send(self, piece: memoryview, progress: Progress, ends: float) -> None:
        while piece:
            try:
                piece = piece[self._socket.send(piece) :]
            except _NOT_YET as error:
                self._awaited = _EVENTS.get(type(error), select.POLLOUT)
                if not self._waited(progress, ends):
                    raise httpcore.WriteTimeout("The write operation timed out") from None

    def _waited(self, progress: Progress, ends: float) -> bool:
        """Wait for what is awaited; return whether that came before the operation ``ends``."""
        left_s = progress.until_s(ends)
        poller = select.poll()
        poller.register(self._socket, self._awaited)
        return left_s > 0 and bool(poller.poll(left_s * 1000))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own signature
        # So httpcore asks before it uses a connection again: what is readable without having been asked is its end.
        # That may have been read already, behind the last answer.
        if info == "is_readable" and self._has_ended:
            return True
        return self._inner.get_extra_info(info)


def _addresses(host: str, port: int, timeout_s: float) -> list[str]:
    """Return the addresses of ``host`` in the system's order of preference.

    Raises:
        httpcore.ConnectError: the name cannot be resolved.
        httpcore.ConnectTimeout: not in time.
    """
    found: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([str(entry[4][0]) for entry in entries])
        except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a name
            found.put(error)

    NamedThread(look_up, "lookup").start()
    try:
        addresses = found.get(timeout=timeout_s)
    except queue.Empty as error:
        raise httpcore.ConnectTimeout(f"looking up {host} took more than {timeout_s:g} s") from error
    if isinstance(addresses, Exception):
        raise httpcore.ConnectError(f"cannot look up {host}: {addresses}") from addresses
    return addresses
