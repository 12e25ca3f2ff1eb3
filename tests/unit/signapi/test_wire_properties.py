"""What holds of every answer: content never comes out in other words, and what is well formed is understood whole."""

import base64
import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from properties import tried
from sealdrop.config import Seal
from sealdrop.errors import MalformedAnswer
from sealdrop.model import ArchiveId, ExternalId, RemoteStatus
from sealdrop.signapi import content
from sealdrop.signapi.arrival import Arrival
from sealdrop.signapi.content import CreateBody
from sealdrop.signapi.strict_json import DEPTH, parse_json
from sealdrop.signapi.wire import (
    ARCHIVES,
    EVIDENCE_CHARACTERS,
    IDENTIFIER_CHARACTERS,
    TEXT_CHARACTERS,
    NewRequest,
    RequestStatus,
    clean,
    parse_status,
    parse_statuses,
    service_error,
)

PLACES = ("archiveId", "archives[].archiveId")
MARK = b"Attendu que le solde"
# No two stretches of it are alike, so that any part that comes out is seen.
DOCUMENT = b"%PDF-1.7\n" + MARK + random.Random(1).randbytes(900) + b"\n%%EOF\n"
STRETCH = 24  # characters of a document, in whatever spelling, that must not come out


def stretches(text: str) -> Iterator[str]:
    """Every stretch of a text that would give a part of it away, from its 65th character on at the latest."""
    return (text[at : at + STRETCH] for at in range(0, len(text) - STRETCH, STRETCH // 2))


LEAKS = {
    *stretches(base64.b64encode(DOCUMENT).decode()),
    *stretches(base64.urlsafe_b64encode(DOCUMENT).decode()),
    *stretches(DOCUMENT.hex()),
    *stretches(DOCUMENT.hex().upper()),
    *stretches(DOCUMENT.decode("latin-1")),
}
NUMBERS = " ".join(map(str, DOCUMENT[40:50]))


def leaks(text: str) -> list[str]:
    """What of the document is in a text."""
    joined = "".join(text.replace("\\r", "").replace("\\n", "").replace("\\/", "/").split())
    pieces = re.sub(r"\\+u00|\\+x|0x|[^A-Za-z0-9+/_-]", "", text.replace("\\/", "/"))
    numbers = re.findall(r"[0-9]+", text)
    return [
        *(leak for leak in LEAKS if leak in text or leak in joined or leak in pieces),
        *(each for each in (numbers, numbers[::2], numbers[1::2]) if NUMBERS in " ".join(each)),
    ]


def pieces(size: int) -> list[str]:
    """The document in base64, in pieces."""
    encoded = base64.b64encode(DOCUMENT).decode()
    return [encoded[at : at + size] for at in range(0, len(encoded), size)]


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """The document as a service might spell it in a text: base64 in lines of any length, hexadecimal, or as it is."""
    kind = draw(st.sampled_from(["base64", "urlsafe", "hex", "HEX", "plain", "quoted", "pieces", "pairs", "numbers"]))
    if kind == "plain":
        return DOCUMENT.decode("latin-1")
    if kind == "pieces":
        size, separator = (
            draw(st.sampled_from([4, 8, 12, 16, 32, 60, 64])),
            draw(st.sampled_from([",", ", ", ";", '","'])),
        )
        return separator.join(pieces(size))
    if kind == "pairs":
        before, between = draw(
            st.sampled_from([("", " "), ("", ":"), ("", ", "), ("%", ""), ("\\u00", ""), ("\\x", ""), ("0x", ", ")])
        )
        return between.join(f"{before}{byte:02x}" for byte in DOCUMENT)
    if kind == "numbers":
        return draw(
            st.sampled_from([str(list(DOCUMENT)), " ".join(map(str, DOCUMENT)), "37;" + ";".join(map(str, DOCUMENT))])
        )
    spelled = {
        "base64": base64.b64encode(DOCUMENT).decode(),
        "urlsafe": base64.urlsafe_b64encode(DOCUMENT).decode(),
        "hex": DOCUMENT.hex(),
        "HEX": DOCUMENT.hex().upper(),
        "quoted": base64.b64encode(DOCUMENT).decode(),
    }[kind]
    if kind == "urlsafe":
        return spelled
    width = draw(st.sampled_from([20, 57, 60, 64, 65, 72, 76, 100, len(spelled)]) | st.integers(20, 200))
    separator = draw(st.sampled_from(["\n", "\r\n", " ", "\\n", "\\r\\n", "\n\t"]))
    lines = separator.join(spelled[at : at + width] for at in range(0, len(spelled), width))
    return lines.replace("/", "\\/") if kind == "quoted" else lines


words = st.text(st.characters(codec="utf-8"), max_size=12)
said = st.builds("{}: {} {}".format, words, spellings(), words)


IN_PIECES: list[JsonValue] = [
    list(DOCUMENT),
    [list(DOCUMENT[at : at + 48]) for at in range(0, len(DOCUMENT), 48)],
    [{"byte": byte} for byte in DOCUMENT],
    {str(at): byte for at, byte in enumerate(DOCUMENT)},
    [str(byte) for byte in DOCUMENT],
    [f"{byte:02x}" for byte in DOCUMENT],
    *([*pieces(size)] for size in (4, 12, 32, 60, 64)),
    [{"line": piece, "next": None} for piece in pieces(64)],
    dict.fromkeys(pieces(60)),
    {str(at): piece for at, piece in enumerate(pieces(64))},
    [[piece, "."] for piece in pieces(20)],
]


@st.composite
def wrapped(draw: st.DrawFn) -> JsonValue:
    """A value that holds the document somewhere: in a text, in its bytes as numbers, below other names."""
    value: JsonValue = draw(said | st.sampled_from(IN_PIECES))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(words | st.sampled_from(["signedContent", "toSignContent", "document"]))
        value = draw(st.sampled_from([[value], [1, value], {name: value}, {"a": None, name: value}]))
    return value


@tried(150)
@given(
    st.dictionaries(
        st.sampled_from(["reason", "signedContent", "toSignContent", "signingDate", "archiveId", "archives", "more"])
        | st.sampled_from(["errorMsg", "errorLabel", "status", "signatureRequestId", "externalSignatureRequestId"])
        | said,
        wrapped(),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_no_content_comes_out_of_an_answer(fields: dict[str, JsonValue], asked: bool) -> None:
    """Wherever a service puts a document, neither our error nor anything that is kept has a stretch of it."""
    good = {"signatureRequestId": "1", "externalSignatureRequestId": "x", "status": "SIGNED"}
    answer = parse_json(json.dumps({**good, **fields}).encode())
    ours = ExternalId("x") if asked else None
    for parse in (
        lambda: parse_status(answer, PLACES, external_id=ours),
        lambda: parse_statuses([answer], PLACES, external_ids=None if ours is None else [ours])[0],
        lambda: service_error(answer),
    ):
        kept: object
        try:
            kept = parse()
        except MalformedAnswer as fault:
            kept = str(fault)[: 3 * TEXT_CHARACTERS + 1]
        assert leaks(str(kept)) == []
        assert not isinstance(kept, str) or len(kept) < 3 * TEXT_CHARACTERS
        if isinstance(kept, RequestStatus):
            assert leaks(json.dumps(kept.answer, ensure_ascii=False)) == []


@tried(200)
@given(said)
def test_words_are_kept_and_content_is_not(text: str) -> None:
    """A text of the service's loses the document and nothing that stands before it."""
    assert leaks(clean(text)) == []
    assert len(clean(text)) <= TEXT_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "unknown request 20261123-00112233aabbccdd-1",
        "externalSignatureRequestId 6ba7b810-9dad-11d1-80b4-00c04fd430c8 signatureRequestId 12345678901234567890",
        "sha256 " + "ab" * 32 + " is not " + "cd" * 32,
        "sha512 " + hashlib.sha512(b"a").hexdigest() + " sha384 " + hashlib.sha384(b"a").hexdigest(),
        "sha1 " + hashlib.sha1(b"a").hexdigest() + " " + hashlib.sha1(b"b").hexdigest(),  # noqa: S324
        "see https://signapi.example/centralized/operations/signature/request/status/documentation/errors",
        "no /var/lib/signapi/centralized/operations/signature/requests/of/2026/november/documents",
        "it is the 1st of 20 files, and of 37 pages 12 are in, 4 out: 2026-11-24 10:55:00, ab:cd:ef:01:23:45",
        "signatureOptions characteristically incomprehensible internationalization misunderstandings",
    ],
)
def test_words_that_are_no_content_stay(text: str) -> None:
    """Identifiers, digests and long words are what a message is for."""
    assert clean(text) == text


def test_what_was_understood_stays_in_the_evidence() -> None:
    """Identifiers that are long, alike and many are no content: they stand beside the evidence, too."""
    names = [hashlib.sha512(bytes([number])).hexdigest() + "-" * number for number in range(20)]
    answer: dict[str, JsonValue] = {
        "signatureRequestId": "9" * 100,
        "status": "SIGNED",
        "archives": [{"archiveId": name, "archiverName": "archiver"} for name in names],
        "copy": {"ids": [*names], "sha512": hashlib.sha512(b"a").hexdigest()},
    }
    read = parse_status(answer, PLACES)
    assert [each.identifier for each in read.archive_ids] == names
    assert read.answer == answer


def test_what_is_in_pieces_is_cut_where_it_stands() -> None:
    """Beside it all stays: only an answer that is itself the pieces loses all but its identifiers."""
    good: dict[str, JsonValue] = {"signatureRequestId": "1", "status": "SIGNED", "more": "words"}
    for value in IN_PIECES:
        assert parse_status({**good, "document": value}, PLACES).answer == {**good, "document": "[...]"}
    fields: dict[str, JsonValue] = {f"line {at}": piece for at, piece in enumerate(pieces(64))}
    assert parse_status({**good, **fields}, PLACES).answer == {"signatureRequestId": "1", "[...]": "[...]"}


identifiers = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.integers(-(10**15), 10**15)


@tried(150)
@given(
    identifiers,
    st.none() | identifiers,
    st.sampled_from(RemoteStatus),
    st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001
    st.lists(st.tuples(words, identifiers), max_size=3, unique_by=lambda each: str(each[1])),
    words,
)
def test_a_well_formed_status_is_understood_whole(
    request_id: str | int,
    external_id: str | int | None,
    status: RemoteStatus,
    signed_at: datetime | None,
    archives: list[tuple[str, str | int]],
    more: str,
) -> None:
    """Identifiers as texts or numbers, dates and deposits come out as they went in, and so does the evidence."""
    answer = {
        "signatureRequestId": request_id,
        "externalSignatureRequestId": external_id,
        "status": status,
        "signingDate": signed_at and signed_at.isoformat(),
        "archives": [{"archiverName": name, "archiveId": identifier} for name, identifier in archives],
        "more": more,
    }
    read = parse_status(parse_json(json.dumps(answer).encode()), PLACES)
    assert read.request_id == str(request_id)
    assert read.external_id == (None if external_id in (None, "") else str(external_id))
    assert (read.status, read.signing_date) == (status, signed_at)
    assert read.archive_ids == tuple(ArchiveId(name, str(identifier)) for name, identifier in archives)
    assert read.answer == answer
    rfc8785.dumps(read.answer)


steps = st.lists(st.sampled_from(["a", "b", "a[]", "b[]"]), min_size=1, max_size=4).map(".".join)
shapes = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just(1.5) | st.sampled_from(["", "x", "y"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "archiverName"]), inner, max_size=3)
    ),
    max_leaves=15,
)


