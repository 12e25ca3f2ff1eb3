"""What an auditor asks of the trail, and which documents are the answer. Reads the files only.

A question about documents is answered by whole documents, even if what was asked for stands in one of their records; a
time or an event then says which of their records are shown. What they were asked for by decides what it costs:

1. an ID: the days before the one in it are not read. Should its first record not be found there, for the clock was
   wrong, everything is;
2. a short ID, a digest, an archive identifier, a reason, a whole name: every line is looked at for that text, and read
   as JSON only if it holds it; then as with an ID;
3. an outcome, a folder, a pattern of names: every record of the time that was asked for is read, and what came later of
   those that were not at their end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from sealdrop.audit.reading import TrailEntry, read_records
from sealdrop.report.stories import AFTER_THE_END, Outcome, Stories, Story

_FULL_ID = re.compile(r"([0-9]{8})-[0-9a-f]{16}")
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; None or nothing is not asked.

    ``document`` is an ID or a short ID. ``name`` is that of the file, alone or with the folders below inbound, or a
    pattern with ``*``, ``?`` or ``[...]``. ``digest`` is the SHA-256 of the original or of the sealed PDF. ``reason``
    is one that the document was given at any time. ``event``, ``since`` and ``until`` choose among the records.
    """

    document: str | None = None
    name: str | None = None
    digest: str | None = None
    folders: tuple[str, ...] = ()
    outcome: Outcome | None = None
    archive_id: str | None = None
    reason: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_about_documents(self) -> bool:
        """Whether documents are asked for, and not only records."""
        asked = (self.document, self.name, self.digest, self.outcome, self.archive_id, self.reason)
        return bool(self.folders) or any(each is not None for each in asked)

    def shows(self, entry: TrailEntry) -> bool:
        """Return whether a record of a document that was asked for is shown."""
        return (
            self.event in (None, entry.event)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )

    def fits(self, story: Story) -> bool:
        """Return whether a document is one that was asked for."""
        return (
            (self.document is None or self._is_called(story.id))
            and (self.name is None or _is_named(story.name or "", self.name))
            and (self.digest is None or any(self._has_digest(entry) for entry in story.entries))
            and (not self.folders or story.folder in self.folders)
            and self.outcome in (None, story.outcome)
            and (self.archive_id is None or any(self._has_archive_id(entry) for entry in story.entries))
            and (self.reason is None or any(entry.data.get("reason") == self.reason for entry in story.entries))
        )

    def sought(self) -> str | None:
        """Return the text that the documents asked for have in one of their records, the rarest first."""
        name = self.name if self.name is not None and not _PATTERN.search(self.name) else None
        short = None if self.document is None else f"-{self.document}"
        # Records that come after the end of a story are found by themselves, and with them whose they are.
        late = self.event if self.event in AFTER_THE_END else None
        texts = (short, self.digest, self.archive_id, name, self.reason, late)
        return next((text for text in texts if text is not None), None)

    def _is_called(self, document: str) -> bool:
        return self.document in (document, document.rpartition("-")[2][:8])

    def _has_digest(self, entry: TrailEntry) -> bool:
        return self.digest in (entry.data.get("sha256"), entry.data.get("sealed_sha256"))

    def _has_archive_id(self, entry: TrailEntry) -> bool:
        identifiers = entry.data.get("archive_ids")
        return isinstance(identifiers, list) and self.archive_id in identifiers


def _is_named(name: str, wanted: str) -> bool:
    """Whether a document's name is meant, with its sub-folder or without; in a pattern capitals count for nothing."""
    pattern = wanted.casefold()
    names = (name, name.rpartition("/")[2])
    return any(each == wanted or fnmatchcase(each.casefold(), pattern) for each in names)


def answer(directory: Path, question: Question) -> Iterator[Story]:
    """Yield the documents that were asked for, with the records of theirs that are shown: each when its story is over.

    Those that are not at their end, or failed and could be tried again, come last, in the order they began in.

    Raises:
        Fatal: there is no such directory, or a file in it cannot be read.
    """
    documents = _sought(directory, question)
    if documents is None:
        told: Iterable[Story] = _stories_in(directory, question.since, question.until)
    else:
        told = _stories_of(directory, documents)
    for story in told:
        if question.fits(story):
            story.entries = [entry for entry in story.entries if question.shows(entry)]
            if story.entries:
                yield story


def _sought(directory: Path, question: Question) -> set[str] | None:
    """Return the documents that may be the answer; None if that cannot be told without reading everything."""
    if question.document is not None and _FULL_ID.fullmatch(question.document):
        return {question.document}
    text = question.sought()
    if text is None:
        return None
    found = read_records(directory, containing=[text])
    return {entry.document for entry in found if entry.document is not None}


def _stories_of(directory: Path, documents: set[str]) -> list[Story]:
    """Return the stories of some documents, in the order they began in."""
    if not documents:
        return []
    first = min(map(_day_of, documents))
    told = _told(read_records(directory, since=first, about=documents.__contains__))
    if not all(story.complete for story in told) or len(told) < len(documents):
        told = _told(read_records(directory, about=documents.__contains__))
    return told


def _told(entries: Iterable[TrailEntry]) -> list[Story]:
    told: dict[str, Story] = {}
    for entry in entries:
        if entry.document is not None:
            story = told.setdefault(entry.document, Story.begun_by(entry))
            story.add(entry)
            story.entries.append(entry)
    return list(told.values())


def _day_of(document: str) -> datetime:
    """Return the beginning of the day before the one in a document's ID; of no day, the earliest that there is."""
    found = _FULL_ID.fullmatch(document)
    try:
        day = date.fromisoformat(found[1]) if found else date.min
        return datetime.combine(day, time(), UTC) - timedelta(days=1)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def _stories_in(directory: Path, since: datetime | None, until: datetime | None) -> Iterator[Story]:
    """Yield the stories to which something was added in a time, with what came of them after it."""
    book = Stories(keep_entries=True)
    parts = [read_records(directory, since=since, until=until)]
    if until is not None:
        parts.append(read_records(directory, since=until, about=book.is_open))
    for entries in parts:
        for entry in entries:
            story = book.take(entry)
            if story is not None:
                yield story
    yield from book.give_up(lambda _: False)
