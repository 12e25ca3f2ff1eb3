"""Runs the sandbox: inside another process (`Sandbox.start`), or as one of its own (`serve`).

A directory holds all of a sandbox: ``pki``, ``state``, ``archive``, ``seals.jsonl``, ``deposits.jsonl``, the fault plan
and the daemon's configuration. One sandbox at a time has it, by a lock that ends with the process. The port of the last
time is taken again, so that the configuration stays right.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from sealdrop.sandbox import configuration, files, record
from sealdrop.sandbox.app import Answers, Api
from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.plan import FaultPlan
from sealdrop.sandbox.record import Entry, Record
from sealdrop.sandbox.service import Delays, Service
from sealdrop.sandbox.store import Store
from sealdrop.sandbox.tls import server_context
from sealdrop.sandbox.transport import BACKLOG, Gate, Protocol, Server, listen

DEFAULT_PORT = 8443
_KEEP_ALIVE_S = 75
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.2  # how often to look whether the server's thread still lives


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything is below the sandbox's directory."""

    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "state" / "sandbox"

    @property
    def archive(self) -> Path:
        return self.directory / "archive"

    @property
    def seals(self) -> Path:
        return self.directory / "seals.jsonl"

    @property
    def deposits(self) -> Path:
        return self.directory / "deposits.jsonl"

    @property
    def faults(self) -> Path:
        return self.directory / "faults.json"

    @property
    def used_faults(self) -> Path:
        return self.state / "faults-used.json"

    @property
    def port(self) -> Path:
        return self.state / "port"


class Sandbox(AbstractContextManager["Sandbox"]):
    """A running sandbox; leaving the context stops it.

    ``url`` is its base URL, ``config_path`` the daemon's configuration, ``faults`` the plan of what goes wrong.
    """

    def __init__(self, places: _Places, pki: Pki, faults: FaultPlan, thread: "_ServerThread") -> None:
        self.directory = places.directory
        self.pki = pki
        self.faults = faults
        self.port = thread.port
        self.url = configuration.address(thread.port)
        self.config_path = places.directory / configuration.FILE_NAME
        self._places = places
        self._thread = thread
        self._closing = ExitStack()

    @classmethod
    def start(
        cls,
        directory: Path,
        port: int = 0,
        *,
        delays: Delays | None = None,
        answers: Answers | None = None,
        faults_file: Path | None = None,
        preferred_port: int = 0,
    ) -> Self:
        """Return a sandbox that answers calls.

        ``port`` 0 means that of the last time; where there was none ``preferred_port``, or if that is taken any that is
        free. ``faults_file`` takes the place of ``faults.json`` in the directory.

        Raises:
            SandboxError: the directory is another sandbox's, the port is taken, or something in the directory cannot
                be used.
        """
        places = _Places(directory.absolute())
        with ExitStack() as closing:
            try:
                closing.enter_context(_only_one(places))
                pki = Pki.ensure(places.directory)
                plan = FaultPlan(faults_file or places.faults, places.used_faults)
                plan.faults()
                previous_port = _previous_port(places)
                listener = _listener(port or previous_port or 0, preferred_port)
                closing.callback(listener.close)
                store = Store(places.state, places.archive)
                closing.callback(store.close)
                seals, deposits = Record(places.seals), Record(places.deposits)
                closing.callback(seals.close)
                closing.callback(deposits.close)
                bound_port = listener.getsockname()[1]
                gate = Gate(plan, bound_port)
                service = Service(pki, store, plan, seals, deposits, delays or Delays())
                api = Api(service, store, plan, gate, answers or Answers())
                thread = _ServerThread(_config(api, pki), gate, listener, bound_port)
                thread.start_and_wait()
                closing.callback(thread.stop)
                files.write(places.port, f"{bound_port}\n".encode())
                configuration.ensure(places.directory, bound_port, previous_port)
            except (OSError, ValueError) as error:
                raise SandboxError(f"the sandbox in {places.directory} cannot start: {error}") from error
            sandbox = cls(places, pki, plan, thread)
            sandbox._closing = closing.pop_all()
            return sandbox

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop; requests under way go on after the next start. A second call does nothing."""
        self._closing.close()

    @property
    def is_alive(self) -> bool:
        """Whether the server is still running."""
        return self._thread.is_alive()

    def seals(self) -> tuple[Entry, ...]:
        """Return every seal that was ever made here, oldest first."""
        return record.read(self._places.seals)

    def deposits(self) -> tuple[Entry, ...]:
        """Return every archive deposit that was ever made here, oldest first."""
        return record.read(self._places.deposits)


class _ServerThread(threading.Thread):
    """uvicorn in a thread of its own, which leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config, gate: Gate, listener: socket.socket, port: int) -> None:
        super().__init__(name="sandbox", daemon=True)
        self.port = port
        self._server = Server(config, gate)
        self._listener = listener

    def run(self) -> None:
        """Serve until told to stop."""
        self._server.run(sockets=[self._listener])

    def start_and_wait(self) -> None:
        """Start, and return once calls are answered.

        Raises:
            SandboxError: it did not come to that.
        """
        self.start()
        while not self._server.listening.wait(_LOOK_S):
            if not self.is_alive():
                raise SandboxError("the server did not start; its own words are above")

    def stop(self) -> None:
        """Stop, and return once all is finished."""
        self._server.should_exit = True
        self.join()


def serve(
    directory: Path,
    port: int | None = None,
    *,
    delays: Delays | None = None,
    answers: Answers | None = None,
    faults_file: Path | None = None,
    as_json: bool = False,
) -> None:
    """Run a sandbox until SIGTERM or SIGINT; one line on standard output says when it is ready, and where.

    Without ``port`` it is that of the last time, or else 8443 or, where that is taken, any that is free. Must be called
    in the main thread.

    Raises:
        SandboxError: it cannot start, or its server ended by itself.
    """
    # Blocked in this thread, and so in all that it starts: signals wait for sigtimedwait and interrupt nothing.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with Sandbox.start(
            directory,
            port or 0,
            delays=delays,
            answers=answers,
            faults_file=faults_file,
            preferred_port=DEFAULT_PORT,
        ) as sandbox:
            where = {"url": sandbox.url, "configuration": str(sandbox.config_path)}
            text = f"sealdrop sandbox ready: {sandbox.url} (configuration: {sandbox.config_path})"
            sys.stdout.write(f"{json.dumps({'ready': True, **where}) if as_json else text}\n")
            sys.stdout.flush()
            while signal.sigtimedwait(_SIGNALS, _LOOK_S) is None:
                if not sandbox.is_alive:
                    raise SandboxError("the sandbox's server ended by itself")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _only_one(places: _Places) -> Iterator[None]:
    """Hold the directory, which another sandbox cannot then."""
    places.state.mkdir(parents=True, exist_ok=True)
    fd = os.open(places.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise SandboxError(f"another sandbox is running in {places.directory}") from error
    try:
        yield
    finally:
        os.close(fd)


def _previous_port(places: _Places) -> int | None:
    return int(places.port.read_text()) if places.port.exists() else None


def _listener(port: int, preferred_port: int) -> socket.socket:
    if not port and preferred_port:
        with contextlib.suppress(SandboxError):
            return listen(preferred_port)
    return listen(port)


def _config(api: Api, pki: Pki) -> uvicorn.Config:
    return uvicorn.Config(
        api.application(),
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        backlog=BACKLOG,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        ssl_context_factory=lambda _config, _default: server_context(pki),
    )
