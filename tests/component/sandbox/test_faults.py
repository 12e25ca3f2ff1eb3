"""Each fault of the plan, as whoever calls the sandbox meets it."""

import contextlib
import io
import json
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from sandbox_caller import SIGNATURES, Caller, StartSandbox, client_context, document, sealed_content, until
from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.pki import Pki

SEARCH = f"{SIGNATURES}/search/"


def external_ids(caller: Caller) -> list[object]:
    """Return what the sandbox knows, in order."""
    return [status["externalSignatureRequestId"] for status in caller.http.get(SEARCH).json()]


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        # Python's ssl shows a reset as an end without goodbye, and httpx that as a server that said nothing.
        ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("truncated", (httpx.RemoteProtocolError,)),
        ("timeout", (httpx.ReadTimeout,)),
    ],
)
def test_a_lost_answer(
    start: StartSandbox, invoice: bytes, fault: str, error: type[Exception] | tuple[type[Exception], ...], applied: bool
) -> None:
    """The answer is lost; the call was carried out or not, just as the plan says; the next one is answered."""
    caller = start(timeout_s=2)
    more = {"seconds": 3600} if fault == "timeout" else {}
    caller.sandbox.faults.add(fault, "create", applied=applied, **more)
    with pytest.raises(error):
        caller.create(document(invoice, "first"))
    assert external_ids(caller) == (["first"] if applied else [])
    caller.create(document(invoice, "second"))
    assert external_ids(caller)[-1] == "second"


def test_a_reset_is_a_reset(start: StartSandbox, tmp_path: Path) -> None:
    """The reset is one of TCP (ECONNRESET), not a polite end."""
    caller = start()
    caller.sandbox.faults.add("reset", "search")
    # TLS by hand, because the module's own sockets do not tell a reset from an end.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context(caller.sandbox.pki, tmp_path)
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", caller.sandbox.port)) as connection:

        def exchange() -> bytes:
            connection.sendall(outgoing.read())
            received = connection.recv(65536)
            incoming.write(received)
            return received

        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            exchange()
        tls.write(f"GET {SEARCH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        # Session tickets come first.
        with pytest.raises(ConnectionResetError):
            all(iter(exchange, b""))


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("fault", "more", "code"),
    [
        ("error_500", {}, 500),
        ("unavailable_503", {"seconds": 7}, 503),
        ("error_msg_200", {"message": "no"}, 200),
        ("garbage", {}, 200),
    ],
)
def test_a_wrong_answer(
    start: StartSandbox, invoice: bytes, fault: str, more: dict[str, object], code: int, applied: bool
) -> None:
    """An error or nonsense is answered; the call was carried out or not, just as the plan says."""
    caller = start()
    caller.sandbox.faults.add(fault, "create", applied=applied, **more)
    answer = caller.http.post(SIGNATURES, json=[document(invoice, "first")])
    assert answer.status_code == code
    if fault == "garbage":
        with pytest.raises(ValueError, match="Expecting value"):
            answer.json()
    else:
        assert list(answer.json()) == ["errorMsg"]
    assert answer.headers.get("Retry-After") == ("7" if fault == "unavailable_503" else None)
    if fault == "error_msg_200":
        assert answer.json()["errorMsg"] == "no"
    assert external_ids(caller) == (["first"] if applied else [])


@pytest.mark.parametrize(("applied", "code"), [(True, 200), (False, 504)])
def test_a_late_answer(start: StartSandbox, invoice: bytes, applied: bool, code: int) -> None:
    """When a held call's time is up, the answer comes late, or 504 where nothing was applied."""
    caller = start()
    caller.sandbox.faults.add("timeout", "create", applied=applied, seconds=0.05)
    assert caller.http.post(SIGNATURES, json=[document(invoice)]).status_code == code


