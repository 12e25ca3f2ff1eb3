"""What the sandbox remembers: requests in SQLite, their contents in files beside it.

How a seal is put on record, in this order, so that a sandbox killed anywhere never seals a request twice:

1. the sign call commits ``SIGN_IN_PROGRESS``;
2. the sealed PDF is computed in memory. Killed here, nothing was made; it is computed again after the restart;
3. it is written as a file, whole or not at all. **From here on the seal exists**: after a restart the file is taken
   as it is, nothing is computed again;
4. its line goes to ``seals.jsonl``, unless there is one already;
5. ``SIGNED`` is committed, and only now can anybody learn of the seal.

A deposit likewise: its identifier is committed with ``ARCHIVE_IN_PROGRESS``, then the file is put into the archive,
then the line written, then ``ARCHIVED`` committed. Each step may be repeated, none can be made twice.

Moves are guarded by the status they start from, so two sign calls at once start one seal.
"""

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import RLock

from sealdrop.sandbox import files
from sealdrop.sandbox.documents import NewDocument
from sealdrop.sandbox.errors import UnknownRequest
from sealdrop.sandbox.faults import Fault

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    external_id TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    description TEXT NOT NULL,
    archivers TEXT NOT NULL,
    archive_ids TEXT NOT NULL DEFAULT '[]',
    sha256 TEXT NOT NULL,
    sealed_at TEXT,
    sealed_sha256 TEXT,
    fault TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS requests_external_id ON requests (external_id);
