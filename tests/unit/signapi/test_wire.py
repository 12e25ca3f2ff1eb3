"""Answers are parsed strictly: what is wrong is named, and nothing but our own error comes out."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from sealdrop.errors import MalformedAnswer
from sealdrop.model import ArchiveId, ExternalId, RemoteStatus, RequestId
from sealdrop.signapi.strict_json import parse_json
from sealdrop.signapi.wire import (
    IDENTIFIER_CHARACTERS,
    TEXT_CHARACTERS,
    ServiceError,
    clean,
    parse_status,
    parse_statuses,
    service_error,
    sign_body,
)

PLACES = ("archiveId", "archives[].archiveId")
OURS, THEIRS = ExternalId("x"), RequestId("1")
GOOD = '{"signatureRequestId": "1", "externalSignatureRequestId": "x", "status": "SIGNED"}'
OTHER = '{"signatureRequestId": "2", "externalSignatureRequestId": "y", "status": "SIGNED"}'


def with_field(field: str) -> str:
    """Return a good status with one field more."""
    return f"{GOOD[:-1]}, {field}}}"


STATUS_FAULTS = [
    ("", "the answer is empty"),
    ("<html>", "the answer is not JSON (line 1, column 1)"),
    ('{"status": ', "the answer is not JSON (line 1, column 12)"),
    ("\xff", "the answer is not UTF-8"),
    ('{"status": NaN}', "the answer is not JSON that can be kept: NaN is not JSON"),
    ('{"a": 1e999}', "the answer is not JSON that can be kept: a number is out of range"),
    ('{"a": 1, "a": 2}', "the answer is not JSON that can be kept: an object has the same name twice"),
    ('{"a": "\\ud800"}', "the answer holds text that is not Unicode (half of a surrogate pair)"),
    ('{"\\udc00": 1}', "the answer holds text that is not Unicode (half of a surrogate pair)"),
    ("[" * 33 + "]" * 33, "the answer is nested more than 32 deep"),
    ("[" * 100_000 + "]" * 100_000, "the answer is nested more than 32 deep"),
    (f"[{GOOD}]", "the answer is a list where an object belongs"),
    ("null", "the answer is null where an object belongs"),
    ("true", "the answer is true or false where an object belongs"),
    ("1.5", "the answer is a number where an object belongs"),
    ('"x"', "the answer is a text where an object belongs"),
    ("{}", "the answer: signatureRequestId is missing"),
    ('{"signatureRequestId": null}', "the answer: signatureRequestId is missing"),
    ('{"signatureRequestId": ""}', "the answer: signatureRequestId is missing"),
    ('{"signatureRequestId": true}', "the answer: signatureRequestId is true or false, not an identifier"),
    ('{"signatureRequestId": 1.0}', "the answer: signatureRequestId is a number, not an identifier"),
    ('{"signatureRequestId": ["1"]}', "the answer: signatureRequestId is a list, not an identifier"),
    ('{"signatureRequestId": "2"}', "the answer is about signatureRequestId '2', not '1'"),
    ('{"signatureRequestId": 2}', "the answer is about signatureRequestId '2', not '1'"),
    ('{"signatureRequestId": "1", "status": "SIGNED"}', "the answer: externalSignatureRequestId is missing"),
    (
        '{"signatureRequestId": "1", "externalSignatureRequestId": "y"}',
        "the answer is about externalSignatureRequestId 'y', not 'x'",
    ),
    ('{"signatureRequestId": "1", "externalSignatureRequestId": "x"}', "the answer: status is missing"),
    (GOOD.replace("SIGNED", "SIGNED "), "the answer: unknown status 'SIGNED'"),
    (GOOD.replace("SIGNED", "signed"), "the answer: unknown status 'signed'"),
    (GOOD.replace('"SIGNED"', "3"), "the answer: status is a number, not a text"),
    (with_field('"reason": {}'), "the answer: reason is an object, not a text"),
    (with_field('"signedContent": 7'), "the answer: signedContent is a number, not a text"),
    (with_field('"signingDate": 1700000000'), "the answer: signingDate is a number, not a text"),
    (with_field('"signingDate": "yesterday"'), "the answer: signingDate is not a time in ISO 8601"),
    (with_field('"signingDate": "2026-01-01T10:00:00"'), "the answer: signingDate has no time zone"),
    (with_field('"signingDate": "0001-01-01T00:00:00+10:00"'), "the answer: signingDate is not a time in ISO 8601"),
    (with_field('"archiveId": {}'), "the answer, at archiveId: archiveId is an object, not an identifier"),
    (with_field('"archives": {}'), "the answer: archives is an object where a list belongs"),
    (with_field('"archives": ["a"]'), "the answer: archives holds a text where an object belongs"),
    (
        with_field('"archives": [{"archiveId": 1.5}]'),
        "the answer, at archives[].archiveId: archiveId is a number, not an identifier",
    ),
    (
        with_field('"archives": [{"archiveId": 1, "archiverName": 2}]'),
        "the answer, at archives[].archiveId: archiverName is a number, not a text",
    ),
    ('{"errorMsg": "no", "errorLabel": "E1"}', "the answer is an error where a status belongs: no (E1)"),
    ('{"errorMsg": 1}', "the answer: errorMsg is a number, not a text"),
    ('{"errorLabel": []}', "the answer: errorLabel is a list, not a text"),
]


@pytest.mark.parametrize(("answer", "message"), STATUS_FAULTS)
def test_malformed_status(answer: str, message: str) -> None:
    """Each wrong answer to a status call is refused with words that name the fault and its place."""
    with pytest.raises(MalformedAnswer) as caught:
        parse_status(parse_json(answer.encode("latin-1")), PLACES, request_id=THEIRS, external_id=OURS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (GOOD, "the answer is an object where a list belongs"),
        ('{"errorMsg": "no"}', "the answer is an object where a list belongs"),
        ("[]", "the answer has 0 entries for the 2 that were sent"),
        (f"[{GOOD}]", "the answer has 1 entries for the 2 that were sent"),
        (f"[{GOOD}, {OTHER}, {OTHER}]", "the answer has 3 entries for the 2 that were sent"),
        (f"[{GOOD}, 7]", "entry 2 of the answer is a number where an object belongs"),
        (f"[{OTHER}, {GOOD}]", "entry 1 of the answer is about signatureRequestId '2', not '1'"),
        (f"[{GOOD}, {GOOD}]", "entry 2 of the answer is about signatureRequestId '1', not '2'"),
        (f'[{GOOD}, {{"errorMsg": "no"}}]', "entry 2 of the answer is an error where a status belongs: no"),
        (f'[{GOOD}, {{"signatureRequestId": "2"}}]', "entry 2 of the answer: status is missing"),
    ],
)
def test_malformed_list(answer: str, message: str) -> None:
    """A list must have one status for each request that was sent, in the order sent."""
    with pytest.raises(MalformedAnswer) as caught:
        parse_statuses(parse_json(answer.encode()), PLACES, request_ids=[THEIRS, RequestId("2")])
    assert str(caught.value) == message


def test_list_by_our_ids() -> None:
    """After a creation the order is judged by our own identifiers."""
    assert [
        each.request_id
        for each in parse_statuses(
            parse_json(f"[{GOOD}, {OTHER}]".encode()), PLACES, external_ids=[OURS, ExternalId("y")]
        )
    ] == ["1", "2"]
    with pytest.raises(MalformedAnswer, match="entry 1 of the answer is about externalSignatureRequestId 'y'"):
        parse_statuses(parse_json(f"[{OTHER}, {GOOD}]".encode()), PLACES, external_ids=[OURS, ExternalId("y")])


@pytest.mark.parametrize("status", RemoteStatus)
def test_every_documented_status(status: RemoteStatus) -> None:
    """All twelve statuses of the reference are understood."""
    assert parse_status(parse_json(GOOD.replace("SIGNED", status).encode()), PLACES).status is status


def test_identifiers_are_kept_as_strings() -> None:
    """A number is as good as a string, beyond what a double holds, and null is as good as nothing."""
    digits = "9" * IDENTIFIER_CHARACTERS
    answer = f'{{"signatureRequestId": {digits}, "externalSignatureRequestId": null, "status": "SIGNED"}}'
    status = parse_status(parse_json(answer.encode()), PLACES)
    assert (status.request_id, status.external_id) == (digits, None)


@pytest.mark.parametrize(
    "written",
    [
        "2026-02-03T04:05:06Z",
        "2026-02-03T04:05:06.000+00:00",
        "2026-02-03T05:05:06+0100",
        "2026-02-03T05:05:06+01:00",
        "2026-02-03T05:05:06.000000000+01:00",
        "2026-02-03T05:05:06,0+01",
    ],
)
def test_signing_dates(written: str) -> None:
    """All the ways of ISO 8601 to write a zone and fractions give the same moment, in UTC."""
    status = parse_status(parse_json(with_field(f'"signingDate": "{written}"').encode()), PLACES)
    assert status.signing_date == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert status.signing_date.tzinfo is UTC


@pytest.mark.parametrize(
    ("places", "fields", "expected"),
    [
        (PLACES, '"archiveId": "a"', [("", "a")]),
        (PLACES, '"archiveId": 5', [("", "5")]),
        (PLACES, '"archiveId": null, "archives": null', []),
        (PLACES, '"archives": [{"archiverName": "n", "archiveId": "a"}, {"archiveId": "b"}]', [("n", "a"), ("", "b")]),
        (PLACES, '"archiveId": "a", "archives": [{"archiverName": "n", "archiveId": "a"}]', [("n", "a")]),
        (PLACES, '"archives": [{"archiverName": "n"}]', []),
        (
            PLACES,
            '"archives": [{"archiverName": "n", "archiveId": "a"}, {"archiverName": "m", "archiveId": "a"}]',
            [("n", "a"), ("m", "a")],
        ),
        (("deposit.ids[]",), '"deposit": {"ids": ["a", 2]}', [("", "a"), ("", "2")]),
        (("a[].b[].c",), '"a": [{"b": [{"c": 1, "archiverName": "n"}]}, {"b": []}, {}]', [("n", "1")]),
        (("nowhere",), '"archiveId": "a"', []),
    ],
)
def test_archive_identifiers(places: tuple[str, ...], fields: str, expected: list[tuple[str, str]]) -> None:
    """Identifiers are found where the configuration says, once each, with their archiver's name beside them."""
    status = parse_status(parse_json(with_field(fields).encode()), places)
    assert status.archive_ids == tuple(ArchiveId(*each) for each in expected)


