"""Stopping and starting in the middle loses and doubles nothing."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from running import (
    QUICK,
    KeptLog,
    Running,
    drop,
    leftovers,
    quicken,
    receipt_of,
    running_daemon,
    running_service,
    sha256,
    stored,
    unique,
)
from sealdrop.audit.check import verify_trail
from sealdrop.config import load
from sealdrop.daemon import Daemon
from sealdrop.errors import ConfigurationError, Fatal
from sealdrop.logs import Log
from sealdrop.model import State
from sealdrop.pipeline import intake
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

DOCUMENTS = 12


def _at(state: State, running: Running) -> Callable[[], bool]:
    return lambda: any(document.state is state for document in running.documents.values())


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.REJECTED, State.FAILED, State.RETRYING)]
)
def test_a_stop_at_any_state_loses_and_doubles_nothing(directory: Path, invoice: bytes, state: State) -> None:
    """Stopped when the first document reaches a state, and started again: all delivered, one seal and deposit each."""
    drops = [unique(invoice, number) for number in range(DOCUMENTS)]
    delays = Delays(sign_s=0.3, archive_start_s=0.2, archive_s=0.3)
    with Sandbox.start(directory, delays=delays) as sandbox:
        quicken(sandbox.config_path)
        with running_daemon(sandbox.config_path) as first:
            for number, content in enumerate(drops):
                drop(content, first.folder().inbound, f"{number}.pdf")
            first.wait_for(_at(state, first))
        with running_daemon(sandbox.config_path) as second, stored(second.config) as ledger:
            second.wait_for(lambda: ledger.counts().get("invoices", {}).get(State.DELIVERED, 0) == DOCUMENTS)
        seals = Counter(seal.sha256 for seal in sandbox.seals())
        deposits = Counter(deposit.sha256 for deposit in sandbox.deposits())
    once = Counter(sha256(content) for content in drops)
    assert seals == once
    assert deposits == once
    for number, content in enumerate(drops):
        sealed = second.folder().outbound / f"{number}.pdf"
        assert sealed.read_bytes().startswith(content)
        assert receipt_of(sealed)["original"]["sha256"] == sha256(content)
    assert leftovers(second.config) == []
    assert verify_trail(second.config.service.state_dir / "audit").ok


def test_the_sandbox_may_restart_too(directory: Path, invoice: bytes) -> None:
    """The service goes away in the middle and comes back: the documents are delivered, sealed once each."""
    with ExitStack() as daemon, ExitStack() as service:
        sandbox = service.enter_context(Sandbox.start(directory, delays=Delays(sign_s=0.5)))
        quicken(sandbox.config_path)
        running = daemon.enter_context(running_daemon(sandbox.config_path))
        for number in range(4):
            drop(unique(invoice, number), running.folder().inbound, f"{number}.pdf")
        running.wait_for(_at(State.SEALING, running))
        service.close()
        running.wait_for(lambda: len(running.log.events("retry_scheduled")) > 0 or len(running.over()) == 4)
        with Sandbox.start(directory, delays=QUICK) as again:
            documents = running.wait_until_over(4)
            assert Counter(seal.sha256 for seal in again.seals()) == Counter(
                sha256(unique(invoice, number)) for number in range(4)
            )
    assert {document.state for document in documents} == {State.DELIVERED}


def test_two_daemons_never_share_a_state_directory(directory: Path) -> None:
    """A second service on the same state directory refuses to start and says why."""
    with running_service(directory) as (sandbox, running):
        log: Log = running.log
        with pytest.raises(ConfigurationError, match="another sealdrop is running"):
            Daemon(load(sandbox.config_path), log)


def test_a_missing_folder_is_named_and_nothing_starts(directory: Path, tmp_path: Path) -> None:
    """Folders that are missing, and were not asked to be created, are all named in one error."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        text = sandbox.config_path.read_text().replace("create_folders = true", "create_folders = false")
        (tmp_path / "sandbox" / "other.toml").write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            Daemon(load(tmp_path / "sandbox" / "other.toml"), KeptLog())
    problems = "\n".join(caught.value.problems)
    for place in ("service.state_dir", "folders.invoices.inbound", "folders.contracts.failed"):
        assert place in problems
    assert not (directory / "state" / "daemon").exists()


