"""Digests that go on where others ended are those of the bytes."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealdrop.pdf.digests import Digests

CONTENT = bytes(range(200))
SIZES = st.integers(0, 250)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 200 bytes."""
    path = tmp_path_factory.mktemp("digests") / "file"
    path.write_bytes(CONTENT)
    return path


@given(st.lists(st.tuples(st.sampled_from(["sha256", "sha384", "sha512"]), SIZES, SIZES, SIZES), max_size=6))
def test_each_digest_is_that_of_its_bytes(path: Path, asked: list[tuple[str, int, int, int]]) -> None:
    """In whatever order digests are asked for, and however far their ranges go, each is that of the bytes covered."""
    with path.open("rb") as file:
        digests = Digests(file)
        for algorithm, before, resumes, rest in asked:
            beginning = hashlib.new(algorithm, CONTENT[:before])
            assert digests.of_beginning(algorithm, before).digest() == beginning.digest()
            beginning.update(CONTENT[resumes : resumes + rest])
            assert digests.of_ranges(algorithm, (0, before, resumes, rest)) == beginning.digest()


@pytest.mark.parametrize("byte_range", [(), (0, 1), (1, 1, 3, 1), (0, -1, 3, 1), (0, 1, 3, -1), (0, 1, 3, 1, 5, 1)])
def test_unusual_ranges_are_left_to_pyhanko(path: Path, byte_range: tuple[int, ...]) -> None:
    """What is not two ranges, the first from the beginning on, has no digest here."""
    with path.open("rb") as file:
        assert Digests(file).of_ranges("sha256", byte_range) is None
        assert Digests(file).of_ranges("sha1", (0, 1, 3, 1)) is None


def test_each_byte_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original, the seal and a timestamp after it: the second and the third go on where the one before ended."""
    places = []
    read = os.pread

    def pread(fd: int, size_bytes: int, place: int) -> bytes:
        places.append((place, size_bytes))
        return read(fd, size_bytes, place)

    monkeypatch.setattr(os, "pread", pread)
    with path.open("rb") as file:
        digests = Digests(file)
        digests.of_beginning("sha256", 100)
        digests.of_ranges("sha256", (0, 120, 130, 10))
        digests.of_ranges("sha256", (0, 160, 170, 30))
    assert places == [(0, 100), (100, 20), (130, 10), (120, 40), (170, 30)]
