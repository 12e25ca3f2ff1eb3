"""The figures of a report: counted from the records of the audit trail, and from nothing else. Pure.

What is counted, and how:

- a document belongs to the period in which it was taken over, and to its folder; its outcome is that of the newest
  record read, also if that lies after the period;
- documents taken over before the period that came to their end in it are counted apart (`carried over`);
- a duration lies between the moments of two records; documents that somebody had tried again have none;
- a percentile is the smallest duration that at least so many in a hundred do not exceed (nearest rank);
- a service that started without having stopped before did not stop cleanly: it was killed, or the power went.

Memory grows with what is listed and by some bytes for each document; of each kind at most `LISTED_AT_MOST` are listed.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil

from sealdrop.audit.reading import TrailEntry
from sealdrop.events import EventName
from sealdrop.model import Reason
from sealdrop.report.period import Period
from sealdrop.report.stories import Certificate, Outcome, Stage, Story

LISTED_AT_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Bar:
    """How many documents of each outcome were taken over on a day, or in a month, that begins with ``first``."""

    first: date
    counts: Mapping[Outcome, int]


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a part of the way took, in seconds, for so many documents."""

    stage: Stage
    documents: int
    median_s: float
    p95_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A document that is named in the report."""

    id: str
    folder: str
    name: str
    received_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    reason: str | None
    detail: str | None
    archive_ids: tuple[str, ...]
    sealed: bool


@dataclass(frozen=True, slots=True)
class CertificateUse:
    """How many seals a certificate made, and when the first and last of them were checked."""

    certificate: Certificate | None
    seals: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ServiceTurn:
    """A start of the service on a host; ``clean`` is False if the turn before did not end with a stop."""

    at: datetime
    node: str
    version: str | None
    clean: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report says of its period. ``records`` are those of the period, from ``first_seq`` to ``last_seq``."""

    period: Period
    folders: tuple[str, ...]
    outcomes: Mapping[Outcome, int]
    by_folder: Mapping[str, Mapping[Outcome, int]]
    bars: tuple[Bar, ...]
    durations: tuple[Duration, ...]
    reasons: Mapping[tuple[Outcome, str], int]
    not_delivered: tuple[Listed, ...]
    in_work: tuple[Listed, ...]
    certificates: tuple[CertificateUse, ...]
    levels: Mapping[str, int]
    archived: tuple[Listed, ...]
    archived_documents: int
    archive_ids: int
    pages: int
    size_bytes: int
    duplicates_rejected: int
    duplicates_delivered: int
    retried_documents: int
    retries: int
    sent_again: int
    carried_over: Mapping[Outcome, int]
    starts: tuple[ServiceTurn, ...]
    stops: int
    records: int
    first_seq: int | None
    last_seq: int | None

    @property
    def received(self) -> int:
        """How many documents were taken over."""
        return sum(self.outcomes.values())

    @property
    def unclean_stops(self) -> int:
        """How many starts found that the service had not stopped cleanly."""
        return sum(not start.clean for start in self.starts)


class ServiceTurns:
    """What the records of a period say that are about no document, and how many records there are in all.

    ``last_events`` are, for each host, the last `service_started` or `service_stopped` before the period.
    """

    def __init__(self, last_events: Mapping[str, str]) -> None:
        self._last = dict(last_events)
        self.starts: list[ServiceTurn] = []
        self.stops = 0
        self.records = 0
        self.first_seq: int | None = None
        self.last_seq: int | None = None

    def take(self, entry: TrailEntry) -> None:
        """Take note of the next record of the period."""
        self.records += 1
        self.first_seq = self.first_seq or entry.seq
        self.last_seq = entry.seq
        if entry.event == EventName.SERVICE_STARTED:
            clean = self._last.get(entry.node) != EventName.SERVICE_STARTED
            version = entry.data.get("version")
            self.starts.append(ServiceTurn(entry.at, entry.node, version if isinstance(version, str) else None, clean))
        elif entry.event == EventName.SERVICE_STOPPED:
            self.stops += 1
        else:
            return
        self._last[entry.node] = entry.event


