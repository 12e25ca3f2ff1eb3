"""How long a document waits for what goes with it, and what is then taken over with it.

Companions may come before their document or after it. A document that is complete itself waits:

1. While a companion stands there that cannot be taken whatever it holds (a link, a file that may not be read, or that
   is far too large): its own notice says what is wrong with it, and sealing the document without it is not what its
   sender wants. So it does while somebody holds the companion so that it cannot be opened.
2. For the incomplete time, if a companion that is required is not there, or one that is there makes no sense yet: it
   may still be being written.
3. For the settle time, if one that is optional is not there: who copies two files at once copies one of them first.
4. For the incomplete time, if its content is not what its checksum file says: either may still be being written.

Each time begins anew when any of them changes. Then the document is taken over with what is there, for better or
worse: validation has the last word.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sealdrop.config import Folder
from sealdrop.daemon.standing import Standing
from sealdrop.model import Companion, CompanionKind, DocumentId, FileIdentity, Reason, Sha256
from sealdrop.pipeline import companions, intake
from sealdrop.pipeline.companions import Seen
from sealdrop.pipeline.intake import NotTaken
from sealdrop.pipeline.watch import OVERDUE
from sealdrop.spool import Spool


@dataclass(frozen=True, slots=True)
class Beside:
    """The companions that stand beside a document and are to be taken over with it."""

    found: Mapping[CompanionKind, FileIdentity]
    expected: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class _Wait:
    """Since when (monotonic seconds) a document and its companions have looked as they do; whether they disagree."""

    looks: tuple[FileIdentity | NotTaken | None, ...]
    since: float
    disagree: bool = False


class Companions:
    """The companions in one inbound folder. Used by one thread."""

    def __init__(self, folder: Folder, spool: Spool, standing: Standing) -> None:
        self._folder = folder
        self._inbound = folder.inbound
        self._spool = spool
        self._standing = standing
        self._kinds = tuple(kind for kind in CompanionKind if folder.rule_for(kind) != "ignore")
        self._waiting: dict[Path, _Wait] = {}

    def document_of(self, path: Path) -> Path | None:
        """Return where the document stands, or would, that the file is a companion of; None if it is none here."""
        return companions.document_of(path, self._folder)

    def look(
        self, path: Path, seen: FileIdentity, now: float, *, tell: Callable[[Path, NotTaken | None], None]
    ) -> Beside | float:
        """Return what is to be taken over with the complete document at ``path``, or how long to wait (seconds).

        ``tell`` is called with each companion's path and why it keeps the document waiting, or None.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self._kinds or not companions.may_have_companions(path.name):
            return Beside({})
        views = {kind: self._look_at(companions.companion_of(path, kind), kind) for kind in self._kinds}
        looks = (seen, *((view.unfit or view.identity) if view else None for view in views.values()))
        known = self._waiting.get(path)
        if known is None or known.looks != looks:
            known = _Wait(looks, now)
        patience_s = max(self._patience_s(*each) for each in views.items())
        if known.disagree:
            patience_s = max(patience_s, self._folder.incomplete_s)
        self._waiting[path] = known
        for kind, view in views.items():
            beside = companions.companion_of(path, kind)
            tell(beside, self._keeps_waiting(beside, view, now - known.since))
        if now - known.since < patience_s:
            return min(known.since + patience_s - now, self._folder.incomplete_s)
        found = {kind: view.identity for kind, view in views.items() if view is not None and view.identity is not None}
        expected = views.get(CompanionKind.CHECKSUM)
        said = expected.said if expected is not None else None
        return Beside(found, Sha256(said) if isinstance(said, str) else None)

    def _keeps_waiting(self, path: Path, view: Seen | None, waited_s: float) -> NotTaken | None:
        """Return why a companion keeps its document waiting as long as it stands there like that, if it does."""
        if view is None:
            return None
        if view.is_held and waited_s >= self._folder.incomplete_s * OVERDUE:
            return NotTaken(
                str(path), Reason.FILE_CHANGED, "a program has held it for a long time, and nobody may read it"
            )
        return view.unfit

    def _look_at(self, path: Path, kind: CompanionKind) -> Seen | None:
        view = companions.look_at(self._inbound, path, kind)
        if view is None or view.identity is None or view.unfit is not None or view.is_held:
            return view
        # An earlier document's, which could not be removed with it, is none of this one.
        return None if self._standing.recognises(path, view.identity) else view

    def _patience_s(self, kind: CompanionKind, view: Seen | None) -> float:
        if view is None:
            required = self._folder.rule_for(kind) == "required"
            return self._folder.incomplete_s if required else self._folder.settle_s
        if view.unfit is not None or view.is_held:
            return math.inf
        return self._folder.incomplete_s if view.is_unfinished else 0.0

    def take(
        self, path: Path, document: DocumentId, beside: Beside, *, check: Callable[[], None]
    ) -> tuple[Companion, ...] | None:
        """Copy the companions into the document's spool folder, as `intake.take` does; None if one has changed or gone.

        Raises:
            OSError: a copy could not be written.
        """
        taken = []
        for kind, identity in beside.found.items():
            copy = self._spool.companion(document, kind)
            companion = companions.companion_of(path, kind)
            outcome = intake.take(self._inbound, companion, copy, seen=identity, check=check)
            if not isinstance(outcome, intake.Taken):
                return None
            taken.append(Companion(kind, outcome.identity, outcome.sha256))
        return tuple(taken)

    def must_wait(self, path: Path, beside: Beside, copied: Sha256, now: float) -> bool:
        """Whether the copy is not what the checksum file says, and either may still be being written."""
        if beside.expected in (None, copied):
            return False
        known = self._waiting[path]
        self._waiting[path] = replace(known, disagree=True)
        return now - known.since < self._folder.incomplete_s

    def forget(self, path: Path) -> None:
        """Drop what is known of a document that was taken over."""
        self._waiting.pop(path, None)

    def keep_only(self, paths: Collection[Path]) -> None:
        """Drop what is known of all documents but these."""
        self._waiting = {path: wait for path, wait in self._waiting.items() if path in paths}
