"""What is asked of SignAPI for a document: its folder's settings, and its sender's wishes."""

from dataclasses import replace

from documents import DIGEST, document
from sealdrop.config import Seal, SealLine, VisibleSeal
from sealdrop.model import SealLevel, Wishes
from sealdrop.pipeline.submit import asked_of

FOLDER = Seal(
    keywords=("a", "b"), archivers=("one",), visible=VisibleSeal(lines=(SealLine(text="Ours", x=3.0, y=5.0),))
)


def test_without_wishes_the_folder_has_its_way() -> None:
    """Level and archiving are as they were when the document was dropped; the rest is the folder's."""
    asked = asked_of(FOLDER, document(level=SealLevel.B, archive=False))
    assert asked == FOLDER.model_copy(update={"level": SealLevel.B, "archive": False})


def test_wishes_come_to_what_the_folder_asks_for() -> None:
    """Keywords and the reference are added, each once; archivers stand in place of the folder's; lines are added."""
    wishes = Wishes(
        DIGEST, reference="R-1", keywords=("b", "c", "R-1"), archivers=("two",), seal_text=("first", "second")
    )
    asked = asked_of(FOLDER, document(wishes=wishes))
    assert asked.keywords == ("a", "b", "R-1", "c")
    assert asked.archivers == ("two",)
    assert asked.visible is not None
    assert [(line.text, line.x, line.y) for line in asked.visible.lines] == [
        ("Ours", 3.0, 5.0),
        ("first", 3.0, 29.0),
        ("second", 3.0, 17.0),
    ]
    kept = asked_of(FOLDER, document(wishes=replace(wishes, archivers=None, seal_text=())))
    assert (kept.archivers, kept.visible) == (("one",), FOLDER.visible)


def test_where_no_seal_can_be_seen_none_becomes_visible() -> None:
    """A sender's lines make no visible seal by themselves."""
    asked = asked_of(Seal(), document(wishes=Wishes(DIGEST, seal_text=("line",))))
    assert asked.visible is None
