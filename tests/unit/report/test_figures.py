"""What a report counts: by hand where it is few, and against another way of counting where it is many."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from audit_months import Happening, document_happenings, write_trail
from sealdrop.audit.reading import read_records
from sealdrop.events import EventName
from sealdrop.model import Event
from sealdrop.report.figures import percentile
from sealdrop.report.period import Grain, Period, month_days
from sealdrop.report.stories import Outcome, Stage
from sealdrop.report.walk import stories_of

from .conftest import FIRST, NOVEMBER, figures_of

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)


def told(*documents: tuple[datetime, str], folder: str = "invoices") -> list[Happening]:
    """What happens to some documents, each taken over at a moment and with a fate."""
    rng = random.Random(7)
    each = [document_happenings(rng, at, number, folder, fate) for number, (at, fate) in enumerate(documents)]
    return sorted(chain(*each), key=lambda happening: happening[0])


def test_a_documents_whole_story(trail: Path) -> None:
    """Every fact that an auditor asks for is taken from the records of a delivered document."""
    write_trail(trail, told((NOON, "delivered")))
    (story,) = stories_of(trail)
    assert (story.outcome, story.complete, story.over, story.retries) == (Outcome.DELIVERED, True, True, 0)
    assert (story.received_at, story.folder, story.account) == (NOON, "invoices", "main")
    assert story.id.startswith("20261105-")
    assert story.external_id == f"{story.id}-1"
    assert story.level == "PAdES_BASELINE_LTA"
    assert story.certificate is not None
    assert story.certificate.serial.startswith("198237")
    assert story.certificate.not_after == datetime(2026, 11, 14, 23, 59, 59, tzinfo=UTC)
    assert (len(story.archive_ids), story.sealed_size_bytes) == (1, 60_000)
    assert (story.first_seq, story.last_seq) == (1, 9)
    parts = [story.duration_s(stage) or 0 for stage in Stage if stage is not Stage.WHOLE]
    assert sum(parts) == pytest.approx(story.duration_s(Stage.WHOLE))


def test_every_fate_is_counted_once(trail: Path) -> None:
    """Each document counts with what became of it in the end, and the lists name those that were not delivered."""
    fates = ["delivered", "delivered", "rejected", "failed", "retried", "in_work"]
    write_trail(trail, told(*((NOON + timedelta(minutes=number), fate) for number, fate in enumerate(fates))))
    figures = figures_of(trail)
    assert figures.outcomes == {
        Outcome.DELIVERED: 3,
        Outcome.REJECTED: 1,
        Outcome.FAILED: 1,
        Outcome.IN_WORK: 1,
    }
    assert [one.outcome for one in figures.not_delivered] == [Outcome.REJECTED, Outcome.FAILED]
    assert [one.outcome for one in figures.in_work] == [Outcome.IN_WORK]
    assert (figures.retried_documents, figures.retries, figures.sent_again) == (1, 1, 1)
    assert (figures.archive_ids, figures.archived_documents) == (3, 3)
    assert sum(use.seals for use in figures.certificates) == 3
    assert {each.stage: each.documents for each in figures.durations}[Stage.WHOLE] == 2, "a retry waits for a person"


def test_a_failed_document_that_is_tried_again_later_changes_its_outcome(trail: Path) -> None:
    """Its period says what became of it in the end, though that was in the next month."""
    last_evening = datetime(2026, 11, 30, 20, tzinfo=UTC)
    write_trail(trail, told((last_evening, "retried"), (last_evening, "failed")))
    assert figures_of(trail).outcomes[Outcome.DELIVERED] == 1
    december = Period(date(2026, 12, 1), date(2026, 12, 31), UTC, "UTC")
    figures = figures_of(trail, december)
    assert (figures.received, figures.carried_over[Outcome.DELIVERED]) == (0, 1)
    assert figures.records == 7


def test_a_seal_of_another_month_is_not_of_this_one(trail: Path) -> None:
    """What was taken over before or after the period, in the time zone that was asked for, is not counted."""
    paris = Period(date(2026, 11, 1), date(2026, 11, 30), ZoneInfo("Europe/Paris"), "Europe/Paris")
    moments = [datetime(2026, 10, 31, 22, 59, tzinfo=UTC), datetime(2026, 10, 31, 23, 0, tzinfo=UTC)]
    moments += [datetime(2026, 11, 30, 22, 59, tzinfo=UTC), datetime(2026, 11, 30, 23, 0, tzinfo=UTC)]
    write_trail(trail, told(*((at, "delivered") for at in moments)))
    figures = figures_of(trail, paris)
    assert figures.received == 2
    assert [(bar.first.day, sum(bar.counts.values())) for bar in figures.bars if bar.counts] == [(1, 1), (30, 1)]
    assert figures_of(trail).received == 2


def test_only_the_folders_asked_for(month: Path) -> None:
    """The figures of each folder add up to those of all; one that is not there has none."""
    whole = figures_of(month)
    parts = [figures_of(month, NOVEMBER, folder) for folder in whole.by_folder]
    assert [part.received for part in parts] == [sum(counts.values()) for counts in whole.by_folder.values()]
    assert sum(part.received for part in parts) == whole.received == 400
    assert figures_of(month, NOVEMBER, "none").received == 0


def test_a_month_agrees_with_its_records(month: Path) -> None:
    """The sums are what counting the records' events gives."""
    figures = figures_of(month)
    events = Counter(entry.event for entry in read_records(month))
    assert events["document_received"] == figures.received == sum(sum(bar.counts.values()) for bar in figures.bars)
    assert events["document_delivered"] == figures.outcomes[Outcome.DELIVERED]
    assert events["document_rejected"] == figures.outcomes[Outcome.REJECTED]
    assert events["document_verified"] == sum(use.seals for use in figures.certificates)
    assert figures.records == sum(events.values()) == figures.last_seq


