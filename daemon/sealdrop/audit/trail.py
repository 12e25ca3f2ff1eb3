"""The audit trail's files: one a UTC day, ``YYYY-MM-DD.jsonl``, one record a line. One process writes them.

Rules:

- A record stands in the file of the day of its own ``at``. Days only go forward, so only the newest file grows, and
  that only until the record that closes its day.
- Appending is idempotent: what is given starts somewhere in the files, or at their end; from there on, what the files
  hold must be the beginning of what is given. The rest is then there, durably. Recovery after a crash is the same
  call with the same records.
- Nothing is ever removed or replaced by something else. Half a line at the end, left by a crash, is completed when
  the record given is the one that it begins; anything else that does not fit stops the daemon.
- What is given is written in full, even where the files hold it already, for a write that was never flushed, or
  whose flush failed, looks the same as one that reached the disk. Writing the same bytes again makes the flush mean it.
- Each day's file is durable before the next day's is created.

If we crash after creating a file: an empty one. While writing: some whole lines and the beginning of one. After
writing, before the flush: the same, once power is lost. In each case the caller, who was not told that its records
are durable, gives them again.
"""

import errno
import os
import re
import threading
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import BinaryIO, Self

from sealdrop.audit import chain
from sealdrop.durable import fsync_folder, make_folder
from sealdrop.errors import Fatal, Retryable, TrailBroken
from sealdrop.model import GENESIS, AuditHead, AuditRecord, end_of_day

_DAY_FILE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl")
_CHUNK_BYTES = 1 << 16
_ADVICE = "the audit trail cannot be continued. Run `sealdrop audit verify` and find out who changed it"

# Room, descriptors or a disk's good will may come back; the records are still in the ledger.
_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.ESTALE}
)


