"""Writing down what happened: the one place from which ledger, audit trail and log are written.

A transition and its audit record are one transaction of the ledger. The audit files follow: `TrailWriter` copies
what is committed into them, in order. If we crash between the two, the next start copies the rest.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from pydantic import JsonValue

from sealdrop.audit.trail import Trail
from sealdrop.clock import Clock
from sealdrop.daemon import progress
from sealdrop.errors import LeaseLost, Retryable, SealdropError
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger, Step
from sealdrop.logs import Log
from sealdrop.model import Document, Event, Reason, State
from sealdrop.signapi.wire import clean
from sealdrop.threads import NamedThread

Listener = Callable[[Document, Event], None]
Follower = Callable[[Step], None]

_WORRYING = frozenset({EventName.DOCUMENT_REJECTED, EventName.DOCUMENT_FAILED})


class Recorder:
    """Records moves of documents; every method is durable when it returns. Used by all worker threads."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        log: Log,
        *,
        on_stored: Callable[[Document], None],
        on_record: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._on_stored = on_stored
        self._on_record = on_record
        self._listeners: list[Listener] = []
        self._followers: list[Follower] = []

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` called with every document that moved and its event, in the thread that moved it.

        It must not raise.
        """
        self._listeners.append(listener)

    def follow(self, follower: Follower) -> None:
        """Have ``follower`` called with every step that was recorded, also those of which nothing goes on record.

        It must not raise.
        """
        self._followers.append(follower)

    def received(self, documents: Sequence[Document]) -> None:
        """Record documents whose durable copies stand in the spool, in one transaction."""
        steps = []
        for document in documents:
            fields: dict[str, JsonValue] = {
                "folder": document.folder,
                "account": document.account,
                "name": document.name,
                "size_bytes": document.size_bytes,
                "sha256": document.sha256,
                "level": document.level,
                "archive": document.archive,
            }
            if document.companions:
                fields["companions"] = {each.kind.value: each.sha256 for each in document.companions}
            steps.append(Step(None, document, Event(EventName.DOCUMENT_RECEIVED, fields)))
        self.commit(steps)

    def commit(self, steps: Sequence[Step]) -> list[Document]:
        """Record the steps in one transaction; return the documents as they now stand.

        A document whose lease was lost meanwhile is left out: whoever has it now records what becomes of it.
        """
        outcomes = self._ledger.record(*steps)
        progress.step()
        # From here on all is committed, and nothing below raises.
        self._on_record()
        stored = []
        for step, outcome in zip(steps, outcomes, strict=True):
            if isinstance(outcome, LeaseLost):
                self._log.warning(EventName.LEASE_LOST, document=step.after.id, state=step.after.state)
                continue
            stored.append(outcome)
            self._on_stored(outcome)
            for follower in self._followers:
                follower(step)
            waits_instead = step.ration is not None and outcome.hold is not None
            if step.event is not None and not waits_instead:
                self._tell(outcome, step.event)
        return stored

    def _tell(self, document: Document, event: Event) -> None:
        tell = self._log.warning if event.name in _WORRYING else self._log.info
        tell(event.name, document=document.id, **event.fields)
        for listener in self._listeners:
            listener(document, event)

    def move(
        self,
        before: Document,
        state: State,
        event: EventName,
        fields: dict[str, JsonValue] | None = None,
        *,
        due_in_s: float = 0.0,
        **changes: object,
    ) -> Step:
        """Return the step that moves ``before`` to ``state``, its lease given up, due again in ``due_in_s``."""
        now = self._clock.now()
        after = replace(
            before,
            state=state,
            updated_at=now if state != before.state else before.updated_at,
            due_at=now + timedelta(seconds=due_in_s),
            lease=None,
            # What is tried again in the same state goes on counting, or its delays would never grow.
            attempts=0 if state != before.state else before.attempts,
            refusals=0 if state != before.state else before.refusals,
            last_error=None if state != before.state else before.last_error,
            # Another state examines another file, with another program: it begins among the others.
            suspect=before.suspect and state == before.state,
            hold=None,
            **changes,  # type: ignore[arg-type]
        )
        return Step(before, after, Event(event, fields or {}))

    def give_up(self, before: Document, state: State, reason: Reason, detail: str, **changes: object) -> Step:
        """Return the step that rejects or fails a document; it is due at once, to be given back."""
        event = EventName.DOCUMENT_REJECTED if state is State.REJECTED else EventName.DOCUMENT_FAILED
        fields: dict[str, JsonValue] = {
            "folder": before.folder,
            "name": before.name,
            "reason": reason,
            "detail": detail,
        }
        step = self.move(before, state, event, fields, reason=reason, reason_detail=detail)
        return replace(step, after=replace(step.after, **changes))  # type: ignore[arg-type]

    def finish(
        self,
        before: Document,
        state: State,
        event: EventName,
        fields: dict[str, JsonValue],
        *,
        kept_days: float | None = None,
        **changes: object,
    ) -> Step:
        """Return the step after which nothing is left to do for a document but to remove its files in ``kept_days``."""
        step = self.move(before, state, event, fields)
        step = replace(step, after=replace(step.after, **changes))  # type: ignore[arg-type]
        kept_until = None if kept_days is None else self._clock.now() + timedelta(days=kept_days)
        return replace(step, after=replace(step.after, due_at=None, kept_until=kept_until))

    def later(self, before: Document, due_in_s: float, error: BaseException | None = None, **changes: object) -> Step:
        """Return the step that leaves a document where it is, due again in ``due_in_s``; a ``hold`` on it ends.

        With an ``error`` that counts as a failed try, and is logged.
        """
        attempts = before.attempts
        last_error = before.last_error
        if error is not None:
            attempts += 1
            last_error = one_line(error)
            self._log.warning(
                EventName.RETRY_SCHEDULED,
                document=before.id,
                state=before.state,
                attempts=attempts,
                due_in_s=round(due_in_s, 1),
                error=last_error,
            )
        after = replace(
            before,
            due_at=self._clock.now() + timedelta(seconds=due_in_s),
            lease=None,
            attempts=attempts,
            last_error=last_error,
            **{"hold": None, **changes},  # type: ignore[arg-type]
        )
        return Step(before, after, None)

    def set_apart(self, before: Document, error: BaseException) -> Step:
        """Return the step that leaves a document where it is, due at once, for the workers that take suspects."""
        text = one_line(error)
        self._log.warning(EventName.DOCUMENT_SET_APART, document=before.id, state=before.state, error=text)
        return self.later(before, 0.0, suspect=True)

    def note(self, name: EventName, **fields: JsonValue) -> None:
        """Put something that is not about a document on record."""
        self._ledger.note(Event(name, fields))
        self._log.info(name, **fields)
        self._on_record()


def one_line(error: BaseException) -> str:
    """Return an error on one line, fit for log and ledger: what others' errors may quote of a document is cut."""
    text = str(error) if isinstance(error, SealdropError | OSError) else clean(str(error))
    text = " ".join(text.split()) or type(error).__name__
    return text if isinstance(error, Retryable) else f"{type(error).__name__}: {text}"


class TrailWriter:
    """Copies committed audit records into the audit files, in a thread of its own.

    Nothing waits for the files: a record is durable in the ledger before its effect is visible. So what is committed
    within `GATHER_S` is copied together, with one flush of the file and one transaction.
    """

    BATCH = 500
    GATHER_S = 0.25
    RETRY_S = 10.0
    LONGEST_SLEEP_S = 60.0

    def __init__(
        self, ledger: Ledger, trail: Trail, log: Log, *, clock: Clock, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self.progress = progress.Progress("audit", clock)
        self._ledger = ledger
        self._trail = trail
        self._log = log
        self._on_fatal = on_fatal
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "audit")

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to copy."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Copy what is committed by now, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def flush(self) -> None:
        """Copy everything that is committed.

        Raises:
            Fatal: the files and the ledger contradict each other.
            Retryable, OSError: the files or the ledger cannot be written now.
        """
        while records := self._ledger.audit_pending(self.BATCH):
            self._trail.append(records)
            self._ledger.audit_written(records[-1])
            progress.step()
            if len(records) < self.BATCH:
                return

    def _run(self) -> None:
        with self.progress.attended():
            self._copy_until_stopped()

    def _copy_until_stopped(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            self._wake.clear()
            try:
                self.flush()
            except (OSError, Retryable) as error:
                self._log.error(EventName.WORKER_TROUBLED, worker="audit", error=one_line(error))
                if not stopping:
                    self._sleep(self.RETRY_S)
                    continue
            except Exception as error:  # noqa: BLE001 - without the trail nothing may go on
                self._on_fatal(error)
                return
            if stopping:
                return
            self._sleep(self.LONGEST_SLEEP_S)
            self._stopping.wait(self.GATHER_S)

    def _sleep(self, longest_s: float) -> None:
        with self.progress.waiting("more records", longest_s):
            self._wake.wait(longest_s)
