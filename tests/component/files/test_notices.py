"""Files that are left in inbound: never followed, hung on or moved, and each with a reason beside nothing."""

import errno
import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest

from disks import prepared, service
from running import Running, drop, leftovers, running_daemon, sha256, unique, until
from sealdrop.model import State
from sealdrop.pipeline import watch
from sealdrop.pipeline.intake import LARGEST_BYTES

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "schemas" / "notice.schema.json").read_text())
LONGEST = "é" * 125 + "x.pdf"  # 255 bytes


def _notices(running: Running) -> dict[str, str]:
    """Return the reason in each notice of the contracts folder, by the name of the file that it is about."""
    found: dict[str, str] = {}
    for path in running.folder("contracts").rejected.rglob("*.reason.json"):
        with suppress(FileNotFoundError):  # it goes while we look
            content = json.loads(path.read_text())
            if content["kind"] != "sealdrop-notice":
                continue
            text = path.with_name(path.name.removesuffix(".json") + ".txt").read_text()
            jsonschema.validate(content, SCHEMA)
            assert "What you can do: " in text
            assert "Ce que vous pouvez faire : " in text
            assert content["reason"] in text
            assert all(len(line) <= 100 for line in text.splitlines() if " " in line)
            found[content["name"]] = content["reason"]
    return found