@tried(300)
@given(st.lists(steps, max_size=3), st.dictionaries(st.sampled_from(["a", "b"]), shapes, max_size=2))
def test_any_place_of_an_archive_in_any_answer(places: list[str], fields: dict[str, JsonValue]) -> None:
    """Whatever the configuration and the answer, identifiers come out once each, or our error does."""
    good: dict[str, JsonValue] = {"signatureRequestId": "1", "status": "SIGNED"}
    try:
        found = parse_status({**good, **fields}, places).archive_ids
    except MalformedAnswer:
        return
    assert len(set(found)) == len(found)
    assert all(each.identifier for each in found)


def test_identifiers_deposits_and_evidence_are_bounded() -> None:
    """What is too long to be an identifier is refused; an answer of any size leaves evidence of a known one."""
    good: dict[str, JsonValue] = {"signatureRequestId": "1", "status": "SIGNED"}
    long = "9" * (IDENTIFIER_CHARACTERS + 1)
    for fields in ({"signatureRequestId": long}, {"archiveId": long}):
        with pytest.raises(MalformedAnswer, match="too many for an identifier"):
            parse_status({**good, **fields}, PLACES)
    with pytest.raises(MalformedAnswer, match="archiverName has 257 characters"):
        parse_status({**good, "archives": [{"archiveId": "a", "archiverName": long}]}, PLACES)
    many: JsonValue = [{"archiveId": number} for number in range(ARCHIVES + 1)]
    with pytest.raises(MalformedAnswer, match="names 101 deposits"):
        parse_status({**good, "archives": many}, PLACES)
    large: dict[str, JsonValue] = {f"field {number}": "word " * 500 for number in range(1_000)}
    answer = parse_status({**good, **large}, PLACES).answer
    assert isinstance(answer, dict)
    assert len(json.dumps(answer)) < EVIDENCE_CHARACTERS + 100
    assert answer["[...]"] == "[...]"
    assert answer["field 1"] == large["field 1"]


