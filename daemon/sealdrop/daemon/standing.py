"""Originals that were taken over and may still stand in their inbound folder: never to be taken a second time.

A document's original is known to be gone only once we have removed it ourselves. That a file is missing proves
nothing: a share may not be mounted yet, and whoever moved the file away may bring it back. So what is missing stays
known, and is recognised wherever it comes up below inbound, by size, modification time and content. Device and inode
numbers are no help: they change when a share is mounted anew, and are given to other files.

An original whose folder is not in the configuration any more stands in another one's inbound if that one has got its
place: somebody gave the folder another name. There it is recognised as well, but only if the inode number agrees, too:
the same file may be dropped into two folders on purpose.

An original is removed only while its copy stands in the spool, or when nothing is left to do for its document.

Its companions are removed before it, so that none of them is left alone when we crash in between, and recognised in the
same way until then, but only where they go with it: under the name that it was taken over by, or beside itself. So what
was one document's sidecar never becomes that of another, which has its name later; and one that was made from the same
template, in the same instant, stays with the document that it was put beside.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from sealdrop.daemon.troubles import Troubles
from sealdrop.durable import hash_file
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.model import CompanionKind, Document, DocumentId, FileIdentity
from sealdrop.pipeline import intake
from sealdrop.pipeline.below import folder_below, open_regular
from sealdrop.pipeline.watch import list_leftovers
from sealdrop.spool import Spool, is_document_id

MAX_STUCK = 1_000  # originals that cannot be removed and are remembered one by one


class Standing:
    """The originals of one inbound folder. Used by one thread."""

    def __init__(self, name: str, inbound: Path, spool: Spool, ledger: Ledger, troubles: Troubles, log: Log) -> None:
        self._name = name
        self._subject = f"folder {name} originals"
        self._troubles = troubles
        # Originals that could not be removed: all that are known of, and those that the present sweep has met.
        self._stuck: set[DocumentId] = set()
        self._met: set[DocumentId] = set()
        self._inbound = inbound
        self._spool = spool
        self._ledger = ledger
        self._log = log
        self._known: dict[tuple[int, int], list[Document]] = {}
        self._known_companions: dict[tuple[int, int], list[Document]] = {}

    def load(self, *, subfolders: bool, folders: Collection[str]) -> None:
        """Take up what was taken over before and perhaps not removed; ``folders`` are all that are configured.

        Also under the name of another folder: one may have been renamed, or two have changed places.

        Raises:
            OSError: the folder cannot be listed.
        """
        self._known.clear()
        self._known_companions.clear()
        names = {self._name, *self._ledger.taken_from(self._inbound)}
        standing = self._ledger.originals_standing(*names) + self._ledger.originals_orphaned(folders)
        for document in {each.id: each for each in standing}.values():
            self._keep(document)
        for aside in list(list_leftovers(self._inbound, subfolders=subfolders)):
            document_id, companion = intake.document_of(aside.name)
            # Anybody can give a file such a name, with anything in it that no ledger can be asked for.
            cut_off = self._ledger.get(document_id) if is_document_id(document_id) else None
            if cut_off is not None and self._may_go(cut_off):
                self._finish_removal(aside, cut_off, companion)

    def remove(self, documents: Sequence[Document]) -> None:
        """Remove the originals of documents that were put on record this instant; remember those that stay."""
        removed = []
        for document in documents:
            self._keep(document)
            try:
                self._remove_companions(document, document.name, document.identity.device)
                removal = intake.remove_original(self._inbound, document.name, document.identity, document.id)
            except OSError as error:
                self._complain(document, error)
                continue
            if removal is intake.Removal.REMOVED:
                removed.append(document)
        # If the power fails before this, what comes back is still known.
        intake.removals_durable(self._inbound, [document.name for document in removed])
        self._forget(removed)

    def _remove_companions(self, document: Document, name: str, device: int) -> None:
        """Remove what stands beside the original, under its own name or the ``name`` it has by now.

        What does not stand there while the original does, on ``device``, has gone.

        Raises:
            OSError: one could not be removed.
        """
        for each in document.companions:
            for beside in dict.fromkeys((document.name, name)):
                path = beside + each.kind.suffix
                identity = replace(each.identity, device=device)  # it gets another number with each mount
                intake.remove_original(self._inbound, path, identity, document.id, each.kind)

    def recognises(self, path: Path, identity: FileIdentity) -> bool:
        """Return whether the file is one that was taken over before; if so, it is removed now if it can be.

        A companion is: then its document stays known until it is gone itself.

        Raises:
            BlockingIOError: somebody holds a lease on it.
            OSError: it cannot be read, or is another file by now.
        """
        document, companion = self._find(path, identity)
        if document is None:
            return False
        if self._may_go(document):
            name = "/".join(path.relative_to(self._inbound).parts)
            try:
                if companion is None:
                    self._remove_companions(document, name, identity.device)
                removal = intake.remove_original(self._inbound, name, identity, document.id, companion)
            except OSError as error:
                self._stays(document, error)
                return True  # logged when it was first tried; it stays recognised
            if removal is intake.Removal.REMOVED:
                intake.removals_durable(self._inbound, [name])
                self._log.info(EventName.ORIGINAL_RECOGNISED, document=document.id, name=name)
                if companion is None:
                    self._forget([document])
        return True

    def sweep_begins(self) -> None:
        """Take note that everything in the folder will be looked at."""
        self._met.clear()

    def sweep_ended(self) -> None:
        """Take note that everything was: an original that was not met has gone, whoever removed it."""
        self._stuck &= self._met
        self._tell_if_all_went()

    def _finish_removal(self, aside: Path, document: Document, kind: CompanionKind | None) -> None:
        name, identity = document.name, document.identity
        if kind is not None:
            name += kind.suffix
            # A file of that name which is none of the document's has no such identity, and gets its name back.
            identity = next((each.identity for each in document.companions if each.kind is kind), identity)
        try:
            removal = intake.finish_removal(aside, name, identity)
        except OSError as error:
            self._complain(document, error)
            return
        if kind is None and removal is intake.Removal.REMOVED:
            self._forget([document])  # durably: the same file may be dropped again from now on

    def _find(self, path: Path, identity: FileIdentity) -> tuple[Document | None, CompanionKind | None]:
        """Return whose original, or which companion of whose, the file is."""
        look = _look(identity)
        alike, beside = self._known.get(look, ()), self._known_companions.get(look, ())
        if not alike and not beside:
            return None, None
        # A file that was put there since may have been given the very inode of the one that is gone.
        relative = path.relative_to(self._inbound)
        with folder_below(self._inbound, relative.parent) as folder, open_regular(relative.name, folder=folder) as file:
            _, sha256 = hash_file(file)
        for document in beside:
            for each in document.companions:
                is_it = each.sha256 == sha256 and self._goes_with(relative, document, each.kind)
                if is_it and self._is_of_here(document, each.identity, identity):
                    return document, each.kind
        for document in alike:
            if document.sha256 == sha256 and self._is_of_here(document, document.identity, identity):
                return document, None
        return None, None

    def _is_of_here(self, document: Document, known: FileIdentity, seen: FileIdentity) -> bool:
        """Whether a file that is like one of the document's is its own: of another folder's, no copy is."""
        if document.folder == self._name:
            return True
        if known != seen:
            return False
        # Whoever has the folder's place may have removed it since, and something new may have got its inode.
        return any(each.id == document.id for each in self._ledger.originals_standing(document.folder))

    def _goes_with(self, relative: PurePath, document: Document, kind: CompanionKind) -> bool:
        """Whether a file stands where the document's companion stood, or beside the document's original."""
        owner = relative.with_name(relative.name.removesuffix(kind.suffix))
        if owner == relative:
            return False
        return owner == PurePath(document.name) or self._is_original(owner, document)

    def _is_original(self, relative: PurePath, document: Document) -> bool:
        """Whether the document's original stands there; one that cannot be read will be recognised when it can."""
        try:
            with folder_below(self._inbound, relative.parent) as folder:
                seen = FileIdentity.of(os.stat(relative.name, dir_fd=folder, follow_symlinks=False))
                if _look(seen) != _look(document.identity):
                    return False
                with open_regular(relative.name, folder=folder) as file:
                    _, sha256 = hash_file(file)
        except OSError:
            return False
        return sha256 == document.sha256

    def _may_go(self, document: Document) -> bool:
        """Whether the document would be safe without this file."""
        copy = self._spool.original(document.id)
        if copy.exists() and copy.stat().st_size == document.size_bytes:
            return True
        known = self._ledger.get(document.id)
        return known is not None and known.due_at is None

    def _keep(self, document: Document) -> None:
        self._known.setdefault(_look(document.identity), []).append(document)
        for each in document.companions:
            self._known_companions.setdefault(_look(each.identity), []).append(document)

    def _forget(self, documents: Sequence[Document]) -> None:
        self._ledger.original_removed([document.id for document in documents])
        self._stuck.difference_update(document.id for document in documents)
        self._tell_if_all_went()
        for document in documents:
            _drop(self._known, document.identity, document)
            for each in document.companions:
                _drop(self._known_companions, each.identity, document)

    def _complain(self, document: Document, error: OSError) -> None:
        self._log.warning(EventName.ORIGINAL_NOT_REMOVED, document=document.id, name=document.name, error=str(error))
        self._stays(document, error)

    def _stays(self, document: Document, error: OSError) -> None:
        if len(self._stuck) < MAX_STUCK:
            self._stuck.add(document.id)
        if len(self._met) < MAX_STUCK:
            self._met.add(document.id)
        what = error.strerror or str(error)
        text = f"{document.name!r} was taken over, but cannot be removed from {self._inbound}: {what}"
        event = EventName.ORIGINALS_STAY
        self._troubles.tell(self._subject, text, event, folder=self._name, path=str(self._inbound), error=what)

    def _tell_if_all_went(self) -> None:
        if not self._stuck:
            event = EventName.ORIGINALS_GONE
            self._troubles.over(self._subject, event, folder=self._name, path=str(self._inbound))


def _look(identity: FileIdentity) -> tuple[int, int]:
    return identity.size_bytes, identity.mtime_ns


def _drop(known: dict[tuple[int, int], list[Document]], identity: FileIdentity, document: Document) -> None:
    look = _look(identity)
    rest = [other for other in known.get(look, ()) if other.id != document.id]
    if rest:
        known[look] = rest
    else:
        known.pop(look, None)