def test_a_sandbox_stops_while_it_holds_a_call(start: StartSandbox, tmp_path: Path) -> None:
    """A call that is held for an hour does not keep the sandbox from stopping."""
    caller = start()
    held = caller.sandbox.faults.add("timeout", "search", seconds=3600)
    context = client_context(caller.sandbox.pki, tmp_path)
    with (
        socket.create_connection(("127.0.0.1", caller.sandbox.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(f"GET {SEARCH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: not caller.sandbox.faults.remaining(held), "the call arrives")
        caller.sandbox.stop()
        assert not caller.sandbox.is_alive


def test_refused_connections(start: StartSandbox) -> None:
    """Nothing listens while the fault lasts, open connections included, and everything is as before afterwards."""
    caller = start()
    assert external_ids(caller) == []
    caller.sandbox.faults.add("refuse_connection", seconds=0.7)

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", caller.sandbox.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, "connections are refused")
    with pytest.raises(httpx.ConnectError, match="refused"):
        caller.http.get(SEARCH)
    until(lambda: not refused(), "connections are taken again")
    assert external_ids(caller) == []


def test_a_call_right_behind_a_refusal_is_not_applied(start: StartSandbox, invoice: bytes) -> None:
    """The very next call after the plan was written fails, even on a connection that was open."""
    caller = start()
    assert external_ids(caller) == []
    caller.sandbox.faults.add("refuse_connection", seconds=0.3)
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        caller.create(document(invoice))

    def answered() -> list[list[object]]:
        try:
            return [external_ids(caller)]
        except httpx.TransportError:
            return []

    assert until(answered, "calls are answered again") == [[]]


def test_faults_go_by_operation(start: StartSandbox, invoice: bytes) -> None:
    """A fault strikes only its own operation, of which signing one and signing several are two."""
    caller = start()
    for operation in ("create", "sign", "sign_many", "status", "search"):
        caller.sandbox.faults.add("error_msg_200", operation, message=operation)
    calls = {
        "search": lambda: caller.http.get(SEARCH),
        "status": lambda: caller.http.get(SIGNATURES, params={"id": "1"}),
        "sign_many": lambda: caller.http.post(f"{SIGNATURES}/sign", json=[{"signatureRequestId": "1"}]),
        "sign": lambda: caller.sign("1"),
        "create": lambda: caller.http.post(SIGNATURES, json=[document(invoice)]),
    }
    for operation, call in calls.items():
        assert call().json() == {"errorMsg": operation}
        assert call().json() != {"errorMsg": operation}


def test_a_fault_strikes_as_often_as_told(start: StartSandbox) -> None:
    """Three times means three calls, whatever they are; the fourth is answered."""
    caller = start()
    caller.sandbox.faults.add("error_500", times=3)
    assert [caller.http.get(SEARCH).status_code for _ in range(5)] == [500, 500, 500, 200, 200]


def test_the_plan_may_be_written_by_anybody(start: StartSandbox) -> None:
    """A plan written as a file while the sandbox runs strikes the next call; what has struck stays used up."""
    caller = start()
    plan = caller.sandbox.directory / "faults.json"

    def write(*faults: dict[str, object]) -> None:
        new = plan.with_suffix(".new")
        new.write_text(json.dumps(faults))
        new.rename(plan)

    first = {"operation": "search", "fault": "error_500"}
    second = {"operation": "search", "fault": "unavailable_503"}
    write(first)
    assert caller.http.get(SEARCH).status_code == 500
    write(first, second)
    assert [caller.http.get(SEARCH).status_code for _ in range(2)] == [503, 200]


def test_a_plan_that_cannot_be_read_is_never_ignored(start: StartSandbox) -> None:
    """A broken plan makes every call answer what is wrong with it, until it is mended."""
    caller = start()
    plan = caller.sandbox.directory / "faults.json"
    plan.write_text('[{"fault": "earthquake"}]')
    answer = caller.http.get(SEARCH)
    assert answer.status_code == 500
    assert "earthquake" in answer.json()["errorMsg"]
    plan.unlink()
    assert caller.http.get(SEARCH).status_code == 200


def test_a_broken_plan_keeps_the_sandbox_from_starting(directory: Path, start: StartSandbox) -> None:
    """A plan that cannot be read at the start is an error then."""
    (directory / "faults.json").write_text("{}")
    with pytest.raises(SandboxError, match=r"faults\.json must be a list"):
        start()


def test_a_fault_that_is_used_up_stays_so_after_a_restart(start: StartSandbox) -> None:
    """The plan's consumption survives the sandbox."""
    caller = start()
    fault = caller.sandbox.faults.add("error_500", "search", times=2)
    assert caller.http.get(SEARCH).status_code == 500
    caller.sandbox.stop()
    again = start()
    assert again.sandbox.faults.remaining(fault) == 1
    assert [again.http.get(SEARCH).status_code for _ in range(2)] == [500, 200]


def validity(pki: Pki, content: bytes) -> tuple[bool, bool, bool]:
    """Return whether the newest signature is sound, trusted, and timestamped."""
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    context = ValidationContext(trust_roots=[x509.Certificate.load(pki.root.der)], allow_fetching=False)
    status = validate_pdf_signature(reader.embedded_regular_signatures[-1], context, context)
    return status.intact and status.valid, status.trusted, status.timestamp_validity is not None


def test_a_wrong_document_comes_back(start: StartSandbox, invoice: bytes) -> None:
    """What comes back is sealed in order, but is not what was sent; the record still names what was sent."""
    caller = start()
    caller.sandbox.faults.add("wrong_document", "sign")
    content = sealed_content(caller.seal(document(invoice)))
    assert not content.startswith(invoice)
    assert validity(caller.sandbox.pki, content) == (True, True, False)
    assert sealed_content(caller.seal(document(invoice))).startswith(invoice)
    assert len({entry.sha256 for entry in caller.sandbox.seals()}) == 1


def test_a_modified_prefix(start: StartSandbox, invoice: bytes) -> None:
    """One byte of the original was changed before sealing: the seal is sound, the document is not the one sent."""
    caller = start()
    caller.sandbox.faults.add("modified_prefix", "sign")
    content = sealed_content(caller.seal(document(invoice)))
    different = [at for at in range(len(invoice)) if content[at] != invoice[at]]
    assert len(different) == 1
    assert validity(caller.sandbox.pki, content) == (True, True, False)


@pytest.mark.parametrize(
    ("fault", "organisation", "trusted"),
    [
        ("other_organisation", "Autre Organisation SARL", True),
        ("untrusted_certificate", "Demo Organisation SAS", False),
        ("expired_certificate", "Demo Organisation SAS", False),
    ],
)
def test_a_seal_by_the_wrong_certificate(
    start: StartSandbox, invoice: bytes, fault: str, organisation: str, trusted: bool
) -> None:
    """The seal is sound, but its certificate is somebody else's, unknown or expired."""
    caller = start()
    caller.sandbox.faults.add(fault, "sign")
    content = sealed_content(caller.seal(document(invoice)))
    signature = PdfFileReader(io.BytesIO(content)).embedded_regular_signatures[0]
    assert signature.signer_cert.subject.native["organization_name"] == organisation
    assert validity(caller.sandbox.pki, content) == (True, trusted, False)


@pytest.mark.parametrize(
    ("fault", "more", "timestamped", "store", "stamps"),
    [
        ("lower_level", {}, False, False, 0),
        ("lower_level", {"level": "PAdES_BASELINE_T"}, True, False, 0),
        ("lower_level", {"level": "PAdES_BASELINE_LT"}, True, True, 0),
        ("missing_timestamp", {}, False, True, 1),
    ],
)
def test_a_seal_that_lacks_something(
    start: StartSandbox,
    invoice: bytes,
    fault: str,
    more: dict[str, object],
    timestamped: bool,
    store: bool,
    stamps: int,
) -> None:
    """LTA was asked for; what the fault leaves out is missing, and nothing else."""
    caller = start()
    caller.sandbox.faults.add(fault, "sign", **more)
    content = sealed_content(caller.seal(document(invoice, level="LTA")))
    assert validity(caller.sandbox.pki, content) == (True, True, timestamped)
    reader = PdfFileReader(io.BytesIO(content))
    assert ("/DSS" in reader.root) == store
    assert len(list(reader.embedded_timestamp_signatures)) == stamps


def test_sealing_fails_with_a_reason(start: StartSandbox, invoice: bytes) -> None:
    """The request ends as SIGN_FAILED with the plan's reason, and no seal is on record; the next one is sealed."""
    caller = start()
    caller.sandbox.faults.add("sign_failed", "sign", reason="the seal is on holiday")
    status = caller.seal(document(invoice, "first"), "SIGN_FAILED")
    assert status["reason"] == "the seal is on holiday"
    caller.seal(document(invoice, "second"))
    assert [entry.external_id for entry in caller.sandbox.seals()] == ["second"]


def test_archiving_fails_with_a_reason(start: StartSandbox, invoice: bytes) -> None:
    """The request ends as ARCHIVE_FAILED with its sealed content, one seal and no deposit on record."""
    caller = start()
    caller.sandbox.faults.add("archive_failed", "sign", reason="the archive is full")
    status = caller.seal(document(invoice, enableArchive=True), "ARCHIVE_FAILED")
    assert status["reason"] == "the archive is full"
    assert sealed_content(status).startswith(invoice)
    assert "archiveId" not in status
    assert len(caller.sandbox.seals()) == 1
    assert caller.sandbox.deposits() == ()


def test_stuck_until_the_plan_lets_go(start: StartSandbox, invoice: bytes) -> None:
    """A stuck request stays in progress while others pass it by and over a restart, until the plan is cleared."""
    caller = start()
    caller.sandbox.faults.add("stuck", "sign")
    stuck = caller.seal(document(invoice, "stuck"), "SIGN_IN_PROGRESS")["signatureRequestId"]
    caller.seal(document(invoice, "other"))
    caller.sandbox.stop()
    again = start()
    again.seal(document(invoice, "later"))
    assert again.status(str(stuck))["status"] == "SIGN_IN_PROGRESS"
    again.sandbox.faults.clear()
    again.until_status(str(stuck), "SIGNED")
    assert [entry.external_id for entry in again.sandbox.seals()] == ["other", "later", "stuck"]


def test_a_fault_strikes_one_document_of_a_batch(start: StartSandbox, invoice: bytes) -> None:
    """In a sign call for several, a seal's fault takes the first document and leaves the others."""
    caller = start()
    caller.sandbox.faults.add("sign_failed", "sign_many")
    created = caller.create(*(document(invoice, name) for name in ("a", "b", "c")))
    body = [{"signatureRequestId": status["signatureRequestId"]} for status in created]
    signed = caller.http.post(f"{SIGNATURES}/sign?mode=SYNC", json=body).json()
    assert [status["status"] for status in signed] == ["SIGN_FAILED", "SIGNED", "SIGNED"]
