"""Every error of sealdrop, and what each asks the daemon to do.

The class decides the policy; nothing else does::

    SealdropError
    |-- ConfigurationError      do not start; every fault is listed at once
    |-- Retryable               nothing was applied, or repeating is harmless: try again later
    |   |-- AccountRefused      the account, not this document, is refused: as above, and tell the administrator
    |   `-- NotCalled           nothing was tried, since the work is about to stop: it counts as no try
    |-- Refused                 this document was refused for its own sake: it fails, with the reason given
    |-- OutcomeUnknown          a call may have been applied: ask by our own identifier before anything else
    |   `-- MalformedAnswer     the answer cannot be understood, so what was done is unknown
    |-- Unrecordable            what should go on record cannot be written down as given: nothing was committed
    `-- Fatal                   state on disk cannot be trusted: stop
        |-- IllegalMove         a document was about to make a move that the table does not allow
        |-- TrailBroken         the audit trail's files and the ledger contradict each other
        `-- LedgerTooNew        a newer sealdrop wrote this ledger
    LeaseLost                   another worker owns the document now: drop this outcome

A library's exceptions never leave the module that uses the library: they are translated here, with ``raise ... from``.
No message holds a secret or a document's content.
"""

from collections.abc import Sequence


class SealdropError(Exception):
    """The root of all errors that sealdrop raises on purpose."""


class ConfigurationError(SealdropError):
    """The configuration cannot be used; ``problems`` holds one line for each fault, with its place."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem(s), nothing was started:\n{lines}")


class Retryable(SealdropError):
    """Nothing was applied, or repeating is harmless; ``retry_after_s`` is the service's own wish, in seconds."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class AccountRefused(Retryable):
    """The service refuses the account (certificate, contract, address), whatever the document."""


class NotCalled(Retryable):
    """A call that waited for its turn was not made, because the work stops."""


class Refused(SealdropError):
    """The service refuses this document for its own sake, and will go on refusing it.

    ``documents`` is how many the refused call carried. With several, the refusal is the whole call's and any of them
    may be the cause: call again for each alone.
    """

    def __init__(self, message: str, *, documents: int = 1) -> None:
        self.documents = documents
        super().__init__(message)


class OutcomeUnknown(SealdropError):
    """A call that changes something ended without a clear answer: it may have been applied."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class MalformedAnswer(OutcomeUnknown):
    """The service answered something that its description does not allow; the text names what was wrong."""


class Unrecordable(SealdropError):
    """What should go on record cannot be written down (text that is not Unicode, a number that JSON lacks)."""


class Fatal(SealdropError):
    """What is on disk cannot be trusted: stop, so that a person looks."""


class IllegalMove(Fatal):
    """A document was about to make a move that is not in the table of moves."""


class TrailBroken(Fatal):
    """The audit trail's files and the ledger contradict each other, or a file holds what is no record."""


class LedgerTooNew(Fatal):
    """The ledger was written by a newer sealdrop, whose schema this one does not know."""


class LeaseLost(SealdropError):
    """The document's lease ran out and somebody else claimed it; this worker's outcome must be dropped."""
