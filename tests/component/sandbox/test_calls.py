"""The five calls, as signapi.md describes them."""

import base64
import hashlib
from datetime import datetime

import pytest

from sandbox_caller import SIGNATURES, StartSandbox, document, sealed_content
from sealdrop.sandbox.app import Answers
from sealdrop.sandbox.samples import encrypted, not_a_pdf
from sealdrop.sandbox.service import Delays

LONG = Delays(sign_s=3600)


def test_a_request_goes_all_the_way_to_the_archive(start: StartSandbox, invoice: bytes) -> None:
    """A document that asks for archiving ends as ARCHIVED, with a date, the sealed content and archive identifiers."""
    caller = start()
    created = caller.create(
        document(invoice, "A1", "LTA", enableArchive=True, archiverNames=["one", "two"], keywords=["K"])
    )
    assert [status["status"] for status in created] == ["SIGN_CREATED"]
    assert created[0]["externalSignatureRequestId"] == "A1"
    identifier = str(created[0]["signatureRequestId"])
    signed = caller.sign(identifier).json()
    assert [status["signatureRequestId"] for status in signed] == [identifier]
    archived = caller.until_status(identifier, "ARCHIVED")
    assert sealed_content(archived).startswith(invoice)
    assert datetime.fromisoformat(str(archived["signingDate"])).tzinfo is not None
    archives = archived["archives"]
    assert [archive["archiverName"] for archive in archives] == ["one", "two"]
    assert archived["archiveId"] == archives[0]["archiveId"]
    assert archives[0]["archiveId"] != archives[1]["archiveId"]


def test_the_record_tells_what_was_sealed_and_deposited(start: StartSandbox, invoice: bytes) -> None:
    """One seal and one deposit give one line each, that name the request and the document that came in."""
    caller = start()
    status = caller.seal(document(invoice, "A1", enableArchive=True, archiverNames=["one"]), "ARCHIVED")
    digest = hashlib.sha256(invoice).hexdigest()
    (seal,) = caller.sandbox.seals()
    (deposit,) = caller.sandbox.deposits()
    for entry in (seal, deposit):
        assert (entry.external_id, entry.request_id, entry.sha256) == ("A1", status["signatureRequestId"], digest)
        assert entry.sealed_sha256 == hashlib.sha256(sealed_content(status)).hexdigest()
    assert seal.archive_id is None
    assert deposit.archive_id == status["archiveId"]
    kept = caller.sandbox.directory / "archive" / f"{deposit.archive_id}.pdf"
    assert kept.read_bytes() == sealed_content(status)


def test_without_archiving_a_request_ends_as_signed(start: StartSandbox, invoice: bytes) -> None:
    """A document that asks for no archive stays SIGNED and is deposited nowhere."""
    caller = start()
    other = caller.seal(document(invoice, "A1"))
    caller.seal(document(invoice, "A2", enableArchive=True), "ARCHIVED")
    assert caller.status(str(other["signatureRequestId"]))["status"] == "SIGNED"
    assert [entry.external_id for entry in caller.sandbox.deposits()] == ["A2"]


def test_each_status_waits_for_its_delay(start: StartSandbox, invoice: bytes) -> None:
    """While a delay has not passed, a request stays where it is, and has no content to show before it is sealed."""
    caller = start(delays=LONG)
    identifier = str(caller.create(document(invoice))[0]["signatureRequestId"])
    assert caller.status(identifier)["status"] == "SIGN_CREATED"
    assert caller.sign(identifier).json()[0]["status"] == "SIGN_IN_PROGRESS"
    status = caller.status(identifier)
    assert status["status"] == "SIGN_IN_PROGRESS"
    assert "signedContent" not in status
    assert caller.sandbox.seals() == ()


@pytest.mark.parametrize(
    ("delays", "stays"),
    [
        (Delays(sign_s=0, archive_start_s=3600), "SIGNED"),
        (Delays(sign_s=0, archive_start_s=0, archive_s=3600), "ARCHIVE_IN_PROGRESS"),
    ],
)
def test_sealed_content_is_there_before_the_archive_is(
    start: StartSandbox, invoice: bytes, delays: Delays, stays: str
) -> None:
    """The sealed document can be had while its deposit waits or is under way, without an archive identifier."""
    caller = start(delays=delays)
    status = caller.seal(document(invoice, enableArchive=True), stays)
    assert sealed_content(status).startswith(invoice)
    assert "archiveId" not in status
    assert "archives" not in status


def test_in_mode_sync_the_sign_call_answers_when_sealed(start: StartSandbox, invoice: bytes) -> None:
    """In mode SYNC the sign call's own answer is SIGNED, with the content, although archiving goes on."""
    caller = start()
    identifier = str(caller.create(document(invoice, enableArchive=True))[0]["signatureRequestId"])
    (signed,) = caller.sign(identifier, "SYNC").json()
    assert signed["status"] == "SIGNED"
    assert sealed_content(signed).startswith(invoice)
    caller.until_status(identifier, "ARCHIVED")


