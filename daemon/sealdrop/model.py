"""The values that travel through sealdrop, and the one table of moves a document may make.

Everything here is frozen: a stage takes a value and returns another. Times are aware and in UTC. Digests are
SHA-256 in lower-case hexadecimal. Sizes are in bytes. (Long, because the reason codes and checks are lists.)
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NewType

from pydantic import JsonValue

from sealdrop.errors import IllegalMove

DocumentId = NewType("DocumentId", str)  # ours, for one drop: YYYYMMDD-, then 16 hexadecimal digits
ExternalId = NewType("ExternalId", str)  # ours, for one signature request: externalSignatureRequestId
RequestId = NewType("RequestId", str)  # SignAPI's signatureRequestId
Sha256 = NewType("Sha256", str)


class State(StrEnum):
    """Where a document stands; see `MOVES`."""

    RECEIVED = "received"
    VALIDATED = "validated"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    SEALING = "sealing"
    ARCHIVING = "archiving"
    SEALED = "sealed"
    VERIFIED = "verified"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"
    RETRYING = "retrying"


MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.RECEIVED: frozenset({State.VALIDATED, State.REJECTED}),
        # The same content was sealed before, and its seal is to be delivered once more: nothing is sent.
        State.VALIDATED: frozenset({State.SUBMITTING, State.SEALING}),
        # The service may turn out to be further than our last answer said: asking can move a document past
        # several states at once, never back.
        State.SUBMITTING: frozenset({State.SUBMITTED, State.SEALING, State.ARCHIVING, State.SEALED, State.FAILED}),
        State.SUBMITTED: frozenset({State.SEALING, State.ARCHIVING, State.SEALED, State.FAILED}),
        State.SEALING: frozenset({State.ARCHIVING, State.SEALED, State.FAILED}),
        State.ARCHIVING: frozenset({State.SEALED, State.FAILED}),
        State.SEALED: frozenset({State.VERIFIED, State.FAILED}),
        State.VERIFIED: frozenset({State.DELIVERED}),
        State.DELIVERED: frozenset(),
        State.REJECTED: frozenset(),
        # A person wants another try: the original is fetched back, and then the service is asked what it knows.
        State.FAILED: frozenset({State.RETRYING}),
        State.RETRYING: frozenset({State.SUBMITTING, State.FAILED}),
    }
)

END_STATES = frozenset({State.DELIVERED, State.REJECTED, State.FAILED})


def check_move(document: str, before: State, after: State) -> None:
    """Pass if ``before`` may be followed by ``after``, or is it.

    Raises:
        IllegalMove: the move is not in `MOVES`.
    """
    if before != after and after not in MOVES[before]:
        raise IllegalMove(f"document {document} was about to move from {before} to {after}, which is not allowed")


class SealLevel(StrEnum):
    """PAdES baseline levels (ETSI EN 319 142-1), in SignAPI's spelling."""

    B = "PAdES_BASELINE_B"
    T = "PAdES_BASELINE_T"
    LT = "PAdES_BASELINE_LT"
    LTA = "PAdES_BASELINE_LTA"


class RemoteStatus(StrEnum):
    """A signature request's status at SignAPI (signapi.md, "A signature request status")."""

    SIGN_CREATED = "SIGN_CREATED"
    SIGN_AWAITING_VALIDATION = "SIGN_AWAITING_VALIDATION"
    SIGN_AWAITING = "SIGN_AWAITING"
    SIGN_IN_PROGRESS = "SIGN_IN_PROGRESS"
    SIGNED = "SIGNED"
    SIGN_FAILED = "SIGN_FAILED"
    ARCHIVE_IN_PROGRESS = "ARCHIVE_IN_PROGRESS"
    ARCHIVED = "ARCHIVED"
    ARCHIVE_FAILED = "ARCHIVE_FAILED"
    ARCHIVE_MIGRATED = "ARCHIVE_MIGRATED"
    REFUSED = "REFUSED"
    DISCARDED = "DISCARDED"


