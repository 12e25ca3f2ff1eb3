"""The line to one account: every call goes through it, and breakers watch how the calls go.

Each operation has a breaker of its own. A service of which one part is broken (documents are taken, but nobody can be
told how far they are) is used as far as it works, and a part that is broken cannot hide behind one that works. When all
is broken, that makes three calls that try it at a time, one for each operation, and no more.

Where the account may be called only so often (`calls_per_s`), each call waits for its turn first. Whoever changes
something does so before the intent is on record (`may_begin`), since from then on time counts: how long ago signing was
asked for decides whether it may be asked for again.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import ParamSpec, TypeVar

from sealdrop.backoff import Backoff, Breaker
from sealdrop.clock import Clock
from sealdrop.config import Account
from sealdrop.daemon import progress
from sealdrop.daemon.refusals import Refusals
from sealdrop.daemon.throttle import Throttle
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import NotCalled, OutcomeUnknown, Refused, Retryable
from sealdrop.events import EventName
from sealdrop.model import DocumentId, State

# Called after each call, with the account, the operation, how it ended and the seconds it took; must not raise.
Listener = Callable[[str, "Operation", str, float], None]

P = ParamSpec("P")
T = TypeVar("T")

PROBED_S = 1.0  # until somebody looks again whether the call that tries a broken operation has ended
TURN_S = 0.25  # that the documents of one claim wait for each other's status calls
LEARNED_FROM = 4  # status calls, about: how long the next one takes
ELSEWHERE = 2  # connections that polling leaves to other calls
OTHERS = 3  # threads that call, beside those that poll: for creating, for signing and for asking what became of it
REFUSED_LONGEST_S = 10.0  # between two tries of an operation that answers, but with a no to every document


class Operation(StrEnum):
    """What can be broken by itself; signing one and signing several are the same."""

    CREATE = "create"
    SIGN = "sign"
    STATUS = "status"


# Which documents cannot go on while an operation does not work.
NEEDED_BY: Mapping[Operation, tuple[State, ...]] = {
    Operation.CREATE: (State.VALIDATED, State.SUBMITTING),
    Operation.SIGN: (State.SUBMITTED,),
    Operation.STATUS: (State.SUBMITTING, State.SEALING, State.ARCHIVING),
}


def pollers(account: Account) -> int:
    """Return how many threads ask how far documents are."""
    return max(account.connections - ELSEWHERE, 1)


def longest_wait_s(account: Account) -> float:
    """Return how long a call waits for its turn at most: for one of each thread, its own too."""
    return (pollers(account) + OTHERS) / account.calls_per_s if account.calls_per_s else 0.0


def subject(account: str, operation: Operation) -> str:
    """Return what the trouble with an operation of an account is called."""
    return f"account {account} {operation}"


class AccountLine:
    """One account's calls, a breaker for each operation. Used by several threads."""

    def __init__(
        self,
        name: str,
        account: Account,
        clock: Clock,
        troubles: Troubles,
        rng: random.Random,
        on_call: Listener = lambda *_: None,
        throttle: Throttle | None = None,
    ) -> None:
        self.name = name
        self._throttle = throttle or Throttle(clock)
        self._apart_s = 1 / account.calls_per_s if account.calls_per_s else 0.0
        self._longest_wait_s = longest_wait_s(account)
        self._is_over = threading.Event()
        self._call_timeout_s = account.call_timeout_s
        self._on_call = on_call
        self._clock = clock
        self._troubles = troubles
        self._rng = rng
        self._lock = threading.Lock()
        self._status_took_s = 0.0  # a moving average, with the wait for a turn
        breaker = Breaker(account.breaker_failures, Backoff(account.retry_first_s, account.retry_longest_s))
        self._breakers = dict.fromkeys(Operation, breaker)
        self._refusals = {
            operation: Refusals(account.breaker_failures, alone_s=account.refused_alone_s) for operation in Operation
        }

    def closed_s(self, *operations: Operation) -> float:
        """Return for how many seconds none of the operations may be called, 0 if all may."""
        now = self._clock.monotonic()
        with self._lock:
            breakers = [self._breakers[operation] for operation in operations]
        return max(
            (max(breaker.open_until - now, PROBED_S) for breaker in breakers if not breaker.may_call(now)), default=0.0
        )

    def out_of_reach(self) -> Mapping[Operation, bool]:
        """Return for each operation whether it counts as out of reach."""
        with self._lock:
            return {operation: breaker.is_open for operation, breaker in self._breakers.items()}

    def share(self, limit: int, *operations: Operation) -> int:
        """Return how many documents may be claimed at a time of ``limit``: one if an operation does not work.

        It would be tried no better with many, and they would all have to be asked about afterwards.
        """
        with self._lock:
            return 1 if any(self._breakers[operation].is_open for operation in operations) else limit

    def share_in_turn(self, limit: int, *operations: Operation) -> int:
        """As `share`, for documents that are worked on one after the other, each with a status call of its own.

        While the service takes its time, one worker's claim must not wait in line where others have nothing to do.
        """
        with self._lock:
            in_time = int(TURN_S / self._status_took_s) if self._status_took_s * limit > TURN_S else limit
        return self.share(max(in_time, 1), *operations)

    def stop(self) -> None:
        """Have nobody wait for a turn any more: what is under way is finished, and no other call begins."""
        self._is_over.set()
        self._throttle.wake()

    def may_begin(self) -> bool:
        """Wait until another call may begin, and return whether it may: it may not once the line has been stopped.

        For whoever is about to `change` something, before it is put on record. `call` and `ask_aside` do it themselves.
        """
        if not self._apart_s:
            return True
        with progress.waiting(f"the next call of account {self.name}", self._longest_wait_s):
            return self._throttle.wait(self._apart_s, self._is_over.is_set)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function``, which asks for a status, returns; let the breaker know how it went.

        Raises:
            Retryable: also if the operation does not work and somebody else is trying it: nothing was sent.
            NotCalled: the line has been stopped.
            Exception: whatever ``function`` raises.
        """
        began = self._clock.monotonic()
        self._await_turn()
        return self._call(Operation.STATUS, (), lambda: function(*args, **kwargs), began)

    def ask_aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns, which calls for something that nothing depends on: no breaker is told.

        Raises:
            NotCalled: the line has been stopped.
            Exception: whatever ``function`` raises.
        """
        self._await_turn()
        return function(*args, **kwargs)

    def change(self, operation: Operation, documents: Sequence[DocumentId], function: Callable[[], T]) -> T:
        """Return what ``function``, which changes something for these documents, returns; as `call`."""
        return self._call(operation, documents, function, self._clock.monotonic())

    def _await_turn(self) -> None:
        if not self.may_begin():
            raise NotCalled(f"account {self.name} was not called: the work is about to stop")

    def is_its_own(self, operation: Operation, document: DocumentId) -> bool:
        """Return whether a document that was refused just now is to blame itself; see `refusals`."""
        with self._lock:
            own = self._refusals[operation].are_its_own(document, self._clock.monotonic())
            if own:
                self._refusals[operation].settled(document)
            return own

    def taken(self, operation: Operation, document: DocumentId) -> None:
        """Say that a document that was refused was taken all the same."""
        self._succeeded(operation, [document])

    def _call(
        self, operation: Operation, documents: Sequence[DocumentId], function: Callable[[], T], wanted: float
    ) -> T:
        with self._lock:
            if not self._breakers[operation].may_call(self._clock.monotonic()):
                raise Retryable(f"{operation} of account {self.name} does not work; somebody is trying it")
            self._breakers[operation] = self._breakers[operation].called()
        began = self._clock.monotonic()
        outcome = "answered"
        try:
            with progress.waiting(f"an answer to {operation} of account {self.name}", self._call_timeout_s):
                result = function()
        except (Retryable, OutcomeUnknown) as error:
            outcome = "unknown" if isinstance(error, OutcomeUnknown) else "failed"
            self._failed(operation, error)
            raise
        except Refused as error:
            outcome = "refused"
            self._refused(operation, documents, error)
            raise
        except BaseException:
            outcome = "withdrawn"
            with self._lock:
                # Our own trouble says nothing about the service.
                self._breakers[operation] = self._breakers[operation].withdrew()
            raise
        finally:
            ended = self._clock.monotonic()
            if operation is Operation.STATUS:
                with self._lock:
                    self._status_took_s += (ended - wanted - self._status_took_s) / LEARNED_FROM
            self._on_call(self.name, operation, outcome, ended - began)
        self._succeeded(operation, documents)
        return result

    def _failed(self, operation: Operation, error: Retryable | OutcomeUnknown) -> None:
        with self._lock:
            before = self._breakers[operation]
            now = self._clock.monotonic()
            after = before.failed(now, self._rng, retry_after_s=error.retry_after_s)
            self._set(operation, after, "SignAPI cannot be reached or does not work", error)

    def _refused(self, operation: Operation, documents: Sequence[DocumentId], error: Refused) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._refusals[operation].refused(documents, now)
            before = self._breakers[operation]
            if self._refusals[operation].are_general:
                after = before.refused(now, self._rng, longest_s=REFUSED_LONGEST_S)
            else:
                after = before.succeeded()  # it answered, if with a no
            self._set(operation, after, "SignAPI refuses every document that it is sent", error)

    def _succeeded(self, operation: Operation, documents: Sequence[DocumentId]) -> None:
        with self._lock:
            self._refusals[operation].taken(documents)
            self._set(operation, self._breakers[operation].succeeded())

    def _set(self, operation: Operation, breaker: Breaker, what: str = "", error: Exception | None = None) -> None:
        """Put a breaker in the place of another, and tell if that changes anything. Under the lock, so in order."""
        was_open = self._breakers[operation].is_open
        self._breakers[operation] = breaker
        named, fields = subject(self.name, operation), {"account": self.name, "operation": operation}
        if breaker.is_open and not was_open:
            event = EventName.ACCOUNT_UNREACHABLE
            self._troubles.tell(named, f"{what}: {error}", event, **fields, error=str(error))
        elif not breaker.is_open:  # also if it was told by a line that an earlier configuration had made
            self._troubles.over(named, EventName.ACCOUNT_REACHABLE, **fields)
