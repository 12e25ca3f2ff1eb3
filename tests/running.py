"""The service and the sandbox, running in this process, for tests that drop files and look at what comes out."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealdrop.config import Config, Folder, load
from sealdrop.daemon import Daemon
from sealdrop.daemon.jails import TwoLimits
from sealdrop.ledger.reading import LedgerReader
from sealdrop.logs import Log
from sealdrop.model import Document, Event, State
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

PATIENCE_S = 120.0  # a deadline for a noisy machine; nothing is measured against it
QUICK = Delays(sign_s=0.05, archive_start_s=0.02, archive_s=0.05)


class KeptLog:
    """A log that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def _say(self, level: str, event: str, fields: dict[str, object]) -> None:
        self.lines.append({"level": level, "event": str(event), **fields})

    def debug(self, event: str, **fields: object) -> None:
        """Remember it."""
        self._say("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Remember it."""
        self._say("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Remember it."""
        self._say("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Remember it."""
        self._say("error", event, fields)

    def events(self, *names: str) -> list[dict[str, object]]:
        """Return what was said of these events."""
        return [line for line in self.lines if line["event"] in names]


def quicken(config: Path, **changes: str) -> None:
    """Make the sandbox's configuration impatient, so that tests wait for little; ``changes`` replace a key's value."""
    text = config.read_text()
    for key, value in {"poll_first_s": "0.05", "sweep_s": "0.5", "settle_s": "0.3", **changes}.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in text.splitlines()]
        text = "\n".join(lines) + "\n"
    config.write_text(text)


def until(condition: Callable[[], bool], what: object = "", *, look_s: float = 0.02) -> None:
    """Return once the condition holds; look again and again, for nobody tells us."""
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come to that: {what() if callable(what) else what}")
        pause.wait(look_s)


@dataclass
class Running:
    """A running daemon, and what it has told."""

    daemon: Daemon
    config: Config
    log: KeptLog
    moved: threading.Condition = field(default_factory=threading.Condition)
    documents: dict[str, Document] = field(default_factory=dict)
    events: list[tuple[Document, Event]] = field(default_factory=list)

    def hear(self, document: Document, event: Event) -> None:
        """Take note of a move. Called by worker threads."""
        with self.moved:
            self.documents[document.id] = document
            self.events.append((document, event))
            self.moved.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after each move of a document."""
        with self.moved:
            if not self.moved.wait_for(condition, PATIENCE_S):
                states = [(each.name, each.state, each.last_error) for each in self.documents.values()]
                troubles = self.log.events("worker_troubled", "service_broken", "retry_scheduled")
                raise AssertionError(f"it did not come to that: {states}\n{troubles}")

    def over(self) -> list[Document]:
        """Return the documents that nothing is left to do for."""
        return [each for each in self.documents.values() if is_over(each)]

    def wait_until_over(self, number: int) -> list[Document]:
        """Return the documents once ``number`` of them are over."""
        self.wait_for(lambda: len(self.over()) >= number)
        return self.over()

    def folder(self, name: str = "invoices") -> Folder:
        """Return a folder's configuration."""
        return self.config.folders[name]


def is_over(document: Document) -> bool:
    """Whether nothing is left to do for the document."""
    return document.state in (State.DELIVERED, State.REJECTED, State.FAILED) and document.due_at is None


@contextmanager
def running_daemon(config: Path, *, limits: TwoLimits | None = None, log: KeptLog | None = None) -> Iterator[Running]:
    """Run a daemon while the block runs."""
    settings = load(config)
    log = log or KeptLog()
    kept: Log = log
    daemon = Daemon(settings, kept, limits=limits)
    running = Running(daemon, settings, log)
    daemon.listen(running.hear)
    daemon.start()
    try:
        yield running
    finally:
        daemon.stop()
    assert daemon.stopped_by is None


@contextmanager
def running_service(
    directory: Path, *, delays: Delays = QUICK, limits: TwoLimits | None = None, **changes: str
) -> Iterator[tuple[Sandbox, Running]]:
    """Run a sandbox and a daemon while the block runs."""
    with Sandbox.start(directory, delays=delays) as sandbox:
        quicken(sandbox.config_path, **changes)
        with running_daemon(sandbox.config_path, limits=limits) as running:
            yield sandbox, running


def drop(content: bytes, inbound: Path, name: str) -> None:
    """Put a file into an inbound folder as a person's computer would: written under its final name."""
    path = inbound / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def unique(content: bytes, number: int) -> bytes:
    """Return a PDF that differs from others by a comment at its end, before the last end-of-file mark."""
    head, mark, tail = content.rpartition(b"startxref")
    return head + b"%% sample %d\n" % number + mark + tail


def sha256(content: bytes) -> str:
    """Return the digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


def receipt_of(path: Path) -> dict[str, Any]:
    """Return the receipt beside a sealed PDF."""
    content: dict[str, Any] = json.loads(path.with_name(path.name + ".receipt.json").read_text())
    return content


def stored(config: Config) -> LedgerReader:
    """Return the ledger, to look at."""
    return LedgerReader.open_read_only(config.service.state_dir / "ledger.sqlite")


def leftovers(config: Config) -> list[Path]:
    """Return what should not be there once all documents are over: in inbound, in the spool, temporary names."""
    places = [config.service.state_dir / "spool", *(folder.inbound for folder in config.folders.values())]
    found = [path for place in places for path in _files(place)]
    for folder in config.folders.values():
        for _, place in folder.places():
            found += [path for path in _files(place) if path.name.startswith(".")]
    return found


def _files(place: Path) -> list[Path]:
    """Return the files below a folder that the service may be clearing meanwhile, which ``rglob`` does not bear."""
    found = (Path(parent, name) for parent, _, names in os.walk(place) for name in names)
    return [path for path in found if path.is_file()]
