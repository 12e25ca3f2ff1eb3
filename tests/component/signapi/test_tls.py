"""Who we are and whom we trust, over real mutual TLS, and where the private key goes."""

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from sealdrop.clock import SystemClock
from sealdrop.config import Account, Seal
from sealdrop.errors import AccountRefused, ConfigurationError, Retryable
from sealdrop.model import ExternalId, RequestId
from sealdrop.signapi import tls
from sealdrop.signapi.certificates import Role, validities
from sealdrop.signapi.client import SignApi
from sealdrop.signapi.wire import NewRequest
from signapi_peer import Peer, Pki, reply, running

NOW = datetime.now(UTC)
PASSPHRASE = "correct horse"
STATUS = {"signatureRequestId": "1", "externalSignatureRequestId": "x", "status": "SIGNED"}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def key_and_chain(leaf: trustme.LeafCert) -> tuple[Key, list[x509.Certificate]]:
    """Return what trustme keeps as PEM."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, Key)
    return key, [x509.load_pem_x509_certificate(blob.bytes()) for blob in leaf.cert_chain_pems]


def encryption(passphrase: str | None) -> serialization.KeySerializationEncryption:
    """Return how to encrypt under ``passphrase``, or not to."""
    if passphrase is None:
        return serialization.NoEncryption()
    return serialization.BestAvailableEncryption(passphrase.encode())


def write_pkcs12(path: Path, leaf: trustme.LeafCert, passphrase: str | None = PASSPHRASE) -> Path:
    """Write the provider's kind of file."""
    key, chain = key_and_chain(leaf)
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"client", key, chain[0], chain[1:], encryption(passphrase)))
    return path


def write_key(path: Path, key: Key, passphrase: str | None = None) -> Path:
    """Write a private key as PEM."""
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption(passphrase))
    )
    return path


@pytest.fixture
def passphrase(tmp_path: Path) -> dict[str, Path]:
    """Give the place of the right passphrase."""
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return {"file": path}


def speak(account: Account) -> None:
    """Make one call and have it answered."""
    with SignApi(account, SystemClock(), largest_document_bytes=1) as api:
        assert api.status(external_id=ExternalId("x")).status is not None


Change = dict[str, object]


def pem_pair(folder: Path, leaf: trustme.LeafCert, passphrase: str | None) -> Change:
    """Return an account's certificate and key as two files."""
    key, chain = key_and_chain(leaf)
    certificate = folder / "certificate.pem"
    certificate.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
    return {"certificate": certificate, "key": write_key(folder / "key.pem", key, passphrase)}


