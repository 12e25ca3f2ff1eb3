"""On a document's way through the daemon nothing takes memory by its size."""

import base64
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sealdrop import durable
from sealdrop.config import Seal
from sealdrop.model import ExternalId
from sealdrop.signapi.arrival import Arrival
from sealdrop.signapi.content import CreateBody, Incoming
from sealdrop.signapi.wire import NewRequest

MIB = 1 << 20
SIZE_BYTES = 48 * MIB
MOST_BYTES = 3 * MIB  # a few pieces of the length that each step reads at once


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if Python allocates more than a few pieces meanwhile."""
    tracemalloc.start(1)
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A file of 48 MiB, which is a hole but for its end."""
    path = tmp_path / "document.pdf"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES - 1)
        file.seek(SIZE_BYTES - 1)
        file.write(b"x")
    return path


def test_taking_over(document: Path, tmp_path: Path) -> None:
    """A document is copied and hashed piece by piece."""
    with little_memory(), document.open("rb") as source, (tmp_path / "copy").open("wb") as target:
        assert durable.copy_hashed(source, target)[0] == SIZE_BYTES


def test_sending(document: Path) -> None:
    """The body of a create call is made piece by piece."""
    with little_memory():
        body = CreateBody([NewRequest(ExternalId("1"), document, Seal())])
        assert sum(map(len, body)) == body.size_bytes > SIZE_BYTES * 4 // 3


@pytest.mark.parametrize("breaks", ["", "\\n", "\\r\\n"], ids=["one line", "lines", "other lines"])
def test_receiving(tmp_path: Path, breaks: str) -> None:
    """An answer is decoded and written piece by piece, however the service breaks its lines."""
    line = base64.b64encode(bytes(57)).decode() + breaks
    piece = (line * 850).encode()
    pieces = SIZE_BYTES // (57 * 850)
    with little_memory(), Incoming(tmp_path / "sealed.pdf") as incoming:
        arrival = Arrival(incoming.write)
        arrival.take(b'{"status": "SIGNED", "signedContent": "' + base64.b64encode(b"%PDF-1"))
        for _ in range(pieces):
            arrival.take(piece)
        arrival.take(b'"}')
        assert json.loads(arrival.end()) == {"status": "SIGNED", "signedContent": ""}
        assert arrival.fault is None
        assert incoming.keep()[0] == arrival.size_bytes == len(b"%PDF-1") + pieces * 57 * 850


def test_delivering(document: Path, tmp_path: Path) -> None:
    """What is delivered is copied from the spool piece by piece, and checked on its way."""
    _, sha256 = durable.hash_file(document)
    with little_memory():
        durable.publish_new(document, tmp_path / "delivered.pdf", tag="1", sha256=sha256)
    assert (tmp_path / "delivered.pdf").stat().st_size == SIZE_BYTES
