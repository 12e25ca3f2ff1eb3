"""Whether a seal can be seen, and where.

A seal is shown by widgets of its field: annotations with an extent and an appearance that draws something (ISO 32000-1,
12.5.5 and 12.7.4.5), which are not hidden. Where the service was asked for a visible seal:

- nothing of it is shown, or something is shown elsewhere than on that page, or beyond what is seen of it: it fails;
- it lies on the page, and yet not where it was asked for: a warning. How the service counts is documented nowhere
  (docs/signapi.md), and the document is sealed; a person has to look at the unit, not at each document.

Where none was asked for, one that can be seen fails: it may hide what the document says.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from dataclasses import dataclass
from typing import Any

from pyhanko.pdf_utils import generic

from sealdrop.model import PageArea, SealPlace
from sealdrop.pdf.reader import Reader, Unsound, entry
from sealdrop.visible.place import area, distance_mm, in_words, lies_on_page

MISPLACED_MM = 1.0  # more than rounding makes of a place
BEYOND_PAGE = 0.5  # units: a frame's half line

_UNSEEN_FLAGS = 2 | 32  # hidden, and not for the screen (ISO 32000-1, 12.5.3)
_DEEPEST_TREE = 64


@dataclass(frozen=True, slots=True)
class Looks:
    """Where a seal should be seen; ``place`` is None if it should be invisible."""

    place: SealPlace | None


class Misplaced(Exception):
    """The seal lies on its page, and not where it should; the text says where."""


def check_looks(reader: Reader, field: generic.DictionaryObject, looks: Looks) -> str:
    """Return, in words, where the seal of ``field`` is seen, which is where it should.

    Raises:
        Unsound: it is not seen where it should, or is seen where it should not.
        Misplaced: it lies on the right page, but not at the right place. pyHanko may raise anything else.
    """
    shown = [widget for widget in _widgets(field) if _is_shown(widget)]
    place = looks.place
    if place is None:
        if shown:
            raise Unsound("the seal can be seen, and an invisible one was asked for")
        return "invisible, as it was asked for"
    if not shown:
        raise Unsound("nothing of the seal can be seen, and a visible one was asked for")
    page = _page(reader, place.page)
    on_page = {_number(item) for item in _raw_items(page, "/Annots")}
    if not all(_number_of(widget) in on_page for widget in shown):
        raise Unsound(f"the seal can be seen elsewhere than on page {place.page}")
    seen = _area(page, place.page)
    found = [_place(widget, place.page) for widget in shown]
    for each in found:
        if not lies_on_page(seen, each, tolerance=BEYOND_PAGE):
            raise Unsound(f"the seal reaches beyond the page: {in_words(seen, each)}")
    off_mm = max(distance_mm(seen, each, place) for each in found)
    if off_mm > MISPLACED_MM:
        asked = in_words(seen, place)
        raise Misplaced(f"{in_words(seen, found[0])}; that is {off_mm:.1f} mm off what was asked for ({asked})")
    return in_words(seen, found[0])


def _widgets(field: generic.DictionaryObject) -> list[generic.DictionaryObject]:
    kids = [kid.get_object() for kid in entry(field, "/Kids", ())]
    return [item for item in (field, *kids) if "/Rect" in item]


def _is_shown(widget: generic.DictionaryObject) -> bool:
    box = [float(number) for number in entry(widget, "/Rect")]
    if len(box) != 4 or box[0] == box[2] or box[1] == box[3]:
        return False
    if int(entry(widget, "/F", 0)) & _UNSEEN_FLAGS:
        return False
    appearances = entry(widget, "/AP")
    normal = entry(appearances, "/N") if isinstance(appearances, generic.DictionaryObject) else None
    return isinstance(normal, generic.StreamObject) and bool(normal.data.strip())


def _place(widget: generic.DictionaryObject, page: int) -> SealPlace:
    x1, y1, x2, y2 = (float(number) for number in entry(widget, "/Rect"))
    return SealPlace(page, min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _page(reader: Reader, number: int) -> generic.DictionaryObject:
    if number > reader.page_count():
        raise Unsound(f"there is no page {number}")
    reference, _ = reader.find_page_for_modification(number - 1)
    page = reference.get_object()
    if not isinstance(page, generic.DictionaryObject):
        raise Unsound(f"page {number} is no page")
    return page


def _area(page: generic.DictionaryObject, number: int) -> PageArea:
    seen = area(
        number,
        [float(value) for value in _inherited(page, "/MediaBox", ())],
        [float(value) for value in _inherited(page, "/CropBox", ())],
        rotation=float(_inherited(page, "/Rotate", 0)),
        user_unit=float(entry(page, "/UserUnit", 1)),
    )
    if seen is None:
        raise Unsound(f"page {number} has no size")
    return seen


def _inherited(page: generic.DictionaryObject, key: str, default: Any) -> Any:  # noqa: ANN401 - any PDF object
    """Return what a page has, or has from the tree above it (ISO 32000-1, 7.7.3.4), or else ``default``."""
    node = page
    for _ in range(_DEEPEST_TREE):
        if key in node:
            return node[key]
        above = entry(node, "/Parent")
        if not isinstance(above, generic.DictionaryObject):
            break
        node = above
    return default


def _raw_items(page: generic.DictionaryObject, key: str) -> list[generic.PdfObject]:
    items = entry(page, key)
    return [items.raw_get(at) for at in range(len(items))] if isinstance(items, generic.ArrayObject) else []


def _number(item: generic.PdfObject) -> tuple[int, int] | None:
    """Return the number of the object that ``item`` refers to."""
    return (item.idnum, item.generation) if isinstance(item, generic.IndirectObject) else None


def _number_of(item: generic.DictionaryObject) -> tuple[int, int] | None:
    """Return the number under which ``item`` was found; a direct one has that of its container, and is on no page."""
    reference = item.container_ref
    return (reference.idnum, reference.generation) if isinstance(reference, generic.Reference) else (-1, -1)
