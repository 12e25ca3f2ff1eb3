"""The checks of a sealed PDF in a child process: whatever goes wrong, it is not published."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from documents import NOW, document
from sealdrop.config import Account
from sealdrop.model import Check, CheckName, CheckOutcome, SealPlace, Stamp, Timestamp, Verification
from sealdrop.pdf.appearance import Looks
from sealdrop.pdf.jail import Jail, JailLimitExceeded, Limit
from sealdrop.pdf.jobs import TEXT_CHARACTERS
from sealdrop.pdf.seal import Expectation
from sealdrop.pipeline.verify import verify

ACCOUNT = Account(
    base_url="https://signapi.example",
    certificate=Path("/client.p12"),
    organisation="Demo",
    trust_anchors=(Path("/root.pem"),),
)


COMPLETE = Verification(tuple(Check(name, CheckOutcome.PASSED, "looked at") for name in CheckName), signed_at=NOW)


class ScriptedJail:
    """A jail whose calls go beyond a limit a few times and then return a report."""

    def __init__(self, failures: int, report: Verification = COMPLETE) -> None:
        self.failures = failures
        self.report = report
        self.expected: Expectation | None = None

    def run(self, _function: object, _path: Path, expected: Expectation) -> Verification:
        """Fail, or remember what was expected."""
        self.expected = expected
        if self.failures:
            self.failures -= 1
            raise JailLimitExceeded(Limit.MEMORY, "more than 1024 MiB")
        return self.report


def _verify(jail: ScriptedJail, **changes: object) -> Verification:
    return verify(document(**changes), Path("sealed.pdf"), ACCOUNT, cast(Jail, jail), now=NOW)


def test_a_pdf_that_cannot_be_examined_fails_the_first_check() -> None:
    """A suspect beyond the limits is a report in which nothing has passed, and every check is listed."""
    report = _verify(ScriptedJail(1), suspect=True)
    assert [check.name for check in report.checks] == list(CheckName)
    assert {check.outcome for check in report.checks} == {CheckOutcome.FAILED, CheckOutcome.NOT_REACHED}
    assert report.first_failure is not None
    assert report.first_failure.name is CheckName.READABLE
    assert "memory" in report.first_failure.detail


def test_what_a_child_says_is_cut_short() -> None:
    """A child that an answer has taken over does not fill the ledger with its words."""
    endless = replace(COMPLETE, checks=tuple(replace(check, detail="x" * 100_000) for check in COMPLETE.checks))
    assert {len(check.detail) for check in _verify(ScriptedJail(0, endless)).checks} == {TEXT_CHARACTERS}


def test_one_trouble_is_forgiven() -> None:
    """The first time is no report; the second try counts."""
    jail = ScriptedJail(1)
    with pytest.raises(JailLimitExceeded):
        _verify(jail)
    assert _verify(jail, suspect=True) == COMPLETE


@pytest.mark.parametrize(
    ("report", "detail"),
    [
        (replace(COMPLETE, checks=()), "not complete"),
        (replace(COMPLETE, checks=COMPLETE.checks[:-1]), "not complete"),
        (replace(COMPLETE, checks=COMPLETE.checks[::-1]), "not complete"),
        (replace(COMPLETE, checks=(*COMPLETE.checks, COMPLETE.checks[0])), "not complete"),
        (replace(COMPLETE, signed_at=NOW.replace(tzinfo=None)), "without a zone"),
        (replace(COMPLETE, timestamps=(Timestamp("document", NOW.replace(tzinfo=None), "TSA"),)), "without a zone"),
    ],
)
def test_a_report_that_is_not_whole_lets_nothing_pass(report: Verification, detail: str) -> None:
    """A child that leaves checks out, or says them twice, or a time without a zone, has not verified anything."""
    found = _verify(ScriptedJail(0, report))
    assert [check.name for check in found.checks] == list(CheckName)
    assert found.first_failure is not None
    assert found.first_failure.name is CheckName.READABLE
    assert detail in found.first_failure.detail


@pytest.mark.parametrize("archive", [True, False])
def test_what_is_expected_is_what_was_asked_when_the_document_came(archive: bool) -> None:
    """The document's own level and archiving are looked for, the account's organisation and anchors, and its bytes."""
    jail = ScriptedJail(0)
    _verify(jail, archive=archive)
    assert jail.expected is not None
    asked = document(archive=archive)
    assert jail.expected.archive_asked is archive
    assert jail.expected.level is asked.level
    assert jail.expected.organisation == "Demo"
    assert jail.expected.trust_anchors == ACCOUNT.trust_anchors
    assert (jail.expected.original_size_bytes, jail.expected.original_sha256) == (asked.size_bytes, asked.sha256)


STAMP = Stamp(SealPlace(1, 20, 30, 120, 70), 20, 30, None, 100, 40)


@pytest.mark.parametrize(
    ("changes", "looks"),
    [
        ({"stamp": STAMP}, Looks(STAMP.place)),
        ({}, Looks(None)),
        ({"stamp_known": False}, None),
    ],
)
def test_how_a_seal_looks_is_asked_where_it_is_on_record(changes: dict[str, object], looks: Looks | None) -> None:
    """That nobody wrote down how it should look is not that it should be invisible."""
    jail = ScriptedJail(0)
    _verify(jail, **changes)
    assert jail.expected is not None
    assert jail.expected.looks == looks
