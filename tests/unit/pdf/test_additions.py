"""What is called plain is what pyHanko's analysis has nothing to say about, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.sign.diff_analysis import DiffResult, ModificationLevel
from pyhanko.sign.fields import MDPPerm

from revisions import write
from seal_pdfs import make_pdf
from seal_pki import make_pki
from sealdrop.model import SealLevel
from sealdrop.pdf import differences
from sealdrop.pdf import seal as work
from sealdrop.pdf.additions import is_plain
from sealdrop.pdf.changes import check_later_revision
from sealdrop.pdf.differences import _POLICY
from sealdrop.pdf.reader import Unsound, open_pdf
from seals import expect, revise, seal

CATALOGUE = "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R {} >>"
FORM = "<< /Fields [{}] /SigFlags 3 >>"
PAGE = "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << >> {} >>"
INFO = "<< /Title (x) /ModDate ({}) >>"
FIELD = (
    "<< /FT /Sig /T ({name}) /V {number} 0 R /Type /Annot /Subtype /Widget /Rect [0 0 {box} {box}] /P 3 0 R {more} >>"
)
SIGNATURE = "<< /Type /Sig /Contents <00> >>"
STAMP = "<< /Type /DocTimeStamp /Contents <00> /ByteRange [0 1 2 3] /Filter /A /SubFilter /B {} >>"
STREAM = "<< /Length 3 >>\nstream\nq Q\nendstream"

# The document, with its seal in objects 10 and 11.
SEALED = write(
    {
        1: CATALOGUE.format("/Threads [6 0 R]"),
        2: "<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595 842] >>",
        3: PAGE.format("/Annots [10 0 R]"),
        4: STREAM,
        5: FORM.format("10 0 R"),
        6: "<< /Kind /Thread >>",
        7: INFO.format("1"),
        10: FIELD.format(name="Seal", number=11, box=0, more=""),
        11: SIGNATURE,
        12: STAMP.format(""),
        13: FIELD.format(name="Old", number=12, box=0, more=""),
    },
    trailer="/Info 7 0 R",
)
STORE = {20: "<< /Certs [21 0 R] /CRLs [22 0 R] >>", 21: STREAM, 22: STREAM}
WITH_STORE = {1: CATALOGUE.format("/Threads [6 0 R] /DSS 20 0 R"), **STORE}
STAMPED = {
    3: PAGE.format("/Annots [10 0 R 30 0 R]"),
    5: FORM.format("10 0 R 30 0 R"),
    30: FIELD.format(name="Stamp", number=31, box=0, more=""),
    31: STAMP.format(""),
}
BOTH = {**WITH_STORE, **STAMPED}
EXTENSIONS = "/Extensions << /E << /Level 1 /Base /1.7 {} >> >>"


def _extended(more: str = "") -> dict[int, str]:
    return {**BOTH, 1: CATALOGUE.format("/Threads [6 0 R] /DSS 20 0 R " + EXTENSIONS.format(more))}


def _field(more: str = "", *, name: str = "Stamp", value: int = 31, page: str = "/P 3 0 R") -> dict[int, str]:
    field = FIELD.format(name=name, number=value, box=0, more=more).replace("/P 3 0 R", page)
    return {**BOTH, 30: field}


def _judged(folder: Path, content: bytes, revision: int = 1) -> tuple[bool, bool, object]:
    """Return whether a revision passes by its objects, whether it is plain, and pyHanko's verdict."""
    path = folder / "revised.pdf"
    path.write_bytes(content)
    with path.open("rb") as file:
        reader = open_pdf(file, len(content))
        try:
            check_later_revision(reader, revision)
        except Unsound:
            passes = False
        else:
            passes = True
        plain = passes and is_plain(reader, 0, revision)
        try:
            return passes, plain, _POLICY.review_file(reader, 0)
        except (PdfReadError, KeyError):  # what refers to nothing it does not take
            return passes, plain, None


PLAIN = {
    "an-object-that-nobody-needs": {40: STREAM},
    "a-store": WITH_STORE,
    "a-timestamp": STAMPED,
    "both": BOTH,
    "extensions": _extended(),
    "another-date": {**BOTH, 7: INFO.format("2")},
    "a-field-that-no-page-shows": {key: value for key, value in BOTH.items() if key != 3},
    "written-again": {**BOTH, 6: "<< /Kind /Thread >>"},
}


@pytest.mark.parametrize("objects", PLAIN.values(), ids=PLAIN)
def test_what_services_append_is_plain(tmp_path: Path, objects: dict[int, str]) -> None:
    """A store, a timestamp's invisible field and what belongs to them: pyHanko finds nothing but validation data."""
    passes, plain, said = _judged(tmp_path, write(objects, after=SEALED, trailer="/Info 7 0 R"))
    assert passes
    assert plain
    assert isinstance(said, DiffResult)
    assert said.modification_level <= ModificationLevel.LTA_UPDATES


