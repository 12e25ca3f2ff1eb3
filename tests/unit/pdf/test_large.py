"""Of a large document the long parts stay in the file, and what is said of it is what is said of any other."""

import pickle
import re
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PdfFileWriter

import hostile
import pdfs
import seal_pdfs
from seal_pki import make_pki
from sealdrop.config import DEFAULT_RULES, Validation
from sealdrop.model import CheckName, CheckOutcome, Finding, Reason, SealLevel, Verdict
from sealdrop.pdf import large
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.jobs import Expectation
from sealdrop.pdf.large import LargeFile, Left
from sealdrop.pdf.seal import verify_seal
from seals import expect, revise, seal

MIB = 1 << 20
LONG = "x" * 300
PICTURE = "/Subtype /Image /Width 1 /Height 1"
RESOURCES = "/Resources << /XObject << /I 10 0 R >> >>"
ALL = Validation(rules=dict.fromkeys(DEFAULT_RULES, "warn"), max_mib=1000)
SEALS = sorted((Path(__file__).parents[2] / "data" / "seals").glob("*.pdf"))


@pytest.fixture
def sparing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what has even a small document read as a large one, whose streams are long from 128 bytes on."""

    def begin(longest_bytes: int = 128) -> None:
        monkeypatch.setattr(large, "WHOLE_BYTES", 0)
        monkeypatch.setattr(large, "LONGEST_BYTES", longest_bytes)

    return begin


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that Python allocates meanwhile."""
    tracemalloc.start(1)
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _picture(entries: str = "/SMask 11 0 R", body: bytes | None = None) -> bytes:
    """Return a PDF whose picture, of more than 128 bytes, has a mask."""
    mask = pdfs.stream("x", PICTURE)
    return pdfs.document(page=RESOURCES, objects={10: body or pdfs.stream(LONG, f"{PICTURE} {entries}"), 11: mask})


def _unlisted() -> bytes:
    """Return a PDF whose picture is in the file and not in the table; reading it up to there takes several windows."""
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] {RESOURCES} >>",
        9: pdfs.stream(b"\0" * (2 * large.WINDOW_BYTES)),
        10: pdfs.stream(LONG, f"{PICTURE} /SMaskInData 1"),
    }
    return pdfs.with_table(objects, size=31).replace(b"\n10 1\n", b"\n30 1\n")


def _in_object_stream() -> bytes:
    """Return a PDF whose picture's name and mask are told in a stream of objects, which is long."""
    picture = pdfs.document(page=RESOURCES, objects={11: pdfs.stream(LONG, f"{PICTURE} /Mask 11 0 R")})
    content = picture[: picture.rindex(b"xref\n0 1")]
    start = len(content)
    padding = {number: f"<< /No {number} >>" for number in range(20, 90)}
    content += hostile.object_stream(12, {10: "<< /Kids [11 0 R] >>", **padding})
    own = len(content)
    places = {int(found[1]): found.start() for found in re.finditer(rb"(?<=\n)(\d+) 0 obj", content)}
    rows = b"".join(
        b"\2\0\0\0\x0c\0" if number == 10 else b"\1%s\0" % {**places, 13: own}.get(number, start).to_bytes(4, "big")
        for number in range(14)
    )
    entries = "/Type /XRef /W [1 4 1] /Size 14 /Root 1 0 R /Filter /FlateDecode"
    body = pdfs.stream(zlib.compress(rows), entries)
    return content + b"13 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (body, own)


_XFA = pdfs.stream(LONG + "<dynamicRender>required</dynamicRender>")
_WHOLE_STREAM = pdfs.stream(LONG, f"{PICTURE} /SMask 11 0 R")
_LENGTH = b"/Length %d" % len(LONG)

