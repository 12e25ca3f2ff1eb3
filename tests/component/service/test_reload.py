"""Reading the configuration anew while documents flow: nothing lost or doubled, all of it or nothing."""

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from running import (
    PATIENCE_S,
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
from sealdrop.audit.check import verify_trail
from sealdrop.audit.reading import read_records
from sealdrop.config import load
from sealdrop.daemon import shifts, stages
from sealdrop.daemon.account import AccountWorker
from sealdrop.daemon.crew import Crew
from sealdrop.daemon.hand import Outcome
from sealdrop.daemon.locks import Locks
from sealdrop.daemon.stages import LocalStages
from sealdrop.errors import ConfigurationError, Retryable
from sealdrop.model import Document, SealLevel, State
from sealdrop.pipeline import intake, mounts
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

NEW_FOLDER = """
[folders.letters]
account = "sandbox"
inbound = "letters/inbound"
outbound = "letters/outbound"
rejected = "letters/rejected"
failed = "letters/failed"
sweep_s = 0.5
[folders.letters.seal]
level = "PAdES_BASELINE_B"
archive = false
"""


def change(running: Running, *pairs: tuple[str, str], more: str = "", **values: str) -> None:
    """Change the configuration file: texts, whole keys, or by adding tables."""
    path = running.config.source
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text + more)
    if values:
        quicken(path, **values)


def without(running: Running, folder: str) -> None:
    """Take a folder out of the configuration file."""
    kept, skipping = [], False
    for line in running.config.source.read_text().splitlines():
        if line.startswith("["):
            skipping = line.startswith((f"[folders.{folder}]", f"[folders.{folder}."))
        if not skipping:
            kept.append(line)
    running.config.source.write_text("\n".join(kept) + "\n")


def reload(running: Running) -> bool:
    """Have the configuration read anew, and return whether it took effect."""
    before, log = running.daemon._shifts.crew, running.log
    refused, reloaded = len(log.events("reload_refused")), len(log.events("configuration_reloaded"))
    running.daemon.reload_soon()

    def has_begun() -> bool:
        return len(log.events("configuration_reloaded")) > reloaded and running.daemon._shifts.crew is not before

    until(lambda: has_begun() or len(log.events("reload_refused")) > refused)
    return len(log.events("reload_refused")) == refused


def problems(running: Running) -> list[str]:
    """Return what spoke against the last configuration that was refused."""
    found: Any = running.log.events("reload_refused")[-1]["problems"]
    return list(found)


def records(running: Running, event: str) -> list[dict[str, Any]]:
    """Return what the audit files say of an event."""
    found = read_records(running.config.service.state_dir / "audit")
    return [dict(entry.data) for entry in found if entry.event == event]


def doing(running: Running, name: str) -> tuple[str, float | None]:
    """Return what a worker is at, and how long that may take; of several of the name, of the one that is held up."""
    found = [each.judged()[1] for each in running.daemon._progress() if each.name == name]
    at = min((each for each in found if each is not None), key=lambda each: each.since)
    return at.what, at.end_s


def tell_held_up(running: Running, name: str) -> None:
    """Have it told that a worker waits for a folder, as is done after a minute."""
    for each in running.daemon._progress():
        at = each.judged()[1]
        if each.name == name and at is not None and at.tell is not None:
            at.tell("it has not answered for 61 s")


def troubles(running: Running) -> dict[str, str]:
    """Return what is in trouble, with the text."""
    return {each.subject: each.text for each in running.daemon._troubles.present()}


def test_every_worker_is_looked_after(directory: Path) -> None:
    """Each thread that the service starts is watched, a library's, or one of a few: none is forgotten."""
    libraries = ("Thread-", "APScheduler", "ThreadPoolExecutor", "asyncio_")
    tellers = {"attendance", "lookout", "metrics", "alerts", "alerts webhook"}  # docs/service.md says why not
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        with sandbox.config_path.open("a") as config:
            config.write('[metrics]\nlisten = "127.0.0.1:0"\n[alerts.webhook]\nurl = "http://localhost:9/"\n')
        before = set(threading.enumerate())
        with running_daemon(sandbox.config_path) as running:
            watched = {each.name for each in running.daemon._progress()}
            started = {each.name for each in threading.enumerate() if each not in before}
            found = {each for each in started - watched if not each.startswith((*libraries, "room "))}
            assert found == tellers
            assert {"audit", "clock", "reload", "schedule", "inbound invoices", "submit sandbox"} <= watched
            until(lambda: all(each.judged()[1] for each in running.daemon._progress() if each.name in started))


