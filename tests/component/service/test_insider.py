"""Somebody who can write into inbound can at worst have a document of their own sealed or rejected."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from running import PATIENCE_S, Running, drop, leftovers, running_service, sha256, unique
from sealdrop.model import FileIdentity, State
from sealdrop.pipeline import intake
from sealdrop.sandbox.server import Sandbox

ROUNDS = 150
OWN = 3  # documents of the insider's own, while the others' are not to be touched


@pytest.fixture
def secret(tmp_path: Path, invoice: bytes) -> Path:
    """Somebody else's document, outside of all folders, which the service may read and the insider may not."""
    path = tmp_path / "secret" / "secret.pdf"
    path.parent.mkdir()
    path.write_bytes(unique(invoice, 999))
    return path


def _swap(inbound: Path, name: str, make: str, target: Path | bytes) -> None:
    """Put a link, a hard link, a pipe or a file in a name's place, in one step."""
    aside = inbound / f".{name}.aside"
    aside.unlink(missing_ok=True)
    if make == "symlink":
        aside.symlink_to(str(target))
    elif make == "hard link":
        os.link(str(target), aside)
    elif make == "pipe":
        os.mkfifo(aside)
    else:
        assert isinstance(target, bytes)
        aside.write_bytes(target)
    aside.replace(inbound / name)


@contextmanager
def insider(inbound: Path, secret: Path, own: list[bytes]) -> Iterator[threading.Event]:
    """Somebody who changes names, files, links and folders below inbound all the time; the event says: enough."""
    done, failures = threading.Event(), list[BaseException]()

    def play() -> None:
        for number in range(ROUNDS):
            content = own[number % len(own)]
            for make, target in (
                ("file", content),
                ("symlink", secret),
                ("file", content),
                ("hard link", secret),
                ("pipe", b""),
                ("symlink", Path("../outbound/escape.pdf")),
            ):
                _swap(inbound, f"swap {number % 3}.pdf", make, target)
            folder = inbound / "folder"
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                folder.rename(inbound / f".gone {number}")
            if number % 2:
                folder.symlink_to(secret.parent)
            else:
                folder.mkdir()
                (folder / "secret.pdf").write_bytes(content)

    def run() -> None:
        try:
            play()
        except BaseException as error:  # noqa: BLE001 - the test is to fail, not this thread
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield done
    thread.join(PATIENCE_S)
    assert failures == []


def _came_out(sandbox: Sandbox, running: Running) -> set[str]:
    """Digests of everything that was sealed, and of every original in the state directory or in a folder."""
    found = {seal.sha256 for seal in sandbox.seals()}
    places = [running.config.service.state_dir / "spool"]
    places += [place for name, place in running.folder().places() if name != "inbound"]
    return found | {sha256(path.read_bytes()) for place in places for path in place.rglob("*.pdf")}


def test_names_links_and_swaps_give_nobody_elses_document_away(directory: Path, invoice: bytes, secret: Path) -> None:
    """Under a storm of swaps only what the insider could write is sealed; a neighbour's document goes its way."""
    own = [unique(invoice, number) for number in range(OWN)]
    neighbour = unique(invoice, 500)
    before = secret.stat()
    with running_service(directory, settle_s="0.01", sweep_s="0.05") as (sandbox, running):
        inbound = running.folder().inbound
        with insider(inbound, secret, own) as done:
            drop(neighbour, inbound, "neighbour.pdf")
            assert done.wait(PATIENCE_S)
        for path in sorted(inbound.rglob("*"), reverse=True):
            if path.name != "neighbour.pdf" and not path.name.startswith(".sealdrop-"):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        drop(unique(invoice, 501), inbound, "last.pdf")
        running.wait_for(lambda: {"neighbour.pdf", "last.pdf"} <= {each.name for each in running.over()})
        running.wait_for(lambda: len(running.over()) == len(running.documents))
        sealed = {seal.sha256 for seal in sandbox.seals()}
        assert sealed <= {sha256(each) for each in (*own, neighbour, unique(invoice, 501))}
        assert sha256(secret.read_bytes()) not in _came_out(sandbox, running)
    assert (running.folder().outbound / "neighbour.pdf").read_bytes().startswith(neighbour)
    assert not (running.folder().outbound / "escape.pdf").exists()
    assert all(each.state in (State.DELIVERED, State.REJECTED) for each in running.over())
    assert {path.suffix for path in running.folder().outbound.iterdir()} <= {".pdf", ".json", ""}
    after = secret.stat()
    assert (after.st_nlink, after.st_mtime_ns, after.st_size) == (1, before.st_mtime_ns, before.st_size)
    assert leftovers(running.config) == []


@pytest.mark.parametrize("moment", ["look", "open"])
def test_a_hard_link_in_the_instant_of_opening_is_not_taken(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Who shows a file of their own at the right instant, and a link to another's before and after, gets nothing."""
    inbound = tmp_path / "inbound"
    inbound.mkdir()
    os.link(secret, inbound / "a.pdf")
    seen = FileIdentity.of((inbound / "a.pdf").lstat())
    opened, stat = os.open, os.stat

    def swapping_stat(path: str | Path, **options: object) -> os.stat_result:
        if path == inbound / "a.pdf":
            _swap(inbound, "a.pdf", "file", b"%PDF-1.7 own")
        return stat(path, **options)  # type: ignore[arg-type]

    def swapping_open(path: str | Path, *arguments: int, **options: int) -> int:
        if path == inbound / "a.pdf" and moment == "open":
            _swap(inbound, "a.pdf", "hard link", secret)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(intake.os, "stat", swapping_stat)
    monkeypatch.setattr(intake.os, "open", swapping_open)
    taken = intake.take(inbound, inbound / "a.pdf", tmp_path / "copy.pdf", seen=seen)
    assert isinstance(taken, intake.Unsettled)
    assert not (tmp_path / "copy.pdf").exists()
    assert not (tmp_path / "copy.part").exists()
