"""Who has a file open for writing, as far as the kernel tells."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealdrop.pipeline import writers
from sealdrop.pipeline.writers import Writer, writer_of

NOBODY = 65534
MOUNTS = """\
21 1 4000:1 / / rw,relatime shared:1 - ext4 /dev/root rw
33 21 0:44 / /srv/in rw,relatime shared:9 master:2 - {kind} server:/export rw,vers=4.2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that nobody has open."""
    path = tmp_path / "a.pdf"
    path.write_bytes(b"content")
    return path


def _ask(path: Path) -> Writer:
    fd = os.open(path, os.O_RDONLY)
    try:
        return writer_of(fd)
    finally:
        os.close(fd)


def test_a_writer_is_seen_and_a_reader_is_not(file: Path) -> None:
    """Only who has the file open for writing counts, by whatever name and however little he writes."""
    assert _ask(file) is Writer.NONE
    with file.open("rb"):
        assert _ask(file) is Writer.NONE
    with file.open("ab"):
        assert _ask(file) is Writer.SOME
    assert _ask(file) is Writer.NONE


def test_asking_leaves_no_lease_behind(file: Path) -> None:
    """Whoever opens the file for writing after the question is not held up, even while we have it open."""
    fd = os.open(file, os.O_RDONLY)
    try:
        assert writer_of(fd) is Writer.NONE
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
    finally:
        os.close(fd)


@pytest.mark.usefixtures("root")
def test_who_may_not_ask_does_not_know(tmp_path: Path, file: Path) -> None:
    """For a file that belongs to somebody else the kernel tells nothing, and nothing is made up."""
    file.chmod(0o644)
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/") and parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o001)
    code = (
        "import os, sys; from sealdrop.pipeline.writers import writer_of\n"
        f"fd = os.open(sys.argv[1], os.O_RDONLY); os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "print(writer_of(fd).value)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True)
    assert said.stdout == "unknown\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("nfs4", Writer.UNKNOWN), ("cifs", Writer.UNKNOWN), ("ext4", Writer.SOME), ("xfs", Writer.SOME)],
)
def test_a_network_share_that_refuses_says_nothing(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: Writer
) -> None:
    """The same refusal means a writer on a local disk, and nothing where the server grants no leases."""
    device = file.stat().st_dev
    mounts = MOUNTS.replace("0:44", f"{os.major(device)}:{os.minor(device)}").format(kind=kind)
    (tmp_path / "mountinfo").write_text(mounts)
    monkeypatch.setattr(writers, "MOUNTS", tmp_path / "mountinfo")
    with file.open("ab"):
        assert _ask(file) is expected


def test_without_a_list_of_mounts_a_refusal_means_a_writer(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kind of file system cannot be told, the careful answer is given."""
    monkeypatch.setattr(writers, "MOUNTS", tmp_path / "nothing")
    with file.open("ab"):
        assert _ask(file) is Writer.SOME
