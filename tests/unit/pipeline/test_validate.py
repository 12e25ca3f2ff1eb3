"""Inspection in a child process, and what is said if the child does not survive it."""

from pathlib import Path
from typing import cast

import pytest

from sealdrop.config import Validation
from sealdrop.model import Inspection, Reason, Verdict
from sealdrop.pdf.jail import Jail, JailedError, JailLimitExceeded, Limit
from sealdrop.pipeline.validate import TRIES, validate

FINE = Inspection(Verdict.ACCEPT, pages=1)


class ScriptedJail:
    """A jail whose calls end as they are told to, one after the other."""

    def __init__(self, *endings: Inspection | Exception) -> None:
        self.endings = list(endings)

    def run(self, *_: object) -> Inspection:
        """End as told."""
        ending = self.endings.pop(0)
        if isinstance(ending, Exception):
            raise ending
        return ending


def _validate(jail: ScriptedJail) -> Inspection:
    return validate(Path("original.pdf"), Validation(), cast(Jail, jail))


def test_a_child_that_dies_once_says_nothing() -> None:
    """One death may be anybody's fault: the document is examined again, and that verdict counts."""
    jail = ScriptedJail(JailLimitExceeded(Limit.TIME, "more than 20 s"), FINE)
    assert _validate(jail) == FINE


@pytest.mark.parametrize("limit", list(Limit))
def test_a_document_that_goes_beyond_a_limit_twice_is_rejected(limit: Limit) -> None:
    """It is the document's fault then: PARSER_LIMIT, in words that name the limit, and no third try."""
    jail = ScriptedJail(*[JailLimitExceeded(limit, "too much")] * TRIES)
    report = _validate(jail)
    assert report.verdict is Verdict.REJECT
    assert report.cause is not None
    assert report.cause.code is Reason.PARSER_LIMIT
    assert limit in report.cause.detail
    assert jail.endings == []


def test_our_own_fault_is_not_blamed_on_the_document() -> None:
    """An inspection that breaks off is an error, not a verdict."""
    with pytest.raises(JailedError):
        _validate(ScriptedJail(JailedError("TypeError", "our fault")))


def test_a_file_that_is_no_pdf_is_rejected_for_real(tmp_path: Path) -> None:
    """Through a real child process: the verdict comes back."""
    path = tmp_path / "a.pdf"
    path.write_text("Dear all")
    with Jail(1) as jail:
        report = validate(path, Validation(), jail)
    assert report.cause is not None
    assert report.cause.code is Reason.NOT_PDF
