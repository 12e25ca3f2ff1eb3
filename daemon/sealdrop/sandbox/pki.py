"""Keeps the sandbox's authority in a folder: made once, loaded ever after.

The root is both the TLS authority and the trust anchor of seals and timestamps; its certificate is ``root.pem``. Beside
it stand the server's, the seal's and the timestamp authority's certificates and keys, and the client's as PKCS#12, the
way the provider hands them out. Keys are readable by their owner only.

Keys are loaded once and kept: signing takes 1 ms with RSA 3072 and 0.4 ms with RSA 2048, loading one
(and proving its primes) some 100 ms more.
"""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from sealdrop.sandbox import certificates, files
from sealdrop.sandbox.certificates import Identity
from sealdrop.sandbox.errors import SandboxError

ORGANISATION = "Demo Organisation SAS"
FOLDER_NAME = "pki"
_TEMPORARY_PREFIX = ".pki-"


class Pki:
    """The sandbox's certificates and keys; safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = _load(folder, "root")
        self.seal = _load(folder, "seal")
        self.timestamps = _load(folder, "tsa")

    @classmethod
    def ensure(cls, directory: Path) -> Self:
        """Load the authority kept in ``directory``, made first if there is none, with a new revocation list.

        Raises:
            SandboxError: it cannot be made, or what is there cannot be used.
        """
        folder = directory / FOLDER_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for leftover in directory.glob(f"{_TEMPORARY_PREFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            if not folder.exists():
                # Made aside, then renamed: if we crash before the rename, the next start makes a new authority.
                temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=directory))
                _fill(temporary)
                temporary.rename(folder)
                files.fsync_folder(directory)
            pki = cls(folder)
            files.write(folder / "root.crl", pki.crl())
        except (OSError, ValueError, TypeError) as error:
            raise SandboxError(f"the sandbox's certificates in {folder} cannot be used: {error}") from error
        return pki

    @property
    def ca_file(self) -> Path:
        """The root's certificate (PEM): authority for TLS, anchor for seals."""
        return self.folder / "root.pem"

    @property
    def server_files(self) -> tuple[Path, Path]:
        """The server's certificate and key (PEM)."""
        return self.folder / "server.pem", self.folder / "server.key"

    @property
    def client_file(self) -> Path:
        """The client's certificate and key (PKCS#12)."""
        return self.folder / "client.p12"

    @property
    def passphrase_file(self) -> Path:
        """The file that holds the passphrase of `client_file`."""
        return self.folder / "client.passphrase"

    def crl(self) -> bytes:
        """Return a revocation list (DER) issued this moment, so that it is valid however long the sandbox has run."""
        return certificates.revocation_list(self.root).public_bytes(serialization.Encoding.DER)


def _load(folder: Path, name: str) -> Identity:
    # The keys were made here: proving their primes anew at each start would take longer than all the rest.
    content = (folder / f"{name}.key").read_bytes()
    key = serialization.load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError(f"{name}.key is neither RSA nor elliptic")
    certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    issuer = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    return Identity(certificate, key, issuer)


def _fill(folder: Path) -> None:
    """Put a new authority into ``folder``, durably."""
    root = certificates.root("sealdrop sandbox root")
    identities = {
        "root": root,
        "seal": certificates.seal(root, ORGANISATION, certificates.Validity.from_now()),
        "tsa": certificates.timestamp_authority(root),
        "server": certificates.server(root),
    }
    for name, identity in identities.items():
        files.write(folder / f"{name}.pem", identity.certificate.public_bytes(serialization.Encoding.PEM))
        key = identity.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write(folder / f"{name}.key", key, mode=0o600)
    client = certificates.client(root, ORGANISATION)
    passphrase = secrets.token_urlsafe(24)
    bundle = pkcs12.serialize_key_and_certificates(
        b"sealdrop sandbox client",
        client.key,
        client.certificate,
        [root.certificate],
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    files.write(folder / "client.p12", bundle, mode=0o600)
    files.write(folder / "client.passphrase", f"{passphrase}\n".encode(), mode=0o600)
