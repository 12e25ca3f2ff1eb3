"""Documents in and out of messages."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealdrop.config import Seal
from sealdrop.model import ExternalId
from sealdrop.signapi import content
from sealdrop.signapi.content import CreateBody, Incoming
from sealdrop.signapi.wire import NewRequest


@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_a_body_is_as_long_as_it_says(sizes: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """For documents of any lengths the body is JSON, of the length announced, each time it is read."""
    folder = tmp_path_factory.mktemp("spool")
    documents = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_PIECE_BYTES", 6)  # so that a document takes several pieces
        for number, size in enumerate(sizes):
            path = folder / str(number)
            path.write_bytes(b"x" * size)
            documents.append(NewRequest(ExternalId(str(number)), path, Seal(keywords=("é\ud800",))))
        body = CreateBody(documents)
        for _ in range(2):
            whole = b"".join(body)
            assert len(whole) == body.size_bytes
            assert [len(base64.b64decode(each["toSignContent"])) for each in json.loads(whole)] == sizes


def test_a_body_is_made_in_small_pieces(tmp_path: Path) -> None:
    """No piece grows with the document."""
    path = tmp_path / "large.pdf"
    path.write_bytes(b"x" * 5_000_000)
    assert max(map(len, CreateBody([NewRequest(ExternalId("1"), path, Seal())]))) < 300_000


def test_a_document_that_grows_is_cut(tmp_path: Path) -> None:
    """What is appended after the length was announced is not sent."""
    path = tmp_path / "growing.pdf"
    path.write_bytes(b"12345")
    body = CreateBody([NewRequest(ExternalId("1"), path, Seal())])
    path.write_bytes(b"123456789")
    assert json.loads(b"".join(body))[0]["toSignContent"] == base64.b64encode(b"12345").decode()


def test_what_arrives_is_kept_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds all pieces once it is kept, whatever was gathered of them, readable to us alone."""
    path = tmp_path / "sealed.pdf"
    monkeypatch.setattr(content, "_GATHERED_BYTES", 3)
    with Incoming(path) as incoming:
        for piece in (b"wh", b"at c", b"am", b"e"):
            incoming.write(piece)
        assert incoming.keep() == (9, hashlib.sha256(b"what came").hexdigest())
    assert path.read_bytes() == b"what came"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    """A file of the name that is to be made is left as it is, and the answer is not kept."""
    path = tmp_path / "sealed.pdf"
    path.write_bytes(b"before")
    with Incoming(path) as incoming:
        incoming.write(b"after")
        with pytest.raises(FileExistsError):
            incoming.keep()
    assert path.read_bytes() == b"before"


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    """An answer that turns out to be malformed leaves no file behind."""
    with Incoming(tmp_path / "sealed.pdf") as incoming:
        incoming.write(b"half")
    assert list(tmp_path.iterdir()) == []
