"""What somebody might append to a sealed PDF, in steps that look harmless one by one, so that it shows something else.

Each is sealed rightly, and has revisions appended that hide what they do from one of those who look: a store that is
something else as well, an object that was asked for and never there, more objects than can be looked into.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from revisions import write
from seal_pdfs import make_pdf, page
from seal_pki import make_pki
from sealdrop.model import CheckName, CheckOutcome, SealLevel
from sealdrop.pdf.seal import verify_seal
from seals import expect, revise, seal

PDF = make_pdf()
LIE = generic.StreamObject(stream_data=b"BT /F1 40 Tf 72 400 Td (Something else) Tj ET")
ID = "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"

Step = Callable[[IncrementalPdfFileWriter], object]


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    """The trusted root."""
    path = tmp_path / "anchor.pem"
    path.write_bytes(make_pki().root.pem)
    return path


def _referred(writer: IncrementalPdfFileWriter, number: int) -> generic.IndirectObject:
    return generic.IndirectObject(number, 0, writer)


def _array(*items: int) -> generic.ArrayObject:
    return generic.ArrayObject(map(generic.NumberObject, items))


def _store_is_the_page(writer: IncrementalPdfFileWriter) -> None:
    writer.root[pdf_name("/DSS")] = _referred(writer, page(writer).container_ref.idnum)
    writer.update_root()


def _other_content(writer: IncrementalPdfFileWriter) -> None:
    page(writer)[pdf_name("/Contents")] = writer.add_object(LIE)
    writer.update_container(page(writer))


def _store_holds_the_content(writer: IncrementalPdfFileWriter) -> None:
    content = _referred(writer, page(writer).raw_get("/Contents").idnum)
    garbage = writer.add_object(generic.pdf_string("GARBAGEGARBAGE"))
    store = generic.DictionaryObject({pdf_name("/Certs"): content, pdf_name("/Own"): garbage})
    writer.root[pdf_name("/DSS")] = writer.add_object(store)
    writer.update_root()


def _content_replaced(writer: IncrementalPdfFileWriter) -> None:
    writer.objects[(0, page(writer).raw_get("/Contents").idnum)] = LIE


def _no_store(writer: IncrementalPdfFileWriter) -> None:
    del writer.root["/DSS"]
    writer.update_root()


def _very_many_objects(writer: IncrementalPdfFileWriter) -> None:
    writer._lastobj_id = 20_000
    writer.add_object(generic.NullObject())


def _store_is_a_stamp(writer: IncrementalPdfFileWriter) -> None:
    value = generic.DictionaryObject(
        {
            pdf_name("/Type"): pdf_name("/DocTimeStamp"),
            pdf_name("/Filter"): pdf_name("/Adobe.PPKLite"),
            pdf_name("/SubFilter"): pdf_name("/ETSI.RFC3161"),
            pdf_name("/Contents"): generic.ByteStringObject(bytes(8)),
            pdf_name("/ByteRange"): _array(0, 1, 2, 3),
        }
    )
    field = generic.DictionaryObject(
        {
            pdf_name("/FT"): pdf_name("/Sig"),
            pdf_name("/T"): generic.pdf_string("Stamp"),
            pdf_name("/Type"): pdf_name("/Annot"),
            pdf_name("/Subtype"): pdf_name("/Widget"),
            pdf_name("/Rect"): _array(0, 0, 0, 0),
            pdf_name("/P"): _referred(writer, page(writer).container_ref.idnum),
            pdf_name("/V"): writer.add_object(value),
        }
    )
    stamp = writer.add_object(field)
    fields = writer.root["/AcroForm"]["/Fields"]
    fields.append(stamp)
    writer.update_container(fields)
    writer.register_annotation(page(writer).container_ref, stamp)
    writer.root[pdf_name("/DSS")] = stamp
    writer.update_root()


def _stamp_is_seen(writer: IncrementalPdfFileWriter) -> None:
    stamp = writer.root["/DSS"]
    stamp[pdf_name("/AP")] = generic.DictionaryObject({pdf_name("/N"): writer.add_object(LIE)})
    stamp[pdf_name("/Rect")] = _array(0, 0, 500, 700)
    writer.update_container(stamp)


def _no_flags(writer: IncrementalPdfFileWriter) -> None:
    form = writer.root["/AcroForm"]
    form[pdf_name("/SigFlags")] = generic.NumberObject(0)
    writer.update_container(form)
    writer.update_root()


def _fills_in(writer: IncrementalPdfFileWriter) -> None:
    writer.objects[(0, 90)] = LIE
    writer._lastobj_id = max(writer._lastobj_id, 90)


def _refused(sealed: bytes, original: bytes, folder: Path, anchor: Path) -> bool:
    path = folder / "sealed.pdf"
    path.write_bytes(sealed)
    found = verify_seal(path, expect(original, anchor, level=SealLevel.B))
    outcomes = {check.name: check.outcome for check in found.checks}
    return outcomes[CheckName.LATER_REVISIONS] is CheckOutcome.FAILED


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((_store_is_the_page, _other_content), id="the-store-is-a-page"),
        pytest.param((_store_is_the_page, _other_content, _no_store), id="and-is-no-store-in-the-end"),
        pytest.param((_very_many_objects, _store_is_the_page, _other_content), id="in-a-large-document"),
        pytest.param((_store_holds_the_content, _content_replaced, _no_store), id="the-store-holds-the-content"),
        pytest.param((_store_is_a_stamp, _stamp_is_seen), id="the-store-is-a-timestamp-that-shows"),
        pytest.param((_no_flags,), id="the-form-has-no-signatures-any-more"),
    ],
)
def test_nothing_else_is_shown(tmp_path: Path, anchor: Path, steps: tuple[Step, ...]) -> None:
    """However many steps it takes, and though none of them replaces what is shown in plain sight."""
    sealed = seal(PDF, SealLevel.B)
    assert not _refused(sealed, PDF, tmp_path, anchor)
    for step in steps:
        sealed = revise(sealed, step)
    assert _refused(sealed, PDF, tmp_path, anchor)


def test_not_even_where_pyhanko_cannot_compare(tmp_path: Path, anchor: Path) -> None:
    """An object that cannot be read makes its analysis fail: the revisions are judged by their objects, and rightly."""
    sealed = revise(revise(seal(PDF, SealLevel.B), _store_holds_the_content), _content_replaced)
    assert sealed.count(b"(GARBAGEGARBAGE)") == 1
    sealed = revise(sealed.replace(b"(GARBAGEGARBAGE)", b"<< /A (xxxxxxxx "), _no_store)
    assert _refused(sealed, PDF, tmp_path, anchor)


def _with_contents(contents: str, more: dict[int, str]) -> bytes:
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Kids [4 0 R] /Count 1 /MediaBox [0 0 595 842] >>",
        3: "<< /Title (x) >>",
        4: f"<< /Type /Page /Parent 2 0 R /Contents {contents} /Resources << >> >>",
        5: "<< /Length 4 >>\nstream\nq Q \nendstream",
    }
    return write(objects | more, trailer=f"/Info 3 0 R {ID}")


def test_what_the_original_asks_for_beyond_its_table_stays_absent(tmp_path: Path, anchor: Path) -> None:
    """A later revision has a greater table, and could be the answer."""
    pdf = _with_contents("[5 0 R 90 0 R]", {})
    sealed = seal(pdf, SealLevel.B)
    assert not _refused(sealed, pdf, tmp_path, anchor)
    assert _refused(revise(sealed, _fills_in), pdf, tmp_path, anchor)


def test_what_the_original_says_to_stand_behind_its_end_stays_absent(tmp_path: Path, anchor: Path) -> None:
    """What is appended can be made to stand at that very place."""
    pdf = _with_contents("[5 0 R 6 0 R]", {6: "<< /Length 4 >>\nstream\nq Q \nendstream"})
    place = 60_000
    pdf = pdf.replace(b"%010d 00000 n" % pdf.index(b"6 0 obj"), b"%010d 00000 n" % place)
    sealed = seal(pdf, SealLevel.B)
    assert not _refused(sealed, pdf, tmp_path, anchor)
    reader = PdfFileReader(BytesIO(sealed), strict=False)
    number = int(reader.trailer["/Size"])
    head, tail = b"%d 0 obj\n(" % number, b")\nendobj\n"
    appended = bytearray(sealed + head + b"x" * (place - len(sealed) - len(head) - len(tail)) + tail)
    appended += b"6 0 obj\n<< /Length 4 >>\nstream\nf Q \nendstream\nendobj\n"
    table = len(appended)
    appended += b"xref\n%d 1\n%010d 00000 n \n" % (number, len(sealed))
    trailer = f"<< /Size {number + 1} /Root 1 0 R /Info 3 0 R /Prev {reader.last_startxref} {ID} >>"
    appended += f"trailer\n{trailer}\nstartxref\n{table}\n%%EOF\n".encode()
    assert _refused(bytes(appended), pdf, tmp_path, anchor)
