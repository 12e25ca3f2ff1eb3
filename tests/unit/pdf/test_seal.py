"""Good seals pass every check, at each level, on every kind of PDF, and years later."""

import hashlib
import pickle
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfWriter

import seal_pdfs
from seal_pdfs import make_pdf
from seal_pki import DAY, ORGANISATION, SEALED_AT, make_pki
from sealdrop.errors import ConfigurationError
from sealdrop.model import ArchiveId, CheckName, CheckOutcome, SealLevel, Sha256
from sealdrop.pdf.appearance import Looks
from sealdrop.pdf.seal import Expectation, verify_seal
from seals import expect, revise, seal, timestamp

LEVELS = tuple(SealLevel)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Where the sealed PDF is written."""
    return tmp_path / "sealed.pdf"


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    """The trusted root, and another one, in one PEM file."""
    path = tmp_path / "anchors.pem"
    path.write_bytes(make_pki("Somebody Else").root.pem + make_pki().root.pem)
    return path


@pytest.mark.parametrize("level", LEVELS)
def test_an_anchor_is_trusted_beyond_its_own_end(sealed: Path, tmp_path: Path, level: SealLevel) -> None:
    """A root that ended the day before the seal was made still vouches for it: nothing is sealed for nothing."""
    ended = tmp_path / "ended.pem"
    ended.write_bytes(make_pki(root_days=-1).root.pem)
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, level))  # by the authority whose root has the same key, and has not ended
    report = verify_seal(sealed, expect(pdf, ended, level=level))
    outcomes = {check.name: check.outcome for check in report.checks}
    assert outcomes[CheckName.TRUSTED_CHAIN] is outcomes[CheckName.LEVEL] is CheckOutcome.PASSED, report.checks


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("xref", ["table", "stream", "hybrid"])
def test_a_good_seal_passes_every_check(sealed: Path, anchor: Path, level: SealLevel, xref: str) -> None:
    """Each level passes on each kind of cross-references, and the report says what was found."""
    pdf = make_pdf(pages=2, xref=xref)
    sealed.write_bytes(seal(pdf, level))
    archived = (ArchiveId("archiver", "AR-1"),)
    asked = {"level": level, "archive_asked": True, "archive_ids": archived, "looks": Looks(None)}
    report = verify_seal(sealed, expect(pdf, anchor, **asked))
    assert [check.name for check in report.checks] == list(CheckName)
    assert {check.outcome for check in report.checks} == {CheckOutcome.PASSED}, report.checks
    assert report.level == level
    assert report.signed_at == SEALED_AT
    assert [stamp.kind for stamp in report.timestamps] == {
        SealLevel.B: [],
        SealLevel.T: ["signature"],
        SealLevel.LT: ["signature"],
        SealLevel.LTA: ["signature", "document"],
    }[level]
    assert report.certificate is not None
    certificate = make_pki().seal.certificate
    assert report.certificate.organisation == ORGANISATION
    assert report.certificate.serial == str(certificate.serial_number)
    assert report.certificate.not_after == certificate.not_valid_after_utc


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("asked", LEVELS)
def test_at_least_the_level_that_was_asked_for(sealed: Path, anchor: Path, level: SealLevel, asked: SealLevel) -> None:
    """A higher level than asked for passes, and each lower one fails the check of the level, and no other."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, level))
    failure = verify_seal(sealed, expect(pdf, anchor, level=asked)).first_failure
    if LEVELS.index(level) >= LEVELS.index(asked):
        assert failure is None
    else:
        assert failure is not None
        assert failure.name == CheckName.LEVEL
        assert f"found {level}" in failure.detail


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("earlier", [SealLevel.B, SealLevel.LTA])
def test_on_a_signed_document(sealed: Path, anchor: Path, level: SealLevel, earlier: SealLevel) -> None:
    """A seal on a document that somebody else signed and we do not trust passes, and the other signature is counted."""
    theirs = make_pki("Somebody Else Again")
    pdf = seal(make_pdf(), earlier, pki=theirs, at=SEALED_AT - DAY / 2, field_name="Theirs")
    sealed.write_bytes(seal(pdf, level, also=(theirs,)))
    report = verify_seal(sealed, expect(pdf, anchor, level=level))
    assert report.first_failure is None
    details = {check.name: check.detail for check in report.checks}
    assert details[CheckName.EARLIER_SIGNATURES].endswith("clean before and after")
    assert "0 clean" not in details[CheckName.EARLIER_SIGNATURES]
    assert report.level == level
    assert report.signed_at == SEALED_AT


