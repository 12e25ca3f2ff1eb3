"""The seals are real: poppler and pyHanko, two programs that know nothing of the sandbox, find them valid."""

import asyncio
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from asn1crypto import x509
from PIL import Image
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator import ValidationContext
from pypdf import PdfReader, PdfWriter

from sealdrop.sandbox import samples
from sealdrop.sandbox.appearance import TextLine, VisibleSeal
from sealdrop.sandbox.errors import Unsealable
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.sealing import Level, Sealer, SealOptions

RunPoppler = Callable[[Sequence[str | Path]], str]
RED = (200, 30, 40)
PAGE_HEIGHT_PT = 842
DPI = 72  # one pixel to the point


@pytest.fixture(scope="module")
def pki(keys: Path) -> Pki:
    """The run's keys."""
    return Pki.ensure(keys)


@pytest.fixture(scope="module")
def sealer(pki: Pki) -> Sealer:
    """A sealer with the run's keys."""
    return Sealer(pki)


def read(content: bytes) -> PdfFileReader:
    """Open a PDF as forgivingly as the sandbox does."""
    return PdfFileReader(io.BytesIO(content), strict=False)


def trust(pki: Pki, reader: PdfFileReader, level: Level) -> ValidationContext:
    """Trust the root alone; where revocation data must be embedded, insist on it and take it from the document."""
    roots = [x509.Certificate.load(pki.root.der)]
    if level in (Level.LT, Level.LTA):
        store = DocumentSecurityStore.read_dss(reader)
        return store.as_validation_context(
            {"trust_roots": roots, "allow_fetching": False, "revocation_mode": "require"}
        )
    return ValidationContext(trust_roots=roots, allow_fetching=False)


@pytest.mark.parametrize("level", Level)
def test_pyhanko_finds_each_level_valid(sealer: Sealer, pki: Pki, invoice: bytes, level: Level) -> None:
    """At each level the seal is intact and trusted, and has the timestamps that the level asks for."""
    sealed = sealer.seal(invoice, SealOptions(level))
    assert sealed.startswith(invoice)
    reader = read(sealed)
    context = trust(pki, reader, level)
    (seal,) = reader.embedded_regular_signatures
    status = asyncio.run(async_validate_pdf_signature(seal, context, context))
    assert status.bottom_line, status.pretty_print_details()
    assert status.modification_level in (ModificationLevel.NONE, ModificationLevel.LTA_UPDATES)
    assert status.md_algorithm == "sha256"
    assert (status.timestamp_validity is not None) == (level is not Level.B)
    stamps = list(reader.embedded_timestamp_signatures)
    assert len(stamps) == (1 if level is Level.LTA else 0)
    for stamp in stamps:
        stamp_status = asyncio.run(async_validate_pdf_timestamp(stamp, context))
        assert stamp_status.intact
        assert stamp_status.valid
        assert stamp_status.trusted


@pytest.mark.parametrize("level", Level)
def test_pdfsig_finds_each_level_valid(
    sealer: Sealer, invoice: bytes, level: Level, tmp_path: Path, poppler: RunPoppler
) -> None:
    """Poppler calls the signature valid at each level, and lists the document timestamp of LTA as a second one."""
    path = tmp_path / "sealed.pdf"
    path.write_bytes(sealer.seal(invoice, SealOptions(level)))
    report = poppler(["pdfsig", "-nocert", path])
    assert report.count("Signature Validation: Signature is Valid.") == 1
    assert report.count("Signature Field Name: Seal-") == 1
    assert report.count("Signature Field Name: Timestamp-") == (1 if level is Level.LTA else 0)
    assert "Demo Organisation SAS" in report


def test_a_changed_byte_is_found(sealer: Sealer, pki: Pki, invoice: bytes) -> None:
    """The checks above can fail: one byte changed under the seal, and pyHanko no longer finds it intact."""
    sealed = bytearray(sealer.seal(invoice, SealOptions(Level.B)))
    sealed[7] ^= 1
    reader = read(bytes(sealed))
    context = trust(pki, reader, Level.B)
    status = asyncio.run(async_validate_pdf_signature(reader.embedded_regular_signatures[0], context))
    assert not status.intact


