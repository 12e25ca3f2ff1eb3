"""Where on a page a visible seal stands: from millimetres, as a person sees the page, to coordinates, and back.

Three frames, and nothing else in sealdrop knows them:

- *seen*: the page as a reader shows it, turned by its rotation (ISO 32000-1, 7.7.3.3). The origin is the lower left
  corner of what is seen. Corners and millimetres of the configuration mean this one.
- the *page's own* (user space, 8.3.2.3): what `SealPlace` and a field's rectangle are in. What is seen of it is the
  crop box within the media box (14.11.2). A unit is a point, 1/72 inch, times the page's ``/UserUnit``.
- the *service's*: what it is told. Nobody has documented that one, so it is configured: `VisibleUnits`.

All of it is pure: numbers in, numbers out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sealdrop.config import Corner, SealPage, VisibleUnits
from sealdrop.model import PageArea, SealPlace

POINTS_PER_MM = 72 / 25.4
TOLERANCE = 0.01  # units that a seal may reach beyond the page by: less than any device shows


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in whatever frame."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From bottom to top."""
        return self.top - self.bottom


@dataclass(frozen=True, slots=True)
class OffPage:
    """A seal has no room on the page; ``detail`` says why, in millimetres."""

    detail: str


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a seal goes: the rectangle it should cover, and the position that says so to the service."""

    place: SealPlace
    x: float
    y: float


def page_number(page: SealPage, pages: int) -> int:
    """Return which page, from 1, is meant in a document of so many."""
    match page:
        case "first":
            return 1
        case "last":
            return pages
        case number:
            return number


def area(
    page: int,
    media: Sequence[float],
    crop: Sequence[float] = (),
    *,
    rotation: float = 0,
    user_unit: float = 1.0,
) -> PageArea | None:
    """Return what is seen of a page with these boxes, each two opposite corners; None if that is nothing.

    What is against the rules counts as readers take it: a crop box outside the media box, a rotation that is no
    quarter turn, or a unit of no length, as if it were not there.
    """
    whole = _box(media)
    if whole is None:
        return None
    cropped = _box(crop)
    if cropped is not None:
        left, bottom = max(whole.left, cropped.left), max(whole.bottom, cropped.bottom)
        right, top = min(whole.right, cropped.right), min(whole.top, cropped.top)
        if right > left and top > bottom:
            whole = Box(left, bottom, right, top)
    turned = int(rotation) % 360 if math.isfinite(rotation) and rotation % 90 == 0 else 0
    unit = user_unit if math.isfinite(user_unit) and user_unit > 0 else 1.0
    return PageArea(page, whole.left, whole.bottom, whole.width, whole.height, turned, unit)


def is_sound(area: PageArea) -> bool:
    """Return whether ``area`` is one that `area` can have made: what a child process says may be anything."""
    numbers = (area.left, area.bottom, area.width, area.height, area.user_unit)
    lengths = (area.width, area.height, area.user_unit)
    return all(map(math.isfinite, numbers)) and min(lengths) > 0 and area.rotation in (0, 90, 180, 270)


def seen_size(area: PageArea) -> tuple[float, float]:
    """Return width and height of the page as it is seen, in units."""
    return (area.height, area.width) if area.rotation in (90, 270) else (area.width, area.height)


def to_page(area: PageArea, seen: Box) -> SealPlace:
    """Return where a rectangle of the seen page lies in the page's own coordinates."""
    match area.rotation:
        case 90:
            box = Box(area.width - seen.top, seen.left, area.width - seen.bottom, seen.right)
        case 180:
            box = Box(
                area.width - seen.right, area.height - seen.top, area.width - seen.left, area.height - seen.bottom
            )
        case 270:
            box = Box(seen.bottom, area.height - seen.right, seen.top, area.height - seen.left)
        case _:
            box = seen
    return SealPlace(
        area.page, area.left + box.left, area.bottom + box.bottom, area.left + box.right, area.bottom + box.top
    )


def to_seen(area: PageArea, place: SealPlace) -> Box:
    """Return where a rectangle in the page's own coordinates lies on the seen page."""
    left, right = place.left - area.left, place.right - area.left
    bottom, top = place.bottom - area.bottom, place.top - area.bottom
    match area.rotation:
        case 90:
            return Box(bottom, area.width - right, top, area.width - left)
        case 180:
            return Box(area.width - right, area.height - top, area.width - left, area.height - bottom)
        case 270:
            return Box(area.height - top, left, area.height - bottom, right)
        case _:
            return Box(left, bottom, right, top)


