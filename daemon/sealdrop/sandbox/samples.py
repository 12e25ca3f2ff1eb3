"""Documents to try it on, made on the spot: the same arguments give the same document."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from reportlab.lib.colors import HexColor  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.lib.pdfencrypt import StandardEncryption  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from sealdrop.sandbox import certificates
from sealdrop.sandbox.pki import ORGANISATION, Pki
from sealdrop.sandbox.sealing import Level, Sealer, SealOptions

SUPPLIER = "Atelier des Quais SARL"
PASSWORD = "demonstration"  # noqa: S105 - of a sample that shows what becomes of encrypted files
DEFAULT_DATE = date(2026, 3, 16)

_WIDTH, _HEIGHT = float(A4[0]), float(A4[1])
_LEFT, _RIGHT = 56.0, _WIDTH - 56.0
_INK, _ACCENT, _PALE, _GREY = HexColor(0x1D2733), HexColor(0x14506B), HexColor(0xEAF1F4), HexColor(0x66727E)
_VAT = Decimal("0.20")


@dataclass(frozen=True, slots=True)
class Item:
    """A line of an invoice; ``price`` is in euros, before tax, for one."""

    french: str
    english: str
    quantity: int
    price: Decimal


ITEMS = (
    Item("Conception du parcours de scellement", "Sealing workflow design", 3, Decimal("680.00")),
    Item("Intégration et recette", "Integration and acceptance", 5, Decimal("620.00")),
    Item("Formation des administrateurs (demi-journée)", "Administrator training (half a day)", 2, Decimal("450.00")),
    Item("Dossier d'exploitation", "Operations handbook", 1, Decimal("390.00")),
)


def invoice(number: str = "F-2026-0042", issued: date = DEFAULT_DATE, items: Sequence[Item] = ITEMS) -> bytes:
    """Return an invoice of one page, in French and English."""
    buffer = io.BytesIO()
    canvas = _canvas(buffer, f"Facture {number}")
    _letterhead(canvas, number, issued)
    _parties(canvas)
    y = _table(canvas, items)
    _totals(canvas, y, sum((item.price * item.quantity for item in items), Decimal(0)))
    _footer(canvas, "Page 1 / 1")
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def long_report(pages: int = 40, issued: date = DEFAULT_DATE, number: str = "R-2026-0007") -> bytes:
    """Return a report of ``pages`` pages; each bears the ``number``."""
    buffer = io.BytesIO()
    canvas = _canvas(buffer, "Rapport annuel")
    for page in range(1, pages + 1):
        _report_page(canvas, page, issued)
        _footer(canvas, f"{number}  ·  Page {page} / {pages}")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def encrypted() -> bytes:
    """Return a PDF that cannot be opened without its password."""
    buffer = io.BytesIO()
    canvas = Canvas(
        buffer, pagesize=A4, encrypt=StandardEncryption(userPassword=PASSWORD, ownerPassword=PASSWORD, strength=128)
    )
    canvas.drawString(_LEFT, _HEIGHT - 100, "Confidentiel / Confidential")
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def not_a_pdf() -> bytes:
    """Return a plain text, such as somebody might have renamed to ``.pdf``."""
    return "Ceci n'est pas un PDF, malgré son nom.\nThis is no PDF, whatever its name says.\n".encode()


def already_signed(pki: Pki) -> bytes:
    """Return an invoice that its supplier has signed already."""
    supplier = certificates.seal(pki.root, SUPPLIER, certificates.Validity.from_now(), bits=2048)
    return Sealer(pki).seal(invoice("F-2026-0043"), SealOptions(Level.B), identity=supplier)


def _canvas(buffer: io.BytesIO, title: str) -> Canvas:
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1, lang="fr-FR")
    canvas.setTitle(title)
    canvas.setAuthor(SUPPLIER)
    return canvas


def _letterhead(canvas: Canvas, number: str, issued: date) -> None:
    canvas.setFillColor(_ACCENT)
    canvas.rect(0, _HEIGHT - 118, _WIDTH, 118, stroke=0, fill=1)
    canvas.setFillColor(HexColor(0xFFFFFF))
    canvas.setFont("Helvetica-Bold", 21)
    canvas.drawString(_LEFT, _HEIGHT - 58, SUPPLIER)
    canvas.setFont("Helvetica", 9)
    canvas.drawString(_LEFT, _HEIGHT - 76, "12 quai de la Fosse, 44000 Nantes, France")
    canvas.drawString(_LEFT, _HEIGHT - 89, "SIRET 123 456 789 00012  ·  TVA FR 32 123456789")
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawRightString(_RIGHT, _HEIGHT - 58, "FACTURE / INVOICE")
    canvas.setFont("Helvetica", 10)
    canvas.drawRightString(_RIGHT, _HEIGHT - 76, f"N° {number}")
    canvas.drawRightString(_RIGHT, _HEIGHT - 90, f"{issued:%d/%m/%Y}")
    due = issued + timedelta(days=30)
    canvas.setFillColor(_GREY)
    canvas.setFont("Helvetica", 9)
    canvas.drawRightString(_RIGHT, _HEIGHT - 140, f"Échéance / Due: {due:%d/%m/%Y}")


def _parties(canvas: Canvas) -> None:
    canvas.setFillColor(_GREY)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(_LEFT, _HEIGHT - 168, "FACTURÉ À / BILLED TO")
    canvas.setFillColor(_INK)
    canvas.setFont("Helvetica-Bold", 11)
    canvas.drawString(_LEFT, _HEIGHT - 185, ORGANISATION)
    canvas.setFont("Helvetica", 10)
    for row, text in enumerate(("Service comptabilité", "8 rue de la Paix", "75002 Paris, France")):
        canvas.drawString(_LEFT, _HEIGHT - 200 - 14 * row, text)


def _table(canvas: Canvas, items: Sequence[Item]) -> float:
    """Draw the lines; return the height at which they end."""
    y = float(_HEIGHT) - 275
    columns = ((_RIGHT - 170, "Qté / Qty"), (_RIGHT - 85, "P.U. HT / Unit"), (_RIGHT - 8, "Total HT / Net"))
    canvas.setFillColor(_PALE)
    canvas.rect(_LEFT, y - 8, _RIGHT - _LEFT, 24, stroke=0, fill=1)
    canvas.setFillColor(_ACCENT)
    canvas.setFont("Helvetica-Bold", 9)
    canvas.drawString(_LEFT + 8, y, "Désignation / Description")
    for x, title in columns:
        canvas.drawRightString(x, y, title)
    for item in items:
        y -= 36
        canvas.setFillColor(_INK)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(_LEFT + 8, y + 4, item.french)
        cells = (str(item.quantity), _euros(item.price), _euros(item.price * item.quantity))
        for (x, _), cell in zip(columns, cells, strict=True):
            canvas.drawRightString(x, y, cell)
        canvas.setFillColor(_GREY)
        canvas.setFont("Helvetica-Oblique", 8)
        canvas.drawString(_LEFT + 8, y - 7, item.english)
        canvas.setStrokeColor(HexColor(0xD5DEE3))
        canvas.setLineWidth(0.6)
        canvas.line(_LEFT, y - 16, _RIGHT, y - 16)
    return y - 16


def _totals(canvas: Canvas, y: float, net: Decimal) -> None:
    tax = (net * _VAT).quantize(Decimal("0.01"))
    canvas.setFillColor(_INK)
    canvas.setFont("Helvetica", 10)
    for row, (label, amount) in enumerate((("Total HT / Net", net), ("TVA / VAT 20 %", tax))):
        canvas.drawRightString(_RIGHT - 110, y - 24 - 17 * row, label)
        canvas.drawRightString(_RIGHT - 8, y - 24 - 17 * row, _euros(amount))
    canvas.setFillColor(_ACCENT)
    canvas.rect(_RIGHT - 250, y - 80, 250, 28, stroke=0, fill=1)
    canvas.setFillColor(HexColor(0xFFFFFF))
    canvas.setFont("Helvetica-Bold", 11)
    canvas.drawRightString(_RIGHT - 110, y - 70, "Total TTC / Total due")
    canvas.drawRightString(_RIGHT - 8, y - 70, _euros(net + tax))
    canvas.setFillColor(_GREY)
    canvas.setFont("Helvetica", 8.5)
    terms = (
        "Règlement par virement à 30 jours / Payment by bank transfer within 30 days",
        "IBAN FR76 3000 6000 0112 3456 7890 189  ·  BIC DEMOFRPP",
        "Pénalités de retard : trois fois le taux d'intérêt légal ; indemnité forfaitaire de recouvrement : 40 €",
        "Late payment: three times the legal interest rate, and a fixed recovery charge of EUR 40",
    )
    for row, text in enumerate(terms):
        canvas.drawString(_LEFT, y - 122 - 13 * row, text)


def _report_page(canvas: Canvas, page: int, issued: date) -> None:
    canvas.setFillColor(_ACCENT)
    canvas.setFont("Helvetica-Bold", 18)
    canvas.drawString(_LEFT, _HEIGHT - 80, f"Chapitre {page} / Chapter {page}")
    canvas.setFillColor(_GREY)
    canvas.setFont("Helvetica", 9)
    canvas.drawString(_LEFT, _HEIGHT - 98, f"{ORGANISATION}  ·  {issued:%d/%m/%Y}")
    canvas.setFillColor(_INK)
    canvas.setFont("Times-Roman", 11)
    for row in range(38):
        text = f"{page}.{row + 1}  Mesure {page * 100 + row} relevée et vérifiée, reading taken and checked."
        canvas.drawString(_LEFT, _HEIGHT - 130 - 16 * row, text)


def _footer(canvas: Canvas, text: str) -> None:
    canvas.setFillColor(_GREY)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(_LEFT, 36, f"{SUPPLIER}  ·  Spécimen / Sample")
    canvas.drawRightString(_RIGHT, 36, text)


def _euros(amount: Decimal) -> str:
    whole, cents = f"{amount:,.2f}".split(".")
    return f"{whole.replace(',', ' ')},{cents} €"
