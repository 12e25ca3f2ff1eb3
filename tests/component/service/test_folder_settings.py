"""What a folder may be told about its documents: originals, names, retention, hours, a daily quota; all for real."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command import sealdrop
from running import QUICK, Running, drop, leftovers, quicken, receipt_of, running_daemon, stored, unique, until
from sealdrop.daemon import clocktrust
from sealdrop.model import Hold, State
from sealdrop.sandbox import samples
from sealdrop.sandbox.server import Sandbox

TABLE = "[folders.contracts]"


@contextmanager
def sandbox_with(directory: Path, *lines: str) -> Iterator[Sandbox]:
    """Run a sandbox, with more lines in the configuration of its folder ``contracts``; it is noon where people are."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        east = 12 - datetime.now(UTC).hour
        text = sandbox.config_path.read_text()
        text = text.replace("[service]", f'[service]\ntime_zone = "Etc/GMT{-east:+d}"')
        sandbox.config_path.write_text(text.replace(TABLE, "\n".join([TABLE, *lines])))
        yield sandbox


def take_out(sandbox: Sandbox, line: str) -> None:
    """Take a line out of the configuration."""
    text = sandbox.config_path.read_text()
    assert line in text
    sandbox.config_path.write_text(text.replace(line, ""))


def held(running: Running) -> dict[Hold, int]:
    """How many documents are held, and why."""
    with stored(running.config) as ledger:
        return {each.hold: each.documents for each in ledger.held(datetime.now(UTC))}


def delivered(running: Running) -> list[str]:
    """Names of the documents that were delivered, whatever becomes of their originals."""
    with running.moved:
        return sorted(each.name for each in running.documents.values() if each.state is State.DELIVERED)


