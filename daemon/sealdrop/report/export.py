"""What is known of documents as rows of a table: CSV for a spreadsheet, JSON for a program. In constant memory.

Rules of the CSV files (RFC 4180): UTF-8, a comma between cells, CR and LF behind each row, quotes where needed. A
spreadsheet would run a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return as a formula, and
names of files are other people's text: such a cell gets an apostrophe in front, and so does one that begins with an
apostrophe, so that taking one away gives the text back. Columns keep their names and order; new ones come last.
"""

import csv
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from io import StringIO
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from pydantic import JsonValue

from sealdrop.audit.reading import TrailEntry
from sealdrop.report.stories import Stage, Story

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()  # by which Excel knows UTF-8
# As they are, and as wide as East Asian characters, which some spreadsheets take for the same.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")

DOCUMENT_COLUMNS = (
    "document",
    "name",
    "folder",
    "account",
    "outcome",
    "reason",
    "detail",
    "received_at",
    "validated_at",
    "submitted_at",
    "sealed_at",
    "verified_at",
    "delivered_at",
    "ended_at",
    "size_bytes",
    "pages",
    "sha256",
    "sealed_size_bytes",
    "sealed_sha256",
    "published_name",
    "level",
    "archive_ids",
    "certificate_serial",
    "certificate_subject",
    "external_id",
    "request_id",
    "duplicate_of",
    "retries",
    *(f"{stage}_s" for stage in Stage),
    "node",
    "first_seq",
    "last_seq",
)
RECORD_COLUMNS = ("seq", "at", "event", "document", "folder", "name", "node", "data", "prev", "hash")

Row = Mapping[str, JsonValue]


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSON = "json"


def document_row(story: Story) -> Row:
    """Return the row of a document; what is not on record is None."""
    certificate = story.certificate
    row: dict[str, JsonValue] = {
        "document": story.id,
        "name": story.name,
        "folder": story.folder,
        "account": story.account,
        "outcome": story.outcome.value,
        "reason": story.reason,
        "detail": story.detail,
        "received_at": moment(story.received_at),
        "validated_at": moment(story.validated_at),
        "submitted_at": moment(story.submitted_at),
        "sealed_at": moment(story.sealed_at),
        "verified_at": moment(story.verified_at),
        "delivered_at": moment(story.delivered_at),
        "ended_at": moment(story.ended_at),
        "size_bytes": story.size_bytes,
        "pages": story.pages,
        "sha256": story.sha256,
        "sealed_size_bytes": story.sealed_size_bytes,
        "sealed_sha256": story.sealed_sha256,
        "published_name": story.published_name,
        "level": story.level,
        "archive_ids": list[JsonValue](story.archive_ids),
        "certificate_serial": certificate.serial if certificate else None,
        "certificate_subject": certificate.subject if certificate else None,
        "external_id": story.external_id,
        "request_id": story.request_id,
        "duplicate_of": story.duplicate_of,
        "retries": story.retries,
    }
    for stage in Stage:
        duration_s = story.duration_s(stage)
        row[f"{stage}_s"] = None if duration_s is None else round(duration_s, 3)
    return row | {"node": story.node, "first_seq": story.first_seq, "last_seq": story.last_seq}


def record_row(entry: TrailEntry) -> Row:
    """Return the row of a record."""
    return {
        "seq": entry.seq,
        "at": moment(entry.at),
        "event": entry.event,
        "document": entry.document,
        "folder": entry.data.get("folder"),
        "name": entry.data.get("name"),
        "node": entry.node,
        "data": dict(entry.data),
        "prev": entry.previous_hash,
        "hash": entry.hash,
    }


def moment(at: datetime | None) -> str | None:
    """Return a moment as it stands in the records."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if at else None


class Sorted:
    """Rows that come in any order and go out in that of their first records. They wait in a file without a name."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed with this
        self._seqs = array("Q")
        self._offsets = array("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._seqs)

    def add(self, story: Story) -> None:
        """Take a document's row."""
        self._seqs.append(story.first_seq)
        self._offsets.append(self._file.tell())
        self._file.write(json.dumps(document_row(story), ensure_ascii=False).encode(errors="surrogatepass") + b"\n")

    def rows(self) -> Iterator[Row]:
        """Yield the rows; none can be added any more."""
        for number in sorted(range(len(self._seqs)), key=self._seqs.__getitem__):
            self._file.seek(self._offsets[number])
            yield json.loads(self._file.readline())


def encoded(
    rows: Iterable[Row], columns: Sequence[str], form: Format, *, kind: str, mark: bool = False
) -> Iterator[bytes]:
    """Yield the bytes of a file with these rows: CSV, with Excel's ``mark``, or a JSON object with them as ``kind``."""
    if form is Format.JSON:
        yield f'{{"{kind}": ['.encode()
        for number, row in enumerate(rows):
            yield (",\n  " if number else "\n  ").encode() + json.dumps(row, ensure_ascii=False).encode()
        yield b"\n]}\n"
        return
    if mark:
        yield BYTE_ORDER_MARK
    line = StringIO()
    writer = csv.writer(line)
    writer.writerow(columns)
    yield line.getvalue().encode()
    for row in rows:
        line.seek(0)
        line.truncate()
        writer.writerow([_cell(row.get(column)) for column in columns])
        yield line.getvalue().encode()


def _cell(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULAS) else value
        case list():
            return " ".join(_cell(each) for each in value)
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
