"""A small seal factory: PDFs sealed rightly and wrongly at each level, and what they are held against."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import parser
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, PdfTimeStamper
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from pyhanko.sign.validation import DocumentSecurityStore

from seal_pki import ORGANISATION, SEALED_AT, Pki, Sealer, make_pki
from sealdrop.model import SealLevel, Sha256
from sealdrop.pdf.seal import Expectation


class _Signer(PdfSigner):
    """A signer whose claimed time is handed in, and that seals what forbids it, as others do."""

    at = SEALED_AT

    def _enforce_certification_constraints(self, reader: PdfFileReader) -> None:
        pass

    def init_signing_session(
        self, pdf_out: IncrementalPdfFileWriter, existing_fields_only: bool = False
    ) -> PdfSigningSession:
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self.at
        return session


@lru_cache(maxsize=256)
def seal(
    pdf: bytes,
    level: SealLevel = SealLevel.B,
    *,
    pki: Pki | None = None,
    tsa: Pki | None = None,
    at: datetime = SEALED_AT,
    claimed_at: datetime | None = None,
    md_algorithm: str = "sha256",
    tsa_md_algorithm: str | None = None,
    subfilter: SigSeedSubFilter = SigSeedSubFilter.PADES,
    field_name: str = "Seal",
    box: tuple[int, int, int, int] | None = None,
    certify: MDPPerm | None = None,
    also: tuple[Pki, ...] = (),
    before: Callable[[IncrementalPdfFileWriter], None] | None = None,
) -> bytes:
    """Append a seal to ``pdf``; ``before`` may change the document in the very revision that the seal closes.

    ``also`` are others whose timestamps are in ``pdf``.
    """
    pki = pki or make_pki()
    with_evidence = level in (SealLevel.LT, SealLevel.LTA)
    metadata = PdfSignatureMetadata(
        field_name=field_name,
        md_algorithm=md_algorithm,
        subfilter=subfilter,
        embed_validation_info=with_evidence,
        use_pades_lta=level == SealLevel.LTA,
        certify=certify is not None,
        docmdp_permissions=certify or MDPPerm.FILL_FORMS,
        validation_context=pki.context(at, also) if with_evidence else None,
    )
    signer = _Signer(
        metadata,
        Sealer(pki),
        timestamper=None if level == SealLevel.B else (tsa or pki).timestamper(at, tsa_md_algorithm),
        new_field_spec=SigFieldSpec(field_name, box=box),
    )
    signer.at = claimed_at or at
    writer = IncrementalPdfFileWriter(BytesIO(pdf), strict=False)
    if before is not None:
        before(writer)
    return bytes(signer.sign_pdf(writer).getvalue())


def timestamp(pdf: bytes, *, pki: Pki | None = None, at: datetime = SEALED_AT, md_algorithm: str = "sha256") -> bytes:
    """Append a document timestamp, and no evidence."""
    stamper = PdfTimeStamper((pki or make_pki()).timestamper(at))
    writer = IncrementalPdfFileWriter(BytesIO(pdf), strict=False)
    return bytes(stamper.timestamp_pdf(writer, md_algorithm).getvalue())


def add_evidence(pdf: bytes, pki: Pki, crls: tuple[asn1_crl.CertificateList, ...]) -> bytes:
    """Append a document security store with the certificates of ``pki`` and with ``crls``."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        certificates = [pki.issuing.asn1, pki.seal.asn1, pki.tsa.asn1]
        DocumentSecurityStore.supply_dss_in_writer(writer, None, certs=certificates, crls=crls)

    return revise(pdf, change)


def revise(pdf: bytes, change: Callable[[IncrementalPdfFileWriter], None]) -> bytes:
    """Append a revision that holds ``change``."""
    writer = IncrementalPdfFileWriter(BytesIO(pdf), strict=False)
    change(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def expect(pdf: bytes, anchor: Path, **changes: Any) -> Expectation:  # noqa: ANN401 - any of its fields
    """What a good seal of ``pdf`` at level B is held against, a minute later."""
    expected = Expectation(
        now=SEALED_AT + timedelta(minutes=1),
        original_size_bytes=len(pdf),
        original_sha256=Sha256(hashlib.sha256(pdf).hexdigest()),
        organisation=ORGANISATION,
        level=SealLevel.B,
        trust_anchors=(anchor,),
        not_before=SEALED_AT - timedelta(minutes=1),
    )
    return replace(expected, **changes)


def signature_value(pdf: bytes, nth: int = 0) -> tuple[int, int]:
    """Return where the hexadecimal digits of the ``nth`` signature's value begin, and where its padding does."""
    start = -1
    for _ in range(nth + 1):
        start = pdf.index(b"/Contents <", start + 1)
    start += len(b"/Contents <")
    return start, start + 2 * parser.peek(bytes.fromhex(pdf[start : pdf.index(b">", start)].decode("ascii")))


def flip(pdf: bytes, position: int) -> bytes:
    """Change one byte, a hexadecimal digit into another one."""
    old = pdf[position : position + 1]
    new = b"%X" % (int(old, 16) ^ 1) if old in b"0123456789ABCDEF" else bytes([old[0] ^ 1])
    return pdf[:position] + new + pdf[position + 1 :]


def reseal(pdf: bytes, byte_range: Callable[[int, int, int], tuple[int, int, int, int]]) -> bytes:
    """Seal again, properly, over another byte range: that which is made of the old one's last three numbers."""
    start = pdf.rindex(b"/ByteRange [") + len(b"/ByteRange [")
    end = pdf.index(b"]", start)
    _, before, resumes, rest = map(int, pdf[start:end].split())
    new = byte_range(before, resumes, rest)
    pdf = pdf[:start] + " ".join(map(str, new)).encode().ljust(end - start) + pdf[end:]
    digest = hashlib.sha256(pdf[new[0] : new[0] + new[1]] + pdf[new[2] : new[2] + new[3]]).digest()
    signed = asyncio.run(Sealer(make_pki()).async_sign(digest, "sha256", use_pades=True))
    return (
        pdf[: before + 1] + signed.dump().hex().upper().encode().ljust(resumes - before - 2, b"0") + pdf[resumes - 1 :]
    )