class Counts:
    """Counts stories; with ``folders``, only those of documents of these."""

    def __init__(self, period: Period, folders: tuple[str, ...] = ()) -> None:
        self._period = period
        self._folders = folders
        self._outcomes: Counter[Outcome] = Counter()
        self._by_folder: dict[str, Counter[Outcome]] = {}
        self._bars: dict[date, Counter[Outcome]] = {first: Counter() for first in period.bars()}
        self._durations = {stage: array("d") for stage in Stage}
        self._reasons: Counter[tuple[Outcome, str]] = Counter()
        self._not_delivered: list[Listed] = []
        self._in_work: list[Listed] = []
        self._uses: dict[tuple[str, str] | None, CertificateUse] = {}
        self._levels: Counter[str] = Counter()
        self._archived: list[Listed] = []
        self._sums: Counter[str] = Counter()
        self._carried_over: Counter[Outcome] = Counter()

    def count(self, story: Story) -> bool:
        """Count a story, and return whether its document is one of the period and the folders."""
        if self._folders and story.folder not in self._folders:
            return False
        since, until = self._period.since, self._period.until
        if story.received_at is None:
            if story.ended_at is not None and since <= story.ended_at < until:
                self._carried_over[story.outcome] += 1
            return False
        if not since <= story.received_at < until:
            return False
        folder = story.folder or "-"
        self._outcomes[story.outcome] += 1
        self._by_folder.setdefault(folder, Counter())[story.outcome] += 1
        self._bars[self._period.bar_of(story.received_at)][story.outcome] += 1
        for stage, durations in self._durations.items():
            duration_s = story.duration_s(stage)
            if duration_s is not None:
                durations.append(duration_s)
        self._sum(story)
        self._list(story)
        self._use(story)
        return True

    def _sum(self, story: Story) -> None:
        sums = self._sums
        sums["pages"] += story.pages or 0
        sums["size_bytes"] += story.size_bytes or 0
        sums["archive_ids"] += len(story.archive_ids)
        sums["archived_documents"] += bool(story.archive_ids)
        sums["duplicates_rejected"] += story.reason == Reason.DUPLICATE
        sums["duplicates_delivered"] += story.duplicate_of is not None and story.outcome is Outcome.DELIVERED
        sums["retried_documents"] += bool(story.retries)
        sums["retries"] += story.retries
        sums["sent_again"] += max(0, story.submissions - 1)
        if story.level is not None:
            self._levels[story.level] += 1

    def _list(self, story: Story) -> None:
        listed = Listed(
            story.id,
            story.folder or "-",
            story.name or "-",
            story.received_at or story.last_at,
            story.ended_at,
            story.outcome,
            story.reason,
            story.detail,
            story.archive_ids,
            story.sealed_sha256 is not None,
        )
        if story.outcome in (Outcome.REJECTED, Outcome.FAILED):
            self._reasons[story.outcome, story.reason or "-"] += 1
            _keep(self._not_delivered, listed)
        elif story.outcome is Outcome.IN_WORK:
            _keep(self._in_work, listed)
        if story.archive_ids:
            _keep(self._archived, listed)

    def _use(self, story: Story) -> None:
        """Count the seal that came back; one delivered once more is the earlier document's, and counted there."""
        at = story.verified_at or story.sealed_at
        if at is None or story.duplicate_of is not None or story.sealed_sha256 is None:
            return
        named = story.certificate
        key = None if named is None else (named.serial, named.sha256 or named.subject or "")
        known = self._uses.get(key)
        if known is None:
            self._uses[key] = CertificateUse(named, 1, at, at)
        else:
            first_at, last_at = min(at, known.first_at), max(at, known.last_at)
            self._uses[key] = CertificateUse(known.certificate, known.seals + 1, first_at, last_at)

    def figures(self, service: ServiceTurns) -> Figures:
        """Return what was counted."""
        sums = self._sums
        return Figures(
            period=self._period,
            folders=self._folders,
            outcomes={outcome: self._outcomes[outcome] for outcome in Outcome},
            by_folder=dict(sorted(self._by_folder.items())),
            bars=tuple(Bar(first, counts) for first, counts in self._bars.items()),
            durations=tuple(_durations(self._durations)),
            reasons=dict(sorted(self._reasons.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))),
            not_delivered=_by_time(self._not_delivered),
            in_work=_by_time(self._in_work),
            certificates=tuple(sorted(self._uses.values(), key=lambda use: use.first_at)),
            levels=dict(sorted(self._levels.items())),
            archived=_by_time(self._archived),
            archived_documents=sums["archived_documents"],
            archive_ids=sums["archive_ids"],
            pages=sums["pages"],
            size_bytes=sums["size_bytes"],
            duplicates_rejected=sums["duplicates_rejected"],
            duplicates_delivered=sums["duplicates_delivered"],
            retried_documents=sums["retried_documents"],
            retries=sums["retries"],
            sent_again=sums["sent_again"],
            carried_over={outcome: self._carried_over[outcome] for outcome in Outcome},
            starts=tuple(service.starts),
            stops=service.stops,
            records=service.records,
            first_seq=service.first_seq,
            last_seq=service.last_seq,
        )


def _keep(listed: list[Listed], one: Listed) -> None:
    if len(listed) < LISTED_AT_MOST:
        listed.append(one)


def _by_time(listed: list[Listed]) -> tuple[Listed, ...]:
    return tuple(sorted(listed, key=lambda one: (one.received_at, one.id)))


def _durations(measured: Mapping[Stage, "array[float]"]) -> Iterator[Duration]:
    for stage, durations in measured.items():
        ordered = sorted(durations)
        if ordered:
            yield Duration(stage, len(ordered), percentile(ordered, 50), percentile(ordered, 95), ordered[-1])


def percentile(ordered: list[float], percent: int) -> float:
    """Return the smallest of some values, given in their order, that ``percent`` in a hundred do not exceed."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
