"""What the service wrote itself, and somebody put into an inbound folder: with a document that is to be tried again.

Who drags a document back out of the rejected or failed folder may take all that stands beside it. Its reason has done
its work then, and would only be rejected in its turn: it is removed, if it is word for word what was written, or for
programs, about a document that is known. A receipt is a proof: it is left where it is, and told of.

Residual risk: who puts another file in the place of a reason in the instant between our look and its removal loses it.
"""

import json
import os
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path, PurePosixPath

from sealdrop.model import Document, FileIdentity
from sealdrop.pipeline.below import folder_below, open_regular
from sealdrop.receipt import REASON_SUFFIX, REASON_TEXT_SUFFIX, RECEIPT_SUFFIX, NotAReceipt, read_receipt
from sealdrop.wording import reason_text

RECORD_MAX_BYTES = 4 << 20  # what is larger is none; an answer that is kept as evidence has its own limit
_DOCUMENT_LINE = re.compile(r"^Document ([0-9]{8}-[0-9a-f]{16}), ", re.MULTILINE)


class OwnRecord(Enum):
    """What a record is."""

    REASON = "reason"
    RECEIPT = "receipt"


def recognise(
    inbound: Path, path: Path, seen: FileIdentity, known: Callable[[str], Document | None]
) -> tuple[OwnRecord, Document] | None:
    """Return which record of which document stands at ``path``, below ``inbound``; None if it is none, or changed.

    ``known`` returns the document with an ID, if there is one.

    Raises:
        OSError: it cannot be read.
    """
    if (
        not path.name.endswith((REASON_SUFFIX, REASON_TEXT_SUFFIX, RECEIPT_SUFFIX))
        or seen.size_bytes > RECORD_MAX_BYTES
    ):
        return None
    relative = path.relative_to(inbound)
    with folder_below(inbound, relative.parent) as folder, open_regular(relative.name, folder=folder) as file:
        if FileIdentity.of(os.fstat(file.fileno())) != seen:
            return None
        content = file.read(RECORD_MAX_BYTES)
    if path.name.endswith(RECEIPT_SUFFIX):
        document = _of_receipt(content, known)
        return (OwnRecord.RECEIPT, document) if document is not None else None
    is_text = path.name.endswith(REASON_TEXT_SUFFIX)
    document = _of_reason_text(content, known) if is_text else _of_reason(content, known)
    return (OwnRecord.REASON, document) if document is not None else None


def remove(inbound: Path, path: Path, seen: FileIdentity) -> bool:
    """Remove the file, durably, if it is still the one that was ``seen``; return whether it was.

    Raises:
        OSError: it cannot be removed.
    """
    relative = path.relative_to(inbound)
    with folder_below(inbound, relative.parent) as folder:
        if FileIdentity.of(os.stat(relative.name, dir_fd=folder, follow_symlinks=False)) != seen:
            return False
        os.unlink(relative.name, dir_fd=folder)
        os.fsync(folder)
    return True


def _of_receipt(content: bytes, known: Callable[[str], Document | None]) -> Document | None:
    try:
        return known(read_receipt(content).document)
    except NotAReceipt:
        return None


def _of_reason(content: bytes, known: Callable[[str], Document | None]) -> Document | None:
    """Any version of it, so it is not read as a whole."""
    try:
        members = json.loads(content)
        identifier, sha256 = str(members["document"]), members["original"]["sha256"]
        document = known(identifier) if members["kind"] == "sealdrop-reason" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return document if document is not None and document.sha256 == sha256 else None


def _of_reason_text(content: bytes, known: Callable[[str], Document | None]) -> Document | None:
    """Word for word: somebody may have written notes of their own into it."""
    found = _DOCUMENT_LINE.findall(content.decode(errors="replace"))
    document = known(found[-1]) if found else None
    if document is None or document.reason is None:
        return None
    sealed_name = f"{PurePosixPath(document.published_name or document.name).name}.sealed.pdf"
    written = (reason_text(document, None), reason_text(document, sealed_name))
    return document if content in [text.encode() for text in written] else None
