"""Room on the state directory's file system, so that what was taken over can go on to its end.

A file is copied only if `service.min_free_mib` are free afterwards: the ledger, the audit files and what SignAPI
returns need room too. A file that does not fit waits in inbound; smaller ones may pass it.
"""

import os
import threading
from pathlib import Path

from sealdrop.checks.space import lack
from sealdrop.daemon.troubles import Troubles
from sealdrop.events import EventName

SUBJECT = "state_dir"


class Room:
    """What room there is, and who waits for more. Used by all inbound workers."""

    def __init__(self, state_dir: Path, min_free_mib: float, troubles: Troubles) -> None:
        self._state_dir = state_dir
        self._min_free_mib = min_free_mib
        self._troubles = troubles
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def lacks(self, need_bytes: int = 0) -> str | None:
        """Return in words what room is missing for ``need_bytes`` more, or None if there is enough.

        Raises:
            OSError: the state directory cannot be looked at.
        """
        if self._min_free_mib == 0:
            return None
        status = os.statvfs(self._state_dir)
        # Some file systems make room for names as they need it, and say that they have none.
        free_files = status.f_favail if status.f_files else -1
        free_bytes = status.f_bavail * status.f_frsize
        return lack(
            free_bytes, free_files, min_free_mib=self._min_free_mib, place=self._state_dir, need_bytes=need_bytes
        )

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
