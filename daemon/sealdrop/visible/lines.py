"""What a visible seal says: lines of text with fields, which are filled in for each document.

Fields are ``{date}``, ``{time}`` (both with a format of strftime after a colon, if wanted), ``{reference}``,
``{organisation}``, ``{id}``, ``{name}`` and ``{seal_text}``. A line that names a reference or the sender's text is left
out where there is none; ``{seal_text}`` stands on a line of its own, and its lines follow one below the other.

``{date}`` and ``{time}`` are those of the request to the service, which may be sent long after the document was
validated: they are filled in last, by `dated`. Everything else is settled before.

The service draws text with the 14 standard fonts (ISO 32000-1, 9.6.2.2), whose characters are those of Windows 1252;
what they lack becomes a question mark. A text that is too long for the image is cut, and ends with three dots.
"""

import string
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo

from sealdrop.config import SealLine, VisibleSeal, VisibleUnits
from sealdrop.model import Document, StampLine

CHARACTERS = 200  # of one line: no image is wider
LINES = 50  # of one seal
LINE_SPACING = 1.2  # of the sender's lines, in font sizes
DIRECTIVES = frozenset("dmyYHMSjzZ%")  # of strftime: those that are the same whatever the locale
FORMATS: Mapping[str, str] = {"date": "%Y-%m-%d", "time": "%H:%M"}
FIELDS = frozenset({*FORMATS, "reference", "organisation", "id", "name", "seal_text"})
# ISO 32000-1, 9.6.2.2; signapi.md writes them with an underscore.
FONTS = {
    name.replace("-", "_").lower(): name
    for name in (
        *("Courier", "Courier-Bold", "Courier-Oblique", "Courier-BoldOblique"),
        *("Helvetica", "Helvetica-Bold", "Helvetica-Oblique", "Helvetica-BoldOblique"),
        *("Times-Roman", "Times-Bold", "Times-Italic", "Times-BoldItalic", "Symbol", "ZapfDingbats"),
    )
}

_SENDERS_TEXT = "{seal_text}"
_MAY_BE_MISSING = ("reference",)
_DOTS = "..."
# Wide days: a text that has room with this moment has it with any other.
_WIDE_MOMENT = datetime(2000, 10, 28, 20, 0, tzinfo=UTC)


def lines_for(
    visible: VisibleSeal, units: VisibleUnits, document: Document, organisation: str, height_px: int
) -> tuple[StampLine, ...]:
    """Return the lines of a document's seal, for an image of that height, with all filled in but date and time."""
    wishes = document.wishes
    values = {
        "reference": (wishes.reference if wishes else None) or "",
        "organisation": organisation,
        "id": document.id,
        "name": document.name.rpartition("/")[2],
    }
    lines: list[StampLine] = []
    for line in visible.lines:
        if line.text == _SENDERS_TEXT:
            texts = [_escaped(text) for text in (wishes.seal_text if wishes else ())]
        elif any(not values[name] for name in _fields(line.text) if name in _MAY_BE_MISSING):
            texts = []
        else:
            texts = [_filled(line.text, values)]
        lines += [_stamp_line(line, text, number, units, height_px) for number, text in enumerate(texts)]
    return tuple(lines[:LINES])


def dated(
    lines: Sequence[StampLine], width_px: int, at: datetime, zone: tzinfo | None = None
) -> tuple[tuple[StampLine, str], ...]:
    """Return each line with its final text, fit to be drawn, for a request that is sent at the moment ``at``.

    Without a ``zone`` the time is that of the computer's.
    """
    moment = at.astimezone(zone)
    return tuple((line, _cut(_encodable(_with_moment(line.text, moment)), line, width_px)) for line in lines)


