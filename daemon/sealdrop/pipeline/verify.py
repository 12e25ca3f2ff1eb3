"""Whether what came back may be published: all the checks of a sealed PDF, in a child process."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sealdrop.config import Account
from sealdrop.model import Check, CheckName, CheckOutcome, Document, Verification
from sealdrop.pdf.jail import Jail, JailLimitExceeded
from sealdrop.pdf.jobs import Expectation, Looks, shortened, verify_seal


def verify(document: Document, sealed: Path, account: Account, jail: Jail, *, now: datetime) -> Verification:
    """Return the report on the sealed PDF of ``document``.

    A report that the child did not make whole is none: it says nothing, so nothing has passed.

    As in validation, the first time that the PDF exceeds the jail's limits is an error; when the document is a suspect
    already, it is a report whose first check failed.

    Raises:
        JailLimitExceeded: for the first time.
        JailedError: something beside the PDF is in the way, a trust anchor's file perhaps.
    """
    expected = Expectation(
        original_size_bytes=document.size_bytes,
        original_sha256=document.sha256,
        organisation=account.organisation,
        level=document.level,
        trust_anchors=account.trust_anchors,
        not_before=document.duplicate_of.received_at if document.duplicate_of else document.received_at,
        now=now,
        not_after=now,
        archive_asked=document.archive,
        archive_ids=document.remote.archive_ids,
        looks=Looks(document.stamp.place if document.stamp is not None else None) if document.stamp_known else None,
    )
    try:
        report = jail.run(verify_seal, sealed, expected)
    except JailLimitExceeded as error:
        if not document.suspect:
            raise
        return _failed(str(error))
    if [check.name for check in report.checks] != list(CheckName):
        return _failed("the report is not complete")
    times = [report.signed_at, *(stamp.at for stamp in report.timestamps)]
    if any(time is not None and time.tzinfo is None for time in times):
        return _failed("the report has a time without a zone")
    # An honest child has cut its words short already; one that the answer has taken over may say any number.
    return replace(report, checks=tuple(replace(check, detail=shortened(check.detail)) for check in report.checks))


def _failed(trouble: str) -> Verification:
    rest = (Check(name, CheckOutcome.NOT_REACHED, "the file could not be examined") for name in list(CheckName)[1:])
    return Verification(checks=(Check(CheckName.READABLE, CheckOutcome.FAILED, trouble), *rest))
