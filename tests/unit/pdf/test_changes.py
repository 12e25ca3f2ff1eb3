"""A revision that seals may touch what it must, and nothing else; one that comes later still less."""

from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfWriter

from revisions import write
from seal_pdfs import make_pdf
from sealdrop.pdf.changes import check_later_revision, check_sealing_revision
from sealdrop.pdf.reader import Unsound, open_pdf

ORIGINAL = {
    1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R /PageLabels << /Nums [0 << /S /D >>] >> /Threads 90 0 R >>",
    2: "<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595.0 842] >>",
    3: "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Annots 8 0 R /Zz << /B true /A (x) >> >>",
    4: "<< /Length 3 >>\nstream\nq Q\nendstream",
    5: "<< /Fields 9 0 R /DR 6 0 R >>",
    6: "<< /Font 7 0 R >>",
    7: "<< /F1 10 0 R >>",
    8: "[11 0 R]",
    9: "[12 0 R]",
    10: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    11: "<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] >>",
    12: "<< /FT /Sig /T (Empty) /Type /Annot /Subtype /Widget /Rect [0 0 0 0] >>",
}
PDF = write(ORIGINAL, size=20)

SIGNATURE = "<< /Type /Sig /Contents <00> >>"
TIMESTAMP = "<< /Type /DocTimeStamp /Contents <00> >>"
FIELD = "<< /FT /Sig /T (New) /V 21 0 R /Type /Annot /Subtype /Widget /Rect [0 0 {0} {0}] >>"
SEALED = {20: FIELD.format(9), 21: SIGNATURE, 9: "[12 0 R 20 0 R]", 8: "[11 0 R 20 0 R]"}
STAMPED = {20: FIELD.format(0), 21: TIMESTAMP, 9: "[12 0 R 20 0 R]", 8: "[11 0 R 20 0 R]"}


def _check(folder: Path, content: bytes, *, later: bool = False) -> None:
    path = folder / "revised.pdf"
    path.write_bytes(content)
    with path.open("rb") as file:
        (check_later_revision if later else check_sealing_revision)(open_pdf(file, len(content)), 1)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(SEALED, id="a-field"),
        pytest.param(STAMPED, id="a-timestamp"),
        pytest.param({12: ORIGINAL[12].replace("/FT", "/V 21 0 R /FT"), 21: SIGNATURE}, id="an-empty-field-filled"),
        pytest.param(
            {3: ORIGINAL[3].replace("/B true /A (x)", "/A <78> /B true"), 2: ORIGINAL[2].replace("595.0", "595")},
            id="written-in-another-way",
        ),
        pytest.param(
            {1: ORIGINAL[1].replace("<< /S /D >>", "22 0 R").replace("/Threads 90 0 R", ""), 22: "<< /S /D >>"},
            id="by-reference",
        ),
        pytest.param({3: ORIGINAL[3].replace("/Zz", "/MediaBox [0 0 595 842] /Zz")}, id="inheritance-written-out"),
        pytest.param({2: ORIGINAL[2].replace("/Count", "/ITXT (x) /Count")}, id="mark-of-the-writer"),
        pytest.param({7: "<< /F1 10 0 R /Helv 22 0 R >>", 22: ORIGINAL[10]}, id="another-font"),
        pytest.param({6: "<< /Font 7 0 R /XObject << >> >>"}, id="another-kind-of-resources"),
        pytest.param({5: "<< /Fields 9 0 R /DR << /Font << /F1 10 0 R >> >> /DA (x) /SigFlags 3 >>"}, id="form"),
        pytest.param({15: "<< /Harmless true >>"}, id="a-number-left-out"),
        pytest.param(
            {1: ORIGINAL[1].replace("/Threads", "/DSS 22 0 R /Extensions << >> /Version /2.0 /Nothing"), 22: "<< >>"},
            id="catalogue",
        ),
    ],
)
def test_what_a_seal_needs(tmp_path: Path, objects: dict[int, str]) -> None:
    """What sealing software does, in whatever way, passes as the seal's revision."""
    _check(tmp_path, write(objects, after=PDF))