def test_several_requests_in_one_call(start: StartSandbox, invoice: bytes) -> None:
    """A batch is created and signed in order, one seal for each."""
    caller = start()
    created = caller.create(*(document(invoice, f"N{number}") for number in range(5)))
    identifiers = [status["signatureRequestId"] for status in created]
    assert [status["externalSignatureRequestId"] for status in created] == [f"N{number}" for number in range(5)]
    body = [{"signatureRequestId": identifier} for identifier in identifiers]
    signed = caller.http.post(f"{SIGNATURES}/sign?mode=SYNC", json=body).json()
    assert [status["signatureRequestId"] for status in signed] == identifiers
    assert {status["status"] for status in signed} == {"SIGNED"}
    assert sorted(str(entry.external_id) for entry in caller.sandbox.seals()) == [f"N{number}" for number in range(5)]


def test_signing_again_seals_nothing_more(start: StartSandbox, invoice: bytes) -> None:
    """A sign call for a sealed request answers its status and makes no second seal."""
    caller = start()
    status = caller.seal(document(invoice))
    again = caller.sign(str(status["signatureRequestId"]), "SYNC").json()
    assert again[0]["status"] == "SIGNED"
    assert again[0]["signingDate"] == status["signingDate"]
    assert len(caller.sandbox.seals()) == 1


def test_a_second_create_is_not_refused(start: StartSandbox, invoice: bytes) -> None:
    """The same external identifier twice makes two requests, two seals, and the newer answers to the name."""
    caller = start()
    first, second = (caller.seal(document(invoice, "twice"))["signatureRequestId"] for _ in range(2))
    assert first != second
    assert [entry.external_id for entry in caller.sandbox.seals()] == ["twice", "twice"]
    found = caller.http.get(f"{SIGNATURES}/", params={"externalId": "twice"}).json()
    assert found["signatureRequestId"] == second


def test_sign_and_status_go_by_the_external_identifier_too(start: StartSandbox, invoice: bytes) -> None:
    """A request can be signed and asked for by the caller's own identifier, with and without a trailing slash."""
    caller = start()
    (created,) = caller.http.post(f"{SIGNATURES}/", json=[document(invoice, "mine")]).json()
    (signed,) = caller.http.post(f"{SIGNATURES}/sign/", params={"externalId": "mine", "mode": "SYNC"}).json()
    assert signed["signatureRequestId"] == created["signatureRequestId"]
    assert caller.http.get(SIGNATURES, params={"externalId": "mine"}).json()["status"] == "SIGNED"


