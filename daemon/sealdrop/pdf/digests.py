"""Digests of a file's beginnings, of which each byte is read and hashed once.

The original is the beginning of what the seal signs, and that is the beginning of what each later timestamp covers. So
a digest goes on where the one before it ended.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import BinaryIO

from sealdrop.durable import CHUNK_BYTES

_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})


class Digests:
    """The digests of one open file, which must not change meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()
        self._furthest = {name: (0, hashlib.new(name)) for name in _ALGORITHMS}

    def of_beginning(self, algorithm: str, size_bytes: int) -> "hashlib._Hash":
        """Return the digest of the first ``size_bytes`` bytes, or of all if there are fewer; it may be added to.

        Raises:
            KeyError: the algorithm is not one of SHA-2 that is in use.
            OSError: the disk failed.
        """
        begins, furthest = self._furthest[algorithm]
        begins, digest = (begins, furthest.copy()) if begins <= size_bytes else (0, hashlib.new(algorithm))
        self._add(digest, begins, size_bytes)
        self._furthest[algorithm] = size_bytes, digest.copy()
        return digest

    def of_ranges(self, algorithm: str, byte_range: Sequence[int]) -> bytes | None:
        """Return the digest of what a signature covers; None if the range or the algorithm is an unusual one.

        Raises:
            OSError: the disk failed.
        """
        if algorithm not in _ALGORITHMS or len(byte_range) != 4 or byte_range[0] != 0 or min(byte_range) < 0:
            return None
        _, before, resumes, rest = byte_range
        digest = self.of_beginning(algorithm, before)
        self._add(digest, resumes, resumes + rest)
        return digest.digest()

    def _add(self, digest: "hashlib._Hash", begins: int, ends: int) -> None:
        while begins < ends and (chunk := os.pread(self._fd, min(ends - begins, CHUNK_BYTES), begins)):
            digest.update(chunk)
            begins += len(chunk)
