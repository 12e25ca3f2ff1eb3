"""Which fault strikes next, and what is remembered of those that have struck."""

import json
from pathlib import Path

import pytest

from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.faults import CALL_FAULTS, SEAL_FAULTS, Operation
from sealdrop.sandbox.plan import FaultPlan


def open_plan(folder: Path) -> FaultPlan:
    """Return the plan in ``folder``."""
    return FaultPlan(folder / "faults.json", folder / "used.json")


def write(folder: Path, *items: object) -> None:
    """Write the plan as somebody else would."""
    new = folder / "new"
    new.write_text(json.dumps(items))
    new.rename(folder / "faults.json")


def taken(plan: FaultPlan, operation: Operation = Operation.STATUS) -> str | None:
    """Use up the next fault of a call; return its name."""
    fault = plan.take(operation, CALL_FAULTS)
    return None if fault is None else fault.fault


def test_without_a_file_nothing_goes_wrong(tmp_path: Path) -> None:
    """No plan is an empty plan."""
    assert taken(open_plan(tmp_path)) is None


def test_the_first_that_fits_strikes(tmp_path: Path) -> None:
    """Faults strike in the order of the plan, as often as told, each for its operation and sort only."""
    write(
        tmp_path,
        {"fault": "reset", "operation": "create"},
        {"fault": "stuck", "operation": "any"},
        {"fault": "garbage", "times": 2},
        {"fault": "error_500", "operation": "status"},
    )
    plan = open_plan(tmp_path)
    assert [taken(plan) for _ in range(4)] == ["garbage", "garbage", "error_500", None]
    assert taken(plan, Operation.CREATE) == "reset"
    stuck = plan.take(Operation.SIGN, SEAL_FAULTS)
    assert stuck is not None
    assert plan.holds(stuck.id)


def test_equal_entries_are_counted_apart(tmp_path: Path) -> None:
    """The same words twice strike twice."""
    write(tmp_path, {"fault": "reset"}, {"fault": "reset"})
    plan = open_plan(tmp_path)
    assert [taken(plan) for _ in range(3)] == ["reset", "reset", None]


def test_what_has_struck_is_remembered(tmp_path: Path) -> None:
    """Another process that opens the plan, and a change elsewhere in it, find an entry as used up as it is."""
    write(tmp_path, {"fault": "reset", "times": 2})
    assert taken(open_plan(tmp_path)) == "reset"
    write(tmp_path, {"fault": "reset", "times": 2}, {"fault": "garbage"})
    plan = open_plan(tmp_path)
    assert [taken(plan) for _ in range(3)] == ["reset", "garbage", None]


def test_what_was_taken_out_is_forgotten(tmp_path: Path) -> None:
    """An entry that was removed and put back strikes again."""
    plan = open_plan(tmp_path)
    write(tmp_path, {"fault": "reset"})
    assert [taken(plan), taken(plan)] == ["reset", None]
    write(tmp_path)
    assert taken(plan) is None
    write(tmp_path, {"fault": "reset"})
    assert taken(plan) == "reset"


def test_an_id_makes_an_entry_new(tmp_path: Path) -> None:
    """The same words under another id strike again without a pause between."""
    plan = open_plan(tmp_path)
    write(tmp_path, {"fault": "reset", "id": "1"})
    assert taken(plan) == "reset"
    write(tmp_path, {"fault": "reset", "id": "2"})
    assert [taken(plan), taken(plan)] == ["reset", None]


def test_faults_are_added_and_taken_out_by_hand(tmp_path: Path) -> None:
    """What is added is in the file for all to see, counts down, and goes when removed or cleared."""
    plan = open_plan(tmp_path)
    first = plan.add("reset", "status", times=2)
    second = plan.add("garbage", applied=True)
    assert [fault.id for fault in open_plan(tmp_path).faults()] == [first, second]
    assert taken(plan) == "reset"
    assert plan.remaining(first) == 1
    plan.remove(first)
    assert plan.remaining(first) == 0
    assert [fault.id for fault in plan.faults()] == [second]
    plan.clear()
    assert plan.faults() == ()


@pytest.mark.parametrize(
    ("text", "words"), [("{", "cannot be read"), ("{}", "must be a list"), ('[{"fault": "x"}]', "entry 1")]
)
def test_a_plan_that_is_none_is_an_error_until_it_is_mended(tmp_path: Path, text: str, words: str) -> None:
    """A broken file raises each time, and what had struck before is not forgotten over it."""
    plan = open_plan(tmp_path)
    write(tmp_path, {"fault": "reset"})
    assert taken(plan) == "reset"
    (tmp_path / "faults.json").write_text(text)
    for _ in range(2):
        with pytest.raises(SandboxError, match=words):
            plan.take(Operation.STATUS, CALL_FAULTS)
    write(tmp_path, {"fault": "reset"})
    assert taken(plan) is None
