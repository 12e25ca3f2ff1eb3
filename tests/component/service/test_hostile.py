"""Documents that hang, crash or take over whoever reads them: each is its own trouble, and nobody else's."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

import pytest

import hostile
import jailed
from running import PATIENCE_S, Running, drop, leftovers, running_service, stored, unique
from sealdrop.backoff import Backoff
from sealdrop.daemon import jails as jails_module
from sealdrop.daemon import stages
from sealdrop.daemon.jails import TwoLimits
from sealdrop.model import Reason, State
from sealdrop.pdf.confine import Protection
from sealdrop.pdf.jail import Jail, JailLimits
from sealdrop.pipeline import validate, verify

TESTS = Path(jailed.__file__).parent
FOREVER_S = 3600.0
# Documents crash the first time, at once; the last limit does not strike before the test has looked.
HANGING = TwoLimits(first=jailed.FIRST, last=JailLimits(wall_s=FOREVER_S))
HUNG, GOOD = 3, 6


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A named pipe at which examinations wait that are told to; the jails' children may read it and the tests' code."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def jail(workers: int, limits: JailLimits, *, readable: Sequence[Path], calls_per_child: int, name: str) -> Jail:
        return Jail(workers, limits, readable=[*readable, TESTS, gate], calls_per_child=calls_per_child, name=name)

    monkeypatch.setattr(jails_module, "Jail", jail)
    monkeypatch.setattr(validate, "inspect", jailed.inspect_or_wait)
    monkeypatch.setattr(verify, "verify_seal", jailed.verify_or_wait)
    return gate


def marked(content: bytes, number: int, mark: bytes) -> bytes:
    """Return a PDF that differs from others, with ``mark`` in a comment."""
    head, end, tail = content.rpartition(b"startxref")
    return head + b"%%%s\n%% sample %d\n" % (mark, number) + end + tail


def open_gate(gate: Path, running: Running, is_over: Callable[[], bool], *, word: bytes = b"") -> None:
    """Let whoever waits at the gate go on, with a word, until the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_over():
        assert time.monotonic() < deadline, "nobody came through the gate"
        with suppress(OSError):  # nobody waits there now
            opened = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            os.write(opened, word)
            os.close(opened)
        with running.moved:
            running.moved.wait(0.05)


def wait_until_apart(running: Running, number: int) -> None:
    """Return once that many documents were set apart."""
    deadline = time.monotonic() + PATIENCE_S
    while len(running.log.events("document_set_apart")) < number:
        assert time.monotonic() < deadline, "the documents were not set apart"
        with running.moved:
            running.moved.wait(0.05)


@pytest.mark.parametrize(
    ("mark", "state", "reason"),
    [
        (b"INSPECTION-WAITS", State.REJECTED, Reason.PARSER_LIMIT),
        (b"VERIFICATION-WAITS", State.FAILED, Reason.SEAL_UNREADABLE),
    ],
    ids=["inspection", "verification"],
)
def test_documents_that_hang_do_not_hold_up_others(
    directory: Path, invoice: bytes, gate: Path, mark: bytes, state: State, reason: Reason
) -> None:
    """Several documents that crash and then hang who reads them: all others are delivered while they still hang."""
    with running_service(directory, limits=HANGING) as (_, running):
        for number in range(HUNG):
            content = marked(invoice, number, mark + b" " + os.fsencode(gate))
            drop(content, running.folder().inbound, f"hangs-{number}.pdf")
        running.wait_for(lambda: len(running.documents) == HUNG)
        for number in range(GOOD):
            drop(unique(invoice, number), running.folder().inbound, f"good-{number}.pdf")
        delivered = running.wait_until_over(GOOD)
        assert {(each.name[:4], each.state) for each in delivered} == {("good", State.DELIVERED)}
        wait_until_apart(running, HUNG)
        open_gate(gate, running, lambda: len(running.over()) == HUNG + GOOD)
        hung = [each for each in running.over() if each.name.startswith("hangs")]
        assert {(each.state, each.reason) for each in hung} == {(state, reason)}
        assert all("crash" in (each.reason_detail or "") for each in hung)
        set_apart = [line["document"] for line in running.log.events("document_set_apart")]
        assert sorted(set_apart) == sorted(each.id for each in hung)
    assert leftovers(running.config) == []


def test_a_slow_document_is_accepted_after_all(directory: Path, invoice: bytes, gate: Path) -> None:
    """What goes beyond the first limit but not beyond the last is sealed, and verified among the others."""
    with running_service(directory, limits=HANGING) as (_, running):
        inbound = running.folder().inbound
        drop(marked(invoice, 0, b"INSPECTION-WAITS " + os.fsencode(gate)), inbound, "slow.pdf")
        wait_until_apart(running, 1)
        open_gate(gate, running, lambda: bool(running.over()), word=b"go on")
        (document,) = running.over()
        assert document.state is State.DELIVERED, document.reason_detail
        assert not document.suspect
        assert len(running.log.events("document_set_apart")) == 1
    assert leftovers(running.config) == []


