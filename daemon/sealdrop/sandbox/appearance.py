"""What a visible seal looks like: an image, lines of text over it, at a place on a page.

The description leaves units and origin open; here (as in PDF itself) the unit is the point, 1/72 inch, and the origin
is the lower left corner: of the page's visible area for the seal, of the image for the lines. An image is drawn one
point to the pixel; transparent parts become white, because the provider allows no transparency. Without an image the
seal is as large as its lines need.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image
from pyhanko.pdf_utils import content, layout
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.stamp import StaticStampStyle
from reportlab.lib.utils import ImageReader  # type: ignore[import-untyped]
from reportlab.pdfbase.pdfmetrics import standardFonts, stringWidth  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from sealdrop.sandbox.errors import BadRequest

MAX_IMAGE_PIXELS = 4_000_000  # some 2,000 by 2,000: a seal, not a poster
_MARGIN_PT = 4.0
_FONTS: Mapping[str, str] = {name.replace("-", "_").lower(): name for name in standardFonts}


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text in a visible seal; ``color`` is 0xRRGGBB, ``x`` and ``y`` are points from the image's corner."""

    text: str
    color: int = 0
    font: str = "Times_roman"
    font_size: float = 10.0
    x: float = 0.0
    y: float = 0.0

    @property
    def font_name(self) -> str:
        """The name of the standard PDF font meant (signapi.md writes it with an underscore).

        Raises:
            BadRequest: there is no such font.
        """
        key = self.font.replace("-", "_").lower()
        if key not in _FONTS:
            raise BadRequest(f"linesOptions.lineFont: {self.font!r} is not one of the 14 standard fonts")
        return _FONTS[key]


@dataclass(frozen=True, slots=True)
class VisibleSeal:
    """A seal that can be seen; ``page`` counts from 1, ``x`` and ``y`` are points from the page's corner."""

    page: int = 1
    x: float = 10.0
    y: float = 10.0
    image: bytes | None = None
    lines: tuple[TextLine, ...] = ()

    def check(self) -> None:
        """Pass if this can be drawn.

        Raises:
            BadRequest: the image cannot be read, or a line names an unknown font.
        """
        draw(self)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn seal: a PDF of one page, and its size in points."""

    pdf: bytes
    width: float
    height: float

    def style(self) -> StaticStampStyle:
        """Return the drawing as a stamp that fills its box."""
        rule = layout.SimpleBoxLayoutRule(
            x_align=layout.AxisAlignment.ALIGN_MIN,
            y_align=layout.AxisAlignment.ALIGN_MIN,
            margins=layout.Margins.uniform(0),  # type: ignore[no-untyped-call]
            inner_content_scaling=layout.InnerScaling.NO_SCALING,
        )
        return StaticStampStyle(background=_Page(self.pdf), background_layout=rule, border_width=0)


class _Page(content.PdfContent):
    """The only page of a PDF in memory, as content of another."""

    def __init__(self, pdf: bytes) -> None:
        super().__init__()
        self._pdf = pdf

    def render(self) -> bytes:
        """Import the page and return the command that paints it."""
        reader = PdfFileReader(io.BytesIO(self._pdf))
        page = self._ensure_writer.import_page_as_xobject(reader)
        self.resources.xobject["/Seal"] = page
        left, bottom, right, top = page.get_object()["/BBox"]
        self.box = layout.BoxConstraints(width=right - left, height=top - bottom)
        return b"/Seal Do"


def draw(seal: VisibleSeal) -> Drawing:
    """Return ``seal`` drawn.

    Raises:
        BadRequest: the image cannot be read, or a line names an unknown font.
    """
    image = None if seal.image is None else _opaque(seal.image)
    width, height = image.size if image is not None else _extent(seal.lines)
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(width, height), invariant=1)
    if image is not None:
        canvas.drawImage(ImageReader(image), 0, 0, width, height)
    for line in seal.lines:
        canvas.setFillColorRGB(*_rgb(line.color))
        canvas.setFont(line.font_name, line.font_size)
        canvas.drawString(line.x, line.y, line.text)
    canvas.showPage()
    canvas.save()
    return Drawing(buffer.getvalue(), float(width), float(height))


def _opaque(data: bytes) -> Image.Image:
    """Decode an image and lay it on white."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise BadRequest(f"signatureImageContent: {image.width} by {image.height} pixels are too many")
            picture = image.convert("RGBA")
    # Pillow's decoders raise whatever their formats lead them to.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise BadRequest("signatureImageContent: not an image that can be read") from error
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _extent(lines: tuple[TextLine, ...]) -> tuple[float, float]:
    """Return width and height that hold all of ``lines``."""

    def corners() -> Iterator[tuple[float, float]]:
        for line in lines:
            width = stringWidth(line.text, line.font_name, line.font_size)
            yield line.x + width + _MARGIN_PT, line.y + line.font_size + _MARGIN_PT

    found = [(_MARGIN_PT, _MARGIN_PT), *corners()]
    return max(x for x, _ in found), max(y for _, y in found)


def _rgb(color: int) -> tuple[float, float, float]:
    red, green, blue = color.to_bytes(3, "big")
    return red / 255, green / 255, blue / 255
