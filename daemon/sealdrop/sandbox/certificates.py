"""Issues certificates: the right extensions for each purpose, and nothing about where they are kept.

All of them pass OpenSSL's strict checks (Python 3.13 turns them on): identifiers of subject and authority, key usage,
critical basic constraints. Each is good for one thing only. Seal certificates may commit to content but not identify a
TLS client; a timestamp authority's has the one critical extended key usage that RFC 3161 (2.3) asks for. Both name a
place for the revocation list as real ones do; nothing can be fetched there (RFC 2606 reserves ``.invalid``), since the
list travels inside the PDF.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CRL_ADDRESS = "http://crl.sandbox.invalid/root.crl"
CRL_LIFETIME = timedelta(days=30)
BACKDATED = timedelta(hours=1)  # two machines' clocks need not agree to the second
LIFETIME = timedelta(days=3650)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is good."""

    begins: datetime
    ends: datetime

    @classmethod
    def from_now(cls) -> "Validity":
        """Return the ordinary period: from a little ago to long hence."""
        now = datetime.now(UTC)
        return cls(now - BACKDATED, now + LIFETIME)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, its key, and the certificate of whoever issued it."""

    certificate: x509.Certificate
    key: PrivateKey
    issuer: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def issuer_der(self) -> bytes:
        """The issuer's certificate as DER."""
        return self.issuer.public_bytes(serialization.Encoding.DER)


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """Return a new RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def root(common_name: str) -> Identity:
    """Make a new root authority."""
    key = rsa_key(3072)
    name = _name(common_name, "sealdrop sandbox")
    validity = Validity.from_now()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, key, certificate)


def seal(authority: Identity, organisation: str, validity: Validity, *, bits: int = 3072) -> Identity:
    """Make a seal identity in the name of the legal entity ``organisation``."""
    name = _name(f"{organisation} - Cachet", organisation, x509.NameAttribute(_ORGANISATION_ID, "NTRFR-123456789"))
    extensions = [(_usage(content_commitment=True), True), (_crl_place(), False)]
    return _issue(authority, name, rsa_key(bits), validity, extensions)


def timestamp_authority(authority: Identity) -> Identity:
    """Make the identity of a timestamp authority (RFC 3161)."""
    name = _name("sealdrop sandbox timestamp authority", "sealdrop sandbox")
    extensions = [
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
        (_crl_place(), False),
    ]
    return _issue(authority, name, rsa_key(2048), Validity.from_now(), extensions)


def server(authority: Identity) -> Identity:
    """Make the identity of a TLS server on this machine."""
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
    )
    extensions = [
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (names, False),
    ]
    return _issue(authority, _name("localhost", "sealdrop sandbox"), elliptic_key(), Validity.from_now(), extensions)


def client(authority: Identity, organisation: str) -> Identity:
    """Make the identity of a TLS client that belongs to ``organisation``."""
    extensions = [
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]
    name = _name("sealdrop sandbox client", organisation)
    return _issue(authority, name, elliptic_key(), Validity.from_now(), extensions)


def revocation_list(authority: Identity) -> x509.CertificateRevocationList:
    """Issue a revocation list that says, as of now, that nothing is revoked."""
    now = datetime.now(UTC)
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(now + CRL_LIFETIME)
        .add_extension(_authority_identifier(authority), critical=False)
        # The number must grow from list to list (RFC 5280, 5.2.3): the time in microseconds does.
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000_000)), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


_ORGANISATION_ID = x509.ObjectIdentifier("2.5.4.97")  # organizationIdentifier, ETSI EN 319 412-1, 5.1.4


def _issue(
    authority: Identity,
    subject: x509.Name,
    key: PrivateKey,
    validity: Validity,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> Identity:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Identity(builder.sign(authority.key, hashes.SHA256()), key, authority.certificate)


def _authority_identifier(authority: Identity) -> x509.AuthorityKeyIdentifier:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _crl_place() -> x509.CRLDistributionPoints:
    place = x509.DistributionPoint([x509.UniformResourceIdentifier(CRL_ADDRESS)], None, None, None)
    return x509.CRLDistributionPoints([place])


def _name(common_name: str, organisation: str, *more: x509.NameAttribute[str]) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            *more,
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
