"""What a visible seal says: fields, checked before there is a document, and filled in for each."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from documents import DIGEST, document
from sealdrop.config import SealLine, VisibleSeal, VisibleUnits
from sealdrop.model import StampLine, Wishes
from sealdrop.visible.lines import FONTS, dated, line_problems, lines_for, seal_text_problem

SIZE = (200, 60)
AT = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
BERNE = timezone(timedelta(hours=1))


def seal(*texts: str, **keys: object) -> VisibleSeal:
    """Return a visible seal with these lines, each with the same other keys."""
    lines = tuple(SealLine(text=text, **keys) for text in texts)  # type: ignore[arg-type]
    return VisibleSeal(width_mm=70, height_mm=21, lines=lines)


def said(visible: VisibleSeal, *, width_px: int = 2_000, **changes: object) -> list[str]:
    """Return the final texts for a document."""
    lines = lines_for(visible, VisibleUnits(), document(**changes), "Demo {SAS}", SIZE[1])
    return [text for _, text in dated(lines, width_px, AT, BERNE)]


def problems(visible: VisibleSeal) -> dict[str, str]:
    """Return the faults of its lines by key."""
    return dict(line_problems(visible, SIZE))


def test_fields_are_filled_in() -> None:
    """Each field has its value, date and time in the zone given; braces in values and texts stay what they are."""
    visible = seal(
        "{organisation}", "{date} {time}", "{date:%d/%m/%Y}, {time:%H h %M}", "{name} {id}", "{{{reference}}}"
    )
    wishes = Wishes(DIGEST, reference="R{1}")
    assert problems(visible) == {}
    assert said(visible, name="sub/a{b}.pdf", wishes=wishes) == [
        "Demo {SAS}",
        "2026-11-25 00:30",
        "25/11/2026, 00 h 30",
        "a{b}.pdf 20261123-00112233aabbccdd",
        "{R{1}}",
    ]


def test_what_a_document_does_not_have_is_left_out() -> None:
    """Without a sidecar the lines about its reference and of its text are not there; the others are."""
    visible = seal("Ref. {reference}", "{seal_text}", "always")
    assert said(visible) == ["always"]
    assert said(visible, wishes=Wishes(DIGEST, reference="7", seal_text=("one", "two"))) == [
        "Ref. 7",
        "one",
        "two",
        "always",
    ]


@pytest.mark.parametrize(("origin", "expected"), [("bottom-left", [40, 28]), ("top-left", [20, 32])])
def test_the_senders_lines_stand_one_below_the_other(origin: str, expected: list[float]) -> None:
    """Each further line is 1.2 font sizes lower, whichever corner the service counts from."""
    visible = seal("{seal_text}", y_px=40, font_size=10)
    units = VisibleUnits.model_validate({"line_origin": origin})
    found = lines_for(visible, units, document(wishes=Wishes(DIGEST, seal_text=("one", "two"))), "Demo", SIZE[1])
    assert [line.y for line in found] == expected


def test_a_text_that_is_too_long_is_cut() -> None:
    """A long file name ends in dots, inside the image; characters that the fonts lack become question marks."""
    (short,) = said(seal("{name}"), width_px=100, name="x" * 300)
    assert short.endswith("...")
    assert 10 < len(short) < 25
    assert said(seal("{name}"), name="Łódź \u202e\n€.pdf") == ["?ód? ??€.pdf"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{author}", "there is no field 'author' (there is: date, id, name,"),
        ("{}", "there is no field ''"),
        ("{date.year}", "there is no field 'date.year'"),
        ("{name:>10}", "the field 'name' has no format"),
        ("{date:%B}", "%B is no part of a date here"),
        ("{date:100%}", "% is no part of a date here"),
        ("{date!r}", "is not a text with fields"),
        ("a } b", "is not a text with fields"),
        ("{date", "is not a text with fields"),
        ("By {seal_text}", "{seal_text} must stand on a line of its own"),
        ("Łódź", "holds characters that the standard fonts do not have"),
        ("two\nlines", "holds characters that the standard fonts do not have"),
        ("W" * 40, "pixels to the right, and the image is 200 wide"),
        ("{date} " * 6, "pixels to the right, and the image is 200 wide"),
    ],
)
def test_a_text_with_a_fault_is_told(text: str, fault: str) -> None:
    """Before there is a document: unknown fields, wrong formats, what no font has, what has no room."""
    assert fault in problems(seal(text))["lines.0.text"]


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("font", "Comic_Sans", "'Comic_Sans' is none of the 14 standard fonts"),
        ("y_px", 0.0, "below the image"),
        ("y_px", 55.0, "and the image is 60 high"),
        ("font_size", 100, "below the image"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_told(key: str, value: object, fault: str) -> None:
    """An unknown font, and text above or below the image."""
    found = problems(seal("fine", "text", **{key: value}))
    assert [place for place in found if place.startswith("lines.1.")]
    assert fault in next(iter(found.values()))


def test_every_standard_font_may_be_named_as_signapi_does() -> None:
    """The spelling of the provider's reference is known, in any letter case, as are hyphens."""
    assert len(FONTS) == 14
    for font in ("Times_roman", "Helvetica_Bold", "courier-oblique", "Symbol"):
        assert problems(seal("x", font=font)) == {}


@pytest.mark.parametrize(
    ("visible", "texts", "fault"),
    [
        (seal("{seal_text}", y_px=40), ("Paid", "in full"), None),
        (None, (), None),
        (seal("fixed"), ("Paid",), "no place for a text of the sender's"),
        (None, ("Paid",), "no place for a text of the sender's"),
        (seal("{seal_text}"), ("Paid", "in full"), "2 lines are too many for the seal: there is room for 1"),
        (seal("{seal_text}"), ("Paid " * 20,), "entry 1 is too long for the seal"),
        (seal("{seal_text}"), ("Paid", "Zażółć"), "entry 2 holds characters that the seal's font does not have"),
    ],
)
def test_a_senders_text_is_checked(visible: VisibleSeal | None, texts: tuple[str, ...], fault: str | None) -> None:
    """A sidecar's lines need a place in the folder's seal, and have to fit there; none of them is quoted."""
    found = seal_text_problem(visible, SIZE if visible else None, texts)
    assert (fault is None) == (found is None)
    assert fault is None or (found is not None and fault in found)
    assert not any(text in (found or "") for text in texts)


def test_many_lines_of_a_sender_are_bounded() -> None:
    """However many lines a sidecar holds, a request holds few."""
    wishes = Wishes(DIGEST, seal_text=("x",) * 5_000)
    found: tuple[StampLine, ...] = lines_for(seal("{seal_text}"), VisibleUnits(), document(wishes=wishes), "Demo", 60)
    assert len(found) == 50
