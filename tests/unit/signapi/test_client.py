"""The SignAPI client against a peer over real TLS whose answers are written by hand."""

import base64
import hashlib
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealdrop import __version__
from sealdrop.clock import SystemClock
from sealdrop.config import Account, Seal
from sealdrop.errors import (
    AccountRefused,
    ConfigurationError,
    MalformedAnswer,
    OutcomeUnknown,
    Refused,
    Retryable,
    SealdropError,
)
from sealdrop.model import ArchiveId, ExternalId, RemoteStatus, RequestId, SealLevel, SealPlace, Stamp, StampLine
from sealdrop.signapi import client as client_module
from sealdrop.signapi import transport as transport_module
from sealdrop.signapi.client import SignApi, StatusAnswer
from sealdrop.signapi.wire import NewRequest
from signapi_peer import Peer, Pki, Reply, reply, running

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 3 + b"\n%%EOF\n"
OURS, THEIRS = ExternalId("drop-1"), RequestId("r-1")
CREATED = {"signatureRequestId": "r-1", "externalSignatureRequestId": "drop-1", "status": "SIGN_CREATED"}


def connect(account: Account, largest_document_bytes: int = 1 << 20) -> SignApi:
    """Return a client with the system's clock."""
    return SignApi(account, SystemClock(), largest_document_bytes=largest_document_bytes)


@pytest.fixture
def peer(pki: Pki) -> Iterator[Peer]:
    """Serve what a test puts into ``replies``."""
    with running(pki.server_context()) as peer:
        yield peer


@pytest.fixture
def api(pki: Pki, peer: Peer) -> Iterator[SignApi]:
    """Give a client of the peer."""
    with connect(pki.account(peer.port)) as api:
        yield api


@pytest.fixture
def document(tmp_path: Path) -> NewRequest:
    """Give a request for one small document."""
    path = tmp_path / "original.pdf"
    path.write_bytes(PDF)
    return NewRequest(OURS, path, Seal())


def call(api: SignApi, operation: str, document: NewRequest) -> object:
    """Make one call of the kind named."""
    match operation:
        case "create":
            return api.create([document])
        case "sign":
            return api.sign(THEIRS)
        case "sign_many":
            return api.sign_many([THEIRS, RequestId("r-2")])
        case "status":
            return api.status(external_id=OURS)
        case _:
            return api.search(RemoteStatus.SIGNED)


READING = ("status", "search")
CHANGING = ("create", "sign", "sign_many")
OPERATIONS = (*READING, *CHANGING)


