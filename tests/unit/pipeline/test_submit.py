"""What is asked of SignAPI for a document: its folder's settings, and its sender's wishes."""

from dataclasses import replace

from documents import DIGEST, document
from sealdrop.config import Seal
from sealdrop.model import SealLevel, Wishes
from sealdrop.pipeline.submit import asked_of

FOLDER = Seal(keywords=("a", "b"), archivers=("one",))


def test_without_wishes_the_folder_has_its_way() -> None:
    """Level and archiving are as they were when the document was dropped; the rest is the folder's."""
    asked = asked_of(FOLDER, document(level=SealLevel.B, archive=False))
    assert asked == FOLDER.model_copy(update={"level": SealLevel.B, "archive": False})


def test_wishes_come_to_what_the_folder_asks_for() -> None:
    """Keywords and the reference are added, each once; archivers stand in place of the folder's."""
    wishes = Wishes(DIGEST, reference="R-1", keywords=("b", "c", "R-1"), archivers=("two",))
    asked = asked_of(FOLDER, document(wishes=wishes))
    assert asked.keywords == ("a", "b", "R-1", "c")
    assert asked.archivers == ("two",)
    assert asked_of(FOLDER, document(wishes=replace(wishes, archivers=None))).archivers == ("one",)
