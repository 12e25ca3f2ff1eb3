"""A small seal factory: PDFs of every cross-reference kind, a PKI of its own, and seals right and wrong at each level.

Everything happens at fixed times and offline. Keys are made once for a run: what differs between two identities of
the same role is their certificate.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import keys as asn1_keys
from asn1crypto import parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, PdfTimeStamper, SimpleSigner
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter, append_signature_field
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko.sign.validation import DocumentSecurityStore
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from sealdrop.model import SealLevel, Sha256
from sealdrop.pdf.seal import Expectation

SEALED_AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ISSUED_AT = SEALED_AT - timedelta(days=300)
ORGANISATION = "Société Exemple SAS"
DAY = timedelta(days=1)


@lru_cache
def _key(role: str) -> rsa.RSAPrivateKey:  # noqa: ARG001 - the cache is by role
    """One key for each role, for the whole run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def asn1(self) -> asn1_x509.Certificate:
        """The certificate as pyHanko wants it."""
        return asn1_x509.Certificate.load(self.certificate.public_bytes(serialization.Encoding.DER))

    @property
    def asn1_key(self) -> asn1_keys.PrivateKeyInfo:
        """The key as pyHanko wants it."""
        return asn1_keys.PrivateKeyInfo.load(
            self.key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Pki:
    """A root, an issuing authority, a seal and a timestamp authority, with their revocation lists."""

    root: Identity
    issuing: Identity
    seal: Identity
    tsa: Identity
    crls: tuple[asn1_crl.CertificateList, ...]

    def context(self, at: datetime, also: tuple["Pki", ...] = ()) -> ValidationContext:
        """What a signer needs to embed the evidence for its own chain, and for those of ``also``."""
        pkis = (self, *also)
        return ValidationContext(
            trust_roots=[pki.root.asn1 for pki in pkis],
            other_certs=[pki.issuing.asn1 for pki in pkis],
            crls=[crl for pki in pkis for crl in pki.crls],
            moment=at,
            revocation_mode="require",
        )

    def timestamper(self, at: datetime, md_algorithm: str | None = None) -> DummyTimeStamper:
        """An authority whose tokens all say ``at``."""
        store = SimpleCertificateStore()
        store.register(self.issuing.asn1)
        return DummyTimeStamper(
            self.tsa.asn1, self.tsa.asn1_key, certs_to_embed=store, fixed_dt=at, override_md=md_algorithm
        )


def swap_roles(pki: Pki) -> Pki:
    """Return the PKI with the timestamp authority's certificate in the place of the seal's."""
    return replace(pki, seal=pki.tsa)


def _name(common_name: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _issue(
    role: str,
    name: x509.Name,
    issuer: Identity | None,
    not_before: datetime,
    not_after: datetime,
    *extensions: x509.ExtensionType,
    authority: bool = False,
) -> Identity:
    key = _key(role)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        ).add_extension(
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier("http://crl.invalid/list.crl")], None, None, None
                    )
                ]
            ),
            critical=False,
        )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return Identity(builder.sign((issuer.key if issuer else key), hashes.SHA256()), key)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _revocation_list(
    issuer: Identity, at: datetime, lifetime: timedelta, revoked: tuple[tuple[Identity, datetime], ...]
) -> asn1_crl.CertificateList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(at)
        .next_update(at + lifetime)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for identity, when in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(identity.certificate.serial_number)
            .revocation_date(when)
            .build()
        )
    crl = builder.sign(issuer.key, hashes.SHA256())
    return asn1_crl.CertificateList.load(crl.public_bytes(serialization.Encoding.DER))


