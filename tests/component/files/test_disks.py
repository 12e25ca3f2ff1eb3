"""Full, read-only and missing file systems: nothing lost, nothing halved, a trouble that says so, and on by itself."""

import os
import shutil
from pathlib import Path

import pytest

from disks import fill, mounted, read_only, service, share, small_disk, troubles, unmount
from running import Running, drop, leftovers, sha256, unique, until
from sealdrop.durable import is_temporary
from sealdrop.model import State
from sealdrop.sandbox.server import Sandbox

pytestmark = pytest.mark.usefixtures("root")


def _drop(invoice: bytes, running: Running, numbers: range) -> None:
    for number in numbers:
        drop(unique(invoice, number), running.folder("contracts").inbound, f"{number}.pdf")


def _all_delivered(sandbox: Sandbox, running: Running, invoice: bytes, numbers: range) -> None:
    """Wait until the documents are delivered, each sealed once and whole, and nothing is left anywhere."""
    documents = running.wait_until_over(len(numbers))
    assert {each.name: each.state for each in documents} == {f"{number}.pdf": State.DELIVERED for number in numbers}
    expected = sorted(sha256(unique(invoice, number)) for number in numbers)
    assert sorted(seal.sha256 for seal in sandbox.seals()) == expected
    for number in numbers:
        sealed = running.folder("contracts").outbound / f"{number}.pdf"
        assert sealed.read_bytes().startswith(unique(invoice, number))
        assert sealed.with_name(sealed.name + ".receipt.json").exists()
    until(lambda: troubles(running) == {}, lambda: troubles(running))
    until(lambda: [path for path in leftovers(running.config) if path.name != ".ballast"] == [])


def _told(running: Running, *names: str) -> list[object]:
    return [line["event"] for line in running.log.events(*names)]


@pytest.mark.parametrize("lack", ["bytes", "files"])
def test_a_state_disk_without_room_takes_nothing_until_there_is(directory: Path, invoice: bytes, lack: str) -> None:
    """With less than the reserve left files wait in inbound, status says so, and they go on when there is room."""
    state = directory / "state" / "daemon"
    with (
        small_disk(state, size="48m", files=700),
        service(directory, tables=[("service", "min_free_mib = 16")]) as (sandbox, running),
    ):
        _drop(invoice, running, range(2))
        running.wait_until_over(2)
        if lack == "bytes":
            ballast = fill(state, leave_bytes=8 << 20)
        else:
            ballast = state / "many"
            ballast.mkdir()
            for number in range(os.statvfs(state).f_favail - 20):
                (ballast / str(number)).touch()
        _drop(invoice, running, range(2, 5))
        until(lambda: "state_dir" in troubles(running), lambda: running.log.lines)
        assert len(running.documents) == 2
        assert len(list(running.folder("contracts").inbound.iterdir())) == 3
        shutil.rmtree(ballast) if lack == "files" else ballast.unlink()
        _all_delivered(sandbox, running, invoice, range(5))
    assert _told(running, "disk_low", "disk_ok") == ["disk_low", "disk_ok"]


def test_a_file_that_does_not_fit_lets_smaller_ones_pass(directory: Path, invoice: bytes) -> None:
    """A file that would eat into the reserve waits for room, while a small one that came after it is delivered."""
    state = directory / "state" / "daemon"
    large = invoice.replace(b"%%EOF", os.urandom(20 << 20).hex().encode()[: 20 << 20] + b"\n%%EOF")
    with (
        small_disk(state, size="64m"),
        service(directory, tables=[("service", "min_free_mib = 16")]) as (_, running),
    ):
        ballast = fill(state, leave_bytes=30 << 20)
        drop(large, running.folder("contracts").inbound, "a large one.pdf")
        until(lambda: "state_dir" in troubles(running))
        _drop(invoice, running, range(1))
        running.wait_until_over(1)
        assert [each.name for each in running.over()] == ["0.pdf"]
        assert "state_dir" in troubles(running)
        ballast.unlink()
        running.wait_until_over(2)
        until(lambda: troubles(running) == {})
    assert leftovers(running.config) == []


