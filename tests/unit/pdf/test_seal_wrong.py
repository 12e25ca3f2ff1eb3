"""Everything that can be wrong with a sealed PDF fails, and fails first in the check that is there for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter

import seal_pdfs
import seal_pki
import seals
from seal_pdfs import make_pdf
from seal_pki import DAY, ORGANISATION, SEALED_AT, make_pki
from sealdrop.model import ArchiveId, CheckName, CheckOutcome, SealLevel, SealPlace
from sealdrop.pdf.appearance import Looks
from sealdrop.pdf.seal import verify_seal
from seals import expect, flip, reseal, revise, seal, timestamp

B, T, LT, LTA = SealLevel
PDF = make_pdf()


@dataclass(frozen=True)
class Wrong:
    """A sealed PDF with one fault, what it is held against, and the check that has to find it."""

    name: str
    check: CheckName
    make: Callable[[], bytes]
    original: Callable[[], bytes] = field(default=lambda: PDF)
    expected: dict[str, Any] = field(default_factory=dict)
    text: str = ""


def _with_gap(shift: tuple[int, int, int, int]) -> Callable[[], bytes]:
    """Seal properly, but over a byte range whose numbers differ by ``shift`` from what they should be."""

    def numbers(before: int, resumes: int, rest: int) -> tuple[int, int, int, int]:
        return shift[0], before + shift[1], resumes + shift[2], rest + shift[3]

    return lambda: reseal(seal(PDF), numbers)


def _in_value(change: Callable[[bytes, int, int], bytes], level: SealLevel = B, nth: int = 0) -> Callable[[], bytes]:
    """Change the digits of a signature's value, given where they begin and where the padding begins."""

    def make() -> bytes:
        pdf = seal(PDF, level)
        return change(pdf, *seals.signature_value(pdf, nth))

    return make


def _with_content(pdf: bytes, start: int, end: int) -> bytes:
    """Put a content into the signature's container, which nobody signs and which should be empty."""
    signature = cms.ContentInfo.load(bytes.fromhex(pdf[start:end].decode("ascii")))
    signature["content"]["encap_content_info"]["content"] = core.OctetString(b"another document")
    value = signature.dump().hex().encode("ascii")
    return pdf[:start] + value + pdf[start + len(value) :]


def _evidence(pki: seal_pki.Pki, crls: tuple[int, ...] = (0, 1)) -> Callable[[], bytes]:
    """Seal with a timestamp, and append the evidence that some of the revocation lists give."""
    return lambda: seals.add_evidence(seal(PDF, T, pki=pki), make_pki(), tuple(pki.crls[number] for number in crls))


ELSE = make_pki("Somebody Else")
REVOKED = make_pki(revoked_at=SEALED_AT - DAY / 2)
STALE = make_pki(crl_lifetime_days=0)
SIGNED = seal(PDF, pki=ELSE, field_name="Theirs")
FORM = revise(PDF, seal_pdfs.add_text_field)
NESTED = PDF.replace(b"/Pages 2 0 R", b"/Pages 2 0 R /AcroForm " + b"[" * 20_000)
LATER_NOW = {"now": SEALED_AT + DAY}

