"""The table of moves, and identifiers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import NOW, document
from sealdrop.errors import IllegalMove
from sealdrop.model import CHECK_REASONS, END_STATES, MOVES, CheckName, Reason, State, check_move, new_document_id

states = st.sampled_from(list(State))


@given(states, states)
def test_only_moves_of_the_table_pass(before: State, after: State) -> None:
    """A move that is not in the table raises; staying where one is never does."""
    if before == after or after in MOVES[before]:
        check_move("x", before, after)
    else:
        with pytest.raises(IllegalMove, match=f"from {before} to {after}"):
            check_move("x", before, after)


def test_every_state_is_in_the_table_and_every_way_ends() -> None:
    """No state leads back to an earlier one, and from each the end can be reached."""
    assert set(MOVES) == set(State)
    order = list(State)
    for before, afters in MOVES.items():
        # Trying again is the one way back.
        assert before is State.RETRYING or all(order.index(after) > order.index(before) for after in afters)
        # Only a person's wish leads out of an end, and only out of a failure.
        assert afters == {State.RETRYING} if before is State.FAILED else bool(afters) != (before in END_STATES)


def test_nothing_is_sent_before_it_was_validated() -> None:
    """Only what was validated once can be submitted, and only what was verified delivered."""
    assert [before for before in State if State.SUBMITTING in MOVES[before]] == [State.VALIDATED, State.RETRYING]
    assert [before for before in State if State.DELIVERED in MOVES[before]] == [State.VERIFIED]


def test_every_check_has_a_reason_of_its_own() -> None:
    """No two checks share a reason."""
    assert set(CHECK_REASONS) == set(CheckName)
    assert len(set(CHECK_REASONS.values())) == len(CheckName)
    assert set(CHECK_REASONS.values()) <= set(Reason)


def test_identifiers_sort_by_day_and_are_never_the_same() -> None:
    """A thousand identifiers of one moment differ; each begins with its day."""
    made = {new_document_id(NOW) for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(identifier.startswith("20261123-") for identifier in made)
    near = {new_document_id(NOW, near=document().id) for _ in range(1_000)}
    assert len(near) == 1_000
    assert {identifier[-2:] for identifier in near} == {document().id[-2:]}


def test_the_short_id_is_eight_digits_of_the_id() -> None:
    """The short form, which file names get, is part of the whole."""
    assert document().short_id == "00112233"
