"""Handing the figures out: by HTTP on a loopback port, as a text file for node-exporter, or both.

Neither can hold the service up. If the port is taken or the file cannot be written, that is told, the documents go
their way, and it is tried again.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from socketserver import StreamRequestHandler
from typing import cast
from wsgiref.simple_server import WSGIServer

from prometheus_client import generate_latest, start_http_server

from sealdrop.clock import Clock
from sealdrop.config import Metrics, host_and_port
from sealdrop.errors import SealdropError
from sealdrop.metrics.collector import FiguresCollector
from sealdrop.metrics.figures import Figures, LedgerFigures, Rooms, Sources
from sealdrop.metrics.meter import Meter
from sealdrop.threads import NamedThread

REQUEST_TIMEOUT_S = 5.0  # that a scraper may be silent in the middle of its request, or of taking the answer
STOP_S = 2.0


class Exporter:
    """Gathers figures and hands them out, from `start` to `stop`; used once.

    ``on_trouble`` is called with what is wrong with handing them out, or None once nothing is.
    """

    def __init__(
        self,
        config: Metrics,
        meter: Meter,
        sources: Sources,
        started_at: datetime,
        clock: Clock,
        *,
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self._config = config
        self._registry = meter.registry
        self._sources = sources
        self._clock = clock
        self._on_trouble = on_trouble
        self._rooms = Rooms(sources.places)
        self._figures: Figures | None = None
        self._collector = FiguresCollector(lambda: self._figures, started_at)
        self._server: WSGIServer | None = None
        self._serving: threading.Thread | None = None
        self._stopping = threading.Event()
        self._handing_out = threading.Lock()  # held while the figures are handed out, so that a stop ends that
        self._thread = NamedThread(self._run, "metrics")

    @property
    def is_wanted(self) -> bool:
        """Whether anybody asked for figures."""
        return self._config.listen is not None or self._config.textfile is not None

    def start(self) -> None:
        """Begin, if anybody asked for figures."""
        if self.is_wanted:
            self._registry.register(self._collector)
            self._thread.start()

    def stop(self) -> None:
        """Let go of the port, and write no more: from now on, another exporter may."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(STOP_S)  # it may be gathering figures for longer: then it hands them out no more
        with self._handing_out:
            if self._server is not None and self._serving is not None:
                self._server.shutdown()
                self._server.server_close()
                self._serving.join(STOP_S)
        with suppress(KeyError):
            self._registry.unregister(self._collector)

    @property
    def port(self) -> int | None:
        """The port that answers, None as long as none does."""
        return self._server.server_port if self._server is not None else None

    def _run(self) -> None:
        while True:
            self.round()
            if self._stopping.wait(self._config.every_s):
                return

    def round(self) -> None:
        """Gather the figures, and see to it that they can be had."""
        self.gather()
        with self._handing_out:
            if self._stopping.is_set():
                return
            problems = [self._listen(), self._write()]
            self._on_trouble("; ".join(each for each in problems if each is not None) or None)

    def gather(self) -> None:
        """Gather the figures; what cannot be had stays as it was, and its age tells."""
        ledger, read_at = self._read_ledger()
        sources = self._sources
        self._figures = Figures(
            at=self._clock.now(),
            ledger=ledger,
            ledger_at=read_at,
            unclaimed_s=sources.unclaimed_s(),
            out_of_reach=sources.out_of_reach(),
            certificates=sources.certificates(),
            troubles=sources.troubles(),
            rooms=self._rooms.look(),
        )

    def _read_ledger(self) -> tuple[LedgerFigures | None, datetime | None]:
        try:
            return self._sources.ledger(), self._clock.now()
        except SealdropError:
            known = self._figures
            return (known.ledger, known.ledger_at) if known is not None else (None, None)

    def _listen(self) -> str | None:
        """Listen, if that was asked for and is not so; return why that cannot be."""
        if self._config.listen is None or self._server is not None:
            return None
        host, port = host_and_port(self._config.listen)
        try:
            server, thread = start_http_server(port or 0, host, self._registry)
        except OSError as error:
            return f"{self._config.listen} cannot be listened on: {error.strerror or error}"
        server.RequestHandlerClass = _bounded(cast(type[StreamRequestHandler], server.RequestHandlerClass))
        self._server, self._serving = server, thread
        return None

    def _write(self) -> str | None:
        """Write the file, if that was asked for: a reader sees the old one or the new one; return why it cannot be.

        It is not flushed to the disk: it is old in a moment, and after a power cut the next start writes it anew.
        """
        path = self._config.textfile
        if path is None:
            return None
        try:
            _replace(path, generate_latest(self._registry))
        except OSError as error:
            return f"{path} cannot be written: {error.strerror or error}"
        return None


def _bounded(handler: type[StreamRequestHandler]) -> type[StreamRequestHandler]:
    """Return the handler with an end to its patience: else who connects and says nothing has a thread for ever."""

    def handle(self: StreamRequestHandler) -> None:
        with suppress(OSError):  # it went, or its time was up: nobody's trouble but its own
            handler.handle(self)

    return type("Bounded", (handler,), {"timeout": REQUEST_TIMEOUT_S, "handle": handle})


def _replace(path: Path, content: bytes) -> None:
    # node-exporter reads names that end in .prom, so not this one; one writer, so a crash leaves one at most.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # for node-exporter's user, whatever this one's mask is
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