def test_evidence_is_the_whole_answer_less_content() -> None:
    """Fields that we do not know are kept, content is not."""
    answer = parse_json(
        with_field('"signedContent": "JVBERi0=", "toSignContent": "x", "more": [1, {"a": null}]').encode()
    )
    status = parse_status(answer, PLACES)
    assert status.answer == {**json.loads(GOOD), "more": [1, {"a": None}]}


def test_an_error_is_known_by_its_message() -> None:
    """Only an object whose errorMsg says something is an error."""
    assert service_error({"errorMsg": "m", "errorLabel": "l"}) == ServiceError("m", "l")
    for answer in (
        {"errorMsg": None},
        {"errorMsg": ""},
        {"errorLabel": "l"},
        {},
        [{"errorMsg": "m"}],
        "errorMsg",
        None,
    ):
        assert service_error(answer) is None


def test_sign_body() -> None:
    """Identifiers go out as strings, whatever is in them."""
    assert json.loads(sign_body([RequestId("1"), RequestId('é"')])) == [
        {"signatureRequestId": "1"},
        {"signatureRequestId": 'é"'},
    ]


def test_texts_are_cut_and_cleaned() -> None:
    """What the service says ends on one printable line of bounded length, without base64, with a SHA-256 whole."""
    assert clean("a\r\n\tb\x1b[31m\u202ec") == "a b\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}c"
    assert clean("é" * 9999) == "é" * (TEXT_CHARACTERS - 3) + "..."
    assert clean("f" * 64) == "f" * 64
    assert clean("hash " + base64.encodebytes(b"x" * 400).decode() + " end") == "hash [...] end"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