DOCUMENTS = {
    "a picture with a mask": _picture(),
    "no length": _picture(body=_WHOLE_STREAM.replace(_LENGTH, b"").replace(b"xx", b"x" * 400)),
    "a length too long by one": _picture(body=_WHOLE_STREAM.replace(_LENGTH, b"/Length %d" % (len(LONG) + 1))),
    "a length too short": _picture(body=_WHOLE_STREAM.replace(_LENGTH, b"/Length 200")),
    "a length beyond the file": _picture(body=_WHOLE_STREAM.replace(_LENGTH, b"/Length 99999")),
    "a length without end": _picture(body=_WHOLE_STREAM.replace(_LENGTH, b"/Length 99999999999999")),
    "no end of the stream": _picture(body=_WHOLE_STREAM.replace(b"endstream", b"")),
    "a picture that is not listed": _unlisted(),
    "a picture that is nowhere": pdfs.document(page=RESOURCES),
    "a stream of objects": _in_object_stream(),
    "long metadata": pdfs.pdfa(),
    "a long form": pdfs.document(catalog="/AcroForm << /Fields [] /XFA 10 0 R >>", objects={10: _XFA}),
    "encrypted": pdfs.encrypted(_picture(), user=""),
    "encrypted metadata": pdfs.encrypted(pdfs.pdfa(), user=""),
    "no table": pdfs.pdfa().replace(b"startxref", b"startxyzf"),
    **{path.stem: path.read_bytes() for path in SEALS},
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_verdict_is_the_same(tmp_path: Path, sparing: Callable[..., None], name: str) -> None:
    """Whether long streams are read or left changes nothing of what is found in a document."""
    path = tmp_path / "document.pdf"
    path.write_bytes(DOCUMENTS[name])
    before = inspect(path, ALL)
    sparing(8 << 10 if name == "no length" else 128)  # pypdf looks for the end by 8 KiB at a time
    assert inspect(path, ALL) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a picture with a mask", Reason.IMAGE_TRANSPARENCY),
        ("a length too short", Reason.IMAGE_TRANSPARENCY),
        ("a picture that is not listed", Reason.OTHER_TRANSPARENCY),
        ("long metadata", Reason.PDFA_CLAIM),
        ("encrypted metadata", Reason.PDFA_CLAIM),
        ("a long form", Reason.XFA_DYNAMIC),
    ],
)
def test_what_is_left_is_still_found(tmp_path: Path, sparing: Callable[..., None], name: str, reason: Reason) -> None:
    """What a long stream says, of itself or inside, is found though it is left in the file."""
    path = tmp_path / "document.pdf"
    path.write_bytes(DOCUMENTS[name])
    sparing()
    found = inspect(path, ALL)
    assert reason in {each.code for each in (found.cause, *found.warnings) if each is not None}


@pytest.mark.parametrize("level", [SealLevel.B, SealLevel.LTA])
@pytest.mark.parametrize("xref", ["table", "stream", "hybrid"])
def test_a_seal_proves_the_same(tmp_path: Path, sparing: Callable[..., None], level: SealLevel, xref: str) -> None:
    """A good seal passes every check, its evidence being among what is left in the file."""
    path, expected, pdf = _sealed(tmp_path, level, seal_pdfs.make_pdf(pages=2, xref=xref, filler_bytes=2000))
    before = verify_seal(path, expected)
    sparing()
    after = verify_seal(path, expected)
    assert after == before
    assert after.first_failure is None, (after.checks, pdf)


def _page_in_object_stream() -> bytes:
    """Return a PDF whose page is told in a long stream of objects."""
    writer = PdfFileWriter()
    objects = writer.prepare_object_stream(compress=False)
    for _ in range(20):
        writer.add_object(generic.pdf_string(LONG), obj_stream=objects)
    page = generic.DictionaryObject(
        {pdf_name("/Type"): pdf_name("/Page"), pdf_name("/Parent"): writer.root.raw_get("/Pages")}
    )
    page["/MediaBox"] = generic.ArrayObject(map(generic.NumberObject, (0, 0, 9, 9)))
    writer.root["/Pages"]["/Kids"].append(writer.add_object(page, obj_stream=objects))
    writer.root["/Pages"]["/Count"] = generic.NumberObject(1)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("pdf", "before"),
    [
        pytest.param(
            pdfs.encrypted(seal_pdfs.make_pdf(filler_bytes=2000), user=""),
            lambda writer: writer.encrypt("") and None,
            id="encrypted",
        ),
        pytest.param(_page_in_object_stream(), None, id="page-in-an-object-stream"),
    ],
)
def test_a_seal_on_what_has_to_be_read_whole_proves_the_same(
    tmp_path: Path, sparing: Callable[..., None], pdf: bytes, before: seal_pdfs.Change | None
) -> None:
    """What is encrypted, and what tells objects, is read though it is long: inspected, sealed and verified as ever."""
    original = tmp_path / "original.pdf"
    original.write_bytes(pdf)
    path, expected, _ = _sealed(tmp_path, SealLevel.LTA, pdf, before)
    found, report = inspect(original, ALL), verify_seal(path, expected)
    assert found.verdict is Verdict.ACCEPT
    assert report.first_failure is None
    sparing()
    assert inspect(original, ALL) == found
    assert verify_seal(path, expected) == report


def test_a_long_stream_that_was_replaced_is_noticed(tmp_path: Path, sparing: Callable[..., None]) -> None:
    """A page whose content another one took the place of, of the same length, is not the page that was sealed."""
    path, expected, pdf = _sealed(tmp_path, SealLevel.B, seal_pdfs.make_pdf(filler_bytes=2000))

    def replace(writer: IncrementalPdfFileWriter) -> None:
        content = writer.root["/Pages"]["/Kids"][0].raw_get("/Contents")
        data = writer.get_object(content.reference).data
        writer.objects[content.generation, content.idnum] = generic.StreamObject(stream_data=data[::-1])

    path.write_bytes(revise(path.read_bytes(), replace))
    sparing()
    checks = {check.name: check.outcome for check in verify_seal(path, expected).checks}
    assert checks[CheckName.LATER_REVISIONS] is CheckOutcome.FAILED
    assert checks[CheckName.INTACT] is CheckOutcome.PASSED, pdf