def test_search_lists_by_status_without_content(start: StartSandbox, invoice: bytes) -> None:
    """A search gives the requests in a status, or all of them, never their content."""
    caller = start()
    caller.seal(document(invoice, "sealed"))
    caller.create(document(invoice, "waiting"))

    def search(**params: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = caller.http.get(f"{SIGNATURES}/search/", params=params).json()
        assert all("signedContent" not in status for status in found)
        return found

    assert [status["externalSignatureRequestId"] for status in search(status="SIGNED")] == ["sealed"]
    assert [status["externalSignatureRequestId"] for status in search()] == ["sealed", "waiting"]
    assert search(status="REFUSED") == []


@pytest.mark.parametrize(("answers", "code"), [(Answers(), 404), (Answers(unknown_with_200=True), 200)])
def test_an_unknown_request_is_an_error_message(start: StartSandbox, answers: Answers, code: int) -> None:
    """An unknown identifier answers an object with errorMsg, by 404 or, if chosen so, 200, even for a list."""
    caller = start(answers=answers)
    for answer in (
        caller.http.get(f"{SIGNATURES}/", params={"id": "1"}),
        caller.http.get(f"{SIGNATURES}/", params={"externalId": "1"}),
        caller.sign("1"),
        caller.http.post(f"{SIGNATURES}/sign", json=[{"signatureRequestId": 1}]),
    ):
        assert answer.status_code == code
        assert list(answer.json()) == ["errorMsg"]


def test_base64_may_come_in_lines(start: StartSandbox, invoice: bytes) -> None:
    """If chosen so, the base64 of answers holds line breaks, and those of requests are accepted in any case."""
    caller = start(answers=Answers(base64_lines=True))
    lines = base64.encodebytes(invoice).decode().replace("\n", "\r\n")
    status = caller.seal(document(invoice, toSignContent=lines))
    assert "\n" in str(status["signedContent"])
    assert sealed_content(status).startswith(invoice)
    assert caller.sandbox.seals()[0].sha256 == hashlib.sha256(invoice).hexdigest()


@pytest.mark.parametrize("content", [not_a_pdf(), encrypted(), b"%PDF-1.4\nbroken\n%%EOF\n"])
def test_what_cannot_be_sealed_fails_with_a_reason(start: StartSandbox, content: bytes) -> None:
    """What is no PDF, or none that takes a seal, ends as SIGN_FAILED with a reason; no seal is recorded."""
    caller = start()
    status = caller.seal(document(content), "SIGN_FAILED")
    assert status["reason"]
    assert "signedContent" not in status
    again = caller.sign(str(status["signatureRequestId"]))
    assert again.status_code == 400
    assert "SIGN_FAILED" in again.json()["errorMsg"]
    assert caller.sandbox.seals() == ()


def test_a_seal_on_a_page_that_is_not_there_fails(start: StartSandbox, invoice: bytes) -> None:
    """A visible seal on page 2 of a one-page document ends as SIGN_FAILED."""
    caller = start()
    visible = {"signaturePage": 2, "linesOptions": [{"lineContent": "x"}]}
    assert caller.seal(document(invoice, pdfSignatureOptions=visible), "SIGN_FAILED")["reason"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"toSignContent": None}, "toSignContent"),
        ({"toSignContent": "%%%"}, "toSignContent"),
        ({"enableArchive": None}, "enableArchive"),
        ({"enableArchive": "yes"}, "enableArchive"),
        ({"signatureOptions": None}, "signatureOptions"),
        ({"signatureOptions": {"signatureType": "XAdES"}}, "signatureType"),
        ({"signatureOptions": {"signatureType": "PAdES_BASELINE_B", "digestAlgorithmName": "MD5"}}, "digestAlgorithm"),
        ({"signatureOptions": {"signatureType": "PAdES_BASELINE_B", "documentType": "HASH"}}, "documentType"),
        ({"hash": "0" * 40}, "hash"),
        ({"archiverNames": "one"}, "archiverNames"),
        ({"externalSignatureRequestId": 7}, "externalSignatureRequestId"),
        ({"pdfSignatureOptions": []}, "pdfSignatureOptions"),
        ({"pdfSignatureOptions": {"signaturePage": 0}}, "signaturePage"),
        ({"pdfSignatureOptions": {"signaturePosX": "left"}}, "signaturePosX"),
        ({"pdfSignatureOptions": {"signatureImageContent": "AAAA"}}, "signatureImageContent"),
        ({"pdfSignatureOptions": {"linesOptions": {}}}, "linesOptions"),
        ({"pdfSignatureOptions": {"linesOptions": [{}]}}, "lineContent"),
        ({"pdfSignatureOptions": {"linesOptions": [{"lineContent": "x", "lineFont": "Comic"}]}}, "lineFont"),
        ({"pdfSignatureOptions": {"linesOptions": [{"lineContent": "x", "lineColor": -1}]}}, "lineColor"),
        ({"pdfSignatureOptions": {"linesOptions": [{"lineContent": "x", "lineFontSize": 0}]}}, "lineFontSize"),
    ],
)
def test_a_document_that_is_not_as_described_is_refused(
    start: StartSandbox, invoice: bytes, change: dict[str, object], key: str
) -> None:
    """A create call with one wrong value answers 400 and an errorMsg that names the key; nothing of it is kept."""
    caller = start()
    answer = caller.http.post(SIGNATURES, json=[document(invoice, "good"), {**document(invoice, "bad"), **change}])
    assert answer.status_code == 400
    assert key in answer.json()["errorMsg"]
    assert caller.http.get(f"{SIGNATURES}/search/").json() == []


def test_the_hash_of_an_undamaged_document_is_accepted(start: StartSandbox, invoice: bytes) -> None:
    """The right SHA-1, in capitals even, lets the document pass."""
    caller = start()
    digest = hashlib.sha1(invoice, usedforsecurity=False).hexdigest().upper()
    assert caller.create(document(invoice, hash=digest))[0]["status"] == "SIGN_CREATED"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", SIGNATURES, b"not json"),
        ("POST", SIGNATURES, b"{}"),
        ("POST", SIGNATURES, b"[]"),
        ("POST", SIGNATURES, b"[1]"),
        ("POST", SIGNATURES, b"[" * 100_000),
        ("POST", f"{SIGNATURES}/sign", b""),
        ("POST", f"{SIGNATURES}/sign", b'[{"signatureRequestId": true}]'),
        ("POST", f"{SIGNATURES}/sign?id=1&mode=SOON", b""),
        ("GET", f"{SIGNATURES}/", b""),
        ("GET", f"{SIGNATURES}/search/?status=DONE", b""),
    ],
)
def test_a_call_that_cannot_be_understood_is_refused(start: StartSandbox, method: str, path: str, body: bytes) -> None:
    """A call without sense answers 400 with an errorMsg."""
    answer = start().http.request(method, path, content=body)
    assert answer.status_code == 400
    assert answer.json()["errorMsg"]


def test_there_is_nothing_else(start: StartSandbox) -> None:
    """An address or a method that is not described answers an errorMsg."""
    caller = start()
    assert caller.http.get("/elsewhere").status_code == 404
    assert caller.http.delete(SIGNATURES).status_code == 405
    assert caller.http.get("/elsewhere").json()["errorMsg"]