class Reason(StrEnum):
    """Why a document was not sealed, or not published: a stable interface for programs."""

    # The document itself, in the order in which they are looked for: the first that holds is given.
    EMPTY = "EMPTY"
    TOO_LARGE = "TOO_LARGE"
    NOT_PDF = "NOT_PDF"
    ENCRYPTED_USER = "ENCRYPTED_USER"
    ENCRYPTED_OWNER = "ENCRYPTED_OWNER"
    ENCRYPTED_UNSUPPORTED = "ENCRYPTED_UNSUPPORTED"
    HEADER_OFFSET = "HEADER_OFFSET"
    TRUNCATED = "TRUNCATED"
    PARSER_LIMIT = "PARSER_LIMIT"
    UNREADABLE = "UNREADABLE"
    ZERO_PAGES = "ZERO_PAGES"
    TOO_MANY_PAGES = "TOO_MANY_PAGES"
    XREF_BROKEN = "XREF_BROKEN"
    CERTIFIED_NO_CHANGES = "CERTIFIED_NO_CHANGES"
    XFA_DYNAMIC = "XFA_DYNAMIC"
    ACTIVE_CONTENT = "ACTIVE_CONTENT"
    UNSEALABLE = "UNSEALABLE"
    IMAGE_TRANSPARENCY = "IMAGE_TRANSPARENCY"
    ALREADY_SIGNED = "ALREADY_SIGNED"
    CERTIFIED = "CERTIFIED"
    PDFA_CLAIM = "PDFA_CLAIM"
    ATTACHMENTS = "ATTACHMENTS"
    INTERACTIVE_CONTENT = "INTERACTIVE_CONTENT"
    XREF_LENIENT = "XREF_LENIENT"
    TRAILING_DATA = "TRAILING_DATA"
    USAGE_RIGHTS = "USAGE_RIGHTS"
    XFA_STATIC = "XFA_STATIC"
    PORTFOLIO = "PORTFOLIO"
    HYBRID_XREF = "HYBRID_XREF"
    OTHER_TRANSPARENCY = "OTHER_TRANSPARENCY"
    LAYERS = "LAYERS"
    # The file that held it.
    SYMLINK = "SYMLINK"
    HARD_LINK = "HARD_LINK"
    SPECIAL_FILE = "SPECIAL_FILE"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    FILE_CHANGED = "FILE_CHANGED"
    NAME_INVALID = "NAME_INVALID"
    COMPANION_ALONE = "COMPANION_ALONE"
    OWN_RECORD = "OWN_RECORD"
    # What came with it from its sender, or did not come.
    CHECKSUM_INVALID = "CHECKSUM_INVALID"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    CHECKSUM_MISSING = "CHECKSUM_MISSING"
    SIDECAR_INVALID = "SIDECAR_INVALID"
    SIDECAR_MISSING = "SIDECAR_MISSING"
    # The same content was dropped before.
    DUPLICATE = "DUPLICATE"
    # The folder's visible seal has no room on the page where it should stand.
    SEAL_OFF_PAGE = "SEAL_OFF_PAGE"
    # What became of it at the service.
    SEAL_REFUSED = "SEAL_REFUSED"
    SEAL_FAILED = "SEAL_FAILED"
    SEAL_DISCARDED = "SEAL_DISCARDED"
    ARCHIVE_FAILED = "ARCHIVE_FAILED"
    SEALED_CONTENT_MISSING = "SEALED_CONTENT_MISSING"
    # What the checks of the sealed PDF found, one for each check of `CheckName`.
    SEAL_UNREADABLE = "SEAL_UNREADABLE"
    SEAL_NOT_OUR_DOCUMENT = "SEAL_NOT_OUR_DOCUMENT"
    SEAL_PAGE_COUNT = "SEAL_PAGE_COUNT"
    SEAL_COUNT = "SEAL_COUNT"
    SEAL_COVERAGE = "SEAL_COVERAGE"
    SEAL_BROKE_EARLIER_SIGNATURE = "SEAL_BROKE_EARLIER_SIGNATURE"
    SEAL_NOT_INTACT = "SEAL_NOT_INTACT"
    SEAL_WEAK_DIGEST = "SEAL_WEAK_DIGEST"
    SEAL_UNTRUSTED = "SEAL_UNTRUSTED"
    SEAL_WRONG_ORGANISATION = "SEAL_WRONG_ORGANISATION"
    SEAL_LEVEL = "SEAL_LEVEL"
    SEAL_TIME = "SEAL_TIME"
    SEAL_LATER_CHANGES = "SEAL_LATER_CHANGES"
    SEAL_APPEARANCE = "SEAL_APPEARANCE"
    ARCHIVE_ID_MISSING = "ARCHIVE_ID_MISSING"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells one state of a file from any other: if they are equal, nobody wrote in between.

    The device's number is not compared. A network share or a pool gets a new one each time it is mounted, and a file
    that was taken over before a restart must be known after it.
    """

    device: int = field(compare=False)
    inode: int
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """Return the identity of the file that ``status`` describes."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Verdict(StrEnum):
    """What inspection decided."""

    ACCEPT = "accept"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that inspection noticed; ``detail`` is for people and holds no content of the document."""

    code: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class PageArea:
    """The part of a page that is seen, in the page's own coordinates (user space, ISO 32000-1, 8.3.2.3).

    ``page`` counts from 1. A reader shows the page turned clockwise by ``rotation`` degrees: 0, 90, 180 or 270. A unit
    is ``user_unit`` points long.
    """

    page: int
    left: float
    bottom: float
    width: float
    height: float
    rotation: int = 0
    user_unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """Whether a PDF may be sealed, and why.

    With ``REJECT``, ``cause`` is the one reason. ``warnings`` go into the receipt; ``notes`` are there for the
    curious. ``pages`` is 0 where the page tree could not be read; ``signatures`` counts the filled signature fields.
    ``seal_page`` is the page on which a visible seal should stand; None where none should, or there is no such page.
    """

    verdict: Verdict
    cause: Finding | None = None
    warnings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    pages: int = 0
    signatures: int = 0
    pdf_version: str = ""
    seal_page: PageArea | None = None


@dataclass(frozen=True, slots=True)
class SealPlace:
    """Where a visible seal lies: a rectangle on a page, counted from 1, in the page's own coordinates."""

    page: int
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class StampLine:
    """A line of text in a visible seal.

    ``text`` may hold what only the moment of sending knows, as ``{date}`` or ``{time}``. ``x`` and ``y`` are where its
    baseline begins, in pixels of the image, from the service's origin.
    """

    text: str
    color: int
    font: str
    font_size: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Stamp:
    """The visible seal that is asked for, settled when the document was validated.

    It should lie at ``place``, for which the service is told ``x`` and ``y``, in its own units. ``image`` is a file,
    of that many pixels; None means a white one. Before it is sent it is turned counter-clockwise by ``turn`` degrees.
    """

    place: SealPlace
    x: float
    y: float
    image: str | None
    width_px: int
    height_px: int
    turn: int = 0
    lines: tuple[StampLine, ...] = ()


