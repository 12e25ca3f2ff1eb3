"""Whether a document may be sealed: inspection in a child process, and what to say if the child does not survive it."""

from pathlib import Path

from sealdrop.config import Validation
from sealdrop.model import Finding, Inspection, Reason, Verdict
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.jail import Jail, JailLimitExceeded

TRIES = 2  # a child may die through no fault of the document; twice is the document's


def validate(original: Path, rules: Validation, jail: Jail) -> Inspection:
    """Return whether the PDF at ``original`` may be sealed, and why.

    A document that exceeds the jail's limits (time, memory, CPU) or kills its child twice is rejected as
    ``PARSER_LIMIT``; it never holds up anything but its own child process.

    Raises:
        JailedError: inspection itself broke, which is our fault and not the document's.
    """
    limit = ""
    for _ in range(TRIES):
        try:
            return jail.run(inspect, original, rules)
        except JailLimitExceeded as error:
            limit = str(error)
    return Inspection(Verdict.REJECT, cause=Finding(Reason.PARSER_LIMIT, limit))
