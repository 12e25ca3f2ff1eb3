"""JSON from somebody else, read so that what is kept of it can be written again as canonical JSON (RFC 8785).

UTF-8 only; text is valid Unicode; names do not repeat within an object; numbers are what a double can hold, save that
a whole number past 2^53 is kept as the text of its digits; depth is bounded.
"""

import json
import math
from collections.abc import Iterable

from pydantic import JsonValue

from sealdrop.errors import MalformedAnswer

DEPTH = 32  # documented answers are three deep; readers further on must never run out of stack
_EXACT_INTEGER = 2**53 - 1  # RFC 8785, 3.2.2.3: JSON numbers are IEEE 754 doubles
_EXACT_DIGITS = len(str(-_EXACT_INTEGER))


def parse_json(body: bytes, what: str = "the answer") -> JsonValue:
    """Return the JSON value that ``body`` holds, fit to be kept (see the module's rule); ``what`` it is, for errors.

    Raises:
        MalformedAnswer: it holds none.
    """
    try:
        value: JsonValue = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise MalformedAnswer(f"{what} is not UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedAnswer(f"{what} is not JSON ({place})" if body else f"{what} is empty") from error
    except ValueError as error:
        raise MalformedAnswer(f"{what} is not JSON that can be kept: {error}") from error
    except RecursionError as error:
        raise MalformedAnswer(f"{what} is nested more than {DEPTH} deep") from error
    _check(value, what)
    return value


def kind(value: JsonValue) -> str:
    """Return what kind of JSON value this is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"


def _unique_names(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Readers disagree on which of two equal names counts (RFC 8259, 4), so neither does."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has the same name twice")
    return fields


def _whole_number(digits: str) -> int | str:
    if len(digits) <= _EXACT_DIGITS and abs(int(digits)) <= _EXACT_INTEGER:
        return int(digits)
    return digits


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check(value: JsonValue, what: str) -> None:
    level: list[JsonValue] = [value]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _inside(outer, what)]
        if not level:
            return
    raise MalformedAnswer(f"{what} is nested more than {DEPTH} deep")


def _inside(value: JsonValue, what: str) -> Iterable[JsonValue]:
    """Return the values that ``value`` holds, once its own text is found to be Unicode."""
    if isinstance(value, dict):
        _check_unicode(value, what)
        return value.values()
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        _check_unicode([value], what)
    return ()


def _check_unicode(texts: Iterable[str], what: str) -> None:
    """JSON may spell half of a surrogate pair, which is no character and cannot be written as UTF-8."""
    try:
        for text in texts:
            if not text.isascii():
                text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedAnswer(f"{what} holds text that is not Unicode (half of a surrogate pair)") from error