@lru_cache
def make_pki(
    trust: str = "Example Trust",
    organisation: str | None = ORGANISATION,
    *,
    seal_days: tuple[int, int] = (-100, 900),
    tsa_days: tuple[int, int] = (-100, 3000),
    revoked_at: datetime | None = None,
    crl_lifetime_days: int = 30,
) -> Pki:
    """A whole PKI; ``seal_days`` and ``tsa_days`` are the certificates' lifetimes around `SEALED_AT`."""
    end = SEALED_AT + 9000 * DAY
    root = _issue(
        f"root {trust}", _name(f"{trust} Root", trust), None, ISSUED_AT, end, _usage(authority=True), authority=True
    )
    issuing = _issue(
        f"issuing {trust}", _name(f"{trust} CA", trust), root, ISSUED_AT, end, _usage(authority=True), authority=True
    )
    subject = _name("Seal", organisation or "x")
    if organisation is None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ORGANISATION)])
    seal = _issue(
        "seal",
        subject,
        issuing,
        SEALED_AT + seal_days[0] * DAY,
        SEALED_AT + seal_days[1] * DAY,
        _usage(authority=False),
    )
    tsa = _issue(
        "tsa",
        _name(f"{trust} Time", trust),
        issuing,
        SEALED_AT + tsa_days[0] * DAY,
        SEALED_AT + tsa_days[1] * DAY,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]),
    )
    lifetime = crl_lifetime_days * DAY
    revoked = () if revoked_at is None else ((seal, revoked_at),)
    crls = (
        _revocation_list(root, SEALED_AT - DAY, lifetime, ()),
        _revocation_list(issuing, SEALED_AT - DAY, lifetime, revoked),
    )
    return Pki(root, issuing, seal, tsa, crls)


# PDFs -----------------------------------------------------------------------------------------------------------