def test_an_original_that_was_not_removed_is_not_sealed_again(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An original that cannot be removed is recognised, by this run and the next, which removes it; one seal."""

    def refuse(*_: object) -> intake.Removal:
        raise PermissionError("not now")

    with monkeypatch.context() as broken:
        broken.setattr(intake, "remove_original", refuse)
        with running_service(directory) as (_, running):
            inbound = running.folder().inbound
            drop(invoice, inbound, "once.pdf")
            running.wait_until_over(1)
            assert (inbound / "once.pdf").exists()
            # Whatever comes after it is taken over, so the folder has been looked at again.
            drop(unique(invoice, 1), inbound, "other.pdf")
            running.wait_until_over(2)
    with Sandbox.start(directory, delays=QUICK) as sandbox, running_daemon(sandbox.config_path) as again:
        drop(unique(invoice, 2), again.folder().inbound, "last.pdf")
        again.wait_until_over(1)
        seals = sandbox.seals()
    assert Counter(seal.sha256 for seal in seals)[sha256(invoice)] == 1
    assert len(seals) == 3
    assert leftovers(again.config) == []


@pytest.mark.parametrize("kept_lines", [0, 3])
def test_a_trail_that_was_cut_off_keeps_the_service_from_starting(
    directory: Path, invoice: bytes, kept_lines: int
) -> None:
    """Records that were in the audit files and are gone are found before anything is started."""
    with running_service(directory) as (sandbox, running):
        drop(invoice, running.folder().inbound, "one.pdf")
        running.wait_until_over(1)
    (trail,) = (running.config.service.state_dir / "audit").iterdir()
    trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:kept_lines]))
    with pytest.raises(Fatal, match="do not belong together"):
        Daemon(load(sandbox.config_path), KeptLog())


@pytest.mark.parametrize("what", ["removed", "put back"])
def test_a_ledger_that_is_not_the_trails_clears_no_spool(directory: Path, invoice: bytes, what: str) -> None:
    """With the ledger removed, or an older copy put back, nothing starts and no copy in the spool is touched."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        with running_daemon(sandbox.config_path) as running:
            drop(unique(invoice, 1), running.folder().inbound, "one.pdf")
            running.wait_until_over(1)
    ledger = running.config.service.state_dir / "ledger.sqlite"
    older = ledger.read_bytes()
    with running_daemon(sandbox.config_path) as running:  # the sandbox is gone: the document has to wait
        drop(invoice, running.folder().inbound, "waits.pdf")
        running.wait_for(_at(State.SUBMITTING, running))
    for path in ledger.parent.glob("ledger.sqlite*"):
        path.unlink()
    if what == "put back":
        ledger.write_bytes(older)
    spool = running.config.service.state_dir / "spool"
    copies = [path for path in spool.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in copies] == [invoice]
    with pytest.raises(Fatal, match="do not belong together"):
        Daemon(load(sandbox.config_path), KeptLog())
    assert [path for path in spool.rglob("*") if path.is_file()] == copies


def test_a_copy_that_the_ledger_does_not_know_is_kept_until_it_is_taken_over_anew(
    directory: Path, invoice: bytes
) -> None:
    """What a crash between copy and row leaves in the spool stays, is told of, and goes when its content is retaken."""
    with running_service(directory) as (sandbox, running):
        state_dir = running.config.service.state_dir
    copy = state_dir / "spool" / "dd" / "20261123-00112233aabbccdd" / "original.pdf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(invoice)
    with Sandbox.start(directory, delays=QUICK) as sandbox, running_daemon(sandbox.config_path) as running:
        assert len(running.log.events("spool_unclaimed")) == 1
        drop(unique(invoice, 1), running.folder().inbound, "other.pdf")
        running.wait_until_over(1)
        assert copy.exists()
        drop(invoice, running.folder().inbound, "again.pdf")
        running.wait_until_over(2)
        assert not copy.exists()


def test_an_outbound_that_leads_back_to_inbound_is_refused(directory: Path) -> None:
    """A link that would have sealed documents sealed again, for ever, is found before anything starts."""
    with running_service(directory) as (sandbox, running):
        folder = running.folder()
    folder.outbound.rmdir()
    folder.outbound.symlink_to(folder.inbound)
    with pytest.raises(ConfigurationError, match="would be sealed again"):
        Daemon(load(sandbox.config_path), KeptLog())


def test_a_folder_with_waiting_documents_cannot_be_taken_out(directory: Path, invoice: bytes) -> None:
    """A configuration without the folder of documents that wait is refused, and names one of them."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
    with running_daemon(sandbox.config_path) as running:
        drop(invoice, running.folder("contracts").inbound, "waits.pdf")
        running.wait_for(_at(State.SUBMITTING, running))
    text = sandbox.config_path.read_text()
    sandbox.config_path.write_text(text[: text.index("[folders.contracts]")])
    with pytest.raises(ConfigurationError, match=r"folders\.contracts: missing, but documents of it wait"):
        Daemon(load(sandbox.config_path), KeptLog())


def test_an_address_cannot_change_under_documents_that_were_sent(directory: Path, invoice: bytes) -> None:
    """Elsewhere nobody would know them, and they would be sealed again: also after a restart, until they are back."""
    with Sandbox.start(directory, delays=Delays(sign_s=30)) as sandbox:
        quicken(sandbox.config_path)
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder("contracts").inbound, "sent.pdf")
            running.wait_for(lambda: any(each.state is State.SEALING for each in running.documents.values()))
        good = sandbox.config_path.read_text()
        sandbox.config_path.write_text(good.replace("https://localhost", "https://127.0.0.1"))
        with pytest.raises(
            ConfigurationError, match=r"accounts\.sandbox\.base_url: documents were sent to https://localho"
        ):
            Daemon(load(sandbox.config_path), KeptLog())
        sandbox.config_path.write_text(good)
        with running_daemon(sandbox.config_path):
            pass


def test_what_was_put_off_by_a_wrong_clock_is_done_after_a_restart(directory: Path, invoice: bytes) -> None:
    """A due time that lies decades ahead, from a clock that was wrong in the last run, keeps no document waiting."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
    with running_daemon(sandbox.config_path) as running:  # the sandbox is gone: the document has to wait
        drop(invoice, running.folder().inbound, "waits.pdf")
        running.wait_for(_at(State.SUBMITTING, running))
    with closing(sqlite3.connect(running.config.service.state_dir / "ledger.sqlite", isolation_level=None)) as ledger:
        ledger.execute("UPDATE document SET due_at = due_at + 50 * 365 * 86400 * 1000000, lease = NULL")
    with Sandbox.start(directory, delays=QUICK) as sandbox, running_daemon(sandbox.config_path) as again:
        (document,) = again.wait_until_over(1)
    assert document.state is State.DELIVERED