def test_originals_are_kept_names_are_made_and_old_files_go(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sealed PDF is named by the template, the original stands in processed, a rejected file is gone in time."""
    monkeypatch.setattr(clocktrust, "SETTLE_S", 0.0)
    lines = (
        'processed = "contracts/processed"',
        "keep_processed_days = 30",
        "keep_rejected_days = 0.000001",
        'outbound_name = "{date:%Y}/{stem} {short_id}"',
    )
    with sandbox_with(directory, *lines) as sandbox:
        with running_daemon(sandbox.config_path) as running:
            inbound = running.folder("contracts").inbound
            drop(invoice, inbound, "sub/a.pdf")
            drop(samples.not_a_pdf(), inbound, "sub/notes.pdf")
            documents = {each.name: each for each in running.wait_until_over(2)}
            good = documents["sub/a.pdf"]
            assert good.state is State.DELIVERED, good.reason_detail
            year = good.updated_at.astimezone(running.config.service.zone()).year
            assert good.published_name == f"sub/{year}/a {good.short_id}.pdf"
            sealed = running.folder("contracts").outbound / good.published_name
            assert receipt_of(sealed)["sealed"]["name"] == good.published_name
            processed = running.folder("contracts").processed
            assert processed is not None
            assert (processed / "sub" / "a.pdf").read_bytes() == invoice
            assert good.kept_until is not None
            assert timedelta(days=29.9) < good.kept_until - datetime.now(UTC) < timedelta(days=30)
        with running_daemon(sandbox.config_path) as running:
            rejected = running.folder("contracts").rejected
            until(lambda: not any(rejected.iterdir()))
        told = sealdrop("status", "--config", sandbox.config_path, "sub/notes.pdf").out
        assert "original_expired" in told
        assert "as its folder keeps such files no longer" in told
        assert sealdrop("audit", "verify", "--config", sandbox.config_path).code == 0
        assert (processed / "sub" / "a.pdf").read_bytes() == invoice
    assert leftovers(running.config) == []


def test_a_processed_folder_that_is_away_holds_up_no_delivery(directory: Path, invoice: bytes) -> None:
    """Sealed PDFs go out, originals wait in the spool over a restart, status says why; and all are kept in the end."""
    with sandbox_with(directory, 'processed = "contracts/processed"') as sandbox:
        contents = {f"{number}.pdf": unique(invoice, number) for number in range(3)}
        with running_daemon(sandbox.config_path) as running:
            processed = running.folder("contracts").processed
            assert processed is not None
            processed.rename(processed.with_name("away"))
            for name, content in contents.items():
                drop(content, running.folder("contracts").inbound, name)
            running.wait_for(lambda: delivered(running) == sorted(contents))
            until(lambda: bool(running.log.events("folder_unwritable")))
            for name in contents:
                assert (running.folder("contracts").outbound / f"{name}.receipt.json").is_file()
            until(lambda: "folder contracts processed" in sealdrop("status", "--config", sandbox.config_path).out)
            told = sealdrop("status", "--config", sandbox.config_path).out
            assert "delivered, and its original still to be put into its folder" in told
        processed.with_name("away").rename(processed)
        with running_daemon(sandbox.config_path) as running:
            until(lambda: {path.name: path.read_bytes() for path in processed.glob("*.pdf")} == contents)
            running.wait_for(lambda: len(running.over()) == 3)
    assert leftovers(running.config) == []


def test_hours_hold_what_is_fit_and_let_through_what_is_not(directory: Path, invoice: bytes) -> None:
    """At noon a folder of the night sends nothing; a bad file comes back at once; without hours all goes on."""
    hours = 'hours = ["22:00-06:00"]'
    with sandbox_with(directory, hours) as sandbox:
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder("contracts").inbound, "night.pdf")
            drop(samples.not_a_pdf(), running.folder("contracts").inbound, "notes.pdf")
            drop(invoice, running.folder().inbound, "day.pdf")
            running.wait_until_over(2)
            until(lambda: held(running) == {Hold.WINDOW: 1})
            told = sealdrop("status", "--config", sandbox.config_path).out
            assert "contracts: it is outside the folder's hours, 1 document waits until 20" in told
            assert " 22:00 " in told
            assert "held for the folder's hours" in told
            about = sealdrop("status", "--config", sandbox.config_path, "--json").json()["folders"]["contracts"]["held"]
            assert [(each["hold"], each["documents"]) for each in about] == [("window", 1)]
        with running_daemon(sandbox.config_path) as running:  # a start holds it again
            until(lambda: bool(running.log.events("hours_closed")))
            until(lambda: held(running) == {Hold.WINDOW: 1})
            assert len(sandbox.seals()) == 1
        take_out(sandbox, hours)
        with running_daemon(sandbox.config_path) as running:
            running.wait_for(lambda: delivered(running) == ["night.pdf"])
        assert len(sandbox.seals()) == 2


def test_a_quota_is_kept_over_restarts(directory: Path, invoice: bytes) -> None:
    """Of five, two are sealed today, however often it is started; status says until when; without a quota all are."""
    quota = "daily_quota = 2"
    with sandbox_with(directory, quota) as sandbox:
        with running_daemon(sandbox.config_path) as running:
            for number in range(5):
                drop(unique(invoice, number), running.folder("contracts").inbound, f"{number}.pdf")
            running.wait_for(lambda: len(delivered(running)) == 2)
            until(lambda: held(running) == {Hold.QUOTA: 3})
            told = sealdrop("status", "--config", sandbox.config_path).out
            assert "contracts: the daily quota of 2 is used up, 3 documents wait until 20" in told
            assert " 00:00 " in told
            assert "Trouble" not in told
        for _ in range(2):
            with running_daemon(sandbox.config_path) as running:
                until(lambda: bool(running.log.events("quota_reached")))
                until(lambda: held(running) == {Hold.QUOTA: 3})
        assert len(sandbox.seals()) == 2
        shown = sealdrop("audit", "show", "--config", sandbox.config_path).out
        assert shown.count("quota_reached") == 3  # once for each start
        take_out(sandbox, quota)
        with running_daemon(sandbox.config_path) as running:
            running.wait_for(lambda: len(delivered(running)) == 3)
        assert len(sandbox.seals()) == 5
