"""What the records of the audit trail say of each document, put together: its story.

Pure: records in, stories out. Records of older versions lack some fields; what is not on record is None here, never
made up. A story is over when its document was delivered, or rejected and given back; a failed one may be tried again,
however late, so it stays open to the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from pydantic import JsonValue

from sealdrop.audit.reading import TrailEntry
from sealdrop.events import EventName

# What becomes of an original that was kept: days after its document's story was over, and no news of the document.
AFTER_THE_END = frozenset({EventName.ORIGINAL_KEPT, EventName.ORIGINAL_EXPIRED})


class Outcome(StrEnum):
    """What became of a document, as far as the records say."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_WORK = "in_work"


class Stage(StrEnum):
    """The parts of a document's way, each between two records; the whole is the last."""

    VALIDATION = "validation"
    SUBMISSION = "submission"
    SEALING = "sealing"
    VERIFICATION = "verification"
    DELIVERY = "delivery"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate that made a seal; None is what is not on record."""

    serial: str
    subject: str | None
    issuer: str | None
    sha256: str | None
    not_before: datetime | None
    not_after: datetime | None


@dataclass(slots=True)
class Story:
    """One document, as its records tell of it; it grows with each record that `add` is given, in their order.

    The moments are those of the records. ``reason`` and ``detail`` are the newest given. ``sealed_at`` is when the
    sealed PDF had come back; of what was tried again, each moment is that of the newest try. ``complete`` says that
    its first record is among those that were read.
    """

    id: str
    first_seq: int
    last_seq: int
    last_at: datetime
    node: str
    complete: bool = False
    folder: str | None = None
    account: str | None = None
    name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    outcome: Outcome = Outcome.IN_WORK
    over: bool = False
    received_at: datetime | None = None
    validated_at: datetime | None = None
    submitted_at: datetime | None = None
    sealed_at: datetime | None = None
    verified_at: datetime | None = None
    delivered_at: datetime | None = None
    ended_at: datetime | None = None
    pages: int | None = None
    external_id: str | None = None
    request_id: str | None = None
    sealed_size_bytes: int | None = None
    sealed_sha256: str | None = None
    level: str | None = None
    certificate: Certificate | None = None
    archive_ids: tuple[str, ...] = ()
    published_name: str | None = None
    reason: str | None = None
    detail: str | None = None
    duplicate_of: str | None = None
    retries: int = 0
    submissions: int = 0
    entries: list[TrailEntry] = field(default_factory=list)

    @classmethod
    def begun_by(cls, entry: TrailEntry) -> "Story":
        """Return the story that begins with a record, which is still to be added."""
        return cls(entry.document or "", entry.seq, entry.seq, entry.at, entry.node)

    def add(self, entry: TrailEntry) -> None:
        """Take note of the document's next record."""
        self.last_seq, self.last_at = entry.seq, entry.at
        data = entry.data
        self.folder = _text(data, "folder") or self.folder
        self.name = _text(data, "name") or self.name
        self.request_id = _text(data, "request_id") or self.request_id
        self.external_id = _text(data, "external_id") or self.external_id
        self.sealed_sha256 = _text(data, "sealed_sha256") or self.sealed_sha256
        self.archive_ids = _texts(data, "archive_ids") or self.archive_ids
        self.certificate = certificate_of(data) or self.certificate
        told = _TOLD.get(entry.event)
        if told is not None:
            told(self, entry)

    def duration_s(self, stage: Stage) -> float | None:
        """Return how long a part of the way took; None if it is not on record, or somebody had it tried again."""
        begun, ended = _ENDS[stage]
        first, last = getattr(self, begun), getattr(self, ended)
        if self.retries or first is None or last is None or last < first:
            return None
        duration: float = (last - first).total_seconds()
        return duration


# Between which moments each part of the way lies. From validation to SignAPI's answer, from there to the sealed PDF.
_ENDS: Mapping[Stage, tuple[str, str]] = MappingProxyType(
    {
        Stage.VALIDATION: ("received_at", "validated_at"),
        Stage.SUBMISSION: ("validated_at", "submitted_at"),
        Stage.SEALING: ("submitted_at", "sealed_at"),
        Stage.VERIFICATION: ("sealed_at", "verified_at"),
        Stage.DELIVERY: ("verified_at", "delivered_at"),
        Stage.WHOLE: ("received_at", "delivered_at"),
    }
)


