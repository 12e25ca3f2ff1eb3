"""Judging the audit trail with nothing but its files, in constant memory.

This module and `reading` share no code with those that write the trail: they follow the format as `chain` describes
it. What is found, and how:

1. something that is no day's file, or a day's file that is empty: by its name and size;
2. a line that is cut off or is not a record: by reading it strictly;
3. an edit: the record's hash is not that of its content, or the line is not the one spelling that a record has;
4. a record in another day's file;
5. a duplicate or a reordering: a ``seq`` comes that was passed already;
6. a removal, a gap, a missing day: a ``seq`` is left out;
7. a replacement: ``prev`` is not the hash of the record before;
8. a record that is earlier than the one before it;
9. a day that was not closed: ``day_closed`` is the last record of its file, of the day's last microsecond, and says
   with which record the file begins and how many there are. Older trails have none: from the first one on, each day
   that is followed by another must have it;
10. a cut-off tail, or a chain rewritten from some point on: a record that was noted elsewhere is not there, or has
   another hash. The files alone cannot tell.

After a problem the walk goes on from what it finds, so that a fault is reported where it is, and later ones too.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import rfc8785

from sealdrop.audit import reading
from sealdrop.audit.reading import TrailEntry
from sealdrop.errors import Fatal
from sealdrop.model import GENESIS, AuditHead

LISTED_AT_MOST = 100
_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_CLOSE = "day_closed"
_LAST_MOMENT = "T23:59:59.999999+00:00"


class ProblemKind(StrEnum):
    """What is wrong with the trail: a stable interface for programs."""

    FOREIGN_FILE = "foreign_file"
    EMPTY_FILE = "empty_file"
    UNREADABLE_FILE = "unreadable_file"
    INCOMPLETE_LINE = "incomplete_line"
    NOT_A_RECORD = "not_a_record"
    EDITED = "edited"
    NOT_CANONICAL = "not_canonical"
    WRONG_DAY = "wrong_day"
    OUT_OF_ORDER = "out_of_order"
    MISSING = "missing"
    BROKEN_LINK = "broken_link"
    TIME_BACKWARDS = "time_backwards"
    WRONG_CLOSE = "wrong_close"
    AFTER_CLOSE = "after_close"
    NOT_CLOSED = "not_closed"
    CUT_OFF = "cut_off"
    REWRITTEN = "rewritten"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: ``file`` is its name in the directory, ``line`` counts from 1, ``text`` is for people."""

    kind: ProblemKind
    file: str | None
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class TrailReport:
    """What the files prove. ``problems`` lists the first `LISTED_AT_MOST`, ``problem_count`` counts all.

    ``records`` counts the lines that are records; ``first`` and ``last`` are the ends of the chain found (None where
    there is none). The ``seq`` and ``hash`` of ``last`` are what to note elsewhere, and to expect the next time.
    """

    files: int
    records: int
    first: AuditHead | None
    last: AuditHead | None
    problems: tuple[Problem, ...]
    problem_count: int

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return self.problem_count == 0


def verify_trail(
    directory: Path, *, expect: Sequence[tuple[int, str]] = (), on_file: Callable[[Path], None] = lambda _: None
) -> TrailReport:
    """Return what the files in ``directory`` prove, having read every byte of them.

    ``expect`` are records that the trail had at some time, as ``seq`` and hash: noted from an earlier report, or what
    the ledger says is in the files. Ask the ledger before calling, if a daemon is writing. ``on_file`` is called with
    each day's file that was read.

    Raises:
        Fatal: there is no such directory.
    """
    try:
        days, others = reading.day_files(directory)
    except OSError as error:
        raise Fatal(f"the audit trail cannot be read: {error}") from error
    walk = _Walk(expect)
    for path in others:
        walk.problem(ProblemKind.FOREIGN_FILE, path.name, None, "this is no day's file of an audit trail")
    for path in days:
        walk.file(path)
        on_file(path)
    walk.end()
    return TrailReport(len(days), walk.records, walk.first, walk.last, tuple(walk.problems), walk.problem_count)


