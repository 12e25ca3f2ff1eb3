"""Whether a document may be sealed: inspection in a child process, and what to say if the child does not survive it."""

from dataclasses import replace
from pathlib import Path

from sealdrop.config import SealPage, Validation
from sealdrop.model import Finding, Inspection, Reason, Verdict
from sealdrop.pdf.jail import Jail, JailedError, JailLimitExceeded
from sealdrop.pdf.jobs import inspect, shortened
from sealdrop.visible.place import is_sound


def validate(
    original: Path, rules: Validation, jail: Jail, *, suspect: bool, seal_page: SealPage | None = None
) -> Inspection:
    """Return whether the PDF at ``original`` may be sealed, and why; ``seal_page`` is measured for a visible seal.

    A child may die through no fault of the document; twice is the document's. So the first time that it exceeds the
    jail's limits (time, memory, CPU) or kills its child is an error, after which it is to be examined once more, as a
    ``suspect``, in a jail that others do not wait for. The second time it is rejected as ``PARSER_LIMIT``.

    Raises:
        JailLimitExceeded: for the first time.
        JailedError: inspection itself broke, which is our fault and not the document's.
    """
    try:
        return _bounded(jail.run(inspect, original, rules, seal_page))
    except JailLimitExceeded as error:
        if not suspect:
            raise
        return Inspection(Verdict.REJECT, cause=Finding(Reason.PARSER_LIMIT, str(error)))


def _bounded(said: Inspection) -> Inspection:
    """Return what a child said with its words cut short: one that a document has taken over may say anything."""

    def cut(finding: Finding) -> Finding:
        return replace(finding, detail=shortened(finding.detail))

    cause = cut(said.cause) if said.cause else None
    area = said.seal_page if said.seal_page is not None and is_sound(said.seal_page) else None
    return replace(
        said, cause=cause, warnings=tuple(map(cut, said.warnings)), notes=tuple(map(cut, said.notes)), seal_page=area
    )


def given_up(error: JailedError) -> Inspection:
    """Return what is said of a document whose inspection breaks again and again: never what the exception said."""
    return Inspection(Verdict.REJECT, cause=Finding(Reason.UNREADABLE, f"examining it failed here ({error.kind})"))