class TestMutualTls:
    """Each way to configure who we are works over a real connection, with either version of TLS."""

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("kind", ["pkcs12", "pkcs12 open", "pair", "encrypted pair", "one file"])
    def test_we_are_known(
        self, pki: Pki, tmp_path: Path, passphrase: dict[str, Path], kind: str, version: ssl.TLSVersion
    ) -> None:
        """The server sees our certificate, and we get its answer."""
        secret: Change = {"passphrase": passphrase}
        change: Change = {
            "pkcs12": lambda: {"certificate": write_pkcs12(tmp_path / "c.p12", pki.client), **secret},
            "pkcs12 open": lambda: {"certificate": write_pkcs12(tmp_path / "c.p12", pki.client, None)},
            "pair": lambda: pem_pair(tmp_path, pki.client, None),
            "encrypted pair": lambda: {**pem_pair(tmp_path, pki.client, PASSPHRASE), **secret},
            "one file": dict,
        }[kind]()
        context = pki.server_context()
        context.minimum_version = context.maximum_version = version
        seen: list[bytes | None] = []

        def look(secured: ssl.SSLSocket) -> None:
            seen.append(secured.getpeercert(binary_form=True))
            secured.sendall(reply(200, STATUS))

        with running(context) as peer:
            peer.replies = [look]
            speak(pki.account(peer.port, **change))
        assert seen == [key_and_chain(pki.client)[1][0].public_bytes(serialization.Encoding.DER)]

    @pytest.mark.parametrize(
        "make", [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa.generate_private_key(65537, 2048)]
    )
    def test_kinds_of_keys(self, pki: Pki, tmp_path: Path, make: Callable[[], Key]) -> None:
        """Elliptic curves and RSA both load."""
        key = make()
        certificate = self_signed(key, NOW - timedelta(1), NOW + timedelta(1))
        (tmp_path / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        account = pki.account(1, certificate=tmp_path / "c.pem", key=write_key(tmp_path / "k.pem", key))
        assert tls.client_context(account, now=NOW).verify_mode is ssl.CERT_REQUIRED

    def test_a_chain_is_sent_whole(self, pki: Pki, tmp_path: Path, passphrase: dict[str, Path]) -> None:
        """A server that knows only the root accepts us through the intermediate in our file."""
        leaf = pki.client_ca.create_child_ca().issue_cert("client@example.org")
        with running(pki.server_context()) as peer:
            peer.replies = [reply(200, STATUS)]
            for change in (
                {"certificate": write_pkcs12(tmp_path / "c.p12", leaf), "passphrase": passphrase},
                pem_pair(tmp_path, leaf, None),
            ):
                speak(pki.account(peer.port, **change))

    def test_the_ends_of_all_certificates_are_known(self, pki: Pki, tmp_path: Path) -> None:
        """Ours and the anchors' from their files, the service's from the connection; a missing file is left out."""
        leaf = pki.client_ca.issue_cert("client@example.org", not_after=NOW + timedelta(days=40))
        anchor = tmp_path / "anchor.pem"
        pki.client_ca.cert_pem.write_to_path(anchor)
        changes = {"trust_anchors": (anchor, tmp_path / "missing.pem"), **pem_pair(tmp_path, leaf, None)}
        with running(pki.server_context()) as peer:
            peer.replies = [reply(200, STATUS)]
            account = pki.account(peer.port, **changes)
            with SignApi(account, largest_document_bytes=1, clock=SystemClock()) as api:
                assert api.server_valid_until is None
                api.status(external_id=ExternalId("x"))
                assert api.server_valid_until is not None
                assert api.server_valid_until > NOW
        found = {each.role: each.until for each in validities(account)}
        assert set(found) == {Role.CLIENT, Role.ANCHOR}
        assert abs(found[Role.CLIENT] - NOW - timedelta(days=40)) < timedelta(seconds=2)

    def test_the_context_cannot_be_weak(self, pki: Pki) -> None:
        """Chain and host name are verified, and nothing below TLS 1.2 is spoken."""
        context = tls.client_context(pki.account(1), now=NOW)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2

    def test_the_systems_authorities_are_the_default(self, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a ca_file the system's authorities count; with one, only it does."""
        loaded: list[str] = []
        monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: loaded.append("system"))
        tls.client_context(pki.account(1, ca_file=None), now=NOW)
        assert loaded == ["system"]
        assert tls.client_context(pki.account(1), now=NOW).cert_store_stats()["x509_ca"] == 1
        assert loaded == ["system"]


def call(api: SignApi, operation: str, document: Path) -> None:
    """Make one call, reading or changing."""
    if operation == "create":
        api.create([NewRequest(ExternalId("x"), document, Seal())])
    elif operation == "sign":
        api.sign(RequestId("1"))
    else:
        api.status(external_id=ExternalId("x"))


@pytest.mark.parametrize("operation", ["create", "sign", "status"])
class TestRefused:
    """A certificate that one side does not accept is the account's affair, and nothing was applied."""

    @pytest.fixture
    def document(self, tmp_path: Path) -> Path:
        """Give a document larger than any buffer on the way."""
        path = tmp_path / "large.pdf"
        path.write_bytes(bytes(8 << 20))
        return path

    def refused(self, account: Account, operation: str, document: Path) -> str:
        """Return the words of the AccountRefused that a call ends in."""
        with (
            SignApi(account, SystemClock(), largest_document_bytes=1) as api,
            pytest.raises(AccountRefused) as caught,
        ):
            call(api, operation, document)
        return str(caught.value)

    @pytest.mark.parametrize("wrong", ["authority", "name", "expired"])
    def test_the_server(self, pki: Pki, operation: str, document: Path, wrong: str) -> None:
        """A server of an unknown authority, with another name, or expired, gets nothing."""
        leaf = {
            "authority": lambda: trustme.CA().issue_cert("localhost"),
            "name": lambda: pki.server_ca.issue_cert("elsewhere.example.org"),
            "expired": lambda: pki.server_ca.issue_cert("localhost", not_after=NOW - timedelta(1)),
        }[wrong]()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        with running(context) as peer:
            words = self.refused(pki.account(peer.port), operation, document)
            assert peer.received == []
        assert "TLS refused: CERTIFICATE_VERIFY_FAILED: " in words
        assert {"authority": "unable to get local issuer", "name": "Hostname mismatch", "expired": "expired"}[
            wrong
        ] in words

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_us(self, pki: Pki, tmp_path: Path, operation: str, document: Path, version: ssl.TLSVersion) -> None:
        """A server that does not know our authority refuses the account, even if it says so after our request left."""
        stranger = pem_pair(tmp_path, trustme.CA().issue_cert("stranger@example.org"), None)
        context = pki.server_context()
        context.minimum_version = context.maximum_version = version
        with running(context) as peer:
            words = self.refused(pki.account(peer.port, **stranger), operation, document)
            assert peer.received == []
        assert "UNKNOWN_CA" in words

    def test_no_common_terms(self, pki: Pki, operation: str, document: Path) -> None:
        """A server with which no cipher can be agreed on refuses the account too."""
        context = pki.server_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # the server's key is an elliptic one
        with running(context) as peer:
            assert "HANDSHAKE_FAILURE" in self.refused(pki.account(peer.port), operation, document)

    def test_no_tls_there(self, pki: Pki, operation: str, document: Path) -> None:
        """A peer that speaks no TLS may be a proxy in trouble: that may pass."""

        def plain(connection: socket.socket, _: Peer) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 503 Busy\r\n\r\n")

        with (
            running(pki.server_context(), raw=plain) as peer,
            SignApi(pki.account(peer.port), SystemClock(), largest_document_bytes=1) as api,
            pytest.raises(Retryable, match="nothing was sent") as caught,
        ):
            call(api, operation, document)
        assert type(caught.value) is Retryable


def self_signed(key: CertificateIssuerPrivateKeyTypes, begins: datetime, ends: datetime) -> x509.Certificate:
    """Return a certificate for ``key``."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, ends)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm)


class TestConfiguration:
    """What cannot be used is told before anything starts, with its place, and without a secret."""

    def fault(self, account: Account) -> str:
        """Return the one problem that the account has."""
        with pytest.raises(ConfigurationError) as caught:
            tls.client_context(account, now=NOW)
        assert caught.value.source == "account at https://localhost:1"
        assert PASSPHRASE not in str(caught.value)
        (problem,) = caught.value.problems
        return problem

    @pytest.mark.parametrize("name", ["certificate", "key", "ca_file"])
    def test_a_file_is_missing(self, pki: Pki, tmp_path: Path, name: str) -> None:
        """A missing file is named with its key."""
        path = tmp_path / "missing.pem"
        assert self.fault(pki.account(1, **{name: path})) == f"{name}: cannot read {path}: No such file or directory"

    def test_the_passphrase(self, pki: Pki, tmp_path: Path, passphrase: dict[str, Path]) -> None:
        """A passphrase that is wrong, missing or superfluous is told apart, for both kinds of files."""
        p12 = write_pkcs12(tmp_path / "c.p12", pki.client, "another")
        assert self.fault(pki.account(1, certificate=p12, passphrase=passphrase)) == (
            f"certificate: cannot open {p12}: the passphrase is wrong, or it is no PKCS#12 file"
        )
        assert self.fault(pki.account(1, certificate=p12)) == (
            f"certificate: cannot open {p12}: it needs a passphrase, or it is no PKCS#12 file"
        )
        pair = pem_pair(tmp_path, pki.client, "another")
        key = tmp_path / "key.pem"
        assert self.fault(pki.account(1, **pair, passphrase=passphrase)) == (
            f"key: cannot read {key}: the passphrase is wrong, or it holds no private key in PEM"
        )
        assert self.fault(pki.account(1, **pair)) == f"key: the private key in {key} needs a passphrase"
        pair = pem_pair(tmp_path, pki.client, None)
        assert self.fault(pki.account(1, **pair, passphrase=passphrase)) == (
            f"key: the private key in {key} is not encrypted, but a passphrase is configured"
        )

    def test_the_content(self, pki: Pki, tmp_path: Path) -> None:
        """Files that hold something else are named."""
        junk = tmp_path / "junk"
        junk.write_bytes(b"\0\1junk")
        pem_junk = tmp_path / "junk.pem"
        pem_junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        assert "no PKCS#12 file" in self.fault(pki.account(1, certificate=junk))
        assert self.fault(pki.account(1, certificate=pem_junk)) == (
            f"certificate: there is no usable certificate in {pem_junk}"
        )
        assert self.fault(pki.account(1, key=junk)) == f"key: cannot read {junk}: it holds no private key in PEM"
        for authorities in (junk, pem_junk):
            assert self.fault(pki.account(1, ca_file=authorities)) == (
                f"ca_file: {authorities} holds no certificates in PEM"
            )

    def test_half_an_identity(self, pki: Pki, tmp_path: Path) -> None:
        """A PKCS#12 file without the key, or without its certificate, is no identity."""
        key, chain = key_and_chain(pki.client)
        path = tmp_path / "half.p12"
        path.write_bytes(pkcs12.serialize_key_and_certificates(None, None, None, chain, serialization.NoEncryption()))
        assert self.fault(pki.account(1, certificate=path)) == f"certificate: there is no private key in {path}"
        path.write_bytes(pkcs12.serialize_key_and_certificates(None, key, None, None, serialization.NoEncryption()))
        assert self.fault(pki.account(1, certificate=path)) == (
            f"certificate: there is no certificate for the private key in {path}"
        )

    def test_certificate_and_key_of_different_pairs(self, pki: Pki, tmp_path: Path) -> None:
        """A key that is another certificate's is told."""
        pair = pem_pair(tmp_path, pki.client, None)
        write_key(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()))
        assert self.fault(pki.account(1, **pair)) == (
            f"certificate: the private key does not belong to the certificate in {tmp_path / 'certificate.pem'}"
        )

    @pytest.mark.parametrize(
        ("begins", "ends", "words"),
        [
            (
                datetime(2020, 1, 1, tzinfo=UTC),
                datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC),
                "expired at 2021-02-03 04:05:06 UTC",
            ),
            (
                datetime(2090, 1, 1, tzinfo=UTC),
                datetime(2091, 1, 1, tzinfo=UTC),
                "is not valid before 2090-01-01 00:00:00 UTC",
            ),
        ],
    )
    def test_validity(self, pki: Pki, tmp_path: Path, begins: datetime, ends: datetime, words: str) -> None:
        """A certificate out of its time is told with the time."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = tmp_path / "c.pem"
        path.write_bytes(self_signed(key, begins, ends).public_bytes(serialization.Encoding.PEM))
        account = pki.account(1, certificate=path, key=write_key(tmp_path / "k.pem", key))
        assert self.fault(account) == f"certificate: {path} {words}"

    def test_a_key_that_tls_cannot_use(self, pki: Pki, tmp_path: Path) -> None:
        """A key too weak for OpenSSL's rules is told as OpenSSL tells it."""
        key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
        path = tmp_path / "c.pem"
        path.write_bytes(
            self_signed(key, NOW - timedelta(1), NOW + timedelta(1)).public_bytes(serialization.Encoding.PEM)
        )
        account = pki.account(1, certificate=path, key=write_key(tmp_path / "k.pem", key))
        assert f"certificate: OpenSSL cannot use {path}: " in self.fault(account)


