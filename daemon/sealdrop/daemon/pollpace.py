"""How soon to ask for a seal: as soon as seals have been coming, neither much sooner nor much later.

A service that seals within milliseconds should not have every document wait for a second, and one that takes ten
seconds should not be asked ten times for each. So the time from the sign call to the final answer is learned from every
answer, for one account as a whole:

- not there at the first question: it takes longer, so the next is asked for a little later;
- there at the first question: perhaps it had been for a while, so the next is asked for in half that time;
- there at a later question: the next one is asked for a little before that.

One document that is stuck, or was, says little of the others: it cannot change much at once.
"""

import threading

SOONEST_S = 0.02
_FRACTION = 0.25  # of the time that a document has waited already: how long until it is asked for again
_AT_FIRST = 1.5  # times the expected wait: who is asked for before that is asked for the first time
_A_LITTLE_LATER = 1.25
_A_LITTLE_BEFORE = 0.8
_AT_MOST = 4  # times the expected wait: what it becomes by one answer


class Pace:
    """How long one account's seals take. Used by all of its threads."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        """Begin with no more knowledge than the configuration's.

        Args:
            first_s: seconds after which a seal is asked for while nothing is known, and the least between two
                questions about a document, unless seals are known to come sooner.
            longest_s: the most between two questions about a document.
        """
        self._configured_s = first_s
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._expected_s = first_s

    def first_s(self) -> float:
        """Return for how many seconds a seal that was just asked for need not be asked after."""
        return self._expected_s

    def next_s(self, waited_s: float) -> float:
        """Return how long not to ask again after a document that has waited for ``waited_s`` seconds."""
        least_s = min(self._expected_s, self._configured_s)
        return min(max(waited_s * _FRACTION, least_s), self._longest_s)

    def not_yet(self, waited_s: float) -> None:
        """Learn that a seal was not there after ``waited_s`` seconds."""
        with self._lock:
            if waited_s <= self._expected_s * _AT_FIRST:
                self._expected_s = min(max(self._expected_s, waited_s) * _A_LITTLE_LATER, self._longest_s)

    def there(self, waited_s: float) -> None:
        """Learn that a seal was there after ``waited_s`` seconds."""
        with self._lock:
            if waited_s <= self._expected_s * _AT_FIRST:
                self._expected_s = max(self._expected_s / 2, SOONEST_S)
            else:
                known_s = min(waited_s * _A_LITTLE_BEFORE, self._expected_s * _AT_MOST)
                self._expected_s = min(known_s, self._longest_s)