class TestRequests:
    """What is sent is what signapi.md describes."""

    def test_create_sends_the_documented_body(
        self, api: SignApi, peer: Peer, document: NewRequest, tmp_path: Path
    ) -> None:
        """Documents of any length modulo three arrive whole, with all options, in one list."""
        longer = tmp_path / "longer.pdf"
        content = b"%PDF-" + os.urandom(3 * 65536 * 2 + 1)
        longer.write_bytes(content)
        seal = Seal(
            level=SealLevel.B,
            archive=False,
            keywords=("a", "é"),
            archivers=("unused",),
        )
        line = StampLine(text="l", color=255, font="Times_roman", font_size=10, x=3, y=4)
        place = SealPlace(page=2, left=1.5, bottom=2.5, right=31.5, top=22.5)
        stamp = Stamp(place, 1.5, 2.5, "image.png", 30, 20, lines=(line,))
        archived = NewRequest(OURS, document.path, Seal(archivers=("arch",)))
        peer.replies = [
            reply(201, [CREATED, {**CREATED, "signatureRequestId": 2, "externalSignatureRequestId": "drop-2"}])
        ]
        answers = api.create([archived, NewRequest(ExternalId("drop-2"), longer, seal, stamp, b"an image")])
        assert [(answer.request_id, answer.external_id) for answer in answers] == [("r-1", "drop-1"), ("2", "drop-2")]
        received = peer.received[0]
        assert (received.method, received.path, received.parameters) == ("POST", "/centralized/signatures", {})
        assert received.headers["content-type"] == "application/json"
        assert received.headers["user-agent"] == f"sealdrop/{__version__}"
        assert received.headers["content-length"] == str(len(received.body))
        assert "transfer-encoding" not in received.headers
        first, second = json.loads(received.body)
        assert first == {
            "externalSignatureRequestId": "drop-1",
            "signatureOptions": {
                "signatureType": "PAdES_BASELINE_LTA",
                "digestAlgorithmName": "SHA256",
                "signaturePackagingType": "ENVELOPED",
                "documentType": "INLINE",
            },
            "enableArchive": True,
            "archiverNames": ["arch"],
            "hash": hashlib.sha1(PDF, usedforsecurity=False).hexdigest(),
            "toSignContent": base64.b64encode(PDF).decode(),
        }
        assert base64.b64decode(second.pop("toSignContent"), validate=True) == content
        assert second["enableArchive"] is False
        assert "archiverNames" not in second
        assert second["keywords"] == ["a", "é"]
        assert second["pdfSignatureOptions"] == {
            "signatureImageContent": base64.b64encode(b"an image").decode(),
            "signaturePosX": 1.5,
            "signaturePosY": 2.5,
            "signaturePage": 2,
            "linesOptions": [
                {
                    "lineContent": "l",
                    "lineColor": 255,
                    "lineFontSize": 10,
                    "lineFont": "Times_roman",
                    "linePosXInImage": 3.0,
                    "linePosYInImage": 4.0,
                }
            ],
        }

    def test_sign_sends_id_and_mode(self, api: SignApi, peer: Peer) -> None:
        """Signing one is a POST without a body, by parameters."""
        peer.replies = [reply(200, [{**CREATED, "status": "SIGN_IN_PROGRESS"}])]
        assert api.sign(THEIRS).status is RemoteStatus.SIGN_IN_PROGRESS
        received = peer.received[0]
        assert (received.method, received.path, received.body) == ("POST", "/centralized/signatures/sign", b"")
        assert received.parameters == {"id": "r-1", "mode": "ASYNC"}
        assert received.headers["content-length"] == "0"

    def test_sign_many_sends_a_list(self, api: SignApi, peer: Peer) -> None:
        """Signing several sends their IDs in the body, and keeps their order."""
        peer.replies = [reply(200, [CREATED, {**CREATED, "signatureRequestId": "r-2"}])]
        assert [each.request_id for each in api.sign_many([THEIRS, RequestId("r-2")])] == ["r-1", "r-2"]
        received = peer.received[0]
        assert received.parameters == {"mode": "ASYNC"}
        assert json.loads(received.body) == [{"signatureRequestId": "r-1"}, {"signatureRequestId": "r-2"}]

    @pytest.mark.parametrize(
        ("ids", "parameters"),
        [
            ({"external_id": OURS}, {"externalId": "drop-1"}),
            ({"request_id": THEIRS}, {"id": "r-1"}),
            ({"external_id": OURS, "request_id": THEIRS}, {"externalId": "drop-1", "id": "r-1"}),
        ],
    )
    def test_status_asks_by_either_id(
        self, api: SignApi, peer: Peer, ids: dict[str, Any], parameters: dict[str, str]
    ) -> None:
        """Only the IDs that are given are sent as parameters."""
        peer.replies = [reply(200, CREATED)]
        found = api.status(**ids)
        assert found.status is not None
        assert found.status.status is RemoteStatus.SIGN_CREATED
        assert peer.received[0].parameters == parameters
        assert peer.received[0].path == "/centralized/signatures/"

    def test_status_needs_an_id(self, api: SignApi, peer: Peer) -> None:
        """No ID, or an empty one, is never sent: the service might answer about any request."""
        for ids in ({}, {"external_id": ExternalId("")}):
            with pytest.raises(ValueError, match="by an ID"):
                api.status(**ids)
        assert peer.received == []

    def test_search(self, api: SignApi, peer: Peer) -> None:
        """A search lists whatever the service has, requests without an ID of ours among them."""
        peer.replies = [reply(200, [{"signatureRequestId": 7, "status": "SIGNED"}])]
        (found,) = api.search(RemoteStatus.SIGNED)
        assert (found.request_id, found.external_id) == ("7", None)
        assert peer.received[0].parameters == {"status": "SIGNED"}

    def test_paths_and_mode_are_configuration(self, pki: Pki, peer: Peer) -> None:
        """The account's own paths, below its base URL's, are called."""
        peer.replies = [reply(200, [CREATED])]
        account = pki.account(
            peer.port, base_url=f"https://localhost:{peer.port}/api/", paths={"sign": "/go"}, mode="SYNC"
        )
        with connect(account) as api:
            api.sign(THEIRS)
        assert peer.received[0].path == "/api/go"
        assert peer.received[0].parameters["mode"] == "SYNC"

    def test_the_environment_is_ignored(
        self, pki: Pki, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither a proxy nor a password file that the environment names is used."""
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        (tmp_path / "netrc").write_text("machine localhost login user password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        peer.replies = [reply(200, CREATED)]
        with connect(pki.account(peer.port)) as fresh:
            assert fresh.status(external_id=OURS).status is not None
        assert "authorization" not in peer.received[0].headers

    def test_connections_are_kept(self, api: SignApi, peer: Peer) -> None:
        """Calls in a row use one connection."""
        peer.replies = [reply(200, CREATED)]
        for _ in range(3):
            api.status(external_id=OURS)
        assert (peer.connections, len(peer.received)) == (1, 3)


class TestContent:
    """The sealed PDF goes to its file, or nothing does."""

    def test_content_is_stored(self, api: SignApi, peer: Peer, tmp_path: Path) -> None:
        """Content with line breaks inside is decoded, stored, measured, and no part of the evidence."""
        answer = {
            **CREATED,
            "status": "ARCHIVED",
            "signingDate": "2026-03-01T10:00:00+0100",
            "archives": [{"archiverName": "arch", "archiveId": 12}],
            "signedContent": base64.encodebytes(PDF).decode().replace("\n", "\r\n"),
        }
        peer.replies = [reply(200, answer)]
        target = tmp_path / "sealed.pdf"
        found = api.status(request_id=THEIRS, content_to=target)
        assert target.read_bytes() == PDF
        assert (found.content_size_bytes, found.content_sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
        assert found.status is not None
        assert found.status.archive_ids == (ArchiveId("arch", "12"),)
        assert found.status.signing_date == datetime(2026, 3, 1, 9, tzinfo=UTC)
        assert found.status.answer == {name: value for name, value in answer.items() if name != "signedContent"}
        assert [path.name for path in tmp_path.iterdir()] == ["sealed.pdf"]

    def test_content_is_left_alone_unless_asked_for(self, api: SignApi, peer: Peer) -> None:
        """Without a file to write to, content is neither decoded nor judged."""
        peer.replies = [reply(200, {**CREATED, "status": "SIGNED", "signedContent": "!"})]
        found = api.status(request_id=THEIRS)
        assert (found.content_size_bytes, found.content_sha256) == (None, None)

    def test_no_content_writes_nothing(self, api: SignApi, peer: Peer, tmp_path: Path) -> None:
        """An answer without content leaves the file as it is."""
        peer.replies = [reply(200, CREATED)]
        found = api.status(request_id=THEIRS, content_to=tmp_path / "sealed.pdf")
        assert found.content_size_bytes is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [("!!!!", "signedContent is not base64"), ("aGVsbG8=", "signedContent holds no PDF")],
    )
    def test_wrong_content_is_not_stored(
        self, api: SignApi, peer: Peer, tmp_path: Path, content: str, message: str
    ) -> None:
        """Content that is no PDF is malformed, and an earlier file stays."""
        target = tmp_path / "sealed.pdf"
        target.write_bytes(b"before")
        peer.replies = [reply(200, {**CREATED, "status": "SIGNED", "signedContent": content})]
        with pytest.raises(MalformedAnswer, match=re.escape(f"status at localhost (r-1): the answer: {message}")):
            api.status(request_id=THEIRS, content_to=target)
        assert target.read_bytes() == b"before"

    def test_unwritable_target(self, api: SignApi, peer: Peer, tmp_path: Path) -> None:
        """A disk's failure is told as such, and not as the service's."""
        peer.replies = [reply(200, {**CREATED, "signedContent": base64.b64encode(PDF).decode()})]
        with pytest.raises(FileNotFoundError):
            api.status(request_id=THEIRS, content_to=tmp_path / "nowhere" / "sealed.pdf")


def broken(secured: ssl.SSLSocket) -> None:
    """Reset the connection instead of answering."""
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def cut_short(secured: ssl.SSLSocket) -> None:
    """Close before the whole answer has been sent."""
    secured.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status"')


def garbage(secured: ssl.SSLSocket) -> None:
    """Answer with what is no HTTP."""
    secured.sendall(b"\0\1\2 not HTTP\r\n\r\n")


ERROR = {"errorMsg": "the words of the service"}
# (answer, policy of a reading call, policy of a changing call)
ROWS: list[tuple[str, Reply, type[SealdropError], type[SealdropError]]] = [
    ("closed", None, Retryable, OutcomeUnknown),
    ("reset", broken, Retryable, OutcomeUnknown),
    ("cut short", cut_short, Retryable, OutcomeUnknown),
    ("garbage", garbage, Retryable, OutcomeUnknown),
    ("redirect", reply(302, b"", Location="/elsewhere"), AccountRefused, AccountRefused),
    ("permanent redirect", reply(308, b"", Location="/elsewhere"), AccountRefused, AccountRefused),
    ("unauthorised", reply(401, ERROR), AccountRefused, AccountRefused),
    ("forbidden", reply(403, b"<html>"), AccountRefused, AccountRefused),
    ("a proxy's 404", reply(404, b"<html>"), AccountRefused, AccountRefused),
    ("a container's 404", reply(404, {"error": "Not Found", "status": 404}), AccountRefused, AccountRefused),
    ("method", reply(405, ERROR), AccountRefused, AccountRefused),
    ("a proxy's 410", reply(410, b""), AccountRefused, AccountRefused),
    (
        "nginx wants another certificate",
        reply(400, b"<title>400 The SSL certificate error</title>"),
        AccountRefused,
        AccountRefused,
    ),
    ("bad request", reply(400, ERROR), Retryable, Refused),
    ("too large", reply(413, b"<html>"), Retryable, Refused),
    ("media type", reply(415, ERROR), Retryable, Refused),
    ("unprocessable", reply(422, ERROR), Retryable, Refused),
    ("errorMsg with 200", reply(200, ERROR), Retryable, Refused),
    ("request timeout", reply(408, b""), Retryable, OutcomeUnknown),
    ("conflict", reply(409, ERROR), Retryable, OutcomeUnknown),
    ("too early", reply(425, b""), Retryable, OutcomeUnknown),
    ("too many", reply(429, ERROR, Retry_After="7"), Retryable, OutcomeUnknown),
    ("error", reply(500, ERROR), Retryable, OutcomeUnknown),
    ("gateway", reply(502, b"<html>"), Retryable, OutcomeUnknown),
    ("busy", reply(503, b"", Retry_After="7"), Retryable, OutcomeUnknown),
    ("not JSON", reply(200, b"<html>"), MalformedAnswer, MalformedAnswer),
    ("nothing", reply(204, b""), MalformedAnswer, MalformedAnswer),
    ("compressed", reply(200, CREATED, Content_Encoding="gzip"), MalformedAnswer, MalformedAnswer),
    ("another shape", reply(200, "text"), MalformedAnswer, MalformedAnswer),
]


class TestPolicy:
    """Every row of the table in `sealdrop.signapi.policy`, over the wire, for every operation."""

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize(("answer", "reading", "changing"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
    def test_row(
        self,
        api: SignApi,
        peer: Peer,
        document: NewRequest,
        operation: str,
        answer: Reply,
        reading: type[SealdropError],
        changing: type[SealdropError],
    ) -> None:
        """The error has exactly the class of the table and names operation, host and IDs; it is sent once."""
        peer.replies = [answer]
        with pytest.raises(SealdropError) as caught:
            call(api, operation, document)
        assert type(caught.value) is (reading if operation in READING else changing)
        ids = {"create": "drop-1", "sign": "r-1", "sign_many": "r-1, r-2", "status": "drop-1", "search": "SIGNED"}
        assert str(caught.value).startswith(f"{operation} at localhost ({ids[operation]}): ")
        assert len(peer.received) == 1
        if answer in (reply(503, b"", Retry_After="7"), reply(429, ERROR, Retry_After="7")):
            assert isinstance(caught.value, Retryable | OutcomeUnknown)
            assert caught.value.retry_after_s == 7.0
        if isinstance(answer, bytes) and b"the words of the service" in answer:
            assert "the words of the service" in str(caught.value)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_connection_refused(self, pki: Pki, document: NewRequest, operation: str) -> None:
        """What could not be sent is safe to repeat."""
        with socket.socket() as taken:  # bound and not listening: nobody answers there
            taken.bind(("127.0.0.1", 0))
            account = pki.account(taken.getsockname()[1])
            with (
                connect(account) as api,
                pytest.raises(Retryable, match=r"nothing was sent: ConnectError: .*refused") as caught,
            ):
                call(api, operation, document)
        assert type(caught.value) is Retryable

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
    def test_name_lookup(
        self, pki: Pki, document: NewRequest, monkeypatch: pytest.MonkeyPatch, operation: str, host: str
    ) -> None:
        """A name that cannot be looked up means that nothing was sent, even one that can be no name."""
        real = socket.getaddrinfo

        def offline(name: str, port: int, **more: int) -> object:
            if name == "no-such-host.invalid":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real(name, port, **more)

        monkeypatch.setattr(socket, "getaddrinfo", offline)
        account = pki.account(1, base_url=f"https://{host}")
        with (
            connect(account) as api,
            pytest.raises(Retryable, match="nothing was sent: ConnectError: cannot look up") as caught,
        ):
            call(api, operation, document)
        assert type(caught.value) is Retryable

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_handshake_broken_off(self, pki: Pki, document: NewRequest, operation: str) -> None:
        """A connection that ends in the handshake means that nothing was sent."""
        with (
            running(pki.server_context(), raw=lambda connection, _: connection.recv(10) and None) as peer,
            connect(pki.account(peer.port)) as api,
            pytest.raises(Retryable, match="nothing was sent") as caught,
        ):
            call(api, operation, document)
        assert type(caught.value) is Retryable

    @pytest.mark.parametrize("operation", ["sign", "sign_many"])
    @pytest.mark.parametrize("status", [404, 410])
    def test_an_unknown_request_is_not_the_accounts_fault(
        self, api: SignApi, peer: Peer, document: NewRequest, operation: str, status: int
    ) -> None:
        """Signing what is not there says: ask for each one, and does not hold up the account."""
        peer.replies = [reply(status, ERROR)]
        with pytest.raises(OutcomeUnknown, match="the words of the service"):
            call(api, operation, document)

    @pytest.mark.parametrize("operation", ["create", "search"])
    def test_an_unknown_path_is(self, api: SignApi, peer: Peer, document: NewRequest, operation: str) -> None:
        """Creating and searching name no request, so 404 means a wrong path, whatever it says."""
        peer.replies = [reply(404, ERROR)]
        with pytest.raises(AccountRefused):
            call(api, operation, document)

    def test_a_refused_batch_says_so(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """The refusal of several documents concerns all of them, and names some."""
        peer.replies = [reply(200, {"errorMsg": "no", "errorLabel": "E1"})]
        batch = [NewRequest(ExternalId(f"drop-{number}"), document.path, document.seal) for number in range(5)]
        with pytest.raises(Refused) as caught:
            api.create(batch)
        assert str(caught.value) == (
            "create at localhost (drop-0, drop-1, drop-2 and 2 more): HTTP 200: no (E1) "
            "(the whole batch of 5 documents)"
        )
        assert caught.value.documents == 5

    def test_one_request_is_not_that_of_two_documents(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """An answer that names one request for two documents is not understood: neither gets the other's seal."""
        peer.replies = [reply(201, [CREATED, {**CREATED, "externalSignatureRequestId": "drop-2"}])]
        with pytest.raises(MalformedAnswer, match="one request for several documents"):
            api.create([document, NewRequest(ExternalId("drop-2"), document.path, Seal())])

    def test_answers_in_another_order_are_not_understood(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """A list in another order than was sent is a malformed answer, and no document is taken for another."""
        second = {**CREATED, "signatureRequestId": "r-2", "externalSignatureRequestId": "drop-2"}
        peer.replies = [reply(201, [second, CREATED]), reply(200, [second, CREATED])]
        with pytest.raises(MalformedAnswer):
            api.create([document, NewRequest(ExternalId("drop-2"), document.path, Seal())])
        with pytest.raises(MalformedAnswer):
            api.sign_many([THEIRS, RequestId("r-2")])

    def test_a_dead_kept_connection_is_an_unknown_outcome(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """A changing call on a kept connection that ends without an answer is not sent again."""
        peer.replies = [reply(200, [CREATED]), None]
        api.create([document])
        with pytest.raises(OutcomeUnknown) as caught:
            api.create([document])
        assert type(caught.value) is OutcomeUnknown
        assert (peer.connections, len(peer.received)) == (1, 2)

    def test_an_endless_answer_is_cut_off(self, pki: Pki, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more of an answer is read than twice the largest document and its frame."""
        monkeypatch.setattr(client_module, "REST_LIMIT_BYTES", 1000)

        def endless(secured: ssl.SSLSocket) -> None:
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            while not peer.stopping.is_set():
                secured.sendall(b" " * 1000)

        peer.replies = [endless]
        with (
            connect(pki.account(peer.port), largest_document_bytes=500) as api,
            pytest.raises(MalformedAnswer, match="longer than 2000 bytes"),
        ):
            api.status(external_id=OURS)

    def test_an_answer_that_is_long_beside_its_content_is_cut_off(
        self, api: SignApi, peer: Peer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is no content has no claim to a document's room: it stays in memory."""
        monkeypatch.setattr(transport_module, "REST_LIMIT_BYTES", 1000)
        peer.replies = [reply(200, {**CREATED, "reason": "no " * 400})]
        with pytest.raises(MalformedAnswer, match="more than 1000 bytes beside its content"):
            api.status(external_id=OURS)

    def test_an_unreadable_document_is_not_sent(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """A document that is gone is told before anything is sent."""
        document.path.unlink()
        with pytest.raises(FileNotFoundError):
            api.create([document])
        assert peer.connections == 0

    def test_a_visible_seal_without_its_image_is_not_sent(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """It is never asked for as an invisible one."""
        stamp = Stamp(SealPlace(1, 0, 0, 30, 20), 0, 0, "missing.png", 30, 20)
        with pytest.raises(ValueError, match="has no image"):
            api.create([NewRequest(OURS, document.path, Seal(), stamp)])
        assert peer.connections == 0

    def test_a_document_that_shrinks_while_sent(
        self, pki: Pki, peer: Peer, document: NewRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once the request has begun to leave, even our own disk's failure leaves the outcome unknown."""
        peer.replies = [reply(200, [CREATED])]
        with connect(pki.account(peer.port)) as api:
            body_class = client_module.content.CreateBody

            class Shrinking(body_class):  # type: ignore[misc, valid-type]
                def __iter__(self) -> Iterator[bytes]:
                    document.path.write_bytes(PDF[:100])
                    return super().__iter__()

            monkeypatch.setattr(client_module.content, "CreateBody", Shrinking)
            with pytest.raises(OutcomeUnknown, match="became shorter"):
                api.create([document])
        assert peer.received == []

    def test_a_secret_never_gets_into_an_error(self, api: SignApi, peer: Peer, document: NewRequest) -> None:
        """An error of the service that repeats our content back is told without it, and cut."""
        encoded = base64.encodebytes(PDF).decode()
        peer.replies = [reply(200, {"errorMsg": f"bad\r\n toSignContent \x07: {encoded} " + "word " * 200})]
        with pytest.raises(Refused) as caught:
            api.create([document])
        assert "bad toSignContent \N{REPLACEMENT CHARACTER}: [...] word word" in str(caught.value)
        assert encoded[:70] not in str(caught.value)
        assert len(str(caught.value)) < 600


class TestUnknown:
    """Only an unmistakable answer makes a request unknown, for that is what makes sending safe."""

    @pytest.mark.parametrize(
        "answer",
        [
            reply(404, {"errorMsg": "No such signature request"}),
            reply(200, {"errorMsg": "Signature request not found"}),
            reply(200, {"errorMsg": "x", "errorLabel": "SIGNATURE_REQUEST_NOT_FOUND"}),
            reply(200, {"errorMsg": "Demande de signature inconnue"}),
        ],
    )
    def test_unknown(self, api: SignApi, peer: Peer, answer: bytes) -> None:
        """The service's own word that there is no such request is believed."""
        peer.replies = [answer]
        assert api.status(external_id=OURS) == StatusAnswer(None)

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (reply(404, b""), AccountRefused),
            (reply(404, b"<html>not found</html>"), AccountRefused),
            (reply(404, {"message": "not found"}), AccountRefused),
            (reply(404, {"errorMsg": ""}), AccountRefused),
            (reply(404, [{"errorMsg": "not found"}]), AccountRefused),
            (reply(404, {"errorMsg": "There is no such call"}), AccountRefused),
            (reply(410, {"errorMsg": "not found"}), AccountRefused),
            (reply(500, {"errorMsg": "Signature request not found"}), Retryable),
            (reply(200, {"errorMsg": "Unknown error"}), Retryable),
            (reply(200, {"errorMsg": "Request failed: unknown error"}), Retryable),
            (reply(200, {"errorMsg": "Archiver not found"}), Retryable),
            (reply(200, {}), MalformedAnswer),
            (reply(200, []), MalformedAnswer),
            (reply(200, None), MalformedAnswer),
        ],
    )
    def test_not_unknown(self, api: SignApi, peer: Peer, answer: bytes, error: type[SealdropError]) -> None:
        """Anything less is an error."""
        peer.replies = [answer]
        with pytest.raises(error) as caught:
            api.status(external_id=OURS)
        assert type(caught.value) is error

    def test_the_pattern_is_configuration(self, pki: Pki, peer: Peer) -> None:
        """An account's own pattern takes the place of ours, whatever the case."""
        with connect(pki.account(peer.port, unknown_request_pattern="^ref nulle$")) as api:
            peer.replies = [reply(200, {"errorMsg": "REF NULLE"})]
            assert api.status(external_id=OURS).status is None
            peer.replies = [reply(200, {"errorMsg": "Signature request not found"})]
            with pytest.raises(Retryable):
                api.status(external_id=OURS)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown_request_pattern": "("},
        {"unknown_request_pattern": ".*"},
        {"archive_id": ("archives[0].id",)},
        {"archive_id": ("",)},
    ],
)
def test_configuration_is_checked(pki: Pki, change: dict[str, Any]) -> None:
    """A pattern that is none or matches everything, and a place that leads nowhere, are refused at start."""
    with pytest.raises(ValueError, match=next(iter(change))):
        pki.account(1, **change)


def test_an_address_that_is_none(pki: Pki) -> None:
    """A base URL that cannot be called is a fault of the configuration."""
    with pytest.raises(ConfigurationError, match="base_url"):
        connect(pki.account(1, base_url="https://" + "ä" * 70))
