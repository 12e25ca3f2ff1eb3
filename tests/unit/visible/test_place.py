"""Where a seal stands: what a person sees, and what that is in a page's own coordinates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealdrop.config import Corner, VisibleUnits
from sealdrop.model import PageArea, SealPlace
from sealdrop.visible.place import (
    POINTS_PER_MM,
    Box,
    OffPage,
    Spot,
    area,
    distance_mm,
    drawn_size_mm,
    find_spot,
    is_sound,
    lies_on_page,
    page_number,
    seen_size,
    to_page,
    to_seen,
    upright_turn,
)

CORNERS: tuple[Corner, ...] = ("bottom-left", "bottom-right", "top-left", "top-right")
lengths = st.floats(1, 15_000)
areas = st.builds(
    PageArea,
    page=st.integers(1, 9),
    left=st.floats(-5_000, 5_000),
    bottom=st.floats(-5_000, 5_000),
    width=lengths,
    height=lengths,
    rotation=st.sampled_from([0, 90, 180, 270]),
    user_unit=st.floats(0.1, 10),
)
units = st.builds(
    VisibleUnits,
    units_per_point=st.floats(0.01, 100),
    points_per_pixel=st.floats(0.05, 4),
    origin=st.sampled_from(["bottom-left", "top-left"]),
    rotated_pages=st.sampled_from(["as-stored", "as-seen"]),
)
sizes = st.tuples(st.integers(1, 2_000), st.integers(1, 2_000))
distances = st.floats(0, 400)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Any rectangle, on a page or not."""
    left, bottom = draw(st.floats(-20_000, 20_000)), draw(st.floats(-20_000, 20_000))
    return Box(left, bottom, left + draw(lengths), bottom + draw(lengths))


@given(areas, boxes())
def test_what_is_seen_and_where_it_is_are_one(page: PageArea, seen: Box) -> None:
    """Whatever the rotation and the box: there and back gives the same rectangle, of the same size."""
    place = to_page(page, seen)
    back = to_seen(page, place)
    assert (back.left, back.bottom, back.right, back.top) == pytest.approx(
        (seen.left, seen.bottom, seen.right, seen.top), abs=1e-6
    )
    sides = [place.right - place.left, place.top - place.bottom]
    assert sorted(sides) == pytest.approx(sorted([seen.width, seen.height]), abs=1e-6)


@given(areas, boxes())
def test_on_the_page_as_seen_is_on_the_page(page: PageArea, seen: Box) -> None:
    """A rectangle lies on the page as a reader shows it if, and only if, it lies on it in the page's coordinates."""
    width, height = seen_size(page)
    gaps = (seen.left, seen.bottom, width - seen.right, height - seen.top)
    if min(map(abs, gaps)) > 0.02:  # else rounding may decide
        assert lies_on_page(page, to_page(page, seen)) == (min(gaps) >= 0)


@given(areas, units, sizes, st.sampled_from(CORNERS), distances, distances, st.booleans())
def test_a_seal_stands_as_far_from_its_corner_as_asked(
    page: PageArea, told: VisibleUnits, size: tuple[int, int], corner: Corner, x_mm: float, y_mm: float, lines: bool
) -> None:
    """It is on the page, in millimetres from that corner as the eye has it, or there is no room, and that is true."""
    turn = upright_turn(page, told, has_lines=lines)
    width_mm, height_mm = drawn_size_mm(page, told, size, turn=turn)
    page_mm = [side * page.user_unit / POINTS_PER_MM for side in seen_size(page)]
    spot = find_spot(page, told, size, corner=corner, x_mm=x_mm, y_mm=y_mm, turn=turn)
    slack_mm = 0.02 * page.user_unit
    if isinstance(spot, OffPage):
        assert x_mm + width_mm > page_mm[0] - slack_mm or y_mm + height_mm > page_mm[1] - slack_mm
        assert f"page {page.page} is" in spot.detail
        return
    seen = to_seen(page, spot.place)
    mm = page.user_unit / POINTS_PER_MM
    gap_x = seen.left if corner.endswith("left") else seen_size(page)[0] - seen.right
    gap_y = seen.bottom if corner.startswith("bottom") else seen_size(page)[1] - seen.top
    assert (gap_x * mm, gap_y * mm) == pytest.approx((x_mm, y_mm), abs=1e-5)
    assert (seen.width * mm, seen.height * mm) == pytest.approx((width_mm, height_mm), abs=1e-5)
    assert lies_on_page(page, spot.place)


