"""What the service does when a call goes wrong: never a second seal, never a lost document."""

from collections import Counter
from pathlib import Path

import pytest

from running import drop, leftovers, running_service, sha256, unique
from sealdrop.model import Reason, State
from sealdrop.sandbox.faults import CallFault, Operation, SealFault

CALL_FAULTS = [
    (fault, applied)
    for fault in CallFault
    if fault is not CallFault.REFUSE_CONNECTION  # strikes every call alike; see the test of its own
    for applied in (False, True)
]


IMPATIENT = {
    "refused_alone_s": "0.5",
    "read_timeout_s": "0.5",
    "retry_first_s": "0.1",
    "ask_after_s": "0.1",
    "call_timeout_s": "2",
    "sign_again_after_s": "2.5",
}


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.SIGN, Operation.STATUS])
def test_a_call_that_goes_wrong_never_seals_twice(directory: Path, invoice: bytes, operation: Operation) -> None:
    """Each fault of a call, applied or not, one document after the other: one seal each, and all delivered."""
    drops = []
    with running_service(directory, **IMPATIENT) as (sandbox, running):
        for number, (fault, applied) in enumerate(CALL_FAULTS):
            content = unique(invoice, number)
            drops.append(content)
            waits = {"seconds": 1} if fault in (CallFault.TIMEOUT, CallFault.UNAVAILABLE_503) else {}
            sandbox.faults.add(fault, operation, applied=applied, **waits)
            drop(content, running.folder().inbound, f"{fault}-{applied}.pdf")
            running.wait_until_over(number + 1)
            (document,) = (each for each in running.over() if each.sha256 == sha256(content))
            assert document.state is State.DELIVERED, (fault, applied, document.reason_detail)
            assert all(sandbox.faults.remaining(each.id) == 0 for each in sandbox.faults.faults())
        once = Counter(map(sha256, drops))
        assert Counter(seal.sha256 for seal in sandbox.seals()) == once
        assert Counter(deposit.sha256 for deposit in sandbox.deposits()) == once
    assert leftovers(running.config) == []


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.SIGN])
def test_a_document_that_is_refused_again_and_again_fails_once(
    directory: Path, invoice: bytes, operation: Operation
) -> None:
    """A "no" that the service repeats fails its document, with the service's words and no seal; not its neighbour."""
    with running_service(directory, **IMPATIENT) as (sandbox, running):
        sandbox.faults.add(CallFault.ERROR_MSG_200, operation, times=100, message="not in your contract")
        drop(invoice, running.folder().inbound, "refused.pdf")
        (document,) = running.wait_until_over(1)
        assert (document.state, document.reason) == (State.FAILED, Reason.SEAL_REFUSED)
        assert "not in your contract" in (document.reason_detail or "")
        sandbox.faults.clear()
        drop(unique(invoice, 1), running.folder().inbound, "next.pdf")
        running.wait_until_over(2)
        assert [seal.sha256 for seal in sandbox.seals()] == [sha256(unique(invoice, 1))]
    assert "not in your contract" in (running.folder().failed / "refused.pdf.reason.txt").read_text()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (SealFault.WRONG_DOCUMENT, Reason.SEAL_NOT_OUR_DOCUMENT),
        (SealFault.MODIFIED_PREFIX, Reason.SEAL_NOT_OUR_DOCUMENT),
        (SealFault.OTHER_ORGANISATION, Reason.SEAL_WRONG_ORGANISATION),
        (SealFault.UNTRUSTED_CERTIFICATE, Reason.SEAL_UNTRUSTED),
        (SealFault.EXPIRED_CERTIFICATE, Reason.SEAL_UNTRUSTED),
        (SealFault.LOWER_LEVEL, Reason.SEAL_LEVEL),
        (SealFault.MISSING_TIMESTAMP, Reason.SEAL_LEVEL),
        (SealFault.SIGN_FAILED, Reason.SEAL_FAILED),
        (SealFault.ARCHIVE_FAILED, Reason.ARCHIVE_FAILED),
    ],
)
def test_a_wrong_seal_is_never_published(directory: Path, invoice: bytes, fault: SealFault, reason: Reason) -> None:
    """What came back wrong is failed with a reason of its own; nothing reaches the outbound folder."""
    with running_service(directory) as (sandbox, running):
        drop(unique(invoice, 1), running.folder().inbound, "before.pdf")  # what a wrong document can be taken from
        running.wait_until_over(1)
        sandbox.faults.add(fault, Operation.ANY)
        drop(invoice, running.folder().inbound, "wrong.pdf")
        running.wait_until_over(2)
        (document,) = (each for each in running.over() if each.name == "wrong.pdf")
        seals = [seal.sha256 for seal in sandbox.seals()]
    assert (document.state, document.reason) == (State.FAILED, reason), document.reason_detail
    assert not list(running.folder().outbound.glob("wrong*"))
    failed = running.folder().failed
    assert (failed / "wrong.pdf").read_bytes() == invoice
    assert (failed / "wrong.pdf.reason.txt").is_file()
    # What was billed is kept for a person to judge.
    assert (failed / "wrong.pdf.sealed.pdf").exists() == (fault is not SealFault.SIGN_FAILED)
    assert seals.count(sha256(invoice)) <= 1
    assert leftovers(running.config) == []


def test_an_outage_is_waited_out(directory: Path, invoice: bytes) -> None:
    """Connections that are refused for a while delay a document, fail nothing, and are reported once."""
    with running_service(directory, retry_first_s="0.1", retry_longest_s="0.5") as (sandbox, running):
        sandbox.faults.add(CallFault.REFUSE_CONNECTION, Operation.ANY, seconds=3)
        drop(invoice, running.folder().inbound, "patient.pdf")
        (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED, document.reason_detail
        assert len(sandbox.seals()) == 1
    assert len(running.log.events("account_unreachable")) == 1
    assert len(running.log.events("account_reachable")) == 1
