"""A judgement is remembered for those moments only for which everything that was asked has the same answer."""

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealdrop.pdf.moments import Favourable, Moment, Span

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TIMES = st.integers(-5, 5).map(lambda seconds: NOW + seconds * SECOND)
SHIFTS = st.integers(-2, 2).map(lambda seconds: seconds * SECOND)
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
QUESTIONS = st.lists(st.tuples(st.sampled_from(COMPARISONS), TIMES, SHIFTS, st.booleans(), st.booleans()), max_size=5)


def _answers(at: datetime, questions: list[tuple[Any, ...]]) -> list[bool]:
    """Return how each comparison ends: with what is added on either side, and the moment on either side."""
    found = []
    for compare, limit, shift, moment_first, shift_first in questions:
        shifted = shift + at if shift_first else at - -shift
        found.append(compare(shifted, limit) if moment_first else compare(limit, shifted))
    return found


@given(TIMES, TIMES, QUESTIONS)
def test_within_the_span_all_answers_are_the_same(
    at: datetime, other: datetime, questions: list[tuple[Any, ...]]
) -> None:
    """A moment answers as the time that it is, and any other in its span would have answered the same."""
    span = Span()
    assert _answers(Moment(at, span), questions) == _answers(at, questions)
    if other in span:
        assert _answers(other, questions) == _answers(at, questions)
    assert at in span or any(at + shift == limit for _, limit, shift, _, _ in questions)


@pytest.mark.parametrize(
    "ask",
    [
        lambda moment: moment.timestamp(),
        lambda moment: moment.year,
        lambda moment: moment.astimezone(UTC),
        lambda moment: moment.replace(hour=1),
        lambda moment: (moment + SECOND).isoformat(),
        lambda moment: moment - NOW,
        lambda moment: NOW - moment,
        lambda moment: moment < moment,
        lambda moment: moment < Moment(NOW, Span()),
        lambda moment: {moment: 1},
        lambda moment: moment - SECOND < datetime.max.replace(tzinfo=UTC),
    ],
)
def test_whatever_else_is_asked_leaves_no_span(ask: Callable[[Moment], object]) -> None:
    """What is not a comparison with a time, or with one that cannot be told, holds for no other moment."""
    span = Span()
    ask(Moment(NOW, span))
    assert NOW not in span


def test_what_says_nothing_of_when_may_be_asked() -> None:
    """Whether it has a time zone, as pyHanko asks, narrows nothing."""
    span = Span()
    assert Moment(NOW, span).utcoffset() == timedelta()
    assert Moment(NOW, span).tzinfo is UTC
    assert NOW + 9999 * SECOND in span


def test_a_time_without_a_zone_is_refused_as_ever() -> None:
    """A comparison that Python refuses is refused, whichever side the moment is on."""
    for ask in (lambda moment: moment < NOW.replace(tzinfo=None), lambda moment: moment + 1):
        with pytest.raises(TypeError):
            ask(Moment(NOW, Span()))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judgement holds within its span, unless too many others came after it."""
    monkeypatch.setattr("sealdrop.pdf.moments._MOST", 2)
    held, span = Favourable(), Span()
    assert Moment(NOW, span) < NOW + SECOND
    held.remember("one", span)
    assert held.holds("one", NOW)
    assert not held.holds("one", NOW + SECOND)
    assert not held.holds("another", NOW)
    for judgement in ("two", "three"):
        held.remember(judgement, Span())
    assert not held.holds("one", NOW)
    assert held.holds("three", NOW)
