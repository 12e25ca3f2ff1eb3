"""What the service does when a call goes wrong: never a second seal, never a lost document."""

import os
import random
from collections import Counter
from collections.abc import Sequence
from itertools import count, product
from pathlib import Path
from typing import TypeVar

import pytest

from command import sealdrop
from running import (
    QUICK,
    Running,
    drop,
    leftovers,
    quicken,
    running_daemon,
    running_service,
    sha256,
    unique,
    until,
)
from sealdrop.daemon.refusals import REFUSALS
from sealdrop.model import Reason, State
from sealdrop.sandbox.app import Answers
from sealdrop.sandbox.faults import CallFault, Operation, SealFault
from sealdrop.sandbox.server import Sandbox
from sealdrop.visible.lines import FONTS

T = TypeVar("T")

CALL_FAULTS = [
    (fault, applied)
    for fault in CallFault
    if fault is not CallFault.REFUSE_CONNECTION  # strikes every call alike; see the test of its own
    for applied in (False, True)
]


IMPATIENT = {
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


# All of them take a minute or two; the default is a selection.
TOGETHER_TRIES = 10  # until documents are sent together: that takes a quick machine
ALL_FAULTS = "SEALDROP_ALL_FAULTS" in os.environ


def _some(cases: Sequence[T], number: int) -> Sequence[T]:
    """Return ``number`` of the cases, always the same ones; or all, where that was asked for."""
    return cases if ALL_FAULTS else random.Random(5).sample(cases, number)


def _add(sandbox: Sandbox, fault: CallFault, operation: Operation, *, applied: bool, seconds: float = 1) -> str:
    waits = {"seconds": seconds} if fault in (CallFault.TIMEOUT, CallFault.UNAVAILABLE_503) else {}
    return sandbox.faults.add(fault, operation, applied=applied, **waits)


def _assert_once(sandbox: Sandbox, running: Running, contents: Sequence[bytes]) -> None:
    """Each is delivered, sealed once and deposited once; nothing is left over, and the audit trail is whole."""
    states = Counter((each.state, each.reason, each.reason_detail) for each in running.over())
    assert states == {(State.DELIVERED, None, None): len(contents)}
    once = Counter(map(sha256, contents))
    assert Counter(seal.sha256 for seal in sandbox.seals()) == once
    assert Counter(deposit.sha256 for deposit in sandbox.deposits()) == once
    assert leftovers(running.config) == []
    ended = sealdrop("audit", "verify", "--config", running.config.source)
    assert ended.code == 0, ended


def _until_struck(sandbox: Sandbox, fault_id: str) -> None:
    until(lambda: not sandbox.faults.remaining(fault_id), "the fault never struck")


def _drop_next(running: Running, invoice: bytes, contents: list[bytes]) -> None:
    contents.append(unique(invoice, len(contents)))
    drop(contents[-1], running.folder().inbound, f"{len(contents)}.pdf")


def _drop_first(sandbox: Sandbox, running: Running, invoice: bytes, contents: list[bytes]) -> None:
    """Have a document sent so slowly that those that come meanwhile are sent together, if the machine is quick."""
    slow = sandbox.faults.add(CallFault.TIMEOUT, Operation.CREATE, applied=True, seconds=1)
    _drop_next(running, invoice, contents)
    _until_struck(sandbox, slow)


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.SIGN_MANY])
def test_a_batch_that_goes_wrong_never_seals_twice(directory: Path, invoice: bytes, operation: Operation) -> None:
    """Each fault of a call for several documents, applied or not: one seal each, and all delivered."""
    contents: list[bytes] = []
    with running_service(directory, **IMPATIENT | {"read_timeout_s": "1.5"}) as (sandbox, running):
        for fault, applied in _some(CALL_FAULTS, 5):
            for _ in range(TOGETHER_TRIES):
                _drop_first(sandbox, running, invoice, contents)
                struck = _add(sandbox, fault, operation, applied=applied, seconds=2)
                for _ in range(2):
                    _drop_next(running, invoice, contents)
                running.wait_until_over(len(contents))
                if sandbox.faults.remaining(struck) == 0:
                    break
                sandbox.faults.clear()
            else:
                pytest.fail(f"two were never sent together: {fault}, {applied}")
    _assert_once(sandbox, running, contents)


