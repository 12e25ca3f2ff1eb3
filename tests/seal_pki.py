"""A PKI of its own for the tests of seals: root, issuing authority, seal, timestamp authority, revocation lists.

Everything happens at fixed times and offline. Keys are made once for a run, one for each role: what differs between
two identities of the same role is their certificate.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from asn1crypto import cms, core
from asn1crypto import crl as asn1_crl
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.sign import SimpleSigner
from pyhanko.sign.general import as_signing_certificate, simple_cms_attribute
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore
from pyhanko_certvalidator.util import get_pyca_cryptography_hash

SEALED_AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ISSUED_AT = SEALED_AT - timedelta(days=300)
ORGANISATION = "Société Exemple SAS"
DAY = timedelta(days=1)


@lru_cache
def _key(role: str, bits: int = 2048) -> rsa.RSAPrivateKey:  # noqa: ARG001 - the cache is by role
    """One key for each role, for the whole run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


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


class Sealer(SimpleSigner):
    """pyHanko's signer, with a key that is loaded once: loading takes four times as long as signing."""

    def __init__(self, pki: "Pki") -> None:
        store = SimpleCertificateStore()
        store.register(pki.issuing.asn1)
        super().__init__(pki.seal.asn1, pki.seal.asn1_key, store, embed_roots=False)
        self._loaded = pki.seal.key

    def sign_raw(self, data: bytes, digest_algorithm: str) -> bytes:
        """Sign, as pyHanko's signer does."""
        return self._loaded.sign(data, PKCS1v15(), get_pyca_cryptography_hash(digest_algorithm))


class TimeAuthority(DummyTimeStamper):
    """pyHanko's timestamp authority, with a key that is loaded once."""

    loaded: rsa.RSAPrivateKey

    def _sign_tst_info(self, tst_info_data: bytes, md_algorithm: str, dt: datetime) -> tuple[bytes, cms.CMSAttributes]:
        digest = hashlib.new(md_algorithm, tst_info_data).digest()
        attributes = cms.CMSAttributes(
            [
                simple_cms_attribute("content_type", "tst_info"),
                simple_cms_attribute("signing_time", cms.Time({"utc_time": core.UTCTime(dt)})),
                simple_cms_attribute("signing_certificate", as_signing_certificate(self.tsa_cert)),
                simple_cms_attribute("message_digest", digest),
            ]
        )
        return self.loaded.sign(attributes.dump(), PKCS1v15(), get_pyca_cryptography_hash(md_algorithm)), attributes


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
        authority = TimeAuthority(
            self.tsa.asn1, self.tsa.asn1_key, certs_to_embed=store, fixed_dt=at, override_md=md_algorithm
        )
        authority.loaded = self.tsa.key
        return authority


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
    bits: int = 2048,
) -> Identity:
    key = _key(role, bits)
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
    root_days: int = 9000,
    seal_bits: int = 2048,
) -> Pki:
    """A whole PKI; ``seal_days``, ``tsa_days`` and ``root_days`` are the certificates' lifetimes around `SEALED_AT`."""
    end = SEALED_AT + 9000 * DAY
    root_end, usage = SEALED_AT + root_days * DAY, _usage(authority=True)
    root = _issue(f"root {trust}", _name(f"{trust} Root", trust), None, ISSUED_AT, root_end, usage, authority=True)
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
        bits=seal_bits,
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