@pytest.mark.usefixtures("gate")
def test_an_inspection_that_breaks_ends_in_words(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own fault is tried a few times, then the sender is told, without a word of the content; the others pass."""
    monkeypatch.setattr(validate, "inspect", jailed.inspect_or_break)
    monkeypatch.setattr(stages, "TRY_AGAIN", Backoff(first_s=0.05, longest_s=0.1))
    with running_service(directory) as (_, running):
        drop(marked(invoice, 0, b"RAISES KeyError"), running.folder().inbound, "broken.pdf")
        drop(marked(invoice, 1, b"RAISES OSError"), running.folder().inbound, "bad-disk.pdf")
        drop(invoice, running.folder().inbound, "good.pdf")
        running.wait_until_over(2)
        states = {each.name: each.state for each in running.over()}
        assert states == {"broken.pdf": State.REJECTED, "good.pdf": State.DELIVERED}
        monkeypatch.setattr(validate, "inspect", jailed.inspect_or_wait)  # the disk is well again
        running.wait_until_over(3)
        assert {each.name: each.state for each in running.over()}["bad-disk.pdf"] is State.DELIVERED
    reason = (running.folder().rejected / "broken.pdf.reason.txt").read_text()
    assert "UNREADABLE" in reason
    assert "KeyError" in reason
    assert "secret" not in reason
    broken = [line for line in running.log.events("retry_scheduled") if "KeyError" in str(line["error"])]
    assert len(broken) == stages.BROKEN_TRIES - 1
    assert not any("secret" in str(line) for line in running.log.lines)


@pytest.mark.usefixtures("gate")
def test_a_verification_that_breaks_goes_on_and_is_shown(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed is not given up for a fault of ours: it is a trouble that `status` shows until it is mended."""
    monkeypatch.setattr(verify, "verify_seal", jailed.verify_or_break)
    monkeypatch.setattr(stages, "TRY_AGAIN", Backoff(first_s=0.05, longest_s=0.1))
    with running_service(directory) as (_, running):
        drop(marked(invoice, 0, b"RAISES KeyError"), running.folder().inbound, "broken.pdf")
        drop(invoice, running.folder().inbound, "good.pdf")
        (good,) = running.wait_until_over(1)
        assert (good.name, good.state) == ("good.pdf", State.DELIVERED)
        deadline = time.monotonic() + PATIENCE_S
        while not running.log.events("verification_broken"):
            assert time.monotonic() < deadline, "nobody was told"
            with running.moved:
                running.moved.wait(0.05)
        with stored(running.config) as ledger:
            (trouble,) = ledger.troubles()
        assert "KeyError" in trouble.text
        monkeypatch.setattr(verify, "verify_seal", jailed.verify_or_wait)
        running.wait_until_over(2)
        assert {each.state for each in running.over()} == {State.DELIVERED}
        with stored(running.config) as ledger:
            assert not list(ledger.troubles())
    assert len(running.log.events("verification_broken")) == 1
    assert len(running.log.events("verification_mended")) == 1
    assert not any("secret" in str(line) for line in running.log.lines)


@pytest.mark.usefixtures("landlock")
def test_what_children_are_kept_from_is_told(directory: Path) -> None:
    """The start says once what the children cannot do: here all of it."""
    with running_service(directory) as (_, running):
        (told,) = running.log.events("jail_confined")
    assert told["in_force"] == sorted(Protection)
    assert (told["level"], told["missing"]) == ("info", [])


WORST = {
    "nested arrays": {Reason.UNREADABLE},
    "page tree that is its own kid": {Reason.UNREADABLE},
    "/Prev to itself": {Reason.XREF_BROKEN, Reason.UNREADABLE},
    "a billion pages by doubling": {Reason.UNREADABLE, Reason.PARSER_LIMIT},
    "/W of nothing": {Reason.PARSER_LIMIT},
    "launch by another name": {Reason.ACTIVE_CONTENT},
    "zip before": {Reason.HEADER_OFFSET},
}


def test_the_worst_are_rejected_and_the_good_delivered(directory: Path, invoice: bytes) -> None:
    """A handful of hostile documents beside a good one: each is given back with its reason, and no child is left."""
    limits = TwoLimits(first=JailLimits(wall_s=60.0, cpu_s=4), last=JailLimits(wall_s=60.0, cpu_s=8))
    before = set(children())
    with running_service(directory, limits=limits) as (sandbox, running):
        for number, name in enumerate(WORST):
            drop(hostile.DOCUMENTS[name]()[0], running.folder().inbound, f"{number}.pdf")
        drop(invoice, running.folder().inbound, "good.pdf")
        over = {each.name: each for each in running.wait_until_over(len(WORST) + 1)}
        assert over.pop("good.pdf").state is State.DELIVERED
        for number, (name, reasons) in enumerate(WORST.items()):
            document = over[f"{number}.pdf"]
            assert (document.state, document.reason in reasons) == (State.REJECTED, True), (name, document.reason)
            assert (running.folder().rejected / f"{number}.pdf.reason.txt").is_file()
        assert len(sandbox.seals()) == 1
    assert leftovers(running.config) == []
    assert set(children()) <= before


def children() -> list[int]:
    """Return the processes that the fork server has for jails, by number."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is None:
        return []
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]
