"""Unit tests of how soon seals are asked for: as soon as they come, whatever the configuration guessed."""

import pytest

from sealdrop.daemon.pollpace import SOONEST_S, Pace


def asked(pace: Pace, takes_s: float) -> list[float]:
    """Have one seal that takes ``takes_s`` seconds asked for until it is there; return when it was asked for."""
    moments = [pace.first_s()]
    while moments[-1] < takes_s:
        pace.not_yet(moments[-1])
        moments.append(moments[-1] + pace.next_s(moments[-1]))
    pace.there(moments[-1])
    return moments


@pytest.mark.parametrize("takes_s", [0.001, 0.3, 2.0, 12.0, 100.0])
def test_seals_are_asked_for_when_they_come(takes_s: float) -> None:
    """After a few seals each is asked for in time: a few questions, and none waits much longer than it must."""
    pace = Pace(first_s=1.0, longest_s=30.0)
    rounds = [asked(pace, takes_s) for _ in range(40)][-20:]
    assert sum(map(len, rounds)) <= 20 * (5 if takes_s < 30 else 8)
    assert sum(moments[-1] for moments in rounds) / 20 <= max(2.0 * takes_s, 2 * SOONEST_S)


def test_nothing_is_asked_for_again_sooner_than_configured_unless_seals_are_quick() -> None:
    """The configuration's first wait is the least between two questions while nothing better is known."""
    assert Pace(first_s=1.0, longest_s=30.0).next_s(0.5) == 1.0


def test_one_that_is_stuck_says_nothing_of_the_others() -> None:
    """A document that waits for hours, and then gets its seal, does not have the next one wait."""
    pace = Pace(first_s=1.0, longest_s=30.0)
    for _ in range(10):
        asked(pace, 0.1)
    before_s = pace.first_s()
    for _ in range(100):
        pace.not_yet(5000.0)
    assert pace.first_s() == before_s
    pace.there(9000.0)
    assert pace.first_s() <= 4 * before_s


def test_a_stall_is_noticed_by_those_that_wait_in_it() -> None:
    """When nothing comes any more, each document that is asked for has the next one wait longer."""
    pace = Pace(first_s=1.0, longest_s=30.0)
    for _ in range(10):
        asked(pace, 0.01)
    for _ in range(60):
        pace.not_yet(pace.first_s())
    assert pace.first_s() == 30.0
