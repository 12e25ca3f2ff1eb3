"""Everything that is done at SignAPI for one account: submitting, signing, polling, and asking after any doubt.

Where we can crash, and what the next start finds:

* before `submission_intended` is committed: the document is ``validated``; nothing was sent.
* after it, whatever became of the call: the document is ``submitting``; the service is asked by our own identifier,
  and only if it knows nothing is anything sent.
* after the answer is committed: the document is ``submitted``; it has SignAPI's identifier, and no sign call was made.
* after `seal_intended` is committed, whatever became of the call: the document is ``sealing``; the service is asked.
  If it still says ``SIGN_CREATED`` long after the call could last have been under way, sign is called again, for the
  same request.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from pydantic import JsonValue

from sealdrop.backoff import Backoff, Breaker
from sealdrop.clock import Clock
from sealdrop.config import Account, Config, Seal
from sealdrop.daemon.recorder import Recorder
from sealdrop.durable import hash_file
from sealdrop.errors import MalformedAnswer, OutcomeUnknown, Refused, Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Step
from sealdrop.logs import Log
from sealdrop.model import Document, ExternalId, Reason, Remote, State
from sealdrop.pipeline import poll as remote
from sealdrop.pipeline import submit as outward
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.wire import RequestStatus
from sealdrop.spool import Spool

P = ParamSpec("P")
T = TypeVar("T")

CONTENT_TRIES = 10  # answers that say "done" without the sealed PDF before the document fails
POLL_FRACTION = 0.25  # of the time a document has waited for its seal: how long until it is asked for again
MIB = 1 << 20


class AccountWorker:
    """One account's calls; its methods work on claimed documents and record the outcomes. Used by several threads."""

    def __init__(
        self,
        name: str,
        config: Config,
        api: SignApi,
        spool: Spool,
        recorder: Recorder,
        clock: Clock,
        log: Log,
        rng: random.Random,
    ) -> None:
        self.name = name
        self._config = config
        self._account: Account = config.accounts[name]
        self._api = api
        self._spool = spool
        self._recorder = recorder
        self._clock = clock
        self._log = log
        self._rng = rng
        self._backoff = Backoff(self._account.retry_first_s, self._account.retry_longest_s)
        self._lock = threading.Lock()
        self._breaker = Breaker(self._account.breaker_failures, self._backoff)

    # Calls, and the breaker that watches them.

    def closed_s(self) -> float:
        """Return for how many seconds no call may be made, 0 if one may."""
        now = self._clock.monotonic()
        with self._lock:
            if self._breaker.may_call(now):
                return 0.0
            return max(self._breaker.open_until - now, 1.0)

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call and let the breaker know how it went."""
        with self._lock:
            self._breaker = self._breaker.called()
        try:
            result = function(*args, **kwargs)
        except (Retryable, OutcomeUnknown) as error:
            self._failed(error)
            raise
        except BaseException:
            self._succeeded()  # the service answered; that its answer was no, or our disk full, is no outage
            raise
        self._succeeded()
        return result

    def _failed(self, error: Retryable | OutcomeUnknown) -> None:
        with self._lock:
            was_open = self._breaker.is_open
            now = self._clock.monotonic()
            self._breaker = self._breaker.failed(now, self._rng, retry_after_s=error.retry_after_s)
            opened = self._breaker.is_open and not was_open
        if opened:
            self._log.error(EventName.ACCOUNT_UNREACHABLE, account=self.name, error=str(error))

    def _succeeded(self) -> None:
        with self._lock:
            was_open = self._breaker.is_open
            self._breaker = self._breaker.succeeded()
        if was_open:
            self._log.info(EventName.ACCOUNT_REACHABLE, account=self.name)

    # Submitting.

    def submit(self, documents: Sequence[Document]) -> None:
        """Create signature requests for ``validated`` documents, as one batch as far as its size allows."""
        batch, rest = self._cut(documents)
        steps = [self._recorder.later(document, 0.0) for document in rest]
        steps += [self._intend(document) for document in batch]
        intended = [document for document in self._recorder.commit(steps) if document.state is State.SUBMITTING]
        if intended:
            self._create(intended)

    def _cut(self, documents: Sequence[Document]) -> tuple[Sequence[Document], Sequence[Document]]:
        """Split off what would make the call larger than an account wants; one document always goes."""
        size = 0.0
        for index, document in enumerate(documents):
            size += document.size_bytes
            if index and size > self._account.batch_mib * MIB:
                return documents[:index], documents[index:]
        return documents, ()

    def _intend(self, document: Document) -> Step:
        """Put the intent to create a request on record, keeping the lease."""
        external_id = document.external_id or ExternalId(f"{document.id}-1")
        fields = self._named(document) | {"external_id": external_id}
        event = EventName.SUBMISSION_INTENDED
        step = self._recorder.move(document, State.SUBMITTING, event, fields, external_id=external_id)
        return self._held(step, document)

    def _held(self, step: Step, document: Document) -> Step:
        return replace(step, after=replace(step.after, lease=document.lease, due_at=document.due_at))

    def _create(self, documents: Sequence[Document]) -> None:
        submissions = [self._submission(document) for document in documents]
        try:
            answers = self._call(outward.create, self._api, submissions)
        except Refused as refusal:
            if len(documents) == 1:
                steps = [self._refused_creation(documents[0], submissions[0], refusal)]
            else:
                # One of them is bad: each is asked for, and then sent alone.
                steps = [self._recorder.later(document, 0.0, refusal) for document in documents]
        except (Retryable, OutcomeUnknown) as error:
            steps = [self._again(document, error) for document in documents]
        else:
            steps = [self._advance(*pair) for pair in zip(documents, answers, strict=True)]
        self._recorder.commit(steps)

    def _refused_creation(self, document: Document, submission: outward.Submission, refusal: Refused) -> Step:
        """The service will not have this one: believe it only if it does not know the document when asked."""
        try:
            found = self._call(outward.find, self._api, submission.external_id)
        except (Retryable, OutcomeUnknown) as error:
            return self._again(document, error)
        return self._turned_down(document, refusal) if found is None else self._advance(document, found)

    def _submission(self, document: Document) -> outward.Submission:
        if document.external_id is None:
            raise ValueError(f"document {document.id} has no identifier to be submitted under")
        return outward.Submission(document.external_id, self._spool.original(document.id), self._seal(document))

    def reconcile(self, documents: Sequence[Document]) -> None:
        """Ask what became of ``submitting`` documents, one by one, and send those of which nothing is known."""
        for document in documents:
            if self._postponed(document):
                continue
            submission = self._submission(document)
            try:
                found = self._call(outward.find, self._api, submission.external_id)
            except (Retryable, OutcomeUnknown) as error:
                self._recorder.commit([self._again(document, error)])
                continue
            if found is not None:
                self._recorder.commit([self._advance(document, found)])
            else:
                self._create(self._recorder.commit([self._intend(document)]))

    # Signing.

    def sign(self, documents: Sequence[Document]) -> None:
        """Ask for the seals of ``submitted`` documents."""
        self._sign(self._recorder.commit([self._intend_seal(document) for document in documents]))

    def _intend_seal(self, document: Document) -> Step:
        """Put the intent to call sign on record, keeping the lease."""
        fields = self._named(document) | {"request_id": document.request_id}
        event, now = EventName.SEAL_INTENDED, self._clock.now()
        return self._held(self._recorder.move(document, State.SEALING, event, fields, sign_called_at=now), document)

    def _sign(self, documents: Sequence[Document]) -> None:
        requests = [document.request_id for document in documents if document.request_id is not None]
        if not documents:
            return
        try:
            answers = self._call(outward.sign, self._api, requests)
        except Refused as refusal:
            if len(documents) == 1:
                self._settle_refusal(documents[0], refusal)
                return
            steps = [self._recorder.later(document, 0.0, refusal, sign_called_at=None) for document in documents]
        except Retryable as error:
            steps = [self._again(document, error, sign_called_at=None) for document in documents]
        except OutcomeUnknown as error:
            steps = [self._again(document, error) for document in documents]
        else:
            steps = [self._advance(*pair) for pair in zip(documents, answers, strict=True)]
        self._recorder.commit(steps)

    def _settle_refusal(self, document: Document, refusal: Refused) -> None:
        """The service will not sign this one: believe it only if it does not say otherwise when asked."""
        try:
            seen = self._poll(document)
        except (Retryable, OutcomeUnknown) as error:
            self._recorder.commit([self._again(document, error)])
            return
        unsigned = seen is None or self._standing(document, seen.status).state is State.SUBMITTED
        step = self._turned_down(document, refusal) if unsigned or seen is None else self._settle(document, seen)
        self._recorder.commit([step])

    # Polling.

    def poll(self, documents: Sequence[Document]) -> None:
        """Ask how far ``sealing`` and ``archiving`` documents are."""
        for document in documents:
            if self._postponed(document):
                continue
            try:
                seen = self._poll(document)
            except (Retryable, OutcomeUnknown, OSError) as error:
                self._recorder.commit([self._again(document, error)])
                continue
            if seen is None:
                vanished = Retryable(f"the service does not know its own request {document.request_id}")
                self._recorder.commit([self._again(document, vanished)])
            elif self._standing(document, seen.status).state is State.SUBMITTED:
                self._still_unsigned(document, seen.status)
            else:
                self._recorder.commit([self._settle(document, seen)])

    def _poll(self, document: Document) -> remote.Seen | None:
        if document.request_id is None:
            raise ValueError(f"document {document.id} has no request to ask about")
        return self._call(remote.poll, self._api, document.request_id, self._spool.sealed(document.id))

    def _still_unsigned(self, document: Document, status: RequestStatus) -> None:
        """``SIGN_CREATED``: call sign, unless a sign call may still be under way."""
        called_at = document.sign_called_at
        waited_s = (self._clock.now() - called_at) / timedelta(seconds=1) if called_at else None
        if waited_s is not None and waited_s < self._account.sign_again_after_s:
            remaining_s = self._account.sign_again_after_s - waited_s
            known = remote.remember(document.remote, status, self._clock.now())
            delay_s = min(self._poll_delay_s(document), remaining_s)
            self._recorder.commit([self._recorder.later(document, delay_s, remote=known)])
        else:
            self._sign(self._recorder.commit([self._intend_seal(document)]))

    def _settle(self, document: Document, seen: remote.Seen) -> Step:
        """Return the step that an answer with a status beyond ``SIGN_CREATED`` asks for."""
        now = self._clock.now()
        standing = self._standing(document, seen.status)
        known = remote.remember(document.remote, seen.status, now)
        if standing.state in (State.SEALED, State.FAILED):
            return self._finished(document, known, standing)
        delay_s = self._poll_delay_s(document)
        if known.steps == document.remote.steps:
            return self._recorder.later(document, delay_s, remote=known)
        fields = self._named(document) | {"remote_status": seen.status.status}
        # A document does not go back to waiting for its seal because an answer came late.
        state = State.ARCHIVING if document.state is State.ARCHIVING else standing.state
        event = EventName.REMOTE_STATUS_CHANGED
        return self._recorder.move(document, state, event, fields, due_in_s=delay_s, remote=known)

    def _finished(self, before: Document, known: Remote, standing: remote.Standing) -> Step:
        sealed = self._spool.sealed(before.id)
        size_bytes, sha256 = hash_file(sealed) if sealed.exists() else (None, None)
        if standing.state is State.FAILED:
            return self._recorder.give_up(
                before,
                State.FAILED,
                standing.reason or Reason.SEAL_FAILED,
                standing.detail,
                remote=known,
                sealed_size_bytes=size_bytes,
                sealed_sha256=sha256,
            )
        if sha256 is None:
            if before.attempts + 1 < CONTENT_TRIES:
                return self._again(before, Retryable("the service says sealed, but sent no document"))
            detail = f"{known.steps[-1].status} without a document, {CONTENT_TRIES} times"
            return self._recorder.give_up(before, State.FAILED, Reason.SEALED_CONTENT_MISSING, detail, remote=known)
        archive_ids: list[JsonValue] = [archived.identifier for archived in known.archive_ids]
        fields = self._named(before) | {"sealed_sha256": sha256, "archive_ids": archive_ids}
        return self._recorder.move(
            before,
            State.SEALED,
            EventName.DOCUMENT_SEALED,
            fields,
            remote=known,
            sealed_size_bytes=size_bytes,
            sealed_sha256=sha256,
        )

    # What all of them share.

    def _advance(self, document: Document, status: RequestStatus) -> Step:
        """Return the step for an answer of create, sign or find: what lies beyond ``SIGN_CREATED`` is for `poll`."""
        now = self._clock.now()
        known = remote.remember(document.remote, status, now)
        fields = self._named(document) | {"request_id": status.request_id, "remote_status": status.status}
        if self._standing(document, status).state is not State.SUBMITTED:
            called_at = document.sign_called_at or now
            return self._recorder.move(
                document,
                State.SEALING,
                EventName.REMOTE_STATUS_CHANGED,
                fields,
                due_in_s=self._account.poll_first_s,
                remote=known,
                request_id=status.request_id,
                sign_called_at=called_at,
            )
        if document.state is State.SUBMITTING:
            event = EventName.SUBMISSION_CONFIRMED
            return self._recorder.move(
                document, State.SUBMITTED, event, fields, remote=known, request_id=status.request_id
            )
        return self._recorder.later(document, self._account.poll_first_s, remote=known)

    def _standing(self, document: Document, status: RequestStatus) -> remote.Standing:
        return remote.judge(status, archive_asked=self._seal(document).archive)

    def _turned_down(self, document: Document, refusal: Refused) -> Step:
        return self._recorder.give_up(document, State.FAILED, Reason.SEAL_REFUSED, str(refusal))

    def _again(self, document: Document, error: Exception, **changes: object) -> Step:
        """Return the step that tries a document again later, at least as late as the service wishes."""
        wish_s = error.retry_after_s if isinstance(error, Retryable | OutcomeUnknown) else None
        delay_s = self._backoff.delay_s(document.attempts + 1, self._rng, retry_after_s=wish_s)
        if isinstance(error, OutcomeUnknown) and not isinstance(error, MalformedAnswer):
            delay_s = max(delay_s, self._account.ask_after_s)  # what was sent may still be on its way
        return self._recorder.later(document, delay_s, error, **changes)

    def _postponed(self, document: Document) -> bool:
        """Put a claimed document off without a call if the account has gone out of reach meanwhile."""
        closed_s = self.closed_s()
        if closed_s <= 0:
            return False
        self._recorder.commit([self._recorder.later(document, closed_s * (1 + self._rng.random()))])
        return True

    def _poll_delay_s(self, document: Document) -> float:
        """A share of the time already waited, so that quick seals are seen at once and slow ones cost little."""
        since: datetime = document.sign_called_at or document.updated_at
        waited_s = (self._clock.now() - since) / timedelta(seconds=1)
        delay_s = min(max(waited_s * POLL_FRACTION, self._account.poll_first_s), self._account.poll_longest_s)
        return delay_s * (0.9 + 0.2 * self._rng.random())

    def _seal(self, document: Document) -> Seal:
        return self._config.folders[document.folder].seal

    def _named(self, document: Document) -> dict[str, JsonValue]:
        return {"folder": document.folder, "name": document.name}
