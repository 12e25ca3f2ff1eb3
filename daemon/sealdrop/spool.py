"""Where the durable copies stand between taking over and delivering.

``spool/<last two digits of the ID>/<ID>/original.pdf``, beside it what came with it (``sidecar.json``,
``checksum.sha256``), and ``sealed-<digest>.pdf`` once the service has sealed it: named by its content, so that a late
answer to a worker that lost its lease cannot replace what was recorded. A folder without a ledger row is what a crash
left before the row was committed, or what a restored ledger has forgotten.
"""

import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealdrop.durable import fsync_folder
from sealdrop.model import CompanionKind, DocumentId, Sha256

_DOCUMENT_ID = re.compile(r"[0-9]{8}-[0-9a-f]{16}")


def is_document_id(name: str) -> bool:
    """Return whether ``name`` has the form of a document's ID: names in folders are given by anybody."""
    return _DOCUMENT_ID.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool below ``root``; every path in it follows from a document's ID."""

    root: Path
    # The folders right below the root that this process knows to be durable: nobody ever removes them.
    _durable: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def folder(self, document: DocumentId) -> Path:
        """Return the folder that holds all of one document's files."""
        return self.root / document[-2:] / document

    def original(self, document: DocumentId) -> Path:
        """Return the path of the durable copy of what was dropped."""
        return self.folder(document) / "original.pdf"

    def companion(self, document: DocumentId, kind: CompanionKind) -> Path:
        """Return the path of the durable copy of what was dropped with it."""
        return self.folder(document) / f"{kind}{kind.suffix}"

    def companions(self, document: DocumentId) -> Mapping[CompanionKind, Path]:
        """Return the copies of its companions that stand here."""
        copies = {kind: self.companion(document, kind) for kind in CompanionKind}
        return {kind: copy for kind, copy in copies.items() if copy.exists()}

    def answer(self, document: DocumentId) -> Path:
        """Return a new path for what the service is about to return."""
        return self.folder(document) / f"answer-{secrets.token_hex(8)}.pdf"

    def sealed(self, document: DocumentId, sha256: Sha256 | None) -> Path:
        """Return the path of what the service returned; without a digest there is nothing at it."""
        return self.folder(document) / f"sealed-{(sha256 or 'none')[:16]}.pdf"

    def make(self, document: DocumentId) -> Path:
        """Create the document's folder and return it; it is durable once `make_durable` has returned."""
        folder = self.folder(document)
        above = folder.parent
        if above.name not in self._durable:
            above.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def make_durable(self, documents: Collection[DocumentId]) -> None:
        """Make the documents' folders durable, and all the names in them: each folder is flushed once.

        Not what the files hold.
        """
        folders = [self.folder(document) for document in documents]
        for folder in folders:
            fsync_folder(folder)
        above = {folder.parent for folder in folders}
        for each in above:
            fsync_folder(each)
        # Whoever made one, an instant ago or before a crash, may not have come to make it durable.
        new = {each.name for each in above} - self._durable
        if new:
            fsync_folder(self.root)
            self._durable.update(new)

    def remove(self, document: DocumentId) -> None:
        """Remove all of the document's files; it is no fault if there are none.

        Not durably: what a power cut brings back, the next start clears, as it clears what a crash has left.
        """
        folder = self.folder(document)
        if folder.exists():
            shutil.rmtree(folder)

    def documents(self) -> Iterator[DocumentId]:
        """Yield the IDs that have a folder here; anything else that lies here is none of our business."""
        for folder in self.root.glob("??/*"):
            if is_document_id(folder.name) and folder == self.folder(DocumentId(folder.name)):
                yield DocumentId(folder.name)
