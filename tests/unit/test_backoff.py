"""Delays and the breaker."""

import random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sealdrop.backoff import Backoff, Breaker


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_a_delay_grows_to_its_bound_and_no_further(attempt: int, seed: int) -> None:
    """The delay after a try is between half and the whole of a bound that doubles up to the longest."""
    backoff = Backoff(first_s=2.0, longest_s=300.0)
    full = min(2.0 * 2 ** min(attempt - 1, 60), 300.0)
    assert full / 2 <= backoff.delay_s(attempt, random.Random(seed)) <= full


@given(st.integers(1, 50), st.floats(0, 100_000), st.integers(0, 2**32))
def test_the_services_wish_is_honoured(attempt: int, wish_s: float, seed: int) -> None:
    """A Retry-After is never undercut, even past the longest delay, and not stretched by more than a tenth."""
    backoff = Backoff(first_s=2.0, longest_s=300.0)
    delay_s = backoff.delay_s(attempt, random.Random(seed), retry_after_s=wish_s)
    assert delay_s >= wish_s
    assert delay_s <= max(300.0, wish_s * 1.1)


def test_those_who_failed_together_do_not_come_back_together() -> None:
    """A hundred documents that failed at once are spread over half of the delay."""
    rng = random.Random(1)
    delays = [Backoff(2.0, 300.0).delay_s(8, rng) for _ in range(100)]
    assert max(delays) - min(delays) > 0.4 * 256


class BreakerMachine(RuleBasedStateMachine):
    """Calls succeed and fail while time passes; the breaker is asked before each."""

    THRESHOLD = 3

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(0)
        self.now = 0.0
        self.breaker = Breaker(self.THRESHOLD, Backoff(2.0, 60.0))
        self.failed_in_a_row = 0
        self.probing = False

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def start_a_call(self) -> None:
        """A caller asks, and calls if it may."""
        if self.breaker.may_call(self.now):
            self.breaker = self.breaker.called()
            self.probing = self.failed_in_a_row >= self.THRESHOLD

    @rule()
    def succeed(self) -> None:
        """A call is answered."""
        self.breaker = self.breaker.succeeded()
        self.failed_in_a_row = 0
        self.probing = False

    @rule()
    def fail(self) -> None:
        """A call fails."""
        self.breaker = self.breaker.failed(self.now, self.rng)
        self.failed_in_a_row += 1
        self.probing = False

    @invariant()
    def open_after_enough_failures(self) -> None:
        """It is open just when enough calls in a row have failed."""
        assert self.breaker.is_open == (self.failed_in_a_row >= self.THRESHOLD)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        """While it is open nobody calls beside a probe, nor before its time."""
        if self.breaker.is_open:
            assert self.breaker.may_call(self.now) == (self.now >= self.breaker.open_until and not self.probing)
        else:
            assert self.breaker.may_call(self.now)

    @invariant()
    def never_closed_for_good(self) -> None:
        """However long the outage, it lets a caller try again within the longest delay."""
        assert self.breaker.open_until <= self.now + 60.0


TestBreaker = BreakerMachine.TestCase


def test_calls_that_were_under_way_open_it_only_once() -> None:
    """Eight calls that fail together are one outage: the first delay is waited for, then one probe is let through."""
    backoff = Backoff(2.0, 60.0)
    breaker = Breaker(3, backoff)
    for _ in range(8):
        breaker = breaker.failed(10.0, random.Random(1))
    assert 11.0 <= breaker.open_until <= 12.0
    breaker = breaker.called()
    assert not breaker.may_call(12.0)
    breaker = breaker.failed(12.0, random.Random(1))
    assert 14.0 <= breaker.open_until <= 16.0, "a failed probe opens it again, for longer"


def test_an_answer_to_a_late_call_closes_it() -> None:
    """Any answer shows that the service is there, whoever asked."""
    breaker = Breaker(1, Backoff(2.0, 60.0)).failed(0.0, random.Random(1))
    assert not breaker.may_call(0.5)
    assert breaker.succeeded().may_call(0.5)


def test_a_wish_to_be_left_alone_is_granted_at_once() -> None:
    """One Retry-After opens it, for as long as was wished; of several calls under way the longest wish counts."""
    breaker = Breaker(5, Backoff(2.0, 60.0)).failed(0.0, random.Random(1), retry_after_s=600.0)
    assert not breaker.may_call(599.0)
    longer = breaker.failed(1.0, random.Random(1), retry_after_s=1_200.0)
    assert not longer.may_call(1_200.0)
    assert longer.may_call(1_400.0)
    assert breaker.failed(1.0, random.Random(1)) == breaker


def test_a_service_that_refuses_everything_is_tried_in_moderation() -> None:
    """It opens at once, and never stays open for longer than was asked for, however often it is refused."""
    breaker, now = Breaker(5, Backoff(2.0, 300.0)), 0.0
    for _ in range(50):
        breaker = breaker.called().refused(now, random.Random(1), longest_s=10.0)
        assert not breaker.may_call(now)
        assert now < breaker.open_until <= now + 10.0
        now = breaker.open_until
