"""The format of the audit trail's records."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import JsonValue

from sealdrop.audit import chain
from sealdrop.audit.chain import LONGEST_LINE_BYTES, link, previous_hash, read
from sealdrop.errors import Fatal, Unrecordable
from sealdrop.model import GENESIS, AuditHead, Event

from .conftest import head_of

AT = datetime(2026, 3, 1, 9, 0, 0, 42, tzinfo=UTC)

texts = st.text()
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def test_record_is_the_canonical_object_that_was_promised() -> None:
    """A record has the members of the format, in RFC 8785's order and spelling, byte for byte."""
    record = link(GENESIS, AT, "20260301-ab", Event("sealed", {"b": 1.0, "a": 'é\n"'}), node="h")
    body = (
        '{"at":"2026-03-01T09:00:00.000042Z","data":{"a":"é\\n\\"","b":1},"document":"20260301-ab","event":"sealed",%s'
        '"node":"h","prev":"' + "0" * 64 + '","seq":1,"v":1}'
    )
    digest = hashlib.sha256((body % "").encode()).hexdigest()
    assert record.hash == digest
    assert record.line == body % f'"hash":"{digest}",'
    assert (record.seq, record.at) == (1, AT)


def test_each_record_names_the_one_before() -> None:
    """The next record counts on and carries the hash of the head it was given."""
    first = link(GENESIS, AT, None, Event("one"), node="h")
    second = link(head_of(first), AT, None, Event("two"), node="h")
    assert (second.seq, previous_hash(second)) == (2, first.hash)
    assert json.loads(second.line)["document"] is None


def test_time_never_goes_back() -> None:
    """When the clock was set back, the record takes the time of the one before it."""
    head = AuditHead(1, "a" * 64, AT)
    assert link(head, AT - timedelta(hours=1), None, Event("x"), node="h").at == AT
    assert link(head, AT + timedelta(hours=1), None, Event("x"), node="h").at == AT + timedelta(hours=1)


def test_time_is_written_in_utc() -> None:
    """A moment given in another zone stands in the record in UTC."""
    paris = AT.astimezone(timezone(timedelta(hours=1)))
    assert link(GENESIS, paris, None, Event("x"), node="h") == link(GENESIS, AT, None, Event("x"), node="h")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"name": "\ud800"}, "surrogates", id="a lone surrogate"),
        pytest.param({"\udcff": 1}, "surrogates", id="a lone surrogate in a key"),
        pytest.param({"x": 2**53}, "integer", id="a number without an exact form"),
        pytest.param({"x": float("nan")}, "nan", id="not a number"),
        pytest.param({"x": AT}, "type", id="not JSON"),
        pytest.param({"x": "x" * LONGEST_LINE_BYTES}, "bytes", id="too long"),
    ],
)
def test_what_json_cannot_hold_is_refused(fields: dict[str, JsonValue], words: str) -> None:
    """An event that has no canonical form is refused with its name and the reason, whatever the library raises."""
    with pytest.raises(Unrecordable, match=rf"event odd .*{words}"):
        link(GENESIS, AT, None, Event("odd", fields), node="h")


def test_bottomless_fields_are_refused() -> None:
    """Nesting beyond what can be walked is refused like anything else that cannot be written."""
    fields: JsonValue = {}
    for _ in range(100_000):
        fields = {"x": fields}
    with pytest.raises(Unrecordable):
        link(GENESIS, AT, None, Event("odd", {"deep": fields}), node="h")


def test_time_without_a_zone_is_refused() -> None:
    """A naive time is nobody's time."""
    with pytest.raises(Unrecordable, match="zone"):
        link(GENESIS, AT.replace(tzinfo=None), None, Event("x"), node="h")


@given(texts, st.none() | texts, st.dictionaries(texts, values, max_size=4), texts)
def test_every_record_takes_one_line_and_reads_back(
    name: str, document: str | None, fields: dict[str, JsonValue], node: str
) -> None:
    """Whatever Unicode and JSON an event holds, its record is one line of bytes that reads back to the same values."""
    record = link(GENESIS, AT, document, Event(name, fields), node=node)
    assert b"\n" not in record.line.encode()
    # Some floats are spelled as whole numbers, and mean the float.
    content = json.loads(record.line, parse_int=lambda text: int(text) if abs(int(text)) < 2**53 else float(text))
    assert (content["event"], content["document"], content["data"], content["node"]) == (name, document, fields, node)
    assert read(record.line) == record


@given(st.dictionaries(texts, values, max_size=4))
def test_the_fast_spelling_is_the_canonical_one(fields: dict[str, JsonValue]) -> None:
    """Whatever is spelled by the standard library, for it takes less time, is spelled as RFC 8785 says."""
    assume(chain._is_plain(fields))
    assert chain._PLAIN.encode(fields).encode() == rfc8785.dumps(fields)


@pytest.mark.parametrize("fields", [{"a": 1e21}, {"a": [{"b": 0.5}]}, {"a": 2**53}, {"\U0001f600": 1, "\ufb33": 2}])
def test_what_the_standard_library_spells_otherwise_is_left_to_the_other(fields: dict[str, JsonValue]) -> None:
    """Fractions, numbers that are refused and names beyond the basic plane take the slower way."""
    assert not chain._is_plain(fields)


def test_a_text_like_a_link_is_no_link() -> None:
    """The hash of the record before is the one in its place, whatever texts and names an event holds."""
    lure = '"prev":"' + "f" * 64
    record = link(GENESIS, AT, lure, Event(lure, {"prev": "f" * 64, "x": {"prev": lure}, lure: lure}), node=lure)
    assert previous_hash(record) == GENESIS.hash


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", "null", '{"hash":1}', '{"hash":"x","seq":1}', "\x00", '{"hash":"' + "0" * 64 + '"}'],
)
def test_what_is_no_record_is_not_read(line: str) -> None:
    """Reading refuses whatever is not a record with its own hash."""
    with pytest.raises(Fatal):
        read(line)


def test_changed_record_is_not_read() -> None:
    """Reading refuses a record in which one character was changed."""
    line = link(GENESIS, AT, None, Event("paid", {"eur": 100}), node="h").line
    with pytest.raises(Fatal, match="changed"):
        read(line.replace("100", "900"))
