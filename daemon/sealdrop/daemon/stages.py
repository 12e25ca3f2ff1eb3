"""What happens on this machine: validating, verifying, delivering, giving back, and fetching back for another try."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from sealdrop.backoff import Backoff
from sealdrop.clock import Clock
from sealdrop.config import Config, Duplicates
from sealdrop.daemon import duplicates
from sealdrop.daemon.beingkept import BeingKept
from sealdrop.daemon.hand import Hand, Outcome
from sealdrop.daemon.jails import Jails
from sealdrop.daemon.outlet import Outlet, Unwritable
from sealdrop.daemon.progress import waiting
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.retention import kept_days
from sealdrop.daemon.troubles import VISIBLE_SEALS, Troubles
from sealdrop.durable import naming
from sealdrop.errors import Fatal, Unrecordable
from sealdrop.events import EventName
from sealdrop.ledger.reading import LedgerReader
from sealdrop.ledger.store import Step
from sealdrop.model import (
    CHECK_REASONS,
    CheckName,
    CheckOutcome,
    CompanionKind,
    Document,
    DocumentId,
    Finding,
    Inspection,
    Reason,
    Stamp,
    State,
    Verdict,
    Verification,
)
from sealdrop.pdf.jail import JailedError, JailLimitExceeded
from sealdrop.pipeline.companions import fault_of, missing_of
from sealdrop.pipeline.deliver import Sealed, clear_failed, deliver, fetch_back, give_back, go_together, keep
from sealdrop.pipeline.validate import given_up, validate
from sealdrop.pipeline.verify import verify
from sealdrop.spool import Spool
from sealdrop.visible.settle import OffPage, settle

TRY_AGAIN = Backoff(first_s=2.0, longest_s=60.0)
EARLIER_LOOK = 0.25  # of the time that a document has waited for an earlier one: how long until the next look
EARLIER_LONGEST_S = 600.0  # it is told when the earlier one is at its end; this is for when that was missed
LONGEST = timedelta(seconds=150)  # that one document may take here: 60 s, and waiting for a child
BROKEN_TRIES = 5  # that inspection may break on one document, over half a minute, before its sender is told
UNWRITABLE = Backoff(first_s=1.0, longest_s=8.0)
UNSEEN = frozenset(
    {State.RECEIVED, State.SEALED}
)  # where nothing is published, and outcomes may be held for an instant
UNSPEAKABLE = "what was found in the document cannot be written down as text"


@dataclass(frozen=True, slots=True)
class LocalStages:
    """The stages that need nothing from outside; each method works on claimed documents and records the outcomes."""

    config: Config
    spool: Spool
    jails: Jails
    ledger: LedgerReader
    recorder: Recorder
    outlets: Mapping[tuple[str, State], Outlet]
    troubles: Troubles
    clock: Clock
    rng: random.Random
    being_kept: BeingKept = field(default_factory=BeingKept)

    def validate(self, documents: Sequence[Document]) -> None:
        """Move ``received`` documents to ``validated`` or ``rejected``."""
        self._each(documents, self._validate)

    def verify(self, documents: Sequence[Document]) -> None:
        """Move ``sealed`` documents to ``verified`` or ``failed``."""
        self._each(documents, self._verify)

    def deliver(self, documents: Sequence[Document]) -> None:
        """Publish ``verified`` documents, give ``rejected`` and ``failed`` ones back, fetch ``retrying`` ones again.

        Of ``delivered`` ones, keep the originals.

        One worker does all of this for a folder: a document's copies are never fetched while they are being cleared.
        """
        for together in go_together([each for each in documents if each.state is State.VERIFIED]):
            self._publish(together)
        self._each([each for each in documents if each.state is not State.VERIFIED], self._write_back)

    def _publish(self, documents: Sequence[Document]) -> None:
        """Publish ``verified`` documents of one folder together, and record that at once."""
        in_time = [document for document in documents if self._has_time(document)]
        outcomes: dict[DocumentId, str | Exception] = {}
        if in_time:
            outlet = self.outlets[in_time[0].folder, State.VERIFIED]
            written = outlet.write_together([each.id for each in in_time], lambda: self._deliver_all(in_time))
            outcomes = {document.id: outcome for document, outcome in zip(in_time, written, strict=True)}
        steps: list[tuple[Document, Step]] = []
        fatal: Fatal | None = None
        for document in documents:
            try:
                steps.append((document, self._step_of(document, outcomes.get(document.id))))
            except Fatal as error:
                fatal = error  # what was published beside it goes on record first
        self._settle(steps)
        if fatal is not None:
            raise fatal

    def _step_of(self, document: Document, outcome: str | Exception | None) -> Step:
        """Return the step of a document that was published, or was not, or for which there was no time."""
        if outcome is None:
            return self.recorder.later(document, 0.0)
        return self._attempted(document, partial(self._delivered, document, outcome))

    def _each(self, documents: Sequence[Document], stage: Callable[[Document], Step]) -> None:
        """Run ``stage`` on one document after the other: trouble with one is its own."""
        hand = Hand(self._settle, self.clock)
        for document in documents:
            hand.begin(document, looks_at_copies=self._looks_at_copies(document))
            if self._has_time(document):
                step = self._attempted(document, partial(stage, document))
            else:
                step = self.recorder.later(document, 0.0)
            hand.take(document, step)
            if document.state not in UNSEEN:
                hand.empty()
        hand.empty()

    def _has_time(self, document: Document) -> bool:
        """Whether its lease cannot end under our hands, so that somebody takes it up anew."""
        return document.due_at is not None and self.clock.now() + LONGEST <= document.due_at

    def _attempted(self, document: Document, stage: Callable[[], Step]) -> Step:
        """Return the step that ``stage`` returns, or another try later if it fails."""
        try:
            return stage()
        except Fatal:
            raise
        except Unwritable as error:
            # Its folder's fault, not its own; the outlet sees to it that few are tried while that lasts.
            delay_s = UNWRITABLE.delay_s(document.attempts + 1, self.rng) if error.tried else 0.0
            return self.recorder.later(document, delay_s, error if error.tried else None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the document must not be lost or block others
            return self.recorder.later(document, TRY_AGAIN.delay_s(document.attempts + 1, self.rng), error)

    def _looks_at_copies(self, document: Document) -> bool:
        """Whether what becomes of a document now depends on what is on record of others of its content."""
        return document.state is State.RECEIVED and self.config.folders[document.folder].duplicates != "seal-again"

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Record outcomes, and clear away what nobody needs any more."""
        try:
            recorded = self._commit(outcomes)
        except Unrecordable:  # one of them, and the others are not to blame
            for outcome in outcomes:
                self._settle([outcome])
            return
        for stored in recorded:
            if stored.due_at is None:
                self.being_kept.release(stored.id)
                # If we crash before this, the next start finds a spool folder that nobody needs and clears it.
                self.spool.remove(stored.id)

    def _commit(self, outcomes: Sequence[Outcome]) -> list[Document]:
        """Record the steps; if what was found of a single document cannot be written down, that itself is its fault.

        Raises:
            Unrecordable: one of several cannot be written down; nothing was recorded.
        """
        try:
            return self.recorder.commit([step for _, step in outcomes])
        except Unrecordable as error:
            if len(outcomes) > 1:
                raise
            ((document, step),) = outcomes
            if document.state is State.RECEIVED:
                step = self.recorder.give_up(document, State.REJECTED, Reason.UNREADABLE, UNSPEAKABLE)
            elif document.state is State.SEALED:
                step = self.recorder.give_up(document, State.FAILED, Reason.SEAL_UNREADABLE, UNSPEAKABLE)
            else:
                step = self.recorder.later(document, TRY_AGAIN.longest_s, error)
            return self.recorder.commit([step])

    def _validate(self, document: Document) -> Step:
        unfit = self._unfit_as_it_came(document)
        if unfit is not None:
            return self.recorder.give_up(document, State.REJECTED, unfit.code, unfit.detail)
        match self._beside_earlier(document, self.config.folders[document.folder].duplicates):
            case duplicates.Wait(because):
                return self._wait_for_earlier(document, because)
            case duplicates.Reject(detail):
                return self.recorder.give_up(document, State.REJECTED, Reason.DUPLICATE, detail)
            case duplicates.DeliverAgain() as again:
                changes = again.taken_from()
            case None:
                changes = dict[str, Any](stamp_known=True)
        try:
            report = self._inspect(document)
        except JailLimitExceeded as error:
            return self.recorder.set_apart(document, error)
        stamp = None if "duplicate_of" in changes else self._stamp(document, report)
        unfit = self._unfit_by_report(document, report) or (stamp if isinstance(stamp, Finding) else None)
        if unfit is not None:
            return self.recorder.give_up(document, State.REJECTED, unfit.code, unfit.detail, inspection=report)
        if stamp is not None:
            changes["stamp"] = stamp
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "pages": report.pages,
            "warnings": [finding.code for finding in report.warnings],
        }
        event = EventName.DOCUMENT_VALIDATED
        return self.recorder.move(document, State.VALIDATED, event, fields, inspection=report, **changes)

    def _unfit_as_it_came(self, document: Document) -> Finding | None:
        """Return what is wrong with what came with the document, or that it is our own sealed PDF."""
        folder, units = self.config.folders[document.folder], self.config.accounts[document.account].visible_units
        fault = fault_of(document, folder, units, self._companions(document))
        if fault is not None or folder.duplicates == "seal-again":
            return fault
        own_seal = self.ledger.sealed_as(document)
        return None if own_seal is None else Finding(Reason.DUPLICATE, duplicates.told_of_seal(own_seal))

    def _inspect(self, document: Document) -> Inspection:
        """Return what inspection says of the document.

        Raises:
            JailLimitExceeded: it took too much.
            JailedError: it broke, and may not when it is tried again.
        """
        folder, original = self.config.folders[document.folder], self.spool.original(document.id)
        visible, jail = folder.seal.visible, self.jails.for_validating(suspects=document.suspect)
        page = visible.page if visible is not None else None
        try:
            with waiting("the inspection of a document", LONGEST / timedelta(seconds=1)):
                return validate(original, folder.validation, jail, suspect=document.suspect, seal_page=page)
        except JailedError as error:
            if isinstance(error, JailLimitExceeded) or not self._broke_for_good(document, error):
                raise
            return given_up(error)

    def _unfit_by_report(self, document: Document, report: Inspection) -> Finding | None:
        if report.verdict is Verdict.REJECT:
            return report.cause or Finding(Reason.UNREADABLE, "inspection gave no reason")
        # After the inspection: what is no PDF is told so, not that its sidecar is missing.
        return missing_of(document, self.config.folders[document.folder])

    def _stamp(self, document: Document, report: Inspection) -> Stamp | Finding | None:
        """Return the visible seal of a document that passed inspection, or why it has no room; None if it has none."""
        visible = self.config.folders[document.folder].seal.visible
        if visible is None or report.verdict is Verdict.REJECT:
            return None
        match settle(visible, self.config.accounts[document.account], document, report):
            case OffPage(detail):
                return Finding(Reason.SEAL_OFF_PAGE, detail)
            case stamp:
                return stamp

    def _beside_earlier(self, document: Document, rule: Duplicates) -> duplicates.Verdict | None:
        """Return what becomes of a document for an earlier one of its content; None: it goes its own way."""
        if rule == "seal-again":
            return None
        earlier = self.ledger.earlier_of(document)
        return duplicates.judge(document, earlier, rule) if earlier is not None else None

    def _wait_for_earlier(self, document: Document, because: str) -> Step:
        waited_s = (self.clock.now() - document.received_at) / timedelta(seconds=1)
        delay_s = min(max(waited_s * EARLIER_LOOK, 1.0), EARLIER_LONGEST_S) * (0.9 + 0.2 * self.rng.random())
        step = self.recorder.later(document, delay_s)
        return replace(step, after=replace(step.after, last_error=because))

    def _broke_for_good(self, document: Document, error: JailedError) -> bool:
        """Whether trying again is of no use: it broke again and again, last time in the same way, and not the disk."""
        again = document.attempts + 1 >= BROKEN_TRIES and str(error) in (document.last_error or "")
        return again and not error.system

    def _verify(self, document: Document) -> Step:
        account = self.config.accounts[document.account]
        sealed = self.spool.sealed(document.id, document.sealed_sha256)
        jail = self.jails.for_verifying(suspects=document.suspect)
        try:
            with waiting("the verification of a seal", LONGEST / timedelta(seconds=1)):
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
        self._tell_appearance(document, report)
        reason, detail = _failure(document, report)
        if reason is not None:
            step = self.recorder.give_up(document, State.FAILED, reason, detail, verification=report)
            return _with_fields(step, _seal_fields(report)) if report.certificate is not None else step
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "level": report.level,
            "checks": len(report.checks),
            "sealed_sha256": document.sealed_sha256,
            **_seal_fields(report),
        }
        return self.recorder.move(document, State.VERIFIED, EventName.DOCUMENT_VERIFIED, fields, verification=report)

    def _tell_appearance(self, document: Document, report: Verification) -> None:
        """Have it known while a folder's visible seals stand elsewhere than they should: a unit is wrong somewhere."""
        check = next(check for check in report.checks if check.name is CheckName.APPEARANCE)
        subject, named = f"{VISIBLE_SEALS}{document.folder}", {"folder": document.folder}
        if check.outcome is CheckOutcome.WARNED:
            text = f"{check.detail} (document {document.id}); see accounts.{document.account}.visible_units"
            event = EventName.SEAL_MISPLACED
            self.troubles.tell(subject, text, event, document=document.id, detail=check.detail, **named)
        elif check.outcome is CheckOutcome.PASSED:
            self.troubles.over(subject, EventName.SEAL_IN_PLACE, **named)

    def _deliver_all(self, documents: Sequence[Document]) -> list[str | Exception]:
        """Publish sealed PDFs and receipts; see `pipeline.deliver.deliver`."""
        folder, zone = self.config.folders[documents[0].folder], self.config.service.zone()
        return deliver(
            [
                Sealed(
                    document,
                    self.spool.sealed(document.id, document.sealed_sha256),
                    partial(folder.outbound_name.name, document, zone),
                )
                for document in documents
            ],
            folder.outbound,
        )

    def _delivered(self, document: Document, outcome: str | Exception) -> Step:
        """Return the step of a document that was published under a name.

        Raises:
            Exception: ``outcome``, if it was not.
        """
        if isinstance(outcome, Exception):
            raise outcome
        folder = self.config.folders[document.folder]
        if document.retries:
            # It is published, and only that counts: what cannot be cleared away there is untidy, and no reason to
            # keep the document from being on record as delivered.
            with suppress(OSError):
                clear_failed(document, self.spool.sealed(document.id, document.sealed_sha256), folder.failed)
        fields: dict[str, JsonValue] = {
            "folder": document.folder,
            "name": document.name,
            "published_name": outcome,
            "archive_ids": [archived.identifier for archived in document.remote.archive_ids],
        }
        event = EventName.DOCUMENT_DELIVERED
        if folder.processed is not None:  # until its original is kept, its copy stays
            return self.recorder.move(document, State.DELIVERED, event, fields, published_name=outcome)
        return self.recorder.finish(document, State.DELIVERED, event, fields, published_name=outcome)

    def _write_back(self, document: Document) -> Step:
        if document.state is State.RETRYING:
            return self._fetch_back(document)
        if document.state is State.DELIVERED:
            return self._keep(document)
        folder = self.config.folders[document.folder]
        original, sealed = self.spool.original(document.id), self.spool.sealed(document.id, document.sealed_sha256)
        fields: dict[str, JsonValue] = {"folder": document.folder, "name": document.name}
        outlet = self.outlets[document.folder, document.state]
        target = folder.rejected if document.state is State.REJECTED else folder.failed
        name = outlet.write(
            document.id, lambda: give_back(document, original, sealed, target, self.spool.companions(document.id))
        )
        fields |= {"published_name": name, "place": "rejected" if document.state is State.REJECTED else "failed"}
        days = kept_days(folder, document)
        event = EventName.ORIGINAL_RETURNED
        return self.recorder.finish(document, document.state, event, fields, kept_days=days, published_name=name)

    def _keep(self, document: Document) -> Step:
        """Have the original in the processed folder; if there is none any more, originals are deleted.

        If we crash anywhere here, the same is done again.
        """
        folder = self.config.folders[document.folder]
        processed = folder.processed
        if processed is None:
            step = self.recorder.later(document, 0.0)
            return replace(step, after=replace(step.after, due_at=None))
        together = [name for name, each in self.config.folders.items() if each.processed == processed]

        def is_anothers(name: str) -> bool:
            # In this order: whoever releases a name is on record by then.
            is_free = self.being_kept.take(processed / name, document.id)
            return not is_free or self.ledger.is_kept_by_another(document, name, together)

        name = self.outlets[document.folder, document.state].write(
            document.id,
            lambda: keep(
                document,
                self.spool.original(document.id),
                processed,
                self.spool.companions(document.id),
                is_anothers=is_anothers,
            ),
        )
        fields: dict[str, JsonValue] = {"folder": document.folder, "name": document.name, "kept_name": name}
        event, days = EventName.ORIGINAL_KEPT, kept_days(folder, document)
        return self.recorder.finish(document, document.state, event, fields, kept_days=days, kept_name=name)

    def _fetch_back(self, document: Document) -> Step:
        """Have the original in the spool again, and no longer in the failed folder; SignAPI is asked next.

        If we crash anywhere here, the same is done again: what is in the spool already is not looked for elsewhere.
        """
        original = self.spool.original(document.id)
        folder = self.config.folders[document.folder]
        fields: dict[str, JsonValue] = {"folder": document.folder, "name": document.name}
        outlet = self.outlets[document.folder, State.FAILED]
        twin = self.ledger.twin_of(document) if folder.duplicates != "seal-again" else None
        if twin is not None:
            outlet.forget(document.id)
            detail = f"the same content was dropped again, as document {twin.id}, which is {twin.state}"
        elif not outlet.write(document.id, lambda: self._fetch(document, folder.failed)):
            detail = f"its original no longer stands in the failed folder as {document.published_name!r}"
        else:
            return self.recorder.move(
                document,
                State.SUBMITTING,
                EventName.ORIGINAL_FETCHED,
                fields | {"external_id": document.external_id},
                reason=None,
                reason_detail=None,
                verification=None,
                sealed_size_bytes=None,
                sealed_sha256=None,
            )
        step = self.recorder.move(document, State.FAILED, EventName.RETRY_REFUSED, fields | {"detail": detail})
        if original.exists():
            return step  # fetched by an earlier try, so it has to be given back
        days = kept_days(folder, step.after)
        kept_until = None if days is None else self.clock.now() + timedelta(days=days)
        return replace(step, after=replace(step.after, due_at=None, kept_until=kept_until))

    def _fetch(self, document: Document, failed: Path) -> bool:
        with naming(self.spool.folder(document.id)):
            self.spool.make(document.id)
            self.spool.make_durable([document.id])
        return fetch_back(document, self.spool.original(document.id), failed, self._companions(document))

    def _companions(self, document: Document) -> Mapping[CompanionKind, Path]:
        """Return where the copies of what came with the document are, or are to be."""
        return {each.kind: self.spool.companion(document.id, each.kind) for each in document.companions}


