"""Documents from their drop to their end, with everything that can go wrong on the way, in any order.

The ledger, the spool, the audit trail, the folders and the stages are real. The service is a model of SignAPI that
counts what it seals, and the jail one that judges by a word in the document. The machine drops documents, works on a
state as a pump does, lets time pass, keeps a claim until it is stale, has a second worker overtake a call, kills the
daemon anywhere, and has the service, the jail and the ledger fail in every way that they can. It drops the same content
again, and has what failed tried again. Whatever the order:

- no content is ever sealed twice, and nothing that was not accepted is sent;
- each document has a way on, or is over; until it is over, its original is in the spool, or waits to be fetched back;
- what is in outbound was verified; each receipt stands beside its PDF;
- the tally is the number of rows, and the audit trail verifies.

Once nothing fails any more, every document comes to its end by itself.

The model keeps to what sealdrop assumes of SignAPI (docs/signapi.md): a sign call that arrives does so within the
call's time, and one whose answer was lost shows in the status before ``sign_again_after_s`` has passed.
"""

import hashlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, select

from documents import FakeClock, document, verified
from properties import tried
from running import KeptLog, is_over
from sealdrop.audit import Trail, read_records, verify_trail
from sealdrop.audit.chain import link
from sealdrop.config import Config
from sealdrop.daemon.account import AccountWorker
from sealdrop.daemon.crew import OUTLETS
from sealdrop.daemon.gate import Gate
from sealdrop.daemon.jails import Jails
from sealdrop.daemon.line import AccountLine, Operation
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.recorder import Recorder, TrailWriter
from sealdrop.daemon.retry import ask_for_retry
from sealdrop.daemon.stages import LocalStages
from sealdrop.daemon.startup import check_trail
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.errors import AccountRefused, LeaseLost, MalformedAnswer, OutcomeUnknown, Refused, Retryable
from sealdrop.ledger import schema
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import (
    ArchiveId,
    Check,
    CheckName,
    CheckOutcome,
    Document,
    ExternalId,
    Finding,
    Inspection,
    Reason,
    RemoteStatus,
    RequestId,
    Sha256,
    State,
    Verdict,
    Verification,
    new_document_id,
)
from sealdrop.pdf.jail import JailedError, JailLimitExceeded, JailUnavailable, Limit
from sealdrop.pdf.seal import Expectation
from sealdrop.signapi.client import SignApi, StatusAnswer
from sealdrop.signapi.wire import NewRequest, RequestStatus
from sealdrop.spool import Spool

LEASE_S = 1_500.0
PLACES = ("inbound", "outbound", "rejected", "failed", "processed")
CALLS = ("create", "sign", "status")
WORK: tuple[tuple[str, tuple[State, ...], int], ...] = (
    ("validate", (State.RECEIVED,), 4),
    ("submit", (State.VALIDATED,), 3),
    ("reconcile", (State.SUBMITTING,), 4),
    ("sign", (State.SUBMITTED,), 3),
    ("poll", (State.SEALING, State.ARCHIVING), 4),
    ("verify", (State.SEALED,), 4),
    ("deliver", (State.VERIFIED, State.REJECTED, State.FAILED, State.RETRYING, State.DELIVERED), 4),
)
NEEDS = {
    "submit": (Operation.CREATE,),
    "reconcile": (Operation.STATUS, Operation.CREATE),
    "sign": (Operation.SIGN,),
    "poll": (Operation.STATUS,),
}
JAIL_FAULTS: tuple[Exception, ...] = (
    JailedError("ValueError", "quoted"),
    JailUnavailable("no child"),
    JailLimitExceeded(Limit.DIED, "killed"),
)


class Killed(BaseException):
    """The daemon's process is gone."""


def sha256_of(content: bytes) -> Sha256:
    """The digest of some bytes."""
    return Sha256(hashlib.sha256(content).hexdigest())


@dataclass
class Request:
    """A signature request at the service."""

    external_id: ExternalId
    content: bytes
    accepted_at: float | None = None
    begins_s: float = 0.0
    end: RemoteStatus = RemoteStatus.ARCHIVED
    answered: bool = False


