"""Visible seals through the real service and the sandbox: they stand where the eye was promised them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from pypdf import PdfWriter
from pypdf.generic import FloatObject, NameObject, NumberObject, PdfObject, RectangleObject
from reportlab.pdfgen.canvas import Canvas

from running import QUICK, drop, leftovers, quicken, receipt_of, running_daemon, stored
from sealdrop.errors import ConfigurationError
from sealdrop.model import Reason, State
from sealdrop.sandbox.server import Sandbox

MM = 72 / 25.4
SIZE_PX = (150, 60)
# Of one colour each: the sealed page is looked at as a picture.
COLOURS = {"bottom-left": "red", "top-right": "blue"}


def _page(width: float = 595, height: float = 842, **entries: PdfObject) -> bytes:
    """Return a PDF of one white page with further entries."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(width, height), invariant=1)
    canvas.showPage()
    canvas.save()
    writer = PdfWriter(clone_from=buffer)
    for key, value in entries.items():
        writer.pages[0][NameObject(f"/{key}")] = value
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


CROPPED = RectangleObject((100, 150, 500, 700))
PAGES = {
    "portrait": (_page(), (595, 842)),
    "landscape": (_page(842, 595), (842, 595)),
    "turned-90": (_page(Rotate=NumberObject(90)), (842, 595)),
    "turned-180": (_page(Rotate=NumberObject(180)), (595, 842)),
    "turned-270": (_page(Rotate=NumberObject(270)), (842, 595)),
    "cropped": (_page(CropBox=CROPPED), (400, 550)),
    "cropped-turned": (_page(CropBox=CROPPED, Rotate=NumberObject(90)), (550, 400)),
    "unit": (_page(300, 420, UserUnit=FloatObject(2)), (300, 420)),
}


def _folder(corner: str, keys: str) -> str:
    places = "\n".join(f'{key} = "{corner}/{key}"' for key in ("inbound", "outbound", "rejected", "failed"))
    return f"""
[folders.{corner}]
account = "sandbox"
{places}
sweep_s = 0.5
settle_s = 0.3

[folders.{corner}.seal]
level = "PAdES_BASELINE_B"
archive = false

[folders.{corner}.seal.visible]
corner = "{corner}"
{keys}
"""


def _configure(config: Path, *folders: str) -> None:
    quicken(config)
    config.write_text(config.read_text() + "".join(folders))


def _seen(picture: Image.Image, colour: str) -> tuple[int, int, int, int]:
    """Return the box of what has that colour."""
    others = ImageChops.difference(picture, Image.new("RGB", picture.size, colour)).convert("L")
    box = others.point(lambda difference: 255 if difference == 0 else 0).getbbox()
    assert box is not None
    return box


