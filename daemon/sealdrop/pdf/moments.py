"""Judgements that hold for a span of time, and how that span is found.

Whether a chain of certificates is valid depends on certificates, lists and responses, which come with document after
document, and on a moment, which is another one each time. But of the moment only one kind of question is ever asked:
is it before or after a time that the evidence names, a few seconds added perhaps? So a judgement stays what it is until
the moment passes one of those times, and a `Moment` notes which they were. Nothing has to be known of how pyHanko
judges: what is noted is what it asked. Should it ever ask something else, the judgement is not remembered.

Only what is in favour is remembered, as with signatures (see `crypto`): what is wrong is found anew each time.
"""

from collections.abc import Hashable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self, TypeVar

_MOST = 512  # judgements, of some hundred bytes each
_HARMLESS = frozenset({"tzinfo", "utcoffset"})  # they say nothing of when

T = TypeVar("T", bound=datetime)


class Span:
    """All times between two, neither of them included; at first all that there are."""

    def __init__(self) -> None:
        self.after = datetime.min.replace(tzinfo=UTC)
        self.before = datetime.max.replace(tzinfo=UTC)

    def __contains__(self, at: datetime) -> bool:
        return self.after < at < self.before

    def part(self, at: datetime, limit: datetime) -> None:
        """Leave of it what lies on the same side of ``limit`` as ``at``; nothing if that is the limit."""
        if at <= limit:
            self.before = min(self.before, limit)
        if at >= limit:
            self.after = max(self.after, limit)

    def clear(self) -> None:
        """Leave nothing of it."""
        self.before = self.after


def _asked(name: str) -> property:
    """Return an attribute that is what a plain time has under that name, and leaves nothing of the span."""

    def answer(moment: "Moment") -> object:
        moment._span.clear()  # noqa: SLF001 - a part of that class
        return getattr(moment._plain, name)  # noqa: SLF001 - as above

    return property(answer)


def _noting(kind: type[T]) -> type[T]:
    """Have ``kind`` note whatever else is asked of a time."""
    for name in {*vars(datetime), *vars(date)} - _HARMLESS:
        if not name.startswith("_"):
            setattr(kind, name, _asked(name))
    return kind


@_noting
class Moment(datetime):
    """A time that narrows ``span`` to those for which each comparison with it so far would have ended the same."""

    _plain: datetime
    _shift: timedelta
    _span: Span

    def __new__(cls, at: datetime, span: Span, shift: timedelta = timedelta()) -> Self:
        """Return ``at``, which is ``shift`` later than the time that ``span`` is about."""
        parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
        made = super().__new__(cls, *parts, at.tzinfo, fold=at.fold)
        made._plain, made._shift, made._span = at, shift, span
        return made

    def __add__(self, other: timedelta) -> Self:
        if isinstance(other, timedelta):
            return type(self)(self._plain + other, self._span, self._shift + other)
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:  # noqa: ANN401 - a time, or a difference
        if isinstance(other, timedelta):
            return self + -other
        self._span.clear()
        return self._plain - other

    def __rsub__(self, other: datetime) -> timedelta:
        self._span.clear()
        return other - self._plain

    def __lt__(self, other: date) -> bool:
        return bool(self._plain < self._noted(other))

    def __le__(self, other: date) -> bool:
        return bool(self._plain <= self._noted(other))

    def __gt__(self, other: date) -> bool:
        return bool(self._plain > self._noted(other))

    def __ge__(self, other: date) -> bool:
        return bool(self._plain >= self._noted(other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datetime) and bool(self._plain == self._noted(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        self._span.clear()
        return hash(self._plain)

    def _noted(self, other: Any) -> Any:  # noqa: ANN401 - whatever it is compared with
        """Return ``other``, and narrow the span by it."""
        if isinstance(other, Moment):  # of the same time perhaps, or of another one
            self._span.clear()
            return other
        try:
            self._span.part(self._plain - self._shift, other - self._shift)
        except (OverflowError, TypeError):  # the end of all times; or no time of ours, which the comparison will say
            self._span.clear()
        return other


class Favourable:
    """What was judged in favour, and for which moments; bounded."""

    def __init__(self) -> None:
        self._spans: dict[Hashable, Span] = {}

    def holds(self, judgement: Hashable, at: datetime) -> bool:
        """Return whether ``judgement``, which tells all that it depends on, is known to be in favour at that time."""
        span = self._spans.get(judgement)
        return span is not None and at in span

    def remember(self, judgement: Hashable, span: Span) -> None:
        """Note that it is in favour for that span."""
        if len(self._spans) >= _MOST:
            self._spans.clear()
        self._spans[judgement] = span

    def forget(self) -> None:
        """Forget all."""
        self._spans.clear()