WRONG = [
    # readable
    Wrong("empty", CheckName.READABLE, lambda: b""),
    Wrong("text", CheckName.READABLE, lambda: b"Not a PDF, whatever its name.\n" * 99),
    Wrong("truncated", CheckName.READABLE, lambda: seal(PDF, LTA)[:-2000], expected={"level": LTA}),
    Wrong("offset", CheckName.READABLE, lambda: b"\n" + seal(PDF)),
    Wrong("no-cross-references", CheckName.READABLE, lambda: seal(PDF).replace(b"startxref", b"startXref")),
    Wrong("nested-without-end", CheckName.READABLE, lambda: NESTED),
    # prefix
    Wrong("byte-of-the-original", CheckName.PREFIX, lambda: flip(seal(PDF), PDF.index(b"Page 1 of"))),
    Wrong("seal-of-another-document", CheckName.PREFIX, lambda: seal(make_pdf(pages=2))),
    Wrong("the-original-itself", CheckName.PREFIX, lambda: PDF, text="not longer"),
    Wrong("shorter-than-the-original", CheckName.PREFIX, lambda: PDF, original=lambda: seal(PDF)),
    # page_count
    Wrong("page-added-after", CheckName.PAGE_COUNT, lambda: revise(seal(PDF), seal_pdfs.add_page)),
    Wrong("page-added-with-the-seal", CheckName.PAGE_COUNT, lambda: seal(PDF, before=seal_pdfs.add_page)),
    # one_new_signature
    Wrong("two-seals", CheckName.ONE_NEW_SIGNATURE, lambda: seal(seal(PDF), field_name="Second")),
    Wrong("no-seal", CheckName.ONE_NEW_SIGNATURE, lambda: revise(PDF, seal_pdfs.set_title)),
    Wrong("timestamp-instead", CheckName.ONE_NEW_SIGNATURE, lambda: timestamp(PDF)),
    Wrong("strange-second", CheckName.ONE_NEW_SIGNATURE, lambda: revise(seal(PDF), seal_pdfs.add_strange_signature)),
    Wrong(
        "earlier-signature-removed",
        CheckName.ONE_NEW_SIGNATURE,
        lambda: seal(SIGNED, before=seal_pdfs.remove_fields),
        original=lambda: SIGNED,
        text="1 gone",
    ),
    # coverage
    Wrong("gap-before-the-value", CheckName.COVERAGE, _with_gap((0, -10, 0, 0))),
    Wrong("gap-behind-the-value", CheckName.COVERAGE, _with_gap((0, 0, 10, -10))),
    Wrong("gap-at-the-start", CheckName.COVERAGE, _with_gap((1, -1, 0, 0))),
    Wrong("end-left-out", CheckName.COVERAGE, _with_gap((0, 0, 0, -20))),
    Wrong("end-left-out-lengths-adding-up", CheckName.COVERAGE, _with_gap((0, 20, 0, -20))),
    Wrong("gap-moved", CheckName.COVERAGE, _with_gap((0, -20, -20, 20))),
    Wrong("past-the-end", CheckName.COVERAGE, _with_gap((0, 0, 0, 1))),
    Wrong("in-the-padding", CheckName.COVERAGE, _in_value(lambda pdf, _, end: flip(pdf, end + 9)), text="padding"),
    Wrong("revision-in-between", CheckName.COVERAGE, lambda: seal(revise(PDF, seal_pdfs.set_title)), text="between"),
    # earlier_signatures
    Wrong(
        "earlier-signature-broken",
        CheckName.EARLIER_SIGNATURES,
        lambda: seal(SIGNED, before=seal_pdfs.rotate),
        original=lambda: SIGNED,
        text="signature 1 was clean before",
    ),
    # intact
    Wrong(
        "byte-in-the-seals-revision", CheckName.INTACT, lambda: flip(seal(PDF), seal(PDF).rindex(b"20260302120000Z"))
    ),
    Wrong("signature-damaged", CheckName.INTACT, _in_value(lambda pdf, _, end: flip(pdf, end - 9))),
    Wrong("container-damaged", CheckName.INTACT, _in_value(lambda pdf, start, _: flip(pdf, start + 9))),
    Wrong(
        "container-empty",
        CheckName.INTACT,
        _in_value(lambda pdf, start, end: pdf[:start] + b"0" * (end - start) + pdf[end:]),
    ),
    Wrong("content-of-its-own", CheckName.INTACT, _in_value(_with_content), text="a content of its own"),
    # digest_algorithm
    Wrong("sha-1", CheckName.DIGEST_ALGORITHM, lambda: seal(PDF, md_algorithm="sha1"), text="sha1"),
    Wrong("sha-224", CheckName.DIGEST_ALGORITHM, lambda: seal(PDF, md_algorithm="sha224"), text="sha224"),
    Wrong(
        "sha-1-in-the-timestamp",
        CheckName.DIGEST_ALGORITHM,
        lambda: seal(PDF, T, tsa_md_algorithm="sha1"),
        expected={"level": T},
    ),
    Wrong(
        "sha-1-in-the-document-timestamp",
        CheckName.DIGEST_ALGORITHM,
        lambda: timestamp(seal(PDF, LT), md_algorithm="sha1"),
        expected={"level": LTA},
    ),
    # trusted_chain
    Wrong("untrusted", CheckName.TRUSTED_CHAIN, lambda: seal(PDF, pki=ELSE), text="NO_CERTIFICATE_CHAIN_FOUND"),
    Wrong(
        "short-key",
        CheckName.TRUSTED_CHAIN,
        lambda: seal(PDF, pki=make_pki(seal_bits=1024)),
        text="CRYPTO_CONSTRAINTS_FAILURE",
    ),
    Wrong("expired", CheckName.TRUSTED_CHAIN, lambda: seal(PDF, pki=make_pki(seal_days=(-100, -1)))),
    Wrong(
        "expired-before-the-timestamp", CheckName.TRUSTED_CHAIN, lambda: seal(PDF, T, pki=make_pki(seal_days=(-9, -1)))
    ),
    Wrong(
        "not-yet-valid",
        CheckName.TRUSTED_CHAIN,
        lambda: seal(PDF, T, pki=make_pki(seal_days=(1, 9))),
        expected=LATER_NOW,
    ),
    Wrong("revoked", CheckName.TRUSTED_CHAIN, _evidence(REVOKED), expected={"level": LT}, text="REVOKED"),
    Wrong("not-a-seals-certificate", CheckName.TRUSTED_CHAIN, lambda: seal(PDF, pki=seal_pki.swap_roles(make_pki()))),
    # organisation
    Wrong("another-organisation", CheckName.ORGANISATION, lambda: seal(PDF, pki=make_pki(organisation="Autre SARL"))),
    Wrong("longer-name", CheckName.ORGANISATION, lambda: seal(PDF, pki=make_pki(organisation=f"{ORGANISATION} Nord"))),
    Wrong("part-of-the-name", CheckName.ORGANISATION, lambda: seal(PDF), expected={"organisation": "Exemple"}),
    Wrong("only-a-common-name", CheckName.ORGANISATION, lambda: seal(PDF, pki=make_pki(organisation=None))),
    # level
    Wrong(
        "not-pades",
        CheckName.LEVEL,
        lambda: seal(PDF, subfilter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED),
        text="not of the PAdES kind",
    ),
    Wrong("no-timestamp", CheckName.LEVEL, lambda: seal(PDF), expected={"level": T}, text="no trusted timestamp"),
    Wrong("timestamp-untrusted", CheckName.LEVEL, lambda: seal(PDF, T, tsa=ELSE), expected={"level": T}),
    Wrong(
        "timestamp-damaged",
        CheckName.LEVEL,
        _in_value(lambda pdf, _, end: flip(pdf, end - 9), T),
        expected={"level": T},
        text="timestamp is damaged",
    ),
    Wrong(
        "timestamp-of-an-expired-authority",
        CheckName.LEVEL,
        lambda: seal(PDF, T, pki=make_pki(tsa_days=(-100, -1))),
        expected={"level": T},
    ),
    Wrong(
        "timestamp-of-the-future",
        CheckName.LEVEL,
        lambda: seal(PDF, T, at=SEALED_AT + timedelta(hours=1), claimed_at=SEALED_AT),
        expected={"level": T},
        text="later time",
    ),
    Wrong("no-store", CheckName.LEVEL, lambda: seal(PDF, T), expected={"level": LT}, text="no revocation data"),
    Wrong("no-lists", CheckName.LEVEL, _evidence(make_pki(), ()), expected={"level": LT}, text="no revocation data"),
    Wrong("one-list-missing", CheckName.LEVEL, _evidence(make_pki(), (0,)), expected={"level": LT}, text="for the"),
    Wrong("lists-that-ran-out", CheckName.LEVEL, _evidence(STALE), expected={"level": LT}, text="does not suffice"),
    Wrong("no-document-timestamp", CheckName.LEVEL, lambda: seal(PDF, LT), expected={"level": LTA}),
    Wrong(
        "document-timestamp-damaged",
        CheckName.LEVEL,
        _in_value(lambda pdf, _, end: flip(pdf, end - 9), LTA, nth=1),
        expected={"level": LTA},
        text="document timestamp is damaged",
    ),
    Wrong(
        "document-timestamp-not-readable",
        CheckName.LEVEL,
        _in_value(lambda pdf, start, end: pdf[:start] + b"0" * (end - start) + pdf[end:], LTA, nth=1),
        expected={"level": LTA},
        text="cannot be used",
    ),
    Wrong(
        "document-timestamp-untrusted",
        CheckName.LEVEL,
        lambda: timestamp(seal(PDF, LT), pki=ELSE),
        expected={"level": LTA},
        text="document timestamp cannot be trusted",
    ),
    Wrong(
        "document-timestamp-before-the-evidence",
        CheckName.LEVEL,
        lambda: seals.add_evidence(timestamp(seal(PDF, T)), make_pki(), make_pki().crls),
        expected={"level": LTA},
        text=f"found {LT}",
    ),
    # signing_time
    Wrong("far-past", CheckName.SIGNING_TIME, lambda: seal(PDF, claimed_at=SEALED_AT - 2000 * DAY), text="before"),
    Wrong("far-future", CheckName.SIGNING_TIME, lambda: seal(PDF, claimed_at=SEALED_AT + 2000 * DAY), text="later"),
    Wrong("long-ago", CheckName.SIGNING_TIME, lambda: seal(PDF, LTA), expected={"not_before": SEALED_AT + DAY / 24}),
    Wrong(
        "after-it-was-there",
        CheckName.SIGNING_TIME,
        lambda: seal(PDF),
        expected={"now": SEALED_AT + DAY, "not_after": SEALED_AT - DAY / 24, "not_before": SEALED_AT - DAY},
    ),
    Wrong(
        "after-its-timestamp",
        CheckName.SIGNING_TIME,
        lambda: seal(PDF, T, claimed_at=SEALED_AT + DAY / 2),
        expected={"level": T, "now": SEALED_AT + DAY},
        text="after its own timestamp",
    ),
    # later_revisions
    Wrong("page-turned-later", CheckName.LATER_REVISIONS, lambda: revise(seal(PDF), seal_pdfs.rotate)),
    Wrong("content-replaced-later", CheckName.LATER_REVISIONS, lambda: revise(seal(PDF), seal_pdfs.replace_content)),
    Wrong("annotation-later", CheckName.LATER_REVISIONS, lambda: revise(seal(PDF), seal_pdfs.annotate)),
    Wrong(
        "form-filled-in-later",
        CheckName.LATER_REVISIONS,
        lambda: revise(seal(FORM), seal_pdfs.fill_text_field),
        original=lambda: FORM,
        text="a later revision replaces",
    ),
    Wrong(
        "changed-after-the-timestamp",
        CheckName.LATER_REVISIONS,
        lambda: revise(seal(PDF, LTA), seal_pdfs.rotate),
        expected={"level": LTA},
    ),
    Wrong("trailing-bytes", CheckName.LATER_REVISIONS, lambda: seal(PDF) + b"\nsomething else\n", text="follows"),
    Wrong("trailing-zeros", CheckName.LATER_REVISIONS, lambda: seal(PDF, LTA) + bytes(200), expected={"level": LTA}),
    Wrong(
        "page-turned-with-it",
        CheckName.LATER_REVISIONS,
        lambda: seal(PDF, before=seal_pdfs.rotate),
        text="(/Page)",
    ),
    Wrong("content-replaced-with-it", CheckName.LATER_REVISIONS, lambda: seal(PDF, before=seal_pdfs.replace_content)),
    Wrong("content-dropped-with-it", CheckName.LATER_REVISIONS, lambda: seal(PDF, before=seal_pdfs.drop_content)),
    Wrong("annotation-with-it", CheckName.LATER_REVISIONS, lambda: seal(PDF, before=seal_pdfs.annotate)),
    Wrong(
        "form-filled-in-with-it",
        CheckName.LATER_REVISIONS,
        lambda: seal(FORM, before=seal_pdfs.fill_text_field),
        original=lambda: FORM,
    ),
    # appearance
    Wrong(
        "not-seen",
        CheckName.APPEARANCE,
        lambda: seal(PDF),
        expected={"looks": Looks(SealPlace(1, 10, 10, 90, 40))},
        text="nothing of the seal can be seen",
    ),
    Wrong(
        "seen-unasked",
        CheckName.APPEARANCE,
        lambda: seal(PDF, box=(10, 10, 90, 40)),
        expected={"looks": Looks(None)},
        text="an invisible one was asked for",
    ),
    # archive_id
    Wrong("no-archive-id", CheckName.ARCHIVE_ID, lambda: seal(PDF), expected={"archive_asked": True}),
    Wrong(
        "blank-archive-id",
        CheckName.ARCHIVE_ID,
        lambda: seal(PDF),
        expected={"archive_asked": True, "archive_ids": (ArchiveId("a", "1"), ArchiveId("b", " "))},
    ),
]


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    """The roots of every PKI that a wrong seal may come from, but for somebody else's."""
    path = tmp_path / "anchors.pem"
    wrong = (make_pki(seal_days=days) for days in ((-100, 900), (-100, -1), (-9, -1), (1, 9)))
    names = (make_pki(organisation=name) for name in ("Autre SARL", f"{ORGANISATION} Nord", None))
    other = (REVOKED, STALE, make_pki(tsa_days=(-100, -1)))
    path.write_bytes(b"".join(pki.root.pem for pki in (*wrong, *names, *other)))
    return path


