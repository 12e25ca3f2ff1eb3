"""When to try again: delays that grow and scatter, and a breaker that keeps an outage from becoming a storm.

Pure: time and chance are handed in.
"""

import random
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from ``first_s`` up to ``longest_s``, in seconds."""

    first_s: float
    longest_s: float

    def delay_s(self, attempt: int, rng: random.Random, *, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after failed try number ``attempt`` (the first is 1).

        Half of the delay is fixed and half is random, so that documents that failed together do not come back
        together. A wish of the service (``Retry-After``) is a lower bound, even past ``longest_s``; it too is
        scattered, upwards, by up to a tenth.
        """
        exponent = min(max(attempt, 1) - 1, 62)
        full = min(self.first_s * 2.0**exponent, self.longest_s)
        delay = full / 2 + rng.random() * full / 2
        if retry_after_s is not None:
            delay = max(delay, retry_after_s * (1 + rng.random() / 10))
        return delay


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether calls of one operation may be made; a value, replaced after each call.

    Closed: calls pass. After ``threshold`` failures in a row it opens, and at once if the service wishes to be left
    alone (``Retry-After``): no call until ``open_until`` (monotonic seconds). Then one caller at a time may probe; a
    success closes it, a failure opens it again for longer. Calls that were under way when it opened say nothing new by
    failing: however many they are, it opens once.
    """

    threshold: int
    backoff: Backoff
    failures: int = 0
    open_until: float = 0.0
    probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the service counts as out of reach."""
        return self.failures >= self.threshold

    def may_call(self, now: float) -> bool:
        """Return whether a call may start at ``now`` (monotonic seconds)."""
        return not self.is_open or (now >= self.open_until and not self.probing)

    def called(self) -> "Breaker":
        """Return the breaker with a call under way: while it is open, that call is the only probe."""
        return replace(self, probing=True) if self.is_open else self

    def withdrew(self) -> "Breaker":
        """Return the breaker after a call that said nothing about the service: it never got that far."""
        return replace(self, probing=False)

    def succeeded(self) -> "Breaker":
        """Return the breaker after a call that the service answered."""
        return replace(self, failures=0, open_until=0.0, probing=False)

    def failed(self, now: float, rng: random.Random, *, retry_after_s: float | None = None) -> "Breaker":
        """Return the breaker after a call that did not reach the service, or that it could not serve."""
        return self._worse(now, self.backoff, rng, retry_after_s, at_once=bool(retry_after_s))

    def refused(self, now: float, rng: random.Random, *, longest_s: float) -> "Breaker":
        """Return the breaker after a no to a document, when lately all others got one too: it opens at once.

        It never stays open for much longer than ``longest_s``: the service does answer, and among the documents that
        wait may be one that it takes.
        """
        return self._worse(now, replace(self.backoff, longest_s=longest_s), rng, None, at_once=True)

    def _worse(
        self, now: float, backoff: Backoff, rng: random.Random, retry_after_s: float | None, *, at_once: bool
    ) -> "Breaker":
        if self.is_open and not self.probing:
            if not retry_after_s:
                return self
            # Of several that were under way, the one that was told to wait longest counts.
            wished = now + backoff.delay_s(1, rng, retry_after_s=retry_after_s)
            return replace(self, open_until=max(self.open_until, wished))
        failures = max(self.failures + 1, self.threshold if at_once else 0)
        opened = failures - self.threshold + 1
        open_until = 0.0
        if opened > 0:
            open_until = now + backoff.delay_s(opened, rng, retry_after_s=retry_after_s)
        return replace(self, failures=failures, open_until=open_until, probing=False)