PAIRS = list(product(CALL_FAULTS, [Operation.CREATE, Operation.SIGN], CALL_FAULTS))


def test_a_fault_in_asking_after_a_fault_never_seals_twice(directory: Path, invoice: bytes) -> None:
    """What became of a call that went wrong is asked for, and the asking goes wrong as well: one seal each."""
    contents = []
    with running_service(directory, **IMPATIENT) as (sandbox, running):
        for number, ((fault, applied), operation, (second, second_applied)) in enumerate(_some(PAIRS, 8)):
            contents.append(unique(invoice, number))
            faults = [
                _add(sandbox, fault, operation, applied=applied),
                _add(sandbox, second, Operation.STATUS, applied=second_applied),
            ]
            drop(contents[-1], running.folder().inbound, f"{number}.pdf")
            running.wait_until_over(number + 1)
            assert [sandbox.faults.remaining(each) for each in faults] == [0, 0]
    _assert_once(sandbox, running, contents)


def test_another_way_to_answer_is_understood(directory: Path, invoice: bytes) -> None:
    """Unknown requests with HTTP 200, base64 in lines: what was never created is sent anew, what was is not."""
    contents = [unique(invoice, number) for number in range(3)]
    answers = Answers(base64_lines=True, unknown_with_200=True)
    with Sandbox.start(directory, delays=QUICK, answers=answers) as sandbox:
        quicken(sandbox.config_path, **IMPATIENT)
        with running_daemon(sandbox.config_path) as running:
            for number, (fault, applied) in enumerate(
                [(CallFault.RESET, False), (CallFault.RESET, True), (None, True)]
            ):
                if fault is not None:
                    sandbox.faults.add(fault, Operation.CREATE, applied=applied)
                drop(contents[number], running.folder().inbound, f"{number}.pdf")
                running.wait_until_over(number + 1)
    _assert_once(sandbox, running, contents)


def test_what_is_stuck_holds_up_nothing_and_is_sealed_once(directory: Path, invoice: bytes) -> None:
    """A seal that does not come for a long time is waited for, past the time to sign again; others overtake it."""
    contents = [unique(invoice, number) for number in range(2)]
    with running_service(directory, **IMPATIENT | {"poll_longest_s": "0.5"}) as (sandbox, running):
        stuck = sandbox.faults.add(SealFault.STUCK, Operation.SIGN)
        drop(contents[0], running.folder().inbound, "stuck.pdf")
        _until_struck(sandbox, stuck)
        drop(contents[1], running.folder().inbound, "next.pdf")
        (overtook,) = running.wait_until_over(1)
        assert overtook.name == "next.pdf"
        sandbox.faults.clear()
        running.wait_until_over(2)
    _assert_once(sandbox, running, contents)


def test_connections_that_are_refused_at_any_moment_lose_nothing(directory: Path, invoice: bytes) -> None:
    """The service goes away for a moment, again and again, while documents are in all states: one seal each."""
    contents = [unique(invoice, number) for number in range(6)]
    changes = IMPATIENT | {"retry_longest_s": "0.4"}
    with running_service(directory, **changes) as (sandbox, running):
        chance = random.Random(11)
        for number, content in enumerate(contents):
            drop(content, running.folder().inbound, f"{number}.pdf")
            moved = len(running.events) + chance.randrange(6)
            running.wait_for(lambda moved=moved: len(running.events) >= moved or len(running.over()) > number)  # type: ignore[misc]  # noqa: B023
            sandbox.faults.add(CallFault.REFUSE_CONNECTION, Operation.ANY, seconds=0.3)
        running.wait_until_over(len(contents))
    _assert_once(sandbox, running, contents)


