"""What can be wrong between us and SignAPI, made real: certificates, servers, clocks, answers."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from checking import SECRET, Scene
from sealdrop.checks.findings import Condition, Mark
from sealdrop.signapi import probe
from signapi_peer import Peer, Reply, reply, running

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
UNKNOWN = {"errorMsg": "signature request not found"}


def answer(*, status: int = 404, body: object = None, clock: timedelta = timedelta(0)) -> Reply:
    """Return what a peer says whose clock is ``clock`` ahead."""
    date = format_datetime(datetime.now(UTC) + clock, usegmt=True)
    return reply(status, UNKNOWN if body is None else body, Date=date)


@pytest.fixture
def peer(scene: Scene) -> Iterator[Peer]:
    """Serve as SignAPI for the scene, one that knows no request."""
    with running(scene.pki.server_context()) as serving:
        scene.port = serving.port
        serving.replies = [answer()]
        yield serving


def self_signed(folder: Path, name: str, begins: datetime, ends: datetime, *, authority: bool = True) -> Path:
    """Write a certificate, alone and with its key, and return the path of the former."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number(), begins, ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(pem)
    path.with_suffix(".key").chmod(0o600)
    return path


def use_client(scene: Scene, path: Path) -> None:
    """Have the scene's account show another certificate."""
    scene.values |= {"certificate": f'"{path}"'}
    scene.more["accounts.main"] = f'key = "{path.with_suffix(".key")}"\n'


def test_all_is_well(scene: Scene, peer: Peer) -> None:
    """One harmless query: certificates, clock and the answer to an unknown request are as they should be."""
    checked = scene.check(offline=False)
    assert checked.bad() == set(), checked.ended.out
    texts = {each["what"]: each["text"] for each in checked.findings}
    assert "days left, until 3000-01-01 (TLSv1.3)" in texts["server certificate"]
    assert "unknown request is understood: HTTP 404: signature request not found" in texts["service"]
    assert texts["against main"] == "the same as SignAPI's"
    (received,) = peer.received
    assert (received.method, received.path) == ("GET", "/centralized/signatures/")
    assert received.parameters["externalId"].startswith("sealdrop-check-")


class TestOurCertificate:
    """Who we are."""

    def test_expired(self, scene: Scene) -> None:
        """It is told with its end, nobody is called with it, and the service does not start."""
        use_client(scene, self_signed(scene.root, "old", NOW - 900 * DAY, NOW - DAY))
        checked = scene.check(offline=False)
        assert "old, issued by old, expired on" in checked.has(Condition.CERTIFICATE_EXPIRED)["text"]
        assert "without a certificate that can be used" in checked.has(Condition.OFFLINE)["text"]
        assert "expired" in scene.refusal()

    def test_not_yet_valid(self, scene: Scene) -> None:
        """It is of a time to come, or our clock is wrong."""
        use_client(scene, self_signed(scene.root, "new", NOW + DAY, NOW + 900 * DAY))
        assert scene.check().has(Condition.CERTIFICATE_NOT_YET)["run_refuses"]
        assert "not valid before" in scene.refusal()

    def test_about_to_expire(self, scene: Scene) -> None:
        """Below 30 days it is a warning, with the days that are left."""
        use_client(scene, self_signed(scene.root, "tired", NOW - 900 * DAY, NOW + 12.5 * DAY))
        checked = scene.check()
        assert "12 days left" in checked.has(Condition.CERTIFICATE_EXPIRING)["text"]
        assert checked.ended.code == 0
        scene.starts()

    def test_a_wrong_passphrase(self, scene: Scene) -> None:
        """The file cannot be opened; the passphrase is not told."""
        (scene.root / "passphrase").write_text(SECRET)
        (scene.root / "passphrase").chmod(0o600)
        scene.set("accounts.main", 'passphrase = { file = "passphrase" }')
        found = scene.check().has(Condition.CERTIFICATE_UNUSABLE)
        assert "a passphrase is configured" in found["text"]
        assert "a passphrase is configured" in scene.refusal()

    def test_a_credential(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """What only systemd hands out is not checked, and it says how to; with it at hand, all is looked at."""
        scene.values["certificate"] = '{ credential = "client" }'
        checked = scene.check(offline=False)
        found = [each for each in checked.findings if each["condition"] == Condition.CREDENTIAL_ELSEWHERE]
        assert [each["mark"] for each in found] == [Mark.NOT_CHECKED] * 2
        assert (
            "systemd-run --pipe --wait -p User=sealdrop -p LoadCredential=client:/etc/sealdrop/credentials/client"
            in found[0]["advice"]
        )
        assert checked.ended.code == 0
        (scene.root / "credentials").mkdir()
        (scene.pki.folder / "client.pem").rename(scene.root / "credentials" / "client")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(scene.root / "credentials"))
        assert scene.check().bad() == set()

    def test_a_variable(self, scene: Scene) -> None:
        """A passphrase in the service's environment is not at hand here."""
        scene.set("accounts.main", 'passphrase = { env = "SEALDROP_TEST_NOT_SET" }')
        found = [each for each in scene.check().findings if each["condition"] == Condition.CREDENTIAL_ELSEWHERE]
        assert "SEALDROP_TEST_NOT_SET=... sealdrop check" in found[0]["advice"]

    def test_a_certificate_that_the_service_does_not_accept(self, scene: Scene, peer: Peer) -> None:
        """The server refuses it, in the handshake or right after it."""
        use_client(scene, self_signed(scene.root, "stranger", NOW - DAY, NOW + 900 * DAY))
        checked = scene.check(offline=False)
        found = checked.has(Condition.CLIENT_REFUSED)
        assert "UNKNOWN_CA" in found["text"]
        assert not found["run_refuses"]
        assert checked.ended.code == 1
        assert peer.received == []