@dataclass
class Service:
    """A SignAPI that counts what it seals, whose faults are used up one a call."""

    clock: FakeClock
    requests: dict[RequestId, Request] = field(default_factory=dict)
    seals: Counter[bytes] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    in_flight: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    arrived_at: float | None = None
    end: RemoteStatus = RemoteStatus.ARCHIVED
    begins_s: float = 0.0
    overtake: Callable[[], None] = lambda: None

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create requests; a second one of the same external ID is not refused."""
        sent = [(new.external_id, new.path.read_bytes()) for new in documents]
        return self._call("create", len(documents), lambda: self._create(sent))

    def sign(self, request_id: RequestId) -> RequestStatus:
        """Accept one request."""
        return self.sign_many([request_id])[0]

    def sign_many(self, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        """Accept several requests."""
        answers = self._call("sign", len(request_ids), lambda: self._sign(request_ids))
        for request_id in request_ids:
            self.requests[request_id].answered = True
            self.requests[request_id].begins_s = self.begins_s
        return answers

    def status(
        self,
        *,
        request_id: RequestId | None = None,
        external_id: ExternalId | None = None,
        content_to: Path | None = None,
    ) -> StatusAnswer:
        """Say where a request stands; of several with one external ID, the newest."""

        def look() -> StatusAnswer:
            found = request_id or next(
                (each for each, known in reversed(self.requests.items()) if known.external_id == external_id), None
            )
            if found is None:
                return StatusAnswer(None)
            answer = self._answer(found)
            if content_to is None or answer.status not in (RemoteStatus.ARCHIVED, RemoteStatus.ARCHIVE_FAILED):
                return StatusAnswer(answer)
            sealed = self.requests[found].content + b" sealed"
            content_to.write_bytes(sealed)
            return StatusAnswer(answer, len(sealed), sha256_of(sealed))

        fault = self._next_fault("status")
        if fault == "unknown" and external_id is not None:
            return StatusAnswer(None)  # a lie, or an answer that overtook what it is about
        return self._with(fault, "status", 1, look)

    def search(self, status: RemoteStatus) -> tuple[RequestStatus, ...]:
        """List the requests of a status."""
        answers = self._call("search", 1, lambda: tuple(map(self._answer, self.requests)))
        return tuple(answer for answer in answers if answer.status is status)

    def _create(self, documents: Sequence[tuple[ExternalId, bytes]]) -> tuple[RequestStatus, ...]:
        made = []
        for external_id, content in documents:
            request_id = RequestId(f"r{len(self.requests)}")
            self.requests[request_id] = Request(external_id, content)
            made.append(self._answer(request_id))
        return tuple(made)

    def _sign(self, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        for request_id in request_ids:
            request = self.requests[request_id]
            request.accepted_at = self.clock.elapsed_s if self.arrived_at is None else self.arrived_at
            request.end = self.end
            request.begins_s = min(self.begins_s, 40.0)  # only one that was answered may keep us waiting
            self.seals[request.content] += request.end is not RemoteStatus.SIGN_FAILED
        return tuple(self._answer(request_id) for request_id in request_ids)

    def _answer(self, request_id: RequestId) -> RequestStatus:
        request = self.requests[request_id]
        status = self._standing(request)
        archived = (ArchiveId("a", f"A-{request_id}"),) if status is RemoteStatus.ARCHIVED else ()
        reason = "it went wrong" if status is request.end and status is not RemoteStatus.ARCHIVED else None
        return RequestStatus(request_id, request.external_id, status, reason, None, archived, {"status": status})

    def _standing(self, request: Request) -> RemoteStatus:
        if request.accepted_at is None:
            return RemoteStatus.SIGN_CREATED
        passed_s = self.clock.elapsed_s - request.accepted_at - request.begins_s
        if passed_s < 0:
            return RemoteStatus.SIGN_CREATED
        if passed_s < 5:
            return RemoteStatus.SIGN_IN_PROGRESS
        if passed_s < 10 and request.end in (RemoteStatus.ARCHIVED, RemoteStatus.ARCHIVE_FAILED):
            return RemoteStatus.ARCHIVE_IN_PROGRESS
        return request.end

    def _next_fault(self, call: str) -> str | None:
        self.arrive()
        for index, (operation, fault) in enumerate(self.faults):
            if operation == call:
                del self.faults[index]
                return fault
        return None

    def arrive(self) -> None:
        """Apply the calls that were under way and have arrived by now."""
        arrived = [each for each in self.in_flight if each[0] <= self.clock.elapsed_s]
        self.in_flight = [each for each in self.in_flight if each[0] > self.clock.elapsed_s]
        for at, apply in arrived:
            self.arrived_at = at
            apply()
        self.arrived_at = None

    def _call(self, call: str, documents: int, apply: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it answers
        return self._with(self._next_fault(call), call, documents, apply)

    def _with(self, fault: str | None, call: str, documents: int, apply: Callable[[], Any]) -> Any:  # noqa: ANN401
        changes = call not in ("status", "search")
        lost = OutcomeUnknown("no answer") if changes else Retryable("no answer")
        match fault:
            case "unsent":
                raise Retryable("nothing was sent")
            case "account":
                raise AccountRefused("certificate refused")
            case "not applied":
                raise lost
            case "refused":
                raise Refused("no", documents=documents) if changes else Retryable("no")
            case "killed before":
                raise Killed
            case "late" if changes:
                self.in_flight.append((self.clock.elapsed_s + 100.0, apply))
                self.clock.go(60.0)
                raise lost
            case "overtaken":
                apply = self._overtaken(call, apply)
        answer = apply()
        match fault:
            case "lost":
                raise lost
            case "garbled":
                raise MalformedAnswer("not JSON")
            case "killed after":
                raise Killed
            case "slow":
                self.clock.go(100.0)
        return answer

    def _overtaken(self, call: str, apply: Callable[[], Any]) -> Callable[[], Any]:
        """Have a call take so long that others claim what this worker has before it is applied."""
        if call == "sign":
            # Nothing leaves after a call's deadline, which is sooner than anybody else signs: what is late here is the
            # answer, to a call that has arrived.
            answer = apply()
            apply = lambda: answer  # noqa: E731
        self.clock.go(LEASE_S + 1)
        self.overtake()
        return apply


FAULTS = (
    "unsent",
    "account",
    "not applied",
    "refused",
    "killed before",
    "late",
    "lost",
    "garbled",
    "killed after",
    "slow",
    "unknown",
    "overtaken",
)


class WordJail:
    """Judges documents by a word in them, instead of by reading them in a child process."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []

    def run(self, _: Callable[..., object], path: Path, about: object, *_more: object) -> object:
        """Inspect an original, or verify what came back."""
        if self.faults:
            raise self.faults.pop()
        content = path.read_bytes()
        if not isinstance(about, Expectation):
            if b"unfit" in content:
                return Inspection(Verdict.REJECT, Finding(Reason.NOT_PDF, "unfit"))
            return Inspection(Verdict.ACCEPT, pages=1)
        good = content.endswith(b" sealed") and b"tampered" not in content
        outcome = CheckOutcome.PASSED if good else CheckOutcome.FAILED
        checks = tuple(Check(name, outcome, "looked at") for name in CheckName)
        found = verified().verification
        assert found is not None
        return replace(found, checks=checks) if good else Verification(checks)


