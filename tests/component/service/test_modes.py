"""Who may read what the service writes, whatever the umask it was started with."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import QUICK, drop, quicken, running_daemon, unique
from sealdrop.model import Document, Event, State
from sealdrop.sandbox import samples
from sealdrop.sandbox.faults import Operation, SealFault
from sealdrop.sandbox.server import Sandbox

GROUP = 4321


@pytest.fixture(params=[0o000, 0o007, 0o077], ids=["umask 000", "umask 007", "umask 077"])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """The umask of whoever starts the service."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(root: Path) -> dict[Path, tuple[int, os.stat_result]]:
    """The permissions of everything below a folder; what vanishes meanwhile is left out."""
    found = {}
    for path in root.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        found[path] = (stat.S_IMODE(status.st_mode), status)
    return found


def open_to_others(root: Path) -> list[tuple[Path, str]]:
    """What below a folder is for more people than its owner, or not even for him."""
    wanted = {True: 0o700, False: 0o600}
    return [
        (path, oct(mode))
        for path, (mode, status) in modes(root).items()
        if mode != wanted[stat.S_ISDIR(status.st_mode)]
    ]


@pytest.mark.usefixtures("root", "_umask")
def test_modes_over_the_whole_life_of_documents(tmp_path: Path, invoice: bytes) -> None:
    """Delivered, rejected or failed: what is kept is the owner's alone, what is handed out is the folder's group's."""
    directory = tmp_path / "sandbox"
    exposed: list[tuple[Path, str]] = []
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        targets = [directory / "invoices" / name for name in ("outbound", "rejected", "failed")]
        for target in targets:
            target.mkdir(parents=True)
            os.chown(target, -1, GROUP)
            target.chmod(0o2770)
        state_dir = directory / "state" / "daemon"
        with running_daemon(sandbox.config_path) as running:
            watched: list[tuple[Document, Event]] = running.events

            def look() -> bool:
                """At every move of a document, with its files in the spool."""
                exposed.extend(open_to_others(state_dir))
                return len(running.over()) >= 3

            sandbox.faults.add(SealFault.UNTRUSTED_CERTIFICATE, Operation.ANY)
            drop(invoice, running.folder().inbound, "sub/failed.pdf")
            running.wait_until_over(1)
            drop(unique(invoice, 1), running.folder().inbound, "sub/deeper/delivered.pdf")
            drop(samples.not_a_pdf(), running.folder().inbound, "sub/rejected.pdf")
            running.wait_for(look)
            assert {document.state for document, _ in watched} >= {State.DELIVERED, State.REJECTED, State.FAILED}
        exposed += open_to_others(state_dir)
        assert exposed == []
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "contracts" / "outbound").stat().st_mode) & 0o007 == 0
        handed_out = {path: found for target in targets for path, found in modes(target).items()}
        assert len([path for path in handed_out if path.is_file()]) == 2 + 3 + 4
        for path, (mode, status) in handed_out.items():
            assert status.st_gid == GROUP, path
            assert mode == (0o2770 if path.is_dir() else 0o660), (path, oct(mode))
    private = [path for path in directory.rglob("*") if path.is_file() and _holds_a_secret(path)]
    assert any(path.suffix == ".p12" for path in private)
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def _holds_a_secret(path: Path) -> bool:
    return path.suffix in (".p12", ".passphrase") or b"PRIVATE KEY" in path.read_bytes()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("mode", "file_mode"), [(0o750, 0o640), (0o700, 0o600), (0o777, 0o660)])
def test_a_folder_grants_what_it_grants(directory: Path, mode: int, file_mode: int) -> None:
    """What comes out is for the folder's group as far as the folder is, and never for others."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        rejected = directory / "invoices" / "rejected"
        rejected.mkdir(parents=True)
        os.chown(rejected, -1, GROUP)
        rejected.chmod(mode)
        with running_daemon(sandbox.config_path) as running:
            drop(samples.not_a_pdf(), running.folder().inbound, "notes.pdf")
            running.wait_until_over(1)
    for path in rejected.iterdir():
        assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (GROUP, file_mode)