NOT_PLAIN = {
    "extensions-that-refer": _extended("/X 40 0 R"),
    "extensions-by-reference": {**BOTH, 1: CATALOGUE.format("/Threads [6 0 R] /Extensions 40 0 R"), 40: "<< >>"},
    "no-store-where-one-should-be": {1: WITH_STORE[1]},
    "metadata": {**BOTH, 1: CATALOGUE.format("/Threads [6 0 R] /Metadata 40 0 R"), 40: STREAM},
    "a-version": {**BOTH, 1: CATALOGUE.format("/Threads [6 0 R] /Version /2.0")},
    "a-title": {**BOTH, 7: INFO.format("2").replace("(x)", "(y)")},
    "a-date-that-refers": {**BOTH, 7: INFO.format("2").replace("(2)", "40 0 R"), 40: "(2)"},
    "fonts": {**BOTH, 5: "<< /Fields [10 0 R 30 0 R] /SigFlags 3 /DR << >> >>"},
    "flags-that-are-none": {**BOTH, 5: "<< /Fields [10 0 R 30 0 R] /SigFlags (x) >>"},
    "fields-by-reference": {**BOTH, 5: "<< /Fields 40 0 R /SigFlags 3 >>", 40: "[10 0 R 30 0 R]"},
    "annotations-by-reference": {**BOTH, 3: PAGE.format("/Annots 40 0 R"), 40: "[10 0 R 30 0 R]"},
    "an-appearance": {**_field("/AP << /N 40 0 R >>"), 40: STREAM},
    "kids": {**_field("/Kids [40 0 R]"), 40: "<< /Rect [0 0 0 0] >>"},
    "a-lock": _field("/Lock << /Action /All >>"),
    "a-field-that-refers": {**_field("/TU 40 0 R"), 40: "(x)"},
    "the-name-of-another": _field(name="Seal"),
    "a-name-of-two-parts": _field(name="Seal.Stamp"),
    "no-page": _field(page=""),
    "a-page-that-is-new": {**_field(page="/P 40 0 R"), 40: PAGE.format("")},
    "a-value-that-was-there": _field(value=12),
    "a-field-that-was-there": {5: FORM.format("10 0 R 13 0 R")},
    "a-value-that-refers": {**BOTH, 31: STAMP.format("/Reference [40 0 R]"), 40: "<< >>"},
    "a-value-in-its-place": {**BOTH, 30: _field()[30].replace("31 0 R", STAMP.format(""))},
    "a-page's-tabs": {**BOTH, 3: PAGE.format("/Annots [10 0 R 30 0 R] /Tabs /S")},
    "the-mark-of-a-writer": {**BOTH, 2: "<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595 842] /ITXT (x) >>"},
}


@pytest.mark.parametrize("objects", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_left_to_pyhanko(tmp_path: Path, objects: dict[int, str]) -> None:
    """Whatever goes beyond that in one place is not plain, though it passes by its objects."""
    passes, plain, _ = _judged(tmp_path, write(objects, after=SEALED, trailer="/Info 7 0 R"))
    assert passes
    assert not plain


@pytest.mark.parametrize(
    ("trailer", "free"),
    [("", {}), ("/Info 21 0 R", {}), ("/Info 7 0 R /Own 40 0 R", {}), ("/Info 7 0 R", {15: 1})],
    ids=["no-information", "other-information", "something-of-its-own", "a-number-called-free"],
)
def test_a_trailer_that_leads_elsewhere_is_not_plain(tmp_path: Path, trailer: str, free: dict[int, int]) -> None:
    """It is for pyHanko to say where that leads; a trailer without an entry of the one before keeps it."""
    content = write({**BOTH, 40: STREAM}, after=SEALED, trailer=trailer, free=free)
    assert _judged(tmp_path, content)[1] is (trailer == "")


def test_a_store_that_was_there_before_the_seal_is_not_plain(tmp_path: Path) -> None:
    """What is in it may be a part of what the document shows: only one that came after the seal can become another."""
    sealed = write(WITH_STORE, after=SEALED, trailer="/Info 7 0 R")
    later = write({20: "<< /Certs [21 0 R] /CRLs [23 0 R] >>", 23: STREAM}, after=sealed, trailer="/Info 7 0 R")
    path = tmp_path / "revised.pdf"
    path.write_bytes(later)
    with path.open("rb") as file:
        reader = open_pdf(file, len(later))
        assert is_plain(reader, 0, 1)
        assert is_plain(reader, 0, 2)
        assert not is_plain(reader, 1, 2)


def _with_a_version(writer: IncrementalPdfFileWriter) -> None:
    writer.root["/Version"] = pdf_name("/2.0")
    writer.update_root()


@pytest.mark.parametrize(
    ("sealed", "is_asked"),
    [
        pytest.param(seal(make_pdf(), SealLevel.LTA), False, id="validation-data"),
        pytest.param(seal(make_pdf(), SealLevel.LTA, certify=MDPPerm.FILL_FORMS), True, id="a-seal-that-certifies"),
        pytest.param(revise(seal(make_pdf(), SealLevel.LTA), _with_a_version), True, id="a-version-too"),
    ],
)
def test_pyhanko_is_asked_about_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bytes, is_asked: bool
) -> None:
    """The analysis is spared where all is plain and the seal restricts nothing; either way a good seal passes."""
    asked = []
    monkeypatch.setattr(work, "changes_since", lambda *args: asked.append(args) or differences.changes_since(*args))
    path, anchor = tmp_path / "sealed.pdf", tmp_path / "anchor.pem"
    path.write_bytes(sealed)
    anchor.write_bytes(make_pki().root.pem)
    assert work.verify_seal(path, expect(make_pdf(), anchor, level=SealLevel.LTA)).first_failure is None
    assert bool(asked) is is_asked


