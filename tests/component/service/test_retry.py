"""`sealdrop retry`: failed documents are tried again, and nothing that was sealed is sealed a second time."""

import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from command import sealdrop
from running import Running, drop, leftovers, quicken, receipt_of, running_daemon, running_service, sha256, stored
from sealdrop.audit.check import verify_trail
from sealdrop.audit.reading import read_records
from sealdrop.model import Document, Reason, State
from sealdrop.sandbox.faults import CallFault, Operation, SealFault
from sealdrop.sandbox.server import Sandbox

IMPATIENT = {
    "refused_alone_s": "0.5",
    "retry_first_s": "0.1",
    "ask_after_s": "0.1",
    "call_timeout_s": "2",
    "sign_again_after_s": "2.5",
}
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def _only(running: Running) -> Document:
    (document,) = running.documents.values()
    return document


def _retried(running: Running, sandbox: Sandbox, state: State) -> Document:
    """Have the only document, which failed, tried again; return it once it has come to its end anew."""
    before = _only(running)
    assert before.state is State.FAILED
    ended = sealdrop("retry", "--config", sandbox.config_path, before.name)
    assert ended.code == 0, ended.out + ended.err
    assert "will be tried again" in ended.out
    running.wait_for(lambda: _only(running).state is state and _only(running).due_at is None and _only(running).retries)
    return _only(running)


def _failed_files(running: Running) -> set[str]:
    return {path.name for path in running.folder().failed.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("fault", "times"), [(SealFault.SIGN_FAILED, 1), (CallFault.ERROR_MSG_200, 100)], ids=["sign", "create"]
)
def test_what_was_never_sealed_is_sealed_anew(directory: Path, invoice: bytes, fault: str, times: int) -> None:
    """A document that SignAPI failed or refused is sealed once by the next try, and nothing is left in failed."""
    with running_service(directory, **IMPATIENT) as (sandbox, running):
        operation = Operation.ANY if fault is SealFault.SIGN_FAILED else Operation.CREATE
        sandbox.faults.add(fault, operation, times=times)
        drop(invoice, running.folder().inbound, "sub/one.pdf")
        running.wait_until_over(1)
        sandbox.faults.clear()
        assert _failed_files(running) == {"one.pdf", "one.pdf.reason.txt", "one.pdf.reason.json"}
        document = _retried(running, sandbox, State.DELIVERED)
        assert (document.reason, document.retries) == (None, 1)
        assert [seal.sha256 for seal in sandbox.seals()] == [sha256(invoice)]
        assert len(sandbox.deposits()) == 1
    assert _failed_files(running) == set()
    receipt = receipt_of(running.folder().outbound / "sub" / "one.pdf")
    assert receipt["remote"]["external_id"] == f"{document.id}-2"
    trail = running.config.service.state_dir / "audit"
    assert verify_trail(trail).ok
    events = [record.event for record in read_records(trail, document=document.id)]
    retried = events.index("document_retried")
    assert events[retried - 1 : retried + 2] == ["original_returned", "document_retried", "original_fetched"]
    assert leftovers(running.config) == []


def test_a_seal_that_was_refused_is_asked_for_again(directory: Path, invoice: bytes) -> None:
    """Where the request is there and only the sign call was refused, that request is signed: no second one is made."""
    with running_service(directory, **IMPATIENT) as (sandbox, running):
        sandbox.faults.add(CallFault.ERROR_MSG_200, Operation.SIGN, times=100)
        drop(invoice, running.folder().inbound, "one.pdf")
        running.wait_until_over(1)
        sandbox.faults.clear()
        request = _only(running).request_id
        document = _retried(running, sandbox, State.DELIVERED)
        assert document.request_id == request
        assert len(sandbox.seals()) == 1


def test_what_is_sealed_is_only_checked_again(directory: Path, invoice: bytes) -> None:
    """A seal that failed the checks for a wrong configuration is fetched and delivered once that is mended."""
    with Sandbox.start(directory) as sandbox:
        quicken(sandbox.config_path)
        right = sandbox.config_path.read_text()
        sandbox.config_path.write_text(right.replace('organisation = "', 'organisation = "Not '))
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder().inbound, "one.pdf")
            (document,) = running.wait_until_over(1)
            assert document.reason is Reason.SEAL_WRONG_ORGANISATION
            assert "one.pdf.sealed.pdf" in _failed_files(running)
        sandbox.config_path.write_text(right)
        # The service is not running: the wish waits for it.
        assert sealdrop("retry", "--config", sandbox.config_path, document.short_id).code == 0
        with running_daemon(sandbox.config_path) as running:
            running.wait_until_over(1)
            assert _only(running).state is State.DELIVERED
            assert [seal.sha256 for seal in sandbox.seals()] == [sha256(invoice)]
            assert len(sandbox.deposits()) == 1
    assert _failed_files(running) == set()
    assert leftovers(running.config) == []


