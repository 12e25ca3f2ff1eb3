"""What becomes of a copy, by what became of the earlier document."""

from dataclasses import replace

import pytest

from documents import document, verified
from sealdrop.daemon.duplicates import DeliverAgain, Reject, Wait, judge
from sealdrop.model import Document, DocumentId, SealLevel, State

LATER = document(id=DocumentId("20261123-ffffffffffffffff"))


def _earlier(**changes: object) -> Document:
    return replace(verified(), state=State.DELIVERED, published_name="a.pdf", **changes)


@pytest.mark.parametrize("rule", ["reject", "deliver-again"])
def test_what_is_under_way_is_waited_for(rule: str) -> None:
    """Until the earlier document is at its end, nothing is decided."""
    assert isinstance(judge(LATER, replace(_earlier(), state=State.SEALING), rule), Wait)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "had", "again"),
    [
        ({"level": SealLevel.B, "archive": False}, {"level": SealLevel.LTA, "archive": True}, True),
        ({"level": SealLevel.LT}, {"level": SealLevel.LT}, True),
        ({"level": SealLevel.LT}, {"level": SealLevel.T}, False),
        ({"archive": True}, {"archive": False}, False),
    ],
)
def test_a_seal_is_delivered_again_if_it_has_all_that_is_asked_for(
    asked: dict[str, object], had: dict[str, object], again: bool
) -> None:
    """A folder that asks for more than the earlier seal has does not get that; the reason says so."""
    verdict = judge(replace(LATER, **asked), _earlier(**had), "deliver-again")  # type: ignore[arg-type]
    assert isinstance(verdict, DeliverAgain if again else Reject)
    assert again or "not all that this folder asks for" in getattr(verdict, "detail", "")


@pytest.mark.parametrize("stamp_known", [True, False])
def test_a_duplicate_knows_no_more_of_its_seal_than_the_earlier_one(stamp_known: bool) -> None:
    """How the seal looks that it gets is as well, or as little, on record."""
    verdict = judge(LATER, _earlier(stamp_known=stamp_known), "deliver-again")
    assert isinstance(verdict, DeliverAgain)
    assert replace(LATER, **verdict.taken_from()).stamp_known is stamp_known