def _seal_fields(report: Verification) -> dict[str, JsonValue]:
    """Return what goes on record of a seal itself, so that the audit trail alone says whose certificate made it."""
    certificate = report.certificate
    if certificate is None:
        return {}
    return {
        "signed_at": report.signed_at.isoformat() if report.signed_at else None,
        "certificate": {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "serial": certificate.serial,
            "sha256": certificate.sha256,
            "not_before": certificate.not_before.isoformat(),
            "not_after": certificate.not_after.isoformat(),
        },
    }


def _with_fields(step: Step, fields: dict[str, JsonValue]) -> Step:
    """Return the step with more on record."""
    if step.event is None:
        return step
    return replace(step, event=replace(step.event, fields={**step.event.fields, **fields}))


def _failure(document: Document, report: Verification) -> tuple[Reason | None, str]:
    """Return why the sealed PDF may not be handed out, or None.

    A deposit that failed is the reason only if nothing else is wrong: what does not stand up to the checks is no seal.
    """
    failure = report.first_failure
    if document.reason is not None and (failure is None or failure.name is CheckName.ARCHIVE_ID):
        return document.reason, document.reason_detail or ""
    if failure is None:
        return None, ""
    return CHECK_REASONS[failure.name], f"{failure.name}: {failure.detail}"