class TestStrictJson:
    """JSON that two readers could read differently, or that could not be written down again, is refused."""

    @tried(100)
    @given(st.lists(st.text(max_size=2), min_size=1, max_size=5))
    def test_repeated_names(self, names: list[str]) -> None:
        """An object is read if its names differ, and only then, however deep it stands."""
        text = ", ".join(f"{json.dumps(name)}: {number}" for number, name in enumerate(names))
        body = f'[{{"deep": {{{text}}}}}]'.encode()
        if len(set(names)) == len(names):
            assert parse_json(body) == [{"deep": {name: number for number, name in enumerate(names)}}]
        else:
            with pytest.raises(MalformedAnswer, match="the same name twice"):
                parse_json(body)

    @tried(50)
    @given(st.integers(0, 2 * DEPTH), st.sampled_from(["[]", '{"a":}']))
    def test_depth(self, depth: int, form: str) -> None:
        """What is nested deeper than an answer can be is refused, and nothing less."""
        body = form[:-1] * depth + "1" + form[-1] * depth
        if depth < DEPTH:
            parse_json(body.encode())
        else:
            with pytest.raises(MalformedAnswer, match="nested more than"):
                parse_json(body.encode())

    @tried(200)
    @given(
        st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
        | st.sampled_from(["NaN", "Infinity", "-Infinity", "1e309", "-1e309", "9007199254740993"])
    )
    def test_numbers(self, number: str) -> None:
        """A number is kept as what can be written again, digits of great ones as text, or it is refused."""
        try:
            value = parse_json(f"[{number}]".encode())
        except MalformedAnswer:
            assert number.startswith(("NaN", "-I", "I")) or math.isinf(float(number))
            return
        rfc8785.dumps(value)
        (read,) = value  # type: ignore[misc]
        assert read == (number if isinstance(read, str) else json.loads(number))

    @tried(100)
    @given(st.lists(st.sampled_from(["a", "\\ud83d", "\\ude00", "\\u00e9", "é", "\\u0000"]), max_size=6))
    def test_surrogates(self, parts: list[str]) -> None:
        """Text is read if it is Unicode, its pairs whole, in names as in values."""
        text = "".join(parts)
        whole = "\\ud83d" not in text.replace("\\ud83d\\ude00", "") and "\\ude00" not in text.replace(
            "\\ud83d\\ude00", ""
        )
        for body in (f'["{text}"]', f'{{"{text}": 1}}'):
            if whole:
                rfc8785.dumps(parse_json(body.encode()))
            else:
                with pytest.raises(MalformedAnswer, match="not Unicode"):
                    parse_json(body.encode())


