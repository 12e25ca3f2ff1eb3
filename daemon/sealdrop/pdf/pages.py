"""How large a page is, as pypdf reads it."""

from pypdf import PdfReader
from pypdf.generic import DictionaryObject, FloatObject, NumberObject

from sealdrop.model import PageArea
from sealdrop.pdf.objects import elements, entry, number_at
from sealdrop.visible.place import area


def area_of(reader: PdfReader, page: int) -> PageArea | None:
    """Return what is seen of a page, counted from 1; None if there is no such page, or it has no size."""
    if not 1 <= page <= len(reader.pages):
        return None
    # Its boxes and its rotation may be inherited; pypdf has written them out on the page.
    node = reader.pages[page - 1]
    return area(
        page,
        _box(node, "/MediaBox"),
        _box(node, "/CropBox"),
        rotation=number_at(node, "/Rotate") or 0,
        user_unit=number_at(node, "/UserUnit") or 1.0,
    )


def _box(page: DictionaryObject, key: str) -> tuple[float, ...]:
    numbers = [number for number in elements(entry(page, key)) if isinstance(number, (NumberObject, FloatObject))]
    return tuple(map(float, numbers))
