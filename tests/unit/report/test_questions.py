"""Asking the trail: the right documents are found, by whatever is known of them, and told in words."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_months import Happening, write_trail
from sealdrop.audit.reading import read_records
from sealdrop.events import EventName
from sealdrop.model import Event
from sealdrop.report.questions import Question, answer
from sealdrop.report.stories import Outcome, Stories, Story
from sealdrop.report.telling import sentence
from sealdrop.report.walk import stories_of

from .test_figures import NOON, told


@pytest.fixture
def days(trail: Path) -> Path:
    """Five documents, one a day, each with another fate."""
    fates = ["delivered", "rejected", "failed", "retried", "in_work"]
    write_trail(trail, told(*((NOON + timedelta(days=number), fate) for number, fate in enumerate(fates))))
    return trail


def of_outcome(directory: Path, outcome: Outcome) -> Story:
    """The first document that ended so, by reading everything."""
    return next(story for story in stories_of(directory) if story.outcome is outcome)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_document_is_found_by_whatever_is_known_of_it(days: Path, outcome: Outcome) -> None:
    """ID, short ID, name, pattern, digests, archive identifier and reason give the document, and nothing but it."""
    story = of_outcome(days, outcome)
    questions: list[dict[str, Any]] = [
        {"document": story.id},
        {"document": story.id.rpartition("-")[2][:8]},
        {"name": story.name},
        {"name": (story.name or "").rpartition("/")[2]},
        {"name": f"*{(story.name or '').rpartition('/')[2][2:]}"},
        {"name": f"*{(story.name or '').upper()}"},
        {"digest": story.sha256},
        {"outcome": outcome, "name": story.name},
    ]
    questions += [{"digest": story.sealed_sha256}] * (story.sealed_sha256 is not None)
    questions += [{"archive_id": archive_id} for archive_id in story.archive_ids]
    questions += [{"reason": story.reason, "outcome": outcome}] * (story.reason is not None)
    for question in questions:
        (found,) = answer(days, Question(**question))
        assert found.id == story.id, question
        assert [entry.seq for entry in found.entries] == [entry.seq for entry in read_records(days, document=story.id)]


@pytest.mark.parametrize("fate", ["delivered", "rejected"])
def test_what_becomes_of_an_original_begins_no_second_story(trail: Path, fate: str) -> None:
    """A document whose original is kept, and removed later, is at its end once, whatever is asked; nothing is held."""
    happenings = told((NOON, fate))
    document = next(document for _, document, _ in happenings if document is not None)
    fields = {"folder": "invoices", "name": "a.pdf"}
    kept = Event(EventName.ORIGINAL_KEPT, fields | {"kept_name": "a.pdf"})
    expired = Event(EventName.ORIGINAL_EXPIRED, fields | {"place": "processed", "files": ["a.pdf"]})
    late = [
        (NOON + timedelta(hours=1), document, kept),
        (NOON + timedelta(days=30), document, expired),
    ]
    write_trail(trail, [*happenings, *late])
    (story,) = stories_of(trail)
    assert (story.complete, story.outcome) == (True, fate)
    assert list(answer(trail, Question(outcome=Outcome.IN_WORK))) == []
    assert [each.outcome for each in answer(trail, Question(folders=("invoices",)))] == [fate]
    (asked,) = answer(trail, Question(folders=("invoices",), event=EventName.ORIGINAL_EXPIRED))
    assert (asked.outcome, [entry.event for entry in asked.entries]) == (fate, [EventName.ORIGINAL_EXPIRED])
    book = Stories()
    for entry in read_records(trail):
        book.take(entry)
    assert not book.is_open(document)


@pytest.mark.parametrize(
    "question",
    [
        {"document": "20261105-0000000000000000"},
        {"document": "20269999-0000000000000000"},
        {"document": "00000000"},
        {"name": "nothing.pdf"},
        {"name": "factur"},
        {"digest": "0" * 64},
        {"folders": ("elsewhere",)},
        {"archive_id": "ARC"},
        {"reason": "EMPTY"},
    ],
)
def test_what_is_not_there_is_not_found(days: Path, question: dict[str, Any]) -> None:
    """A part of a name or of an identifier is not the whole, and what nobody has, nobody is given."""
    assert list(answer(days, Question(**question))) == []


def test_outcomes_share_all_documents(days: Path) -> None:
    """Each document has one outcome: that of its newest record, retried or not."""
    found = {outcome: list(answer(days, Question(outcome=outcome))) for outcome in Outcome}
    assert {outcome: len(stories) for outcome, stories in found.items()} == {
        Outcome.DELIVERED: 2,
        Outcome.REJECTED: 1,
        Outcome.FAILED: 1,
        Outcome.IN_WORK: 1,
    }


def test_time_and_event_choose_among_the_records(days: Path) -> None:
    """Of the documents asked for, the records of the time are shown, though the outcome came later."""
    start = NOON + timedelta(days=3)
    question = Question(outcome=Outcome.DELIVERED, since=start, until=start + timedelta(hours=1))
    (story,) = answer(days, question)
    assert story.retries == 1
    assert all(start <= entry.at < start + timedelta(hours=1) for entry in story.entries)
    assert story.entries[-1].event == "original_returned"
    (story,) = answer(days, Question(document=story.id, event="document_retried"))
    assert [entry.event for entry in story.entries] == ["document_retried"]


def test_days_before_the_one_in_the_id_are_not_read(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question by ID opens no file of an earlier day than the one before it."""
    story = of_outcome(days, Outcome.FAILED)
    opened: list[str] = []
    whole = Path.open

    def noted(path: Path, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the original
        opened.append(path.name)
        return whole(path, *args, **options)

    monkeypatch.setattr(Path, "open", noted)
    assert len(list(answer(days, Question(document=story.id)))) == 1
    assert min(opened) == "2026-11-06.jsonl"
    assert story.received_at is not None
    assert story.received_at.date().isoformat() == "2026-11-07"


def test_an_id_of_a_day_that_the_clock_had_wrong_is_found(trail: Path) -> None:
    """The day in an ID is only a hint: should the records stand in earlier files, they are found there."""
    happened: list[Happening] = []
    for at, document, event in told((NOON, "delivered")):
        happened.append((at, f"20270101-{(document or '')[9:]}", event))
    write_trail(trail, happened)
    (story,) = answer(trail, Question(document=happened[0][1]))
    assert (story.outcome, len(story.entries)) == (Outcome.DELIVERED, 9)


def test_every_event_of_a_document_is_told_in_words(days: Path) -> None:
    """Each record is a sentence, with the facts in it; what a later version writes is told by its fields."""
    told_of = {entry.event: sentence(entry) for entry in read_records(days)}
    assert all(text[0].isupper() and text != name for name, text in told_of.items())
    assert "serial number" in told_of["document_verified"]
    assert "(sudo)" in told_of["document_retried"]
    at = datetime(2027, 1, 1, tzinfo=UTC)
    write_trail(days.parent / "later", [(at, "d", Event("page_turned", {"name": "x", "pages": [1, 2], "by": None}))])
    (later,) = read_records(days.parent / "later")
    assert sentence(later) == "page_turned: by -, pages 1, 2"
    assert EventName.DOCUMENT_REJECTED in told_of
