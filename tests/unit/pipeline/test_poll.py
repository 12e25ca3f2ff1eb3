"""What a remote status means."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from documents import DIGEST, NOW
from sealdrop.model import ArchiveId, DocumentId, Reason, Remote, RemoteStatus, RequestId, State
from sealdrop.pipeline.poll import Seen, Standing, judge, poll, remember
from sealdrop.signapi.client import SignApi, StatusAnswer
from sealdrop.signapi.wire import RequestStatus
from sealdrop.spool import Spool

STATUS = RequestStatus(
    request_id=RequestId("r1"),
    external_id=None,
    status=RemoteStatus.SIGN_CREATED,
    reason=None,
    signing_date=None,
    archive_ids=(),
    answer={"status": "SIGN_CREATED"},
)

WITHOUT_ARCHIVE = {
    RemoteStatus.SIGN_CREATED: State.SUBMITTED,
    RemoteStatus.SIGN_AWAITING_VALIDATION: State.SEALING,
    RemoteStatus.SIGN_AWAITING: State.SEALING,
    RemoteStatus.SIGN_IN_PROGRESS: State.SEALING,
    RemoteStatus.SIGNED: State.SEALED,
    RemoteStatus.SIGN_FAILED: State.FAILED,
    RemoteStatus.ARCHIVE_IN_PROGRESS: State.ARCHIVING,
    RemoteStatus.ARCHIVED: State.SEALED,
    RemoteStatus.ARCHIVE_FAILED: State.SEALED,  # and failed once what came back has been checked
    RemoteStatus.ARCHIVE_MIGRATED: State.SEALED,
    RemoteStatus.REFUSED: State.FAILED,
    RemoteStatus.DISCARDED: State.FAILED,
}


@pytest.mark.parametrize("archive_asked", [True, False])
@pytest.mark.parametrize("status", list(RemoteStatus))
def test_every_status_has_one_meaning(status: RemoteStatus, archive_asked: bool) -> None:
    """The table of the module, whole; SIGNED is final only where no archiving was asked for."""
    expected = WITHOUT_ARCHIVE[status]
    if archive_asked and status is RemoteStatus.SIGNED:
        expected = State.ARCHIVING
    standing = judge(replace(STATUS, status=status), archive_asked=archive_asked)
    assert standing.state is expected
    assert (standing.reason is not None) == (expected is State.FAILED or status is RemoteStatus.ARCHIVE_FAILED)


def test_a_failure_carries_the_services_own_word() -> None:
    """Each failed status has a reason of its own, with what the service said, or that it said nothing."""
    failed = {status for status, state in WITHOUT_ARCHIVE.items() if state is State.FAILED}
    failed.add(RemoteStatus.ARCHIVE_FAILED)
    reasons = {judge(replace(STATUS, status=status), archive_asked=True).reason for status in failed}
    assert len(reasons) == len(failed)
    said = replace(STATUS, status=RemoteStatus.SIGN_FAILED, reason="key is locked")
    assert judge(said, archive_asked=True) == Standing(State.FAILED, Reason.SEAL_FAILED, "SIGN_FAILED: key is locked")
    silent = replace(STATUS, status=RemoteStatus.REFUSED)
    assert "gave no reason" in judge(silent, archive_asked=True).detail


def test_steps_grow_when_the_status_is_a_new_one() -> None:
    """Each status is remembered with the time at which it was first seen."""
    later = NOW + timedelta(seconds=5)
    once = remember(Remote(), STATUS, NOW)
    twice = remember(once, STATUS, later)
    then = remember(twice, replace(STATUS, status=RemoteStatus.SIGNED, answer={"n": 3}), later)
    assert twice.steps == once.steps
    assert [(step.status, step.at) for step in then.steps] == [
        (RemoteStatus.SIGN_CREATED, NOW),
        (RemoteStatus.SIGNED, later),
    ]
    assert then.answer == {"n": 3}


def test_what_was_known_is_not_forgotten() -> None:
    """An answer without a date or archive identifiers leaves those of an earlier answer in place."""
    known = Remote(signing_date=NOW, archive_ids=(ArchiveId("a", "1"),))
    after = remember(known, STATUS, NOW)
    assert (after.signing_date, after.archive_ids) == (NOW, known.archive_ids)


class AnsweringApi:
    """A service that gives one answer, with a sealed PDF or without."""

    def __init__(self, answer: StatusAnswer) -> None:
        self.answer = answer

    def status(self, *, request_id: RequestId, content_to: Path) -> StatusAnswer:
        """Answer, having stored what came with it, as the client does."""
        assert request_id == "r1"
        if self.answer.content_sha256 is not None:
            content_to.write_bytes(b"sealed")
        return self.answer


def _poll(tmp_path: Path, answer: StatusAnswer) -> tuple[Seen | None, list[str]]:
    spool, document = Spool(tmp_path), DocumentId("20261123-00112233aabbccdd")
    folder = spool.make(document)
    seen = poll(cast(SignApi, AnsweringApi(answer)), RequestId("r1"), spool, document)
    return seen, [path.name for path in folder.iterdir()]


def test_a_sealed_pdf_is_kept_under_its_digest(tmp_path: Path) -> None:
    """What came is in the spool, under a name that says which content it is, and under no other."""
    signed = replace(STATUS, status=RemoteStatus.SIGNED)
    seen, files = _poll(tmp_path, StatusAnswer(signed, 6, DIGEST))
    assert seen == Seen(signed, 6, DIGEST)
    assert files == [f"sealed-{DIGEST[:16]}.pdf"]


def test_an_answer_without_a_pdf_leaves_no_file(tmp_path: Path) -> None:
    """A status alone is a status alone; a request that the service does not know is None."""
    assert _poll(tmp_path, StatusAnswer(STATUS)) == (Seen(STATUS, None, None), [])
    assert _poll(tmp_path, StatusAnswer(None)) == (None, [])