class Stories:
    """Puts records together, given in their order. Only stories that are not over are held in memory."""

    def __init__(self, *, keep_entries: bool = False) -> None:
        self._open: dict[str, Story] = {}
        self._keep_entries = keep_entries

    def take(self, entry: TrailEntry) -> Story | None:
        """Add a record to its document's story; return that story if it is over now.

        What comes of a document whose story was over begins another, but for what only tells of its original: that is
        no part of any story here.
        """
        if entry.document is None:
            return None
        story = self._open.get(entry.document)
        if story is None and entry.event in AFTER_THE_END:
            return None
        if story is None:
            story = self._open[entry.document] = Story.begun_by(entry)
        story.add(entry)
        if self._keep_entries:
            story.entries.append(entry)
        return self._open.pop(entry.document) if story.over else None

    def is_open(self, document: str) -> bool:
        """Return whether the document's story has begun and is not over."""
        return document in self._open

    def give_up(self, wanted: Callable[[Story], bool]) -> list[Story]:
        """Return the open stories that are not wanted any more, in the order they began in, and forget them."""
        given_up = [story for story in self._open.values() if not wanted(story)]
        for story in given_up:
            del self._open[story.id]
        return given_up


def certificate_of(data: Mapping[str, JsonValue]) -> Certificate | None:
    """Return the certificate that a record names, or None."""
    named = data.get("certificate")
    if not isinstance(named, dict):
        return None
    serial = _text(named, "serial")
    if serial is None:
        return None
    return Certificate(
        serial,
        _text(named, "subject"),
        _text(named, "issuer"),
        _text(named, "sha256"),
        _moment(named, "not_before"),
        _moment(named, "not_after"),
    )


def _received(story: Story, entry: TrailEntry) -> None:
    story.complete = True
    story.received_at = entry.at
    story.account = _text(entry.data, "account")
    story.size_bytes = _count(entry.data, "size_bytes")
    story.sha256 = _text(entry.data, "sha256")


def _validated(story: Story, entry: TrailEntry) -> None:
    story.validated_at = entry.at
    story.pages = _count(entry.data, "pages")


def _intended(story: Story, _: TrailEntry) -> None:
    story.submissions += 1


def _submitted(story: Story, entry: TrailEntry) -> None:
    # A status may be what first says that the service has it.
    story.submitted_at = story.submitted_at or entry.at


def _duplicate(story: Story, entry: TrailEntry) -> None:
    story.submitted_at = entry.at
    story.duplicate_of = _text(entry.data, "earlier")


def _sealed(story: Story, entry: TrailEntry) -> None:
    story.sealed_at = entry.at
    story.sealed_size_bytes = _count(entry.data, "sealed_size_bytes")


def _verified(story: Story, entry: TrailEntry) -> None:
    story.verified_at = entry.at
    story.level = _text(entry.data, "level")


def _delivered(story: Story, entry: TrailEntry) -> None:
    story.outcome, story.over = Outcome.DELIVERED, True
    story.delivered_at = story.ended_at = entry.at
    story.published_name = _text(entry.data, "published_name")
    story.reason = story.detail = None  # of a try before this one


def _given_up(outcome: Outcome) -> Callable[[Story, TrailEntry], None]:
    def told(story: Story, entry: TrailEntry) -> None:
        story.outcome, story.ended_at = outcome, entry.at
        story.reason, story.detail = _text(entry.data, "reason"), _text(entry.data, "detail")

    return told


def _returned(story: Story, entry: TrailEntry) -> None:
    story.published_name = _text(entry.data, "published_name")
    story.over = story.outcome is Outcome.REJECTED


def _retried(story: Story, _: TrailEntry) -> None:
    story.retries += 1
    story.outcome, story.ended_at = Outcome.IN_WORK, None
    story.submitted_at = story.sealed_at = story.verified_at = None


def _retry_refused(story: Story, entry: TrailEntry) -> None:
    story.outcome, story.ended_at = Outcome.FAILED, entry.at


_TOLD: Mapping[str, Callable[[Story, TrailEntry], None]] = MappingProxyType(
    {
        EventName.DOCUMENT_RECEIVED: _received,
        EventName.DOCUMENT_VALIDATED: _validated,
        EventName.SUBMISSION_INTENDED: _intended,
        EventName.SUBMISSION_CONFIRMED: _submitted,
        EventName.REMOTE_STATUS_CHANGED: _submitted,
        EventName.DUPLICATE_RECOGNISED: _duplicate,
        EventName.DOCUMENT_SEALED: _sealed,
        EventName.DOCUMENT_VERIFIED: _verified,
        EventName.DOCUMENT_DELIVERED: _delivered,
        EventName.DOCUMENT_REJECTED: _given_up(Outcome.REJECTED),
        EventName.DOCUMENT_FAILED: _given_up(Outcome.FAILED),
        EventName.ORIGINAL_RETURNED: _returned,
        EventName.DOCUMENT_RETRIED: _retried,
        EventName.RETRY_REFUSED: _retry_refused,
    }
)


def _text(data: Mapping[str, JsonValue], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _texts(data: Mapping[str, JsonValue], key: str) -> tuple[str, ...]:
    value = data.get(key)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _count(data: Mapping[str, JsonValue], key: str) -> int | None:
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(data: Mapping[str, JsonValue], key: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(data, key) or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
