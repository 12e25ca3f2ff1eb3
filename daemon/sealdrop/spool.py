"""Where the durable copies stand between taking over and delivering.

``spool/<last two digits of the ID>/<ID>/original.pdf``, and ``sealed.pdf`` once the service has sealed it. A folder
without a ledger row is the trace of a crash before the row was committed: its original still stands in inbound.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealdrop.durable import fsync_folder, make_folder
from sealdrop.model import DocumentId


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool below ``root``; every path in it follows from a document's ID."""

    root: Path

    def folder(self, document: DocumentId) -> Path:
        """Return the folder that holds all of one document's files."""
        return self.root / document[-2:] / document

    def original(self, document: DocumentId) -> Path:
        """Return the path of the durable copy of what was dropped."""
        return self.folder(document) / "original.pdf"

    def sealed(self, document: DocumentId) -> Path:
        """Return the path of what the service returned."""
        return self.folder(document) / "sealed.pdf"

    def make(self, document: DocumentId) -> Path:
        """Create the document's folder, durably, and return it."""
        folder = self.folder(document)
        make_folder(folder, mode=0o700)
        return folder

    def remove(self, document: DocumentId) -> None:
        """Remove all of the document's files; it is no fault if there are none."""
        folder = self.folder(document)
        if folder.exists():
            shutil.rmtree(folder)
            fsync_folder(folder.parent)

    def documents(self) -> Iterator[DocumentId]:
        """Yield the IDs that have a folder here."""
        for shard in self.root.iterdir():
            if shard.is_dir():
                yield from (DocumentId(folder.name) for folder in shard.iterdir())