@pytest.mark.parametrize("pages", [1, 6])
def test_memory_does_not_follow_the_size(tmp_path: Path, pages: int) -> None:
    """Neither inspecting nor verifying 24 MiB, on one page or on six, takes more than a tenth of them."""
    path, expected, pdf = _sealed(tmp_path, SealLevel.LTA, seal_pdfs.make_pdf(pages=pages, filler_bytes=24 * MIB))
    original = tmp_path / "original.pdf"
    original.write_bytes(pdf)
    assert inspect(original, ALL).verdict is Verdict.ACCEPT  # and whatever is kept for ever is there
    assert verify_seal(path, expected).first_failure is None
    assert peak_bytes(lambda: inspect(original, ALL)) < 2.4 * MIB
    assert peak_bytes(lambda: verify_seal(path, expected)) < 2.4 * MIB


@pytest.mark.parametrize("pictures", [[80_000_000], [4_000_000] * 20], ids=["one", "twenty"])
def test_pictures_of_any_size_are_looked_at(tmp_path: Path, pictures: list[int]) -> None:
    """Of 80 MB of pictures, even in one, which pypdf by itself does not read, the masks are found, and no more read."""
    path = tmp_path / "document.pdf"
    pdfs.write_large(path, pictures, "/SMaskInData 1")
    found = inspect(path, ALL)
    assert found.warnings == (Finding(Reason.OTHER_TRANSPARENCY, f"image with a mask in its data ({len(pictures)})"),)
    assert peak_bytes(lambda: inspect(path, ALL)) < 2.4 * MIB


def test_a_left_is_the_bytes_that_stand_there(tmp_path: Path) -> None:
    """It is as long as they are, can be cut and looked through, and is equal to nothing but the same bytes."""
    path = tmp_path / "file"
    content = bytes(range(256)) * 5000 + b"endstream" + bytes(9)
    path.write_bytes(content)
    with path.open("rb", buffering=0) as raw:
        file = LargeFile(raw, len(content))
        assert file.read(20_000) == content[:20_000]
        file.seek(1)
        with file.leaving():
            assert file.read(5) == content[1:6]
            assert file.bytes_at(9, 20_000) == content[9:20_009]
            assert file.bytes_at(len(content) - 3, 20_000) == content[-3:]
            assert file.bytes_at(len(content) + 3, 20_000) == b""
            left = file.read(10**12)
        assert isinstance(left, Left)
        assert (file.tell(), len(left), left.read()) == (len(content), len(content) - 6, content[6:])
        assert left.find(b"endstream") == content.index(b"endstream") - 6
        assert left[:-1].find(b"endstreax") == -1
        assert left[:-1].read() == content[6:-1]
        assert left == content[6:]
        assert left != content[7:]
        assert left != b""
        assert left[1:] != left[:-1]
        assert hash(left) == hash(content[6:])
        with pytest.raises(TypeError):
            left[0]
        with pytest.raises(ValueError, match="before the beginning"):
            file.bytes_at(-1, 3)


def test_what_is_looked_for_may_lie_across_two_windows(tmp_path: Path) -> None:
    """A match is found wherever the window ends, and the first one is."""
    path = tmp_path / "file"
    for before in range(large.WINDOW_BYTES - 8, large.WINDOW_BYTES + 1):
        path.write_bytes(b"\0" * before + b" 12 0 obj  12 0 obj")
        with path.open("rb") as file:
            assert large.look_for(re.compile(rb"\s12\s+0\s+obj"), file.fileno(), 0, before + 99) == before
            assert large.look_for(re.compile(rb"\s12\s+0\s+obj"), file.fileno(), 0, before + 5) is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda left: left + b"",
        lambda left: b"" + left,
        lambda left: left * 1,
        lambda left: left % (),
        lambda left: b"" in left,
        list,
        lambda left: left < b"x",
        lambda left: f"{left}",
        lambda left: left.decode(),
        lambda left: left.endswith(b"x"),
        lambda left: left.join([]),
        lambda left: left.rfind(b"x"),
        lambda left: left.split(),
        lambda left: left.strip(),
        pickle.dumps,
    ],
)
def test_a_left_answers_nothing_that_it_cannot(ask: Callable[[Left], object]) -> None:
    """What it has not been taught, which would be answered for empty bytes, it refuses."""
    left = Left(0, 5, 20)
    with pytest.raises(TypeError):
        ask(left)
    assert repr(left) == "<20 bytes from 5 on>"


def test_a_left_has_an_answer_or_a_refusal_for_all() -> None:
    """Nothing that bytes can do is inherited."""
    assert vars(bytes).keys() - vars(Left).keys() == {"__getattribute__"}


def _sealed(
    folder: Path, level: SealLevel, pdf: bytes, before: seal_pdfs.Change | None = None
) -> tuple[Path, Expectation, bytes]:
    """Return where ``pdf`` stands sealed, what it is held against, and ``pdf``."""
    path, anchor = folder / "sealed.pdf", folder / "anchor.pem"
    anchor.write_bytes(make_pki().root.pem)
    path.write_bytes(seal.__wrapped__(pdf, level, before=before))
    return path, expect(pdf, anchor, level=level), pdf