def test_an_earlier_signature_that_was_broken_before_does_not_count(sealed: Path, anchor: Path) -> None:
    """A document whose signature was broken when it came to us can be sealed and published."""
    signed = seal(make_pdf(), pki=make_pki("Somebody Else"), field_name="Theirs")
    pdf = signed.replace(b"Page 1 of", b"Page 9 of")
    assert pdf != signed
    sealed.write_bytes(seal(pdf))
    report = verify_seal(sealed, expect(pdf, anchor))
    assert report.first_failure is None
    assert "1 earlier signature(s), 0 clean" in report.checks[5].detail


def test_a_visible_seal(sealed: Path, anchor: Path) -> None:
    """A seal with an appearance on the page passes."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, SealLevel.LTA, box=(100, 100, 300, 160)))
    assert verify_seal(sealed, expect(pdf, anchor, level=SealLevel.LTA)).first_failure is None


@pytest.mark.parametrize(("password", "failure"), [("", None), ("secret", CheckName.READABLE)])
def test_an_encrypted_document(sealed: Path, anchor: Path, password: str, failure: CheckName | None) -> None:
    """An encrypted document passes if it opens without a password, and fails if it does not."""
    writer = PdfWriter(clone_from=BytesIO(make_pdf()))
    writer.encrypt(password, "owner", algorithm="AES-256")
    out = BytesIO()
    writer.write(out)
    pdf = out.getvalue()
    sealed.write_bytes(seal(pdf, SealLevel.LTA, before=lambda writer: writer.encrypt(password) and None))
    found = verify_seal(sealed, expect(pdf, anchor, level=SealLevel.LTA)).first_failure
    assert (found.name if found else None) == failure


def test_an_empty_signature_field_may_be_filled(sealed: Path, anchor: Path) -> None:
    """A seal in a field that the document has ready for it passes."""
    pdf = revise(make_pdf(), lambda writer: seal_pdfs.add_field(writer, "Seal", (10, 10, 90, 40)))
    sealed.write_bytes(seal(pdf))
    assert verify_seal(sealed, expect(pdf, anchor)).first_failure is None


def test_a_chain_of_document_timestamps(sealed: Path, anchor: Path) -> None:
    """Document timestamps that are renewed later pass, each as proof for the one before."""
    pdf = make_pdf()
    renewed = timestamp(seal(pdf, SealLevel.LTA), at=SEALED_AT + 20 * DAY)
    sealed.write_bytes(renewed)
    report = verify_seal(sealed, expect(pdf, anchor, level=SealLevel.LTA, now=SEALED_AT + 21 * DAY))
    assert report.first_failure is None
    assert [stamp.at for stamp in report.timestamps] == [SEALED_AT, SEALED_AT, SEALED_AT + 20 * DAY]


@pytest.mark.parametrize(
    ("level", "days", "first_failure"),
    [
        pytest.param(SealLevel.B, 899, None, id="B-while-valid"),
        pytest.param(SealLevel.B, 901, CheckName.TRUSTED_CHAIN, id="B-expired-since"),
        pytest.param(SealLevel.T, 2999, None, id="T-seal-expired-since"),
        pytest.param(SealLevel.T, 3001, CheckName.TRUSTED_CHAIN, id="T-timestamp-expired-since"),
        pytest.param(SealLevel.LT, 2999, None, id="LT-seal-expired-since"),
        pytest.param(SealLevel.LTA, 40, None, id="LTA-lists-ran-out"),
        pytest.param(SealLevel.LTA, 2999, None, id="LTA-seal-expired-since"),
        pytest.param(SealLevel.LTA, 3001, CheckName.TRUSTED_CHAIN, id="LTA-timestamps-expired-since"),
    ],
)
def test_years_later(sealed: Path, anchor: Path, level: SealLevel, days: int, first_failure: CheckName | None) -> None:
    """What has expired since is no fault as long as a timestamp proves that it was valid then."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, level))
    failure = verify_seal(sealed, expect(pdf, anchor, level=level, now=SEALED_AT + days * DAY)).first_failure
    assert (failure.name if failure else None) == first_failure


def test_a_renewed_timestamp_outlives_the_first_authority(sealed: Path, tmp_path: Path) -> None:
    """When the first authority's certificate has expired, a newer authority's document timestamp carries it on."""
    newer = make_pki("Newer Trust", tsa_days=(2000, 9000))
    anchor = tmp_path / "both.pem"
    anchor.write_bytes(make_pki().root.pem + newer.root.pem)
    pdf = make_pdf()
    sealed.write_bytes(timestamp(seal(pdf, SealLevel.LTA), pki=newer, at=SEALED_AT + 2900 * DAY))
    expected = expect(pdf, anchor, level=SealLevel.LTA, now=SEALED_AT + 5000 * DAY)
    report = verify_seal(sealed, expected)
    assert report.first_failure is None
    assert report.level == SealLevel.LTA