Corruption = Callable[[str, st.DataObject], str]


def put_in(encoded: str, data: st.DataObject) -> str:
    """Put a character in that is none of base64's."""
    at = data.draw(st.integers(0, len(encoded)))
    return encoded[:at] + data.draw(st.sampled_from(list(" \t\0-_.,;*%\\\"'é\u2028"))) + encoded[at:]


def replace_one(encoded: str, data: st.DataObject) -> str:
    """Put a character that is none of base64's in another's place."""
    at = data.draw(st.integers(0, len(encoded) - 1))
    return encoded[:at] + data.draw(st.sampled_from(list("\t\0-_.,;*é"))) + encoded[at + 1 :]


def take_out(encoded: str, data: st.DataObject) -> str:
    """Lose some characters, not a multiple of four."""
    size = data.draw(st.sampled_from([1, 2, 3, 5, 6, 7]))
    at = data.draw(st.integers(0, len(encoded) - size))
    return encoded[:at] + encoded[at + size :]


def pad_inside(encoded: str, data: st.DataObject) -> str:
    """End it early: what follows the padding must not be passed over."""
    at = data.draw(st.integers(1, (len(encoded) - 8) // 4)) * 4
    return encoded[: at - 1] + "=" + encoded[at:]


@pytest.mark.parametrize("corrupt", [put_in, replace_one, take_out, pad_inside])
@tried(40)
@given(st.binary(min_size=10, max_size=60), st.data())
def test_broken_base64_gives_nothing(corrupt: Corruption, tail: bytes, data: st.DataObject) -> None:
    """Base64 that was damaged on its way is refused, not repaired, and the message holds nothing of it."""
    encoded = corrupt(base64.b64encode(b"%PDF-1.7 " + tail).decode(), data)
    arrival = Arrival(lambda _: None)
    arrival.take(json.dumps({"signedContent": encoded}).encode())
    arrival.end()
    assert arrival.fault in ("signedContent is not base64", "signedContent holds no PDF")


@tried(60)
@given(documents=st.lists(st.binary(max_size=40), min_size=1, max_size=4), piece=st.sampled_from([3, 6, 9, 12]))
def test_a_body_carries_its_documents_and_no_names(
    documents: list[bytes], piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A create call is JSON of the announced length; each document is in it byte by byte, its file's name nowhere."""
    folder = tmp_path_factory.mktemp("Geheimakte")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_PIECE_BYTES", piece)
        new = []
        for number, document in enumerate(documents):
            path = folder / f"Kündigung Müller {number}.pdf"
            path.write_bytes(document)
            new.append(NewRequest(ExternalId(f"x-{number}"), path, Seal()))
        body = CreateBody(new)
        whole = b"".join(body)
    assert len(whole) == body.size_bytes
    assert [base64.b64decode(each["toSignContent"], validate=True) for each in json.loads(whole)] == documents
    assert not any(name in whole.decode() for name in ("ller", "Geheimakte", str(Path(folder).name)))