def test_a_valid_configuration_takes_effect(directory: Path, invoice: bytes) -> None:
    """A new folder is watched and locked, a folder's seal is as it says now, and it is on record which file it was."""
    with running_service(directory) as (_, running):
        drop(unique(invoice, 1), running.folder("contracts").inbound, "before.pdf")
        running.wait_until_over(1)
        change(running, ('level = "PAdES_BASELINE_B"', 'level = "PAdES_BASELINE_T"'), more=NEW_FOLDER)
        assert reload(running)
        running.config = load(running.config.source)
        assert running.daemon.config == running.config
        with pytest.raises(ConfigurationError, match="another sealdrop is running"):
            Locks().take(running.config)
        drop(unique(invoice, 2), running.folder("contracts").inbound, "after.pdf")
        drop(unique(invoice, 3), running.folder("letters").inbound, "new.pdf")
        assert {each.state for each in running.wait_until_over(3)} == {State.DELIVERED}
        levels = {each.name: each.level for each in running.documents.values()}
        assert levels == {
            "before.pdf": SealLevel.B,
            "after.pdf": SealLevel.T,
            "new.pdf": SealLevel.B,
        }
        content = running.config.source.read_bytes()
    (reloaded,) = records(running, "configuration_reloaded")
    assert reloaded == {
        "config_sha256": sha256(content),
        "accounts": ["sandbox"],
        "folders": ["contracts", "invoices", "letters"],
    }
    (started,) = records(running, "service_started")
    assert started["config_sha256"] not in ("", reloaded["config_sha256"])
    assert leftovers(running.config) == []


def test_a_folder_that_is_taken_out_is_let_go_of(directory: Path, invoice: bytes) -> None:
    """Nothing is taken from it any more, and another service may have it."""
    with running_service(directory) as (_, running):
        contracts = running.folder("contracts")
        without(running, "contracts")
        assert reload(running)
        drop(unique(invoice, 1), contracts.inbound, "left.pdf")
        drop(unique(invoice, 2), running.folder().inbound, "taken.pdf")
        running.wait_until_over(1)
        with Locks() as locks:
            other = running.config.model_copy(
                update={
                    "service": running.config.service.model_copy(update={"state_dir": directory}),
                    "folders": {"contracts": contracts},
                }
            )
            locks.take(other)
        assert (contracts.inbound / "left.pdf").exists()


def test_an_invalid_configuration_is_refused_and_the_old_one_stays(directory: Path, invoice: bytes) -> None:
    """All faults are told: of the file, of a folder, of anchors and certificates; work goes on as before."""
    with running_service(directory) as (_, running):
        before = running.daemon.config
        good = running.config.source.read_text()
        change(running, ('organisation = "', 'organization = "'), ("settle_s", "settle_time"))
        assert not reload(running)
        assert "accounts.sandbox.organization: unknown key" in problems(running)
        assert len(problems(running)) == 4
        running.config.source.write_text(good.replace("create_folders = true", "create_folders = false") + NEW_FOLDER)
        assert not reload(running)
        assert [each.partition(":")[0] for each in problems(running)] == [
            f"folders.letters.{place}" for place in ("inbound", "outbound", "rejected", "failed")
        ]
        (directory / "no.pem").write_text("nothing")
        running.config.source.write_text(
            good.replace('trust_anchors = ["pki/root.pem"]', 'trust_anchors = ["no.pem"]').replace(
                'certificate = "pki/client.p12"', 'certificate = "no.pem"'
            )
        )
        assert not reload(running)
        assert [each.partition(":")[0] for each in problems(running)] == [
            "accounts.sandbox.trust_anchors",
            "accounts.sandbox",
        ]
        running.config.source.write_text(good.replace('state_dir = "state/daemon"', 'state_dir = "state/other"'))
        assert not reload(running)
        assert "cannot be changed while the service runs" in problems(running)[0]
        assert not (directory / "state" / "other").exists()
        running.config.source.unlink()
        assert not reload(running)
        assert running.daemon.config is before
        drop(invoice, running.folder().inbound, "one.pdf")
        assert running.wait_until_over(1)[0].state is State.DELIVERED
        assert "RELOAD REFUSED" in running.daemon._status()
        running.config.source.write_text(good)
        assert reload(running)
        until(lambda: "RELOAD REFUSED" not in running.daemon._status())
    assert len(records(running, "configuration_reloaded")) == 1


