"""The table of moves as the ledger keeps it: whatever is offered is recorded, or refused and leaves no trace."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import document as new_document
from properties import tried
from sealdrop.errors import IllegalMove
from sealdrop.ledger import Ledger, Step
from sealdrop.model import END_STATES, MOVES, Document, Event, State

from .conftest import LINK, StoppedClock

states = st.sampled_from(list(State))
offers = st.lists(
    st.tuples(states, st.booleans(), st.sampled_from([None, "name", "sha256", "received_at"])), max_size=9
)


def reachable(start: State) -> set[State]:
    """The states that can be come to from ``start``."""
    found, waiting = {start}, [start]
    while waiting:
        new = MOVES[waiting.pop()] - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("state", State)
def test_an_end_can_be_reached_from_everywhere(state: State) -> None:
    """No document can come to a state from which no way leads out; and every state is come to from the first."""
    assert reachable(state) & END_STATES
    assert state in reachable(State.RECEIVED)


def test_what_was_not_verified_is_never_delivered() -> None:
    """Every way from the first state to outbound leads through the checks, and through an intent before any call."""
    for needed in (State.VERIFIED, State.SEALED, State.VALIDATED):
        found, waiting = {State.RECEIVED}, [State.RECEIVED]
        while waiting:
            new = MOVES[waiting.pop()] - found - {needed}
            found |= new
            waiting += new
        assert State.DELIVERED not in found


@tried(60)
@given(offers)
def test_whatever_is_offered_is_a_move_of_the_table_or_none(offered: list[tuple[State, bool, str | None]]) -> None:
    """A legal step is recorded and counted once; any other one raises, and row, chain and tally are as they were."""
    with (
        tempfile.TemporaryDirectory() as name,
        Ledger.open(Path(name) / "ledger.sqlite", link=LINK, clock=StoppedClock()) as ledger,
    ):
        document = ledger.add(new_document(), Event("document_received"))
        records = 1
        for state, told, changed in offered:
            changes = {} if changed is None else {changed: _another(document, changed)}
            event = Event("document_moved") if told else None
            moves = state != document.state
            legal = changed is None and (state in MOVES[document.state] or not moves) and (told or not moves)
            if legal:
                (stored,) = ledger.record(Step(document, replace(document, state=state), event))
                assert isinstance(stored, Document)
                document = stored
                records += told
            else:
                with pytest.raises(IllegalMove):
                    ledger.record(Step(document, replace(document, state=state, **changes), event))  # type: ignore[arg-type]
            assert ledger.get(document.id) == document
            assert ledger.audit_head().seq == records
            assert ledger.counts() == {document.folder: {document.state: 1}}


def _another(document: Document, name: str) -> object:
    value = getattr(document, name)
    return f"{value}x" if isinstance(value, str) else value.replace(year=1999)
