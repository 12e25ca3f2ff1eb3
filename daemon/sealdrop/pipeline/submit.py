"""Creating a document's one signature request, and asking for its seal.

SignAPI does not refuse a second request with the same ``externalSignatureRequestId`` (signapi.md), so nothing is ever
sent twice without asking. Who calls `create` has put the intent on disk, under the identifier that is sent. After
any end but a clear answer, `find` asks by that identifier: unknown there means that it is safe to send.

A seal is made by the sign call, not by the request, and a request is signed by SignAPI's own identifier, of which the
ledger keeps one for a document. So even a request that was created twice (an answer of "unknown" that overtook the
creation) is sealed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sealdrop.config import Seal
from sealdrop.model import Document, ExternalId, RequestId, Stamp
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.wire import NewRequest, RequestStatus


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent for one document; ``stamp`` is its visible seal, ``image`` the picture of that."""

    external_id: ExternalId
    original: Path
    seal: Seal
    stamp: Stamp | None = None
    image: bytes | None = None


def asked_of(seal: Seal, document: Document) -> Seal:
    """Return what is asked of SignAPI for the document: what its folder asks for, and its sender's wishes within that.

    What was asked of the folder when the document was dropped counts, not what would be by now. The reference is a
    keyword too, since nothing else indexes a deposit.
    """
    changes: dict[str, object] = {"level": document.level, "archive": document.archive}
    wishes = document.wishes
    if wishes is not None:
        reference = () if wishes.reference is None else (wishes.reference,)
        changes["keywords"] = tuple(dict.fromkeys((*seal.keywords, *reference, *wishes.keywords)))
        if wishes.archivers is not None:
            changes["archivers"] = wishes.archivers
    return seal.model_copy(update=changes)


def create(api: SignApi, batch: Sequence[Submission]) -> tuple[RequestStatus, ...]:
    """Create one request for each submission, of which the service knows nothing yet; statuses in the same order.

    Raises:
        Refused: the service will not have this document (one of these, if there are several).
        Retryable: nothing was sent.
        OutcomeUnknown: some or all of it may have been applied: `find` each one.
    """
    return api.create(
        [NewRequest(item.external_id, item.original, item.seal, item.stamp, item.image) for item in batch]
    )


def find(api: SignApi, external_id: ExternalId) -> RequestStatus | None:
    """Return what SignAPI knows under our identifier, or None: then it is safe to send.

    Raises:
        Retryable: it could not be asked; nothing is known.
        MalformedAnswer: it did not answer in a way that can be understood.
    """
    return api.status(external_id=external_id).status


def find_request(api: SignApi, request: RequestId) -> RequestStatus | None:
    """Return what SignAPI knows under its own identifier, or None.

    Raises:
        Retryable: it could not be asked; nothing is known.
        MalformedAnswer: it did not answer in a way that can be understood.
    """
    return api.status(request_id=request).status


def sign(api: SignApi, requests: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
    """Ask for the seals of requests whose status was ``SIGN_CREATED``; statuses in the same order.

    Raises:
        Refused: the service will not seal these (one of these, if there are several).
        Retryable: nothing was sent.
        OutcomeUnknown: some or all may have been sealed: ask for each one's status.
    """
    if len(requests) == 1:
        return (api.sign(requests[0]),)
    return api.sign_many(requests)
