"""Makes PAdES seals (ETSI EN 319 142-1) at all four baseline levels.

B is a signature with the seal's certificate in it; T adds a timestamp token over the signature; LT adds, in a later
revision, the certificates and the revocation list that validation needs (document security store); LTA adds a document
timestamp over all of it. Every step is an incremental update: what came in is the exact beginning of what goes out.

Nothing is validated before sealing and nothing fetched: the sandbox knows its own certificates, and what the security
store must hold. The revocation list is issued after the signature, so that it speaks of the moment of signing too.

pyHanko is never asked to be strict: its strict mode refuses the hybrid cross-reference tables that Word writes.
"""

import io
import secrets
from dataclasses import dataclass
from enum import StrEnum

from asn1crypto import crl, x509  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, PdfTimeStamper
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.pdf_cms import Signer
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.stamp import StaticStampStyle
from pyhanko_certvalidator.registry import SimpleCertificateStore

from sealdrop.sandbox import appearance
from sealdrop.sandbox.appearance import VisibleSeal
from sealdrop.sandbox.certificates import Identity
from sealdrop.sandbox.errors import Unsealable
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.timestamping import TimestampAuthority

_DEEPEST_PAGE_TREE = 64  # a tree that goes deeper, or in circles, has no box worth looking for


class Level(StrEnum):
    """PAdES baseline levels, lowest first, as SignAPI spells them."""

    B = "PAdES_BASELINE_B"
    T = "PAdES_BASELINE_T"
    LT = "PAdES_BASELINE_LT"
    LTA = "PAdES_BASELINE_LTA"


@dataclass(frozen=True, slots=True)
class SealOptions:
    """What kind of seal is asked for; ``digest`` is ``sha256`` or ``sha224``."""

    level: Level = Level.LTA
    digest: str = "sha256"
    visible: VisibleSeal | None = None


class Sealer:
    """Seals PDFs with the keys of one `Pki`; safe to share between threads."""

    def __init__(self, pki: Pki) -> None:
        self._pki = pki
        self._authority = TimestampAuthority(pki.timestamps)

    def seal(
        self,
        content: bytes,
        options: SealOptions,
        *,
        identity: Identity | None = None,
        with_signature_timestamp: bool = True,
    ) -> bytes:
        """Return ``content`` sealed; ``content`` is the exact beginning of it.

        ``identity`` takes the place of the sandbox's own seal. Without ``with_signature_timestamp`` the token that
        level T asks for is left out while the rest is made as asked: such a seal is faulty on purpose.

        Raises:
            Unsealable: this is no PDF, or one that does not take a seal.
        """
        try:
            return self._seal(content, options, identity or self._pki.seal, with_signature_timestamp)
        # pyHanko meets files of strangers here and raises whatever they lead it to (KeyError, RecursionError, ...).
        except Exception as error:
            raise Unsealable(f"the document cannot be sealed: {type(error).__name__}: {error}") from error

    def _seal(self, content: bytes, options: SealOptions, identity: Identity, with_signature_timestamp: bool) -> bytes:  # noqa: FBT001 - inner half of `seal`
        writer = _update(io.BytesIO(content))
        field_name = f"Seal-{secrets.token_hex(8)}"
        style, spec = _looks(writer, options.visible, field_name)
        timestamped = options.level is not Level.B and with_signature_timestamp
        signer = PdfSigner(
            PdfSignatureMetadata(field_name=field_name, md_algorithm=options.digest, subfilter=SigSeedSubFilter.PADES),
            _KeptKey(identity),
            timestamper=self._authority if timestamped else None,
            stamp_style=style,
            new_field_spec=spec,
        )
        sealed: io.BytesIO = signer.sign_pdf(writer)
        if options.level in (Level.LT, Level.LTA):
            writer = _update(sealed)
            self._add_evidence(writer, identity)
            if options.level is Level.LTA:
                stamper = PdfTimeStamper(self._authority, field_name=f"Timestamp-{secrets.token_hex(8)}")
                sealed = stamper.timestamp_pdf(writer, "sha256")
            else:
                sealed = io.BytesIO()
                writer.write(sealed)  # type: ignore[no-untyped-call]
        return sealed.getvalue()

    def _add_evidence(self, writer: IncrementalPdfFileWriter, identity: Identity) -> None:
        """Put into the security store what validates the seal and its timestamps with nothing fetched."""
        certificates = (identity.der, identity.issuer_der, self._pki.timestamps.der, self._pki.root.der)
        DocumentSecurityStore.supply_dss_in_writer(
            writer,
            None,
            certs=[x509.Certificate.load(der) for der in dict.fromkeys(certificates)],
            crls=[crl.CertificateList.load(self._pki.crl())],
        )


class _KeptKey(Signer):
    """Signs with a key that stays loaded: pyHanko's own signer loads it anew for each signature."""

    def __init__(self, identity: Identity) -> None:
        if not isinstance(identity.key, RSAPrivateKey):
            raise TypeError("a seal's key must be RSA here")
        chain = SimpleCertificateStore.from_certs([x509.Certificate.load(identity.issuer_der)])  # type: ignore[no-untyped-call]
        super().__init__(signing_cert=x509.Certificate.load(identity.der), cert_registry=chain)
        self._key = identity.key

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:  # noqa: FBT001, FBT002 - pyHanko's signature
        """Return the raw signature of ``data``; in a dry run, as many bytes of nothing."""
        if dry_run:
            return bytes(self._key.key_size // 8)
        algorithm = {"sha256": hashes.SHA256(), "sha224": hashes.SHA224()}[digest_algorithm]
        return self._key.sign(data, PKCS1v15(), algorithm)


def _update(content: io.BytesIO) -> IncrementalPdfFileWriter:
    """Return a writer that appends to ``content``."""
    content.seek(0)
    return IncrementalPdfFileWriter(content, strict=False)


def _looks(
    writer: IncrementalPdfFileWriter, visible: VisibleSeal | None, field_name: str
) -> tuple[StaticStampStyle | None, SigFieldSpec]:
    """Return how the seal looks and the field that holds it."""
    if visible is None:
        return None, SigFieldSpec(field_name)
    page, _ = writer.prev.find_page_for_modification(visible.page - 1)  # type: ignore[no-untyped-call]
    left, bottom = _corner(page.get_object())
    drawing = appearance.draw(visible)
    x, y = left + visible.x, bottom + visible.y
    # pyHanko declares whole numbers, but any number may stand in a rectangle (ISO 32000-1, 7.9.5).
    box = (x, y, x + drawing.width, y + drawing.height)
    return drawing.style(), SigFieldSpec(field_name, on_page=visible.page - 1, box=box)  # type: ignore[arg-type]


def _corner(page: DictionaryObject) -> tuple[float, float]:
    """Return the lower left corner of the visible part of ``page``; both boxes are inherited (ISO 32000-1, 7.7.3.4)."""
    for key in ("/CropBox", "/MediaBox"):
        node = page
        for _ in range(_DEEPEST_PAGE_TREE):
            if key in node:
                box = node[key]  # any two opposite corners
                return min(float(box[0]), float(box[2])), min(float(box[1]), float(box[3]))
            if "/Parent" not in node:
                break
            node = node["/Parent"]
    return 0.0, 0.0
