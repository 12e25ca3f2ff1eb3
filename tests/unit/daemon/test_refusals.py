"""Whose fault a no is."""

import random

import pytest

from sealdrop.daemon.refusals import REFUSALS, REMEMBERED, Refusals
from sealdrop.model import DocumentId

ALONE_S = 3_600.0
BAD, GOOD = DocumentId("bad"), DocumentId("good")


def test_four_refusals_with_others_taken_in_between_are_its_own() -> None:
    """No, yes to another, no, and so on: then the document is to blame, within seconds and not before."""
    refusals = Refusals(5, alone_s=ALONE_S)
    for _ in range(REFUSALS - 1):
        refusals.refused([BAD], 0.0)
        assert not refusals.are_its_own(BAD, 0.0)
        refusals.taken([GOOD])
    refusals.refused([BAD], 0.0)
    assert refusals.are_its_own(BAD, 0.0)


def test_refusals_without_a_witness_need_a_while() -> None:
    """With nothing else sent, a document is to blame only after it was refused for ``alone_s``."""
    refusals = Refusals(5, alone_s=ALONE_S)
    for minute in range(59):
        refusals.refused([BAD], minute * 60.0)
        assert not refusals.are_its_own(BAD, minute * 60.0)
    refusals.refused([BAD], ALONE_S)
    assert refusals.are_its_own(BAD, ALONE_S)


def test_when_all_are_refused_none_is_to_blame() -> None:
    """As many different documents as open a breaker, and none taken: however long that goes on, it is the service."""
    refusals = Refusals(5, alone_s=ALONE_S)
    for hour in range(100):
        for number in range(5):
            document = DocumentId(str(number))
            refusals.refused([document], hour * ALONE_S)
            assert hour == 0 or not refusals.are_its_own(document, hour * ALONE_S)
    assert refusals.are_general
    refusals.taken([GOOD])
    assert not refusals.are_general


@pytest.mark.parametrize(("chance", "at_most"), [(0.0, REFUSALS), (0.01, 6), (0.05, 8)])
def test_a_bad_document_fails_soon_where_few_are_refused_by_chance(chance: float, at_most: int) -> None:
    """Where one in a hundred, or in twenty, is refused by chance and taken later, it takes a few refusals more."""
    refusals, rng = Refusals(5, alone_s=ALONE_S), random.Random(3)
    for number in range(2_000):
        good = DocumentId(f"good {number}")
        if rng.random() < chance:
            refusals.refused([good], 0.0)
        refusals.taken([good])
    for times in range(1, at_most + 1):
        refusals.refused([BAD], 0.0)
        if refusals.are_its_own(BAD, 0.0):
            assert times >= REFUSALS
            return
        refusals.taken([GOOD])
    pytest.fail("it is never believed to be bad")


def test_what_is_remembered_is_bounded() -> None:
    """However many are refused, the memory for them is not."""
    refusals = Refusals(5, alone_s=ALONE_S)
    for number in range(REMEMBERED + 500):
        refusals.refused([DocumentId(str(number))], 0.0)
    assert len(refusals._refused) == REMEMBERED
