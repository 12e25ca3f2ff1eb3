"""PDFs made to harm whoever reads them, each with the reasons that may be given for it; built on `pdfs`.

`Reason` None stands for a document that is accepted: odd, but harmless.
"""

import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import pdfs
from sealdrop.model import Reason

R = Reason
Expected = frozenset[Reason | None]
MIB = 1 << 20

# Wherever a document is beyond repair or beyond limits, which of the two is found first is no promise.
BROKEN: Expected = frozenset({R.UNREADABLE, R.XREF_BROKEN, R.PARSER_LIMIT, R.UNSEALABLE, R.ZERO_PAGES, R.TRUNCATED})
FINE: Expected = frozenset({None})
SCRIPT = "<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
GOOD = pdfs.document()


def only(*reasons: Reason | None) -> Expected:
    """Return a set of reasons."""
    return frozenset(reasons)


def bomb(size_bytes: int, layers: int = 1) -> bytes:
    """Return a flate stream, within another, and so on, that in the end expands to ``size_bytes`` bytes."""
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(MIB)) for _ in range(size_bytes // MIB)) + packer.flush()
    for _ in range(layers - 1):
        content = zlib.compress(content, 9)
    return pdfs.stream(content, f"/Filter [{'/FlateDecode ' * layers}]")


def object_stream(number: int, bodies: dict[int, str], *, count: int | None = None, tail: bytes = b"") -> bytes:
    """Return a stream of objects, which may say that it holds another number of them."""
    index, content = "", ""
    for each, body in bodies.items():
        index += f"{each} {len(content)} "
        content += body + " "
    data = zlib.compress((index + content).encode() + tail, 9)
    entries = f"/Type /ObjStm /N {len(bodies) if count is None else count} /First {len(index)} /Filter /FlateDecode"
    return b"%d 0 obj\n%s\nendobj\n" % (number, pdfs.stream(data, entries))


def with_xref_stream(entries: str, data: bytes = b"", before: bytes = b"") -> bytes:
    """Return a PDF whose cross-reference stream has these entries and this content."""
    content = GOOD[: GOOD.rindex(b"xref\n0 1")] + before
    start = len(content)
    return content + b"900 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (pdfs.stream(data, entries), start)


def nested(opening: str, closing: str, depth: int) -> str:
    """Return ``depth`` times an opening, then as many closings."""
    return opening * depth + closing * depth


def page_tree(depth: int) -> bytes:
    """Return a document with one page at the end of a long chain of nodes."""
    nodes = {
        number: f"<< /Type /Pages /Parent {number - 1} 0 R /Kids [{number + 1} 0 R] /Count 1 >>"
        for number in range(10, 10 + depth)
    }
    nodes[10 + depth] = f"<< /Type /Page /Parent {9 + depth} 0 R /MediaBox [0 0 9 9] >>"
    return pdfs.with_table({1: "<< /Type /Catalog /Pages 10 0 R >>", **nodes})


def tree(kids: str, *, count: str = "1", more: dict[int, str] | None = None) -> bytes:
    """Return a document whose page tree has these kids."""
    return pdfs.with_table(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
            3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
            **(more or {}),
        }
    )


def doubling(levels: int) -> bytes:
    """Return a page tree in which each node has the next one twice: 2 to the power of ``levels`` pages."""
    nodes = {
        number: f"<< /Type /Pages /Kids [{number + 1} 0 R {number + 1} 0 R] /Count {2**levels} >>"
        for number in range(10, 10 + levels)
    }
    nodes[10 + levels] = "<< /Type /Page /MediaBox [0 0 9 9] >>"
    return pdfs.with_table({1: "<< /Type /Catalog /Pages 10 0 R >>", **nodes})


def prev(where: Callable[[int], int]) -> bytes:
    """Return an updated document whose /Prev leads where ``where`` says, given its own place."""
    updated = pdfs.updated(GOOD, {10: "<< >>"})
    start = int(updated[updated.rindex(b"startxref") :].split()[1])
    head, mark, tail = updated.rpartition(b"/Prev ")
    rest = tail.partition(b" ")[2]
    return head + mark + b"%d " % where(start) + rest


def zipped(before: bool) -> bytes:
    """Return a PDF that is a zip archive as well."""
    target = BytesIO(b"" if before else GOOD)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("a.txt", "text")
    return target.getvalue() + GOOD if before else target.getvalue()


