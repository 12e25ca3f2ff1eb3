"""How far the clock is believed where something is removed for good."""

from datetime import timedelta

import pytest

from documents import NOW, FakeClock
from sealdrop.daemon.clocktrust import AWAY, SET, SETTLE_S, STEADY_S, ClockTrust, Trust

HOUR_S = 3_600.0


@pytest.fixture
def clock() -> FakeClock:
    """One that goes only when told to."""
    return FakeClock()


@pytest.fixture
def trust(clock: FakeClock) -> ClockTrust:
    """Of a clock that has run for long enough since the start."""
    trust = ClockTrust(clock, NOW - timedelta(hours=1))
    clock.go(SETTLE_S)
    assert trust.look() is Trust.FULL
    return trust


@pytest.mark.parametrize(
    ("away", "wait_s", "before"),
    [
        (None, 0.0, None),
        (timedelta(minutes=1), SETTLE_S, Trust.SETTLING),
        (AWAY, SETTLE_S, Trust.SETTLING),
        (AWAY + timedelta(seconds=1), STEADY_S, Trust.AHEAD),
        (-timedelta(days=9), SETTLE_S, Trust.SETTLING),
    ],
)
def test_after_a_start(clock: FakeClock, away: timedelta | None, wait_s: float, before: Trust | None) -> None:
    """A first start has nothing to remove; else some minutes are waited for, or hours after a long time away."""
    trust = ClockTrust(clock, None if away is None else NOW - away)
    if before is not None:
        clock.go(wait_s - 1)
        assert trust.look() is before
        clock.go(1)
    assert trust.look() is Trust.FULL


@pytest.mark.parametrize(
    ("by", "wait_s", "before"),
    [
        (SET, SETTLE_S, Trust.SETTLING),
        (SET + timedelta(seconds=1), STEADY_S, Trust.AHEAD),
        (-timedelta(days=9), SETTLE_S, Trust.SETTLING),
    ],
)
def test_after_the_clock_was_set(
    clock: FakeClock, trust: ClockTrust, by: timedelta, wait_s: float, before: Trust
) -> None:
    """It is not believed at that very look, nor until it has run on for some minutes, or hours if it went far ahead."""
    clock.set_by_s = by.total_seconds()
    assert trust.look() is before
    clock.go(wait_s - 1)
    assert trust.look() is before
    clock.go(1)
    assert trust.look() is Trust.FULL


def test_small_steps_ahead_add_up(clock: FakeClock, trust: ClockTrust) -> None:
    """Half an hour, three times within minutes, is as doubtful as an hour and a half."""
    for expected in (Trust.SETTLING, Trust.SETTLING, Trust.AHEAD):
        clock.set_by_s += HOUR_S / 2
        assert trust.look() is expected
        clock.go(60)


def test_what_was_set_back_again_is_believed_soon(clock: FakeClock, trust: ClockTrust) -> None:
    """A year ahead for a minute costs some minutes, not hours."""
    clock.set_by_s = 365 * 24 * HOUR_S
    assert trust.look() is Trust.AHEAD
    clock.go(60)
    clock.set_by_s = 0.0
    assert trust.look() is Trust.SETTLING
    clock.go(SETTLE_S)
    assert trust.look() is Trust.FULL


def test_a_clock_that_is_kept_right_is_never_in_doubt(clock: FakeClock, trust: ClockTrust) -> None:
    """The network shifts it by a little again and again: nothing is waited for."""
    for _ in range(100):
        clock.go(60)
        clock.set_by_s += 0.05
        assert trust.look() is Trust.FULL