def test_unclean_stops_are_told_from_clean_ones(trail: Path) -> None:
    """A start that follows a start is one after a kill, also where the one before lies before the period."""
    started, stopped = Event(EventName.SERVICE_STARTED, {"version": "1"}), Event(EventName.SERVICE_STOPPED)
    days = [(-40, started), (2, started), (3, stopped), (4, started), (5, started)]
    write_trail(trail, [(FIRST + timedelta(days=day), None, event) for day, event in days])
    figures = figures_of(trail)
    assert [start.clean for start in figures.starts] == [False, True, False]
    assert (figures.stops, figures.unclean_stops) == (1, 2)


def test_records_of_an_older_version_are_understood(trail: Path) -> None:
    """Where certificate, sizes and pages are not on record, nothing is made up, and the seal is still counted."""
    older = []
    for at, document, event in told((NOON, "delivered")):
        fields = {k: v for k, v in event.fields.items() if k not in ("certificate", "signed_at", "sealed_size_bytes")}
        older.append((at, document, Event(event.name, fields)))
    write_trail(trail, older)
    figures = figures_of(trail)
    (use,) = figures.certificates
    assert (use.certificate, use.seals) == (None, 1)


def test_a_period_is_cut_into_days_or_months() -> None:
    """A month has a bar for each day, two years one for each month."""
    assert month_days("2024-02") == (date(2024, 2, 1), date(2024, 2, 29))
    assert (NOVEMBER.grain, len(NOVEMBER.bars()), NOVEMBER.is_month) == (Grain.DAY, 30, True)
    years = Period(date(2025, 1, 15), date(2026, 12, 31), UTC, "UTC")
    assert (years.grain, len(years.bars()), years.is_month) == (Grain.MONTH, 24, False)
    with pytest.raises(ValueError, match="no month"):
        month_days("2026-1")


def test_percentiles_are_values_that_were_measured() -> None:
    """The median and the 95th percentile by nearest rank, for few and for many values."""
    hundred = [float(value) for value in range(1, 101)]
    assert (percentile(hundred, 50), percentile(hundred, 95)) == (50.0, 95.0)
    assert (percentile([3.0], 50), percentile([3.0], 95)) == (3.0, 3.0)
    assert (percentile([1.0, 9.0], 50), percentile([1.0, 9.0], 95)) == (1.0, 9.0)
