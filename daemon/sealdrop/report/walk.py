"""Walking along the audit trail's files for the stories of a period. Memory is that of the stories that are open.

A document belongs to the period in which it was taken over, and its story goes on after it. So the files of the period
are read whole, earlier ones not at all, and of later ones only the records of documents that were not at their end.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealdrop.audit.reading import TrailEntry, day_files, day_of, read_records
from sealdrop.errors import Fatal
from sealdrop.events import EventName
from sealdrop.report.stories import Stories, Story

_SERVICE_EVENTS = (EventName.SERVICE_STARTED, EventName.SERVICE_STOPPED)


def stories_of(
    directory: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    up_to_seq: int | None = None,
    look: Callable[[TrailEntry], None] = lambda _: None,
) -> Iterator[Story]:
    """Yield the stories that began from ``since`` on and before ``until``, or went on there, each when it is over.

    Those that are not over come last. A story whose document was taken over before ``since`` is not complete. Records
    after ``up_to_seq`` are not read; ``look`` is called with each record of the period.

    Raises:
        Fatal: there is no such directory, or a file in it cannot be read.
    """
    book = Stories()
    for entry in read_records(directory, since=since, until=until):
        if up_to_seq is not None and entry.seq > up_to_seq:
            break
        look(entry)
        story = book.take(entry)
        if story is not None:
            yield story
    if until is not None:
        yield from book.give_up(lambda story: story.complete)
        for entry in read_records(directory, since=until, about=book.is_open):
            if up_to_seq is not None and entry.seq > up_to_seq:
                break
            story = book.take(entry)
            if story is not None:
                yield story
    yield from book.give_up(lambda _: False)


def last_service_events(directory: Path, before: datetime) -> dict[str, str]:
    """Return the last start or stop of the service before a moment, for each host that the newest such file names.

    Raises:
        Fatal: there is no such directory, or a file in it cannot be read.
    """
    try:
        days = [day_of(path.name) for path in day_files(directory)[0]]
    except OSError as error:
        raise Fatal(f"the audit trail cannot be read: {error}") from error
    for day in reversed(days):
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if begin > before:
            continue
        end = min(before, begin + timedelta(days=1))
        of_day = read_records(directory, since=begin, until=end, containing=["service_"])
        found = {entry.node: entry.event for entry in of_day if entry.event in _SERVICE_EVENTS}
        if found:
            return found
    return {}
