"""The image of a visible seal: what may be sent, and what is said of what may not."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from sealdrop.visible.picture import MAX_BYTES, UnusablePicture, blank, load, turned


def _written(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_an_image_is_sent_as_it_is(tmp_path: Path) -> None:
    """PNG and JPEG files, in any colours, go out byte for byte, with their size."""
    for number, (mode, suffix) in enumerate([("RGB", "png"), ("L", "png"), ("P", "png"), ("RGB", "jpg"), ("L", "jpg")]):
        path = _written(tmp_path / f"{number}.{suffix}", Image.new(mode, (30, 20)))
        picture = load(path)
        assert picture.content == path.read_bytes()
        assert picture.size_px == (30, 20)


def test_transparency_that_is_used_nowhere_is_left_out(tmp_path: Path) -> None:
    """An image with an alpha channel that hides nothing is sent without it, and looks the same."""
    original = Image.new("RGBA", (30, 20), (10, 20, 30, 255))
    picture = load(_written(tmp_path / "a.png", original))
    with Image.open(io.BytesIO(picture.content)) as sent:
        assert sent.mode == "RGB"
        assert sent.getpixel((3, 3)) == (10, 20, 30)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_an_image_that_is_transparent_somewhere_is_refused(tmp_path: Path, mode: str) -> None:
    """One transparent pixel is enough, however it is said; the words tell what to do."""
    if mode == "P":
        path = _written(tmp_path / "a.png", Image.new("P", (30, 20)), transparency=0)
    else:
        image = Image.new(mode, (30, 20), tuple([255] * len(mode)))
        image.putpixel((5, 5), tuple([0] * len(mode)))
        path = _written(tmp_path / "a.png", image)
    with pytest.raises(UnusablePicture, match=r"transparent areas.*save it on a white background"):
        load(path)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("text.png", b"Dear all", "is not a PNG or JPEG file that can be read"),
        ("empty.png", b"", "is not a PNG or JPEG file that can be read"),
        ("large.png", bytes(MAX_BYTES + 1), "too large, since it goes with every request: 512 KiB, the limit is 512"),
        ("missing.png", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    """Text, nothing, too much, and a file that is not there, each in words that name the file."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusablePicture, match=f"{name}.*{fault}"):
        load(path)


def test_other_formats_and_cut_files_are_refused(tmp_path: Path) -> None:
    """A GIF, and a PNG whose end is missing, are not what the service takes."""
    gif = _written(tmp_path / "a.gif", Image.new("RGB", (3, 3)))
    whole = _written(tmp_path / "b.png", Image.effect_noise((80, 80), 50))
    whole.write_bytes(whole.read_bytes()[:-500])
    for path in (gif, whole):
        with pytest.raises(UnusablePicture, match="is not a PNG or JPEG file"):
            load(path)


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    """A poster that compresses well is still no seal."""
    with pytest.raises(UnusablePicture, match="3000 x 2000 pixels; reduce it"):
        load(_written(tmp_path / "a.png", Image.new("1", (3000, 2000))))


def test_a_replaced_image_is_read_again(tmp_path: Path) -> None:
    """A new image counts from then on, and is not read anew for each document meanwhile."""
    path = _written(tmp_path / "a.png", Image.new("RGB", (30, 20)))
    assert load(path) is load(path)
    _written(path, Image.new("RGB", (40, 20)))
    os.utime(path, ns=(1, 1))
    assert load(path).width_px == 40


def test_a_turned_image_is_the_same_pixels(tmp_path: Path) -> None:
    """A quarter turn counter-clockwise brings the right edge to the top, and loses nothing."""
    image = Image.new("RGB", (30, 20), "white")
    image.putpixel((29, 0), (255, 0, 0))
    picture = load(_written(tmp_path / "a.png", image))
    assert turned(picture, 0) is picture
    quarter = turned(picture, 90)
    assert quarter.size_px == (20, 30)
    with Image.open(io.BytesIO(quarter.content)) as sent:
        assert sent.getpixel((0, 0)) == (255, 0, 0)
    back = turned(quarter, 270)
    with Image.open(io.BytesIO(back.content)) as sent:
        assert sent.tobytes() == image.tobytes()


def test_without_an_image_it_is_white() -> None:
    """A white area of the size asked for, without transparency."""
    picture = blank(40, 10)
    with Image.open(io.BytesIO(picture.content)) as sent:
        assert (sent.size, sent.mode, sent.getextrema()) == ((40, 10), "RGB", ((255, 255),) * 3)