def test_a_seal_is_seen_in_its_corner_on_any_page(
    directory: Path, tmp_path: Path, poppler: Callable[[Sequence[str | Path]], str]
) -> None:
    """Whatever the page's shape, rotation, crop box and unit: as drawn by poppler, it stands upright in its corner."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        for colour in COLOURS.values():
            Image.new("RGB", SIZE_PX, colour).save(directory / f"{colour}.png")
        _configure(
            sandbox.config_path,
            *(_folder(corner, f'image = "{colour}.png"\nx_mm = 10\ny_mm = 20') for corner, colour in COLOURS.items()),
        )
        with running_daemon(sandbox.config_path) as running:
            for corner in COLOURS:
                for name, (content, _) in PAGES.items():
                    drop(content, running.folder(corner).inbound, f"{name}.pdf")
            documents = running.wait_until_over(len(COLOURS) * len(PAGES))
            assert {each.state for each in documents} == {State.DELIVERED}, [each.reason_detail for each in documents]
    for corner, colour in COLOURS.items():
        for name, (_, (width, height)) in PAGES.items():
            sealed = running.folder(corner).outbound / f"{name}.pdf"
            checks = {check["name"]: check["outcome"] for check in receipt_of(sealed)["verification"]["checks"]}
            assert checks["appearance"] == "passed"
            poppler(["pdftoppm", "-png", "-r", "72", "-cropbox", "-singlefile", sealed, tmp_path / "page"])
            unit = 2 if name == "unit" else 1  # poppler draws a unit as a point
            with Image.open(tmp_path / "page.png") as picture:
                assert picture.size == (width, height)
                left, top, right, bottom = _seen(picture.convert("RGB"), colour)
            x, y = 10 * MM / unit, 20 * MM / unit
            expected = (
                (x, height - y - SIZE_PX[1], x + SIZE_PX[0], height - y)
                if corner == "bottom-left"
                else (width - x - SIZE_PX[0], y, width - x, y + SIZE_PX[1])
            )
            assert (left, top, right, bottom) == pytest.approx(expected, abs=2), (corner, name)


def test_a_page_without_room_for_the_seal_comes_back(directory: Path) -> None:
    """A page that is too small, or a page that is not there: rejected in words with sizes, and nothing is sent."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        _configure(
            sandbox.config_path,
            _folder("bottom-left", "width_mm = 60\nheight_mm = 20\npage = 2"),
            _folder("top-right", "width_mm = 60\nheight_mm = 20"),
        )
        with running_daemon(sandbox.config_path) as running:
            drop(_page(), running.folder("bottom-left").inbound, "short.pdf")
            drop(_page(180, 100), running.folder("top-right").inbound, "card.pdf")
            documents = running.wait_until_over(2)
        assert {(each.state, each.reason) for each in documents} == {(State.REJECTED, Reason.SEAL_OFF_PAGE)}
        assert not sandbox.seals()
    short = (running.folder("bottom-left").rejected / "short.pdf.reason.txt").read_text()
    assert "should stand on page 2, and the document has 1 page(s)" in short
    card = (running.folder("top-right").rejected / "card.pdf.reason.txt").read_text()
    assert "The visible seal has no room on the page" in card
    assert "Le cachet visible n'a pas la place prévue" in card
    assert "the seal is 60.0 x 20.1 mm" in " ".join(card.split())
    assert "page 1 is 63.5 x 35.3 mm" in " ".join(card.split())
    assert leftovers(running.config) == []


def test_a_service_that_counts_otherwise_is_noticed(directory: Path) -> None:
    """Seals that land elsewhere on their page are delivered with a warning, and `sealdrop status` has the trouble."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        _configure(sandbox.config_path, _folder("top-right", "width_mm = 60\nheight_mm = 20"))
        text = sandbox.config_path.read_text()
        assert "\n# Invoices" in text
        wrong = text.replace("\n# Invoices", '\nvisible_units = { origin = "top-left" }\n# Invoices', 1)
        sandbox.config_path.write_text(wrong)
        with running_daemon(sandbox.config_path) as running:
            drop(_page(), running.folder("top-right").inbound, "low.pdf")
            (document,) = running.wait_until_over(1)
            assert document.state is State.DELIVERED, document.reason_detail
            with stored(running.config) as ledger:
                (trouble,) = ledger.troubles()
    assert trouble.subject == "visible seals of folder top-right"
    assert "mm off what was asked for" in trouble.text
    assert "accounts.sandbox.visible_units" in trouble.text
    assert len(running.log.events("seal_misplaced")) == 1
    checks = receipt_of(running.folder("top-right").outbound / "low.pdf")["verification"]["checks"]
    assert [check["outcome"] for check in checks if check["name"] == "appearance"] == ["warned"]


def test_the_service_does_not_start_with_a_seal_that_cannot_be_made(directory: Path) -> None:
    """A missing image and an unknown field are told at the start, each with its place; nothing is started."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        line = "[[folders.top-right.seal.visible.lines]]\ntext = '{author}'"
        _configure(
            sandbox.config_path,
            _folder("bottom-left", 'image = "none.png"'),
            _folder("top-right", f"width_mm = 60\nheight_mm = 20\n{line}"),
        )
        with pytest.raises(ConfigurationError) as caught, running_daemon(sandbox.config_path):
            pass
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "folders.bottom-left.seal.visible.image",
        "folders.top-right.seal.visible.lines.0.text",
    ]
