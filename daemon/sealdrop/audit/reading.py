"""Reading the audit trail's files strictly, in constant memory. Shares no code with what writes them.

A line is a record only if it has every member that `chain` describes, each of its type, and nothing else. Whether
the record is true is for `check` to judge.
"""

import json
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from pydantic import JsonValue

from sealdrop.errors import Fatal

_VERSION = 1
_LONGEST_LINE_BYTES = (1 << 20) + 1  # newline included
_EXACT = 2**53 - 1  # RFC 8785 knows no greater whole numbers

_DAY_FILE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_HASH = re.compile(r"[0-9a-f]{64}")
# In a string of the record's own the quotes would be escaped. Our IDs hold nothing that JSON escapes.
_DOCUMENT = re.compile(rb'"document":"([^"\\]*)"')
_MEMBERS = {"v", "seq", "at", "event", "document", "node", "data", "prev", "hash"}


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One record as it stands in the files: ``file`` is its name in the directory, ``line`` counts from 1."""

    seq: int
    at: datetime
    event: str
    document: str | None
    node: str
    data: Mapping[str, JsonValue]
    previous_hash: str
    hash: str
    file: str
    line: int


class IncompleteLineError(Exception):
    """The line does not end where a record's line ends; the text is for people."""


class NotARecordError(Exception):
    """The line is no record; the text is for people."""


def read_records(
    directory: Path,
    *,
    document: str | None = None,
    event: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    about: Callable[[str], bool] | None = None,
    containing: Collection[str] = (),
) -> Iterator[TrailEntry]:
    """Yield the records that fit, in the order of the files: from ``since`` on, and before ``until``.

    With ``about``, only those about documents for whose ID it returns True, asked when the record is reached. With
    ``containing``, only those that hold each of these texts, in whichever field: a sieve for the caller's own look.
    Whatever does not fit is hardly looked at, and files of other days are not opened.

    They are shown as they stand. Lines that are no records are passed over: `check.verify_trail` tells of them.

    Raises:
        Fatal: there is no such directory, or a file in it cannot be read.
    """
    first_day = since.astimezone(UTC).date() if since else date.min
    last_day = until.astimezone(UTC).date() if until else date.max
    # Reading JSON is the dear part: a line that does not even hold the text is not the one.
    texts = [_spelled(text) for text in (document, event, *containing) if text is not None]
    try:
        for path in day_files(directory)[0]:
            if not first_day <= day_of(path.name) <= last_day:
                continue
            for number, line in lines(path):
                if not all(text in line for text in texts) or (about is not None and not _is_about(line, about)):
                    continue
                try:
                    entry = parse(line, path.name, number)[0]
                except (IncompleteLineError, NotARecordError):
                    continue
                if (
                    document in (None, entry.document)
                    and (about is None or (entry.document is not None and about(entry.document)))
                    and event in (None, entry.event)
                    and (since is None or entry.at >= since)
                    and (until is None or entry.at < until)
                ):
                    yield entry
    except OSError as error:
        raise Fatal(f"the audit trail cannot be read: {error}") from error


def _is_about(line: bytes, about: Callable[[str], bool]) -> bool:
    """Return whether the line may be about such a document, without reading it as JSON."""
    return any(about(found.decode(errors="replace")) for found in _DOCUMENT.findall(line))


def _spelled(text: str) -> bytes:
    """Return ``text`` as it stands in a canonical line, without its quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="replace")


def day_files(directory: Path) -> tuple[list[Path], list[Path]]:
    """Return the days' files in their order, and whatever else is there.

    Raises:
        OSError: the directory cannot be read.
    """
    days: list[Path] = []
    others: list[Path] = []
    for path in sorted(directory.iterdir()):
        (days if _is_day_file(path) else others).append(path)
    return days, others


def _is_day_file(path: Path) -> bool:
    if _DAY_FILE.fullmatch(path.name) is None or not stat.S_ISREG(path.lstat().st_mode):
        return False
    try:
        day_of(path.name)
    except ValueError:
        return False
    return True


def day_of(name: str) -> date:
    """Return the day of the day's file called ``name``."""
    return date.fromisoformat(name.removesuffix(".jsonl"))


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line, newline included, with its number; of one that is too long, only the beginning.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE_BYTES + 1):
            number += 1
            yield number, line
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST_LINE_BYTES + 1)


def parse(line: bytes, file: str, number: int) -> tuple[TrailEntry, dict[str, Any]]:
    """Return the record in ``line``, and the JSON object that it is.

    Raises:
        IncompleteLineError: it is cut off, or longer than a record can be.
        NotARecordError: it is something else.
    """
    if len(line) > _LONGEST_LINE_BYTES:
        raise IncompleteLineError("the line is longer than any record")
    if not line.endswith(b"\n"):
        raise IncompleteLineError(
            "the line is cut off: after a crash the daemon completes it when it starts, "
            "and while the daemon writes, verifying again shows the whole line"
        )
    try:
        content = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise NotARecordError(f"the line is not JSON: {error}") from error
    match content:
        case {
            "v": int(version),
            "seq": int(seq),
            "at": str(at),
            "event": str(event),
            "document": None | str() as document,
            "node": str(node),
            "data": dict(data),
            "prev": str(previous),
            "hash": str(digest),
        } if (
            content.keys() == _MEMBERS
            and (type(version), type(seq)) == (int, int)  # True is an int too
            and version == _VERSION
            and seq > 0
            and _HASH.fullmatch(previous)
            and _HASH.fullmatch(digest)
        ):
            return TrailEntry(seq, _moment(at), event, document, node, data, previous, digest, file, number), content
        case {"v": int(version)} if version > _VERSION:
            raise NotARecordError(f"the record has version {version}, of a newer sealdrop")
    raise NotARecordError("the line is JSON, but no record of an audit trail")


def _moment(text: str) -> datetime:
    try:
        if _AT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError as error:
        raise NotARecordError(f"the record's time is none: {text}") from error
    raise NotARecordError(f"the record's time is not UTC to the microsecond: {text!r}")


def _number(text: str) -> int | float:
    """A greater whole number stands for the float that it spells."""
    value = int(text)
    return value if -_EXACT <= value <= _EXACT else float(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


# Made once: making it for each line took as long as reading the line.
_DECODER = json.JSONDecoder(parse_int=_number, parse_constant=_refuse)