def test_sha224_is_used_when_asked_for(sealer: Sealer, invoice: bytes) -> None:
    """The other digest algorithm of the description works too."""
    reader = read(sealer.seal(invoice, SealOptions(Level.B, "sha224")))
    assert reader.embedded_regular_signatures[0].md_algorithm == "sha224"


def test_a_signed_document_keeps_its_signature(sealer: Sealer, pki: Pki) -> None:
    """Sealing a signed document, twice even, leaves each earlier signature intact, under names of their own."""
    content = samples.already_signed(pki)
    once = sealer.seal(content, SealOptions(Level.LTA))
    twice = sealer.seal(once, SealOptions(Level.LTA))
    assert twice.startswith(once)
    assert once.startswith(content)
    reader = read(twice)
    context = trust(pki, reader, Level.LTA)
    signatures = reader.embedded_regular_signatures
    assert len({signature.field_name for signature in reader.embedded_signatures}) == 5
    assert len(signatures) == 3
    for signature in signatures:
        status = asyncio.run(async_validate_pdf_signature(signature, context, context))
        assert status.intact
        assert status.valid
        assert status.modification_level in (ModificationLevel.LTA_UPDATES, ModificationLevel.FORM_FILLING)


def with_cross_reference_stream() -> bytes:
    """Return a PDF whose cross-reference table is a stream (pyHanko writes such)."""
    buffer = io.BytesIO()
    copy_into_new_writer(read(samples.invoice())).write(buffer)
    return buffer.getvalue()


def hybrid() -> bytes:
    """Return a PDF with a table and, beside it, a stream that the table's trailer points to, as Word writes."""
    base = samples.invoice()
    writer = IncrementalPdfFileWriter(io.BytesIO(base), strict=False)
    table_at = int(base.rsplit(b"startxref", 1)[1].split()[0])
    root = writer.trailer.raw_get("/Root")
    stream = (
        b"900 0 obj\n<< /Type /XRef /Size 901 /W [1 4 2] /Index [900 1] /Root %d 0 R /Length 7 >>\nstream\n"
        % root.idnum
    )
    stream_at = len(base) + 1
    entry = b"\x01" + stream_at.to_bytes(4, "big") + b"\x00\x00"
    body = b"\n" + stream + entry + b"\nendstream\nendobj\n"
    new_table_at = len(base) + len(body)
    trailer = b"xref\n0 1\n0000000000 65535 f \ntrailer\n<< /Size 901 /Root %d 0 R /Prev %d /XRefStm %d >>\n" % (
        root.idnum,
        table_at,
        stream_at,
    )
    return base + body + trailer + b"startxref\n%d\n%%%%EOF\n" % new_table_at


def moved_origin() -> bytes:
    """Return a PDF whose page does not begin at the point (0, 0)."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(samples.invoice())))
    box = writer.pages[0].mediabox
    box.lower_left = (100, 50)
    box.upper_right = (100 + 595, 50 + PAGE_HEIGHT_PT)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("make", [with_cross_reference_stream, hybrid, samples.long_report])
def test_all_kinds_of_cross_references_are_sealed(sealer: Sealer, pki: Pki, make: Callable[[], bytes]) -> None:
    """Streams, hybrid tables and plain tables take a seal that is valid, on top of the unchanged bytes."""
    content = make()
    sealed = sealer.seal(content, SealOptions(Level.LTA))
    assert sealed.startswith(content)
    reader = read(sealed)
    context = trust(pki, reader, Level.LTA)
    status = asyncio.run(async_validate_pdf_signature(reader.embedded_regular_signatures[0], context, context))
    assert status.bottom_line


@pytest.mark.parametrize("content", [samples.encrypted(), samples.not_a_pdf(), b""])
def test_what_takes_no_seal_is_unsealable(sealer: Sealer, content: bytes) -> None:
    """Encrypted, foreign and empty content raise the one error."""
    with pytest.raises(Unsealable):
        sealer.seal(content, SealOptions())


def red_image(*, transparent: bool) -> bytes:
    """Return a red PNG of 120 by 60 pixels, its right half transparent if asked."""
    image = Image.new("RGBA", (120, 60), (*RED, 255))
    if transparent:
        image.paste((0, 0, 0, 0), (60, 0, 120, 60))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def render(content: bytes, folder: Path, poppler: RunPoppler) -> Image.Image:
    """Return the first page as poppler draws it, one pixel to the point."""
    path = folder / "page.pdf"
    path.write_bytes(content)
    poppler(["pdftoppm", "-r", str(DPI), "-png", "-f", "1", "-l", "1", "-singlefile", path, folder / "page"])
    with Image.open(folder / "page.png") as image:
        return image.convert("RGB")


def red_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the smallest box around all pixels that are red enough."""
    mask = Image.eval(image.convert("RGB").split()[1], lambda green: 255 if green < 80 else 0)
    reds = Image.eval(image.split()[0], lambda red: 255 if red > 150 else 0)
    both = Image.new("L", image.size)
    both.paste(mask, mask=reds)
    return both.getbbox()


