"""What a fault plan may say."""

import json

import pytest

from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.faults import CALL_FAULTS, REFUSALS, SEAL_FAULTS, CallFault, Fault, Operation, SealFault
from sealdrop.sandbox.sealing import Level


def test_every_fault_is_of_one_sort() -> None:
    """Each fault belongs to a call, a seal or the listening socket, and to one of them only."""
    assert sorted([*CALL_FAULTS, *SEAL_FAULTS, *REFUSALS]) == sorted([*CallFault, *SealFault])


def test_what_is_not_said_has_a_default() -> None:
    """A fault alone strikes any operation once, with nothing applied."""
    fault = Fault.parse({"fault": "reset"}, "default")
    assert (fault.id, fault.operation, fault.times, fault.applied) == ("default", Operation.ANY, 1, False)
    assert Fault.parse({"fault": "lower_level"}, "").level is Level.B


@pytest.mark.parametrize(
    "item",
    [
        {"fault": "reset", "operation": "create", "applied": True, "times": 3, "id": "mine"},
        {"fault": "timeout", "operation": "any", "seconds": 2.5},
        {"fault": "sign_failed", "operation": "sign_many", "reason": "à l'arrêt"},
        {"fault": "lower_level", "operation": "sign", "level": "PAdES_BASELINE_T"},
        {"fault": "error_msg_200", "message": "no"},
    ],
)
def test_a_fault_survives_being_written(item: dict[str, object]) -> None:
    """What is written is read as the same fault."""
    fault = Fault.parse(item, "x")
    assert Fault.parse(json.loads(fault.to_json()), "y") == fault


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (7, "object"),
        ({}, "fault"),
        ({"fault": "earthquake"}, "earthquake"),
        ({"fault": ["reset"]}, "fault"),
        ({"fault": "reset", "operation": "delete"}, "operation"),
        ({"fault": "stuck", "operation": "create"}, "operation"),
        ({"fault": "refuse_connection", "operation": "sign"}, "operation"),
        ({"fault": "reset", "times": 0}, "times"),
        ({"fault": "reset", "times": True}, "times"),
        ({"fault": "reset", "applied": 1}, "applied"),
        ({"fault": "stuck", "applied": True}, "applied"),
        ({"fault": "timeout", "seconds": -1}, "seconds"),
        ({"fault": "reset", "seconds": 1}, "seconds"),
        ({"fault": "lower_level", "level": "B"}, "level"),
        ({"fault": "sign_failed", "reason": 1}, "reason"),
        ({"fault": "reset", "id": 1}, "id"),
        ({"fault": "reset", "tmies": 2}, "tmies"),
    ],
)
def test_what_means_nothing_is_an_error(item: object, key: str) -> None:
    """A wrong or misplaced key is named, never ignored."""
    with pytest.raises(SandboxError, match=key):
        Fault.parse(item, "x")
