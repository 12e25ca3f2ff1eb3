"""Where pyHanko's difference analysis fails, a good seal passes all the same, and a bad one does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import MDPPerm

import seal_pdfs
from seal_pdfs import make_pdf
from seal_pki import DAY, SEALED_AT, make_pki
from sealdrop.model import Check, CheckName, CheckOutcome, SealLevel
from sealdrop.pdf import reader as pdf_reader
from sealdrop.pdf.seal import verify_seal
from seals import expect, revise, seal

THEIRS = make_pki("Somebody Else")


def _same_field_twice(writer: IncrementalPdfFileWriter) -> None:
    """Make a form in which two fields have one name, which pyHanko's analysis does not take."""
    seal_pdfs.add_text_field(writer)
    second = generic.DictionaryObject({pdf_name("/FT"): pdf_name("/Tx"), pdf_name("/T"): generic.pdf_string("amount")})
    writer.root["/AcroForm"]["/Fields"].append(writer.add_object(second))


QUIRKY = revise(make_pdf(), _same_field_twice)
SIGNED = seal(QUIRKY, pki=THEIRS, at=SEALED_AT - DAY / 2, field_name="Theirs")


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    """The trusted root."""
    path = tmp_path / "anchor.pem"
    path.write_bytes(make_pki().root.pem)
    return path


def _checks(folder: Path, anchor: Path, original: bytes, content: bytes, level: SealLevel) -> dict[CheckName, Check]:
    sealed = folder / "sealed.pdf"
    sealed.write_bytes(content)
    return {check.name: check for check in verify_seal(sealed, expect(original, anchor, level=level)).checks}


def _failed(checks: dict[CheckName, Check]) -> list[CheckName]:
    return [name for name, check in checks.items() if check.outcome == CheckOutcome.FAILED]


@pytest.mark.parametrize("original", [QUIRKY, SIGNED], ids=["unsigned", "signed"])
def test_a_good_seal_passes_where_pyhanko_fails(tmp_path: Path, anchor: Path, original: bytes) -> None:
    """What came later is judged by its objects, the report says so, and the earlier signature stands."""
    checks = _checks(tmp_path, anchor, original, seal(original, SealLevel.LTA), SealLevel.LTA)
    assert not _failed(checks)
    assert "cannot compare them (PdfReadError)" in checks[CheckName.LATER_REVISIONS].detail
    clean = "1 earlier signature(s), 1 clean" if original is SIGNED else "0 earlier"
    assert clean in checks[CheckName.EARLIER_SIGNATURES].detail


@pytest.mark.parametrize(
    "change",
    [seal_pdfs.rotate, seal_pdfs.replace_content, seal_pdfs.annotate, seal_pdfs.fill_text_field],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("when", ["with-the-seal", "later"])
@pytest.mark.parametrize("original", [QUIRKY, SIGNED], ids=["unsigned", "signed"])
def test_a_change_is_found_where_pyhanko_fails(
    tmp_path: Path, anchor: Path, original: bytes, when: str, change: Callable[[IncrementalPdfFileWriter], None]
) -> None:
    """A change with the seal or after it fails, and counts against the earlier signature too."""
    if when == "later":
        content = revise(seal(original, SealLevel.LTA), change)
    else:
        content = seal(original, SealLevel.B, before=change)
    failed = _failed(_checks(tmp_path, anchor, original, content, SealLevel.B))
    assert failed == [CheckName.EARLIER_SIGNATURES, CheckName.LATER_REVISIONS][original is QUIRKY :]


def test_a_certification_that_allows_nothing_is_broken_by_a_seal(tmp_path: Path, anchor: Path) -> None:
    """Where pyHanko fails, an earlier signature that allows no changes is not clean after a seal."""
    original = seal(QUIRKY, pki=THEIRS, field_name="Theirs", certify=MDPPerm.NO_CHANGES)
    checks = _checks(tmp_path, anchor, original, seal(original), SealLevel.B)
    assert _failed(checks) == [CheckName.EARLIER_SIGNATURES]
    assert "allows no seal" in checks[CheckName.EARLIER_SIGNATURES].detail


def test_a_large_document_is_judged_by_its_objects(
    tmp_path: Path, anchor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document of very many objects is not handed to pyHanko's analysis, and is judged all the same.

    It has a store of validation data before it is sealed: with another one after that, it is no plain case.
    """
    monkeypatch.setattr(pdf_reader, "MOST_OBJECTS", 20)
    original = seal(make_pdf(pages=20), SealLevel.LT, pki=THEIRS, at=SEALED_AT - DAY / 2, field_name="Theirs")
    sealed = seal(original, SealLevel.LTA)
    checks = _checks(tmp_path, anchor, original, sealed, SealLevel.LTA)
    assert not _failed(checks)
    assert "objects" in checks[CheckName.LATER_REVISIONS].detail
    turned = revise(sealed, seal_pdfs.rotate)
    assert _failed(_checks(tmp_path, anchor, original, turned, SealLevel.LTA)) == [CheckName.LATER_REVISIONS]
