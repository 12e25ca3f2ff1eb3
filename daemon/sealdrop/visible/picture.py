"""The image of a visible seal: read, judged, and made ready to be sent.

The service allows no transparent images (signapi.md). One whose transparency is used nowhere is sent without it; one
that really is transparent somewhere is for its owner to mend. The image's size in pixels is the seal's size.

The file is the administrator's own, so it is read where everything is; strangers' files never are.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sealdrop.errors import Retryable

if TYPE_CHECKING:  # Pillow takes 4 MB: it is loaded where there is a visible seal, and nowhere else
    from PIL import Image

MAX_BYTES = 512 << 10  # it goes with every request, in base64
MAX_PIXELS = 4_000_000
MAX_SIDE_PX = 14_400  # the largest page there is (ISO 32000-1, annex C.2) at a pixel to the point
FORMATS = ("PNG", "JPEG")


class UnusablePicture(Retryable):
    """The image of a visible seal cannot be used as it is; nothing was sent, and mending the file is enough."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that may be sent: a PNG or JPEG file's content, and its size in pixels."""

    content: bytes
    width_px: int
    height_px: int

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.width_px, self.height_px


def load(path: Path) -> Picture:
    """Return the image at ``path``; it is read again only when the file has changed.

    Raises:
        UnusablePicture: it cannot be read, or is not one that may be sent; the text says what to do.
    """
    try:
        status = path.stat()
        return _load(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UnusablePicture(f"the image {path} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=16)
def blank(width_px: int, height_px: int) -> Picture:
    """Return a white image."""
    from PIL import Image

    return Picture(_as_png(Image.new("RGB", (width_px, height_px), "white")), width_px, height_px)


@lru_cache(maxsize=16)
def turned(picture: Picture, degrees: int) -> Picture:
    """Return the image turned counter-clockwise by a number of quarter turns, without loss."""
    if degrees == 0:
        return picture
    from PIL import Image

    turn = Image.Transpose[f"ROTATE_{degrees}"]
    with Image.open(io.BytesIO(picture.content)) as image:
        result = image.transpose(turn)
    return Picture(_as_png(result), result.width, result.height)


@lru_cache(maxsize=16)
def _load(path: Path, mtime_ns: int, size_bytes: int) -> Picture:  # noqa: ARG001 - part of the key
    if size_bytes > MAX_BYTES:
        kib = f"{size_bytes / 1024:.0f} KiB, the limit is {MAX_BYTES >> 10} KiB"
        raise UnusablePicture(f"the image {path} is too large, since it goes with every request: {kib}")
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE_PX:
                size = f"{image.width} x {image.height} pixels"
                raise UnusablePicture(f"the image {path} is too large for a seal: {size}; reduce it")
            image.load()
            if not image.has_transparency_data:
                return Picture(content, *image.size)
            lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
            if lowest != 255:
                raise UnusablePicture(
                    f"the image {path} has transparent areas, which the service does not allow: "
                    "save it on a white background"
                )
            return Picture(_as_png(image.convert("RGB")), *image.size)
    # Pillow's decoders raise whatever their formats lead them to.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UnusablePicture(f"the image {path} is not a PNG or JPEG file that can be read") from error


def _as_png(image: "Image.Image") -> bytes:
    out = io.BytesIO()
    (image.convert("RGB") if image.mode == "CMYK" else image).save(out, "PNG", optimize=True)
    return out.getvalue()
