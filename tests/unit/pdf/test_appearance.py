"""Whether a seal can be seen where it should, as the sealed PDF shows it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from pdfs import document
from seal_pki import make_pki
from sealdrop.model import Check, CheckName, CheckOutcome, SealPlace
from sealdrop.pdf.appearance import Looks
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


def _hide(field: generic.DictionaryObject) -> None:
    field[generic.pdf_name("/F")] = generic.NumberObject(4 | 2)


def _not_on_screen(field: generic.DictionaryObject) -> None:
    field[generic.pdf_name("/F")] = generic.NumberObject(4 | 32)


def _flat(field: generic.DictionaryObject) -> None:
    field[generic.pdf_name("/Rect")] = generic.ArrayObject([generic.NumberObject(n) for n in (20, 30, 20, 70)])


@pytest.mark.parametrize("change", [_hide, _not_on_screen, _flat])
def test_what_has_a_place_and_is_not_shown_is_not_seen(
    tmp_path: Path, change: Callable[[generic.DictionaryObject], None]
) -> None:
    """A seal that is hidden, not for the screen, or without an extent, is none that can be seen."""
    pdf = document()

    def hide(writer: IncrementalPdfFileWriter) -> None:
        reference = writer.root["/AcroForm"]["/Fields"].raw_get(0)
        change(reference.get_object())
        writer.mark_update(reference)

    sealed = revise(seal(pdf, box=BOX), hide)
    assert _check(tmp_path, pdf, sealed, PLACE).outcome is CheckOutcome.FAILED
    assert _check(tmp_path, pdf, sealed, None).outcome is CheckOutcome.PASSED


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
