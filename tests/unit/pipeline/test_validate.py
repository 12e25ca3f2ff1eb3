"""Inspection in a child process, and what is said if the child does not survive it."""

from pathlib import Path
from typing import cast

import pytest

from sealdrop.config import Validation
from sealdrop.model import Finding, Inspection, Reason, Verdict
from sealdrop.pdf.jail import Jail, JailedError, JailLimitExceeded, Limit
from sealdrop.pdf.jobs import TEXT_CHARACTERS
from sealdrop.pipeline.validate import given_up, validate

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


def _validate(jail: ScriptedJail, *, suspect: bool = False) -> Inspection:
    return validate(Path("original.pdf"), Validation(), cast(Jail, jail), suspect=suspect)


@pytest.mark.parametrize("limit", list(Limit))
def test_a_child_that_dies_once_says_nothing(limit: Limit) -> None:
    """One death may be anybody's fault, and is no verdict; as a suspect the document can still be found fit."""
    with pytest.raises(JailLimitExceeded):
        _validate(ScriptedJail(JailLimitExceeded(limit, "too much")))
    assert _validate(ScriptedJail(FINE), suspect=True) == FINE


@pytest.mark.parametrize("limit", list(Limit))
def test_a_suspect_that_goes_beyond_a_limit_is_rejected(limit: Limit) -> None:
    """It is the document's fault then: PARSER_LIMIT, in words that name the limit, and no further try."""
    jail = ScriptedJail(JailLimitExceeded(limit, "too much"))
    report = _validate(jail, suspect=True)
    assert report.verdict is Verdict.REJECT
    assert report.cause is not None
    assert report.cause.code is Reason.PARSER_LIMIT
    assert limit in report.cause.detail
    assert jail.endings == []


def test_what_a_child_says_is_cut_short() -> None:
    """A child that a document has taken over fills neither the ledger nor the reason file with its words."""
    long = Finding(Reason.UNREADABLE, "x" * 100_000)
    report = _validate(ScriptedJail(Inspection(Verdict.REJECT, cause=long, warnings=(long,), notes=(long,))))
    assert report.cause is not None
    assert {len(each.detail) for each in (report.cause, *report.warnings, *report.notes)} == {TEXT_CHARACTERS}
    assert report.cause.code is Reason.UNREADABLE


def test_our_own_fault_is_not_blamed_on_the_document() -> None:
    """An inspection that breaks off is an error, not a verdict."""
    with pytest.raises(JailedError):
        _validate(ScriptedJail(JailedError("TypeError", "our fault")))


def test_what_broke_is_told_without_its_words() -> None:
    """When it breaks for good, the sender learns that, and the kind of exception, never what it quotes."""
    report = given_up(JailedError("TypeError", "the content of a letter"))
    assert report.verdict is Verdict.REJECT
    assert report.cause is not None
    assert report.cause.code is Reason.UNREADABLE
    assert "TypeError" in report.cause.detail
    assert "letter" not in report.cause.detail


def test_a_file_that_is_no_pdf_is_rejected_for_real(tmp_path: Path) -> None:
    """Through a real child process: the verdict comes back."""
    path = tmp_path / "a.pdf"
    path.write_text("Dear all")
    with Jail(1, readable=[path]) as jail:
        report = validate(path, Validation(), jail, suspect=False)
    assert report.cause is not None
    assert report.cause.code is Reason.NOT_PDF
