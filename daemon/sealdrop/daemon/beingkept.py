"""The names of originals that are being kept, and are not on record yet.

Nothing in a processed folder tells whose original a file is. Of two documents of the same content and name, in folders
that keep their originals in one place, the ledger tells once the first is on record. Until then it is told here: else
the second would take the first one's file for its own, put there before a crash, and one file would be kept for two.
"""

import threading
from pathlib import Path

from sealdrop.model import DocumentId


class BeingKept:
    """Who has which name. Used by all workers that keep originals."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[Path, DocumentId] = {}

    def take(self, path: Path, document: DocumentId) -> bool:
        """Return whether the document may have the name ``path``: then no other may, until `release`."""
        with self._lock:
            return self._names.setdefault(path, document) == document

    def release(self, document: DocumentId) -> None:
        """Say that all is on record of the document."""
        with self._lock:
            self._names = {path: each for path, each in self._names.items() if each != document}