def _listen_at(path: Path) -> None:
    """Make a socket, whose path may be longer than the system's limit for addresses."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.usefixtures("root")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_plain_file_stays_and_gets_a_reason(directory: Path, invoice: bytes, tmp_path: Path) -> None:
    """What is no plain file is left, and told of once, until it has gone or become one; others are delivered.

    That holds across a restart, in which no notice is written again.
    """
    outside = tmp_path / "outside.pdf"
    outside.write_bytes(unique(invoice, 1))
    odd = os.fsdecode(b"caf\xe9.pdf")
    expected = {
        "link.pdf": "SYMLINK",
        "nowhere.pdf": "SYMLINK",
        "folder link": "SYMLINK",
        "sub/hard.pdf": "HARD_LINK",
        "pipe.pdf": "SPECIAL_FILE",
        "socket.pdf": "SPECIAL_FILE",
        "device.pdf": "SPECIAL_FILE",
        "x.PDF": "SPECIAL_FILE",
        "caf%E9.pdf": "NAME_INVALID",
        LONGEST: "SYMLINK",
        "huge.pdf": "TOO_LARGE",
    }
    # The hard link and the file behind the link have the same content, and are to be seen each for itself.
    with prepared(directory, tables=[("folders.contracts", 'duplicates = "seal-again"')]) as sandbox:
        with running_daemon(sandbox.config_path) as running:
            inbound = running.folder("contracts").inbound
            drop(unique(invoice, 2), inbound, "full.pdf/inside.pdf")
            for name in ("link.pdf", LONGEST):
                (inbound / name).symlink_to(outside)
            (inbound / "nowhere.pdf").symlink_to("nowhere")
            (inbound / "folder link").symlink_to(tmp_path)
            (inbound / "sub").mkdir()
            os.link(outside, inbound / "sub" / "hard.pdf")
            os.mkfifo(inbound / "pipe.pdf")
            _listen_at(inbound / "socket.pdf")
            os.mknod(inbound / "device.pdf", 0o020600, os.makedev(1, 5))
            (inbound / "x.PDF").mkdir()
            (inbound / odd).write_bytes(unique(invoice, 3))
            (inbound / "huge.pdf").touch()
            os.truncate(inbound / "huge.pdf", LARGEST_BYTES + 1)
            until(lambda: _notices(running) == expected, lambda: _notices(running))
            (document,) = running.wait_until_over(1)
            assert (document.name, document.state) == ("full.pdf/inside.pdf", State.DELIVERED)
            assert [seal.sha256 for seal in sandbox.seals()] == [sha256(unique(invoice, 2))]
            assert "full.pdf" not in _notices(running), "it is empty because it was emptied"
            (inbound / "full.pdf").rmdir()
            names = sorted(path.name for path in inbound.iterdir())
            rejected = running.folder("contracts").rejected
            before = {path: path.stat().st_mtime_ns for path in rejected.rglob("*")}

        with running_daemon(running.config.source) as again:
            sweep = again.log.events
            drop(b"no PDF", inbound, "witness.txt")
            again.wait_until_over(1)  # the sweep was here
            assert sweep("file_not_taken") == []
            assert {path: path.stat().st_mtime_ns for path in before} == before
            assert sorted(path.name for path in inbound.iterdir()) == names
            (inbound / "link.pdf").unlink()
            (inbound / "link.pdf").write_bytes(outside.read_bytes())
            (inbound / "pipe.pdf").unlink()
            (inbound / odd).rename(inbound / "café.pdf")
            (inbound / "x.PDF" / "inside.pdf").write_bytes(unique(invoice, 4))
            outside.unlink()
            left = {name: expected[name] for name in ("nowhere.pdf", "folder link", "socket.pdf", "device.pdf")}
            left |= {LONGEST: "SYMLINK", "huge.pdf": "TOO_LARGE"}
            until(lambda: _notices(again) == left, lambda: _notices(again))
            again.wait_for(lambda: len(again.over()) == 5)
    delivered = {each.name for each in again.over() if each.state is not State.REJECTED}
    assert delivered == {"link.pdf", "café.pdf", "x.PDF/inside.pdf", "sub/hard.pdf"}
    texts = list(rejected.rglob("*.reason.txt"))
    assert len(texts) == len(left) + 1, "a notice left its text behind"


def test_somebody_elses_file_is_not_overwritten_by_a_notice(directory: Path) -> None:
    """Where the reason of a real document stands, the notice gets another name, and takes only itself away again."""
    with service(directory) as (_, running):
        folder = running.folder("contracts")
        drop(b"no PDF", folder.inbound, "a.pdf")
        running.wait_until_over(1)
        theirs = {path: path.read_bytes() for path in folder.rejected.iterdir()}
        assert len(theirs) == 3
        (folder.inbound / "a.pdf").symlink_to("elsewhere")
        until(lambda: _notices(running) == {"a.pdf": "SYMLINK"})
        (folder.inbound / "a.pdf").unlink()
        until(lambda: _notices(running) == {})
        until(lambda: len(list(folder.rejected.iterdir())) == 3)
        assert {path: path.read_bytes() for path in folder.rejected.iterdir()} == theirs


def test_a_file_that_never_stops_changing_is_told_and_taken_when_it_does(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes for long is told of as FILE_CHANGED; once it stands still it is sealed as it is then."""
    stopped = threading.Event()
    final = unique(invoice, 99)
    with service(directory, tables=[("folders.contracts", "incomplete_s = 0.2")]) as (sandbox, running):
        path = running.folder("contracts").inbound / "busy.pdf"

        def write() -> None:
            number = 0
            while not stopped.wait(0.05):
                number += 1
                with path.open("r+b" if path.exists() else "wb") as file:
                    file.write(unique(invoice, number))
            path.write_bytes(final)

        writer = threading.Thread(target=write)
        # An event says that each of these states is complete, and each is a whole PDF: so it must not be believed.
        monkeypatch.setattr(watch, "judge", lambda _, *, still_s, **__: _still(still_s))
        writer.start()
        try:
            until(lambda: _notices(running) == {"busy.pdf": "FILE_CHANGED"})
            assert running.documents == {}
        finally:
            stopped.set()
            writer.join()
        (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED
        assert [seal.sha256 for seal in sandbox.seals()] == [sha256(final)]
        until(lambda: _notices(running) == {})
    assert len(running.log.events("file_not_taken")) == 1


def _still(still_s: float) -> watch.Verdict:
    return watch.Verdict.TAKE if still_s >= 0.3 else watch.Verdict.WAIT


def test_folders_that_are_not_looked_into_are_told(directory: Path, invoice: bytes) -> None:
    """Where sub-folders are not looked into, a folder is told of, whatever it is called, and what it holds stays."""
    with service(directory, tables=[("folders.contracts", "subfolders = false")]) as (sandbox, running):
        inbound = running.folder("contracts").inbound
        drop(invoice, inbound, "x.pdf/a.pdf")
        drop(invoice, inbound, "batch/a.pdf")
        until(lambda: _notices(running) == {"x.pdf": "SPECIAL_FILE", "batch": "SPECIAL_FILE"})
        (inbound / "batch" / "a.pdf").rename(inbound / "a.pdf")
        (inbound / "batch").rmdir()
        until(lambda: _notices(running) == {"x.pdf": "SPECIAL_FILE"})
        running.wait_until_over(1)
        assert len(sandbox.seals()) == 1
    assert (inbound / "x.pdf" / "a.pdf").exists()


def test_an_unreadable_file_is_told_and_holds_up_nobody(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may not be opened is told of, the others are delivered, and it is taken once it may be opened."""
    real_open = os.open

    def refusing(path: str, flags: int, *rest: int, **options: int) -> int:
        if Path(path).name == "secret.pdf":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, flags, *rest, **options)

    with service(directory) as (_, running):
        with monkeypatch.context() as forbidden:
            forbidden.setattr(os, "open", refusing)
            drop(unique(invoice, 1), running.folder("contracts").inbound, "other.pdf")
            fd = real_open(running.folder("contracts").inbound / "secret.pdf", os.O_WRONLY | os.O_CREAT)
            with os.fdopen(fd, "wb") as file:
                file.write(unique(invoice, 2))
            until(lambda: _notices(running) == {"secret.pdf": "FILE_UNREADABLE"})
            running.wait_until_over(1)
        running.wait_until_over(2)
        until(lambda: _notices(running) == {})
    assert leftovers(running.config) == []


def test_two_gigabytes_of_nothing_take_no_room_and_hold_up_nobody(directory: Path, invoice: bytes) -> None:
    """A sparse file of 2 GiB is taken over, rejected and given back as sparse as it was; another file overtakes it."""
    with service(directory, tables=[("folders.contracts", "incomplete_s = 0.5")]) as (sandbox, running):
        folder = running.folder("contracts")
        path = folder.inbound / "sparse.pdf"
        path.write_bytes(invoice)
        os.truncate(path, LARGEST_BYTES)
        drop(unique(invoice, 1), running.folder("invoices").inbound, "other.pdf")
        documents = running.wait_until_over(2)
        assert len(sandbox.seals()) == 1
    assert {each.name: each.state for each in documents} == {
        "sparse.pdf": State.REJECTED,
        "other.pdf": State.DELIVERED,
    }
    returned = (folder.rejected / "sparse.pdf").stat()
    assert returned.st_size == LARGEST_BYTES
    assert returned.st_blocks * 512 < 16 << 20
    assert json.loads((folder.rejected / "sparse.pdf.reason.json").read_text())["reason"] == "TOO_LARGE"
    assert leftovers(running.config) == []
