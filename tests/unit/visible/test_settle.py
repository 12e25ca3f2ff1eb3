"""A folder's visible seal, judged at the start, and settled for a document."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from documents import NOW, document
from sealdrop.config import Account, Config, SealLine, VisibleSeal, VisibleUnits
from sealdrop.model import Inspection, PageArea, SealPlace, Stamp, Verdict
from sealdrop.visible.picture import UnusablePicture
from sealdrop.visible.settle import OffPage, picture_of, settle, texts_of, visible_faults

A4 = PageArea(1, 0, 0, 595, 842)
ACCOUNT = Account(
    base_url="https://signapi.example",
    certificate=Path("/client.p12"),
    organisation="Demo",
    trust_anchors=(Path("/root.pem"),),
)
WHITE = VisibleSeal(width_mm=50.8, height_mm=25.4, lines=(SealLine(text="{organisation}, {date}"),))


def _inspection(area: PageArea | None = A4, pages: int = 1) -> Inspection:
    return Inspection(Verdict.ACCEPT, pages=pages, seal_page=area)


def _config(tmp_path: Path, **visible: object) -> Config:
    folder = {"account": "main", **{key: tmp_path / key for key in ("inbound", "outbound", "rejected", "failed")}}
    return Config.model_validate(
        {
            "service": {"state_dir": tmp_path / "state"},
            "accounts": {"main": ACCOUNT},
            "folders": {
                "plain": folder | {"inbound": tmp_path / "other"},
                "seen": folder | {"seal": {"visible": visible}},
            },
        }
    )


def test_a_seal_is_settled_once() -> None:
    """Everything that is sent later is known: the place, the service's position, the image, all texts but the date."""
    found = settle(WHITE, ACCOUNT, document(), _inspection())
    assert isinstance(found, Stamp)
    mm = 72 / 25.4
    assert found.place == SealPlace(
        1,
        pytest.approx(595 - 144 - 10 * mm),
        pytest.approx(10 * mm),  # type: ignore[arg-type]
        pytest.approx(595 - 10 * mm),
        pytest.approx(72 + 10 * mm),
    )  # type: ignore[arg-type]
    assert (found.x, found.y) == (round(595 - 144 - 10 * mm, 3), round(10 * mm, 3))
    assert (found.width_px, found.height_px, found.image, found.turn) == (144, 72, None, 0)
    assert [line.text for line in found.lines] == ["Demo, {date:%Y-%m-%d}"]
    assert texts_of(found, NOW).lines[0].text == f"Demo, {NOW.astimezone():%Y-%m-%d}"
    assert picture_of(found).size_px == (144, 72)


def test_an_image_is_turned_for_a_page_that_is_shown_turned(tmp_path: Path) -> None:
    """Without lines it is sent turned, so that a reader shows it upright; with lines it cannot be."""
    Image.new("RGB", (60, 20)).save(tmp_path / "seal.png")
    plain, area = VisibleSeal(image=tmp_path / "seal.png"), replace(A4, rotation=90)
    stamp = settle(plain, ACCOUNT, document(), _inspection(area))
    assert isinstance(stamp, Stamp)
    assert stamp.turn == 90
    assert picture_of(stamp).size_px == (20, 60)
    assert (stamp.place.right - stamp.place.left, stamp.place.top - stamp.place.bottom) == pytest.approx((20, 60))
    lined = settle(plain.model_copy(update={"lines": WHITE.lines}), ACCOUNT, document(), _inspection(area))
    assert isinstance(lined, Stamp)
    assert lined.turn == 0
    as_seen = ACCOUNT.model_copy(update={"visible_units": VisibleUnits(rotated_pages="as-seen")})
    seen = settle(plain, as_seen, document(), _inspection(area))
    assert isinstance(seen, Stamp)
    assert (seen.turn, seen.place) == (0, stamp.place)


@pytest.mark.parametrize(
    ("page", "inspection", "detail"),
    [
        (3, _inspection(None, pages=2), "should stand on page 3, and the document has 2 page(s)"),
        ("last", _inspection(None, pages=2), "the size of page 2 cannot be found out"),
        ("last", _inspection(A4, pages=2), "the size of page 2 cannot be found out"),
        ("first", _inspection(replace(A4, width=float("nan"))), "the size of page 1 cannot be found out"),
        (
            "first",
            _inspection(replace(A4, width=150, height=400)),
            "and should stand 10 and 10 mm from the bottom right corner; page 1 is 52.9 x 141.1 mm",
        ),
    ],
)
def test_a_document_without_room_for_it_is_told(page: object, inspection: Inspection, detail: str) -> None:
    """No such page, a page that cannot be measured, a page that is too small: in words with sizes."""
    found = settle(WHITE.model_copy(update={"page": page}), ACCOUNT, document(), inspection)
    assert isinstance(found, OffPage)
    assert detail in found.detail


def test_an_image_of_another_size_is_not_sent(tmp_path: Path) -> None:
    """A place that was found for one image is not used for one of another size."""
    path = tmp_path / "seal.png"
    Image.new("RGB", (60, 20)).save(path)
    stamp = settle(VisibleSeal(image=path), ACCOUNT, document(), _inspection())
    assert isinstance(stamp, Stamp)
    Image.new("RGB", (70, 20)).save(path)
    with pytest.raises(UnusablePicture, match=r"70 x 20 pixels now.*60 x 20"):
        picture_of(stamp)


def test_good_seals_are_no_problem(tmp_path: Path) -> None:
    """A folder without one, and one with a good one, have nothing said of them."""
    Image.new("RGB", (200, 60)).save(tmp_path / "seal.png")
    assert list(visible_faults(_config(tmp_path, image=tmp_path / "seal.png", lines=[{"text": "{date}"}]))) == []


def test_all_problems_are_told_with_their_places(tmp_path: Path) -> None:
    """Every fault of every line is named; an image that cannot be used is named alone."""
    lines = [{"text": "{nobody}"}, {"text": "x", "font": "Wingdings"}, {"text": "y", "y_px": 300}]
    found = visible_faults(_config(tmp_path, width_mm=50, height_mm=20, lines=lines))
    assert [(folder, key) for folder, key, _ in found] == [
        ("seen", "lines.0.text"),
        ("seen", "lines.1.font"),
        ("seen", "lines.2.y_px"),
    ]
    ((_, key, missing),) = visible_faults(_config(tmp_path, image=tmp_path / "none.png", lines=lines))
    assert (key, missing[:9]) == ("image", "the image")
