"""The documents that sealdrop writes for programs: the receipt, the reason and the notice.

``<name>.receipt.json`` stands beside each sealed PDF and ``<name>.reason.json`` beside each file that was not
sealed. Of a file that was left in inbound, the ``<name>.reason.json`` in the rejected folder is a notice. Their JSON
Schemas are in ``docs/schemas``. ``version`` grows with every change of the fields: a program that does not know a field
must not half understand the record.
"""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sealdrop.errors import SealdropError
from sealdrop.model import (
    ArchiveId,
    CheckName,
    CompanionKind,
    Document,
    DocumentId,
    Earlier,
    ExternalId,
    Inspection,
    Reason,
    RemoteStep,
    RequestId,
    SealCertificate,
    SealLevel,
    SealPlace,
    Sha256,
    State,
    Timestamp,
    Verification,
)

RECEIPT_SUFFIX = ".receipt.json"
REASON_SUFFIX = ".reason.json"
REASON_TEXT_SUFFIX = ".reason.txt"
MOST_BYTES = 64 << 20  # what is larger is no receipt and no reason of ours

OLDER_VERSION = 2  # of a receipt, that is read too
_SINCE = frozenset({"sidecar", "checksum"})  # which it does not have


class NotAReceipt(SealdropError):
    """The file is not a receipt that this sealdrop can read."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64")


class File(_Record):
    """A file: its name (below its folder, with ``/``), its size in bytes, its SHA-256 in hexadecimal."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: Sha256 = Field(pattern="^[0-9a-f]{64}$")


class RemoteFacts(_Record):
    """What SignAPI said: identifiers, statuses with the times at which we saw them, its last answer whole."""

    external_id: ExternalId | None
    request_id: RequestId | None
    statuses: tuple[RemoteStep, ...]
    signing_date: datetime | None
    archive_ids: tuple[ArchiveId, ...]
    last_answer: JsonValue


class SealFacts(_Record):
    """The seal, as found in the PDF; ``place`` is where it should be seen, None if it is invisible.

    It is None, too, where that is not known (an older sealdrop sealed it): then the check ``appearance`` was not asked.
    """

    level_asked: SealLevel
    level_found: SealLevel
    signed_at: datetime | None
    certificate: SealCertificate
    timestamps: tuple[Timestamp, ...]
    place: SealPlace | None


class SidecarFacts(_Record):
    """What the sender asked for in a sidecar, whose own SHA-256 this is; it was granted, or the document rejected.

    ``keywords`` came to the folder's own, ``archivers`` in place of the folder's.
    """

    sha256: Sha256 = Field(pattern="^[0-9a-f]{64}$")
    reference: str | None
    keywords: tuple[str, ...]
    archivers: tuple[str, ...] | None
    seal_text: tuple[str, ...]


class ChecksumFacts(_Record):
    """The producer's checksum file that came with a document, whose own SHA-256 this is."""

    sha256: Sha256 = Field(pattern="^[0-9a-f]{64}$")


class AuditRange(_Record):
    """The first and last record about the document in the audit trail, up to the writing of this file."""

    first_seq: Annotated[int, Field(ge=1)]
    last_seq: Annotated[int, Field(ge=1)]


class Outcome(StrEnum):
    """What was achieved: a seal and, where one was asked for, an archive deposit."""

    SEALED = "sealed"
    SEALED_AND_ARCHIVED = "sealed_and_archived"
    SEALED_NOT_ARCHIVED = "sealed_not_archived"


class Receipt(_Record):
    """The proof that goes with a sealed PDF.

    With ``SEALED_NOT_ARCHIVED`` the seal passed every check, and the deposit that was asked for was not made. A
    document that is the duplicate of an earlier one has that one's seal, made by what was asked for then. With a
    ``checksum`` the original is what its producer's file said.
    """

    kind: Literal["sealdrop-receipt"] = "sealdrop-receipt"
    version: Literal[3] = 3
    outcome: Outcome
    document: DocumentId
    account: str
    folder: str
    received_at: datetime
    verified_at: datetime
    duplicate_of: Earlier | None
    original: File
    sidecar: SidecarFacts | None
    checksum: ChecksumFacts | None
    sealed: File
    remote: RemoteFacts
    seal: SealFacts
    validation: Inspection
    verification: Verification
    audit: AuditRange


class ReasonRecord(_Record):
    """Why a file was not sealed, or not published; ``sidecar`` if one came that can be understood."""

    kind: Literal["sealdrop-reason"] = "sealdrop-reason"
    version: Literal[2] = 2
    document: DocumentId
    account: str
    folder: str
    outcome: Literal[State.REJECTED, State.FAILED]
    reason: Reason
    detail: str
    received_at: datetime
    decided_at: datetime
    original: File
    sidecar: SidecarFacts | None
    checksum: ChecksumFacts | None
    sealed: File | None
    remote: RemoteFacts
    validation: Inspection | None
    verification: Verification | None
    audit: AuditRange


class Notice(_Record):
    """Why a file was left where it is, in inbound: it was never taken over, so there is no document.

    ``name`` is its path below inbound, with ``/``; a byte that is not UTF-8 is shown as ``%`` and two hexadecimal
    digits. ``token`` is the same in every notice of the same file, and in no other.
    """

    kind: Literal["sealdrop-notice"] = "sealdrop-notice"
    version: Literal[1] = 1
    folder: str
    name: str
    token: str = Field(pattern="^[0-9a-f]{16}$")
    reason: Reason
    detail: str
    seen_at: datetime


