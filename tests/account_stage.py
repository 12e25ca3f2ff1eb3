"""One account with all that works for it, against a SignAPI in memory and a clock that goes when told.

The service counts what would be billed: sealing a request that it has already accepted fails the test.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from documents import DIGEST, FakeClock, document
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.config import Config
from sealdrop.daemon.account import AccountWorker, SignCalls
from sealdrop.daemon.duties import duties
from sealdrop.daemon.gate import Gate
from sealdrop.daemon.line import AccountLine
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.throttle import Throttle
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Refused
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, DocumentId, Event, ExternalId, RemoteStatus, RequestId, Sha256, State
from sealdrop.signapi.client import SignApi, StatusAnswer
from sealdrop.signapi.wire import NewRequest, RequestStatus
from sealdrop.spool import Spool

LEASE_S = 2_000.0


@dataclass
class FakeService:
    """A SignAPI in memory.

    ``before`` and ``after`` may raise around each call; ``shown`` is what it says instead; ``unwanted`` documents are
    refused for their own sake.
    """

    status_of: dict[RequestId, RemoteStatus] = field(default_factory=dict)
    external: dict[ExternalId, RequestId] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    accepted: dict[RequestId, None] = field(default_factory=dict)
    begins_at_once: bool = True
    with_content: bool = True
    shown: list[RemoteStatus] = field(default_factory=list)
    unwanted: set[ExternalId] = field(default_factory=set)
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create requests."""
        self._enter("create")
        if any(new.external_id in self.unwanted for new in documents):
            raise Refused("not a PDF/A", documents=len(documents))
        for new in documents:
            assert new.external_id not in self.external, "sent a second time"
            self.external[new.external_id] = RequestId(f"r-{new.external_id}")
            self.status_of[self.external[new.external_id]] = RemoteStatus.SIGN_CREATED
        self.after("create")
        return tuple(self._answer(self.external[new.external_id]) for new in documents)

    def sign(self, request_id: RequestId) -> RequestStatus:
        """Accept one request."""
        return self._sign("sign", [request_id])[0]

    def sign_many(self, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        """Accept several requests."""
        return self._sign("sign_many", request_ids)

    def _sign(self, call: str, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        self._enter(call)
        for request_id in request_ids:
            assert request_id not in self.accepted, "sealed twice"
            self.accepted[request_id] = None
            if self.begins_at_once:
                self.status_of[request_id] = RemoteStatus.SIGN_IN_PROGRESS
        self.after(call)
        return tuple(self._answer(request_id) for request_id in request_ids)

    def status(
        self,
        *,
        request_id: RequestId | None = None,
        external_id: ExternalId | None = None,
        content_to: Path | None = None,
    ) -> StatusAnswer:
        """Say where a request stands."""
        self._enter("status")
        found = request_id or self.external.get(external_id or ExternalId(""))
        self.after("status")
        if found is None or found not in self.status_of:
            return StatusAnswer(None)
        answer = self._answer(found)
        sealed = answer.status in (RemoteStatus.SIGNED, RemoteStatus.ARCHIVED)
        if sealed and self.with_content and content_to is not None:
            content_to.write_bytes(b"%PDF sealed")
            return StatusAnswer(answer, 11, Sha256("cd" * 32))
        return StatusAnswer(answer)

    def search(self, status: RemoteStatus) -> tuple[RequestStatus, ...]:
        """List the requests of a status."""
        self._enter("search")
        self.after("search")
        answers = [self._answer(request_id) for request_id in self.status_of]
        return tuple(answer for answer in answers if answer.status is status)

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)

    def _answer(self, request_id: RequestId) -> RequestStatus:
        status = self.shown.pop(0) if self.shown else self.status_of[request_id]
        external_id = ExternalId(request_id.removeprefix("r-"))
        return RequestStatus(request_id, external_id, status, None, None, (), {"status": status})


class Stage:
    """One account with a real ledger, a fake service and a clock that goes when told."""

    def __init__(
        self,
        tmp_path: Path,
        *,
        service: FakeService | None = None,
        ledger: type[Ledger] = Ledger,
        on_stored: Callable[[Document], None] = lambda _: None,
        zone: str = "UTC",
        **folder: object,
    ) -> None:
        self.clock = FakeClock()
        self.log = KeptLog()
        self.service = service or FakeService()
        self.spool = Spool(tmp_path / "spool")
        self.spool.root.mkdir()
        self.ledger = ledger.open(
            tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=self.clock
        )
        config = Config.model_validate(
            {
                "service": {"state_dir": tmp_path, "time_zone": zone},
                "accounts": {
                    "main": {
                        "base_url": "https://signapi.example",
                        "certificate": "c.p12",
                        "organisation": "Demo",
                        "trust_anchors": ["root.pem"],
                    }
                },
                "folders": {
                    "invoices": {
                        "account": "main",
                        **{key: tmp_path / key for key in ("inbound", "outbound", "rejected", "failed")},
                        **folder,
                    }
                },
            }
        )
        self.recorder = Recorder(self.ledger, self.clock, self.log, on_stored=on_stored, on_record=lambda: None)
        self._sign_calls: SignCalls = {}
        self.throttle = Throttle(self.clock)
        self._work_by(config)

    def _work_by(self, config: Config) -> None:
        rng = random.Random(1)
        troubles = Troubles("host", self.ledger, self.clock, self.log)
        self.account = config.accounts["main"]
        self.line = AccountLine("main", self.account, self.clock, troubles, rng, throttle=self.throttle)
        gate, api = Gate(config, self.recorder, self.clock, self.log), cast(SignApi, self.service)
        self.worker = AccountWorker(
            self.line, config, api, self.spool, self.recorder, gate, troubles, self.clock, rng, self._sign_calls
        )
        self._config = config

    def reload(self, service: FakeService | None = None, **account: float) -> None:
        """Work by a configuration with another ``account`` from now on, and perhaps with another service behind it."""
        self.service = service or self.service
        accounts = {"main": self.account.model_copy(update=account)}
        self._work_by(self._config.model_copy(update={"accounts": accounts}))

    def add(self, number: int = 0) -> Document:
        """Put a validated document on record."""
        identifier = DocumentId(f"20261123-{number:016x}")
        self.spool.make(identifier)
        self.spool.original(identifier).write_bytes(b"%PDF")
        new = document(id=identifier, name=f"{number}.pdf", due_at=self.clock.now(), sha256=DIGEST)
        stored = self.ledger.add(new, Event("document_received"))
        after = replace(stored, state=State.VALIDATED)
        (validated,) = self.ledger.record(Step(stored, after, Event("document_validated")))
        assert isinstance(validated, Document)
        return validated

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, from one thing that falls due to the next, doing them as the pumps do."""
        until = self.clock.elapsed_s + seconds
        while True:
            wait_s = self._turn()
            if wait_s > 0:
                if self.clock.elapsed_s + wait_s > until:
                    self.clock.elapsed_s = until
                    return
                self.clock.go(wait_s)

    def _turn(self) -> float:
        """Do what is due; return 0 if there may be more, else the seconds until something is."""
        due_s = [1e9]
        for duty in duties(self.worker, self.account):
            closed_s = self.line.closed_s(*duty.needs)
            if closed_s > 0:
                due_s.append(closed_s)
                continue
            claimed = self.ledger.claim(*duty.states, now=self.clock.now(), limit=duty.limit(), lease_s=LEASE_S)
            if claimed.documents:
                duty.work(claimed.documents)
                return 0.0
            if claimed.next_due_at is not None:
                due_s.append((claimed.next_due_at - self.clock.now()).total_seconds() + 0.001)
        return min(due_s)

    def spoil(self, number: int) -> None:
        """Have the service refuse a document for its own sake."""
        self.service.unwanted.add(ExternalId(f"20261123-{number:016x}-1"))

    def get(self, number: int = 0) -> Document:
        """Return a document as it stands."""
        found = self.ledger.get(f"20261123-{number:016x}")
        assert found is not None
        return found

    def archive(self) -> None:
        """The service is done with everything that it accepted."""
        for request_id in self.service.accepted:
            self.service.status_of[request_id] = RemoteStatus.ARCHIVED