class CheckName(StrEnum):
    """The checks that a sealed PDF must pass before it is published, in the order of the report."""

    READABLE = "readable"
    PREFIX = "prefix"
    PAGE_COUNT = "page_count"
    ONE_NEW_SIGNATURE = "one_new_signature"
    COVERAGE = "coverage"
    EARLIER_SIGNATURES = "earlier_signatures"
    INTACT = "intact"
    DIGEST_ALGORITHM = "digest_algorithm"
    TRUSTED_CHAIN = "trusted_chain"
    ORGANISATION = "organisation"
    LEVEL = "level"
    SIGNING_TIME = "signing_time"
    LATER_REVISIONS = "later_revisions"
    APPEARANCE = "appearance"
    ARCHIVE_ID = "archive_id"


class CheckOutcome(StrEnum):
    """How a check ended; only with ``PASSED``, ``WARNED`` and ``NOT_ASKED`` may the document be published.

    ``WARNED`` is passed, with something that an administrator should look into.
    """

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_ASKED = "not_asked"
    NOT_REACHED = "not_reached"


CHECK_REASONS: Mapping[CheckName, Reason] = MappingProxyType(
    {
        CheckName.READABLE: Reason.SEAL_UNREADABLE,
        CheckName.PREFIX: Reason.SEAL_NOT_OUR_DOCUMENT,
        CheckName.PAGE_COUNT: Reason.SEAL_PAGE_COUNT,
        CheckName.ONE_NEW_SIGNATURE: Reason.SEAL_COUNT,
        CheckName.COVERAGE: Reason.SEAL_COVERAGE,
        CheckName.EARLIER_SIGNATURES: Reason.SEAL_BROKE_EARLIER_SIGNATURE,
        CheckName.INTACT: Reason.SEAL_NOT_INTACT,
        CheckName.DIGEST_ALGORITHM: Reason.SEAL_WEAK_DIGEST,
        CheckName.TRUSTED_CHAIN: Reason.SEAL_UNTRUSTED,
        CheckName.ORGANISATION: Reason.SEAL_WRONG_ORGANISATION,
        CheckName.LEVEL: Reason.SEAL_LEVEL,
        CheckName.SIGNING_TIME: Reason.SEAL_TIME,
        CheckName.LATER_REVISIONS: Reason.SEAL_LATER_CHANGES,
        CheckName.APPEARANCE: Reason.SEAL_APPEARANCE,
        CheckName.ARCHIVE_ID: Reason.ARCHIVE_ID_MISSING,
    }
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verification report."""

    name: CheckName
    outcome: CheckOutcome
    detail: str


@dataclass(frozen=True, slots=True)
class SealCertificate:
    """The certificate that made a seal. ``serial`` is decimal; ``sha256`` is the fingerprint of its DER form."""

    subject: str
    organisation: str
    issuer: str
    serial: str
    sha256: Sha256
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A timestamp token found in the PDF: ``kind`` is ``signature`` or ``document``."""

    kind: str
    at: datetime
    authority: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a sealed PDF proves: every check with its outcome, and the evidence found."""

    checks: tuple[Check, ...]
    level: SealLevel | None = None
    signed_at: datetime | None = None
    certificate: SealCertificate | None = None
    timestamps: tuple[Timestamp, ...] = ()

    @property
    def first_failure(self) -> Check | None:
        """The first check that stands in the way of publishing, or None."""
        good = (CheckOutcome.PASSED, CheckOutcome.WARNED, CheckOutcome.NOT_ASKED)
        return next((check for check in self.checks if check.outcome not in good), None)


@dataclass(frozen=True, slots=True)
class ArchiveId:
    """An archive deposit's identifier; ``archiver`` is empty where the answer names none."""

    archiver: str
    identifier: str


@dataclass(frozen=True, slots=True)
class RemoteStep:
    """A remote status, and when we first saw it."""

    status: RemoteStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class Remote:
    """What SignAPI said of a document's signature request; ``answer`` is its last answer less the content."""

    steps: tuple[RemoteStep, ...] = ()
    signing_date: datetime | None = None
    archive_ids: tuple[ArchiveId, ...] = ()
    answer: JsonValue = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A document of the same content that was dropped before, whose seal stands for both."""

    document: DocumentId
    received_at: datetime


class Hold(StrEnum):
    """Why a document that could be sent is kept waiting on purpose."""

    WINDOW = "window"  # the folder's hours for sealing have not come
    QUOTA = "quota"  # the folder's daily quota is used up


class CompanionKind(StrEnum):
    """A file that a producer puts beside a document, to go with it."""

    SIDECAR = "sidecar"
    CHECKSUM = "checksum"

    @property
    def suffix(self) -> str:
        """What is added to the document's name."""
        return ".json" if self is CompanionKind.SIDECAR else ".sha256"


@dataclass(frozen=True, slots=True)
class Companion:
    """A companion that was taken over with its document."""

    kind: CompanionKind
    identity: FileIdentity
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class CompanionFault:
    """What is wrong with a companion's content; ``may_be_unfinished`` if somebody may still be writing it."""

    detail: str
    may_be_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a document's sender asked for in its sidecar, within what the folder allows.

    ``keywords`` are added to the folder's own; ``archivers``, if given, stand in place of the folder's; ``seal_text``
    are lines for the visible seal. ``sha256`` is the sidecar's own digest.
    """

    sha256: Sha256
    reference: str | None = None
    keywords: tuple[str, ...] = ()
    archivers: tuple[str, ...] | None = None
    seal_text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """All that is known of one drop.

    ``name`` is the path below the folder's inbound, with ``/``; always valid Unicode. ``due_at`` is when its state's
    worker should look at it next; None means that nothing is left to do. ``attempts`` counts failed tries in the
    present state. ``lease`` names the claim that holds it. ``sign_called_at`` is when the sign call was last put on
    record, before it was made; None when it is known not to have been made; ``sign_accepted`` says that it was
    answered. ``refusals`` counts the answers in the present state that said "done" without the sealed PDF. ``level``
    and ``archive`` are what was asked of the folder when the document was dropped. ``retries`` counts the times that
    somebody had it tried again after it had failed. ``suspect`` says that examining it took long, so that it is
    examined apart from the others. ``duplicate_of`` is the earlier document whose seal is to be delivered again in this
    one's name. ``companions`` are the files that were taken over with it, ``wishes`` what its sidecar asks for, None if
    there is none that can be understood. ``stamp`` is its visible seal, None where that is not settled or there is
    none; ``stamp_known`` says whether that, or what was asked for, was ever on record: an older sealdrop kept nothing.
    ``hold`` says why it waits on purpose; ``kept_until`` is when what it left in the processed, rejected or failed
    folder may be removed, ``expired_at`` when that was decided; ``kept_name`` is the name of its original in the
    processed folder. ``first_seq`` and ``last_seq`` are its first and newest record in the audit trail.
    """

    id: DocumentId
    node: str
    account: str
    folder: str
    name: str
    identity: FileIdentity
    size_bytes: int
    sha256: Sha256
    state: State
    received_at: datetime
    updated_at: datetime
    due_at: datetime | None
    level: SealLevel = SealLevel.LTA
    archive: bool = True
    lease: str | None = None
    attempts: int = 0
    last_error: str | None = None
    external_id: ExternalId | None = None
    request_id: RequestId | None = None
    sign_called_at: datetime | None = None
    sign_accepted: bool = False
    refusals: int = 0
    reason: Reason | None = None
    reason_detail: str | None = None
    inspection: Inspection | None = None
    remote: Remote = field(default_factory=Remote)
    verification: Verification | None = None
    sealed_size_bytes: int | None = None
    sealed_sha256: Sha256 | None = None
    published_name: str | None = None
    retries: int = 0
    suspect: bool = False
    duplicate_of: Earlier | None = None
    companions: tuple[Companion, ...] = ()
    stamp: Stamp | None = None
    stamp_known: bool = True
    wishes: Wishes | None = None
    hold: Hold | None = None
    kept_until: datetime | None = None
    kept_name: str | None = None
    expired_at: datetime | None = None
    first_seq: int | None = None
    last_seq: int | None = None

    @property
    def short_id(self) -> str:
        """The part of the ID that is used in file names: 8 hexadecimal digits."""
        return self.id.rpartition("-")[2][:8]


class AlertKind(StrEnum):
    """What somebody can be told of by e-mail or webhook; each kind can be switched off (docs/alerts.md)."""

    DOCUMENT_FAILED = "document_failed"
    DOCUMENT_LATE = "document_late"
    DOCUMENT_STUCK = "document_stuck"
    SIGNAPI_UNREACHABLE = "signapi_unreachable"
    FOLDER_UNAVAILABLE = "folder_unavailable"
    ORIGINALS_STAY = "originals_stay"
    DISK_LOW = "disk_low"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    AUDIT_BROKEN = "audit_broken"
    UNCLEAN_STOP = "unclean_stop"
    SERVICE_BROKEN = "service_broken"


PRESSURE = "pressure on "  # begins the subject of what is kept with the troubles, and is none; then "folder NAME"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong with the service's surroundings, and that somebody should know of while it lasts.

    ``subject`` is what it is about (``account main``, ``folder invoices inbound``, ...), ``text`` says what is wrong.
    """

    subject: str
    since: datetime
    text: str

    @property
    def is_pressure(self) -> bool:
        """Whether it is none after all: more is dropped than goes through, and the rest waits for its turn."""
        return self.subject.startswith(PRESSURE)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that goes on record: a stable snake_case name (docs/events.md) and its own fields."""

    name: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest record of the audit trail; ``seq`` 0 and an all-zero hash before the first."""

    seq: int
    hash: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record of the audit trail; ``line`` is its JSON text as it stands in the file, without the newline."""

    seq: int
    at: datetime
    hash: str
    line: str


def end_of_day(moment: datetime) -> datetime:
    """Return the last microsecond of the UTC day of ``moment``: that of the record which closes it, and of no other."""
    return moment.astimezone(UTC).replace(hour=23, minute=59, second=59, microsecond=999_999)


GENESIS = AuditHead(seq=0, hash="0" * 64)


def moment_after(head: AuditHead, at: datetime) -> datetime:
    """Return when the record after ``head`` is, if it is made at ``at``.

    Never earlier than ``head``, whatever became of the clock; and never the last microsecond of a day, which is that of
    its closing: what would be then, or comes with the clock set back after a day was closed, is the next day's first.
    """
    moment = at.astimezone(UTC) if head.at is None else max(at.astimezone(UTC), head.at)
    return moment + timedelta(microseconds=1) if moment == end_of_day(moment) else moment


def new_document_id(now: datetime, near: DocumentId | None = None) -> DocumentId:
    """Return an identifier that nobody can guess and that sorts by day.

    It has the last two digits of ``near``, if that is given: then both stand in one folder of the spool.
    """
    last = secrets.token_hex(1) if near is None else near[-2:]
    return DocumentId(f"{now:%Y%m%d}-{secrets.token_hex(7)}{last}")