def linked_outline(depth: int) -> bytes:
    """Return a document whose outline is nested."""
    items = {
        number: f"<< /Title (x) /Parent {number - 1} 0 R /First {number + 1} 0 R /Last {number + 1} 0 R >>"
        for number in range(10, 10 + depth)
    }
    items[10 + depth] = "<< /Title (x) /A << /S /Launch /F (x) >> >>"
    return pdfs.document(catalog="/Outlines 10 0 R", objects=items)


def nested_fields(depth: int) -> bytes:
    """Return a document whose form is nested."""
    fields = {
        number: f"<< /T (x) /Parent {number - 1} 0 R /Kids [{number + 1} 0 R] >>" for number in range(10, 10 + depth)
    }
    fields[10 + depth] = "<< /T (x) /FT /Sig /Lock << /P 1 >> >>"
    return pdfs.document(catalog="/AcroForm << /Fields [10 0 R] >>", objects=fields)


def nested_forms(depth: int) -> bytes:
    """Return a document whose page shows a form that shows a form, and so on, back to the first."""
    forms = {
        number: pdfs.stream("/F Do", f"/Subtype /Form /Resources << /XObject << /F {number + 1} 0 R >> >>")
        for number in range(10, 10 + depth)
    }
    forms[10 + depth] = pdfs.stream("", "/Subtype /Form /Resources << /XObject << /F 10 0 R >> >>")
    return pdfs.document(page="/Resources << /XObject << /F 10 0 R >> >>", objects=forms)


DEEP = 50_000
FAR = 10**12