def test_sealed_not_archived_is_kept_with_a_receipt_that_says_so(directory: Path, invoice: bytes) -> None:
    """After ARCHIVE_FAILED the checked seal stands in failed with its receipt; a retry asks, and seals nothing."""
    with running_service(directory) as (sandbox, running):
        sandbox.faults.add(SealFault.ARCHIVE_FAILED, Operation.ANY, reason="the archive is closed")
        drop(invoice, running.folder().inbound, "one.pdf")
        (document,) = running.wait_until_over(1)
        assert (document.state, document.reason) == (State.FAILED, Reason.ARCHIVE_FAILED)
        assert "the archive is closed" in (document.reason_detail or "")
        sealed = running.folder().failed / "one.pdf.sealed.pdf"
        receipt = receipt_of(sealed)
        jsonschema.validate(receipt, json.loads((SCHEMAS / "receipt.schema.json").read_text()))
        assert receipt["outcome"] == "sealed_not_archived"
        assert receipt["sealed"]["sha256"] == sha256(sealed.read_bytes())
        outcomes = {check["name"]: check["outcome"] for check in receipt["verification"]["checks"]}
        assert outcomes.pop("archive_id") == "failed"
        assert set(outcomes.values()) == {"passed"}
        checked = sealdrop("verify", "--config", sandbox.config_path, sealed)
        assert (checked.code, "sealed not archived" in checked.out) == (0, True), checked.out
        again = _retried(running, sandbox, State.FAILED)
        assert again.reason is Reason.ARCHIVE_FAILED
        assert len(sandbox.seals()) == 1
        assert sandbox.deposits() == ()
    assert _failed_files(running) == {
        f"one.pdf{suffix}" for suffix in ("", ".sealed.pdf", ".sealed.pdf.receipt.json", ".reason.txt", ".reason.json")
    }
    assert leftovers(running.config) == []


def test_a_wrong_seal_is_not_covered_by_a_failed_deposit(directory: Path, invoice: bytes) -> None:
    """Where the deposit failed and the seal is wrong too, the seal's fault is the reason, and there is no receipt."""
    with Sandbox.start(directory) as sandbox:
        quicken(sandbox.config_path)
        text = sandbox.config_path.read_text()
        sandbox.config_path.write_text(text.replace('organisation = "', 'organisation = "Not '))
        sandbox.faults.add(SealFault.ARCHIVE_FAILED, Operation.ANY)
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder().inbound, "one.pdf")
            (document,) = running.wait_until_over(1)
    assert document.reason is Reason.SEAL_WRONG_ORGANISATION
    assert "one.pdf.sealed.pdf.receipt.json" not in _failed_files(running)


def test_what_cannot_be_tried_again_is_told_why(directory: Path, invoice: bytes) -> None:
    """Documents that did not fail, that nobody knows, or whose original is gone are refused; each with its reason."""
    with running_service(directory) as (sandbox, running):
        config = sandbox.config_path
        drop(b"no PDF", running.folder().inbound, "rejected.pdf")
        drop(invoice, running.folder().inbound, "delivered.pdf")
        running.wait_until_over(2)
        for wanted, told in (
            ("rejected.pdf", "drop the file again"),
            ("delivered.pdf", "it is delivered"),
            ("nobody.pdf", "no document has that"),
        ):
            ended = sealdrop("retry", "--config", config, wanted)
            assert (ended.code, told in ended.out) == (1, True), ended.out
        sandbox.faults.add(SealFault.SIGN_FAILED, Operation.ANY)
        drop(invoice + b"\n", running.folder().inbound, "gone.pdf")
        running.wait_until_over(3)
        (running.folder().failed / "gone.pdf").unlink()
        ended = sealdrop("retry", "--json", "--config", config, "gone.pdf", "nobody.pdf")
        assert ended.code == 1
        answers = ended.json()["documents"]
        assert [answer["accepted"] for answer in answers] == [False, False]
        assert "put it back there" in answers[0]["text"]
    with stored(running.config) as ledger:
        assert Counter(ledger.counts()["invoices"]) == Counter({State.REJECTED: 1, State.DELIVERED: 1, State.FAILED: 1})


def test_a_retry_stands_back_for_the_same_content_dropped_again(directory: Path, invoice: bytes) -> None:
    """Once the failed file was dropped again and sealed, the failed document is not sealed too."""
    with running_service(directory) as (sandbox, running):
        sandbox.faults.add(SealFault.SIGN_FAILED, Operation.ANY)
        drop(invoice, running.folder().inbound, "first.pdf")
        running.wait_until_over(1)
        drop(invoice, running.folder().inbound, "second.pdf")
        running.wait_until_over(2)
        ended = sealdrop("retry", "--config", sandbox.config_path, "first.pdf")
        assert (ended.code, "the same content was dropped again" in ended.out) == (1, True), ended.out
        assert len(sandbox.seals()) == 1
