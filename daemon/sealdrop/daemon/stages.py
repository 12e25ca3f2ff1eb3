"""What happens on this machine: validating, verifying, delivering and giving back."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from sealdrop.backoff import Backoff
from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.daemon.jails import Jails
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Fatal, Unrecordable
from sealdrop.events import EventName
from sealdrop.ledger.store import Step
from sealdrop.model import CHECK_REASONS, Document, Finding, Reason, State, Verdict
from sealdrop.pdf.jail import JailedError, JailLimitExceeded
from sealdrop.pipeline.deliver import deliver, give_back
from sealdrop.pipeline.validate import given_up, validate
from sealdrop.pipeline.verify import verify
from sealdrop.spool import Spool

TRY_AGAIN = Backoff(first_s=2.0, longest_s=60.0)
LONGEST = timedelta(seconds=150)  # that one document may take here: 60 s, and waiting for a child
BROKEN_TRIES = 5  # that inspection may break on one document, over half a minute, before its sender is told
UNSPEAKABLE = "what was found in the document cannot be written down as text"


@dataclass(frozen=True, slots=True)
class LocalStages:
    """The stages that need nothing from outside; each method works on claimed documents and records the outcomes."""

    config: Config
    spool: Spool
    jails: Jails
    recorder: Recorder
    troubles: Troubles
    clock: Clock
    rng: random.Random

    def validate(self, documents: Sequence[Document]) -> None:
        """Move ``received`` documents to ``validated`` or ``rejected``."""
        self._each(documents, self._validate)

    def verify(self, documents: Sequence[Document]) -> None:
        """Move ``sealed`` documents to ``verified`` or ``failed``."""
        self._each(documents, self._verify)

    def deliver(self, documents: Sequence[Document]) -> None:
        """Publish ``verified`` documents, and give ``rejected`` and ``failed`` ones back."""
        self._each(documents, self._deliver)

    def _each(self, documents: Sequence[Document], stage: Callable[[Document], Step]) -> None:
        """Run ``stage`` on one document after the other: trouble with one is its own."""
        for document in documents:
            if document.due_at is None or self.clock.now() + LONGEST > document.due_at:
                # The lease could end under our hands: somebody takes it up anew.
                self.recorder.commit([self.recorder.later(document, 0.0)])
                continue
            try:
                step = stage(document)
            except Fatal:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the document must not be lost or block others
                delay_s = TRY_AGAIN.delay_s(document.attempts + 1, self.rng)
                step = self.recorder.later(document, delay_s, error)
            for stored in self._commit(document, step):
                if stored.due_at is None:
                    # If we crash before this, the next start finds a spool folder that nobody needs and clears it.
                    self.spool.remove(stored.id)

    def _commit(self, document: Document, step: Step) -> list[Document]:
        """Record the step; if what was found cannot be written down, that itself is what is wrong with the document."""
        try:
            return self.recorder.commit([step])
        except Unrecordable as error:
            if document.state is State.RECEIVED:
                step = self.recorder.give_up(document, State.REJECTED, Reason.UNREADABLE, UNSPEAKABLE)
            elif document.state is State.SEALED:
                step = self.recorder.give_up(document, State.FAILED, Reason.SEAL_UNREADABLE, UNSPEAKABLE)
            else:
                step = self.recorder.later(document, TRY_AGAIN.longest_s, error)
            return self.recorder.commit([step])

    def _validate(self, document: Document) -> Step:
        folder = self.config.folders[document.folder]
        original, jail = self.spool.original(document.id), self.jails.for_validating(suspects=document.suspect)
        try:
            report = validate(original, folder.validation, jail, suspect=document.suspect)
        except JailLimitExceeded as error:
            return self.recorder.set_apart(document, error)
        except JailedError as error:
            if not self._broke_for_good(document, error):
                raise
            report = given_up(error)
        if report.verdict is Verdict.REJECT:
            cause = report.cause or Finding(Reason.UNREADABLE, "inspection gave no reason")
            return self.recorder.give_up(document, State.REJECTED, cause.code, cause.detail, inspection=report)
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "pages": report.pages,
            "warnings": [finding.code for finding in report.warnings],
        }
        event = EventName.DOCUMENT_VALIDATED
        return self.recorder.move(document, State.VALIDATED, event, fields, inspection=report)

    def _broke_for_good(self, document: Document, error: JailedError) -> bool:
        """Whether trying again is of no use: it broke again and again, last time in the same way, and not the disk."""
        again = document.attempts + 1 >= BROKEN_TRIES and str(error) in (document.last_error or "")
        return again and not error.system

    def _verify(self, document: Document) -> Step:
        account = self.config.accounts[document.account]
        sealed = self.spool.sealed(document.id, document.sealed_sha256)
        jail = self.jails.for_verifying(suspects=document.suspect)
        try:
            report = verify(document, sealed, account, jail, now=self.clock.now())
        except JailLimitExceeded as error:
            return self.recorder.set_apart(document, error)
        except JailedError as error:
            if document.attempts + 1 >= BROKEN_TRIES:
                # It is sealed, so there is no giving up: a person has to see it.
                text = f"document {document.id} cannot be examined here ({error.kind})"
                event, subject = EventName.VERIFICATION_BROKEN, f"verification of {document.id}"
                self.troubles.tell(subject, text, event, document=document.id, error=str(error))
            raise
        self.troubles.over(f"verification of {document.id}", EventName.VERIFICATION_MENDED, document=document.id)
        failure = report.first_failure
        if failure is not None:
            detail = f"{failure.name}: {failure.detail}"
            reason = CHECK_REASONS[failure.name]
            return self.recorder.give_up(document, State.FAILED, reason, detail, verification=report)
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "level": report.level,
            "checks": len(report.checks),
            "sealed_sha256": document.sealed_sha256,
        }
        return self.recorder.move(document, State.VERIFIED, EventName.DOCUMENT_VERIFIED, fields, verification=report)

    def _deliver(self, document: Document) -> Step:
        folder = self.config.folders[document.folder]
        original, sealed = self.spool.original(document.id), self.spool.sealed(document.id, document.sealed_sha256)
        fields: dict[str, JsonValue] = {"folder": document.folder, "name": document.name}
        if document.state is State.VERIFIED:
            name = deliver(document, sealed, folder.outbound, document.level)
            archive_ids: list[JsonValue] = [archived.identifier for archived in document.remote.archive_ids]
            fields |= {"published_name": name, "archive_ids": archive_ids}
            return self.recorder.finish(document, State.DELIVERED, EventName.DOCUMENT_DELIVERED, fields, name)
        target = folder.rejected if document.state is State.REJECTED else folder.failed
        name = give_back(document, original, sealed, target)
        fields |= {"published_name": name, "place": "rejected" if document.state is State.REJECTED else "failed"}
        return self.recorder.finish(document, document.state, EventName.ORIGINAL_RETURNED, fields, name)
