"""The faults that can be asked for: what goes wrong with a call, what with a seal.

Each is an object of the fault plan (`plan`)::

    {"operation": "create", "fault": "reset", "applied": true, "times": 2}

``operation`` is ``create``, ``sign`` (one request), ``sign_many``, ``status``, ``search`` or ``any``; ``times`` how
many matches go wrong (1 unless told); ``id`` tells two otherwise equal entries apart.

Faults of a call; ``applied`` (false unless told) says whether the call was carried out before its answer was lost:

==================  ==========================================================================================
refuse_connection   for ``seconds`` nothing listens: connections are refused, open ones reset. Starts as soon as
                    the entry is in the plan, whatever comes in; only ``any`` fits
reset               the connection is reset
timeout             no answer for ``seconds``; then the late answer, or 504 if it was not applied
error_500           HTTP 500
unavailable_503     HTTP 503, ``Retry-After: seconds``
error_msg_200       HTTP 200 with an ``errorMsg``, which ``message`` may give
garbage             HTTP 200 with something that is not JSON
truncated           the connection is closed in the middle of the body
==================  ==========================================================================================

Faults of a seal strike when its sign call is applied, and stay with the request (``sign``, ``sign_many``, ``any``):

=====================  =======================================================================================
wrong_document         another document comes back, sealed in order
other_organisation     sealed in the name of somebody else
untrusted_certificate  sealed in the right name, under an unknown root
expired_certificate    sealed with a certificate that has expired
missing_timestamp      the signature's own timestamp is missing
lower_level            sealed at PAdES ``level`` (B unless told) whatever was asked for
modified_prefix        one byte of the document was changed before sealing
sign_failed            ends as SIGN_FAILED with ``reason``
archive_failed         sealed, then ends as ARCHIVE_FAILED with ``reason``
stuck                  stays SIGN_IN_PROGRESS until the entry is taken out of the plan
=====================  =======================================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.sealing import Level


class Operation(StrEnum):
    """The calls of the service; ``ANY`` in a plan only."""

    CREATE = "create"
    SIGN = "sign"
    SIGN_MANY = "sign_many"
    STATUS = "status"
    SEARCH = "search"
    ANY = "any"


class CallFault(StrEnum):
    """What can go wrong with a call."""

    REFUSE_CONNECTION = "refuse_connection"
    RESET = "reset"
    TIMEOUT = "timeout"
    ERROR_500 = "error_500"
    UNAVAILABLE_503 = "unavailable_503"
    ERROR_MSG_200 = "error_msg_200"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"


class SealFault(StrEnum):
    """What can go wrong with a seal."""

    WRONG_DOCUMENT = "wrong_document"
    OTHER_ORGANISATION = "other_organisation"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    EXPIRED_CERTIFICATE = "expired_certificate"
    MISSING_TIMESTAMP = "missing_timestamp"
    LOWER_LEVEL = "lower_level"
    MODIFIED_PREFIX = "modified_prefix"
    SIGN_FAILED = "sign_failed"
    ARCHIVE_FAILED = "archive_failed"
    STUCK = "stuck"


Kind = CallFault | SealFault

REFUSALS: frozenset[Kind] = frozenset({CallFault.REFUSE_CONNECTION})
CALL_FAULTS: frozenset[Kind] = frozenset(CallFault) - REFUSALS
SEAL_FAULTS: frozenset[Kind] = frozenset(SealFault)

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

_EVERY_FAULT_TAKES = frozenset({"fault", "operation", "times", "id"})
_PARAMETERS: Mapping[str, frozenset[Kind]] = {
    "applied": CALL_FAULTS,
    "seconds": frozenset({CallFault.REFUSE_CONNECTION, CallFault.TIMEOUT, CallFault.UNAVAILABLE_503}),
    "message": frozenset({CallFault.ERROR_MSG_200}),
    "reason": frozenset({SealFault.SIGN_FAILED, SealFault.ARCHIVE_FAILED}),
    "level": frozenset({SealFault.LOWER_LEVEL}),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the plan; a parameter that its kind does not take has no meaning."""

    id: str
    fault: Kind
    operation: Operation
    times: int
    applied: bool
    seconds: float
    message: str
    reason: str
    level: Level

    @classmethod
    def parse(cls, item: object, default_id: str) -> "Fault":
        """Return the fault that ``item``, an object of the plan, describes.

        Raises:
            SandboxError: it describes none; the message names the key.
        """
        if not isinstance(item, dict):
            raise SandboxError("must be an object")
        kind = _kind(item.get("fault"))
        for key in item.keys() - _EVERY_FAULT_TAKES:
            if kind not in _PARAMETERS.get(key, ()):
                raise SandboxError(f"{key}: {kind} takes no such key")
        operation = _choice(item, "operation", Operation, Operation.ANY)
        fits = _operations(kind)
        if operation not in fits:
            raise SandboxError(f"operation: {kind} fits {', '.join(fits)} only")
        return cls(
            id=_typed(item, "id", str, default=default_id),
            fault=kind,
            operation=operation,
            times=int(_number(item, "times", 1, least=1)),
            applied=_typed(item, "applied", bool, default=False),
            seconds=_number(item, "seconds", 1.0, least=0),
            message=_typed(item, "message", str, default="Internal error, please contact the support"),
            reason=_typed(item, "reason", str, default="Failed as the fault plan asked"),
            level=_choice(item, "level", Level, Level.B),
        )

    def to_json(self) -> str:
        """Return the fault as `parse` reads it."""
        item: dict[str, object] = {
            "id": self.id,
            "fault": self.fault,
            "operation": self.operation,
            "times": self.times,
        }
        item.update((key, getattr(self, key)) for key, kinds in _PARAMETERS.items() if self.fault in kinds)
        return json.dumps(item, ensure_ascii=False)


def _operations(kind: Kind) -> tuple[Operation, ...]:
    if kind in SEAL_FAULTS:
        return (Operation.SIGN, Operation.SIGN_MANY, Operation.ANY)
    return (Operation.ANY,) if kind in REFUSALS else tuple(Operation)


def _kind(name: object) -> Kind:
    kinds: tuple[Kind, ...] = (*CallFault, *SealFault)
    found = next((kind for kind in kinds if kind == name), None)
    if found is None:
        raise SandboxError(f"fault: there is no {name!r}")
    return found


def _choice(item: Mapping[str, object], key: str, choices: type[_E], default: _E) -> _E:
    value = item.get(key, default)
    found = next((choice for choice in choices if choice == value), None)
    if found is None:
        raise SandboxError(f"{key}: {value!r} is none of {', '.join(choices)}")
    return found


def _typed(item: Mapping[str, object], key: str, kind: type[_T], *, default: _T) -> _T:
    value = item.get(key, default)
    if not isinstance(value, kind):
        raise SandboxError(f"{key}: must be a {kind.__name__}")
    return value


def _number(item: Mapping[str, object], key: str, default: float, *, least: float) -> float:
    value = item.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < least:
        raise SandboxError(f"{key}: must be a number from {least}")
    return value
