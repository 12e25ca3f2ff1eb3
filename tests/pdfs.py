"""PDFs made for tests: small, written out by hand, right in every byte unless a test asks for a fault.

Objects are given as the text between ``obj`` and ``endobj``. Numbers 1 to 4 are the catalog, the page tree, the page
and its content; tests number their own objects from 10 on.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pypdf import PdfReader, PdfWriter

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

Objects = Mapping[int, str | bytes]


def stream(content: str | bytes, entries: str = "") -> bytes:
    """Return the body of a stream object."""
    data = _bytes(content)
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries.encode(), len(data), data)


def document(
    *, catalog: str = "", page: str = "", pages: int = 1, objects: Objects | None = None, trailer: str = ""
) -> bytes:
    """Return a PDF with ``pages`` pages; ``catalog``, ``page`` and ``trailer`` are added to those dictionaries."""
    more = {**(objects or {})}
    kids = " ".join(f"{number} 0 R" for number in [3, *range(1000, 1000 + pages - 1)]) if pages else ""
    body: dict[int, str | bytes] = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
        3: f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R {page} >>",
        4: stream("q Q"),
        **more,
    }
    for number in range(1000, 1000 + pages - 1):
        body[number] = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>"
    return with_table(body, trailer=trailer)


def with_table(objects: Objects, *, header: bytes = HEADER, trailer: str = "", size: int | None = None) -> bytes:
    """Return a PDF of ``objects`` with a cross-reference table; object 1 is the catalog."""
    content, offsets = _bodies(objects, header)
    start = len(content)
    content += _table(offsets)
    top = max(offsets) + 1 if size is None else size
    content += b"trailer\n<< /Root 1 0 R /Size %d %s >>\n" % (top, trailer.encode())
    return content + _end(start)


def with_stream(objects: Objects) -> bytes:
    """Return a PDF of ``objects`` with a cross-reference stream."""
    content, offsets = _bodies(objects, HEADER)
    own = max(offsets) + 1
    offsets[own] = len(content)
    entries = b"".join(
        b"\1%s\0" % offsets[number].to_bytes(4, "big") if number in offsets else b"\0\0\0\0\0\0"
        for number in range(own + 1)
    )
    body = stream(entries, f"/Type /XRef /W [1 4 1] /Root 1 0 R /Size {own + 1}")
    content += b"%d 0 obj\n%s\nendobj\n" % (own, body)
    return content + _end(offsets[own])


def write_large(path: Path, pictures: Sequence[int], entries: str = "") -> None:
    """Write a PDF with a page for each picture of that many bytes, which are holes in the file."""
    pages = range(10, 10 + 2 * len(pictures), 2)
    kids = " ".join(f"{number} 0 R" for number in pages)
    tree = f"<< /Type /Pages /Kids [{kids}] /Count {len(pictures)} >>"
    offsets: dict[int, int] = {}
    with path.open("wb") as file:
        file.write(HEADER)

        def put(number: int, body: str, size_bytes: int | None = None) -> None:
            offsets[number] = file.tell()
            file.write(b"%d 0 obj\n%s" % (number, body.encode()))
            if size_bytes is not None:
                file.write(b"\nstream\n")
                file.seek(size_bytes, os.SEEK_CUR)
                file.write(b"\nendstream")
            file.write(b"\nendobj\n")

        put(1, "<< /Type /Catalog /Pages 2 0 R >>")
        put(2, tree)
        for number, size_bytes in zip(pages, pictures, strict=True):
            resources = f"<< /XObject << /I {number + 1} 0 R >> >>"
            put(number, f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Resources {resources} >>")
            picture = f"/Subtype /Image /Width {size_bytes} /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray"
            put(number + 1, f"<< {picture} {entries} /Length {size_bytes} >>", size_bytes)
        start = file.tell()
        file.write(_table(offsets))
        file.write(b"trailer\n<< /Root 1 0 R /Size %d >>\n" % (max(offsets) + 1) + _end(start))


def updated(original: bytes, objects: Objects, *, trailer: str = "") -> bytes:
    """Return ``original`` with an incremental update that adds or replaces ``objects``."""
    reader = PdfReader(io.BytesIO(original))
    previous = _startxref(original)
    content, offsets = _bodies(objects, original)
    start = len(content)
    content += b"xref\n0 0\n"
    for number, offset in sorted(offsets.items()):
        content += b"%d 1\n%010d 00000 n \n" % (number, offset)
    size = max(int(reader.trailer["/Size"]), max(offsets, default=0) + 1)  # type: ignore[call-overload]
    content += b"trailer\n<< /Root 1 0 R /Size %d /Prev %d %s >>\n" % (size, previous, trailer.encode())
    return content + _end(start)


def hybrid(original: bytes) -> bytes:
    """Return ``original`` with an update whose table points to a cross-reference stream as well (one new object)."""
    body = stream(b"\1%s\0" % len(original).to_bytes(4, "big"), "/Type /XRef /W [1 4 1] /Index [20 1] /Size 21")
    with_stream = b"%s20 0 obj\n%s\nendobj\n" % (original, body)
    previous = _startxref(original)
    table = b"xref\n0 0\ntrailer\n<< /Root 1 0 R /Size 21 /Prev %d /XRefStm %d >>\n" % (previous, len(original))
    return with_stream + table + _end(len(with_stream))


def encrypted(original: bytes, *, user: str, owner: str = "owner", algorithm: str = "AES-256") -> bytes:
    """Return ``original``, encrypted with these passwords."""
    writer = PdfWriter(clone_from=io.BytesIO(original))
    writer.encrypt(user, owner, algorithm=algorithm)
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def pdfa() -> bytes:
    """Return a PDF whose metadata claim that it is PDF/A."""
    metadata = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/" rdf:about="" pdfaid:part="2" pdfaid:conformance="B"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
    return document(catalog="/Metadata 10 0 R", objects={10: stream(metadata, "/Type /Metadata /Subtype /XML")})


def signed(*, reference: str = "", lock: str = "", catalog: str = "", filled: bool = True) -> bytes:
    """Return a PDF with a signature field; its signature, if there is one, has the form of one and proves nothing."""
    value = "/V 11 0 R" if filled else ""
    return document(
        catalog=f"/AcroForm << /Fields [10 0 R] /SigFlags 3 >> {catalog}",
        page="/Annots [10 0 R]",
        objects={
            10: f"<< /Type /Annot /Subtype /Widget /FT /Sig /T (one) /Rect [0 0 0 0] /P 3 0 R {lock} {value} >>",
            11: f"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /Contents <00> "
            f"/ByteRange [0 1 2 3] {reference} >>",
        },
    )


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _bodies(objects: Objects, before: bytes) -> tuple[bytes, dict[int, int]]:
    content = bytearray(before)
    offsets = {}
    for number, body in objects.items():
        offsets[number] = len(content)
        content += b"%d 0 obj\n%s\nendobj\n" % (number, _bytes(body))
    return bytes(content), offsets


def _table(offsets: Mapping[int, int]) -> bytes:
    lines = (b"%d 1\n%010d 00000 n \n" % place for place in sorted(offsets.items()))
    return b"xref\n0 1\n0000000000 65535 f \n" + b"".join(lines)


def _startxref(document: bytes) -> int:
    return int(document[document.rindex(b"startxref") :].split()[1])


def _end(startxref: int) -> bytes:
    return b"startxref\n%d\n%%%%EOF\n" % startxref