class Trail:
    """The files in one directory, to append to. Threads may share it; other processes may only read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._known = False
        self._head = GENESIS
        self._ended_with: str | None = None
        self._newest: Path | None = None
        self._end = 0  # of the newest file's last whole line, in bytes

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Return the trail in ``directory``, which is created for its owner only if it is missing.

        Raises:
            TrailBroken: the files do not end in a record.
            Retryable: they cannot be read now.
        """
        trail = cls(directory)
        try:
            make_folder(directory, mode=0o700)
            last = trail._load()
        except OSError as error:
            raise _in_our_words(error) from error
        trail._ended_with = None if last is None else chain.event_of(last)
        return trail

    def head(self) -> AuditHead:
        """Return the newest record in the files, a half-written one aside.

        It may not be durable yet: only what `append` returned is.
        """
        return self._head

    def ended_with(self) -> str | None:
        """Return the event of the record that was the newest when the files were opened, None if there was none."""
        return self._ended_with

    def append(self, records: Sequence[AuditRecord]) -> AuditHead:
        """Have the files durably hold ``records``, which follow each other; return the newest record there.

        One flush for each day's file that is touched.

        Raises:
            Retryable: the files cannot be written now; give the same records again.
            TrailBroken: what the files hold does not fit.
        """
        for before, after in pairwise(records):
            _check_follows(after, AuditHead(before.seq, before.hash))
        with self._lock:
            try:
                if not self._known:
                    self._load()
                # If anything below fails, the files may have more or less than we believed.
                self._known = False
                for path, group in groupby(records, key=self._path):
                    self._write(path, tuple(group))
                self._known = True
            except OSError as error:
                raise _in_our_words(error) from error
            return self._head

    def _path(self, record: AuditRecord) -> Path:
        return self._directory / f"{record.at:%Y-%m-%d}.jsonl"

    def _load(self) -> AuditRecord | None:
        """Find the newest whole line: in the newest file, or, if a crash left that without one, in the one before."""
        record: AuditRecord | None = None
        files = sorted(path for path in self._directory.iterdir() if _DAY_FILE.fullmatch(path.name))
        self._newest, self._end, self._head = None, 0, GENESIS
        for path in reversed(files[-2:]):
            last = next(_whole_lines_backwards(path), None)
            if self._newest is None:
                self._newest, self._end = path, 0 if last is None else last[0]
            if last is not None:
                record = _read(path, last[1])
                self._head = AuditHead(record.seq, record.hash, record.at)
                break
        else:
            if len(files) > 1:
                raise TrailBroken(f"neither {files[-2]} nor {files[-1].name} holds a whole record: {_ADVICE}")
        # A crash may have come between the creation of a file and its name's being durable.
        fsync_folder(self._directory)
        self._known = True
        return record

    def _write(self, path: Path, records: Sequence[AuditRecord]) -> None:
        content = b"".join(record.line.encode() + b"\n" for record in records)
        start = self._place(path, records[0])
        created = self._newest is None or path > self._newest
        create = os.O_CREAT | os.O_EXCL if created else 0
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | create, 0o600)
        try:
            size = os.fstat(file).st_size
            found = os.pread(file, len(content), start)
            if (
                size < start
                or not content.startswith(found)
                or (path != self._newest and not created and found != content)
            ):
                raise TrailBroken(
                    f"{path} does not hold record {records[0].seq} as the ledger knows it, or holds something else "
                    f"at byte {start}: {_ADVICE}"
                )
            written = 0
            while written < len(content):
                written += os.pwrite(file, content[written:], start + written)
            os.fsync(file)
        finally:
            os.close(file)
        if created:
            fsync_folder(self._directory)
        if records[-1].seq > self._head.seq:
            self._head = AuditHead(records[-1].seq, records[-1].hash, records[-1].at)
            self._newest, self._end = path, start + len(content)

    def _place(self, path: Path, first: AuditRecord) -> int:
        """Return the byte of ``path`` at which ``first`` stands, or belongs."""
        if first.seq <= self._head.seq:
            for end, line in _whole_lines_backwards(path):
                if _read(path, line).seq < first.seq:
                    return end
            return 0
        _check_follows(first, self._head)
        if path == self._newest:
            if self._head.at is not None and self._head.at == end_of_day(self._head.at):
                raise TrailBroken(f"record {first.seq} belongs into {path}, and that day is closed: {_ADVICE}")
            return self._end
        if self._newest is not None and (path < self._newest or self._newest.stat().st_size != self._end):
            raise TrailBroken(f"record {first.seq} belongs into {path}, but {self._newest} has more in it: {_ADVICE}")
        return 0


def _check_follows(record: AuditRecord, head: AuditHead) -> None:
    if record.seq != head.seq + 1 or chain.previous_hash(record) != head.hash:
        raise TrailBroken(f"record {record.seq} does not follow record {head.seq} ({head.hash[:12]}…): {_ADVICE}")


def _read(path: Path, line: bytes) -> AuditRecord:
    try:
        return chain.read(line.decode())
    except (Fatal, UnicodeDecodeError) as error:
        raise TrailBroken(f"{path} holds a line that cannot be trusted ({error}): {_ADVICE}") from error


def _whole_lines_backwards(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line that has its newline, the last one first, with the byte at which it ends, newline included."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest = b""  # what lies before the earliest newline seen, as far as it was read
        end: int | None = None  # just behind that newline
        while position > 0:
            size = min(_CHUNK_BYTES, position)
            position -= size
            rest = _read_at(file, position, size) + rest
            while (newline := rest.rfind(b"\n")) >= 0:
                if end is not None:
                    yield end, rest[newline + 1 :]
                end = position + newline + 1
                rest = rest[:newline]
            if len(rest) > chain.LONGEST_LINE_BYTES:
                raise TrailBroken(f"{path} holds a line that is longer than any record: {_ADVICE}")
        if end is not None:
            yield end, rest


def _read_at(file: BinaryIO, position: int, size_bytes: int) -> bytes:
    file.seek(position)
    return file.read(size_bytes)


def _in_our_words(error: OSError) -> Retryable | TrailBroken:
    if error.errno in _PASSING:
        return Retryable(f"the audit trail cannot be written now, its records wait in the ledger: {error}")
    return TrailBroken(f"{error}: {_ADVICE}")