def test_documents_are_not_left_behind(directory: Path, invoice: bytes) -> None:
    """A folder with documents that wait cannot be taken out, nor an address changed under those that were sent."""
    with running_service(directory, delays=Delays(sign_s=30)) as (_, running):
        drop(invoice, running.folder("contracts").inbound, "waits.pdf")
        running.wait_for(lambda: any(each.state is State.SEALING for each in running.documents.values()))
        good = running.config.source.read_text()
        without(running, "contracts")
        assert not reload(running)
        assert "folders.contracts: missing, but documents of it wait" in problems(running)[0]
        running.config.source.write_text(good.replace("https://localhost", "https://127.0.0.1"))
        assert not reload(running)
        assert "accounts.sandbox.base_url: documents were sent to https://localhost" in problems(running)[0]
        running.config.source.write_text(good)
        assert reload(running)


def test_what_speaks_against_it_only_after_the_drain_is_found(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is taken over in the last moment, for a folder that is taken out: the old workers go on."""
    with running_service(directory) as (_, running):
        inbound = running.folder("contracts").inbound
        without(running, "contracts")
        real, calls = shifts.check_waiting, []

        def check(*args: Any) -> None:  # noqa: ANN401 - whatever the real one takes
            if not calls:
                real(*args)
                drop(invoice, inbound, "late.pdf")
                running.wait_for(lambda: len(running.documents) == 1)
            calls.append(args)
            if len(calls) > 1:
                raise ConfigurationError("x", ["folders.contracts: missing, but documents of it wait"])

        monkeypatch.setattr(shifts, "check_waiting", check)
        assert not reload(running)
        assert len(calls) == 2
        assert running.wait_until_over(1)[0].state is State.DELIVERED
        drop(unique(invoice, 2), inbound, "next.pdf")
        assert len(running.wait_until_over(2)) == 2
    assert records(running, "configuration_reloaded") == []


def test_another_certificate_is_used_without_a_restart(directory: Path, invoice: bytes, tmp_path: Path) -> None:
    """SignAPI changes its authority, and the old client certificate counts for nothing: a reload, and all goes on."""
    with ExitStack() as first:
        sandbox = first.enter_context(Sandbox.start(directory, delays=QUICK))
        quicken(sandbox.config_path, retry_first_s="0.1", retry_longest_s="0.3")
        with running_daemon(sandbox.config_path) as running:
            drop(unique(invoice, 1), running.folder().inbound, "old.pdf")
            running.wait_until_over(1)
            first.close()
            Pki.ensure(tmp_path / "other")
            shutil.rmtree(directory / "pki")
            shutil.copytree(tmp_path / "other" / "pki", directory / "pki")
            with Sandbox.start(directory, delays=QUICK) as renewed:
                drop(unique(invoice, 2), running.folder().inbound, "new.pdf")
                until(lambda: bool(running.log.events("account_unreachable")))
                assert len(renewed.seals()) == 1  # the old certificate gets nothing
                assert reload(running)
                assert {each.state for each in running.wait_until_over(2)} == {State.DELIVERED}
                assert len(renewed.seals()) == 2
                until(lambda: running.daemon._troubles.present() == ())


def test_reloads_under_a_stream_of_drops_lose_and_double_nothing(directory: Path, invoice: bytes) -> None:
    """Documents come all the time while the configuration is read anew again and again: one seal and deposit each."""
    number, rounds = 30, 5
    delays = Delays(sign_s=0.2, archive_start_s=0.1, archive_s=0.2)
    with running_service(directory, delays=delays) as (sandbox, running):
        inbound = running.folder().inbound

        def pour() -> None:
            for each in range(number):
                drop(unique(invoice, each), inbound, f"{each}.pdf")
                running.wait_for(lambda each=each: len(running.documents) >= each - 5)  # type: ignore[misc]

        pouring = threading.Thread(target=pour)
        pouring.start()
        for each in range(rounds):
            change(running, poll_longest_s=f"{each + 1}.5")
            assert reload(running)
            running.wait_for(lambda each=each: len(running.over()) >= number * each // rounds)  # type: ignore[misc]
        pouring.join(PATIENCE_S)
        assert {each.state for each in running.wait_until_over(number)} == {State.DELIVERED}
        once = Counter(sha256(unique(invoice, each)) for each in range(number))
        assert Counter(seal.sha256 for seal in sandbox.seals()) == once
        assert Counter(deposit.sha256 for deposit in sandbox.deposits()) == once
        assert running.log.events("lease_lost", "worker_troubled", "worker_stuck") == []
    assert leftovers(running.config) == []
    assert verify_trail(running.config.service.state_dir / "audit").ok
    assert len(records(running, "configuration_reloaded")) == rounds


def test_a_call_that_does_not_end_in_time_is_finished_by_the_old_configuration(directory: Path, invoice: bytes) -> None:
    """A worker in a long call keeps its documents; the new ones work meanwhile, and nothing is sealed twice."""
    with running_service(directory) as (sandbox, running):
        change(running, ("create_folders = true", "create_folders = true\ngrace_s = 0.2"))
        assert reload(running)
        sandbox.faults.add("timeout", "sign", applied=True, seconds=4)
        drop(unique(invoice, 1), running.folder().inbound, "slow.pdf")
        running.wait_for(lambda: any(event.name == "seal_intended" for _, event in running.events))
        old = running.daemon._shifts.crew
        change(running, poll_longest_s="1.5")
        assert reload(running)
        assert old.working() == ["sign sandbox"]
        assert doing(running, "sign sandbox") == ("an answer to sign of account sandbox", 20.0)
        drop(unique(invoice, 2), running.folder().inbound, "quick.pdf")
        assert {each.state for each in running.wait_until_over(2)} == {State.DELIVERED}
        assert len(sandbox.seals()) == 2
        until(lambda: not old.working())
        running.daemon._shifts.clear()
        assert running.daemon._shifts._earlier == []
        assert running.log.events("lease_lost", "worker_troubled") == []


def test_a_folder_whose_old_worker_hangs_is_not_taken_from_twice(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that hangs in a share belongs to the old worker; others go on, and the new one waits for it to end."""
    real, hangs, goes_on = intake.take, threading.Event(), threading.Event()

    def take(inbound: Path, path: Path, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the real one
        if path.name == "hangs.pdf" and not hangs.is_set():
            hangs.set()
            assert goes_on.wait(PATIENCE_S)
        return real(inbound, path, *args, **kwargs)

    monkeypatch.setattr(intake, "take", take)
    with running_service(directory) as (sandbox, running):
        change(running, ("create_folders = true", "create_folders = true\ngrace_s = 0.2"))
        assert reload(running)
        drop(unique(invoice, 1), running.folder("contracts").inbound, "hangs.pdf")
        assert hangs.wait(PATIENCE_S)
        assert doing(running, "inbound contracts") == (str(running.folder("contracts").inbound), None)
        tell_held_up(running, "inbound contracts")
        assert "it has not answered" in troubles(running)["folder contracts inbound"]
        good = running.config.source.read_text()
        without(running, "contracts")
        assert not reload(running)
        assert "may still take a file over" in problems(running)[0]
        running.config.source.write_text(good.replace('"contracts/inbound"', '"contracts/elsewhere"'))
        assert not reload(running)
        assert "folders.contracts.inbound: changed" in problems(running)[0]
        running.config.source.write_text(good)
        assert reload(running)
        drop(unique(invoice, 2), running.folder("contracts").inbound, "behind.pdf")
        drop(unique(invoice, 3), running.folder().inbound, "beside.pdf")
        running.wait_until_over(1)
        assert {each.name for each in running.documents.values()} == {"beside.pdf"}
        goes_on.set()
        assert {each.state for each in running.wait_until_over(3)} == {State.DELIVERED}
        until(lambda: troubles(running) == {})
        assert Counter(seal.sha256 for seal in sandbox.seals()) == Counter(
            sha256(unique(invoice, each)) for each in (1, 2, 3)
        )
    assert leftovers(running.config) == []


def test_an_address_is_not_changed_under_a_worker_that_may_still_send(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker hangs before its intent is on record: nothing is at SignAPI yet, and it is not to be asked elsewhere."""
    real, hangs, goes_on = AccountWorker._stamp, threading.Event(), threading.Event()

    def stamp(worker: AccountWorker, document: Document) -> Any:  # noqa: ANN401 - as the real one
        hangs.set()
        assert goes_on.wait(PATIENCE_S)
        return real(worker, document)

    monkeypatch.setattr(AccountWorker, "_stamp", stamp)
    with running_service(directory) as (sandbox, running):
        change(running, ("create_folders = true", "create_folders = true\ngrace_s = 0.2"))
        assert reload(running)
        drop(invoice, running.folder().inbound, "hangs.pdf")
        assert hangs.wait(PATIENCE_S)
        good = running.config.source.read_text()
        change(running, ("https://localhost", "https://127.0.0.1"))
        assert not reload(running)
        assert "accounts.sandbox.base_url: changed, but a worker has not ended" in problems(running)[0]
        running.config.source.write_text(good)
        assert reload(running)
        goes_on.set()
        assert running.wait_until_over(1)[0].state is State.DELIVERED
        assert len(sandbox.seals()) == 1


def test_documents_go_their_way_when_their_folder_gets_another_account(directory: Path, invoice: bytes) -> None:
    """What was dropped before is sealed by the account that it was dropped for, what comes after by the new one."""
    delays = Delays(sign_s=1, archive_start_s=0.1, archive_s=0.1)
    with running_service(directory, delays=delays) as (sandbox, running):
        drop(unique(invoice, 1), running.folder().inbound, "before.pdf")
        running.wait_for(lambda: any(each.state is State.SEALING for each in running.documents.values()))
        text = running.config.source.read_text()
        account = text[text.index("[accounts.sandbox]") : text.index("[folders.")]
        other = account.replace("[accounts.sandbox]", "[accounts.other]")
        change(running, ('account = "sandbox"', 'account = "other"'), more=f"\n{other}")
        assert reload(running)
        drop(unique(invoice, 2), running.folder().inbound, "after.pdf")
        assert {each.state for each in running.wait_until_over(2)} == {State.DELIVERED}
        assert {each.name: each.account for each in running.documents.values()} == {
            "before.pdf": "sandbox",
            "after.pdf": "other",
        }
        assert len(sandbox.seals()) == 2
    assert leftovers(running.config) == []


def test_a_document_whose_old_worker_hangs_is_not_published_twice(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share may hang for longer than any lease: nobody else writes the document meanwhile, not even elsewhere."""
    real, hangs, goes_on = stages.deliver, threading.Event(), threading.Event()

    def deliver(*args: Any, **kwargs: Any) -> str:  # noqa: ANN401 - as the real one
        if not hangs.is_set():
            hangs.set()
            assert goes_on.wait(PATIENCE_S)
        return real(*args, **kwargs)

    monkeypatch.setattr(stages, "deliver", deliver)
    monkeypatch.setattr(stages, "LONGEST", timedelta(seconds=0.5))
    monkeypatch.setitem(Crew._pump.__kwdefaults__, "lease_s", 3.0)
    with running_service(directory) as (_, running):
        change(running, ("create_folders = true", "create_folders = true\ngrace_s = 0.2"))
        assert reload(running)
        outbound = running.folder().outbound
        drop(invoice, running.folder().inbound, "one.pdf")
        assert hangs.wait(PATIENCE_S)
        old = running.daemon._shifts.crew
        moved = outbound.with_name("moved")
        change(running, (f'outbound = "{outbound.relative_to(directory)}"', f'outbound = "{moved}"'))
        assert reload(running)
        ledger, clock = running.daemon._ledger, running.daemon._clock
        until(lambda: ledger.any_due(State.VERIFIED, clock.now()))  # the lease is over
        drop(unique(invoice, 2), running.folder("contracts").inbound, "beside.pdf")
        running.wait_until_over(1)
        assert list(moved.iterdir()) == []
        goes_on.set()
        running.wait_until_over(2)
        until(lambda: not old.working())
        published = [path for place in (outbound, moved) for path in place.rglob("*.pdf")]
        assert [path.name for path in published] == ["one.pdf"]


def test_a_share_that_is_away_is_missed_after_a_reload_too(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is written into the empty folder under a mount point because the configuration was read anew."""
    real, table = mounts.MOUNTS.read_bytes(), tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTS", table)
    table.write_bytes(real)
    with running_service(directory) as (_, running):
        outbound = running.folder().outbound
        share = f"999 1 0:99 / {outbound.resolve()} rw - cifs //nas/out rw\n".encode()
        table.write_bytes(real + share)
        drop(unique(invoice, 1), running.folder().inbound, "a.pdf")
        running.wait_until_over(1)
        table.write_bytes(real)
        assert reload(running)
        drop(unique(invoice, 2), running.folder().inbound, "b.pdf")
        until(lambda: "not mounted any more" in troubles(running).get("folder invoices outbound", ""))
        running.wait_for(lambda: any(each.state is State.VERIFIED for each in running.documents.values()))
        assert sorted(path.name for path in outbound.iterdir()) == ["a.pdf", "a.pdf.receipt.json"]
        table.write_bytes(real + share)
        assert {each.state for each in running.wait_until_over(2)} == {State.DELIVERED}


def test_a_folder_that_is_renamed_does_not_take_what_still_stands_again(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Originals that could not be removed are known by their inbound folder, whatever it is called by now."""

    def stays(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "sticky")

    monkeypatch.setattr(intake, "remove_original", stays)
    with running_service(directory) as (sandbox, running):
        drop(unique(invoice, 1), running.folder().inbound, "stands.pdf")
        running.wait_until_over(1)
        change(running, ("folders.invoices", "folders.bills"))
        assert reload(running)
        drop(unique(invoice, 2), running.folder().inbound, "new.pdf")
        running.wait_until_over(2)
        assert sorted((each.name, each.folder) for each in running.documents.values()) == [
            ("new.pdf", "bills"),
            ("stands.pdf", "invoices"),
        ]
        assert len(sandbox.seals()) == 2


def test_a_share_that_hangs_while_the_file_is_read_does_not_have_us_killed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Following where a folder's path leads may hang, too: that is somebody else's file system, and no stuck worker."""
    real, hangs, goes_on = os.path.realpath, threading.Event(), threading.Event()

    def realpath(path: Any, **rest: Any) -> str:  # noqa: ANN401 - as the real one
        if threading.current_thread().name == "reload" and not hangs.is_set():
            hangs.set()
            assert goes_on.wait(PATIENCE_S)
        return real(path, **rest)

    with running_service(directory) as (_, running):
        monkeypatch.setattr(os.path, "realpath", realpath)
        running.daemon.reload_soon()
        assert hangs.wait(PATIENCE_S)
        assert doing(running, "reload") == ("the folders of the new configuration", None)
        goes_on.set()
        until(lambda: len(running.log.events("configuration_reloaded")) == 1)


def test_a_stop_in_the_middle_of_a_reload_ends_it(directory: Path, invoice: bytes) -> None:
    """Asked to stop while old workers are waited for, the service stops; the new configuration has no effect."""
    with running_service(directory) as (sandbox, running):
        sandbox.faults.add("timeout", "sign", applied=True, seconds=3)
        drop(unique(invoice, 1), running.folder().inbound, "slow.pdf")
        running.wait_for(lambda: any(event.name == "seal_intended" for _, event in running.events))
        old = running.daemon._shifts.crew
        change(running, poll_longest_s="1.5")
        running.daemon.reload_soon()
        until(lambda: old._is_stopped)
        running.daemon.stop()
        assert running.daemon._shifts.crew is old
    assert records(running, "configuration_reloaded") == []


def test_what_an_old_worker_could_not_write_down_is_given_back(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document whose outcome the old worker could not record need not wait until its lease ends, in ten minutes."""
    real, began = LocalStages._commit, threading.Event()
    with running_service(directory) as (_, running):
        old = running.daemon._shifts.crew

        def commit(stages: LocalStages, outcomes: Sequence[Outcome]) -> list[Document]:
            if not began.is_set():
                began.set()
                until(lambda: old._is_stopped)
                raise Retryable("the disk is full")
            return real(stages, outcomes)

        monkeypatch.setattr(LocalStages, "_commit", commit)
        drop(invoice, running.folder().inbound, "one.pdf")
        assert began.wait(PATIENCE_S)
        assert reload(running)
        assert running.wait_until_over(1)[0].state is State.DELIVERED
        assert running.log.events("lease_lost") == []