def is_sealed_not_archived(document: Document) -> bool:
    """Return whether the document's seal passed every check, and nothing but its archive deposit is missing."""
    if document.reason is not Reason.ARCHIVE_FAILED or document.verification is None:
        return False
    failure = document.verification.first_failure
    return failure is None or failure.name is CheckName.ARCHIVE_ID


def receipt_for(document: Document, published_name: str) -> Receipt:
    """Return the receipt of a verified document whose sealed PDF is about to be published as ``published_name``.

    The same document gives the same receipt whenever it is asked for: writing it twice is harmless.
    """
    verification = document.verification
    if (
        document.inspection is None
        or verification is None
        or verification.level is None
        or verification.certificate is None
        or document.sealed_size_bytes is None
        or document.sealed_sha256 is None
    ):
        raise ValueError(f"document {document.id} has not been verified")
    outcome = Outcome.SEALED_AND_ARCHIVED if document.archive else Outcome.SEALED
    return Receipt(
        outcome=Outcome.SEALED_NOT_ARCHIVED if is_sealed_not_archived(document) else outcome,
        duplicate_of=document.duplicate_of,
        document=document.id,
        account=document.account,
        folder=document.folder,
        received_at=document.received_at,
        verified_at=document.updated_at,
        original=File(name=document.name, size_bytes=document.size_bytes, sha256=document.sha256),
        sidecar=_sidecar_facts(document),
        checksum=_checksum_facts(document),
        sealed=File(name=published_name, size_bytes=document.sealed_size_bytes, sha256=document.sealed_sha256),
        remote=_remote_facts(document),
        seal=SealFacts(
            level_asked=document.level,
            level_found=verification.level,
            signed_at=verification.signed_at,
            certificate=verification.certificate,
            timestamps=verification.timestamps,
            place=document.stamp.place if document.stamp is not None else None,
        ),
        validation=document.inspection,
        verification=verification,
        audit=_audit_range(document),
    )


def reason_for(document: Document, sealed_name: str | None) -> ReasonRecord:
    """Return the reason record of a rejected or failed document; ``sealed_name`` if a sealed PDF stands beside it."""
    if document.state not in (State.REJECTED, State.FAILED) or document.reason is None:
        raise ValueError(f"document {document.id} was neither rejected nor did it fail")
    sealed = None
    if sealed_name is not None and document.sealed_size_bytes is not None and document.sealed_sha256 is not None:
        sealed = File(name=sealed_name, size_bytes=document.sealed_size_bytes, sha256=document.sealed_sha256)
    return ReasonRecord(
        document=document.id,
        account=document.account,
        folder=document.folder,
        outcome=State.REJECTED if document.state is State.REJECTED else State.FAILED,
        reason=document.reason,
        detail=document.reason_detail or "",
        received_at=document.received_at,
        decided_at=document.updated_at,
        original=File(name=document.name, size_bytes=document.size_bytes, sha256=document.sha256),
        sidecar=_sidecar_facts(document),
        checksum=_checksum_facts(document),
        sealed=sealed,
        remote=_remote_facts(document),
        validation=document.inspection,
        verification=document.verification,
        audit=_audit_range(document),
    )


def _sidecar_facts(document: Document) -> SidecarFacts | None:
    wishes = document.wishes
    if wishes is None:
        return None
    return SidecarFacts(
        sha256=wishes.sha256,
        reference=wishes.reference,
        keywords=wishes.keywords,
        archivers=wishes.archivers,
        seal_text=wishes.seal_text,
    )


def _checksum_facts(document: Document) -> ChecksumFacts | None:
    came = [each for each in document.companions if each.kind is CompanionKind.CHECKSUM]
    return ChecksumFacts(sha256=came[0].sha256) if came else None


def _remote_facts(document: Document) -> RemoteFacts:
    return RemoteFacts(
        external_id=document.external_id,
        request_id=document.request_id,
        statuses=document.remote.steps,
        signing_date=document.remote.signing_date,
        archive_ids=document.remote.archive_ids,
        last_answer=document.remote.answer,
    )


def _audit_range(document: Document) -> AuditRange:
    if document.first_seq is None or document.last_seq is None:
        raise ValueError(f"document {document.id} is not on record")
    return AuditRange(first_seq=document.first_seq, last_seq=document.last_seq)


def to_bytes(record: Receipt | ReasonRecord | Notice) -> bytes:
    """Return the record as indented UTF-8 JSON with a newline at its end."""
    return record.model_dump_json(indent=2).encode() + b"\n"


def read_receipt(content: bytes) -> Receipt:
    """Return the receipt in ``content``, of this version or the one before (docs/schemas/receipt-2.schema.json).

    Raises:
        NotAReceipt: it is not one, or not one of a version that is known here.
    """
    try:
        return Receipt.model_validate_json(_brought_forward(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NotAReceipt(f"not a receipt that can be read here: {place or 'the file'}: {first['msg']}") from error


def _brought_forward(content: bytes) -> bytes:
    """Return a receipt of an older version as one of the present, with nothing where there was nothing to say."""
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        return content
    is_older = isinstance(members, dict) and members.get("version") == OLDER_VERSION
    seal = members.get("seal") if is_older else None
    if not isinstance(seal, dict) or "place" in seal or not _SINCE.isdisjoint(members):
        return content
    since = {"version": OLDER_VERSION + 1, "seal": {**seal, "place": None}, **dict.fromkeys(_SINCE)}
    return json.dumps({**members, **since}).encode()


def schema(of: type[Receipt] | type[ReasonRecord] | type[Notice]) -> str:
    """Return the JSON Schema of a record, as the text that stands in ``docs/schemas``."""
    content = of.model_json_schema(mode="serialization")
    content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
