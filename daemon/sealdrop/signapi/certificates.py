"""How long the certificates are valid that the configuration names: read from their files, nobody is asked."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from sealdrop.config import Account
from sealdrop.errors import ConfigurationError
from sealdrop.signapi.tls import our_certificate


class Role(StrEnum):
    """What a certificate is for."""

    CLIENT = "client"  # who we are
    SERVER = "server"  # whom we speak to
    ANCHOR = "anchor"  # whose seals are accepted


@dataclass(frozen=True, slots=True)
class Validity:
    """Until when a certificate is valid; ``name`` is its subject, as the certificate spells it."""

    role: Role
    name: str
    until: datetime


def validities(account: Account) -> tuple[Validity, ...]:
    """Return how long the account's client certificate and trust anchors are valid; what cannot be read is left out.

    The service has refused to start with it, or its file is being replaced this instant.
    """
    found = []
    with suppress(ConfigurationError):
        found.append(_validity(Role.CLIENT, our_certificate(account)))
    for path in account.trust_anchors:
        try:
            found += [_validity(Role.ANCHOR, each) for each in x509.load_pem_x509_certificates(path.read_bytes())]
        except (OSError, ValueError):
            continue
    return tuple(found)


def _validity(role: Role, certificate: x509.Certificate) -> Validity:
    return Validity(role, certificate.subject.rfc4514_string(), certificate.not_valid_after_utc)
