"""Seals that other software than pyHanko made pass, and fail when they are tampered with; see tests/data/seals."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

import seal_pdfs
from sealdrop.model import CheckName, SealLevel, Sha256, Verification
from sealdrop.pdf.seal import Expectation, verify_seal
from seals import revise

DATA = Path(__file__).parents[2] / "data" / "seals"
ISSUING, ROOT = DATA / "issuing.pem", DATA / "root.pem"
SEALED_AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

# The size of the original, and the level, of each.
SEALS = {
    "pdfbox-ber": (2090, SealLevel.LTA),
    "pdfbox-ec-ocsp": (984, SealLevel.LTA),
    "pdfbox-pss-hybrid": (1381, SealLevel.LTA),
    "pdfbox-resealed": (12038, SealLevel.LTA),
    "itext-stream": (984, SealLevel.LTA),
    "itext-rich": (2090, SealLevel.LT),
}
WITH_ROOTS_LIST = ("pdfbox-ber", "pdfbox-pss-hybrid", "itext-stream")


def _content(name: str) -> bytes:
    return (DATA / f"{name}.pdf").read_bytes()


def _expected(name: str, *anchors: Path) -> Expectation:
    size_bytes, level = SEALS[name]
    return Expectation(
        now=SEALED_AT + timedelta(minutes=1),
        original_size_bytes=size_bytes,
        original_sha256=Sha256(hashlib.sha256(_content(name)[:size_bytes]).hexdigest()),
        organisation="Société Exemple SAS",
        level=level,
        trust_anchors=anchors or (ISSUING,),
        not_before=SEALED_AT - timedelta(minutes=1),
    )


def _verify(folder: Path, name: str, content: bytes) -> Verification:
    sealed = folder / "sealed.pdf"
    sealed.write_bytes(content)
    return verify_seal(sealed, _expected(name))


def _signed_range(name: str) -> tuple[int, int, int]:
    """Return where the seal's value begins and ends, and where its revision does."""
    content, size_bytes = _content(name), SEALS[name][0]
    start = content.index(b"/ByteRange", size_bytes)
    _, before, resumes, rest = map(int, content[content.index(b"[", start) + 1 : content.index(b"]", start)].split())
    return before, resumes, resumes + rest


@pytest.mark.parametrize("name", SEALS)
@pytest.mark.parametrize("anchors", [(ISSUING,), (ISSUING, ROOT)], ids=["issuing", "chain"])
def test_a_seal_by_other_software_passes(name: str, anchors: tuple[Path, ...]) -> None:
    """Each passes every check at its level, whether the issuing authority is trusted alone or with its root."""
    report = verify_seal(DATA / f"{name}.pdf", _expected(name, *anchors))
    assert report.first_failure is None
    assert report.level == SEALS[name][1]
    assert report.signed_at == SEALED_AT + timedelta(seconds=1)
    kinds = ["signature", "document"] if report.level == SealLevel.LTA else ["signature"]
    assert [stamp.kind for stamp in report.timestamps] == kinds
    assert report.certificate is not None
    assert report.certificate.organisation == "Société Exemple SAS"


@pytest.mark.parametrize("name", SEALS)
def test_evidence_has_to_reach_the_anchor(name: str) -> None:
    """With the root as the only anchor, a seal without the root's list has no evidence for its issuing authority."""
    report = verify_seal(DATA / f"{name}.pdf", _expected(name, ROOT))
    if name in WITH_ROOTS_LIST:
        assert report.first_failure is None
    else:
        assert report.first_failure is not None
        assert report.first_failure.name == CheckName.LEVEL
        assert report.level == SealLevel.T


def test_a_revoked_certificate_is_found_by_ocsp() -> None:
    """An OCSP response that says "revoked" counts, and the seal is not trusted."""
    content = _content("pdfbox-revoked")
    expected = _expected("itext-rich")
    expected = replace(
        expected, original_size_bytes=1034, original_sha256=Sha256(hashlib.sha256(content[:1034]).hexdigest())
    )
    failure = verify_seal(DATA / "pdfbox-revoked.pdf", expected).first_failure
    assert failure is not None
    assert failure.name == CheckName.TRUSTED_CHAIN
    assert "REVOKED" in failure.detail


@pytest.mark.parametrize("name", SEALS)
def test_no_signed_byte_can_change(tmp_path: Path, name: str) -> None:
    """A bit changed anywhere in what the seal covers makes it fail."""
    content = _content(name)
    before, resumes, end = _signed_range(name)
    places = [*range(0, before, before // 10), before - 1, resumes, *range(resumes, end, (end - resumes) // 10)]
    for place in places:
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        assert _verify(tmp_path, name, changed).first_failure is not None, place


@pytest.mark.parametrize("name", SEALS)
@pytest.mark.parametrize(
    "change",
    [seal_pdfs.rotate, seal_pdfs.replace_content, seal_pdfs.annotate, seal_pdfs.add_page],
    ids=lambda change: change.__name__,
)
def test_nothing_can_be_shown_later(tmp_path: Path, name: str, change: seal_pdfs.Change) -> None:
    """A later revision that changes a page makes it fail."""
    changed = revise(_content(name), change)
    failure = _verify(tmp_path, name, changed).first_failure
    assert failure is not None
    assert failure.name in {CheckName.LATER_REVISIONS, CheckName.PAGE_COUNT, CheckName.EARLIER_SIGNATURES}


def test_a_visible_field_cannot_be_added_later(tmp_path: Path) -> None:
    """An empty signature field that covers part of the page makes a sealed document fail."""

    def cover(writer: IncrementalPdfFileWriter) -> None:
        seal_pdfs.add_field(writer, "Cover", (0, 0, 500, 500))

    failure = _verify(tmp_path, "pdfbox-ber", revise(_content("pdfbox-ber"), cover)).first_failure
    assert failure is not None
    assert failure.name == CheckName.LATER_REVISIONS
