"""The line to one account: every call goes through it, and a breaker watches how the calls go."""

import random
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sealdrop.backoff import Backoff, Breaker
from sealdrop.clock import Clock
from sealdrop.config import Account
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import OutcomeUnknown, Refused, Retryable
from sealdrop.events import EventName

P = ParamSpec("P")
T = TypeVar("T")


class AccountLine:
    """One account's calls, one breaker. Used by several threads."""

    def __init__(self, name: str, account: Account, clock: Clock, troubles: Troubles, rng: random.Random) -> None:
        self.name = name
        self._clock = clock
        self._troubles = troubles
        self._subject = f"account {name}"
        self._rng = rng
        self._lock = threading.Lock()
        self._breaker = Breaker(account.breaker_failures, Backoff(account.retry_first_s, account.retry_longest_s))

    def closed_s(self) -> float:
        """Return for how many seconds no call may be made, 0 if one may."""
        now = self._clock.monotonic()
        with self._lock:
            if self._breaker.may_call(now):
                return 0.0
            return max(self._breaker.open_until - now, 1.0)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns, and let the breaker know how it went.

        Raises:
            Retryable: also if the account is out of reach and somebody else is trying it: nothing was sent.
            Exception: whatever ``function`` raises.
        """
        with self._lock:
            if not self._breaker.may_call(self._clock.monotonic()):
                raise Retryable(f"account {self.name} is out of reach; somebody is trying it")
            self._breaker = self._breaker.called()
        try:
            result = function(*args, **kwargs)
        except (Retryable, OutcomeUnknown) as error:
            self._failed(error)
            raise
        except Refused:
            self._succeeded()  # it answered, if with a no
            raise
        except BaseException:
            with self._lock:
                self._breaker = self._breaker.withdrew()  # our own trouble says nothing about the service
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
            text = f"SignAPI cannot be reached or does not work: {error}"
            event = EventName.ACCOUNT_UNREACHABLE
            self._troubles.tell(self._subject, text, event, account=self.name, error=str(error))

    def _succeeded(self) -> None:
        with self._lock:
            was_open = self._breaker.is_open
            self._breaker = self._breaker.succeeded()
        if was_open:
            self._troubles.over(self._subject, EventName.ACCOUNT_REACHABLE, account=self.name)
