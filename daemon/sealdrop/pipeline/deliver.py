"""Publishing: the sealed PDF and its receipt, or the original and its reason.

The PDF first, the receipt last: the receipt is the sign that a document is complete. Nothing is ever overwritten: a
name that is taken by something else gets the document's short ID. If we crash anywhere here, the same call is made
again, finds by its content what it had already written, and goes on from there. So a crash between the receipt and
the ledger's row can at worst publish the same sealed PDF a second time, if somebody took both files away in between.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sealdrop.durable import hash_file, make_subfolder, publish_new
from sealdrop.errors import Retryable
from sealdrop.model import Document, SealLevel
from sealdrop.receipt import (
    REASON_SUFFIX,
    REASON_TEXT_SUFFIX,
    RECEIPT_SUFFIX,
    reason_for,
    receipt_for,
    to_bytes,
)
from sealdrop.wording import reason_text

NAME_MAX_BYTES = 255  # of a file name, on the file systems that matter (limits.h, NAME_MAX)
SEALED_SUFFIX = ".sealed.pdf"


@dataclass(frozen=True, slots=True)
class Piece:
    """A file to publish: what is added to the document's name, and the content, or the file that holds it."""

    suffix: str
    content: Path | bytes


def deliver(document: Document, sealed: Path, outbound: Path, level_asked: SealLevel) -> str:
    """Publish the verified PDF ``sealed`` and its receipt; return the name below ``outbound`` that it was given.

    Raises:
        Retryable: every name that could be given is taken.
        OSError: the folder cannot be written to; what stands there is at most the PDF without its receipt.
    """

    def pieces(name: str) -> Sequence[Piece]:
        receipt = to_bytes(receipt_for(document, name, level_asked))
        return Piece("", sealed), Piece(RECEIPT_SUFFIX, receipt)

    return _publish(document, outbound, RECEIPT_SUFFIX, pieces)


def give_back(document: Document, original: Path, sealed: Path, target: Path) -> str:
    """Publish the original with the reason why it was not sealed, or not handed out; return the name it was given.

    What the service returned, if anything, stands beside it: it may have been billed, and somebody must judge it.

    Raises:
        Retryable: every name that could be given is taken.
        OSError: the folder cannot be written to; the original is still in the spool.
    """
    has_sealed = sealed.exists()

    def pieces(name: str) -> Sequence[Piece]:
        sealed_name = f"{name}{SEALED_SUFFIX}" if has_sealed else None
        return (
            Piece("", original),
            *([Piece(SEALED_SUFFIX, sealed)] if has_sealed else []),
            Piece(REASON_TEXT_SUFFIX, reason_text(document, sealed_name and PurePosixPath(sealed_name).name).encode()),
            Piece(REASON_SUFFIX, to_bytes(reason_for(document, sealed_name))),
        )

    return _publish(document, target, REASON_SUFFIX, pieces)


def _publish(document: Document, root: Path, longest: str, pieces_for: Callable[[str], Sequence[Piece]]) -> str:
    for name in names_for(document, longest):
        pieces = pieces_for(name)
        final = root / name
        states = [_compare(_companion(final, piece), piece.content) for piece in pieces]
        if False in states:
            continue
        make_subfolder(root, final.relative_to(root).parent)
        for piece, present in zip(pieces, states, strict=True):
            if present is None:
                publish_new(piece.content, _companion(final, piece), tag=document.id)
        return name
    raise Retryable(f"every name for {document.name!r} is taken in {root}")


def _companion(final: Path, piece: Piece) -> Path:
    return final.with_name(final.name + piece.suffix)


def _compare(path: Path, content: Path | bytes) -> bool | None:
    """Return None if nothing stands at ``path``, else whether it is a file that holds just ``content``."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    if isinstance(content, bytes):
        return path.read_bytes() == content
    return hash_file(path) == hash_file(content)


def names_for(document: Document, longest_suffix: str) -> Iterator[str]:
    """Yield the names that the document may be given, best first; each leaves room for its companions' suffix."""
    path = PurePosixPath(document.name)
    room = NAME_MAX_BYTES - len(longest_suffix.encode())
    if len(path.name.encode()) <= room:
        yield str(path)
    for tag in (document.short_id, document.id):
        ending = f"-{tag}{path.suffix}"
        stem = path.stem.encode()[: max(0, room - len(ending.encode()))].decode(errors="ignore")
        yield str(path.with_name(stem + ending))
