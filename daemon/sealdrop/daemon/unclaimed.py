"""Copies in the spool that no ledger row stands for.

Two things leave them: a crash between a copy and its row, after which the original still stands in inbound and is
taken over anew; and a ledger that was put back from a backup, after which the copy may be all that is left of a
document. So such a copy is kept until the same content has been taken over, and is told of until then.
"""

import threading
from collections.abc import Callable

from sealdrop.durable import hash_file
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.model import DocumentId, Sha256
from sealdrop.spool import Spool


class Unclaimed:
    """The copies that were found at the start; used by all inbound workers."""

    def __init__(self, spool: Spool, ledger: Ledger, log: Log) -> None:
        self._spool = spool
        self._ledger = ledger
        self._log = log
        self._lock = threading.Lock()
        self._found: dict[Sha256, list[DocumentId]] = {}

    def clear_spool(self, told: Callable[[int], None] = lambda _: None) -> None:
        """Remove the copies that nobody needs any more, and take note of those that nobody claims.

        ``told`` is called before each copy, with the number of those that were looked at.
        """
        removed = 0
        for number, document_id in enumerate(self._spool.documents()):
            told(number)
            document = self._ledger.get(document_id)
            original = self._spool.original(document_id)
            if document is None and original.exists():
                self._keep(document_id)
            elif document is None or document.due_at is None:
                self._spool.remove(document_id)
                removed += 1
        if removed:
            self._log.info(EventName.SPOOL_CLEANED, documents=removed)

    def _keep(self, document_id: DocumentId) -> None:
        original = self._spool.original(document_id)
        _, sha256 = hash_file(original)
        if self._ledger.knows_content(sha256):
            self._spool.remove(document_id)
            return
        self._found.setdefault(sha256, []).append(document_id)
        self._log.warning(EventName.SPOOL_UNCLAIMED, path=str(original), sha256=sha256)

    def taken_over(self, sha256: Sha256) -> None:
        """Remove the copies of a content that has just been put on record."""
        with self._lock:
            documents = self._found.pop(sha256, [])
        for document_id in documents:
            self._spool.remove(document_id)
