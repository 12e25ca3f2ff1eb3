"""Mutual TLS: who we are, whom we trust, and what a failed handshake means.

- TLS 1.2 or later; the server's chain and host name are always verified. Nothing turns that off.
- Trusted are the system's authorities or, where the account names a ``ca_file``, those in it instead.
- Our certificate and key come from a PKCS#12 file, or from PEM: two files, or one that holds both.
- The decrypted private key never touches a disk. OpenSSL's only way in is a file name, so the key is encrypted anew
  under a random password that nobody keeps, into an anonymous memory file, and loaded from there. What could be
  swapped out is thus not even readable.
"""

import fcntl
import os
import secrets
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from sealdrop.config import Account
from sealdrop.errors import ConfigurationError
from sealdrop.places import path_of

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL

# OpenSSL's names for a refusal that lasts until somebody acts: on a certificate, theirs or ours, or on terms of the
# connection that cannot be agreed on. Matched as parts, since alerts carry prefixes such as SSLV3_ALERT_.
_LASTING = (
    "ACCESS_DENIED",
    "CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "INSUFFICIENT_SECURITY",
    "PROTOCOL_VERSION",
    "UNKNOWN_CA",
    "UNRECOGNIZED_NAME",
    "UNSUPPORTED_PROTOCOL",
)


class _Unusable(Exception):
    """Why a file of the account's cannot be used, in one line."""


def client_context(account: Account, *, now: datetime) -> ssl.SSLContext:
    """Return a context that proves who we are and accepts none but the service.

    Raises:
        ConfigurationError: a file is missing or unusable, or our certificate is not valid at ``now``. The message
            names the file and the fault, never a secret.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and host name from the start
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _trust(context, account.ca_file)
        _identify(context, account, now)
    except _Unusable as error:
        raise ConfigurationError(f"account at {account.base_url}", [str(error)]) from error
    return context


def lasting_refusal(failures: Iterable[BaseException]) -> str | None:
    """Return OpenSSL's name for the first refusal that lasts, or None where there is none, or one that may pass."""
    for failure in failures:
        if isinstance(failure, ssl.SSLError) and any(part in (failure.reason or "") for part in _LASTING):
            detail = f": {failure.verify_message}" if isinstance(failure, ssl.SSLCertVerificationError) else ""
            return f"{failure.reason}{detail}"
    return None


def _trust(context: ssl.SSLContext, ca_file: Path | None) -> None:
    if ca_file is None:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise _Unusable(f"ca_file: {ca_file} holds no certificates in PEM") from error
    except OSError as error:
        raise _Unusable(f"ca_file: cannot read {ca_file}: {error.strerror}") from error


def our_certificate(account: Account) -> x509.Certificate:
    """Return the certificate that the account shows to the service, whose key is at hand, valid or not.

    Raises:
        ConfigurationError: a file is missing or unusable. The message names the file and the fault, never a secret.
    """
    try:
        return _identity(account)[1][0]
    except _Unusable as error:
        raise ConfigurationError(f"account at {account.base_url}", [str(error)]) from error


def _identify(context: ssl.SSLContext, account: Account, now: datetime) -> None:
    key, chain, certificate_path = _identity(account)
    _check_validity(chain[0], certificate_path, now)
    try:
        _load(context, key, chain)
    except OSError as error:  # ssl.SSLError is one
        raise _Unusable(f"certificate: OpenSSL cannot use {certificate_path}: {error}") from error


def _identity(account: Account) -> tuple[PrivateKeyTypes, list[x509.Certificate], Path]:
    certificate_path = path_of(account.certificate)
    content = _read(certificate_path, "certificate")
    passphrase = account.passphrase.read().encode() if account.passphrase is not None else None
    if account.key is None and b"-----BEGIN " not in content:
        key, chain = _from_pkcs12(content, passphrase, certificate_path)
    else:
        chain = _chain_from_pem(content, certificate_path)
        key_path = certificate_path if account.key is None else path_of(account.key)
        key = _key_from_pem(_read(key_path, "key"), passphrase, key_path)
    if _public_part(key.public_key()) != _public_part(chain[0].public_key()):
        raise _Unusable(f"certificate: the private key does not belong to the certificate in {certificate_path}")
    return key, chain, certificate_path


def _from_pkcs12(
    content: bytes, passphrase: bytes | None, path: Path
) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        store = pkcs12.load_pkcs12(content, passphrase)
    except ValueError as error:
        given = "the passphrase is wrong" if passphrase else "it needs a passphrase"
        raise _Unusable(f"certificate: cannot open {path}: {given}, or it is no PKCS#12 file") from error
    except UnsupportedAlgorithm as error:
        raise _Unusable(f"certificate: {path} is encrypted in a way that is not supported any more") from error
    if store.key is None:
        raise _Unusable(f"certificate: there is no private key in {path}")
    if store.cert is None:
        raise _Unusable(f"certificate: there is no certificate for the private key in {path}")
    return store.key, [store.cert.certificate, *(extra.certificate for extra in store.additional_certs)]


def _chain_from_pem(content: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise _Unusable(f"certificate: there is no usable certificate in {path}") from error


def _key_from_pem(content: bytes, passphrase: bytes | None, path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(content, passphrase)
    except TypeError as error:  # how cryptography says that a passphrase is missing, or there for nothing
        fault = "needs a passphrase" if passphrase is None else "is not encrypted, but a passphrase is configured"
        raise _Unusable(f"key: the private key in {path} {fault}") from error
    except ValueError as error:
        given = "the passphrase is wrong, or " if passphrase else ""
        raise _Unusable(f"key: cannot read {path}: {given}it holds no private key in PEM") from error
    except UnsupportedAlgorithm as error:
        raise _Unusable(f"key: the private key in {path} is of a kind that is not supported") from error


def _check_validity(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise _Unusable(f"certificate: {path} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    if now < certificate.not_valid_before_utc:
        raise _Unusable(
            f"certificate: {path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
        )


def _load(context: ssl.SSLContext, key: PrivateKeyTypes, chain: Iterable[x509.Certificate]) -> None:
    """Hand key and chain to OpenSSL, through memory only (see the module's rules)."""
    password = secrets.token_bytes(32).hex()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode("ascii")),
    ) + b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    fd = os.memfd_create("sealdrop-identity", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
        file.flush()
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password=password)


def _public_part(key: PublicKeyTypes) -> bytes:
    """Return what two keys of one pair have in common."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(f"{name}: cannot read {path}: {error.strerror}") from error