class OneJail:
    """The same jail for everything."""

    def __init__(self, jail: WordJail) -> None:
        self._jail = jail

    def for_validating(self, *, suspects: bool) -> WordJail:
        """Return the jail."""
        del suspects
        return self._jail

    for_verifying = for_validating


class FaultyLedger(Ledger):
    """A ledger whose disk is full, or whose daemon dies, at the next step."""

    faults: list[str | None]

    def record(self, *steps: Step) -> tuple[Document | LeaseLost, ...]:
        """Record, unless a fault is due."""
        fault = self.faults.pop() if self.faults else None
        if fault == "full":
            raise Retryable("the disk is full, nothing was committed")
        if fault == "killed before":
            raise Killed
        outcomes = super().record(*steps)
        if fault == "killed after":
            raise Killed
        return outcomes


def _config(root: Path) -> Config:
    account = {
        "base_url": "https://signapi.example",
        "certificate": "c.p12",
        "organisation": "Demo",
        "trust_anchors": ["root.pem"],
    }
    folder = {"account": "main", **{key: root / key for key in PLACES}}
    return Config.model_validate(
        {"service": {"state_dir": root}, "accounts": {"main": account}, "folders": {"invoices": folder}}
    )


class Life(RuleBasedStateMachine):
    """A daemon's documents, and all that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        for name in PLACES:
            (self.root / name).mkdir()
        self.config = _config(self.root)
        self.clock = FakeClock()
        self.service = Service(self.clock, overtake=self.overtake)
        self.jail = WordJail()
        self.dropped: dict[str, bytes] = {}
        self.stale: list[tuple[str, tuple[Document, ...]]] = []
        self.depth = 0
        self.ledger_faults: list[str | None] = []

    def start(self) -> None:
        """Start the daemon, as `Daemon` does."""
        self.log = KeptLog()
        self.spool = Spool(self.root / "spool")
        self.spool.root.mkdir(exist_ok=True)
        trail = Trail.open(self.root / "audit")
        self.ledger = FaultyLedger.open(
            self.root / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=self.clock
        )
        self.ledger.faults = self.ledger_faults
        self.writer = TrailWriter(self.ledger, trail, self.log, clock=self.clock, on_fatal=self.fail)
        check_trail(trail, self.ledger)
        self.writer.flush()
        self.unclaimed = Unclaimed(self.spool, self.ledger, self.log)
        self.ledger.release_leases("host")
        self.unclaimed.clear_spool()
        rng = random.Random(1)
        self.recorder = Recorder(self.ledger, self.clock, self.log, on_stored=lambda _: None, on_record=lambda: None)
        troubles = Troubles("host", self.ledger, self.clock, self.log)
        self.line = AccountLine("main", self.config.accounts["main"], self.clock, troubles, rng)
        api = cast(SignApi, self.service)
        gate = Gate(self.config, self.recorder, self.clock, self.log)
        account = AccountWorker(self.line, self.config, api, self.spool, self.recorder, gate, troubles, self.clock, rng)
        jails = cast(Jails, OneJail(self.jail))
        outlets = {
            ("invoices", state): Outlet(
                "invoices", place, self.root / place, self.root / "state", troubles, self.clock, {}
            )
            for state, place in OUTLETS.items()
        }
        local = LocalStages(
            self.config, self.spool, jails, self.ledger, self.recorder, outlets, troubles, self.clock, rng
        )
        self.stages: dict[str, Callable[[Sequence[Document]], None]] = {
            "validate": local.validate,
            "submit": account.submit,
            "reconcile": account.reconcile,
            "sign": account.sign,
            "poll": account.poll,
            "verify": local.verify,
            "deliver": local.deliver,
        }

    def fail(self, error: BaseException) -> None:
        """Nothing may be fatal here."""
        raise AssertionError("the service broke") from error

    @initialize(
        words=st.lists(st.sampled_from(["fit", "fit", "unfit", "tampered"]), min_size=2, max_size=4),
        calls=st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(FAULTS)), min_size=3, max_size=6),
    )
    def begin(self, words: list[str], calls: list[tuple[str, str]]) -> None:
        """Start with some documents, and calls that fail from the start."""
        self.start()
        for word in words:
            self.drop(word, recorded=True)
        self.work_for_a_while(calls, jail=[], ledger=[], rounds=4, seconds=3.0)

    @rule()
    def crash(self) -> None:
        """Let the daemon die, and start it again."""
        self.ledger.close()
        self.start()

    @rule(
        word=st.sampled_from(["fit", "fit", "fit", "unfit", "tampered"]), recorded=st.sampled_from([True, True, False])
    )
    def drop(self, word: str, recorded: bool) -> None:
        """Take a document over; perhaps the daemon dies before it is on record, and it is taken over once more."""
        content = f"%PDF-1.7 {word} {len(self.dropped)}".encode()
        for is_last in (False, True) if not recorded else (True,):
            self.take(f"{len(self.dropped)}.pdf", content, is_last=is_last)

    def take(self, name: str, content: bytes, *, is_last: bool) -> None:
        """Take a document over; without ``is_last`` the daemon dies before it is on record."""
        now = self.clock.now()
        new = document(
            id=new_document_id(now),
            name=name,
            sha256=sha256_of(content),
            size_bytes=len(content),
            received_at=now,
            updated_at=now,
            due_at=now,
            first_seq=None,
            last_seq=None,
        )
        self.spool.make(new.id)
        self.spool.original(new.id).write_bytes(content)
        if not is_last:
            self.crash()
            return
        self.ledger_faults.clear()
        self.recorder.received([new])
        self.unclaimed.taken_over(new.sha256)
        self.dropped[new.id] = content

    @precondition(lambda self: self.dropped)
    @rule(data=st.data())
    def drop_again(self, data: st.DataObject) -> None:
        """Take over what was dropped before, once more."""
        content = data.draw(st.sampled_from(sorted(set(self.dropped.values()))))
        self.take(f"again-{len(self.dropped)}.pdf", content, is_last=True)

    @precondition(lambda self: self.dropped)
    @rule(data=st.data())
    def try_again(self, data: st.DataObject) -> None:
        """Ask for another try of a document, which is refused unless it has failed."""
        self.ledger_faults.clear()
        wanted = data.draw(st.sampled_from(sorted(self.dropped)))
        before = self.ledger.get(wanted)
        answer = ask_for_retry(wanted, self.config, self.ledger, self.clock)
        assert not answer.accepted or (before is not None and before.state is State.FAILED)

    @rule(work=st.sampled_from(WORK))
    def work(self, work: tuple[str, tuple[State, ...], int]) -> None:
        """Do what is due in a state, as a pump does."""
        self.turn(work)

    @rule(
        calls=st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(FAULTS)), max_size=8),
        jail=st.lists(st.sampled_from(JAIL_FAULTS), max_size=3),
        ledger=st.lists(st.sampled_from([None, None, None, "full", "killed before", "killed after"]), max_size=6),
        rounds=st.integers(3, 12),
        seconds=st.sampled_from([0.1, 3.0, 30.0, 200.0]),
    )
    def work_for_a_while(
        self,
        calls: list[tuple[str, str]],
        jail: list[Exception],
        ledger: list[str | None],
        rounds: int,
        seconds: float,
    ) -> None:
        """Do all that is due, again and again, while calls, examinations and commits fail."""
        self.service.faults += calls
        self.jail.faults += jail
        self.ledger_faults += ledger
        for _ in range(rounds):
            for each in WORK:
                self.turn(each)
            self.let_time_pass(seconds)

    def turn(self, work: tuple[str, tuple[State, ...], int]) -> bool:
        """Claim and work once; return whether anything was claimed."""
        stage, states, limit = work
        if self.line.closed_s(*NEEDS.get(stage, ())) > 0:
            return False
        claimed = self.ledger.claim(*states, now=self.clock.now(), limit=limit, lease_s=LEASE_S)
        self.on_claimed(stage, claimed.documents)
        return bool(claimed.documents)

    def on_claimed(self, stage: str, documents: tuple[Document, ...]) -> None:
        """Work on what was claimed."""
        if not documents:
            return
        try:
            self.stages[stage](documents)
        except Killed:
            self.crash()
        except Retryable:
            self.ledger.give_up_leases(documents)

    def overtake(self) -> None:
        """While a call is under way, have other workers do what has fallen due."""
        if self.depth == 0:
            self.depth += 1
            try:
                for stage, states, limit in WORK:
                    claimed = self.ledger.claim(*states, now=self.clock.now(), limit=limit, lease_s=LEASE_S)
                    if claimed.documents and self.line.closed_s(*NEEDS.get(stage, ())) <= 0:
                        self.stages[stage](claimed.documents)
            finally:
                self.depth -= 1

    @rule(work=st.sampled_from(WORK))
    def claim_and_dawdle(self, work: tuple[str, tuple[State, ...], int]) -> None:
        """Claim, and do nothing for now."""
        stage, states, limit = work
        claimed = self.ledger.claim(*states, now=self.clock.now(), limit=limit, lease_s=LEASE_S)
        if claimed.documents:
            self.stale.append((stage, claimed.documents))

    @precondition(lambda self: self.stale)
    @rule()
    def work_on_a_stale_claim(self) -> None:
        """Work on what was claimed some time ago, and perhaps belongs to somebody else by now."""
        self.on_claimed(*self.stale.pop())

    @rule(seconds=st.sampled_from([0.1, 2.0, 10.0, 60.0, 200.0, LEASE_S]))
    def let_time_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.go(seconds)
        self.service.arrive()

    @rule(
        end=st.sampled_from([RemoteStatus.ARCHIVED, RemoteStatus.SIGN_FAILED, RemoteStatus.ARCHIVE_FAILED]),
        begins_s=st.sampled_from([0.0, 30.0, 20_000.0]),
    )
    def have_the_service_be_otherwise(self, end: RemoteStatus, begins_s: float) -> None:
        """Have the service end its next seals so, and begin with them so late."""
        self.service.end, self.service.begins_s = end, begins_s

    def documents(self) -> list[Document]:
        """All documents as they stand."""
        found = [self.ledger.get(each) for each in self.dropped]
        assert None not in found, "a document is gone"
        return [each for each in found if each is not None]

    @invariant()
    def nobody_is_lost(self) -> None:
        """Each document is over and stands where it belongs, or has a way on and its original."""
        if not hasattr(self, "ledger"):
            return
        counted: Counter[State] = Counter()
        for each in self.documents():
            counted[each.state] += 1
            content = self.dropped[each.id]
            if not is_over(each):
                assert each.due_at is not None
                fetched = self.spool.original(each.id)
                given_back = self.root / "failed" / (each.published_name or each.name)
                waits_to_be_fetched = each.state is State.RETRYING and not fetched.exists()
                assert (given_back if waits_to_be_fetched else fetched).read_bytes() == content
                continue
            assert each.published_name is not None
            place = {State.DELIVERED: "outbound", State.REJECTED: "rejected", State.FAILED: "failed"}[each.state]
            published = (self.root / place / each.published_name).read_bytes()
            assert published == content + (b" sealed" if each.state is State.DELIVERED else b"")
            if each.state is State.DELIVERED:
                assert each.kept_name is not None
                assert (self.root / "processed" / each.kept_name).read_bytes() == content
        assert self.ledger.counts().get("invoices", {}) == counted
        with self.ledger._database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(schema.document)) == len(self.dropped)

    @invariant()
    def nothing_is_sealed_twice(self) -> None:
        """No content is sealed more than once, and nothing is sent that was rejected."""
        assert all(number <= 1 for number in self.service.seals.values())
        assert not any(b"unfit" in request.content for request in self.service.requests.values())

    @invariant()
    def nothing_unverified_is_published(self) -> None:
        """What stands in outbound came back whole, of one that was verified, and once."""
        pdfs = sorted((self.root / "outbound").glob("*.pdf"))
        published = (State.VERIFIED, State.DELIVERED)
        known = {sha256_of(self.dropped[each.id]): each for each in self.documents() if each.state in published}
        for pdf in pdfs:
            content = pdf.read_bytes()
            owner = known[sha256_of(content.removesuffix(b" sealed"))]
            assert b"tampered" not in content
            assert owner.state is State.VERIFIED or pdf.with_name(pdf.name + ".receipt.json").exists()
        assert len({pdf.read_bytes() for pdf in pdfs}) == len(pdfs)

    def teardown(self) -> None:
        """With nothing failing any more, everything comes to its end by itself, and all records agree."""
        try:
            if hasattr(self, "ledger"):
                self.come_to_an_end()
                self.nobody_is_lost()
                self.nothing_unverified_is_published()
        finally:
            if hasattr(self, "ledger"):
                self.ledger.close()
            shutil.rmtree(self.root)

    def come_to_an_end(self) -> None:
        """Let the daemon work until nothing is left to do, and look at what it leaves."""
        self.service.faults.clear()
        self.jail.faults.clear()
        self.ledger_faults.clear()
        self.service.begins_s = 0.0
        end = self.clock.elapsed_s + timedelta(days=2).total_seconds()
        while not all(is_over(each) for each in self.documents()):
            assert self.clock.elapsed_s < end, [(each.state, each.last_error) for each in self.documents()]
            worked = [self.turn(work) for work in WORK]
            if not any(worked):
                self.clock.go(20.0)
                self.service.arrive()
        assert [path for path in self.spool.root.rglob("*") if path.is_file()] == []
        for each in self.documents():
            if each.state is State.DELIVERED:
                assert self.service.seals[self.dropped[each.id]] == 1
        self.writer.flush()
        head = self.ledger.audit_head()
        assert verify_trail(self.root / "audit", expect=[(head.seq, head.hash)]).problems == ()
        told = Counter(
            entry.document for entry in read_records(self.root / "audit") if entry.event == "document_received"
        )
        assert told == dict.fromkeys(self.dropped, 1)


TestLife = Life.TestCase
TestLife.settings = tried(25, steps=10)