CREATE INDEX IF NOT EXISTS requests_status ON requests (status);
"""


class Status(StrEnum):
    """The statuses that the sandbox gives (signapi.md knows more)."""

    SIGN_CREATED = "SIGN_CREATED"
    SIGN_IN_PROGRESS = "SIGN_IN_PROGRESS"
    SIGNED = "SIGNED"
    SIGN_FAILED = "SIGN_FAILED"
    ARCHIVE_IN_PROGRESS = "ARCHIVE_IN_PROGRESS"
    ARCHIVED = "ARCHIVED"
    ARCHIVE_FAILED = "ARCHIVE_FAILED"


@dataclass(frozen=True, slots=True)
class Request:
    """A signature request; ``archive_ids`` stand in the order of ``archivers``, once they are known."""

    id: str
    external_id: str | None
    status: Status
    reason: str | None
    description: str
    archivers: tuple[str, ...]
    archive_ids: tuple[str, ...]
    sha256: str
    sealed_at: datetime | None
    sealed_sha256: str | None
    fault: Fault | None


class Store:
    """The memory in ``folder``, with the archive in ``archive``; safe to share between threads."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self._contents, self._sealed, self._archive = folder / "contents", folder / "sealed", archive
        for place in (self._contents, self._sealed, self._archive):
            place.mkdir(parents=True, exist_ok=True)
        self._lock = RLock()
        self._database = sqlite3.connect(folder / "requests.db", check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        self._forget_strays()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def add(self, documents: Sequence[NewDocument]) -> list[Request]:
        """Remember ``documents``, all or none, each as a request of its own; return them in order."""
        identifiers = [secrets.token_hex(12) for _ in documents]
        for identifier, document in zip(identifiers, documents, strict=True):
            files.write(self._contents / identifier, document.content)
        with self._transaction() as database:
            for identifier, document in zip(identifiers, documents, strict=True):
                database.execute(
                    "INSERT INTO requests (id, external_id, status, description, archivers, sha256)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        identifier,
                        document.external_id,
                        Status.SIGN_CREATED,
                        document.description,
                        json.dumps(document.archivers),
                        hashlib.sha256(document.content).hexdigest(),
                    ),
                )
        return [self.get(identifier) for identifier in identifiers]

    def get(self, identifier: str) -> Request:
        """Return the request ``identifier``.

        Raises:
            UnknownRequest: there is none.
        """
        return self._one("id = ?", identifier)

    def get_external(self, external_id: str) -> Request:
        """Return the newest request with this externalSignatureRequestId (nothing makes it unique).

        Raises:
            UnknownRequest: there is none.
        """
        return self._one("external_id = ?", external_id)

    def search(self, statuses: Sequence[str]) -> list[Request]:
        """Return the requests in any of ``statuses``, or all if there are none given, oldest first."""
        query = "SELECT * FROM requests"
        if statuses:
            query += f" WHERE status IN ({', '.join('?' * len(statuses))})"
        with self._lock:
            rows = self._database.execute(f"{query} ORDER BY position", tuple(statuses)).fetchall()
        return [_request(row) for row in rows]

    def start(self, faults: Mapping[str, Fault | None]) -> None:
        """Commit that these requests are being sealed, all or none, each with the fault that is to spoil it."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE requests SET status = ?, fault = ? WHERE id = ? AND status = ?",
                [
                    (
                        Status.SIGN_IN_PROGRESS,
                        None if fault is None else fault.to_json(),
                        identifier,
                        Status.SIGN_CREATED,
                    )
                    for identifier, fault in faults.items()
                ],
            )

    def fail(self, identifier: str, before: Status, after: Status, reason: str) -> Request:
        """Commit that the request failed."""
        return self._update(identifier, before, status=after, reason=reason)

    def content(self, identifier: str) -> bytes:
        """Return the document as it came in."""
        return (self._contents / identifier).read_bytes()

    def sealed(self, identifier: str) -> bytes:
        """Return the sealed document."""
        return (self._sealed / identifier).read_bytes()

    def has_sealed(self, identifier: str) -> bool:
        """Return whether the seal exists, on record or not."""
        return (self._sealed / identifier).exists()

    def keep_sealed(self, identifier: str, content: bytes) -> None:
        """Make the seal exist (step 3)."""
        files.write(self._sealed / identifier, content)

    def sealed_evidence(self, identifier: str) -> tuple[datetime, str]:
        """Return when the existing seal was made, and its SHA-256; the same whenever it is asked."""
        path = self._sealed / identifier
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC), digest

    def finish_seal(self, identifier: str) -> Request:
        """Commit that the existing seal is done (step 5)."""
        moment, digest = self.sealed_evidence(identifier)
        return self._update(
            identifier,
            Status.SIGN_IN_PROGRESS,
            status=Status.SIGNED,
            sealed_at=moment.isoformat(timespec="milliseconds"),
            sealed_sha256=digest,
        )

    def start_archive(self, identifier: str, archive_ids: Sequence[str]) -> Request:
        """Commit that the sealed document is being deposited, under these identifiers."""
        return self._update(
            identifier, Status.SIGNED, status=Status.ARCHIVE_IN_PROGRESS, archive_ids=json.dumps(archive_ids)
        )

    def deposit(self, identifier: str, archive_id: str) -> None:
        """Make sure that the archive holds the sealed document as ``archive_id``.pdf."""
        files.write(self._archive / f"{archive_id}.pdf", self.sealed(identifier))

    def finish_archive(self, identifier: str) -> Request:
        """Commit that the deposits are done."""
        return self._update(identifier, Status.ARCHIVE_IN_PROGRESS, status=Status.ARCHIVED)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _update(self, identifier: str, before: Status, **columns: str | None) -> Request:
        """Change the request if it still has the status ``before``; return it as it is then."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        with self._transaction() as database:
            database.execute(
                f"UPDATE requests SET {changes} WHERE id = ? AND status = ?",  # noqa: S608 - the names are ours
                (*columns.values(), identifier, before),
            )
        return self.get(identifier)

    def _one(self, condition: str, value: str) -> Request:
        with self._lock:
            row = self._database.execute(
                f"SELECT * FROM requests WHERE {condition} ORDER BY position DESC LIMIT 1",  # noqa: S608 - ours
                (value,),
            ).fetchone()
        if row is None:
            raise UnknownRequest("no such signature request")
        return _request(row)

    def _forget_strays(self) -> None:
        """Remove what a killed sandbox left half done: contents of which no request was committed."""
        known = {request.id for request in self.search(())}
        for place in (self._contents, self._sealed, self._archive):
            for path in place.iterdir():
                half_written = path.name.startswith(files.TEMPORARY_PREFIX)
                if half_written or (place is self._contents and path.name not in known):
                    path.unlink()


def _request(row: sqlite3.Row) -> Request:
    fault = row["fault"]
    return Request(
        id=row["id"],
        external_id=row["external_id"],
        status=Status(row["status"]),
        reason=row["reason"],
        description=row["description"],
        archivers=tuple(json.loads(row["archivers"])),
        archive_ids=tuple(json.loads(row["archive_ids"])),
        sha256=row["sha256"],
        sealed_at=row["sealed_at"] and datetime.fromisoformat(row["sealed_at"]),
        sealed_sha256=row["sealed_sha256"],
        fault=fault and Fault.parse(json.loads(fault), ""),
    )
