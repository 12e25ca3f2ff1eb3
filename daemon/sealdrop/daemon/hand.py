"""What a worker has found out of documents and not yet recorded: it goes on record together, and soon.

A transaction for each document would cost more than most of the work does. What is in a hand is under the worker's
lease; if we crash before it is recorded, the work is done again, as after any crash between the work and its record. So
only what nobody outside can see is held: what was published is recorded before anything else is begun.

Nothing waits long: a hand is emptied once `LONGEST_S` have passed since its first outcome, or would have if the next
document took as long as the last one. If that one hangs, what is in hand waits for it.
"""

from collections.abc import Callable, Sequence

from sealdrop.clock import Clock
from sealdrop.ledger.store import Step
from sealdrop.model import Document

LONGEST_S = 0.05

Outcome = tuple[Document, Step]


class Hand:
    """Outcomes of claimed documents. Used by one thread, for the documents of one claim."""

    def __init__(self, record: Callable[[Sequence[Outcome]], object], clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._held: list[Outcome] = []
        self._since = 0.0
        self._began = 0.0

    def begin(self, document: Document, *, looks_at_copies: bool = False) -> None:
        """Say that work on a document begins; with ``looks_at_copies``, that it looks for others of its content.

        Then what is in hand of that content goes on record first. So does everything, if what is in hand would become
        too old while the work takes as long as the last one did.
        """
        now = self._clock.monotonic()
        last_s = now - self._began if self._held else 0.0
        is_old = bool(self._held) and now + last_s - self._since > LONGEST_S
        if is_old or (looks_at_copies and self._holds_content_of(document)):
            self.empty()
        self._began = self._clock.monotonic()

    def take(self, document: Document, step: Step) -> None:
        """Hold what was found of a document."""
        if not self._held:
            self._since = self._clock.monotonic()
        self._held.append((document, step))

    def empty(self) -> None:
        """Record all that is held."""
        held, self._held = self._held, []
        if held:
            self._record(held)

    def _holds_content_of(self, document: Document) -> bool:
        return any(held.sha256 == document.sha256 for held, _ in self._held)