@pytest.mark.parametrize("make", [samples.invoice, moved_origin])
def test_a_visible_seal_is_seen_where_it_should_be(
    sealer: Sealer, tmp_path: Path, poppler: RunPoppler, make: Callable[[], bytes]
) -> None:
    """The image's pixels appear at the position asked for, counted from the page's lower left corner."""
    content = make()
    visible = VisibleSeal(page=1, x=300, y=120, image=red_image(transparent=False))
    sealed = sealer.seal(content, SealOptions(Level.LTA, visible=visible))
    assert sealed.startswith(content)
    assert red_box(render(content, tmp_path, poppler)) is None
    found = red_box(render(sealed, tmp_path, poppler))
    expected = (300, PAGE_HEIGHT_PT - 120 - 60, 420, PAGE_HEIGHT_PT - 120)
    assert found is not None
    assert all(abs(one - other) <= 1 for one, other in zip(found, expected, strict=True)), found


def test_lines_of_text_are_drawn_in_their_colour(sealer: Sealer, tmp_path: Path, poppler: RunPoppler) -> None:
    """A line without an image is readable in the page's text, and drawn in its colour inside the field."""
    line = TextLine("Scellé électroniquement", color=0xC81E28, font="Helvetica_Bold", font_size=14, x=4, y=6)
    options = SealOptions(Level.B, visible=VisibleSeal(x=300, y=120, lines=(line,)))
    found = red_box(render(sealer.seal(samples.invoice(), options), tmp_path, poppler))
    assert found is not None
    assert 300 <= found[0] < 310
    assert found[3] <= PAGE_HEIGHT_PT - 120


def test_a_visible_seal_holds_no_transparency(sealer: Sealer, tmp_path: Path, poppler: RunPoppler) -> None:
    """The transparent part of an image becomes white, and no soft mask gets into the document."""
    visible = VisibleSeal(x=300, y=120, image=red_image(transparent=True))
    sealed = sealer.seal(samples.invoice(), SealOptions(Level.B, visible=visible))
    assert b"/SMask" not in sealed
    found = red_box(render(sealed, tmp_path, poppler))
    assert found is not None
    assert abs(found[2] - found[0] - 60) <= 1


def test_an_invisible_seal_changes_nothing_to_be_seen(
    sealer: Sealer, invoice: bytes, tmp_path: Path, poppler: RunPoppler
) -> None:
    """Without a visible seal the page looks as before, to the pixel."""
    before = render(invoice, tmp_path, poppler)
    after = render(sealer.seal(invoice, SealOptions(Level.LTA)), tmp_path, poppler)
    assert before.tobytes() == after.tobytes()


def fields(content: bytes) -> Iterator[str]:
    """Yield the names of the signature fields."""
    for signature in read(content).embedded_signatures:
        yield signature.field_name


def test_a_seal_lands_on_the_page_asked_for(sealer: Sealer) -> None:
    """The field's annotation is on the third page when page 3 was asked for, with the rectangle asked for."""
    visible = VisibleSeal(page=3, x=10.5, y=20, image=red_image(transparent=False))
    sealed = sealer.seal(samples.long_report(5), SealOptions(Level.B, visible=visible))
    pages = PdfReader(io.BytesIO(sealed)).pages
    assert [len(page.annotations or ()) for page in pages] == [0, 0, 1, 0, 0]
    rectangle = [float(number) for number in pages[2].annotations[0].get_object()["/Rect"]]
    assert rectangle == [10.5, 20, 130.5, 80]
    assert len(set(fields(sealed))) == 1