def test_a_state_disk_that_is_full_to_the_last_byte_loses_nothing(directory: Path, invoice: bytes) -> None:
    """When not even the ledger can be written, documents at every stage wait, and go on within seconds, not a lease."""
    state = directory / "state" / "daemon"
    with (
        small_disk(state, size="48m"),
        service(directory, tables=[("service", "min_free_mib = 0")]) as (sandbox, running),
    ):
        _drop(invoice, running, range(8))
        running.wait_for(lambda: len(running.documents) >= 2)
        ballast = fill(state)
        _drop(invoice, running, range(8, 10))
        until(lambda: len(running.log.events("worker_troubled", "folder_unreachable", "disk_low")) >= 2)
        said = len(running.log.lines)
        ballast.unlink()
        _all_delivered(sandbox, running, invoice, range(10))
    assert said < 200, "it did not wait for room, it spun"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("outbound", "full"),
        ("outbound", "read-only"),
        ("outbound", "unmounted"),
        ("outbound", "gone"),
        ("rejected", "full"),
        ("rejected", "unmounted"),
    ],
)
def test_a_folder_that_cannot_be_written_holds_its_documents(
    directory: Path, invoice: bytes, place: str, fault: str
) -> None:
    """Its documents wait, nothing is half written, others go on, and it ends by itself when the folder is back."""
    folder = directory / "contracts" / place
    with small_disk(folder, size="4m"), service(directory) as (sandbox, running):
        subject = f"folder contracts {place}"
        if fault == "full":
            ballast = fill(folder)
        elif fault == "read-only":
            read_only(folder, on=True)
        else:
            unmount(folder)
        if fault == "gone":
            folder.rmdir()
        content = unique(invoice, 1) if place == "outbound" else b"no PDF"
        drop(content, running.folder("contracts").inbound, "a.pdf")
        until(lambda: subject in troubles(running), lambda: running.log.lines)
        drop(unique(invoice, 2), running.folder("invoices").inbound, "b.pdf")
        running.wait_until_over(1)
        if fault != "gone":
            assert [path.name for path in folder.iterdir() if path.name != ".ballast"] == []
        if fault == "full":
            ballast.unlink()
        elif fault == "read-only":
            read_only(folder, on=False)
        else:
            folder.mkdir(exist_ok=True)
            mounted("-t", "tmpfs", "sealdrop-test", folder)
        running.wait_until_over(2)
        until(lambda: troubles(running) == {}, lambda: troubles(running))
        names = {path.name for path in folder.iterdir()}
        assert "a.pdf" in names
        assert not any(map(is_temporary, names))
        assert len(sandbox.seals()) == (2 if place == "outbound" else 1)
    assert _told(running, "folder_unwritable", "folder_writable") == ["folder_unwritable", "folder_writable"]


@pytest.mark.parametrize("fault", ["read-only", "unmounted", "moved away", "made anew"])
def test_an_inbound_folder_that_is_away_for_a_while_loses_nothing(directory: Path, invoice: bytes, fault: str) -> None:
    """While it is away or read-only status says so; when it is back all is taken, and nothing twice."""
    inbound = directory / "contracts" / "inbound"
    back = directory / "back"
    disk = small_disk(inbound) if fault in ("read-only", "unmounted") else share(back, directory / "unused")
    with disk, service(directory) as (sandbox, running):
        subject = "folder contracts inbound"
        _drop(invoice, running, range(2))
        running.wait_until_over(2)
        if fault == "read-only":
            read_only(inbound, on=True)
        elif fault == "unmounted":
            unmount(inbound)
        elif fault == "moved away":
            inbound.rename(back / "away")
        else:
            inbound.rmdir()
        until(lambda: subject in troubles(running), lambda: running.log.lines)
        if fault == "read-only":
            read_only(inbound, on=False)
        elif fault == "unmounted":
            mounted("-t", "tmpfs", "sealdrop-test", inbound)
        elif fault == "moved away":
            drop(unique(invoice, 2), back / "away", "2.pdf")
            (back / "away").rename(inbound)
        else:
            inbound.mkdir()
        _drop(invoice, running, range(2 if fault != "moved away" else 3, 4))
        _all_delivered(sandbox, running, invoice, range(4))
        # And events arrive again: this one is there before any sweep comes to it.
        until(lambda: all(worker._watch.is_alive for worker in running.daemon._shifts.crew.inbound))
    assert _told(running, "folder_unreachable", "folder_reachable") == ["folder_unreachable", "folder_reachable"]


def test_a_full_inbound_is_emptied(directory: Path, invoice: bytes) -> None:
    """Taking over needs no room in inbound: a file in a file system without a free byte or name is delivered."""
    inbound = directory / "contracts" / "inbound"
    with small_disk(inbound, size="1m", files=8), service(directory) as (sandbox, running):
        _drop(invoice, running, range(2))
        fill(inbound)
        while os.statvfs(inbound).f_favail:
            (inbound / f".{os.statvfs(inbound).f_favail}").touch()
        running.wait_until_over(2)
        assert len(sandbox.seals()) == 2
        assert [path.name for path in inbound.iterdir() if not path.name.startswith(".")] == []


def test_a_share_without_events_is_swept(directory: Path, invoice: bytes) -> None:
    """Files that appear behind a mount that sends no events are all taken by the sweep, and once."""
    back, inbound = directory / "back", directory / "contracts" / "inbound"
    with share(back, inbound), service(directory) as (sandbox, running):
        for number in range(5):
            drop(unique(invoice, number), back, f"{number}.pdf")
        _all_delivered(sandbox, running, invoice, range(5))
    assert [path for path in back.iterdir() if path.is_file()] == []
