"""Small PDFs with every kind of cross-references, and changes that a revision can make to them."""

from collections.abc import Callable

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject
from pyhanko.sign.fields import SigFieldSpec, append_signature_field

Change = Callable[[IncrementalPdfFileWriter], None]


def _objects(pages: int, filler_bytes: int) -> dict[int, bytes]:
    """A catalogue (1), a page tree (2), document information (3), and then a page and its content, alternately."""
    numbers = [4 + 2 * page for page in range(pages)]
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        3: b"<< /Title (An invoice) >>",
    }
    for page, number in enumerate(numbers, start=1):
        content = f"BT /F1 12 Tf 72 700 Td (Page {page} of an invoice) Tj ET ".encode().ljust(filler_bytes // pages)
        objects[number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {number + 1} 0 R"
            " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        ).encode()
        objects[number + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
    return objects


def _table(offsets: dict[int, int | None]) -> bytes:
    lines = [b"xref\n0 %d\n0000000000 65535 f \n" % (max(offsets) + 1)]
    lines += [
        b"0000000000 00000 f \n" if offset is None else b"%010d 00000 n \n" % offset
        for _, offset in sorted(offsets.items())
    ]
    return b"".join(lines)


def make_pdf(*, pages: int = 1, xref: str = "table", filler_bytes: int = 0) -> bytes:
    """A small PDF whose cross-references are a ``table``, a ``stream``, or ``hybrid`` (both, as Word writes them)."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets: dict[int, int] = {}

    def put(number: int, body: bytes) -> None:
        offsets[number] = len(out)
        out.extend(b"%d 0 obj\n%s\nendobj\n" % (number, body))

    objects = _objects(pages, filler_bytes)
    size = max(objects) + 1
    for number, body in objects.items():
        put(number, body)
    identifier = b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
    common = b"/Size %d /Root 1 0 R /Info 3 0 R %s" % (size + 2, identifier)
    if xref == "table":
        start = len(out)
        out += _table(offsets) + b"trailer\n<< %s >>\n" % common
    else:
        hidden = 0 if xref == "stream" else len(objects)
        if hidden:
            put(size, b"<< /Hidden (only in the stream) >>")
        stream_number = size + 1
        start = len(out)
        offsets[stream_number] = start
        rows = b"".join(
            bytes([1]) + offsets[n].to_bytes(4, "big") + b"\0" if n in offsets else b"\0\0\0\0\0\xff"
            for n in range(stream_number + 1)
        )
        put(
            stream_number,
            b"<< /Type /XRef /W [1 4 1] /Length %d %s >>\nstream\n%s\nendstream" % (len(rows), common, rows),
        )
        if hidden:
            stream_start, start = start, len(out)
            visible: dict[int, int | None] = dict(offsets) | {size: None, stream_number: None}
            out += _table(visible) + b"trailer\n<< %s /XRefStm %d >>\n" % (common, stream_start)
    out += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def page(writer: IncrementalPdfFileWriter) -> generic.DictionaryObject:
    """Return the first page."""
    found = writer.root["/Pages"]["/Kids"][0]
    assert isinstance(found, generic.DictionaryObject)
    return found


def rotate(writer: IncrementalPdfFileWriter) -> None:
    """Turn the first page."""
    page(writer)[pdf_name("/Rotate")] = generic.NumberObject(90)
    writer.update_container(page(writer))


def replace_content(writer: IncrementalPdfFileWriter) -> None:
    """Make the first page show something else, under the same object number."""
    reference = page(writer).raw_get("/Contents").reference
    writer.objects[reference.generation, reference.idnum] = generic.StreamObject(stream_data=b"0 0 100 100 re f")


def drop_content(writer: IncrementalPdfFileWriter) -> None:
    """Make the first page show something else, under a new object number."""
    page(writer)[pdf_name("/Contents")] = writer.add_object(generic.StreamObject(stream_data=b"0 0 9 9 re f"))
    writer.update_container(page(writer))


def annotate(writer: IncrementalPdfFileWriter) -> None:
    """Put a note on the first page."""
    note = {"/Type": "/Annot", "/Subtype": "/FreeText"}
    annotation = generic.DictionaryObject({pdf_name(key): pdf_name(value) for key, value in note.items()})
    annotation[pdf_name("/Rect")] = generic.ArrayObject(map(generic.NumberObject, (9, 9, 99, 99)))
    annotation[pdf_name("/Contents")] = generic.pdf_string("paid")
    writer.register_annotation(page(writer).container_ref, writer.add_object(annotation))


def add_page(writer: IncrementalPdfFileWriter) -> None:
    """Append a page."""
    content = writer.add_object(generic.StreamObject(stream_data=b"0 0 9 9 re f"))
    writer.insert_page(PageObject(content, (0, 0, 595, 842)))


def set_title(writer: IncrementalPdfFileWriter) -> None:
    """Change the information about the document, as every writer does."""
    writer.trailer_view["/Info"][pdf_name("/Title")] = generic.pdf_string("sealed")
    writer.update_container(writer.trailer_view["/Info"])


def add_text_field(writer: IncrementalPdfFileWriter) -> None:
    """Make a form of the document, with one field to fill in."""
    field = generic.DictionaryObject(
        {
            pdf_name("/FT"): pdf_name("/Tx"),
            pdf_name("/T"): generic.pdf_string("amount"),
            pdf_name("/Type"): pdf_name("/Annot"),
            pdf_name("/Subtype"): pdf_name("/Widget"),
            pdf_name("/Rect"): generic.ArrayObject(map(generic.NumberObject, (9, 9, 99, 99))),
        }
    )
    reference = writer.add_object(field)
    writer.register_annotation(page(writer).container_ref, reference)
    form = generic.DictionaryObject({pdf_name("/Fields"): generic.ArrayObject([reference])})
    writer.root[pdf_name("/AcroForm")] = writer.add_object(form)
    writer.update_root()


def fill_text_field(writer: IncrementalPdfFileWriter) -> None:
    """Fill in the field of `add_text_field`."""
    field = writer.root["/AcroForm"]["/Fields"][0]
    field[pdf_name("/V")] = generic.pdf_string("1000")
    writer.update_container(field)


def remove_fields(writer: IncrementalPdfFileWriter) -> None:
    """Take all fields out of the form."""
    writer.root["/AcroForm"][pdf_name("/Fields")] = generic.ArrayObject()
    writer.update_container(writer.root["/AcroForm"])


def add_strange_signature(writer: IncrementalPdfFileWriter) -> None:
    """Add a signature of a kind that nobody knows, which pyHanko passes over."""
    value = generic.DictionaryObject({pdf_name("/Type"): pdf_name("/Sig"), pdf_name("/SubFilter"): pdf_name("/none")})
    value[pdf_name("/Contents")] = generic.ByteStringObject(b"none")
    field = generic.DictionaryObject({pdf_name("/FT"): pdf_name("/Sig"), pdf_name("/T"): generic.pdf_string("Strange")})
    field[pdf_name("/V")] = writer.add_object(value)
    writer.root["/AcroForm"]["/Fields"].append(writer.add_object(field))
    writer.update_container(writer.root["/AcroForm"]["/Fields"])


def add_field(writer: IncrementalPdfFileWriter, name: str, box: tuple[int, int, int, int]) -> None:
    """Add an empty signature field."""
    append_signature_field(writer, SigFieldSpec(name, box=box))
