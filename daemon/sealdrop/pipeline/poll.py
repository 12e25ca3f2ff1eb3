"""What a remote status means for a document, and asking for it.

| remote status                                              | means                                           |
| ---------------------------------------------------------- | ----------------------------------------------- |
| SIGN_CREATED                                               | not asked to be signed yet: call sign           |
| SIGN_AWAITING_VALIDATION, SIGN_AWAITING, SIGN_IN_PROGRESS  | wait                                            |
| SIGNED                                                     | final without archiving; with it, wait          |
| ARCHIVE_IN_PROGRESS                                        | wait                                            |
| ARCHIVED, ARCHIVE_MIGRATED                                 | final                                           |
| ARCHIVE_FAILED                                             | final: a seal to be checked, then failed        |
| SIGN_FAILED, REFUSED, DISCARDED                            | failed, each with its own reason                |

A status that is not in the table never gets here: the client refuses it as malformed, for someone to see.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from sealdrop.durable import fsync_folder
from sealdrop.model import DocumentId, Reason, Remote, RemoteStatus, RemoteStep, RequestId, Sha256, State
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.wire import RequestStatus
from sealdrop.spool import Spool

_FAILURES = {
    RemoteStatus.SIGN_FAILED: Reason.SEAL_FAILED,
    RemoteStatus.REFUSED: Reason.SEAL_REFUSED,
    RemoteStatus.DISCARDED: Reason.SEAL_DISCARDED,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a document stands, going by its remote status; ``reason`` if it cannot end well."""

    state: State
    reason: Reason | None = None
    detail: str = ""


def judge(status: RequestStatus, *, archive_asked: bool) -> Standing:
    """Return where a document with this remote status stands: the table above."""
    match status.status:
        case RemoteStatus.SIGN_CREATED:
            return Standing(State.SUBMITTED)
        case RemoteStatus.SIGN_AWAITING_VALIDATION | RemoteStatus.SIGN_AWAITING | RemoteStatus.SIGN_IN_PROGRESS:
            return Standing(State.SEALING)
        case RemoteStatus.SIGNED:
            return Standing(State.ARCHIVING if archive_asked else State.SEALED)
        case RemoteStatus.ARCHIVE_IN_PROGRESS:
            return Standing(State.ARCHIVING)
        case RemoteStatus.ARCHIVED | RemoteStatus.ARCHIVE_MIGRATED:
            return Standing(State.SEALED)
        case RemoteStatus.ARCHIVE_FAILED as failure:
            # It was sealed, and billed: what came back is checked and kept, and never sealed again.
            return Standing(State.SEALED, Reason.ARCHIVE_FAILED, _in_its_words(failure, status))
        case RemoteStatus.SIGN_FAILED | RemoteStatus.REFUSED | RemoteStatus.DISCARDED as failure:
            return Standing(State.FAILED, _FAILURES[failure], _in_its_words(failure, status))


def _in_its_words(failure: RemoteStatus, status: RequestStatus) -> str:
    return f"{failure}: {status.reason or 'the service gave no reason'}"


def remember(remote: Remote, status: RequestStatus, at: datetime) -> Remote:
    """Return what is known of a request, with this newest answer: ``steps`` grows when the status is a new one."""
    steps = remote.steps
    if not steps or steps[-1].status != status.status:
        steps = (*steps, RemoteStep(status.status, at))
    return replace(
        remote,
        steps=steps,
        signing_date=status.signing_date or remote.signing_date,
        archive_ids=status.archive_ids or remote.archive_ids,
        answer=status.answer,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer about a request; size and digest when the sealed PDF came with it and is now in the spool."""

    status: RequestStatus
    content_size_bytes: int | None
    content_sha256: Sha256 | None


def poll(api: SignApi, request: RequestId, spool: Spool, document: DocumentId) -> Seen | None:
    """Ask how far the request is; keep the sealed PDF in the spool if it comes. None: the service knows no such one.

    Raises:
        Retryable: it could not be asked.
        MalformedAnswer: it did not answer in a way that can be understood.
        OSError: the sealed PDF could not be written.
    """
    path = spool.answer(document)
    answer = api.status(request_id=request, content_to=path)
    if answer.status is None:
        return None
    if answer.content_sha256 is not None:
        path.replace(spool.sealed(document, answer.content_sha256))
        fsync_folder(path.parent)
    return Seen(answer.status, answer.content_size_bytes, answer.content_sha256)
