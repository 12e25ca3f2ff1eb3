"""How much of an account's work one worker takes at a time."""

from pathlib import Path

import pytest

from account_stage import Stage
from sealdrop.daemon.line import LEARNED_FROM, TURN_S, Operation


def _ask(stage: Stage, took_s: float, *, times: int) -> None:
    for _ in range(times):
        stage.line.call(lambda: stage.clock.go(took_s))


@pytest.mark.parametrize(("took_s", "share"), [(0.0, 16), (TURN_S / 50, 16), (TURN_S / 5, 5), (TURN_S * 40, 1)])
def test_the_slower_the_answers_the_fewer_documents_wait_in_line(tmp_path: Path, took_s: float, share: int) -> None:
    """A claim is worked off within a moment, however long the service takes for each answer, and is never empty."""
    stage = Stage(tmp_path)
    assert stage.line.share_in_turn(16, Operation.STATUS) == 16
    _ask(stage, took_s, times=20 * LEARNED_FROM)
    assert stage.line.share_in_turn(16, Operation.STATUS) == share
    _ask(stage, 0.0, times=20 * LEARNED_FROM)
    assert stage.line.share_in_turn(16, Operation.STATUS) == 16