class TestServer:
    """Whom we meet."""

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda _: trustme.CA().issue_cert("localhost"), "unable to get local issuer"),
            (lambda pki: pki.server_ca.issue_cert("elsewhere.example.org"), "Hostname mismatch"),
            (lambda pki: pki.server_ca.issue_cert("localhost", not_after=NOW - DAY), "certificate has expired"),
        ],
        ids=["other authority", "other name", "expired"],
    )
    def test_not_trusted(self, scene: Scene, make: Callable[[object], trustme.LeafCert], words: str) -> None:
        """A chain that leads elsewhere, another name, a certificate that has run out: nothing is asked of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        make(scene.pki).configure_cert(context)
        with running(context) as peer:
            scene.port = peer.port
            assert words in scene.check(offline=False).has(Condition.SERVER_NOT_TRUSTED)["text"]
            assert peer.received == []

    def test_about_to_expire(self, scene: Scene) -> None:
        """The server's certificate has days left."""
        context = scene.pki.server_context()
        scene.pki.server_ca.issue_cert("localhost", not_after=NOW + 9.5 * DAY).configure_cert(context)
        with running(context) as peer:
            scene.port, peer.replies = peer.port, [answer()]
            found = scene.check(offline=False).has(Condition.SERVER_CERTIFICATE_EXPIRING)
        assert "9 days left" in found["text"]

    def test_nobody_there(self, scene: Scene) -> None:
        """A port on which nobody listens."""
        checked = scene.check(offline=False)
        assert "localhost:1: " in checked.has(Condition.SERVICE_UNREACHABLE)["text"]
        assert checked.ended.code == 1
        scene.starts()

    def test_no_such_name(self, scene: Scene) -> None:
        """A name that nobody knows (RFC 6761, 6.4)."""
        scene.values["base_url"] = '"https://signapi.invalid"'
        assert "cannot look up" in scene.check(offline=False).has(Condition.SERVICE_UNKNOWN_NAME)["text"]

    def test_somebody_who_says_nothing(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that takes the connection and never answers does not hold up the check."""
        monkeypatch.setattr(probe, "LIMIT_S", 0.5)
        with running(scene.pki.server_context(), raw=lambda _, peer: peer.stopping.wait(60) and None) as peer:
            scene.port = peer.port
            assert scene.check(offline=False).has(Condition.SERVICE_UNREACHABLE)

    def test_no_tls(self, scene: Scene) -> None:
        """Somebody who speaks another protocol is a matter of the network."""
        with running(scene.pki.server_context(), raw=lambda connection, _: connection.sendall(b"220 mail\r\n")) as peer:
            scene.port = peer.port
            assert scene.check(offline=False).has(Condition.SERVICE_UNREACHABLE)


class TestAnswers:
    """Whether the answer to an unknown request is understood, which is what makes sending again safe."""

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (404, b"<html>no such page</html>"),
            (200, {"errorMsg": "E-4711"}),
            (404, {"errorMsg": "archiver not found"}),
            (200, {"signatureRequestId": "1", "status": "SIGNED"}),
            (200, b"hello"),
            (405, b""),
        ],
    )
    def test_not_understood(self, scene: Scene, peer: Peer, status: int, body: object) -> None:
        """A page that is not there, other words, an answer about something else."""
        peer.replies = [answer(status=status, body=body)]
        checked = scene.check(offline=False)
        assert checked.has(Condition.ANSWER_NOT_UNDERSTOOD)["mark"] == Mark.FAILURE
        assert checked.ended.code == 1

    def test_understood_by_a_pattern(self, scene: Scene, peer: Peer) -> None:
        """The account's own pattern counts."""
        peer.replies = [answer(status=200, body={"errorMsg": "E-4711"})]
        scene.set("accounts.main", "unknown_request_pattern = '^E-4711$'")
        assert scene.check(offline=False).bad() == set()

    @pytest.mark.parametrize("status", [500, 503])
    def test_a_service_in_trouble(self, scene: Scene, peer: Peer, status: int) -> None:
        """It may pass."""
        peer.replies = [answer(status=status, body=b"")]
        assert f"HTTP {status}" in scene.check(offline=False).has(Condition.SERVICE_FAILS)["text"]

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_by_http(self, scene: Scene, peer: Peer, status: int) -> None:
        """A contract that does not let us in."""
        peer.replies = [answer(status=status, body={"errorMsg": "contract ended"})]
        assert "contract ended" in scene.check(offline=False).has(Condition.CLIENT_REFUSED)["text"]


@pytest.mark.parametrize(
    ("ahead", "condition", "words"),
    [
        (timedelta(minutes=-1), Condition.CLOCK_OFF, "60 s ahead of SignAPI's"),
        (timedelta(minutes=1), Condition.CLOCK_OFF, "60 s behind SignAPI's"),
        (timedelta(minutes=-20), Condition.CLOCK_WRONG, "20 min ahead of SignAPI's"),
        (timedelta(hours=5), Condition.CLOCK_WRONG, "5 h behind SignAPI's"),
    ],
)
def test_clocks_that_differ(scene: Scene, peer: Peer, ahead: timedelta, condition: Condition, words: str) -> None:
    """Above 30 s it is a warning, above 5 minutes a failure."""
    peer.replies = [answer(clock=ahead)]
    checked = scene.check(offline=False)
    number, unit, rest = words.split(" ", 2)
    said_number, said_unit, said_rest = checked.has(condition)["text"].split(" ", 2)
    assert (said_unit, said_rest) == (unit, rest)
    assert abs(int(said_number) - int(number)) <= (15 if unit == "s" else 1)
    assert checked.ended.code == (1 if condition is Condition.CLOCK_WRONG else 0)


def _quoted(path: Path) -> str:
    return f'"{path}"'


class TestAnchors:
    """Whom seals must lead back to."""

    def use(self, scene: Scene, *paths: Path) -> None:
        """Have these as the trust anchors."""
        scene.values["trust_anchors"] = f"[{', '.join(map(_quoted, paths))}]"

    def test_expired(self, scene: Scene) -> None:
        """One of several is a warning, all of them a failure."""
        old = self_signed(scene.root, "old", NOW - 900 * DAY, NOW - DAY)
        self.use(scene, old, scene.pki.folder / "ca.pem")
        assert "old in" in scene.check().has(Condition.ANCHOR_EXPIRED)["text"]
        self.use(scene, old)
        assert scene.check().has(Condition.ANCHORS_EXPIRED)["mark"] == Mark.FAILURE
        scene.starts()

    def test_about_to_expire(self, scene: Scene) -> None:
        """Its successor has to be had in time."""
        self.use(scene, self_signed(scene.root, "tired", NOW - 900 * DAY, NOW + 40.5 * DAY))
        assert "expires in 40 days" in scene.check().has(Condition.ANCHOR_EXPIRING)["text"]

    def test_no_authority(self, scene: Scene) -> None:
        """A certificate that issued nothing is good for itself alone."""
        self.use(scene, self_signed(scene.root, "seal", NOW - DAY, NOW + 900 * DAY, authority=False))
        assert "is no authority" in scene.check().has(Condition.ANCHOR_NO_AUTHORITY)["text"]

    @pytest.mark.parametrize(
        "content", [None, b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_unusable(self, scene: Scene, content: bytes | None) -> None:
        """A file that is not there, or holds something else; nothing could be delivered."""
        path = scene.root / "anchors.pem"
        if content is not None:
            path.write_bytes(content)
        self.use(scene, path)
        checked = scene.check()
        assert checked.has(Condition.ANCHORS_UNUSABLE)["run_refuses"]
        assert (Condition.FILE_UNREADABLE in checked.bad()) == (content is None)
        assert "accounts.main.trust_anchors: " in scene.refusal()
