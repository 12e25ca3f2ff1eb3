"""Unit tests of answers as they arrive: content is decoded, whatever the pieces, and the rest stays as it was."""

import base64
import binascii
import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from sealdrop.signapi.arrival import Arrival, _decoded

ODD_DIGITS = ["AAAA", "/9+z", "AA==", "A===", "AA-A", "AA_A", "AA\\/A", "AA\\n", "\\u0041", 'A"AA', "AAA\xe9"]
PDF = b"%PDF-1.7 some content\xff\xfb\xff"

json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("signedContent"), inner),
    max_leaves=12,
)


def arrive(body: bytes, cuts: Iterable[int] = ()) -> tuple[JsonValue, bytes, str | None]:
    """Have ``body`` arrive in pieces that end at ``cuts``; return the rest's value, the content and its fault."""
    content = bytearray()
    arrival = Arrival(content.extend)
    for start, end in pairwise([0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]):
        arrival.take(body[start:end])
    value: JsonValue = json.loads(arrival.end())
    assert arrival.size_bytes == len(content)
    return value, bytes(content), arrival.fault


@given(
    tail=st.binary(max_size=60),
    others=st.dictionaries(st.text(max_size=8).filter(lambda name: name != "signedContent"), json_values, max_size=3),
    data=st.data(),
)
def test_content_arrives_whatever_the_pieces(tail: bytes, others: dict[str, JsonValue], data: st.DataObject) -> None:
    """Line breaks anywhere, any spelling that JSON allows, pieces of any length: the same content, the same rest."""
    content = b"%PDF-" + tail
    text = base64.b64encode(content).decode()
    for place in sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)), reverse=True):
        text = text[:place] + data.draw(st.sampled_from(["\n", "\r\n"])) + text[place:]
    spelling = st.sampled_from([lambda char: json.dumps(char)[1:-1], lambda char: f"\\u{ord(char):04x}"])
    spelt = "".join(data.draw(spelling)(char) for char in text).replace("/", data.draw(st.sampled_from(["/", "\\/"])))
    name = "".join(data.draw(spelling)(char) for char in "signedContent")
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in others.items()]
    fields.insert(data.draw(st.integers(0, len(fields))), f'"{name}" : "{spelt}"')
    body = ("{" + ", ".join(fields) + "}").encode()
    cuts = data.draw(st.sets(st.integers(0, len(body)), max_size=12))
    value, arrived, fault = arrive(body, cuts)
    assert (arrived, fault) == (content, None)
    assert value == {**others, "signedContent": ""}


@given(value=json_values, cuts=st.sets(st.integers(0, 400), max_size=8), indent=st.sampled_from([None, 1]))
def test_the_rest_is_as_it_was(value: JsonValue, cuts: set[int], indent: int | None) -> None:
    """Any JSON comes through but for the texts of that name in the answer's object, or in the objects of its list."""
    rest, _, _ = arrive(json.dumps(value, indent=indent).encode(), cuts)
    assert rest == emptied(value)


def emptied(value: JsonValue) -> JsonValue:
    """Return what is left of an answer that has arrived."""
    if isinstance(value, list):
        return [emptied(entry) if isinstance(entry, dict) else entry for entry in value]
    if isinstance(value, dict) and isinstance(value.get("signedContent"), str):
        return {**value, "signedContent": ""}
    return value


def test_every_cut() -> None:
    """An answer with every kind of escape, cut in two at every byte, and sent byte by byte."""
    text = base64.b64encode(PDF).decode().replace("/", "\\/").replace("+", "\\u002B")
    body = f'{{"reason": "a \\"quoted\\" \\\\", "signedContent": "\\r\\n{text}\\u000a", "status": "SIGNED"}}'.encode()
    expected = ({"reason": 'a "quoted" \\', "signedContent": "", "status": "SIGNED"}, PDF, None)
    for cut in range(len(body)):
        assert arrive(body, [cut]) == expected
    assert arrive(body, range(len(body))) == expected


@pytest.mark.parametrize(
    ("encoded", "fault"),
    [
        ("JVBERi0", "signedContent is not base64"),
        ("JVBERi0=JVBERi0=", "signedContent is not base64"),
        ("JVBE Ri0=", "signedContent is not base64"),
        ("JVBERi0\u00e9", "signedContent is not base64"),
        ("JVBERi0\\\\", "signedContent is not base64"),
        ("JVBERi\\\\/0", "signedContent is not base64"),
        ('JVBE"Ri0=', "signedContent is not base64"),
        ("_-__", "signedContent is not base64"),
        ("====", "signedContent is not base64"),
        ("PGh0bWw+", "signedContent holds no PDF"),
        ("ICVQREYt", "signedContent holds no PDF"),
        ("JVBE", "signedContent holds no PDF"),
        ("\n", "signedContent holds no PDF"),
    ],
)
def test_malformed_content(encoded: str, fault: str) -> None:
    """Bad base64, and content that does not begin as a PDF, are named, however they come."""
    body = json.dumps({"signedContent": encoded}).encode()
    for cuts in ([], range(len(body))):
        assert arrive(body, cuts)[2] == fault


@given(
    digits=st.binary(min_size=1).map(base64.b64encode)
    | st.lists(st.sampled_from(ODD_DIGITS)).map(lambda each: "".join(["AAAA", *each]).encode())
)
def test_digits_mean_what_base64_says(digits: bytes) -> None:
    """The fast reader of base64 takes nothing that the strict one refuses, and reads the same."""
    try:
        expected = binascii.a2b_base64(digits, strict_mode=True)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            _decoded(digits)
    else:
        assert _decoded(digits) == expected


@pytest.mark.parametrize(
    "answer", [{}, {"signedContent": None}, {"signedContent": ""}, [], None, [{"signedContent": "!"}]]
)
def test_no_content_is_no_fault(answer: JsonValue) -> None:
    """An answer without content, and a list, whose content is nobody's, have none."""
    assert arrive(json.dumps(answer).encode())[1:] == (b"", None)


def test_content_that_nobody_wants_is_passed_over() -> None:
    """Without a sink nothing is decoded or judged, and nothing is kept."""
    arrival = Arrival(None)
    arrival.take(json.dumps({"signedContent": "!" * 1000}).encode())
    assert (json.loads(arrival.end()), arrival.size_bytes, arrival.fault) == ({"signedContent": ""}, 0, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"signedContent": "JVBE',
        b'{"signedContent": "JVBE\\',
        b'{"signedContent": "\\u00',
        b'{"reason": "\\uZZZZ and more"}',
    ],
)
def test_what_is_no_json_stays_none(body: bytes) -> None:
    """A text that never ends, or an escape that there is not, is left for the reader of the rest to refuse."""
    with pytest.raises(json.JSONDecodeError):
        arrive(body)


def test_two_contents_are_left_to_be_refused() -> None:
    """A field that stands there twice stands twice in the rest."""
    arrival = Arrival(lambda _: None)
    arrival.take(b'{"signedContent": "JVBERi0=", "signedContent": "JVBERi0="}')
    assert arrival.end() == b'{"signedContent": "", "signedContent": ""}'