@pytest.mark.parametrize("wrong", [pytest.param(wrong, id=f"{wrong.check}-{wrong.name}") for wrong in WRONG])
def test_a_wrong_seal_fails_the_check_that_is_there_for_it(tmp_path: Path, anchor: Path, wrong: Wrong) -> None:
    """The first check to fail is the one that the fault belongs to, and its detail says what is wrong."""
    sealed = tmp_path / "sealed.pdf"
    sealed.write_bytes(wrong.make())
    report = verify_seal(sealed, expect(wrong.original(), anchor, **wrong.expected))
    assert [check.name for check in report.checks] == list(CheckName)
    assert report.first_failure is not None
    assert (report.first_failure.name, report.first_failure.outcome) == (wrong.check, CheckOutcome.FAILED), (
        report.checks
    )
    assert wrong.text in report.first_failure.detail


def test_every_check_has_a_wrong_seal() -> None:
    """No check is without a PDF that fails it."""
    assert {wrong.check for wrong in WRONG} == set(CheckName)


MARK = b"Pfand"


def _retitled(writer: IncrementalPdfFileWriter) -> None:
    """Replace an object that is of a type of the document's own."""
    writer.root["/Own"]["/Changed"] = generic.NumberObject(1)
    writer.update_container(writer.root["/Own"])


