"""The sandbox's truth about how often it sealed and deposited: one JSON line for each, appended once, never changed.

A line is written with one call and fsynced before anybody can learn of the seal. A line that was cut short (only a
power cut can do that) has no newline; it is removed when the record is opened, so that it is written again whole.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from sealdrop.sandbox import files


@dataclass(frozen=True, slots=True)
class Entry:
    """One seal or one deposit.

    ``sha256`` is that of the document that came in, ``sealed_sha256`` that of the stored sealed one. In the record of
    seals ``archive_id`` and ``archiver`` are None, and there are no ``keywords``, which index a deposit.
    """

    time: datetime
    external_id: str | None
    request_id: str
    sha256: str
    sealed_sha256: str
    archive_id: str | None = None
    archiver: str | None = None
    keywords: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str | None]:
        """What there must be one line of: the request, or the deposit."""
        return self.request_id, self.archive_id

    def to_line(self) -> bytes:
        """Return the line, newline included."""
        content: dict[str, object] = {
            "time": self.time.isoformat(timespec="milliseconds"),
            "externalSignatureRequestId": self.external_id,
            "signatureRequestId": self.request_id,
            "sha256": self.sha256,
            "archiveId": self.archive_id,
            "archiverName": self.archiver,
            "sealedSha256": self.sealed_sha256,
        }
        if self.archive_id is not None:
            content["keywords"] = self.keywords
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Entry":
        """Return the entry that `to_line` wrote."""
        content: Mapping[str, Any] = json.loads(line)
        return cls(
            time=datetime.fromisoformat(content["time"]),
            external_id=content["externalSignatureRequestId"],
            request_id=content["signatureRequestId"],
            sha256=content["sha256"],
            sealed_sha256=content["sealedSha256"],
            archive_id=content["archiveId"],
            archiver=content["archiverName"],
            keywords=tuple(content.get("keywords", ())),
        )


def read(path: Path) -> tuple[Entry, ...]:
    """Return the whole lines of the record at ``path``, oldest first; nothing if there is none yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    return tuple(Entry.from_line(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n"))


class Record:
    """The record at ``path``, open for appending by this process alone; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        files.fsync_folder(path.parent)
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._fd, whole)
        os.fsync(self._fd)
        self._known = {entry.key for entry in read(path)}

    def append_once(self, entry: Entry) -> None:
        """Make the line for ``entry`` durable, unless there is one already."""
        with self._lock:
            if entry.key in self._known:
                return
            os.write(self._fd, entry.to_line())
            os.fsync(self._fd)
            self._known.add(entry.key)

    def close(self) -> None:
        """Close the file; nothing is lost by not closing it."""
        os.close(self._fd)