# For each place of a revision, what may stand there: as services write it, odd, or hostile.
PLACES: dict[int, list[str | None]] = {
    1: [
        None,
        WITH_STORE[1],
        _extended()[1],
        _extended("/X 40 0 R")[1],
        CATALOGUE.format("/Threads [6 0 R] /DSS << /Certs [40 0 R 4 0 R] >>"),
        CATALOGUE.format("/Threads [40 0 R] /DSS 20 0 R"),
        CATALOGUE.format("/Threads [6 0 R] /DSS 4 0 R"),
        CATALOGUE.format("/Threads [6 0 R] /OpenAction 40 0 R"),
    ],
    3: [None, STAMPED[3], PAGE.format("/Annots [10 0 R 40 0 R]"), PAGE.format("/Annots [30 0 R]"), PAGE.format("/X 1")],
    5: [None, STAMPED[5], FORM.format("10 0 R 30 0 R 40 0 R"), FORM.format("30 0 R"), FORM.format("10 0 R 10 0 R")],
    6: [None, "<< /Kind /Thread >>", "<< /Kind /Other >>"],
    7: [None, INFO.format("2"), INFO.format("2").replace("(2)", "40 0 R"), "<< /Title (y) >>", STREAM],
    10: [None, FIELD.format(name="Seal", number=11, box=0, more=""), FIELD.format(name="X", number=11, box=0, more="")],
    20: [None, STORE[20], "<< /Certs [4 0 R] /X 40 0 R >>", "[21 0 R]"],
    30: [
        None,
        STAMPED[30],
        FIELD.format(name="Stamp", number=31, box=9, more=""),
        FIELD.format(name="Stamp", number=31, box=0, more="/X 40 0 R"),
        FIELD.format(name="Stamp", number=40, box=0, more="/AP << /N 40 0 R >>"),
        FIELD.format(name="Seal", number=31, box=0, more=""),
        FIELD.format(name="Stamp", number=6, box=0, more=""),
    ],
    31: [None, STAMPED[31], SIGNATURE, STAMP.format("/X 40 0 R"), STREAM],
    40: [None, "<< /X 1 >>", STREAM, FIELD.format(name="Other", number=31, box=0, more="")],
}


@given(
    objects=st.fixed_dictionaries(
        {
            place: st.sampled_from([written[1]] * 24 + written) for place, written in PLACES.items()
        }  # mostly as it should be
    ),
    trailer=st.sampled_from(["/Info 7 0 R", "/Info 7 0 R", "/Info 40 0 R", "/Info 7 0 R /X 40 0 R"]),
)
@settings(max_examples=400, deadline=None)
def test_pyhanko_agrees(tmp_path_factory: pytest.TempPathFactory, objects: dict[int, str | None], trailer: str) -> None:
    """Whatever is put together, what passes and is called plain is what pyHanko finds to be validation data."""
    revision = {21: STREAM, 22: STREAM, **{place: text for place, text in objects.items() if text is not None}}
    _, plain, said = _judged(tmp_path_factory.getbasetemp(), write(revision, after=SEALED, trailer=trailer))
    if plain and said is not None:
        assert isinstance(said, DiffResult)
        assert said.modification_level <= ModificationLevel.LTA_UPDATES
