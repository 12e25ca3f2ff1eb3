"""The document security store: the validation data that a PDF brings with it (ETSI EN 319 142-1, 5.4.2)."""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from dataclasses import dataclass
from functools import cached_property

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.decode_limits import DecodePurpose
from pyhanko.pdf_utils.rw_common import PdfHandler

from sealdrop.pdf.crypto import digest_of
from sealdrop.pdf.reader import entry


@dataclass(frozen=True)  # not slotted: its digest is kept with it
class Store:
    """Its certificates and revocation data, in DER."""

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()

    @property
    def shows_revocation(self) -> bool:
        """Whether there is any revocation data at all."""
        return bool(self.crls or self.ocsps)

    @cached_property
    def digest(self) -> bytes:
        """What only an equal store has."""
        return digest_of(*(digest_of(*kind) for kind in (self.certificates, self.crls, self.ocsps)))


def read_store(handler: PdfHandler) -> Store:
    """Return the document security store as it stands in ``handler``; an empty one if there is none."""
    dictionary = entry(handler.root, "/DSS")
    if not isinstance(dictionary, generic.DictionaryObject):
        return Store()
    return Store(
        certificates=_streams(dictionary, "/Certs", DecodePurpose.CERTIFICATE),
        crls=_streams(dictionary, "/CRLs", DecodePurpose.CRL),
        ocsps=_streams(dictionary, "/OCSPs", DecodePurpose.OCSP_RESPONSE),
    )


def _streams(dictionary: generic.DictionaryObject, key: str, purpose: DecodePurpose) -> tuple[bytes, ...]:
    return tuple(item.get_object().read_data(purpose) for item in entry(dictionary, key, ()))
