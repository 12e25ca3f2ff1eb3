"""What the seal of a PDF proves: every check of the design, in its order, each with its outcome.

Fail closed: missing evidence is a failure, and so is whatever pyHanko raises, be it its own or a `KeyError`. What an
expectation leaves out is reported as not asked; what could not be looked at because an earlier check failed, as not
reached. Nothing but the file and the trust anchors is read, and the network never.

1. readable: pyHanko reads it, with the empty password if need be.
2. prefix: it begins with the submitted bytes. They, and nothing else, are the state before sealing.
3. page_count: as many pages as before.
4. one_new_signature: one more than before, document timestamps aside. That one is the seal.
5. coverage: from byte 0 to the end of the revision right after the original; only the seal's own value left out.
6. earlier_signatures: each one that was clean before is clean after.
7. intact: the bytes are those that were sealed, by the key of the certificate.
8. digest_algorithm: SHA-256 or better, in the seal and in its timestamps.
9. trusted_chain: to the anchors, at the time that the evidence supports (see `evidence`).
10. organisation: the certificate names it, exactly.
11. level: at least the one asked for.
12. signing_time: plausible.
13. later_revisions: only validation data and document timestamps after the seal, and nothing but the seal with it.
14. appearance: a visible seal lies on the page that was asked for; one that was to be invisible is (see `appearance`).
15. archive_id: there, where archiving was asked for.

(Long, because the order of the checks is what they prove.)
"""

# mypy: disable-error-code="no-untyped-call, import-untyped"
# pyHanko says that it is typed, and leaves many of its functions without types; asn1crypto has none.

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from asn1crypto import x509
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from sealdrop.model import (
    Check,
    CheckName,
    CheckOutcome,
    SealCertificate,
    SealLevel,
    Verification,
)
from sealdrop.pdf.additions import is_plain
from sealdrop.pdf.anchors import load_anchors
from sealdrop.pdf.appearance import Misplaced, check_looks
from sealdrop.pdf.certificate import describe, organisations, same_organisation
from sealdrop.pdf.changes import check_later_revision, check_places, check_sealing_revision
from sealdrop.pdf.differences import AnalysisFailed, changes_since
from sealdrop.pdf.digests import Digests
from sealdrop.pdf.evidence import CLOCK_SKEW, Evidence, weigh
from sealdrop.pdf.jobs import Expectation, shortened
from sealdrop.pdf.reader import NOT_THE_DOCUMENT, Reader, Unsound, kind_of, open_pdf
from sealdrop.pdf.signatures import (
    SignatureField,
    Signer,
    check_coverage,
    check_end,
    check_integrity,
    check_revision,
    check_standing,
    check_structure,
    find_signatures,
    load,
    new_signatures,
    signer_of,
    weak_digests,
)

_LEVELS = (SealLevel.B, SealLevel.T, SealLevel.LT, SealLevel.LTA)


def verify_seal(sealed: Path, expected: Expectation) -> Verification:
    """Return what the PDF at ``sealed`` proves: all checks of `CheckName`, in order, and the evidence found.

    Raises:
        OSError: the file, or a trust anchor, cannot be read from the disk.
        ConfigurationError: a trust anchor is not a certificate in PEM form.
        MemoryError: there is not enough; this says nothing about the document.
    """
    anchors = load_anchors(expected.trust_anchors)
    with sealed.open("rb") as file:
        return _Examination(file, expected, anchors).report()


class _NotAskedError(Exception):
    """The expectation leaves this out; the text says what is missing."""