REPLACED = [
    pytest.param({4: "<< /Length 3 >>\nstream\nf* \nendstream"}, id="content"),
    pytest.param({3: ORIGINAL[3].replace("4 0 R", "22 0 R"), 22: ORIGINAL[4].replace("q Q", "Q q")}, id="contents"),
    pytest.param({3: ORIGINAL[3].replace("/Zz", "/Rotate 90 /Zz")}, id="rotated"),
    pytest.param({3: ORIGINAL[3].replace("/Zz", "/MediaBox [0 0 1 1] /Zz")}, id="another-box"),
    pytest.param({3: ORIGINAL[3].replace("true", "false")}, id="a-boolean"),
    pytest.param({3: ORIGINAL[3].replace("(x)", "/x")}, id="a-name-for-a-string"),
    pytest.param({2: ORIGINAL[2].replace("/Count", "/Rotate 90 /Count")}, id="page-tree"),
    pytest.param({1: ORIGINAL[1].replace("/S /D", "/S /r")}, id="labels"),
    pytest.param({1: ORIGINAL[1].replace("/Threads", "/OpenAction 11 0 R /Threads")}, id="an-action"),
    pytest.param({7: "<< /F1 11 0 R >>"}, id="font-replaced"),
    pytest.param({7: "<< >>"}, id="font-dropped"),
    pytest.param({5: "<< /Fields 9 0 R /DR << /Font << /F1 11 0 R >> >> >>"}, id="font-of-the-form-replaced"),
    pytest.param({5: ORIGINAL[5].replace("/DR", "/NeedAppearances true /DR")}, id="appearances-made-anew"),
    pytest.param({5: ORIGINAL[5].replace("/DR", "/XFA (x) /DR")}, id="xfa"),
    pytest.param({8: "[11 0 R 22 0 R]", 22: ORIGINAL[11]}, id="an-annotation"),
    pytest.param({8: "[11 0 R 20 0 R]", 20: FIELD.format(9).replace("Widget", "FreeText"), 21: SIGNATURE}, id="a-note"),
    pytest.param(
        {9: "[12 0 R 20 0 R]", 20: FIELD.format(0).replace("/Rect", "/AA << >> /Rect"), 21: TIMESTAMP}, id="js"
    ),
    pytest.param({8: "[20 0 R]", 20: FIELD.format(9), 21: SIGNATURE}, id="an-annotation-dropped"),
    pytest.param({9: "[12 0 R 22 0 R]", 22: ORIGINAL[12]}, id="an-empty-field"),
    pytest.param({9: "[12 0 R 22 0 R]", 22: "<< /FT /Tx /T (x) /V (x) >>"}, id="a-text-field"),
]


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
@pytest.mark.parametrize("objects", REPLACED)
def test_what_nothing_may_touch(tmp_path: Path, objects: dict[int, str], later: bool) -> None:
    """What changes the document fails, with the seal and later."""
    with pytest.raises(Unsound):
        _check(tmp_path, write(objects, after=PDF), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_a_freed_object_is_a_removed_one(tmp_path: Path, later: bool) -> None:
    """An object that a revision calls free fails, whatever generation it names; a number that never was one passes."""
    for generation in (0, 1, 65535):
        with pytest.raises(Unsound, match="removes"):
            _check(tmp_path, write({}, after=PDF, free={4: generation}), later=later)
        _check(tmp_path, write({}, after=PDF, free={15: generation, 30: generation}), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_another_generation_is_a_replacement(tmp_path: Path, later: bool) -> None:
    """An object that is defined again under a higher generation fails: some readers take it for the old one."""
    with pytest.raises(Unsound, match="another generation"):
        _check(tmp_path, write({4: ORIGINAL[4]}, after=PDF, generation=1), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_what_was_asked_for_cannot_be_filled_in(tmp_path: Path, later: bool) -> None:
    """A number below the table's size that the document refers to, and has not, cannot be given to anything."""
    asking = write({**ORIGINAL, 3: ORIGINAL[3].replace("/Zz", "/Resources 15 0 R /Zz")}, size=20)
    with pytest.raises(Unsound, match="asked for"):
        _check(tmp_path, write({15: "<< >>"}, after=asking), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_nor_beyond_the_table(tmp_path: Path, later: bool) -> None:
    """What is referred to there is absent only until a later table is greater."""
    asking = write({**ORIGINAL, 3: ORIGINAL[3].replace("/Zz", "/Resources 90 0 R /Zz")})
    with pytest.raises(Unsound, match="asked for"):
        _check(tmp_path, write({90: "<< >>"}, after=asking), later=later)
    _check(tmp_path, write({91: "<< >>"}, after=asking), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_what_is_metadata_only_may_be_another(tmp_path: Path, later: bool) -> None:
    """Whatever else leads to shows something."""
    old, new = (f"<< /Type /Metadata /Length 3 >>\nstream\n{word}\nendstream" for word in ("q Q", "Q q"))
    alone = {**ORIGINAL, 1: ORIGINAL[1].replace("/Threads", "/Metadata 40 0 R /Threads"), 40: old}
    _check(tmp_path, write({40: new}, after=write(alone)), later=later)
    shown = {**alone, 3: ORIGINAL[3].replace("4 0 R", "[4 0 R 40 0 R]")}
    with pytest.raises(Unsound, match="replaces object 40"):
        _check(tmp_path, write({40: new}, after=write(shown)), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
def test_so_may_the_information_about_the_document(tmp_path: Path, later: bool) -> None:
    """In entries of a writer's own, too, if nothing else leads there; its usual words in any case."""
    own = {40: "<< /Title (x) /Own << /Words [(x)] >> >>"}
    alone = write({**ORIGINAL, 40: "<< /Title (x) >>"}, trailer="/Info 40 0 R")
    _check(tmp_path, write(own, after=alone, trailer="/Info 40 0 R"), later=later)
    led_to = {**ORIGINAL, 3: ORIGINAL[3].replace("/Zz", "/PieceInfo 40 0 R /Zz"), 40: "<< /Title (x) >>"}
    shown = write(led_to, trailer="/Info 40 0 R")
    _check(tmp_path, write({40: "<< /Title (y) /ModDate (z) >>"}, after=shown, trailer="/Info 40 0 R"), later=later)
    with pytest.raises(Unsound, match="replaces object 40"):
        _check(tmp_path, write(own, after=shown, trailer="/Info 40 0 R"), later=later)


@pytest.mark.parametrize("later", [False, True], ids=["sealing", "later"])
@pytest.mark.parametrize("number", [6, 7], ids=["in-place", "elsewhere"])
def test_the_encryption_cannot_change(tmp_path: Path, number: int, later: bool) -> None:
    """A revision after which every stream is decrypted in another way fails."""
    writer = PdfWriter(clone_from=BytesIO(make_pdf()))
    writer.encrypt("", "owner", algorithm="AES-128")
    out = BytesIO()
    writer.write(out)
    pdf = out.getvalue()
    start = pdf.index(b"<<", pdf.index(b"6 0 obj"))
    encryption = pdf[start : pdf.index(b"endobj", start)].decode("latin-1").strip()
    trailer = f"/Encrypt {number} 0 R {pdf[pdf.rindex(b'/ID') : pdf.rindex(b']') + 1].decode('latin-1')}"
    if number == 6:
        _check(tmp_path, write({7: "<< >>"}, after=pdf, trailer=trailer), later=later)
    with pytest.raises((Unsound, ValueError)):  # pyHanko takes what it finds there for encrypted too
        _check(
            tmp_path,
            write({number: encryption.replace("/StmF /StdCF", "/StmF /Identity")}, after=pdf, trailer=trailer),
            later=later,
        )


def test_another_catalogue_is_another_document(tmp_path: Path) -> None:
    """A revision whose trailer leads to another catalogue fails."""
    revised = write({30: ORIGINAL[1]}, after=PDF).replace(b"/Size 31 /Root 1 0 R", b"/Size 31 /Root 30 0 R")
    with pytest.raises(Unsound, match="catalogue"):
        _check(tmp_path, revised)


@pytest.mark.parametrize(
    ("objects", "passes"),
    [
        pytest.param(STAMPED, True, id="unseen-timestamp"),
        pytest.param({**STAMPED, 20: FIELD.format(9)}, False, id="visible-timestamp"),
        pytest.param(
            {**STAMPED, 20: "<< /FT /Sig /T (New) /V 21 0 R /Kids [22 0 R] >>", 22: FIELD.format(9)},
            False,
            id="visible-kid",
        ),
        pytest.param({**SEALED, 20: FIELD.format(0)}, False, id="another-seal"),
        pytest.param({12: ORIGINAL[12].replace("/FT", "/V 21 0 R /FT"), 21: TIMESTAMP}, True, id="empty-field-stamped"),
        pytest.param({12: ORIGINAL[12].replace("/FT", "/V 21 0 R /FT"), 21: SIGNATURE}, False, id="empty-field-signed"),
        pytest.param({1: ORIGINAL[1].replace("/Threads", "/DSS << >> /Threads")}, True, id="store"),
        pytest.param({1: ORIGINAL[1].replace("/Threads", "/Perms << >> /Threads")}, False, id="certification"),
    ],
)
def test_what_may_come_later(tmp_path: Path, objects: dict[int, str], passes: bool) -> None:
    """After the seal only validation data and document timestamps pass, and those only where they show nothing."""
    content = write(objects, after=PDF)
    if passes:
        _check(tmp_path, content, later=True)
    else:
        with pytest.raises(Unsound):
            _check(tmp_path, content, later=True)
