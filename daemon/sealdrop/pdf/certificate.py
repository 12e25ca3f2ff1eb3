"""What a seal's certificate says of itself, in sealdrop's own terms.

The same few certificates come with document after document, so each is parsed once and kept with what pyHanko has
worked out of it. That is a function of its bytes alone.
"""

# mypy: disable-error-code="import-untyped"
# asn1crypto has no types.

import unicodedata
from functools import lru_cache

from asn1crypto import x509

from sealdrop.model import SealCertificate, Sha256
from sealdrop.pdf.jobs import shortened


@lru_cache(maxsize=64)
def parse(der: bytes) -> x509.Certificate:
    """Return the certificate of these bytes, the same each time."""
    return x509.Certificate.load(der)


def describe(certificate: x509.Certificate) -> SealCertificate:
    """Return what goes into the report and the receipt."""
    return SealCertificate(
        subject=shortened(certificate.subject.human_friendly),
        organisation=shortened(", ".join(organisations(certificate))),
        issuer=shortened(certificate.issuer.human_friendly),
        serial=str(certificate.serial_number),
        sha256=Sha256(certificate.sha256.hex()),
        not_before=certificate.not_valid_before,
        not_after=certificate.not_valid_after,
    )


def organisations(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return every organizationName of the subject, each whole: a name within another name is none."""
    return tuple(
        str(attribute["value"].native)
        for rdn in certificate.subject.chosen
        for attribute in rdn
        if attribute["type"].native == "organization_name"
    )


def same_organisation(one: str, other: str) -> bool:
    """Return whether two names are equal, but for letter case, white space and Unicode's compatibility forms."""
    return _normalise(one) == _normalise(other)


def _normalise(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())
