"""What is looked up now and then: where documents are, what is wrong, what room is left.

The figures are gathered in the background and handed to whoever asks as they were then, so that a scrape waits for
nothing: not for a ledger that is busy, not for a share that hangs. Each kind of figure is gathered by itself; one that
cannot be had is left out, and its age tells.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sealdrop.model import Hold, State
from sealdrop.signapi.certificates import Validity
from sealdrop.threads import NamedThread

DISK_PATIENCE_S = 2.0  # for all places together; who takes longer is left out, and asked again when it has answered

# A folder's name, or none for the state directory, and which of its places.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """What the ledger says: documents by folder and state, since when the oldest waits, the trail's two heads.

    ``oldest_waiting`` leaves out those that wait on purpose, which ``held`` counts by folder and reason. ``quotas``
    has, for each folder with a daily quota, how many documents were sent today, and how many may be.
    """

    documents: Mapping[str, Mapping[State, int]]
    oldest_waiting: Mapping[str, datetime]
    held: Mapping[tuple[str, Hold], int]
    quotas: Mapping[str, tuple[int, int]]
    head_seq: int
    flushed_seq: int


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a file system; ``files`` is None where it does not count them."""

    free_bytes: int
    size_bytes: int
    files: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was gathered at one moment; ``ledger`` may be older, or None before the first look at it."""

    at: datetime
    ledger: LedgerFigures | None
    ledger_at: datetime | None
    unclaimed_s: Mapping[str, float]
    out_of_reach: Mapping[tuple[str, str], bool]
    certificates: Mapping[str, Sequence[Validity]]
    troubles: int
    rooms: Mapping[Place, Room] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from. All but ``ledger`` answer at once.

    ``ledger`` may raise Retryable. ``unclaimed_s`` is the age of each folder's oldest file that waits to be taken,
    ``out_of_reach`` tells for account and operation whether it counts as out of reach, ``places`` are the folders to
    measure.
    """

    ledger: Callable[[], LedgerFigures]
    unclaimed_s: Callable[[], Mapping[str, float]]
    out_of_reach: Callable[[], Mapping[tuple[str, str], bool]]
    certificates: Callable[[], Mapping[str, Sequence[Validity]]]
    troubles: Callable[[], int]
    places: Mapping[Place, Path]


class Rooms:
    """Measures file systems, each in a thread of its own, since a share that hangs never answers."""

    def __init__(self, places: Mapping[Place, Path]) -> None:
        self._places = places
        self._asking: dict[Place, threading.Thread] = {}
        self._found: dict[Place, Room] = {}

    def look(self, patience_s: float = DISK_PATIENCE_S) -> Mapping[Place, Room]:
        """Return what is left in the places that answer in time."""
        asked = []
        for name, path in self._places.items():
            known = self._asking.get(name)
            if known is not None and known.is_alive():
                continue  # it hangs since the last look, or longer
            self._found.pop(name, None)
            thread = NamedThread(self._measure, "room " + "/".join(name), (name, path))
            self._asking[name] = thread
            thread.start()
            asked.append((name, thread))
        each_s = patience_s / max(len(asked), 1)
        for _, thread in asked:
            thread.join(each_s)
        return {name: self._found[name] for name, thread in asked if not thread.is_alive() and name in self._found}

    def _measure(self, name: Place, path: Path) -> None:
        try:
            status = os.statvfs(path)
        except OSError:
            return  # it is gone, which is a trouble by itself
        # Some file systems make room for names as they need it, and count none.
        files = status.f_favail if status.f_files else None
        self._found[name] = Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, files)
