"""Everything that is done at SignAPI for one account: submitting, signing, polling, and asking after any doubt.

Where we can crash, and what the next start finds:

* before `submission_intended` is committed: the document is ``validated``; nothing was sent.
* after it, whatever became of the call: the document is ``submitting``; the service is asked by our own identifier,
  and only if it knows nothing is anything sent.
* after the answer is committed: the document is ``submitted``; it has SignAPI's identifier, and no sign call was made.
* after `seal_intended` is committed, whatever became of the call: the document is ``sealing``; the service is asked.

Sign is called a second time for a request only if all of this holds: the service says ``SIGN_CREATED``; it never
answered a sign call for it, nor was ever seen further on; and no call can be under way any more, or none has left.
Anything else is waited for, and shown.

What goes wrong with one document, whatever it is, is recorded as that document's trouble and holds up no other.
(Long, because every way that may lead to a second seal is better read in one place.)
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from pydantic import JsonValue

from sealdrop.backoff import Backoff
from sealdrop.clock import Clock
from sealdrop.config import Account, Config, Seal
from sealdrop.daemon.gate import Gate
from sealdrop.daemon.hand import Hand, Outcome
from sealdrop.daemon.line import AccountLine, Operation, longest_wait_s
from sealdrop.daemon.listing import LATE_S, LISTABLE, Listing
from sealdrop.daemon.pollpace import Pace
from sealdrop.daemon.progress import waiting
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import (
    AccountRefused,
    Fatal,
    MalformedAnswer,
    NotCalled,
    OutcomeUnknown,
    Refused,
    Retryable,
    Unrecordable,
)
from sealdrop.events import EventName
from sealdrop.ledger.store import Step
from sealdrop.model import Document, DocumentId, Earlier, ExternalId, Reason, Remote, RemoteStatus, Stamp, State
from sealdrop.pipeline import poll as remote
from sealdrop.pipeline import submit as outward
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.wire import RequestStatus
from sealdrop.spool import Spool
from sealdrop.visible.picture import UnusablePicture
from sealdrop.visible.settle import picture_of, settle, texts_of

CONTENT_TRIES = 10  # answers that say "done" without the sealed PDF before the document fails
CALLS_EACH = 5  # that may be made for one document before the next one of a claim has its turn
MIB = 1 << 20
SignCalls = dict[DocumentId, "SignCall"]  # the documents for which sign was called
NEVER_SEALED = frozenset({RemoteStatus.SIGN_FAILED, RemoteStatus.REFUSED, RemoteStatus.DISCARDED})
SEALED = frozenset(
    {
        RemoteStatus.SIGNED,
        RemoteStatus.ARCHIVE_IN_PROGRESS,
        RemoteStatus.ARCHIVED,
        RemoteStatus.ARCHIVE_FAILED,
        RemoteStatus.ARCHIVE_MIGRATED,
    }
)


@dataclass(frozen=True, slots=True)
class SignCall:
    """A sign call of this process: when it began, on the monotonic clock, and for how long it keeps another one away.

    That is by the configuration that was in force then. By one that was read since, a call that took long may be
    over sooner than it can have been.
    """

    began: float
    again_after_s: float


class AccountWorker:
    """One account's calls; its methods work on claimed documents and record the outcomes. Used by several threads."""

    def __init__(
        self,
        line: AccountLine,
        config: Config,
        api: SignApi,
        spool: Spool,
        recorder: Recorder,
        gate: Gate,
        troubles: Troubles,
        clock: Clock,
        rng: random.Random,
        sign_calls: SignCalls | None = None,
    ) -> None:
        self.line = line
        self._config = config
        self._account: Account = config.accounts[line.name]
        self._api = api
        self._spool = spool
        self._recorder = recorder
        self._gate = gate
        self._troubles = troubles
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(self._account.retry_first_s, self._account.retry_longest_s)
        self._listing = Listing(lambda status: line.ask_aside(api.search, status), clock, rng)
        self._pace = Pace(self._account.poll_first_s, self._account.poll_longest_s)
        self._sign_calls: SignCalls = {} if sign_calls is None else sign_calls

    # Submitting.

    def submit(self, documents: Sequence[Document]) -> None:
        """Create signature requests for ``validated`` documents, as one batch as far as its size allows.

        Those of folders that are outside their hours, or have used up their quota, are held.
        """
        duplicates = [document for document in documents if document.duplicate_of is not None]
        others = [document for document in documents if document.duplicate_of is None]
        may_begin = not others or self.line.may_begin()  # first: while it is waited for, a gate may shut
        new = [(document, self._gate.shut_until(document)) for document in others]
        batch, rest = self._cut([document for document, until in new if until is None])
        if not may_begin:
            batch, rest = (), (*batch, *rest)
        steps = [self._recorder.later(document, 0.0) for document in rest]
        steps += [self._gate.wait(document, until) for document, until in new if until is not None]
        steps += [self._take_earlier_seal(document) for document in duplicates]
        steps += [self._gate.counted(self._intend(document), document) for document in batch]
        self._create(self._let_through(self._recorder.commit(steps)))

    def _let_through(self, stored: Sequence[Document]) -> list[Document]:
        """Return the documents that may be sent now, and tell of those that may not."""
        for document in stored:
            self._gate.tell_of_quota(document)
        return [document for document in stored if document.state is State.SUBMITTING and document.hold is None]

    def reconcile(self, documents: Sequence[Document]) -> None:
        """Ask what became of ``submitting`` documents, one by one, and send those of which nothing is known."""
        self._each(documents, self._reconcile, Operation.STATUS, Operation.CREATE)

    def _cut(self, documents: Sequence[Document]) -> tuple[Sequence[Document], Sequence[Document]]:
        """Split off what would make the call larger than an account wants; one document always goes."""
        size = 0.0
        for index, document in enumerate(documents):
            size += document.size_bytes
            if index and size > self._account.batch_mib * MIB:
                return documents[:index], documents[index:]
        return documents, ()

    def _take_earlier_seal(self, document: Document) -> Step:
        """Go on with the signature request of an earlier document of the same content: nothing is sent."""
        earlier = document.duplicate_of.document if document.duplicate_of is not None else None
        fields = self._named(document) | {"earlier": earlier, "request_id": document.request_id}
        return self._recorder.move(document, State.SEALING, EventName.DUPLICATE_RECOGNISED, fields)

    def _intend(self, document: Document) -> Step:
        """Put the intent to create a request on record, keeping the lease."""
        external_id = document.external_id or self._identifier(document)
        fields = self._named(document) | {"external_id": external_id}
        step = self._recorder.move(
            document,
            State.SUBMITTING,
            EventName.SUBMISSION_INTENDED,
            fields,
            external_id=external_id,
            stamp=self._stamp(document),
            stamp_known=True,
        )
        return self._held(step, document)

    def _stamp(self, document: Document) -> Stamp | None:
        """Return the visible seal that is asked for: as the folder has it now, on the page that was measured.

        Where that cannot be settled, because the folder has changed since, it is the one that it had then.
        """
        visible = self._seal(document).visible
        if visible is None or document.inspection is None:
            return None
        try:
            settled = settle(visible, self._account, document, document.inspection)
        except UnusablePicture:
            return document.stamp  # what is wrong with the image is told when it is to be sent
        return settled if isinstance(settled, Stamp) else document.stamp

    def _is_unmeasured(self, document: Document) -> bool:
        """Whether the folder wants a visible seal for which an older sealdrop did not measure the page."""
        is_measured = document.inspection is not None and document.inspection.seal_page is not None
        return not (document.stamp_known or is_measured) and self._seal(document).visible is not None

    def _held(self, step: Step, document: Document) -> Step:
        return replace(step, after=replace(step.after, lease=document.lease, due_at=document.due_at))

    def _create(self, documents: Sequence[Document]) -> None:
        submissions = self._ready(documents)
        documents = [document for document in documents if document.id in submissions]
        if not documents:
            return
        try:
            create = partial(outward.create, self._api, [submissions[each.id] for each in documents])
            answers = self.line.change(Operation.CREATE, [each.id for each in documents], create)
        except Fatal:
            raise
        except Refused as refusal:
            if len(documents) == 1:
                self._each(documents, partial(self._settle_refused_creation, refusal=refusal), Operation.STATUS)
                return
            # One of them is bad: each is asked for, and then sent alone.
            steps = [self._recorder.later(document, 0.0) for document in documents]
        except Exception as error:  # noqa: BLE001 - whatever it is, each of them is asked for before it is sent again
            steps = [self._again(document, error) for document in documents]
        else:
            steps = [self._advance(*pair) for pair in zip(documents, answers, strict=True)]
        self._recorder.commit(steps)

    def _ready(self, documents: Sequence[Document]) -> dict[DocumentId, outward.Submission]:
        """Return what is sent for each document; one whose seal's image cannot be used waits, and its folder is told.

        That is looked at before anything is called, for it says nothing about the service.
        """
        ready, steps = dict[DocumentId, outward.Submission](), list[Step]()
        for document in documents:
            subject = f"folder {document.folder} image"
            try:
                ready[document.id] = self._submission(document)
            except UnusablePicture as error:
                text, event = f"visible seals cannot be asked for: {error}", EventName.SEAL_IMAGE_UNUSABLE
                self._troubles.tell(subject, text, event, folder=document.folder, error=str(error))
                steps.append(self._again(document, error))
            else:
                if document.stamp is not None:
                    self._troubles.over(subject, EventName.SEAL_IMAGE_USABLE, folder=document.folder)
        self._recorder.commit(steps)
        return ready

    def _settle_refused_creation(self, document: Document, refusal: Refused) -> Step:
        """The service will not have this one: believe it only if it does not know the document when asked."""
        found = self.line.call(outward.find, self._api, self._sent_as(document))
        if found is None:
            return self._turned_down(document, refusal, Operation.CREATE)
        self.line.taken(Operation.CREATE, document.id)
        return self._advance(document, found)

    def _submission(self, document: Document) -> outward.Submission:
        """Return what is sent for a document.

        Raises:
            UnusablePicture: the image of its visible seal cannot be used now.
        """
        seal = outward.asked_of(self._seal(document), document)
        plain = outward.Submission(self._sent_as(document), self._spool.original(document.id), seal)
        if document.stamp is None:
            return plain
        # The date in a visible seal is that of the first intent to ask for it, however often it is sent.
        stamp = texts_of(document.stamp, document.updated_at, self._config.service.zone())
        return replace(plain, stamp=stamp, image=picture_of(stamp).content)

    @staticmethod
    def _sent_as(document: Document) -> ExternalId:
        if document.external_id is None:
            raise ValueError(f"document {document.id} has no identifier to be submitted under")
        return document.external_id

    def _reconcile(self, document: Document) -> Step | None:
        """Return the step for what the service knows of a document; None if it is made already."""
        found = self._found(document)
        # What was seen sealed once is never sent again, whatever the service has forgotten or thrown away since.
        was_sealed = any(step.status in SEALED for step in document.remote.steps)
        is_newest = document.external_id == self._identifier(document)
        if found is not None and (was_sealed or is_newest or found.status not in NEVER_SEALED):
            return self._advance(document, found)
        if was_sealed:
            detail = "the service sealed it before, and now knows nothing of it; it is not sealed a second time"
            return self._recorder.give_up(document, State.FAILED, Reason.SEALED_CONTENT_MISSING, detail)
        if self._is_unmeasured(document):
            # An invisible seal is not what its folder wants. Nothing was sealed: dropped again, it is validated anew.
            detail = "nobody has measured its page for a visible seal (an older sealdrop took it); drop it again"
            return self._recorder.give_up(document, State.FAILED, Reason.SEAL_FAILED, detail)
        if (until := self._gate.shut_until(document)) is not None:
            return self._gate.wait(document, until)
        if is_newest:
            if not self.line.may_begin():
                return self._recorder.later(document, 0.0)
            self._create(self._recorder.commit([self._intend(document)]))
        else:
            self._reconcile_anew(document)
        return None

    def _found(self, document: Document) -> RequestStatus | None:
        """Return what the service knows under our identifier; where that is not the request we know, what of that."""
        found = self.line.call(outward.find, self._api, self._sent_as(document))
        if document.request_id is not None and (found is None or found.request_id != document.request_id):
            ours = self.line.call(outward.find_request, self._api, document.request_id)
            return ours if ours is not None else found
        return found

    def _reconcile_anew(self, document: Document) -> None:
        """Somebody had it tried again: what was never sealed gets a request of its own for each try.

        If we crash once the intent is on record, the new identifier is asked for, like any other.
        """
        step = self._gate.counted(self._intend_anew(document), document)
        for anew in self._let_through(self._recorder.commit([step])):
            found = self._found(anew)
            if found is not None:
                self._recorder.commit([self._advance(anew, found)])
            elif self.line.may_begin():
                self._create([anew])
            else:
                self._recorder.commit([self._recorder.later(anew, 0.0)])

    def _intend_anew(self, document: Document) -> Step:
        """Put on record the intent to create another request, keeping the lease; nothing of the last one counts."""
        step = self._intend(replace(document, external_id=None, request_id=None, remote=Remote()))
        after = replace(step.after, sign_called_at=None, sign_accepted=False, duplicate_of=None)
        return replace(step, before=document, after=after)

    @staticmethod
    def _identifier(document: Document) -> ExternalId:
        """Return our identifier for the request of a document's newest try."""
        return ExternalId(f"{document.id}-{document.retries + 1}")

    # Signing.

    def sign(self, documents: Sequence[Document]) -> None:
        """Ask for the seals of ``submitted`` documents."""
        if not self.line.may_begin():
            self._recorder.commit([self._recorder.later(document, 0.0) for document in documents])
            return
        self._sign(self._recorder.commit([self._intend_seal(document) for document in documents]))

    def _intend_seal(self, document: Document) -> Step:
        """Put the intent to call sign on record, keeping the lease."""
        fields = self._named(document) | {"request_id": document.request_id}
        event, now = EventName.SEAL_INTENDED, self._clock.now()
        return self._held(self._recorder.move(document, State.SEALING, event, fields, sign_called_at=now), document)

    def _sign(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        self._note_sign_call(documents)
        requests = [document.request_id for document in documents if document.request_id is not None]
        try:
            sign = partial(outward.sign, self._api, requests)
            answers = self.line.change(Operation.SIGN, [each.id for each in documents], sign)
        except Fatal:
            raise
        except Refused as refusal:
            if len(documents) == 1:
                self._each(documents, partial(self._settle_refused_seal, refusal=refusal), Operation.STATUS)
                return
            # Perhaps only one was refused and the others are being sealed: each is asked for.
            steps = [self._recorder.later(document, 0.0) for document in documents]
        except AccountRefused as error:
            steps = [self._again(document, error) for document in documents]  # it may have left before it was refused
        except Retryable as error:
            steps = [self._again(document, error, sign_called_at=None) for document in documents]
        except Exception as error:  # noqa: BLE001 - whatever it is, each of them is asked for before it is signed again
            steps = [self._again(document, error) for document in documents]
        else:
            steps = []
            for document, status in zip(documents, answers, strict=True):
                accepted = replace(document, sign_accepted=True)
                steps.append(replace(self._advance(accepted, status), before=document))
        self._recorder.commit(steps)

    def _settle_refused_seal(self, document: Document, refusal: Refused) -> Step | None:
        """The service will not sign this one: believe it only if it does not say otherwise when asked."""
        seen = self._poll(document)
        unsigned = seen is None or seen.status.status is RemoteStatus.SIGN_CREATED
        if unsigned and not document.sign_accepted:
            return self._turned_down(document, refusal, Operation.SIGN)
        self.line.taken(Operation.SIGN, document.id)
        return self._settle(document, seen)

    # Polling.

    def poll(self, documents: Sequence[Document]) -> None:
        """Ask how far ``sealing`` and ``archiving`` documents are."""
        late = [document for document in documents if self._waited_s(document) >= LATE_S]
        listed = self._still_waiting(late)

        def ask(document: Document) -> Step | None:
            if document.id in listed:
                return self._recorder.later(document, self._poll_delay_s(document))
            return self._settle(document, self._poll(document))

        self._each(documents, ask, Operation.STATUS)

    def _still_waiting(self, late: Sequence[Document]) -> frozenset[DocumentId]:
        """Return which documents the service lists as not done. Nothing depends on lists: no breaker watches that."""
        with waiting("a list of documents", self._account.call_timeout_s * len(LISTABLE)):
            return self._listing.still_waiting(late)

    def _poll(self, document: Document) -> remote.Seen | None:
        if document.request_id is None:
            raise ValueError(f"document {document.id} has no request to ask about")
        return self.line.call(remote.poll, self._api, document.request_id, self._spool, document.id)

    def _settle(self, document: Document, seen: remote.Seen | None) -> Step | None:
        """Return the step for an answer about a request; None if it is made already."""
        if seen is None and document.duplicate_of is not None:
            return self._without_earlier_seal(document, document.duplicate_of)
        if seen is None:
            raise Retryable(f"the service does not know its own request {document.request_id}")
        named = seen.status.external_id
        if named is not None and named != document.external_id and document.duplicate_of is None:
            raise MalformedAnswer(f"the service says that request {document.request_id} is that of {named}")
        now = self._clock.now()
        before = document
        document = replace(document, remote=remote.remember(document.remote, seen.status, now))
        if seen.content_sha256 is not None:
            document = replace(document, sealed_size_bytes=seen.content_size_bytes, sealed_sha256=seen.content_sha256)
        standing = remote.judge(seen.status, archive_asked=document.archive)
        if document.sign_called_at is not None:
            learn = self._pace.there if standing.state is State.SEALED else self._pace.not_yet
            learn((now - document.sign_called_at) / timedelta(seconds=1))
        if standing.state is State.SUBMITTED:
            return self._settle_unsigned(before)
        if standing.state in (State.SEALED, State.FAILED):
            step = self._finished(document, standing)
        elif document.remote.steps == before.remote.steps:
            step = self._recorder.later(document, self._poll_delay_s(document))
        else:
            fields = self._named(document) | {"remote_status": seen.status.status}
            # A document does not go back to waiting for its seal because an answer came late.
            state = State.ARCHIVING if document.state is State.ARCHIVING else standing.state
            event, delay_s = EventName.REMOTE_STATUS_CHANGED, self._poll_delay_s(document)
            step = self._recorder.move(document, state, event, fields, due_in_s=delay_s)
        return replace(step, before=before)

    def _settle_unsigned(self, document: Document) -> Step | None:
        """``SIGN_CREATED``: call sign if no call was answered and none can be under way; else wait, and say why."""
        if document.duplicate_of is not None:
            # Whoever was dropped first had it signed: what was seen then is not known of this one.
            return self._without_earlier_seal(document, document.duplicate_of)
        further = [step.status for step in document.remote.steps if step.status is not RemoteStatus.SIGN_CREATED]
        if further:
            raise Retryable(f"the service said {further[-1]} before, and now {RemoteStatus.SIGN_CREATED} again")
        waited_s = self._since_sign_call_s(document)
        if waited_s is None:
            return self._sign_again(document)
        if (remaining_s := self._sign_again_after_s(document) - waited_s) > 0:
            delay_s = min(self._poll_delay_s(document), max(remaining_s, self._account.poll_first_s))
            return self._recorder.later(document, delay_s)
        if document.sign_accepted:
            raise Retryable(f"asked for its seal {waited_s:.0f} s ago, which the service accepted and has not begun")
        return self._sign_again(document)

    def _without_earlier_seal(self, document: Document, earlier: Earlier) -> Step:
        """Return the step for a duplicate whose seal cannot be had: it is asked for again, and never signed for."""
        gone = f"the service does not have the seal of document {earlier.document}, which was to be delivered again"
        if document.refusals + 1 < CONTENT_TRIES:
            return self._again(document, Retryable(gone), refusals=document.refusals + 1)
        return self._recorder.give_up(document, State.FAILED, Reason.SEALED_CONTENT_MISSING, gone)

    def _sign_again(self, document: Document) -> Step | None:
        closed_s = self.line.closed_s(Operation.SIGN)
        if closed_s > 0:
            # Many may wait like this, and each look costs a call.
            return self._after_closed(document, max(closed_s, self._account.retry_longest_s / 2))
        if not self.line.may_begin():
            return self._recorder.later(document, 0.0)
        self._sign(self._recorder.commit([self._intend_seal(document)]))
        return None

    def _since_sign_call_s(self, document: Document) -> float | None:
        called_at = document.sign_called_at
        if called_at is None:
            return None
        # The wall clock may be set while a call is under way, and an hour that did not pass is no reason to call again.
        called = self._sign_calls.get(document.id)
        if called is not None:
            return self._clock.monotonic() - called.began
        waited_s = (self._clock.now() - called_at) / timedelta(seconds=1)
        if waited_s < 0:  # the clock was wrong then, or is now: no more is known than that it was before this moment
            self._note_sign_call([document])
            return 0.0
        return waited_s

    def _sign_again_after_s(self, document: Document) -> float:
        called = self._sign_calls.get(document.id)
        return max(self._account.sign_again_after_s, called.again_after_s if called is not None else 0.0)

    def _note_sign_call(self, documents: Sequence[Document]) -> None:
        """Remember when a sign call begins; what is so old that it decides nothing any more is forgotten."""
        now, again_after_s = self._clock.monotonic(), self._account.sign_again_after_s
        for each, called in list(self._sign_calls.items()):
            if now - called.began > max(called.again_after_s, again_after_s):
                self._sign_calls.pop(each, None)
        self._sign_calls.update((document.id, SignCall(now, again_after_s)) for document in documents)

    def _finished(self, document: Document, standing: remote.Standing) -> Step:
        if standing.state is State.FAILED:
            reason = standing.reason or Reason.SEAL_FAILED
            if any(step.status in SEALED for step in document.remote.steps):
                reason = Reason.SEALED_CONTENT_MISSING  # billed, whatever became of it: a copy is not sealed again
            return self._recorder.give_up(document, State.FAILED, reason, standing.detail)
        document = replace(document, reason=standing.reason, reason_detail=standing.detail or None)
        if document.sealed_sha256 is None:
            status = document.remote.steps[-1].status
            if document.refusals + 1 < CONTENT_TRIES:
                missing = Retryable(f"the service says {status}, but sent no document")
                return self._again(document, missing, refusals=document.refusals + 1)
            detail = f"{standing.detail or status}, without a document, {CONTENT_TRIES} times"
            reason = standing.reason or Reason.SEALED_CONTENT_MISSING
            return self._recorder.give_up(document, State.FAILED, reason, detail)
        archive_ids: list[JsonValue] = [archived.identifier for archived in document.remote.archive_ids]
        fields = self._named(document) | {
            "sealed_size_bytes": document.sealed_size_bytes,
            "sealed_sha256": document.sealed_sha256,
            "archive_ids": archive_ids,
        }
        return self._recorder.move(document, State.SEALED, EventName.DOCUMENT_SEALED, fields)

    # What all of them share.

    def _each(
        self, documents: Sequence[Document], stage: Callable[[Document], Step | None], *operations: Operation
    ) -> None:
        """Run ``stage``, which needs ``operations``, on one document after the other: trouble with one is its own.

        It returns the step to record, or None if it has seen to that itself.
        """
        hand = Hand(self._record, self._clock)
        for document in documents:
            hand.begin(document)
            step = self._attempt(document, stage, *operations)
            if step is not None:
                hand.take(document, step)
        hand.empty()

    def _attempt(
        self, document: Document, stage: Callable[[Document], Step | None], *operations: Operation
    ) -> Step | None:
        if self._runs_late(document):
            return self._recorder.later(document, 0.0)
        closed_s = self.line.closed_s(*operations)
        if closed_s > 0:
            return self._after_closed(document, closed_s)
        try:
            return stage(document)
        except Fatal:
            raise
        except NotCalled:
            return self._recorder.later(document, 0.0)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the next one waiting
            return self._again(document, error)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Record the steps; what cannot be written down is that document's trouble alone."""
        try:
            self._recorder.commit([step for _, step in outcomes])
        except Unrecordable as error:
            if len(outcomes) > 1:
                for outcome in outcomes:
                    self._record([outcome])
            else:
                self._recorder.commit([self._again(outcomes[0][0], error)])

    def _after_closed(self, document: Document, closed_s: float) -> Step:
        """Return the step that has a document wait for a breaker: nothing was tried, so nothing is counted."""
        return self._recorder.later(document, closed_s * (1 + self._rng.random()))

    def _runs_late(self, document: Document) -> bool:
        """Whether the lease could end before all calls for the document have: then somebody takes it up anew."""
        if document.due_at is None:
            return True
        longest_s = CALLS_EACH * (longest_wait_s(self._account) + self._account.call_timeout_s)
        return self._clock.now() + timedelta(seconds=longest_s) > document.due_at

    def _advance(self, document: Document, status: RequestStatus) -> Step:
        """Return the step for an answer of create, sign or find: what lies beyond ``SIGN_CREATED`` is for `poll`."""
        now = self._clock.now()
        known: Remote = remote.remember(document.remote, status, now)
        is_new = known.steps != document.remote.steps
        fields = self._named(document) | {"request_id": status.request_id, "remote_status": status.status}
        if status.status is not RemoteStatus.SIGN_CREATED and (is_new or document.state is not State.SEALING):
            return self._recorder.move(
                document,
                State.SEALING,
                EventName.REMOTE_STATUS_CHANGED,
                fields,
                due_in_s=self._pace.first_s(),
                remote=known,
                request_id=status.request_id,
                sign_called_at=document.sign_called_at or now,
            )
        if document.state is State.SUBMITTING:
            event = EventName.SUBMISSION_CONFIRMED
            request_id = status.request_id
            # Where signing was asked for before it failed and was tried again, polling says whether it may be again.
            state = State.SUBMITTED if document.sign_called_at is None else State.SEALING
            return self._recorder.move(document, state, event, fields, remote=known, request_id=request_id)
        return self._recorder.later(document, self._pace.first_s(), remote=known)

    def _turned_down(self, document: Document, refusal: Refused, operation: Operation) -> Step:
        """Return the step for a "no": it counts when the document is to blame, not the service (`refusals`)."""
        if not self.line.is_its_own(operation, document.id):
            return self._again(document, refusal)
        return self._recorder.give_up(document, State.FAILED, Reason.SEAL_REFUSED, str(refusal))

    def _again(self, document: Document, error: Exception, **changes: object) -> Step:
        """Return the step that tries a document again later, at least as late as the service wishes."""
        wish_s = error.retry_after_s if isinstance(error, Retryable | OutcomeUnknown) else None
        delay_s = self._backoff.delay_s(document.attempts + 1, self._rng, retry_after_s=wish_s)
        if isinstance(error, OutcomeUnknown) and not isinstance(error, MalformedAnswer):
            delay_s = max(delay_s, self._account.ask_after_s)  # what was sent may still be on its way
        return self._recorder.later(document, delay_s, error, **changes)

    def _poll_delay_s(self, document: Document) -> float:
        """Return how long not to ask again, scattered so that what was sent together is not asked for together."""
        return self._pace.next_s(self._waited_s(document)) * (0.9 + 0.2 * self._rng.random())

    def _waited_s(self, document: Document) -> float:
        since: datetime = document.sign_called_at or document.updated_at
        return (self._clock.now() - since) / timedelta(seconds=1)

    def _seal(self, document: Document) -> Seal:
        return self._config.folders[document.folder].seal

    def _named(self, document: Document) -> dict[str, JsonValue]:
        return {"folder": document.folder, "name": document.name}