def _own_object(writer: IncrementalPdfFileWriter) -> None:
    """Add an object of a type of the document's own."""
    own = generic.DictionaryObject({generic.pdf_name("/Type"): generic.pdf_name("/" + MARK.decode())})
    writer.root["/Own"] = writer.add_object(own)
    writer.update_root()


def _strange_value(writer: IncrementalPdfFileWriter) -> None:
    """Fill a signature field that is named by the document with something that is no signature."""
    field = generic.DictionaryObject({generic.pdf_name("/FT"): generic.pdf_name("/Sig")})
    field[generic.pdf_name("/T")] = generic.pdf_string(MARK.decode())
    field[generic.pdf_name("/V")] = writer.add_object(generic.pdf_string(MARK.decode()))
    writer.root["/AcroForm"]["/Fields"].append(writer.add_object(field))
    writer.update_container(writer.root["/AcroForm"]["/Fields"])


def _names_theirs() -> bytes:
    return seal(PDF, pki=ELSE, field_name=MARK.decode())


TYPED = revise(PDF, _own_object)


@pytest.mark.parametrize(
    ("make", "original"),
    [
        (lambda: seal(PDF).replace(b" 00000 n", b" " + MARK + b" n"), PDF),
        (lambda: seal(_names_theirs(), before=seal_pdfs.replace_content), _names_theirs()),
        (lambda: seal(revise(PDF, seal_pdfs.add_text_field), before=_strange_value), FORM),
        (lambda: seal(TYPED, before=_retitled), TYPED),
    ],
    ids=["cross-references", "field-name", "field-filled", "type"],
)
def test_no_report_quotes_the_document(
    tmp_path: Path, anchor: Path, make: Callable[[], bytes], original: bytes
) -> None:
    """What came back damaged fails, and the report holds no word of it, though pyHanko's exceptions do."""
    sealed = tmp_path / "sealed.pdf"
    sealed.write_bytes(make())
    assert MARK in sealed.read_bytes()
    for expected in (expect(original, anchor), expect(original, anchor, original_size_bytes=None)):
        report = verify_seal(sealed, expected)
        assert not expected.original_size_bytes or report.first_failure is not None
        assert MARK.decode() not in str(report.checks)


def test_what_cannot_be_looked_at_is_not_reached(tmp_path: Path, anchor: Path) -> None:
    """After a failure the checks that need what it found say so, and those that do not are still made."""
    sealed = tmp_path / "sealed.pdf"
    sealed.write_bytes(seal(make_pdf(pages=2)))
    report = verify_seal(sealed, expect(PDF, anchor, archive_asked=True))
    outcomes = {check.name: check.outcome for check in report.checks}
    assert outcomes.pop(CheckName.READABLE) == CheckOutcome.PASSED
    assert outcomes.pop(CheckName.PREFIX) == CheckOutcome.FAILED
    assert outcomes.pop(CheckName.ARCHIVE_ID) == CheckOutcome.FAILED
    assert set(outcomes.values()) == {CheckOutcome.NOT_REACHED}
    assert report.certificate is None
    assert report.level is None


def test_information_about_the_document_may_change_with_the_seal(tmp_path: Path, anchor: Path) -> None:
    """A signer that renews the document information, as many do, is not refused for it."""
    sealed = tmp_path / "sealed.pdf"
    sealed.write_bytes(seal(PDF, before=seal_pdfs.set_title))
    assert verify_seal(sealed, expect(PDF, anchor)).first_failure is None