WATCHER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from sealdrop.config import Account
from sealdrop.signapi import tls
values = json.loads(sys.argv[1])
account = Account.model_validate(values)
opened = []
sys.addaudithook(lambda event, args: opened.append([event, *map(str, args)])
                 if event == "open" or event.startswith(("os.", "shutil.", "tempfile.")) else None)
before = set(Path(sys.argv[2]).iterdir())
tls.client_context(account, now=datetime.now(UTC))
print(json.dumps({"opened": opened, "left": sorted(map(str, set(Path(sys.argv[2]).iterdir()) - before)),
                  "fds": [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
                          and path.exists()]}))
"""


@pytest.mark.parametrize("secret", [None, PASSPHRASE])
def test_the_private_key_touches_no_disk(
    pki: Pki, tmp_path: Path, passphrase: dict[str, Path], secret: str | None
) -> None:
    """While the key is loaded no file is created or written anywhere, and the memory file is gone afterwards."""
    account: dict[str, object] = {
        "base_url": "https://localhost:1",
        "certificate": str(write_pkcs12(tmp_path / "c.p12", pki.client, secret)),
        "ca_file": str(pki.folder / "ca.pem"),
        "organisation": "Example",
        "trust_anchors": [str(pki.folder / "ca.pem")],
    }
    if secret is not None:
        account["passphrase"] = {"file": str(passphrase["file"])}
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, json.dumps(account), str(folder)],
        env={**os.environ, "TMPDIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seen = json.loads(done.stdout)
    assert any(str(tmp_path / "c.p12") in event for event in seen["opened"]), "the hook sees what is opened"
    for event, path, mode, flags in (each for each in seen["opened"] if each[0] == "open"):
        # The one file that is written to is a descriptor: the memory file itself.
        assert path.isdigit() or mode in ("r", "rb") or not int(flags) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), event
    assert [each for each in seen["opened"] if each[0] != "open" and each[0] not in ("os.listdir", "os.scandir")] == []
    assert seen["left"] == []
    assert not any("memfd" in target for target in seen["fds"])


def test_the_memory_file_holds_no_plain_key(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenSSL is given is an encrypted key in a sealed memory file, under a password that changes."""
    seen: list[tuple[bytes, str, str]] = []
    real = ssl.SSLContext.load_cert_chain

    def watch(self: ssl.SSLContext, certfile: str, *, password: str) -> None:
        seen.append((Path(certfile).read_bytes(), password, str(Path(certfile).readlink())))
        descriptor = os.open(certfile, os.O_RDWR)
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        os.close(descriptor)
        real(self, certfile, password=password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watch)
    for _ in range(2):
        tls.client_context(pki.account(1), now=NOW)
    for content, password, target in seen:
        assert target.startswith("/memfd:")
        assert content.count(b"PRIVATE KEY") == content.count(b"ENCRYPTED PRIVATE KEY") == 2
        assert password.encode() not in content
    assert seen[0][1] != seen[1][1]
