"""An office with alerts, a clock that goes when told, and a channel that keeps what it is handed."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from documents import FakeClock, document
from running import KeptLog
from sealdrop.alerts.matters import Observation
from sealdrop.alerts.message import Message
from sealdrop.alerts.teller import Teller
from sealdrop.audit.chain import link
from sealdrop.config import Config, load
from sealdrop.errors import Retryable
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import AlertKind, DocumentId, Event, Reason, State
from unit_config import CONFIG


@dataclass
class Post:
    """A channel; while it is ``down``, it takes nothing."""

    name: str = "email"
    down: bool = False
    tries: int = 0
    remark: str | None = None
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> str | None:
        """Keep the message."""
        self.tries += 1
        if self.down:
            raise Retryable("connection refused")
        self.messages.append(message)
        return self.remark

    @property
    def subjects(self) -> list[str]:
        """What the messages are called, without the machine's name."""
        return [message.subject.partition("] ")[2] for message in self.messages]


class Office:
    """Alerts that are looked after by hand: no thread runs."""

    def __init__(self, config: Config, ledger: Ledger, clock: FakeClock) -> None:
        self.config = config
        self.ledger = ledger
        self.clock = clock
        self.log = KeptLog()
        self.wrong: dict[str, Observation] = {}
        self.posts = [Post()]
        self.troubles: list[tuple[str, str | None]] = []
        self._failed = 0
        self.teller = self.started()

    @property
    def post(self) -> Post:
        """The first channel."""
        return self.posts[0]

    def started(self, before: Teller | None = None) -> Teller:
        """Return what a new start makes of what the last one kept, or a new configuration of what is known."""
        return Teller(
            self.config,
            "host.example",
            self.ledger,
            self.wrong.values,
            self.clock,
            self.log,
            on_trouble=lambda *told: self.troubles.append(told),
            via=self.posts,
            before=before,
        )

    def restart(self) -> None:
        """Have the service end in any way, and start again."""
        self.teller = self.started()

    def reload(self) -> None:
        """Have the configuration be read anew."""
        self.teller = self.started(self.teller)

    def go(self, *, minutes: float = 0.0, step_s: float = 15.0) -> None:
        """Let time pass, and everybody do their turns."""
        ends = self.clock.elapsed_s + minutes * 60
        while True:
            self.teller.look()
            for sender in self.teller._senders:
                sender.turn()
            if self.clock.elapsed_s >= ends:
                return
            self.clock.go(min(step_s, ends - self.clock.elapsed_s))

    def begins(self, kind: AlertKind, key: str, text: str = "it is down", **more: object) -> None:
        """Have something be wrong from now on."""
        self.wrong[key] = Observation(kind, key, self.clock.now(), text, **more)  # type: ignore[arg-type]

    def ends(self, key: str) -> None:
        """Have it be right again."""
        del self.wrong[key]

    def fail(self, number: int, *, reason: Reason = Reason.SEAL_FAILED, name: str = "") -> None:
        """Have documents fail and be given back."""
        steps = []
        for _ in range(number):
            self._failed += 1
            named = name or f"{self._failed}.pdf"
            new = document(
                id=DocumentId(f"20261123-{self._failed:016x}"),
                name=named,
                state=State.SUBMITTED,
                updated_at=self.clock.now(),
            )
            failed = replace(
                new, state=State.FAILED, reason=reason, reason_detail="key is locked", published_name=named, due_at=None
            )
            steps += [Step(None, new, Event("document_received")), Step(new, failed, Event("document_failed"))]
        self.ledger.record(*steps)

    def now(self) -> datetime:
        """Return the moment."""
        return self.clock.now()

    def ago(self, **past: float) -> datetime:
        """Return an earlier moment."""
        return self.clock.now() - timedelta(**past)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office where all is well, with one channel and everything at its default."""
    path = tmp_path / "sealdrop.toml"
    path.write_text(CONFIG)
    config = load(path)
    config.service.state_dir.mkdir()
    clock = FakeClock()
    where = tmp_path / "ledger.sqlite"
    with Ledger.open(where, link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        opened = Office(config, ledger, clock)
        opened.go()
        yield opened