def lies_on_page(area: PageArea, place: SealPlace, *, tolerance: float = TOLERANCE) -> bool:
    """Return whether all of ``place`` can be seen on its page, but for ``tolerance`` units."""
    return (
        place.left >= area.left - tolerance
        and place.bottom >= area.bottom - tolerance
        and place.right <= area.left + area.width + tolerance
        and place.top <= area.bottom + area.height + tolerance
    )


def upright_turn(area: PageArea, units: VisibleUnits, *, has_lines: bool) -> int:
    """Return by how many degrees an image is turned, counter-clockwise, so that a reader shows it upright.

    Lines of text are the service's to draw, and it draws none that is not level: with lines, nothing is turned.
    """
    return 0 if units.rotated_pages == "as-seen" or has_lines else area.rotation


def drawn_size_mm(
    area: PageArea, units: VisibleUnits, size_px: tuple[int, int], *, turn: int = 0
) -> tuple[float, float]:
    """Return how large an image of ``size_px`` pixels, turned by ``turn``, is seen on the page."""
    width, height = _seen_size_of_image(area, units, size_px, turn)
    mm = area.user_unit / POINTS_PER_MM
    return width * mm, height * mm


def find_spot(
    area: PageArea,
    units: VisibleUnits,
    size_px: tuple[int, int],
    *,
    corner: Corner,
    x_mm: float,
    y_mm: float,
    turn: int = 0,
) -> Spot | OffPage:
    """Return where an image of ``size_px`` pixels stands that is that far from ``corner`` of the page as it is seen.

    ``turn`` is the one of `upright_turn`; ``size_px`` is the image's before it is turned.
    """
    page_width, page_height = seen_size(area)
    width, height = _seen_size_of_image(area, units, size_px, turn)
    mm = POINTS_PER_MM / area.user_unit
    x, y = x_mm * mm, y_mm * mm
    left = x if corner.endswith("left") else page_width - x - width
    bottom = y if corner.startswith("bottom") else page_height - y - height
    seen = Box(left, bottom, left + width, bottom + height)
    place = to_page(area, seen)
    if not lies_on_page(area, place):
        return OffPage(
            f"the seal is {width / mm:.1f} x {height / mm:.1f} mm and should stand {x_mm:g} and {y_mm:g} mm from the "
            f"{corner.replace('-', ' ')} corner; page {area.page} is {page_width / mm:.1f} x {page_height / mm:.1f} mm"
        )
    if units.rotated_pages == "as-seen":
        frame, frame_height = seen, page_height
    else:
        frame = to_seen(PageArea(area.page, area.left, area.bottom, area.width, area.height), place)
        frame_height = area.height
    from_top = units.origin == "top-left"
    return Spot(
        place,
        round(frame.left * units.units_per_point, 3),
        round((frame_height - frame.top if from_top else frame.bottom) * units.units_per_point, 3),
    )


def distance_mm(area: PageArea, one: SealPlace, other: SealPlace) -> float:
    """Return by how much the edges of two rectangles on the same page differ at most."""
    edges = ((one.left, other.left), (one.bottom, other.bottom), (one.right, other.right), (one.top, other.top))
    return max(abs(first - second) for first, second in edges) * area.user_unit / POINTS_PER_MM


def in_words(area: PageArea, place: SealPlace) -> str:
    """Return where ``place`` is for who looks at the page: its size, and how far it is from two of its edges."""
    seen, mm = to_seen(area, place), area.user_unit / POINTS_PER_MM
    return (
        f"{seen.width * mm:.1f} x {seen.height * mm:.1f} mm, {seen.left * mm:.1f} mm from the left and "
        f"{seen.bottom * mm:.1f} mm from the bottom of page {place.page}"
    )


def _seen_size_of_image(
    area: PageArea, units: VisibleUnits, size_px: tuple[int, int], turn: int
) -> tuple[float, float]:
    """Return the size of an image on the seen page: one that is not turned lies on its side where the page does."""
    width, height = (side * units.points_per_pixel for side in size_px)
    lies_on_its_side = units.rotated_pages == "as-stored" and (area.rotation - turn) % 180 != 0
    return (height, width) if lies_on_its_side else (width, height)


def _box(corners: Sequence[float]) -> Box | None:
    if len(corners) != 4 or not all(map(math.isfinite, corners)):
        return None
    x1, y1, x2, y2 = corners
    box = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    return box if box.width > 0 and box.height > 0 and math.isfinite(box.width + box.height) else None
