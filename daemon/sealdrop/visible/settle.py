"""A folder's visible seal: what is wrong with it before any document comes, and what it is for one document."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path

from sealdrop.config import Account, Config, VisibleSeal, VisibleUnits
from sealdrop.model import Document, Inspection, Stamp
from sealdrop.visible import picture
from sealdrop.visible.lines import dated, line_problems, lines_for
from sealdrop.visible.picture import Picture, UnusablePicture
from sealdrop.visible.place import POINTS_PER_MM, OffPage, Spot, find_spot, is_sound, page_number, upright_turn

__all__ = ["OffPage", "image_size_px", "picture_of", "settle", "texts_of", "visible_faults"]


def visible_faults(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the visible seals of all folders: the folder, the key in `seal.visible`, the fault."""
    for name, folder in config.folders.items():
        if folder.seal.visible is not None:
            for key, fault in _faults(folder.seal.visible, config.accounts[folder.account].visible_units):
                yield name, key, fault


def _faults(visible: VisibleSeal, units: VisibleUnits) -> Iterator[tuple[str, str]]:
    try:
        size_px = image_size_px(visible, units)
    except UnusablePicture as error:
        yield "image", str(error)
    else:
        yield from line_problems(visible, size_px)


def image_size_px(visible: VisibleSeal, units: VisibleUnits) -> tuple[int, int]:
    """Return the size of the image that stands for a folder's seal, drawn or white.

    Raises:
        UnusablePicture: it cannot be used.
    """
    if visible.image is not None:
        return picture.load(visible.image).size_px
    pixels_per_mm = POINTS_PER_MM / units.points_per_pixel
    return tuple(max(1, round((side or 0.0) * pixels_per_mm)) for side in (visible.width_mm, visible.height_mm))  # type: ignore[return-value]


def settle(visible: VisibleSeal, account: Account, document: Document, inspection: Inspection) -> Stamp | OffPage:
    """Return the visible seal of a document that was found fit, or why it has no room there.

    Raises:
        UnusablePicture: the folder's image cannot be used now.
    """
    units = account.visible_units
    number, area = page_number(visible.page, inspection.pages), inspection.seal_page
    if number > inspection.pages:
        return OffPage(f"the seal should stand on page {number}, and the document has {inspection.pages} page(s)")
    if area is None or area.page != number or not is_sound(area):
        return OffPage(f"the size of page {number} cannot be found out")
    width_px, height_px = image_size_px(visible, units)
    lines = lines_for(visible, units, document, account.organisation, height_px)
    turn = upright_turn(area, units, has_lines=bool(lines))
    spot = find_spot(
        area, units, (width_px, height_px), corner=visible.corner, x_mm=visible.x_mm, y_mm=visible.y_mm, turn=turn
    )
    match spot:
        case OffPage():
            return spot
        case Spot(place, x, y):
            image = None if visible.image is None else str(visible.image)
            return Stamp(place, x, y, image, width_px, height_px, turn, lines)


def picture_of(stamp: Stamp) -> Picture:
    """Return the image as it is sent.

    Raises:
        UnusablePicture: it cannot be used, or is of another size than when the document was validated.
    """
    size_px = (stamp.width_px, stamp.height_px)
    found = picture.blank(*size_px) if stamp.image is None else picture.load(Path(stamp.image))
    if found.size_px != size_px:
        raise UnusablePicture(
            f"the image {stamp.image} is of {found.width_px} x {found.height_px} pixels now, and the seal's place was "
            f"found for one of {stamp.width_px} x {stamp.height_px}: put the old one back until this document is sealed"
        )
    return picture.turned(found, stamp.turn)


def texts_of(stamp: Stamp, at: datetime, zone: tzinfo | None = None) -> Stamp:
    """Return the visible seal with what is known only at the moment ``at`` when it is asked for: its final texts."""
    final = tuple(replace(line, text=text) for line, text in dated(stamp.lines, stamp.width_px, at, zone))
    return replace(stamp, lines=final)
