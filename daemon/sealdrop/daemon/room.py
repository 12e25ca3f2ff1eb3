"""Room on the state directory's file system, so that what was taken over can go on to its end.

A file is copied only if `service.min_free_mib` are free afterwards: the ledger, the audit files and what SignAPI
returns need room too. A file that does not fit waits in inbound; smaller ones may pass it.
"""

import os
import threading
from pathlib import Path

from sealdrop.daemon.troubles import Troubles
from sealdrop.events import EventName

MIN_FREE_FILES = 64  # a document needs a few, the ledger and the audit trail one now and then
SUBJECT = "state_dir"


class Room:
    """What room there is, and who waits for more. Used by all inbound workers."""

    def __init__(self, state_dir: Path, min_free_mib: float, troubles: Troubles) -> None:
        self._state_dir = state_dir
        self._min_free_bytes = int(min_free_mib * (1 << 20))
        self._troubles = troubles
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def lacks(self, need_bytes: int = 0) -> str | None:
        """Return in words what room is missing for ``need_bytes`` more, or None if there is enough.

        Raises:
            OSError: the state directory cannot be looked at.
        """
        if self._min_free_bytes == 0:
            return None
        status = os.statvfs(self._state_dir)
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes - need_bytes < self._min_free_bytes:
            wanted_mib, free_mib = (need_bytes + self._min_free_bytes) / (1 << 20), free_bytes / (1 << 20)
            return f"{free_mib:.0f} MiB are free where {self._state_dir} is, {wanted_mib:.0f} MiB are needed"
        # Some file systems make room for names as they need it, and say that they have none.
        if status.f_files and status.f_favail < MIN_FREE_FILES:
            return f"there is room for only {status.f_favail} more files where {self._state_dir} is"
        return None

    def wanted(self, who: str, why: str) -> None:
        """Say that worker ``who`` waits for room, and why."""
        with self._lock:
            self._waiting.add(who)
            text = f"files wait in their inbound folders until there is room: {why}"
            self._troubles.tell(SUBJECT, text, EventName.DISK_LOW, path=str(self._state_dir), error=why)

    def enough(self, who: str) -> None:
        """Say that worker ``who`` has all the room that it needs."""
        with self._lock:
            self._waiting.discard(who)
            if not self._waiting:
                self._troubles.over(SUBJECT, EventName.DISK_OK, path=str(self._state_dir))
