"""Reading what a sender writes: sidecars and checksum files, well-formed or not."""

import json
import unicodedata
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealdrop.model import CompanionFault, Sha256, Wishes
from sealdrop.pipeline.checksum import CHECKSUM_MAX_BYTES, read_checksum
from sealdrop.pipeline.sidecar import SIDECAR_MAX_BYTES, read_sidecar, sidecar_schema

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "sidecar.schema.json"
DIGEST = "0123456789abcdefABCDEF" + "7" * 42
TEXTS = st.text(max_size=110)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.one_of(st.just(1), st.integers(), st.booleans()),
        "reference": st.one_of(TEXTS, st.none(), st.integers()),
        "keywords": st.one_of(st.lists(TEXTS, max_size=34), st.none(), TEXTS),
        "archivers": st.one_of(st.lists(TEXTS, max_size=9), st.none()),
        "seal_text": st.lists(st.one_of(TEXTS, st.integers()), max_size=5),
        "other": st.none(),
    },
)


def _texts(wishes: Wishes) -> list[str]:
    reference = [] if wishes.reference is None else [wishes.reference]
    return [*reference, *wishes.keywords, *(wishes.archivers or ()), *wishes.seal_text]


def test_the_schema_in_docs_is_up_to_date() -> None:
    """docs/schemas holds what the program reads by."""
    assert SCHEMA.read_text() == sidecar_schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(sidecar_schema()))


def test_what_is_asked_for_is_read() -> None:
    """Each member is taken as it is; what is said twice counts once; a byte order mark says nothing."""
    asked = {"version": 1, "reference": "Réf. 7", "keywords": ["a", "b", "a"], "archivers": ["x"], "seal_text": ["l"]}
    wishes = read_sidecar(b"\xef\xbb\xbf" + json.dumps(asked).encode())
    assert isinstance(wishes, Wishes)
    assert (wishes.reference, wishes.keywords, wishes.archivers, wishes.seal_text) == (
        "Réf. 7",
        ("a", "b"),
        ("x",),
        ("l",),
    )


@given(st.one_of(st.binary(max_size=200), MEMBERS.map(lambda members: json.dumps(members).encode())))
@example(b"[" * 100_000)
@example(b'{"reference": "\\ud800"}')
@example(b'{"keywords": ' + b"9" * 5_000 + b"}")
def test_any_bytes_give_wishes_or_a_fault(content: bytes) -> None:
    """Nothing that anybody can write raises; what is granted is short, visible text, and never the fault's words."""
    said = read_sidecar(content)
    if isinstance(said, Wishes):
        for text in _texts(said):
            assert 1 <= len(text) <= 100
            assert not text[0].isspace()
            assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    else:
        assert said.detail.isprintable()
        assert len(said.detail) < 200


@given(MEMBERS)
def test_the_schema_and_the_program_agree(members: dict[str, object]) -> None:
    """What the published schema allows is read, and nothing else."""
    said = read_sidecar(json.dumps(members).encode())
    allowed = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(members)
    assert isinstance(said, Wishes) is allowed


@pytest.mark.parametrize(
    ("content", "words", "may_be_unfinished"),
    [
        (b"", "it is empty", True),
        (b'{"reference": "a', "it is not JSON (line 1", True),
        (b"\xff\xfe{\x00}\x00", "it is not UTF-8", True),
        (b'{"reference": "a", "reference": "b"}', "the same name twice", True),
        (b'{"a": ' * 50 + b"1" + b"}" * 50, "nested", True),
        (b"[]", "no object", False),
        (
            b'{"Secret\\u0007 word that is long, and goes on and on and on": 1}',
            'no member of the name "Secret? word',
            False,
        ),
        (b'{"version": 2}', "version: must be 1", False),
        (b'{"keywords": ["a", "secret", 3]}', "keywords, entry 3: must be a text", False),
        (b'{"keywords": "secret"}', "keywords: must be a list", False),
        (b'{"keywords": [""]}', "keywords, entry 1: is empty", False),
        (b'{"archivers": []}', "archivers: is an empty list", False),
        (json.dumps({"keywords": ["secret"] * 33}).encode(), "keywords: has more than 32 entries", False),
        (json.dumps({"reference": "x" * 101}).encode(), "reference: has more than 100 characters", False),
        (json.dumps({"seal_text": ["secret\u202e"]}).encode(), "seal_text, entry 1: begins with a space, or", False),
        (json.dumps({"reference": " secret"}).encode(), "reference: begins with a space, or", False),
        (b" " * (SIDECAR_MAX_BYTES + 1), "larger than 65,536 bytes", False),
    ],
)
def test_what_is_wrong_is_said_by_its_place(content: bytes, words: str, may_be_unfinished: bool) -> None:
    """Each fault names where and what, quotes no value, and says whether somebody may still be writing the file."""
    said = read_sidecar(content)
    assert isinstance(said, CompanionFault)
    assert words in said.detail
    assert "secret" not in said.detail
    assert said.may_be_unfinished is may_be_unfinished


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "{}\n",
        "{}\r\n",
        "{}  file.pdf\n",
        "{} *file.pdf\r\n",
        "\\{}  with\\nnewline.pdf\n",
        "\ufeff{}  é.pdf\n\n",
        "{}  two  spaces *.pdf",
    ],
)
def test_checksum_lines(line: str) -> None:
    """What sha256sum writes, for text, binary and escaped names, from any system, and the bare digest."""
    assert read_checksum(line.format(DIGEST).encode()) == DIGEST.lower()
    assert read_checksum(line.format(DIGEST).encode("latin-1", "replace").replace(b"?", b"", 1)) == DIGEST.lower()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (DIGEST[:-1].encode(), "not one line"),
        (DIGEST.encode() + b"0", "not one line"),
        (f"{DIGEST}  a.pdf\n{DIGEST}  b.pdf\n".encode(), "not one line"),
        (f"{DIGEST} a.pdf\n".encode(), "not one line"),
        (f"SHA256 (a.pdf) = {DIGEST}\n".encode(), "not one line"),
        (DIGEST.encode("utf-16"), "not one line"),
        (DIGEST.encode() + b"  " + b"x" * CHECKSUM_MAX_BYTES, "larger than 8,192 bytes"),
    ],
)
def test_what_is_no_checksum_line(content: bytes, words: str) -> None:
    """Anything else is said to be none."""
    said = read_checksum(content)
    assert isinstance(said, CompanionFault)
    assert words in said.detail


@given(st.binary(max_size=200))
@example(DIGEST.encode() + b"  x\x00")
def test_any_bytes_give_a_digest_or_a_fault(content: bytes) -> None:
    """Nothing raises, and a digest is one that stands at the beginning of the file."""
    said = read_checksum(content)
    if not isinstance(said, CompanionFault):
        assert said in content.decode("latin-1").lower()
        assert said == Sha256(said.lower())
        assert len(said) == 64
