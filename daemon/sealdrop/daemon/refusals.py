"""Whose fault a "no" is: the document's, or that of a service that says no to everything for a while.

An outage can speak in polite words: HTTP 200 with an ``errorMsg``, for hours, to every document. Nobody can tell such
a no from one that is meant for its document by looking at it. What tells is how others fare (docs/adr/0005):

- A no counts against its document when others were taken between two of them: no, yes to another, no.
- How much it counts is learned from what becomes of the refused. Where one in a hundred is taken after all, three such
  turns in a row are no chance; where most of them are, thirty may be.
- Where nothing else is sent, nobody can witness. Then a document that was refused for the account's ``refused_alone_s``
  without a break is believed to be at fault itself, unless many are refused, or the refused are often taken after all.
- As many documents as open a breaker, all different and none taken in between, are no accident: the service refuses
  everything. The operation is tried more rarely, like any that does not work, and until one is taken no refusal counts.

Kept in memory only: a restart forgets, and a refused document waits a little longer.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sealdrop.model import DocumentId

REFUSALS = 4  # times that a document must be refused, seconds to minutes apart, before it can fail for it
DOUBT = 1e-4  # a document fails only if being refused as often as it was, by chance, is less likely than this
OFTEN = 0.1  # of the calls that are taken hold a document that was refused before: then a no means little
LATELY = 0.99  # how much what was learned counts for, one call later
FIRST_GUESS = 0.05  # calls of one that are taken after having been refused, before anything is known
REMEMBERED = 1_000  # documents; whatever number is refused, memory is bounded


@dataclass(slots=True)
class _Refused:
    """One document that was refused: since when (monotonic seconds), how often, and what others witnessed."""

    since: float
    times: int = 0
    taken_before: int = 0
    witnessed: int = 0


class Refusals:
    """What one operation refused lately. Not for several threads at once; time is handed in (monotonic seconds)."""

    def __init__(self, alike: int, *, alone_s: float) -> None:
        self._alike = alike
        self._alone_s = alone_s
        self._refused: OrderedDict[DocumentId, _Refused] = OrderedDict()
        self._in_a_row: set[DocumentId] = set()
        self._calls_taken = 0
        self._taken_lately = 0.0
        self._reprieved_lately = 0.0

    @property
    def are_general(self) -> bool:
        """Whether the service refuses everything, as far as anybody can see."""
        return len(self._in_a_row) >= self._alike

    def taken(self, documents: Sequence[DocumentId]) -> None:
        """Take note that the service took these documents."""
        self._calls_taken += 1
        self._in_a_row.clear()
        reprieved = [each for each in documents if self._refused.pop(each, None) is not None]
        self._taken_lately = self._taken_lately * LATELY + 1
        self._reprieved_lately = self._reprieved_lately * LATELY + bool(reprieved)

    def refused(self, documents: Sequence[DocumentId], now: float) -> None:
        """Take note that the service refused a call for these documents: of several, any may be the cause."""
        if not self.are_general:
            self._in_a_row.update(documents[:1])
        if len(documents) != 1:
            return
        known = self._refused.setdefault(documents[0], _Refused(since=now, taken_before=self._calls_taken))
        self._refused.move_to_end(documents[0])
        known.times += 1
        if self._calls_taken > known.taken_before and not self.are_general:
            known.witnessed += 1
            known.taken_before = self._calls_taken
        if len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)

    def are_its_own(self, document: DocumentId, now: float) -> bool:
        """Return whether the document, which was refused just now, is to blame itself."""
        known = self._refused.get(document)
        if known is None or known.times < REFUSALS:
            return False
        chance = (self._reprieved_lately + FIRST_GUESS) / (self._taken_lately + 1)
        if known.witnessed >= REFUSALS - 1 and chance**known.witnessed <= DOUBT:
            return True
        return now - known.since >= self._alone_s and chance <= OFTEN and not self.are_general

    def settled(self, document: DocumentId) -> None:
        """Forget a document that is not sent any more."""
        self._refused.pop(document, None)