def line_problems(visible: VisibleSeal, size_px: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with each line, for an image of that size: the key and the fault."""
    for number, line in enumerate(visible.lines):
        place = f"lines.{number}"
        if line.font.replace("-", "_").lower() not in FONTS:
            yield f"{place}.font", f"{line.font!r} is none of the 14 standard fonts ({', '.join(sorted(FONTS))})"
            continue
        fault = _text_fault(line.text)
        if fault is not None:
            yield f"{place}.text", fault
            continue
        yield from ((f"{place}.{key}", fault) for key, fault in _room_faults(line, size_px))


def seal_text_problem(visible: VisibleSeal | None, size_px: tuple[int, int] | None, texts: Sequence[str]) -> str | None:
    """Return why the lines that a sender wants in the seal cannot stand there, or None; it quotes none of them.

    ``size_px`` is the size of the seal's image, None if there is no visible seal.
    """
    if not texts:
        return None
    line = next((line for line in visible.lines if line.text == _SENDERS_TEXT), None) if visible else None
    if line is None or size_px is None:
        return "the folder's seal has no place for a text of the sender's"
    width_px, _ = size_px
    for number, text in enumerate(texts, 1):
        if not text.isprintable() or _encodable(text) != text:
            return f"entry {number} holds characters that the seal's font does not have"
        wide = _width(text, line.font, line.font_size)
        if line.x_px + wide > width_px:
            room = f"{wide:.0f} pixels, there is room for {width_px - line.x_px:.0f}"
            return f"entry {number} is too long for the seal: {room}"
    most = 1 + int((line.y_px + _reach(line)[1]) // (LINE_SPACING * line.font_size))
    if len(texts) > most:
        return f"{len(texts)} lines are too many for the seal: there is room for {max(most, 0)}"
    return None


def _stamp_line(line: SealLine, text: str, number: int, units: VisibleUnits, height_px: int) -> StampLine:
    y = line.y_px - number * LINE_SPACING * line.font_size
    return StampLine(
        text=text,
        color=line.color,
        font=line.font,
        font_size=line.font_size,
        x=line.x_px,
        y=height_px - y if units.line_origin == "top-left" else y,
    )


def _parts(text: str) -> list[tuple[str, str | None, str]]:
    """Return the literal texts with the field after each and its format; raises ValueError if it is no template."""
    parts = []
    for literal, field, form, conversion in string.Formatter().parse(text):
        if conversion:
            raise ValueError("a field cannot be converted with !")
        parts.append((literal, field, form or ""))
    return parts


def _fields(text: str) -> set[str]:
    return {field for _, field, _ in _parts(text) if field is not None}


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return the template with ``values`` in it; fields of the moment stay what they are."""
    filled = ""
    for literal, field, form in _parts(text):
        filled += _escaped(literal)
        if field is not None and field in FORMATS:
            filled += f"{{{field}:{form or FORMATS[field]}}}"
        elif field is not None:
            filled += _escaped(values[field])
    return filled


def _with_moment(text: str, moment: datetime) -> str:
    return "".join(
        literal + (moment.strftime(form) if field is not None else "") for literal, field, form in _parts(text)
    )


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _text_fault(text: str) -> str | None:
    """Return what is wrong with a line's template, or None."""
    try:
        parts = _parts(text)
    except ValueError as error:
        return f"is not a text with fields: {error} (write {{{{ for a brace)"
    known = ", ".join(sorted(FIELDS))
    for literal, field, form in parts:
        if field is not None and field not in FIELDS:
            return f"there is no field {field!r} (there is: {known})"
        if form and field not in FORMATS:
            return f"the field {field!r} has no format"
        unknown = set(_directives(form)) - DIRECTIVES
        if unknown:
            return f"%{min(unknown)} is no part of a date here (there is: {', '.join(sorted(DIRECTIVES))})"
        if not literal.isprintable() or _encodable(literal) != literal:
            return f"{literal!r} holds characters that the standard fonts do not have"
    if text != _SENDERS_TEXT and "seal_text" in _fields(text):
        return f"{_SENDERS_TEXT} must stand on a line of its own"
    return None


def _directives(form: str) -> Iterator[str]:
    """Yield the letter after each per cent sign; nothing, as a text, after one at the end."""
    at = form.find("%")
    while at >= 0:
        yield form[at + 1 : at + 2]
        at = form.find("%", at + 2)


def _room_faults(line: SealLine, size_px: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield where a line reaches beyond the image, as far as that is known before there is a document."""
    width_px, height_px = size_px
    shortest = _with_moment(_filled(line.text, dict.fromkeys(FIELDS, "")), _WIDE_MOMENT)
    right = line.x_px + _width(shortest, line.font, line.font_size)
    if right > width_px:
        yield "text", f"reaches {right:.0f} pixels to the right, and the image is {width_px} wide"
    ascent, descent = _reach(line)
    if line.y_px + descent < 0:
        yield "y_px", f"lets the text reach below the image: {-descent:.0f} pixels at least are needed"
    elif line.y_px + ascent > height_px:
        yield "y_px", f"lets the text reach {line.y_px + ascent:.0f} pixels up, and the image is {height_px} high"


def _reach(line: SealLine) -> tuple[float, float]:
    """Return how far the font reaches above the baseline, and below it as a number less than 0."""
    # Here and below: loaded where there is a visible seal, and nowhere else.
    from reportlab.pdfbase.pdfmetrics import getAscentDescent  # type: ignore[import-untyped]

    ascent, descent = getAscentDescent(FONTS[line.font.replace("-", "_").lower()], line.font_size)
    return float(ascent), float(descent)


def _width(text: str, font: str, font_size: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return float(stringWidth(text, FONTS[font.replace("-", "_").lower()], font_size))


def _encodable(text: str) -> str:
    """Return ``text`` in one line, with a question mark for each character that the standard fonts do not have."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown.encode("cp1252", "replace").decode("cp1252")


def _cut(text: str, line: StampLine, width_px: int) -> str:
    """Return as much of ``text`` as there is room for."""
    text = text[:CHARACTERS]
    if line.x + _width(text, line.font, line.font_size) <= width_px:
        return text
    while text and line.x + _width(text + _DOTS, line.font, line.font_size) > width_px:
        text = text[:-1]
    return text.rstrip() + _DOTS
