"""Opening a PDF with pypdf, whatever state it is in.

pypdf repairs some broken cross-reference tables by itself and gives up on others. Those get the same chance here: a
second try has it search the file for objects. Such a document can be read, but not updated, so `Opening.rebuilt`
says that it happened.
"""

import io
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

from pypdf import PasswordType

from sealdrop.pdf.lean import LeanReader
from sealdrop.pdf.objects import dictionary_at, name_at

# An end of file whose startxref is 0, on which pypdf searches the whole file for its objects.
_NO_TABLE = b"\nstartxref\n0\n%%EOF\n"


class Access(Enum):
    """What it takes to open a document."""

    OPEN = "nothing"
    EMPTY_PASSWORD = "empty password"  # noqa: S105 - not a secret
    PASSWORD = "password"  # noqa: S105 - not a secret
    OTHER_HANDLER = "other security handler"
    UNKNOWN = "unusable encryption settings"


@dataclass(frozen=True, slots=True)
class Opening:
    """How opening went: a reader, or the failure that kept it from being made; neither with `Access.OTHER_HANDLER`.

    With ``failure`` and `Access.OPEN`, nothing is known of an encryption.
    """

    reader: LeanReader | None
    access: Access = Access.OPEN
    rebuilt: bool = False
    failure: Exception | None = None


class _OtherHandler(Exception):
    """The document is encrypted, and not by the Standard security handler (ISO 32000-2, 7.6.4)."""


class _DamagedEncryption(Exception):
    """The document is encrypted by the Standard security handler, with settings that pypdf cannot use."""


class _Reader(LeanReader):
    """A reader that tells why it could not get past the encryption."""

    def _handle_encryption(self, password: str | bytes | None) -> None:
        settings = dictionary_at(self.trailer, "/Encrypt")
        if settings is not None and name_at(settings, "/Filter") not in {"", "/Standard"}:
            raise _OtherHandler
        try:
            super()._handle_encryption(password)
        except MemoryError:
            raise
        except Exception as error:
            raise _DamagedEncryption from error


def open_document(file: BinaryIO) -> Opening:
    """Open ``file``, with the empty password where it is encrypted; failures are part of the answer."""
    first = _attempt(file, rebuilt=False)
    if first.failure is None or first.access is not Access.OPEN or isinstance(first.failure, MemoryError):
        return first
    try:
        file.seek(0)
        whole = io.BytesIO(file.read() + _NO_TABLE)
    except MemoryError as failure:
        return Opening(None, failure=failure)
    second = _attempt(whole, rebuilt=True)
    settled = second.failure is None or second.access is not Access.OPEN or isinstance(second.failure, MemoryError)
    return second if settled else first


def _attempt(file: BinaryIO, *, rebuilt: bool) -> Opening:
    try:
        reader = _Reader(file)
        access = Access.OPEN
        if reader.is_encrypted:
            unlocked = reader.decrypt("") != PasswordType.NOT_DECRYPTED
            access = Access.EMPTY_PASSWORD if unlocked else Access.PASSWORD
    except _OtherHandler:
        return Opening(None, Access.OTHER_HANDLER, rebuilt)
    except _DamagedEncryption as failure:
        return Opening(None, Access.UNKNOWN, rebuilt, failure)
    except Exception as failure:  # noqa: BLE001 - pypdf raises anything on broken input
        return Opening(None, Access.OPEN, rebuilt, failure)
    return Opening(reader, access, rebuilt)
