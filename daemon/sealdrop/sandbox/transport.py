"""The sandbox's hold on its connections, for the faults that no HTTP answer can express.

uvicorn keeps transports to itself; `Protocol` hands each request its own, so that its connection can be reset or cut.
`Gate` stands at the listening socket: while it is shut nothing listens, and connecting is refused.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.faults import REFUSALS, Operation
from sealdrop.sandbox.plan import FaultPlan

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BACKLOG = 128
_TRANSPORT_KEY = "sealdrop.transport"
_WATCH_S = 0.02
_GRACE_S = 3.0  # for answers under way when the sandbox is told to stop
_GOODBYE_S = 0.2  # for their last bytes to leave
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time at all: what is unsent is dropped, and a reset sent


class Protocol(H11Protocol):
    """HTTP/1.1 whose requests know their connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's affair
        super().__init__(*args, **kwargs)
        inner = self.app

        async def knowing(scope: "Scope", receive: "Receive", send: "Send") -> None:
            scope[_TRANSPORT_KEY] = self.transport
            await inner(scope, receive, send)

        self.app = knowing


def reset(scope: "Scope") -> None:
    """Reset the connection of the request with ``scope``: the peer gets a TCP RST and no answer."""
    transport: asyncio.Transport = scope[_TRANSPORT_KEY]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def cut(scope: "Scope") -> None:
    """Close the connection of the request with ``scope`` after what was sent already."""
    transport: asyncio.Transport = scope[_TRANSPORT_KEY]
    transport.close()


def listen(port: int) -> socket.socket:
    """Return a socket that listens on ``port`` of the loopback address; 0 means any that is free.

    Raises:
        SandboxError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)  # only now is the port ours alone: two sockets may bind one, if neither listens
    except OSError as error:
        listener.close()
        raise SandboxError(f"port {port} cannot be used: {error.strerror}") from error
    return listener


class Gate:
    """Shuts the listening socket of a server for a while when the fault plan says so."""

    def __init__(self, plan: FaultPlan, port: int) -> None:
        self._plan = plan
        self._port = port
        self._server: Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()

    @property
    def is_shut(self) -> bool:
        """Whether connections are being refused."""
        return self._reopening is not None

    def attach(self, server: "Server") -> None:
        """Stand at the socket of ``server``, which has just begun to listen."""
        self._server = server

    async def watch(self) -> None:
        """Shut whenever the plan asks, until cancelled."""
        while True:
            with contextlib.suppress(SandboxError):  # every call answers with what is wrong with the plan
                self.obey()
            await asyncio.sleep(_WATCH_S)

    def obey(self) -> bool:
        """Shut at once if the plan asks for it; return whether the gate is shut.

        Raises:
            SandboxError: the plan cannot be read.
        """
        if self._server is not None and not self.is_shut:
            fault = self._plan.take(Operation.ANY, REFUSALS)
            if fault is not None:
                self._server.stop_listening()
                self._reopening = asyncio.create_task(self._reopen(self._server, fault.seconds))
        return self.is_shut

    async def _reopen(self, server: "Server", seconds: float) -> None:
        await asyncio.sleep(seconds)
        while True:
            with contextlib.suppress(SandboxError):  # somebody took the port meanwhile; they may give it back
                await server.listen_again(listen(self._port))
                self._reopening = None
                return
            await asyncio.sleep(_WATCH_S)

    async def stop(self) -> None:
        """Let go of calls that are being held, and never open again."""
        self.stopping.set()
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)


class Server(uvicorn.Server):
    """uvicorn, able to stop listening for a while, and quick to end."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._gate.attach(self)
        self.listening.set()

    def stop_listening(self) -> None:
        """Refuse new connections; close those that are idle, and the others after their answer."""
        for server in self.servers:
            server.close()
        self.servers = []
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def listen_again(self, listener: socket.socket) -> None:
        """Take connections again, on ``listener``."""
        loop = asyncio.get_running_loop()

        def make_protocol() -> asyncio.Protocol:
            return Protocol(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )

        self.servers = [await loop.create_server(make_protocol, sock=listener, ssl=self.config.ssl, backlog=BACKLOG)]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: answers under way are finished if that is soon done, then all connections are dropped."""
        await self._gate.stop()
        self.stop_listening()
        await _until(lambda: not any(_is_answering(connection) for connection in self._connections()), _GRACE_S)
        # A goodbye in TLS waits for the peer's, which an idle client is in no hurry to send.
        await _until(lambda: not self._connections(), _GOODBYE_S)
        for connection in self._connections():
            connection.transport.abort()
        await super().shutdown(sockets)

    def _connections(self) -> list[Protocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, Protocol)]


def _is_answering(connection: Protocol) -> bool:
    # uvicorn declares the cycle as always there, but a connection has none before its first request.
    cycle: object | None = connection.cycle
    return cycle is not None and not connection.cycle.response_complete


async def _until(done: Callable[[], bool], limit_s: float) -> None:
    """Wait until ``done``, but not longer than ``limit_s``; uvicorn tells nobody when a connection ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not done():  # noqa: ASYNC110 - for the reason above
                await asyncio.sleep(_WATCH_S)