DOCUMENTS: dict[str, Callable[[], tuple[bytes, Expected]]] = {
    # Deep and circular.
    "nested arrays": lambda: (pdfs.document(catalog="/X " + nested("[", "]", DEEP)), BROKEN),
    "nested dictionaries": lambda: (pdfs.document(catalog="/X " + nested("<</X ", ">>", DEEP)), BROKEN),
    "nested arrays elsewhere": lambda: (
        pdfs.document(catalog="/X 10 0 R", objects={10: nested("[", "]", DEEP)}),
        BROKEN | FINE,
    ),
    "nested arrays in the trailer": lambda: (pdfs.document(trailer="/X " + nested("[", "]", DEEP)), BROKEN),
    "nested arrays that do not end": lambda: (pdfs.document(catalog="/X " + "[" * DEEP), BROKEN),
    "nested text": lambda: (pdfs.document(catalog="/X (" + nested("(", ")", DEEP) + ")"), BROKEN | FINE),
    "nested page tree": lambda: (page_tree(5_000), BROKEN | FINE),
    "nested outline": lambda: (linked_outline(5_000), only(R.ACTIVE_CONTENT)),
    "nested fields": lambda: (nested_fields(5_000), only(R.CERTIFIED_NO_CHANGES)),
    "nested forms": lambda: (nested_forms(2_000), FINE),
    "page tree that is its own kid": lambda: (tree("2 0 R"), BROKEN),
    "page tree that comes back": lambda: (
        tree("10 0 R", more={10: "<< /Type /Pages /Kids [2 0 R] /Count 1 >>"}),
        BROKEN,
    ),
    "page that is its own parent": lambda: (
        tree("10 0 R", more={10: "<< /Type /Page /Parent 10 0 R >>"}),
        BROKEN | FINE,
    ),
    "parents in a circle": lambda: (
        tree("10 0 R", more={10: "<< /Type /Page /Parent 11 0 R >>", 11: "<< /Type /Pages /Parent 10 0 R >>"}),
        BROKEN | FINE,
    ),
    "reference to itself": lambda: (pdfs.document(catalog="/X 10 0 R", objects={10: "10 0 R"}), BROKEN | FINE),
    "length that is itself": lambda: (
        pdfs.document(catalog="/Metadata 10 0 R", objects={10: "<< /Length 10 0 R >>\nstream\nx\nendstream"}),
        BROKEN | FINE,
    ),
    "filter that is itself": lambda: (
        pdfs.document(catalog="/Metadata 10 0 R", objects={10: pdfs.stream("x", "/Filter 10 0 R")}),
        BROKEN | FINE,
    ),
    "/Prev to itself": lambda: (prev(lambda own: own), BROKEN),
    "/Prev beyond the end": lambda: (prev(lambda _: FAR), BROKEN),
    "/Prev before the start": lambda: (prev(lambda _: -7), BROKEN | FINE),
    "/XRefStm to itself": lambda: (pdfs.hybrid(GOOD).replace(b"/XRefStm ", b"/XRefStm 0"), BROKEN | FINE),
    # What expands.
    "content that expands": lambda: (pdfs.document(objects={4: bomb(256 * MIB)}), FINE),
    "metadata that expand": lambda: (
        pdfs.document(catalog="/Metadata 10 0 R", objects={10: bomb(256 * MIB)}),
        BROKEN | FINE,
    ),
    "metadata that expand thrice": lambda: (
        pdfs.document(catalog="/Metadata 10 0 R", objects={10: bomb(256 * MIB, 3)}),
        BROKEN | FINE,
    ),
    "filters without number": lambda: (
        pdfs.document(
            catalog="/Metadata 10 0 R", objects={10: pdfs.stream("x", f"/Filter [{'/FlateDecode ' * 10_000}]")}
        ),
        BROKEN | FINE,
    ),
    "run lengths that expand": lambda: (
        pdfs.document(
            catalog="/Metadata 10 0 R", objects={10: pdfs.stream(b"\x81x" * 2**20, "/Filter /RunLengthDecode")}
        ),
        BROKEN | FINE,
    ),
    "object stream that expands": lambda: (
        with_xref_stream(
            "/Type /XRef /W [1 4 2] /Size 12 /Root 1 0 R /Index [1 1]",
            b"\2\0\0\x03\x85\0\0",
            object_stream(901, {1: "<< /Type /Catalog /Pages 2 0 R >>"}, tail=bytes(8 * MIB)),
        ),
        BROKEN,
    ),
    "object stream that counts wrong": lambda: (
        with_xref_stream(
            "/Type /XRef /W [1 4 2] /Size 12 /Root 1 0 R /Index [1 1]",
            b"\2\0\0\x03\x85\0\0",
            object_stream(901, {1: "<< /Type /Catalog /Pages 2 0 R >>"}, count=FAR),
        ),
        BROKEN,
    ),
    "XFA that expands": lambda: (
        pdfs.document(catalog="/AcroForm << /Fields [] /XFA 10 0 R >>", objects={10: bomb(256 * MIB)}),
        BROKEN | FINE,
    ),
    # Numbers.
    "a billion pages, it says": lambda: (tree("3 0 R", count="1000000000"), BROKEN | only(R.TOO_MANY_PAGES) | FINE),
    "minus one page": lambda: (tree("3 0 R", count="-1"), BROKEN | FINE),
    "pages that are counted in text": lambda: (tree("3 0 R", count="(one)"), BROKEN | FINE),
    "a billion pages by doubling": lambda: (doubling(30), BROKEN | only(R.TOO_MANY_PAGES)),
    "one page many times": lambda: (tree("3 0 R " * 200_000, count="200000"), BROKEN | only(R.TOO_MANY_PAGES)),
    "a number without end": lambda: (pdfs.document(catalog="/X " + "9" * MIB), BROKEN | FINE),
    "a real number without end": lambda: (pdfs.document(catalog="/X 0." + "9" * MIB), BROKEN | FINE),
    "a huge count in the table": lambda: (GOOD.replace(b"xref\n0 1\n", b"xref\n0 9999999999\n"), BROKEN),
    "huge /Size": lambda: (GOOD.replace(b"/Size 5", b"/Size 9999999999"), BROKEN | FINE),
    "negative /Size": lambda: (GOOD.replace(b"/Size 5", b"/Size -5"), BROKEN),
    "huge /W": lambda: (with_xref_stream(f"/Type /XRef /W [1 {FAR} 1] /Size 9 /Root 1 0 R", b"\1" * 54), BROKEN),
    "negative /W": lambda: (with_xref_stream("/Type /XRef /W [1 -4 1] /Size 9 /Root 1 0 R", b"\1" * 54), BROKEN),
    "/W of nothing": lambda: (with_xref_stream("/Type /XRef /W [0 0 0] /Size 999999999 /Root 1 0 R"), BROKEN),
    "huge /Index": lambda: (
        with_xref_stream("/Type /XRef /W [1 4 1] /Size 9 /Root 1 0 R /Index [0 9999999999]", b"\1" * 54),
        BROKEN,
    ),
    "/Index without end": lambda: (
        with_xref_stream(f"/Type /XRef /W [1 4 1] /Size 9 /Root 1 0 R /Index [{'0 1 ' * 50_000}]", b"\1" * 54),
        BROKEN,
    ),
    "huge predictor": lambda: (
        pdfs.document(
            catalog="/Metadata 10 0 R",
            objects={
                10: pdfs.stream(
                    zlib.compress(b"x" * 99), f"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns {FAR} >>"
                )
            },
        ),
        BROKEN | FINE,
    ),
    # Broken tables.
    "table of another file": lambda: (GOOD.replace(b"obj\n", b"obj \n"), BROKEN | FINE),
    "a table of words": lambda: (GOOD.replace(b" 00000 n", b" 0000x n"), BROKEN),
    "offsets in disorder": lambda: (GOOD.replace(b"00000 n \n2 1", b"00000 n \n1 1"), BROKEN | FINE),
    "objects without end": lambda: (GOOD.replace(b"endobj", b"endnot"), BROKEN | FINE),
    "a table that says nothing is there": lambda: (GOOD.replace(b" n \n", b" f \n"), BROKEN),
    "startxref on itself": lambda: (
        GOOD[: GOOD.rindex(b"startxref")] + b"startxref\n%d\n%%%%EOF\n" % GOOD.rindex(b"startxref"),
        BROKEN,
    ),
    "a million object headers": lambda: (b"%PDF-1.7\n" + b"1 0 obj\n" * 200_000 + b"startxref\n0\n%%EOF\n", BROKEN),
    "a million words trailer": lambda: (b"%PDF-1.7\n" + b"trailer\n" * 200_000 + b"startxref\n0\n%%EOF\n", BROKEN),
    "white space without end": lambda: (GOOD.replace(b"trailer\n", b"trailer" + b" " * (4 * MIB)), BROKEN | FINE),
    "a comment without end": lambda: (GOOD.replace(b"trailer\n", b"%" * (4 * MIB) + b"\ntrailer\n"), BROKEN | FINE),
    "a name without end": lambda: (pdfs.document(catalog="/" + "x" * (4 * MIB) + " 1"), BROKEN | FINE),
    "a name of escapes": lambda: (pdfs.document(catalog="/" + "#41" * MIB + " 1"), BROKEN | FINE),
    "text without end": lambda: (pdfs.document(catalog="/X (" + "x" * MIB), BROKEN),
    "text of escapes": lambda: (pdfs.document(catalog="/X (" + "\\\\" * (MIB // 4) + ")"), BROKEN | FINE),
    "hexadecimal text without end": lambda: (pdfs.document(catalog="/X <" + "4" * (MIB // 4)), BROKEN | FINE),
    "a stream without end": lambda: (
        pdfs.document(catalog="/Metadata 10 0 R", objects={10: "<< >>\nstream\n" + "x" * MIB}),
        BROKEN | FINE,
    ),
    "objects without number": lambda: (pdfs.document(catalog="/X [" + "<<>>" * 400_000 + "]"), BROKEN | FINE),
    "keys without number": lambda: (
        pdfs.document(catalog="/X << " + " ".join(f"/K{n} {n}" for n in range(20_000)) + " >>"),
        BROKEN | FINE,
    ),
    "the same key again and again": lambda: (
        pdfs.document(catalog="/X << " + "/K 1 " * 200_000 + " >>"),
        BROKEN | FINE,
    ),
    "revisions without number": lambda: (revisions(500), BROKEN | FINE),
    # Active content, wherever it may hide.
    "script in a page's actions": lambda: (pdfs.document(page=f"/AA << /C {SCRIPT} >>"), only(R.ACTIVE_CONTENT)),
    "script behind many others": lambda: (
        pdfs.document(
            catalog="/OpenAction 10 0 R",
            objects={n: f"<< /S /GoTo /Next {n + 1} 0 R >>" for n in range(10, 3000)} | {3000: SCRIPT},
        ),
        only(R.ACTIVE_CONTENT),
    ),
    "launch in a field": lambda: (
        pdfs.document(
            catalog="/AcroForm << /Fields [10 0 R] >>", objects={10: "<< /T (a) /FT /Btn /A << /S /Launch /F (x) >> >>"}
        ),
        only(R.ACTIVE_CONTENT),
    ),
    "launch in a thread's bead": lambda: (
        pdfs.document(catalog="/Threads [<< /F << /A << /S /Launch /F (x) >> >> >>]"),
        only(R.ACTIVE_CONTENT),
    ),
    "launch by another name": lambda: (
        pdfs.document(catalog="/OpenAction << /#53 /L#61unch /F (x) >>"),
        only(R.ACTIVE_CONTENT),
    ),
    "import in the names": lambda: (
        pdfs.document(catalog="/Names << /Renditions << /Names [(a) << /S /ImportData /F (x) >>] >> >>"),
        only(R.ACTIVE_CONTENT),
    ),
    # Several things at once.
    "static XFA": lambda: (
        pdfs.document(catalog="/AcroForm << /Fields [] /XFA [(a) 10 0 R] >>", objects={10: pdfs.stream("<xdp/>")}),
        FINE,
    ),
    "XFA of many packets": lambda: (
        pdfs.document(
            catalog="/AcroForm << /Fields [] /XFA [" + "(a) 10 0 R " * 2_000 + "] >>",
            objects={10: pdfs.stream(zlib.compress(b"<" * MIB), "/Filter /FlateDecode")},
        ),
        FINE,
    ),
    "a table after comments": lambda: (
        GOOD.replace(b"xref\n0 1", b"xref\n" + b"%\n\n\n" * 60 + b"x0 1"),
        only(R.XREF_BROKEN),
    ),
    "XFA of tags": lambda: (
        pdfs.document(
            catalog="/AcroForm << /Fields [] /XFA 10 0 R >>", objects={10: pdfs.stream("<dynamicRender " * 100_000)}
        ),
        FINE,
    ),
    "XFA of a prefix": lambda: (
        pdfs.document(catalog="/AcroForm << /Fields [] /XFA 10 0 R >>", objects={10: pdfs.stream("<" + "x" * MIB)}),
        FINE,
    ),
    "zip before": lambda: (zipped(before=True), only(R.HEADER_OFFSET)),
    "zip behind": lambda: (zipped(before=False), FINE),
    "program before": lambda: (b"MZ" + bytes(500) + GOOD, only(R.HEADER_OFFSET, R.UNREADABLE)),
    "page of a browser before": lambda: (b"<html><script>x</script>" + GOOD, only(R.HEADER_OFFSET, R.UNREADABLE)),
    "page of a browser behind": lambda: (GOOD + b"<html><script>x</script>", FINE),
    "zeros": lambda: (bytes(4 * MIB), only(R.NOT_PDF)),
    "a header in zeros": lambda: (b"%PDF-1.7\n" + bytes(4 * MIB), only(R.TRUNCATED)),
    "nothing but headers": lambda: (b"%PDF-" * 100_000, only(R.TRUNCATED)),
    "encrypted for nobody": lambda: (
        pdfs.document(objects={10: "<< /Filter /Nobody >>"}, trailer="/Encrypt 10 0 R"),
        only(R.ENCRYPTED_UNSUPPORTED),
    ),
    "encrypted with itself": lambda: (
        pdfs.document(objects={10: "<< /Filter 10 0 R /V 10 0 R >>"}, trailer="/Encrypt 10 0 R"),
        only(R.ENCRYPTED_OWNER, R.ENCRYPTED_UNSUPPORTED),
    ),
    "encrypted with a key without end": lambda: (
        pdfs.document(
            objects={10: f"<< /Filter /Standard /V 2 /R 3 /Length {FAR} /P -4 /O (x) /U (x) >>"},
            trailer="/Encrypt 10 0 R /ID [(a) (a)]",
        ),
        only(R.ENCRYPTED_OWNER, R.ENCRYPTED_USER),
    ),
}


def revisions(number: int) -> bytes:
    """Return a document that was updated that often, by hand, for pypdf takes ever longer."""
    content = bytearray(GOOD)
    previous = int(GOOD[GOOD.rindex(b"startxref") :].split()[1])
    for _ in range(number):
        start = len(content)
        content += b"xref\n0 0\ntrailer\n<< /Root 1 0 R /Size 5 /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
            previous,
            start,
        )
        previous = start
    return bytes(content)


def mutations(originals: list[bytes], number: int, seed: int = 3) -> Iterator[bytes]:
    """Yield ``number`` spoilt documents: bits flipped, pieces cut out, doubled, exchanged with those of others."""
    chance = random.Random(seed)
    for _ in range(number):
        content = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            at = chance.randrange(len(content))
            length = chance.choice((1, 4, 32, 512))
            match chance.randrange(6):
                case 0:
                    content[at] ^= 1 << chance.randrange(8)
                case 1:
                    del content[at : at + length]
                case 2:
                    content[at:at] = content[at : at + length]
                case 3:
                    other = chance.choice(originals)
                    start = chance.randrange(len(other))
                    content[at : at + length] = other[start : start + length]
                case 4:
                    content[at : at + length] = chance.randbytes(min(length, len(content) - at))
                case _:
                    content[at:at] = chance.choice(WORDS)
            content = content or bytearray(b"%")
        yield bytes(content)


WORDS = (
    b"<<",
    b">>",
    b"[",
    b"]",
    b"(",
    b"1 0 R",
    b"endobj",
    b"stream\n",
    b"xref",
    b"trailer",
    b"99999999999",
    b"-1",
    b"null",
)