class _Walk:
    """The walk along the chain: where it stands, and what was found wrong so far."""

    def __init__(self, expect: Sequence[tuple[int, str]]) -> None:
        self.records = 0
        self.first: AuditHead | None = None
        self.last: AuditHead | None = None
        self.problems: list[Problem] = []
        self.problem_count = 0
        self._expect = {(seq, digest) for seq, digest in expect if seq > GENESIS.seq}
        self._due_seq = GENESIS.seq + 1
        self._due_hash = GENESIS.hash
        self._unsure = 0  # lines since then that may each be a damaged record, or something put in between
        self._file_before: str | None = None
        self._closes = False  # whether a day was closed by now
        self._closed = True  # whether the newest day was, or need not be
        self._first_in_file: int | None = None

    def problem(self, kind: ProblemKind, file: str | None, line: int | None, text: str) -> None:
        """Count a fault, and list it if there is room."""
        self.problem_count += 1
        if len(self.problems) < LISTED_AT_MOST:
            self.problems.append(Problem(kind, file, line, text))

    def file(self, path: Path) -> None:
        """Walk along one day's file."""
        number = 0
        if self._closes and not self._closed:
            text = f"the day ends without the record that closes it, and {path.name} follows"
            self.problem(ProblemKind.NOT_CLOSED, self._file_before, None, text)
        self._closed = False
        self._first_in_file = None
        try:
            for number, line in reading.lines(path):
                self._line(path.name, number, line)
        except OSError as error:
            self.problem(ProblemKind.UNREADABLE_FILE, path.name, None, f"the file cannot be read: {error}")
        else:
            if number == 0:
                text = "the file is empty, while a day's file has at least one record"
                self.problem(ProblemKind.EMPTY_FILE, path.name, None, text)
        self._file_before = path.name

    def end(self) -> None:
        """Judge what should have come and did not."""
        newest = self._due_seq - 1 + self._unsure
        for seq, digest in sorted(self._expect):
            if seq > newest:
                text = f"the trail ends with record {newest}, and it once had record {seq}: its end was cut off"
                self.problem(ProblemKind.CUT_OFF, self._file_before, None, text)
            else:
                text = f"record {seq} once had the hash {digest}, and there is no such record: it was replaced"
                self.problem(ProblemKind.REWRITTEN, None, None, text)

    def _line(self, file: str, number: int, line: bytes) -> None:
        try:
            entry, content = reading.parse(line, file, number)
        except reading.IncompleteLineError as error:
            self._doubt(ProblemKind.INCOMPLETE_LINE, file, number, str(error))
            return
        except reading.NotARecordError as error:
            self._doubt(ProblemKind.NOT_A_RECORD, file, number, str(error))
            return
        self.records += 1
        spelling, digest = _proper(content)
        if digest != entry.hash:
            text = f"the record, {entry.seq} by its own account, was edited: its hash is not that of its content"
            self._doubt(ProblemKind.EDITED, file, number, text)
            return
        self._expect.discard((entry.seq, entry.hash))
        if spelling != line[:-1]:
            text = f"record {entry.seq} is not spelled as records are: somebody wrote the line anew"
            self.problem(ProblemKind.NOT_CANONICAL, file, number, text)
        if entry.at.date() != reading.day_of(file):
            text = f"record {entry.seq} is of {entry.at.date()} and stands in another day's file"
            self.problem(ProblemKind.WRONG_DAY, file, number, text)
        self._close(entry, file, number)
        self._place(entry)

    def _close(self, entry: TrailEntry, file: str, number: int) -> None:
        """Judge a record by whether its day was closed before it, and one that closes a day by what it says."""
        self._first_in_file = self._first_in_file or entry.seq
        if self._closed:
            text = f"record {entry.seq} stands behind the one that closed its day"
            self.problem(ProblemKind.AFTER_CLOSE, file, number, text)
        if entry.event != _CLOSE or entry.document is not None:
            return
        self._closes = self._closed = True
        said = {"day": file.removesuffix(".jsonl"), "first_seq": self._first_in_file, "records": number - 1}
        wrong = [
            f"{name} {entry.data.get(name)!r}, not {value!r}"
            for name, value in said.items()
            if entry.data.get(name) != value
        ]
        if not entry.at.isoformat().endswith(_LAST_MOMENT):
            wrong.append(f"it is of {_shown(entry.at)}, not of the day's last moment")
        if wrong:
            text = f"record {entry.seq} closes its day, but says something else than what is there: {'; '.join(wrong)}"
            self.problem(ProblemKind.WRONG_CLOSE, file, number, text)

    def _doubt(self, kind: ProblemKind, file: str, number: int, text: str) -> None:
        self.problem(kind, file, number, text)
        self._unsure += 1

    def _place(self, entry: TrailEntry) -> None:
        """Judge a record by those before it, and go on from it, unless it is one that came before."""
        seq, due = entry.seq, self._due_seq
        if seq < due:
            text = f"record {seq} stands where record {due} belongs: it was copied or moved"
            self.problem(ProblemKind.OUT_OF_ORDER, entry.file, entry.line, text)
            return
        if seq > due + self._unsure:
            first = due + self._unsure
            missing = f"record {first} is" if seq == first + 1 else f"records {first} to {seq - 1} are"
            between = f", between {self._file_before} and this file" if entry.line == 1 and self._file_before else ""
            text = f"{missing} missing before record {seq}{between}"
            self.problem(ProblemKind.MISSING, entry.file, entry.line, text)
        elif seq == due and entry.previous_hash != self._due_hash:
            text = f"record {seq} does not follow from the one before it: one of the two was replaced"
            self.problem(ProblemKind.BROKEN_LINK, entry.file, entry.line, text)
        if self.last and self.last.at and entry.at < self.last.at:
            text = f"record {seq} is earlier than the one before it, of {_shown(self.last.at)}"
            self.problem(ProblemKind.TIME_BACKWARDS, entry.file, entry.line, text)
        self._due_seq, self._due_hash, self._unsure = seq + 1, entry.hash, 0
        self.last = AuditHead(seq, entry.hash, entry.at)
        self.first = self.first or self.last


def _proper(content: dict[str, Any]) -> tuple[bytes, str]:
    """Return the one spelling that a record with that content has, and the one hash."""
    try:
        hashed = {name: value for name, value in content.items() if name != "hash"}
        spell = _spell_plain if _is_plain(content) else rfc8785.dumps
        return spell(content), hashlib.sha256(spell(hashed)).hexdigest()
    except (ValueError, RecursionError):
        return b"", ""  # no record has such content


def _is_plain(value: object) -> bool:
    """Return whether RFC 8785 spells a value as the standard library does, which is five times as fast.

    It differs in how numbers with a fraction are written, and in the order of names beyond the basic plane.
    """
    match value:
        case dict():
            return all(name.isascii() and _is_plain(each) for name, each in value.items())
        case list():
            return all(map(_is_plain, value))
        case _:
            return not isinstance(value, float)


def _spell_plain(value: object) -> bytes:
    return _PLAIN.encode(value).encode()


def _shown(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
