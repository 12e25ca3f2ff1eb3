"""Whether a seal can be seen where it should, as the sealed PDF shows it."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pypdf import PdfReader

from pdfs import document, stream, with_table
from seal_pki import make_pki
from sealdrop.config import Validation
from sealdrop.model import Check, CheckName, CheckOutcome, SealPlace
from sealdrop.pdf.appearance import Looks, read_area
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.pages import area_of
from sealdrop.pdf.seal import verify_seal
from seals import expect, revise, seal

BOX = (20, 30, 120, 70)
PLACE = SealPlace(1, 20, 30, 120, 70)


def _check(tmp_path: Path, pdf: bytes, sealed: bytes, place: SealPlace | None) -> Check:
    anchor, path = tmp_path / "root.pem", tmp_path / "sealed.pdf"
    anchor.write_bytes(make_pki().root.pem)
    path.write_bytes(sealed)
    report = verify_seal(path, expect(pdf, anchor, looks=Looks(place)))
    assert [check.name for check in report.checks] == list(CheckName)
    (found,) = (check for check in report.checks if check.name is CheckName.APPEARANCE)
    return found


@pytest.mark.parametrize(
    ("place", "outcome", "detail"),
    [
        (PLACE, CheckOutcome.PASSED, "35.3 x 14.1 mm, 7.1 mm from the left and 10.6 mm from the bottom of page 1"),
        (replace(PLACE, left=22, right=122), CheckOutcome.PASSED, "35.3 x 14.1 mm"),
        (replace(PLACE, left=23, right=123), CheckOutcome.WARNED, "that is 1.1 mm off what was asked for"),
        (replace(PLACE, right=150), CheckOutcome.WARNED, "that is 10.6 mm off what was asked for (45.9 x"),
        (replace(PLACE, page=2), CheckOutcome.FAILED, "seen elsewhere than on page 2"),
        (replace(PLACE, page=3), CheckOutcome.FAILED, "there is no page 3"),
        (None, CheckOutcome.FAILED, "an invisible one was asked for"),
    ],
)
def test_a_visible_seal_is_held_against_what_was_asked(
    tmp_path: Path, place: SealPlace | None, outcome: CheckOutcome, detail: str
) -> None:
    """At its place it passes; near it, on its page, it is a warning; elsewhere, or unasked, it fails."""
    pdf = document(pages=2)
    found = _check(tmp_path, pdf, seal(pdf, box=BOX), place)
    assert found.outcome is outcome, found.detail
    assert detail in found.detail


@pytest.mark.parametrize(
    ("box", "page", "beyond"),
    [
        ((150, 30, 250, 70), "", True),
        ((-30, 30, 70, 70), "", True),
        ((20, 30, 120, 70), "/CropBox [30 0 200 200]", True),
        ((20, 30, 120, 70), "/CropBox [20 30 120 70] /Rotate 270 /UserUnit 3", False),
    ],
)
def test_a_seal_that_reaches_beyond_what_is_seen_fails(
    tmp_path: Path, box: tuple[int, int, int, int], page: str, beyond: bool
) -> None:
    """What a reader shows of the page counts: its crop box, where it has one."""
    pdf = document(page=page)
    found = _check(tmp_path, pdf, seal(pdf, box=box), SealPlace(1, *map(float, box)))
    assert (found.outcome is CheckOutcome.FAILED) == beyond, found
    assert beyond == ("beyond the page" in found.detail)


def test_a_seal_that_should_be_seen_and_is_not_fails(tmp_path: Path) -> None:
    """An invisible seal in the place of a visible one is not what was asked for; where it was, it passes."""
    pdf = document()
    assert _check(tmp_path, pdf, seal(pdf), PLACE).outcome is CheckOutcome.FAILED
    assert _check(tmp_path, pdf, seal(pdf), None).outcome is CheckOutcome.PASSED


Change = Callable[[generic.DictionaryObject], None]
PAINT = b"1 0 0 rg 0 0 300 300 re f"


def _flags(flags: int) -> Change:
    def change(field: generic.DictionaryObject) -> None:
        field[generic.pdf_name("/F")] = generic.NumberObject(flags)

    return change


def _flat(field: generic.DictionaryObject) -> None:
    field[generic.pdf_name("/Rect")] = generic.ArrayObject([generic.NumberObject(n) for n in (20, 30, 20, 70)])


def _drawn(key: str, appearance: generic.PdfObject | None) -> Change:
    def change(field: generic.DictionaryObject) -> None:
        drawn = {generic.pdf_name("/N"): generic.StreamObject(stream_data=b"")}
        drawn[generic.pdf_name(key)] = generic.NullObject() if appearance is None else appearance
        field[generic.pdf_name("/AP")] = generic.DictionaryObject(drawn)
        field[generic.pdf_name("/AS")] = generic.pdf_name("/On")

    return change


def _states() -> generic.DictionaryObject:
    return generic.DictionaryObject({generic.pdf_name("/On"): generic.StreamObject(stream_data=PAINT)})


def _changed(change: Change) -> bytes:
    def apply(writer: IncrementalPdfFileWriter) -> None:
        reference = writer.root["/AcroForm"]["/Fields"].raw_get(0)
        change(reference.get_object())
        writer.mark_update(reference)

    return revise(seal(document(), box=BOX), apply)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_flags(4 | 2), id="hidden"),
        pytest.param(_flags(32), id="neither on the screen nor printed"),
        pytest.param(_flat, id="flat"),
        pytest.param(_drawn("/N", generic.StreamObject(stream_data=b" ")), id="empty"),
        pytest.param(_drawn("/N", None), id="null"),
    ],
)
def test_what_has_a_place_and_is_not_shown_is_not_seen(tmp_path: Path, change: Change) -> None:
    """A seal that is hidden, neither for screen nor paper, without an extent, or empty, is none that can be seen."""
    sealed = _changed(change)
    assert _check(tmp_path, document(), sealed, PLACE).outcome is CheckOutcome.FAILED
    assert _check(tmp_path, document(), sealed, None).outcome is CheckOutcome.PASSED


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_flags(4 | 32), id="printed, and not on the screen"),
        pytest.param(_flags(32 | 256), id="on the screen under the mouse"),
        pytest.param(_drawn("/N", _states()), id="one for each state"),
        pytest.param(_drawn("/R", generic.StreamObject(stream_data=PAINT)), id="another under the mouse"),
        pytest.param(_drawn("/D", _states()), id="another when clicked"),
    ],
)
def test_what_is_shown_at_times_or_by_some_is_in_doubt(tmp_path: Path, change: Change) -> None:
    """It is no visible seal, which all see; and no invisible one, for it may hide what the document says."""
    sealed = _changed(change)
    assert _check(tmp_path, document(), sealed, PLACE).outcome is CheckOutcome.FAILED
    assert _check(tmp_path, document(), sealed, None).outcome is CheckOutcome.FAILED


@pytest.mark.parametrize(
    "page",
    [
        "/CropBox [0 0 10 0 R 11 0 R]",
        "/Rotate null",
        "/Rotate /None",
        "/CropBox null",
        "/UserUnit null /Rotate 12 0 R",
        "/UserUnit /X",
    ],
)
def test_an_odd_page_that_was_measured_is_measured_again(tmp_path: Path, page: str) -> None:
    """Numbers kept elsewhere, null, and what is no number: what inspection takes does not fail once it is sealed."""
    pdf = document(page=page, objects={10: "190", 11: "200", 12: "null"})
    (tmp_path / "a.pdf").write_bytes(pdf)
    assert inspect(tmp_path / "a.pdf", Validation(), "first").seal_page is not None
    found = _check(tmp_path, pdf, seal(pdf, box=BOX), PLACE)
    assert found.outcome is CheckOutcome.PASSED, found


def test_a_seals_own_place_may_be_kept_elsewhere(tmp_path: Path) -> None:
    """The numbers of a field's rectangle may be references, as any others."""

    def move(writer: IncrementalPdfFileWriter) -> None:
        reference = writer.root["/AcroForm"]["/Fields"].raw_get(0)
        corners = [writer.add_object(generic.NumberObject(number)) for number in BOX]
        reference.get_object()[generic.pdf_name("/Rect")] = generic.ArrayObject(corners)
        writer.mark_update(reference)

    found = _check(tmp_path, document(), revise(seal(document(), box=BOX), move), PLACE)
    assert found.outcome is CheckOutcome.PASSED, found