SPOILT = """width_mm = 60
height_mm = 20
[[folders.contracts.seal.visible.lines]]
text = "Sealed"
font = "No_such_font"
"""


def _spoil_contracts(config: Path) -> None:
    """Ask for something that the service does not have, for one folder: it refuses all documents of it."""
    text = config.read_text()
    assert "[folders.contracts.seal]" in text
    config.write_text(text + "\n[folders.contracts.seal.visible]\n" + SPOILT)


def test_what_is_refused_for_its_own_sake_fails_once_with_the_reason(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document of a batch is refused: it fails, in the service's words, unsealed; the others are sealed."""
    numbers = count(1)
    monkeypatch.setitem(FONTS, "no_such_font", "Helvetica")  # which we believe the service to have
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path, **IMPATIENT | {"retry_longest_s": "0.5", "refused_alone_s": "600"})
        _spoil_contracts(sandbox.config_path)
        with running_daemon(sandbox.config_path) as running:
            slow = sandbox.faults.add(CallFault.TIMEOUT, Operation.CREATE, applied=True, seconds=0.45)
            drop(invoice, running.folder().inbound, "slow.pdf")
            _until_struck(sandbox, slow)
            drop(unique(invoice, 0), running.folder("contracts").inbound, "refused.pdf")
            sent = [invoice]

            def is_over() -> bool:
                return any(each.name == "refused.pdf" for each in running.over())

            while not is_over():
                assert len(sent) < 10 * REFUSALS, "others are taken, and it is refused, but it does not fail"
                sent.append(unique(invoice, next(numbers)))
                drop(sent[-1], running.folder().inbound, f"{len(sent)}.pdf")
                running.wait_for(lambda: is_over() or len(running.over()) >= len(sent))
            running.wait_until_over(len(sent) + 1)
            (refused,) = (each for each in running.over() if each.name == "refused.pdf")
            assert (refused.state, refused.reason) == (State.FAILED, Reason.SEAL_REFUSED)
            assert "No_such_font" in (refused.reason_detail or "")
            assert Counter(seal.sha256 for seal in sandbox.seals()) == Counter(map(sha256, sent))
            assert [event.name for each, event in running.events if each.id == refused.id].count("document_failed") == 1
    reason = running.folder("contracts").failed / "refused.pdf.reason.txt"
    assert "No_such_font" in reason.read_text()
    assert leftovers(running.config) == []


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.SIGN])
def test_a_service_that_says_no_for_a_while_fails_nothing(
    directory: Path, invoice: bytes, operation: Operation
) -> None:
    """More refusals in a row than it takes to fail a document, of all that are sent: they wait, and are sealed once."""
    contents = [unique(invoice, number) for number in range(3)]
    with running_service(
        directory, **IMPATIENT | {"retry_longest_s": "0.5", "sign_again_after_s": "2.1", "refused_alone_s": "600"}
    ) as (
        sandbox,
        running,
    ):
        sandbox.faults.add(CallFault.ERROR_MSG_200, operation, times=2 * REFUSALS, message="we are sorry")
        for number, content in enumerate(contents):
            drop(content, running.folder().inbound, f"{number}.pdf")
        running.wait_until_over(len(contents))
    _assert_once(sandbox, running, contents)


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.SIGN])
def test_a_document_that_is_refused_again_and_again_fails_once(
    directory: Path, invoice: bytes, operation: Operation
) -> None:
    """A "no" that the service repeats fails its document, with the service's words and no seal; not its neighbour."""
    with running_service(directory, **IMPATIENT | {"refused_alone_s": "0.5"}) as (sandbox, running):
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
    unreachable = [line["operation"] for line in running.log.events("account_unreachable")]
    assert unreachable, "it was told"
    assert sorted(map(str, unreachable)) == sorted({str(line) for line in unreachable}), "once for each operation"
    assert len(running.log.events("account_reachable")) == len(unreachable)