@given(areas, units, sizes, st.sampled_from(CORNERS))
def test_the_service_is_told_the_same_place(
    page: PageArea, told: VisibleUnits, size: tuple[int, int], corner: Corner
) -> None:
    """A service that counts as configured draws exactly the rectangle that the seal should cover."""
    turn = upright_turn(page, told, has_lines=False)
    spot = find_spot(page, told, size, corner=corner, x_mm=0, y_mm=0, turn=turn)
    if isinstance(spot, OffPage):
        return
    drawn = tuple(side * told.points_per_pixel for side in (size[::-1] if turn % 180 else size))
    x, y = spot.x / told.units_per_point, spot.y / told.units_per_point
    frame_height = seen_size(page)[1] if told.rotated_pages == "as-seen" else page.height
    bottom = frame_height - y - drawn[1] if told.origin == "top-left" else y
    box = Box(x, bottom, x + drawn[0], bottom + drawn[1])
    flat = PageArea(page.page, page.left, page.bottom, page.width, page.height)
    place = to_page(page if told.rotated_pages == "as-seen" else flat, box)
    assert (place.left, place.bottom, place.right, place.top) == pytest.approx(
        (spot.place.left, spot.place.bottom, spot.place.right, spot.place.top), abs=0.001 / told.units_per_point + 1e-6
    )


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, (10, 20, 40, 30)),  # the lower left corner is where it is
        (90, (170, 10, 180, 40)),  # clockwise: what is seen at the lower left is stored at the lower right
        (180, (160, 270, 190, 280)),
        (270, (20, 260, 30, 290)),
    ],
)
def test_a_turned_page_by_hand(rotation: int, expected: tuple[float, ...]) -> None:
    """Worked out on paper: 10 from the left and 20 from the bottom as seen, 30 wide and 10 high, page 200 x 300."""
    place = to_page(PageArea(1, 0, 0, 200, 300, rotation), Box(10, 20, 40, 30))
    assert (place.left, place.bottom, place.right, place.top) == expected


def test_a_unit_of_two_points_is_twice_as_long() -> None:
    """With UserUnit 2 an inch is 36 units: the distance in units is halved, and the image is twice as large."""
    page, told = PageArea(1, 0, 0, 300, 400, user_unit=2.0), VisibleUnits()
    spot = find_spot(page, told, (72, 36), corner="bottom-left", x_mm=25.4, y_mm=50.8)
    assert isinstance(spot, Spot)
    assert (spot.x, spot.y) == (36, 72)
    assert drawn_size_mm(page, told, (72, 36)) == pytest.approx((50.8, 25.4))


@pytest.mark.parametrize(
    ("media", "crop", "rotation", "unit", "expected"),
    [
        ((0, 0, 200, 300), (), 0, 1.0, PageArea(1, 0, 0, 200, 300)),
        ((200, 300, 0, 0), (), -90, 1.0, PageArea(1, 0, 0, 200, 300, 270)),
        ((0, 0, 200, 300), (50, 60, 500, 100), 450, 1.0, PageArea(1, 50, 60, 150, 40, 90)),
        ((0, 0, 200, 300), (500, 500, 600, 600), 45, 0.0, PageArea(1, 0, 0, 200, 300)),
        ((0, 0, 200, 300), (1, 2, 3), math.inf, math.nan, PageArea(1, 0, 0, 200, 300)),
        ((0, 0, 0, 300), (), 0, 1.0, None),
        ((), (), 0, 1.0, None),
        ((0, 0, math.inf, 300), (), 0, 1.0, None),
    ],
)
def test_what_is_seen_of_a_page(
    media: tuple[float, ...], crop: tuple[float, ...], rotation: float, unit: float, expected: PageArea | None
) -> None:
    """The crop box within the media box, whichever corners they name; what is against the rules counts for nothing."""
    found = area(1, media, crop, rotation=rotation, user_unit=unit)
    assert found == expected
    assert found is None or is_sound(found)


@pytest.mark.parametrize(
    "changed", [{"width": math.nan}, {"height": 0.0}, {"left": math.inf}, {"rotation": 45}, {"user_unit": -1.0}]
)
def test_a_page_that_cannot_be_is_not_sound(changed: dict[str, float]) -> None:
    """What a child process may have made up is noticed."""
    good: dict[str, float] = {"page": 1, "left": 0, "bottom": 0, "width": 1, "height": 1}
    assert is_sound(PageArea(**good))  # type: ignore[arg-type]
    assert not is_sound(PageArea(**good | changed))  # type: ignore[arg-type]


def test_which_page_is_meant() -> None:
    """The first and the last are those of the document, a number is itself."""
    assert [page_number("first", 7), page_number("last", 7), page_number(9, 7)] == [1, 7, 9]


def test_how_far_apart_two_places_are() -> None:
    """The edge that differs most counts, in millimetres, whatever the unit of the page."""
    page = PageArea(1, 0, 0, 600, 600, user_unit=2.0)
    asked, found = SealPlace(1, 0, 0, 72, 72), SealPlace(1, 36, 0, 108, 72)
    assert distance_mm(page, asked, found) == pytest.approx(25.4)