field_values = json_values | st.sampled_from(["1", "x", "SIGNED", "ARCHIVED", "2026-01-01T00:00:00Z", "JVBERi0="])
status_like = st.dictionaries(
    st.sampled_from(
        [
            "signatureRequestId",
            "externalSignatureRequestId",
            "status",
            "reason",
            "signedContent",
            "signingDate",
            "archiveId",
            "archives",
            "archiverName",
            "errorMsg",
            "errorLabel",
        ]
    ),
    field_values,
)


def only_ours(parse: Callable[[], object]) -> object:
    """Return what ``parse`` gives; None if it raises our error, and any other error as it is."""
    try:
        return parse()
    except MalformedAnswer:
        return None


@given(json_values | status_like | st.lists(status_like, max_size=3))
def test_any_value_gives_a_status_or_our_error(value: JsonValue) -> None:
    """Whatever JSON comes, only our error goes out, and what is kept can be written canonically."""
    body = json.dumps(value).encode()
    answer = only_ours(lambda: (parse_json(body),))
    if answer is None:
        return
    (parsed,) = answer  # type: ignore[misc]
    only_ours(lambda: service_error(parsed))
    only_ours(lambda: parse_statuses(parsed, PLACES))
    status = only_ours(lambda: parse_status(parsed, PLACES))
    if status is not None:
        rfc8785.dumps(status.answer)  # type: ignore[attr-defined]


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_json_or_our_error(body: bytes) -> None:
    """Whatever bytes come, only our error goes out."""
    only_ours(lambda: parse_json(body))