def _objects(pages: int, filler_bytes: int) -> dict[int, bytes]:
    """A catalogue (1), a page tree (2), document information (3), and then a page and its content, alternately."""
    numbers = [4 + 2 * page for page in range(pages)]
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        3: b"<< /Title (An invoice) >>",
    }
    for page, number in enumerate(numbers, start=1):
        content = f"BT /F1 12 Tf 72 700 Td (Page {page} of an invoice) Tj ET ".encode().ljust(filler_bytes // pages)
        objects[number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {number + 1} 0 R"
            " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        ).encode()
        objects[number + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
    return objects


def _table(offsets: dict[int, int | None]) -> bytes:
    lines = [b"xref\n0 %d\n0000000000 65535 f \n" % (max(offsets) + 1)]
    lines += [
        b"0000000000 00000 f \n" if offset is None else b"%010d 00000 n \n" % offset
        for _, offset in sorted(offsets.items())
    ]
    return b"".join(lines)


def make_pdf(*, pages: int = 1, xref: str = "table", filler_bytes: int = 0) -> bytes:
    """A small PDF whose cross-references are a ``table``, a ``stream``, or ``hybrid`` (both, as Word writes them)."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets: dict[int, int] = {}

    def put(number: int, body: bytes) -> None:
        offsets[number] = len(out)
        out.extend(b"%d 0 obj\n%s\nendobj\n" % (number, body))

    objects = _objects(pages, filler_bytes)
    size = max(objects) + 1
    for number, body in objects.items():
        put(number, body)
    identifier = b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
    common = b"/Size %d /Root 1 0 R /Info 3 0 R %s" % (size + 2, identifier)
    if xref == "table":
        start = len(out)
        out += _table(offsets) + b"trailer\n<< %s >>\n" % common
    else:
        hidden = 0 if xref == "stream" else len(objects)
        if hidden:
            put(size, b"<< /Hidden (only in the stream) >>")
        stream_number = size + 1
        start = len(out)
        offsets[stream_number] = start
        rows = b"".join(
            bytes([1]) + offsets[n].to_bytes(4, "big") + b"\0" if n in offsets else b"\0\0\0\0\0\xff"
            for n in range(stream_number + 1)
        )
        put(
            stream_number,
            b"<< /Type /XRef /W [1 4 1] /Length %d %s >>\nstream\n%s\nendstream" % (len(rows), common, rows),
        )
        if hidden:
            stream_start, start = start, len(out)
            visible: dict[int, int | None] = dict(offsets) | {size: None, stream_number: None}
            out += _table(visible) + b"trailer\n<< %s /XRefStm %d >>\n" % (common, stream_start)
    out += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def page(writer: IncrementalPdfFileWriter) -> generic.DictionaryObject:
    """Return the first page."""
    found = writer.root["/Pages"]["/Kids"][0]
    assert isinstance(found, generic.DictionaryObject)
    return found


def rotate(writer: IncrementalPdfFileWriter) -> None:
    """Turn the first page."""
    page(writer)[pdf_name("/Rotate")] = generic.NumberObject(90)
    writer.update_container(page(writer))


def replace_content(writer: IncrementalPdfFileWriter) -> None:
    """Make the first page show something else, under the same object number."""
    reference = page(writer).raw_get("/Contents").reference
    writer.objects[reference.generation, reference.idnum] = generic.StreamObject(stream_data=b"0 0 100 100 re f")


def drop_content(writer: IncrementalPdfFileWriter) -> None:
    """Make the first page show something else, under a new object number."""
    page(writer)[pdf_name("/Contents")] = writer.add_object(generic.StreamObject(stream_data=b"0 0 9 9 re f"))
    writer.update_container(page(writer))


def annotate(writer: IncrementalPdfFileWriter) -> None:
    """Put a note on the first page."""
    note = {"/Type": "/Annot", "/Subtype": "/FreeText"}
    annotation = generic.DictionaryObject({pdf_name(key): pdf_name(value) for key, value in note.items()})
    annotation[pdf_name("/Rect")] = generic.ArrayObject(map(generic.NumberObject, (9, 9, 99, 99)))
    annotation[pdf_name("/Contents")] = generic.pdf_string("paid")
    writer.register_annotation(page(writer).container_ref, writer.add_object(annotation))


def add_page(writer: IncrementalPdfFileWriter) -> None:
    """Append a page."""
    content = writer.add_object(generic.StreamObject(stream_data=b"0 0 9 9 re f"))
    writer.insert_page(PageObject(content, (0, 0, 595, 842)))


def set_title(writer: IncrementalPdfFileWriter) -> None:
    """Change the information about the document, as every writer does."""
    writer.trailer_view["/Info"][pdf_name("/Title")] = generic.pdf_string("sealed")
    writer.update_container(writer.trailer_view["/Info"])


def add_text_field(writer: IncrementalPdfFileWriter) -> None:
    """Make a form of the document, with one field to fill in."""
    field = generic.DictionaryObject(
        {
            pdf_name("/FT"): pdf_name("/Tx"),
            pdf_name("/T"): generic.pdf_string("amount"),
            pdf_name("/Type"): pdf_name("/Annot"),
            pdf_name("/Subtype"): pdf_name("/Widget"),
            pdf_name("/Rect"): generic.ArrayObject(map(generic.NumberObject, (9, 9, 99, 99))),
        }
    )
    reference = writer.add_object(field)
    writer.register_annotation(page(writer).container_ref, reference)
    form = generic.DictionaryObject({pdf_name("/Fields"): generic.ArrayObject([reference])})
    writer.root[pdf_name("/AcroForm")] = writer.add_object(form)
    writer.update_root()


def fill_text_field(writer: IncrementalPdfFileWriter) -> None:
    """Fill in the field of `add_text_field`."""
    field = writer.root["/AcroForm"]["/Fields"][0]
    field[pdf_name("/V")] = generic.pdf_string("1000")
    writer.update_container(field)


def remove_fields(writer: IncrementalPdfFileWriter) -> None:
    """Take all fields out of the form."""
    writer.root["/AcroForm"][pdf_name("/Fields")] = generic.ArrayObject()
    writer.update_container(writer.root["/AcroForm"])


def add_strange_signature(writer: IncrementalPdfFileWriter) -> None:
    """Add a signature of a kind that nobody knows, which pyHanko passes over."""
    value = generic.DictionaryObject({pdf_name("/Type"): pdf_name("/Sig"), pdf_name("/SubFilter"): pdf_name("/none")})
    value[pdf_name("/Contents")] = generic.ByteStringObject(b"none")
    field = generic.DictionaryObject({pdf_name("/FT"): pdf_name("/Sig"), pdf_name("/T"): generic.pdf_string("Strange")})
    field[pdf_name("/V")] = writer.add_object(value)
    writer.root["/AcroForm"]["/Fields"].append(writer.add_object(field))
    writer.update_container(writer.root["/AcroForm"]["/Fields"])


# Seals ----------------------------------------------------------------------------------------------------------


class _Signer(PdfSigner):
    """A signer whose claimed time is handed in."""

    at = SEALED_AT

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
    also: tuple[Pki, ...] = (),
    before: Callable[[IncrementalPdfFileWriter], None] | None = None,
) -> bytes:
    """Append a seal to ``pdf``; ``before`` may change the document in the very revision that the seal closes.

    ``also`` are others whose timestamps are in ``pdf``.
    """
    pki = pki or make_pki()
    store = SimpleCertificateStore()
    store.register(pki.issuing.asn1)
    with_evidence = level in (SealLevel.LT, SealLevel.LTA)
    metadata = PdfSignatureMetadata(
        field_name=field_name,
        md_algorithm=md_algorithm,
        subfilter=subfilter,
        embed_validation_info=with_evidence,
        use_pades_lta=level == SealLevel.LTA,
        validation_context=pki.context(at, also) if with_evidence else None,
    )
    signer = _Signer(
        metadata,
        SimpleSigner(pki.seal.asn1, pki.seal.asn1_key, store, embed_roots=False),
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


def add_field(writer: IncrementalPdfFileWriter, name: str, box: tuple[int, int, int, int]) -> None:
    """Add an empty signature field."""
    append_signature_field(writer, SigFieldSpec(name, box=box))


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


# Wrong ----------------------------------------------------------------------------------------------------------


def signature_value(pdf: bytes, nth: int = 0) -> tuple[int, int]:
    """Return where the hexadecimal digits of the ``nth`` signature's value begin, and where its padding does."""
    start = -1
    for _ in range(nth + 1):
        start = pdf.index(b"/Contents <", start + 1)
    start += len(b"/Contents <")
    return start, start + 2 * parser.peek(bytes.fromhex(pdf[start : pdf.index(b">", start)].decode("ascii")))


def flip(pdf: bytes, position: int) -> bytes:
    """Change one byte so that a digit stays a digit."""
    return pdf[:position] + bytes([pdf[position] ^ 1]) + pdf[position + 1 :]


def reseal(pdf: bytes, byte_range: Callable[[int, int, int], tuple[int, int, int, int]]) -> bytes:
    """Seal again, properly, over another byte range: that which is made of the old one's last three numbers."""
    start = pdf.rindex(b"/ByteRange [") + len(b"/ByteRange [")
    end = pdf.index(b"]", start)
    _, before, resumes, rest = map(int, pdf[start:end].split())
    new = byte_range(before, resumes, rest)
    pdf = pdf[:start] + " ".join(map(str, new)).encode().ljust(end - start) + pdf[end:]
    pki = make_pki()
    store = SimpleCertificateStore()
    store.register(pki.issuing.asn1)
    signer = SimpleSigner(pki.seal.asn1, pki.seal.asn1_key, store, embed_roots=False)
    digest = hashlib.sha256(pdf[new[0] : new[0] + new[1]] + pdf[new[2] : new[2] + new[3]]).digest()
    signed = asyncio.run(signer.async_sign(digest, "sha256", use_pades=True))
    return (
        pdf[: before + 1] + signed.dump().hex().upper().encode().ljust(resumes - before - 2, b"0") + pdf[resumes - 1 :]
    )