def test_revoked_after_sealing(sealed: Path, anchor: Path) -> None:
    """A seal's certificate that was revoked after the timestamp's time does no harm."""
    pki = make_pki(revoked_at=SEALED_AT + timedelta(minutes=5))
    anchor.write_bytes(pki.root.pem)
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, SealLevel.LTA, pki=pki))
    assert verify_seal(sealed, expect(pdf, anchor, level=SealLevel.LTA)).first_failure is None


@pytest.mark.parametrize(
    "spelling",
    ["société exemple sas", "  Socie\u0301te\u0301   Exemple\u00a0SAS ", "\uff33ociété Exemple SAS"],
    ids=["case", "spaces-and-accents", "full-width"],
)
def test_an_organisation_is_known_however_it_is_spelt(sealed: Path, anchor: Path, spelling: str) -> None:
    """Letter case, white space and Unicode's forms make no difference to an organisation's name."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf))
    assert verify_seal(sealed, expect(pdf, anchor, organisation=spelling)).first_failure is None


def test_with_nothing_else_at_hand(sealed: Path) -> None:
    """Without an expectation the seal is still described, what was not asked says so, and nothing fails."""
    sealed.write_bytes(seal(seal(make_pdf(), field_name="Theirs"), SealLevel.LTA))
    report = verify_seal(sealed, Expectation(now=SEALED_AT + DAY))
    assert report.first_failure is None
    assert report.level == SealLevel.LTA
    assert report.certificate is not None
    assert {check.name for check in report.checks if check.outcome == CheckOutcome.NOT_ASKED} == {
        CheckName.PREFIX,
        CheckName.PAGE_COUNT,
        CheckName.ONE_NEW_SIGNATURE,
        CheckName.TRUSTED_CHAIN,
        CheckName.ORGANISATION,
        CheckName.LEVEL,
        CheckName.SIGNING_TIME,
        CheckName.APPEARANCE,
        CheckName.ARCHIVE_ID,
    }
    assert all(check.detail for check in report.checks)


def test_an_expectation_can_be_sent_to_a_child_process(anchor: Path) -> None:
    """An expectation, and the report, survive pickling."""
    expected = expect(make_pdf(), anchor)
    assert pickle.loads(pickle.dumps(expected)) == expected  # noqa: S301 - our own bytes


def test_the_original_can_be_large(sealed: Path, anchor: Path) -> None:
    """A document of several read buffers is hashed and read right."""
    pdf = make_pdf(pages=7, filler_bytes=3 << 20)
    sealed.write_bytes(seal(pdf, SealLevel.LTA))
    expected = expect(pdf, anchor, level=SealLevel.LTA)
    assert expected.original_sha256 == Sha256(hashlib.sha256(pdf).hexdigest())
    assert verify_seal(sealed, expected).first_failure is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no certificate at all",
        b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n",
    ],
    ids=["empty", "text", "broken"],
)
def test_a_broken_trust_anchor_is_the_administrators_fault(sealed: Path, anchor: Path, content: bytes) -> None:
    """A trust anchor that is no certificate is a configuration error, not a verdict on the document."""
    sealed.write_bytes(seal(make_pdf()))
    anchor.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"anchors\.pem"):
        verify_seal(sealed, expect(make_pdf(), anchor))


def test_a_replaced_trust_anchor_is_read_again(sealed: Path, anchor: Path) -> None:
    """A trust anchor that changes on disk counts from then on, without a restart."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf))
    assert verify_seal(sealed, expect(pdf, anchor)).first_failure is None
    anchor.write_bytes(make_pki("Somebody Else").root.pem)
    failure = verify_seal(sealed, expect(pdf, anchor)).first_failure
    assert failure is not None
    assert failure.name == CheckName.TRUSTED_CHAIN


def test_a_missing_file_is_no_verdict(sealed: Path, anchor: Path) -> None:
    """A file that is not there is an error of the disk, not of the document."""
    with pytest.raises(FileNotFoundError):
        verify_seal(sealed, expect(make_pdf(), anchor))


@pytest.mark.parametrize(("level", "failure"), [(SealLevel.B, CheckName.SIGNING_TIME), (SealLevel.T, None)])
def test_an_hour_somewhere_on_earth(sealed: Path, anchor: Path, level: SealLevel, failure: CheckName | None) -> None:
    """A claimed time without a zone is none: a seal needs a timestamp then."""
    pdf = make_pdf()
    sealed.write_bytes(seal(pdf, level, claimed_at=SEALED_AT.replace(tzinfo=None)))
    report = verify_seal(sealed, expect(pdf, anchor, level=level))
    assert (report.first_failure.name if report.first_failure else None) == failure
    assert report.signed_at == (None if failure else SEALED_AT)
