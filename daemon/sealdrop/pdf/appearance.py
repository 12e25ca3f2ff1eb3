"""Whether a seal can be seen, and where.

A seal is shown by widgets of its field: annotations with an extent and an appearance that draws something (ISO 32000-1,
12.5.5 and 12.7.4.5), which are not hidden. What is shown for certain, and what might be, on paper or by a reader that
has more than one appearance to choose from, are told apart: in doubt, it speaks against the seal. Where the service was
asked for a visible seal:

- nothing of it is shown, or something might be elsewhere than on that page, or beyond what is seen of it: it fails;
- it lies on the page, and yet not where it was asked for: a warning. How the service counts is documented nowhere
  (docs/signapi.md), and the document is sealed; a person has to look at the unit, not at each document.

Where none was asked for, one that might be seen fails: it may hide what the document says.

`read_area` is used before sealing, too, by `inspect`: a page that is measured in two ways would be told too late.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from typing import Any, BinaryIO

from pyhanko.pdf_utils import generic

from sealdrop.model import PageArea, SealPlace
from sealdrop.pdf.jobs import Looks
from sealdrop.pdf.reader import NOT_THE_DOCUMENT, Reader, Unsound, entry, open_pdf
from sealdrop.visible.place import area, distance_mm, in_words, lies_on_page

MISPLACED_MM = 1.0  # more than rounding makes of a place
BEYOND_PAGE = 0.5  # units: a frame's half line

# ISO 32000-1, 12.5.3.
_HIDDEN, _PRINT, _NO_VIEW, _TOGGLE_NO_VIEW = 2, 4, 32, 256
_DEEPEST_TREE = 64


class Misplaced(Exception):
    """The seal lies on its page, and not where it should; the text says where."""


def check_looks(reader: Reader, field: generic.DictionaryObject, looks: Looks) -> str:
    """Return, in words, where the seal of ``field`` is seen, which is where it should.

    Raises:
        Unsound: it is not seen where it should, or is seen where it should not.
        Misplaced: it lies on the right page, but not at the right place. pyHanko may raise anything else.
    """
    seen = [widget for widget in _widgets(field) if _may_be_seen(widget)]
    place = looks.place
    if place is None:
        if seen:
            raise Unsound("the seal can be seen, and an invisible one was asked for")
        return "invisible, as it was asked for"
    if not any(_is_shown(widget) for widget in seen):
        raise Unsound("nothing of the seal can be seen, and a visible one was asked for")
    page = _page(reader, place.page)
    on_page = {_number(item) for item in _raw_items(page, "/Annots")}
    if not all(_number_of(widget) in on_page for widget in seen):
        raise Unsound(f"the seal can be seen elsewhere than on page {place.page}")
    whole = _area(page, place.page)
    if whole is None:
        raise Unsound(f"page {place.page} has no size")
    found = [_place(widget, place.page) for widget in seen]
    for each in found:
        if not lies_on_page(whole, each, tolerance=BEYOND_PAGE):
            raise Unsound(f"the seal reaches beyond the page: {in_words(whole, each)}")
    off_mm = max(distance_mm(whole, each, place) for each in found)
    if off_mm > MISPLACED_MM:
        asked = in_words(whole, place)
        raise Misplaced(f"{in_words(whole, found[0])}; that is {off_mm:.1f} mm off what was asked for ({asked})")
    return in_words(whole, found[0])


def read_area(file: BinaryIO, size_bytes: int, page: int) -> PageArea | None:
    """Return what is seen of a page of a document that is not sealed yet, as it will be read when it is.

    None if there is no such page, it has no size, or pyHanko cannot say.

    Raises:
        OSError: the disk failed.
        MemoryError: there is no memory left.
    """
    try:
        return _area(_page(open_pdf(file, size_bytes), page), page)
    except NOT_THE_DOCUMENT:
        raise
    except Exception:  # noqa: BLE001 - pyHanko may raise anything
        return None


def _widgets(field: generic.DictionaryObject) -> list[generic.DictionaryObject]:
    kids = [kid.get_object() for kid in entry(field, "/Kids", ())]
    return [item for item in (field, *kids) if "/Rect" in item]


def _has_extent(widget: generic.DictionaryObject) -> bool:
    box = _numbers(entry(widget, "/Rect"))
    return len(box) == 4 and box[0] != box[2] and box[1] != box[3]


def _is_shown(widget: generic.DictionaryObject) -> bool:
    """Return whether every reader shows it on the screen."""
    if not _has_extent(widget) or int(entry(widget, "/F", 0)) & (_HIDDEN | _NO_VIEW):
        return False
    normal = dict(_appearances(widget)).get("/N")
    return isinstance(normal, generic.StreamObject) and not _is_empty(normal)


def _may_be_seen(widget: generic.DictionaryObject) -> bool:
    """Return whether any reader shows it on the screen, at times perhaps, or prints it."""
    flags = int(entry(widget, "/F", 0))
    never_viewed = flags & _NO_VIEW and not flags & _TOGGLE_NO_VIEW
    if not _has_extent(widget) or flags & _HIDDEN or (never_viewed and not flags & _PRINT):
        return False
    return not all(_is_empty(appearance) for _, appearance in _appearances(widget))


def _appearances(widget: generic.DictionaryObject) -> list[tuple[str, generic.PdfObject]]:
    """Return the appearances of a widget; each is a stream, or a dictionary with one for each state."""
    of = entry(widget, "/AP")
    if not isinstance(of, generic.DictionaryObject):
        return []
    return [(key, found) for key in of if (found := entry(of, key)) is not None]


def _is_empty(appearance: generic.PdfObject) -> bool:
    """Return whether an appearance draws nothing, whatever state is chosen."""
    return isinstance(appearance, generic.StreamObject) and not appearance.data.strip()


def _place(widget: generic.DictionaryObject, page: int) -> SealPlace:
    x1, y1, x2, y2 = _numbers(entry(widget, "/Rect"))
    return SealPlace(page, min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _page(reader: Reader, number: int) -> generic.DictionaryObject:
    if number > reader.page_count():
        raise Unsound(f"there is no page {number}")
    reference, _ = reader.find_page_for_modification(number - 1)
    page = reference.get_object()
    if not isinstance(page, generic.DictionaryObject):
        raise Unsound(f"page {number} is no page")
    return page


def _area(page: generic.DictionaryObject, number: int) -> PageArea | None:
    return area(
        number,
        _numbers(_inherited(page, "/MediaBox")),
        _numbers(_inherited(page, "/CropBox")),
        rotation=_one_number(_inherited(page, "/Rotate")) or 0,
        user_unit=_one_number(entry(page, "/UserUnit")) or 1.0,
    )


def _inherited(page: generic.DictionaryObject, key: str) -> Any:  # noqa: ANN401 - any PDF object
    """Return what a page has, or has from the tree above it (ISO 32000-1, 7.7.3.4), or else None.

    What is null is not there (7.3.9). To pypdf it ends the search; then the two differ, and the document is not sealed.
    """
    node = page
    for _ in range(_DEEPEST_TREE):
        value = entry(node, key)
        if value is not None:
            return value
        above = entry(node, "/Parent")
        if not isinstance(above, generic.DictionaryObject):
            break
        node = above
    return None


def _numbers(items: object) -> tuple[float, ...]:
    """Return the numbers in an array, as `pages` counts them: what is no number is not there.

    Going through pyHanko's arrays gives references as such; asking for each by its index follows them.
    """
    if not isinstance(items, generic.ArrayObject):
        return ()
    found = (_one_number(items[at]) for at in range(len(items)))
    return tuple(number for number in found if number is not None)


def _one_number(value: object) -> float | None:
    return float(value) if isinstance(value, (generic.NumberObject, generic.FloatObject)) else None


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
