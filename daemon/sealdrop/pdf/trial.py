"""A dry run: would an incremental update that adds a signature go through?

What an engine at the service would do is done here with pyHanko, up to the signature itself, and thrown away. Never
strict: pyHanko's strict mode refuses every hybrid file, and those that Word exports are hybrid (validation.md).
"""

import io
import secrets
from typing import TYPE_CHECKING, BinaryIO

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigFieldSpec
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SIGNATURE_BYTES = 16 * 1024  # reserved for the signature, as pyHanko does by default


class _Discard(io.RawIOBase):
    """A file that forgets what is written to it, but not how much it was."""

    def __init__(self) -> None:
        super().__init__()
        self._written_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, content: "ReadableBuffer", /) -> int:
        length = memoryview(content).nbytes
        self._written_bytes += length
        return length

    def tell(self) -> int:
        return self._written_bytes


def try_update(file: BinaryIO, *, encrypted: bool) -> None:
    """Return if ``file`` could be given one more signature; ``encrypted`` is for one with an empty password.

    Raises:
        Exception: it could not, for whatever reason; pyHanko raises anything on odd input.
    """
    writer = IncrementalPdfFileWriter(file, strict=False)
    if encrypted:
        writer.encrypt("")  # type: ignore[no-untyped-call]
    name = f"sealdrop-{secrets.token_hex(8)}"  # no field of the document's own can have it
    steps = PdfCMSEmbedder(new_field_spec=SigFieldSpec(name)).write_cms(name, writer)
    next(steps)
    steps.send(SigObjSetup(SignatureObject(bytes_reserved=SIGNATURE_BYTES)))
    writer.write(_Discard())  # type: ignore[no-untyped-call]
    steps.close()