_NUMBER = st.one_of(
    st.integers(-300, 300).map(str),
    st.decimals(-300, 300, places=3).map(str),
    st.sampled_from(
        ["null", "/X", "true", "(1)", "[1]", "10 0 R", "11 0 R", "12 0 R", "13 0 R", "99 0 R", "1.", "-.5"]
    ),
)
_BOX = st.one_of(_NUMBER, st.lists(_NUMBER, min_size=3, max_size=5).map(lambda each: f"[{' '.join(each)}]"))
_ENTRIES = st.dictionaries(
    st.sampled_from(["/MediaBox", "/CropBox", "/Rotate", "/UserUnit"]), st.one_of(_BOX, st.just("14 0 R"))
).map(lambda entries: " ".join(f"{key} {value}" for key, value in entries.items()))


@given(own=_ENTRIES, above=_ENTRIES)
@settings(max_examples=100)
def test_both_readers_measure_the_same_or_it_is_told_before_sealing(own: str, above: str) -> None:
    """Whatever a page says of its size: an area that inspection reports is the one that verification will see."""
    pdf = with_table(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: f"<< /Type /Pages /Kids [3 0 R] /Count 1 {above} >>",
            3: f"<< /Type /Page /Parent 2 0 R /Contents 4 0 R {own} >>",
            4: stream("q Q"),
            10: "190",
            11: "null",
            12: "90",
            13: "/Name",
            14: "[0 0 200 200]",
        }
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(pdf)
        file.flush()
        reported = inspect(Path(file.name), Validation(), "first").seal_page
        pypdf, pyhanko = area_of(PdfReader(file.name), 1), read_area(file, len(pdf), 1)
    assert reported is None or reported == pypdf == pyhanko
    # What is null on the page, and not above it, is all that the two read differently.
    assert reported == pypdf or "null" in own or "11 0 R" in own or "99 0 R" in own


def test_a_seal_that_no_page_lists_is_not_on_its_page(tmp_path: Path) -> None:
    """A widget that the page's annotations leave out is shown nowhere, whatever it says of itself."""
    pdf = document()

    def forget(writer: IncrementalPdfFileWriter) -> None:
        page, _ = writer.find_page_for_modification(0)
        del page.get_object()["/Annots"]
        writer.mark_update(page)

    found = _check(tmp_path, pdf, revise(seal(pdf, box=BOX), forget), PLACE)
    assert found.outcome is CheckOutcome.FAILED
    assert "elsewhere" in found.detail
