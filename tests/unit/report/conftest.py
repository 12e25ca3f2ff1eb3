"""What the tests of reports share: a trail of a small month, and reports made from trails."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from audit_months import month_happenings, write_trail
from sealdrop.audit.check import verify_trail
from sealdrop.report.figures import Counts, Figures, ServiceTurns
from sealdrop.report.period import Period
from sealdrop.report.report import Annex, Report
from sealdrop.report.walk import last_service_events, stories_of
from sealdrop.report.words import Language

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30), UTC, "UTC")
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def figures_of(directory: Path, period: Period = NOVEMBER, *folders: str) -> Figures:
    """The figures of a trail."""
    counts, turns = Counts(period, folders), ServiceTurns(last_service_events(directory, period.since))
    for story in stories_of(directory, since=period.since, until=period.until, look=turns.take):
        counts.count(story)
    return counts.figures(turns)


def report_of(directory: Path, language: Language = Language.EN, period: Period = NOVEMBER) -> Report:
    """A report about a trail."""
    figures = figures_of(directory, period)
    annex = Annex("annex.csv", "0" * 64, figures.received)
    made_at = datetime(2026, 12, 1, 8, tzinfo=UTC)
    trail = verify_trail(directory)
    return Report(
        figures,
        trail,
        compared=False,
        annex=annex,
        made_at=made_at,
        host="seal-1",
        version="1.0.0",
        language=language,
    )


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """Where a test's trail is."""
    return tmp_path / "audit"


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trail of a month with 400 documents of two folders; not to be changed."""
    directory = tmp_path_factory.mktemp("month") / "audit"
    write_trail(directory, month_happenings(400, first=FIRST))
    return directory