class _Examination:
    """One file, looked at step by step; later steps use what earlier ones found."""

    def __init__(self, file: BinaryIO, expected: Expectation, anchors: tuple[x509.Certificate, ...]) -> None:
        self._file = file
        self._expected = expected
        self._anchors = anchors
        self._size_bytes = file.seek(0, 2)
        self._digests = Digests(file)
        self._reader: Reader
        self._prefix: Reader | None = None
        self._before: tuple[SignatureField, ...] = ()
        self._after: tuple[SignatureField, ...] = ()
        self._field: SignatureField
        self._seal: EmbeddedPdfSignature
        self._signer: Signer
        self._stamps: list[EmbeddedPdfSignature] = []
        self._doubts: list[str] = []
        self._loaded: dict[SignatureField, EmbeddedPdfSignature] = {}
        self._evidence: Evidence | None = None
        self._certificate: SealCertificate | None = None
        self._signed_at: datetime | None = None

    def report(self) -> Verification:
        """Return the whole report."""
        readable, located, intact = (
            (CheckName.READABLE,),
            (CheckName.READABLE, CheckName.PREFIX, CheckName.ONE_NEW_SIGNATURE),
            (CheckName.READABLE, CheckName.PREFIX, CheckName.ONE_NEW_SIGNATURE, CheckName.INTACT),
        )
        plan: tuple[tuple[CheckName, Callable[[], str], tuple[CheckName, ...]], ...] = (
            (CheckName.READABLE, self._readable, ()),
            (CheckName.PREFIX, self._prefix_unchanged, readable),
            (CheckName.PAGE_COUNT, self._page_count, (*readable, CheckName.PREFIX)),
            (CheckName.ONE_NEW_SIGNATURE, self._one_new_signature, (*readable, CheckName.PREFIX)),
            (CheckName.COVERAGE, self._coverage, located),
            (CheckName.EARLIER_SIGNATURES, self._earlier_signatures, located),
            (CheckName.INTACT, self._intact, located),
            (CheckName.DIGEST_ALGORITHM, self._digest_algorithm, intact),
            (CheckName.TRUSTED_CHAIN, self._trusted_chain, intact),
            (CheckName.ORGANISATION, self._organisation, intact),
            (CheckName.LEVEL, self._level, intact),
            (CheckName.SIGNING_TIME, self._signing_time, intact),
            (CheckName.LATER_REVISIONS, self._later_revisions, (*located, CheckName.COVERAGE)),
            (CheckName.APPEARANCE, self._appearance, located),
            (CheckName.ARCHIVE_ID, self._archive_id, ()),
        )
        checks: dict[CheckName, Check] = {}
        for name, step, needs in plan:
            failed = [need for need in needs if checks[need].outcome in (CheckOutcome.FAILED, CheckOutcome.NOT_REACHED)]
            if failed:
                checks[name] = Check(name, CheckOutcome.NOT_REACHED, f"because the check {failed[0]} failed")
            else:
                outcome, detail = _outcome(step)
                checks[name] = Check(name, outcome, shortened(detail))
        evidence = self._evidence
        return Verification(
            checks=tuple(checks.values()),
            level=evidence.level if evidence else None,
            signed_at=self._signed_at,
            certificate=self._certificate,
            timestamps=evidence.timestamps if evidence else (),
        )

    def _load(self, field: SignatureField) -> EmbeddedPdfSignature:
        """Return the signature as pyHanko reads it, parsed once; it may raise anything."""
        if field not in self._loaded:
            self._loaded[field] = load(self._reader, field)
        return self._loaded[field]

    def _hash(self, signature: EmbeddedPdfSignature) -> None:
        """Leave the digest of what the signature covers with it; pyHanko makes the unusual ones itself."""
        digest = self._digests.of_ranges(signature.external_md_algorithm, tuple(map(int, signature.byte_range)))
        if digest is not None:
            signature.external_digests[signature.external_md_algorithm] = digest

    def _readable(self) -> str:
        self._reader = open_pdf(self._file, self._size_bytes)
        self._after = find_signatures(self._reader)
        pages, revisions = self._reader.page_count(), self._reader.xrefs.total_revisions
        return f"{self._size_bytes} bytes, {pages} page(s), {revisions} revision(s)"

    def _prefix_unchanged(self) -> str:
        size_bytes, sha256 = self._expected.original_size_bytes, self._expected.original_sha256
        if size_bytes is None or sha256 is None:
            raise _NotAskedError("the original is not known")
        if size_bytes >= self._size_bytes:
            raise Unsound(f"it is not longer than the original ({size_bytes} bytes)")
        if self._digests.of_beginning("sha256", size_bytes).hexdigest() != sha256:
            raise Unsound(f"its first {size_bytes} bytes are not the original's")
        self._prefix = open_pdf(self._file, size_bytes)
        self._before = find_signatures(self._prefix)
        return f"the first {size_bytes} bytes are the original"

    def _page_count(self) -> str:
        if self._prefix is None:
            raise _NotAskedError("the original is not known")
        before, after = self._prefix.page_count(), self._reader.page_count()
        if before != after:
            raise Unsound(f"{after} page(s), the original has {before}")
        return f"{after} page(s), as the original"

    def _one_new_signature(self) -> str:
        new, gone = new_signatures(self._before, self._after)
        signatures = [signature for signature in new if not signature.is_document_timestamp]
        if not signatures:
            raise Unsound("there is no new signature")
        if self._prefix is None:
            # The order of the form says nothing about time, the revision does.
            self._field = max(signatures, key=lambda signature: self._load(signature).signed_revision)
            raise _NotAskedError(f"the original is not known; {len(signatures)} signature(s), the last is the seal")
        self._field = signatures[0]
        if len(signatures) != 1 or gone:
            raise Unsound(f"{len(signatures)} signatures are new and {gone} gone, where one should be new")
        stamps = len(new) - 1
        return f"one new signature, {stamps} new document timestamp(s), {len(self._before)} that were there before"

    def _coverage(self) -> str:
        end = check_coverage(self._reader, self._field)
        try:
            seal = self._load(self._field)
        except NOT_THE_DOCUMENT:
            raise
        except Exception:  # noqa: BLE001 - the seal's value is no CMS: that is for the check of integrity to say
            return f"bytes 0 to {end}, less the seal's value"
        check_revision(self._reader, seal)
        if self._prefix is not None:
            self._check_follows_original(self._prefix, seal)
        return f"bytes 0 to {end} of {self._size_bytes}, less the seal's value"

    def _check_follows_original(self, prefix: Reader, seal: EmbeddedPdfSignature) -> None:
        """Pass if the seal's revision is the first after the original, and built on it."""
        xrefs, revisions = self._reader.xrefs, prefix.xrefs.total_revisions
        if seal.signed_revision != revisions:
            raise Unsound("there is another revision between the original and the seal")
        if xrefs.get_startxref_for_revision(revisions - 1) != prefix.last_startxref:
            raise Unsound("the seal's revision is not built on the original")

    def _earlier_signatures(self) -> str:
        earlier = [signature for signature in self._after if signature.key != self._field.key]
        if self._prefix is None:
            earlier = [signature for signature in earlier if not signature.is_document_timestamp]
            broken = sum(1 for signature in earlier if _doubt(self._reader, signature))
            if broken:
                raise _NotAskedError(f"{broken} not clean; the original is not known, so neither is why")
            return f"{len(earlier)} other signature(s), all clean"
        known = {signature.key: signature for signature in self._before}
        clean = [signature for signature in known.values() if not _doubt(self._prefix, signature)]
        # By their numbers in the form: a field's name is the document's.
        for number, signature in enumerate(self._after, 1):
            if signature.key in known and known[signature.key] in clean:
                doubt = _doubt(self._reader, signature, self._check_only_sealed)
                if doubt:
                    raise Unsound(f"signature {number} was clean before, and now: {doubt}")
        return f"{len(known)} earlier signature(s), {len(clean)} clean before and after"

    def _check_only_sealed(self, earlier: EmbeddedPdfSignature) -> None:
        """Pass if nothing but a seal, and what belongs to it, came after the original, and ``earlier`` allows that."""
        if earlier.docmdp_level == MDPPerm.NO_CHANGES:
            raise Unsound("it allows no seal after it")
        self._check_revisions(self._load(self._field).signed_revision)

    def _intact(self) -> str:
        self._seal = self._load(self._field)
        check_structure(self._field.contents, self._seal)
        self._signer = signer_of(self._seal.signed_data)
        self._hash(self._seal)
        check_integrity(self._seal.signed_data, self._signer, self._seal.compute_digest)
        self._certificate = describe(self._signer.certificate)
        self._find_stamps()
        return "the sealed bytes are unchanged, and the signature is the certificate's"

    def _digest_algorithm(self) -> str:
        signed = [self._seal.signed_data, *extract_tst_data_iter(self._seal.signer_info, signed=False)]
        signed += [stamp.signed_data for stamp in self._stamps]
        weak = {name for part in signed for name in weak_digests(part)}
        if weak:
            raise Unsound(f"weaker than SHA-256: {', '.join(sorted(weak))}")
        return f"{self._seal.md_algorithm} in the seal, none weaker in {len(signed) - 1} timestamp(s)"

    def _find_stamps(self) -> None:
        """Keep the document timestamps after the seal that cover their revisions, and what is wrong with others."""
        known = {signature.key for signature in self._before}
        for field in self._after:
            if not field.is_document_timestamp or field.key in known:
                continue
            try:
                check_coverage(self._reader, field)
                stamp = self._load(field)
                check_revision(self._reader, stamp)
            except NOT_THE_DOCUMENT:
                raise
            except Exception as error:  # noqa: BLE001 - pyHanko may raise anything
                self._doubts.append(f"a document timestamp cannot be used ({kind_of(error)})")
            else:
                if stamp.signed_revision > self._seal.signed_revision:
                    self._hash(stamp)
                    self._stamps.append(stamp)

    def _trusted_chain(self) -> str:
        evidence = weigh(self._reader, self._seal, self._signer, self._stamps, self._anchors, self._expected.now)
        self._evidence = evidence
        if not self._anchors:
            raise _NotAskedError("no trust anchors were given, so who vouches for the seal was not judged")
        at = evidence.judged_at.isoformat()
        if evidence.chain_problem is not None:
            raise Unsound(f"{evidence.chain_problem}, judged at {at}")
        if evidence.revocation_shown:
            return f"leads to a trust anchor at {at}, and the PDF shows that nothing was revoked"
        return f"leads to a trust anchor at {at}; the PDF does not show whether anything was revoked"

    def _organisation(self) -> str:
        if self._expected.organisation is None:
            raise _NotAskedError("no organisation was given")
        named = organisations(self._signer.certificate)
        if len(named) != 1 or not same_organisation(named[0], self._expected.organisation):
            raise Unsound(f"the certificate names {', '.join(map(repr, named)) or 'no organisation'}")
        return f"the certificate names {named[0]!r}"

    def _level(self) -> str:
        if self._evidence is None:
            raise Unsound("the evidence could not be read")
        found, asked = self._evidence.level, self._expected.level
        missing = "; ".join(filter(None, [self._evidence.missing, *self._doubts]))
        if asked is None:
            raise _NotAskedError(f"no level was asked for; found {found}")
        if found is None or _LEVELS.index(found) < _LEVELS.index(asked):
            raise Unsound(f"{asked} was asked for, found {found}: {missing}")
        if not self._anchors and asked != SealLevel.B:
            raise _NotAskedError(f"found {found}, but without trust anchors its evidence was not judged")
        return f"found {found}, {asked} was asked for"

    def _signing_time(self) -> str:
        expected, evidence = self._expected, self._evidence
        claimed = self._seal.self_reported_timestamp
        if claimed is not None and claimed.tzinfo is None:
            claimed = None  # an hour somewhere on earth
        stamped = evidence.stamped_at if evidence else None
        self._signed_at = stamped or claimed
        if self._signed_at is None:
            raise Unsound("the seal does not say when, in a time zone, it was made")
        times = [time for time in (claimed, stamped) if time is not None]
        latest = min(expected.not_after or expected.now, expected.now) + CLOCK_SKEW
        if max(times) > latest:
            raise Unsound(f"made at {max(times).isoformat()}, later than is possible")
        if claimed is not None and stamped is not None and claimed > stamped + CLOCK_SKEW:
            raise Unsound(f"says {claimed.isoformat()}, after its own timestamp")
        if expected.not_before is None:
            raise _NotAskedError(f"made at {self._signed_at.isoformat()}; when it was asked for is not known")
        if min(times) < expected.not_before - CLOCK_SKEW:
            raise Unsound(f"made at {min(times).isoformat()}, before it was asked for")
        return f"made at {self._signed_at.isoformat()}"

    def _later_revisions(self) -> str:
        seal = self._load(self._field)
        later = self._reader.xrefs.total_revisions - 1 - seal.signed_revision
        check_end(self._reader)
        self._check_revisions(seal.signed_revision)
        found = f"{later} later revision(s), of validation data and timestamps only"
        try:
            # An empty appearance, and fonts for the form, are filling in to pyHanko; above we saw that nothing shows.
            if not self._is_all_plain(seal) and changes_since(self._reader, seal) > ModificationLevel.FORM_FILLING:
                raise Unsound("a later revision goes further than to fill in the form")
        except AnalysisFailed as error:
            return f"{found}, by their objects alone: pyHanko cannot compare them ({error})"
        return found

    def _is_all_plain(self, seal: EmbeddedPdfSignature) -> bool:
        """Return whether the seal restricts nothing, and what follows it is so plain that pyHanko need not be asked."""
        later = range(seal.signed_revision + 1, self._reader.xrefs.total_revisions)
        if "/Reference" in seal.sig_object or "/Lock" in self._field.field:
            return not later  # it certifies, or locks fields
        return all(is_plain(self._reader, seal.signed_revision, revision) for revision in later)

    def _check_revisions(self, sealed: int) -> None:
        """Pass if revision ``sealed`` holds a seal, each later one what may follow it, and none changes more."""
        _, _, begin, size_bytes = map(int, self._load(self._field).byte_range)
        original = () if self._prefix is None else (self._prefix.size_bytes,)
        check_places(self._reader, (*original, begin + size_bytes))
        if sealed > 0:
            check_sealing_revision(self._reader, sealed)
        for revision in range(sealed + 1, self._reader.xrefs.total_revisions):
            check_later_revision(self._reader, revision)

    def _appearance(self) -> str:
        if self._expected.looks is None:
            raise _NotAskedError("how it should look is not known")
        return check_looks(self._reader, self._field.field, self._expected.looks)

    def _archive_id(self) -> str:
        if not self._expected.archive_asked:
            raise _NotAskedError("no archive deposit was asked for")
        named = [archive.identifier for archive in self._expected.archive_ids]
        if not named or not all(name.strip() for name in named):
            raise Unsound("the service gave no archive identifier")
        return ", ".join(named)


def _outcome(step: Callable[[], str]) -> tuple[CheckOutcome, str]:
    try:
        return CheckOutcome.PASSED, step()
    except _NotAskedError as error:
        return CheckOutcome.NOT_ASKED, str(error)
    except Misplaced as error:
        return CheckOutcome.WARNED, str(error)
    except Unsound as error:
        return CheckOutcome.FAILED, str(error)
    except NOT_THE_DOCUMENT:
        raise
    except Exception as error:  # noqa: BLE001 - pyHanko may raise anything: a failed check, not a crash
        return CheckOutcome.FAILED, f"pyHanko cannot judge it: {kind_of(error)}"


def _doubt(
    reader: Reader, signature: SignatureField, otherwise: Callable[[EmbeddedPdfSignature], None] | None = None
) -> str | None:
    """Return why the signature is not clean as the file stands in ``reader``, or None."""

    def standing() -> str:
        check_standing(reader, signature, otherwise)
        return ""

    outcome, detail = _outcome(standing)
    return None if outcome == CheckOutcome.PASSED else detail
