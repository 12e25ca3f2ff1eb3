"""The sample documents are what they say they are."""

import io
from datetime import date
from pathlib import Path

import pytest
from pypdf import PdfReader
from pypdf.errors import PdfStreamError

from sealdrop.sandbox import samples
from sealdrop.sandbox.pki import Pki


def test_an_invoice_is_always_the_same() -> None:
    """Two invoices differ in nothing but what they were told to differ in."""
    assert samples.invoice() == samples.invoice()
    text = PdfReader(io.BytesIO(samples.invoice("F-7", date(2026, 1, 31)))).pages[0].extract_text()
    assert "F-7" in text
    assert "31/01/2026" in text
    assert "02/03/2026" in text  # thirty days later
    assert "7 716,00 €" in text


def test_a_report_has_its_pages() -> None:
    """As many pages as asked for, each numbered."""
    pages = PdfReader(io.BytesIO(samples.long_report(12))).pages
    assert len(pages) == 12
    assert "Page 12 / 12" in pages[11].extract_text()


def test_the_encrypted_one_needs_its_password() -> None:
    """Nothing opens it but the password: not the empty one either."""
    reader = PdfReader(io.BytesIO(samples.encrypted()))
    assert reader.is_encrypted
    assert not reader.decrypt("")
    assert reader.decrypt(samples.PASSWORD)


def test_the_text_is_no_pdf() -> None:
    """No PDF header anywhere, and no reader takes it."""
    assert b"%PDF-" not in samples.not_a_pdf()
    with pytest.raises(PdfStreamError):
        PdfReader(io.BytesIO(samples.not_a_pdf()))


def test_the_signed_one_is_signed_by_its_supplier(tmp_path: Path) -> None:
    """It holds one filled signature field, on top of an invoice."""
    content = samples.already_signed(Pki.ensure(tmp_path))
    fields = PdfReader(io.BytesIO(content)).get_fields() or {}
    assert [field.get("/FT") for field in fields.values()] == ["/Sig"]
    assert content.startswith(samples.invoice("F-2026-0043"))
