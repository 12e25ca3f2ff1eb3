"""Small file systems, shares without events and services on them, for tests that fill, lose and cut them off."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from running import QUICK, Running, quicken, running_daemon
from sealdrop.sandbox.server import Sandbox

# Holds a lease for writing on a file until its standard input ends, like a file server for one of its clients.
LEASER = (
    "import fcntl, signal, sys; signal.signal(signal.SIGIO, signal.SIG_IGN); f = open(sys.argv[1], 'r+b')\n"
    "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held', flush=True); sys.stdin.read()"
)


def mounted(*arguments: str | Path) -> None:
    """Have a file system mounted, as mount(8) is told to."""
    subprocess.run(["mount", *arguments], check=True)


def unmount(place: Path) -> None:
    """Take away what is mounted at ``place``, even while somebody uses it, as a share that goes away does."""
    subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def small_disk(place: Path, *, size: str = "32m", files: int = 10_000) -> Iterator[None]:
    """A file system in memory, mounted at ``place`` while the block runs, unless it is taken away before."""
    place.mkdir(parents=True, exist_ok=True)
    mounted("-t", "tmpfs", "-o", f"size={size},nr_inodes={files},mode=700", "sealdrop-test", place)
    try:
        yield
    finally:
        while os.path.ismount(place):
            unmount(place)


def read_only(place: Path, *, on: bool) -> None:
    """Make what is mounted at ``place`` read-only, or writable again."""
    mounted("-o", "remount,ro" if on else "remount,rw", place)


@contextmanager
def share(back: Path, place: Path) -> Iterator[None]:
    """Show ``back`` at ``place`` through FUSE: what is written in ``back`` gives no events there."""
    if shutil.which("bindfs") is None:
        if os.environ.get("CI"):
            pytest.fail("bindfs is missing, and CI must not do without")
        pytest.skip("bindfs is not installed")
    for folder in (back, place):
        folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["bindfs", back, place], check=True)
    try:
        yield
    finally:
        if os.path.ismount(place):
            unmount(place)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Fill the file system of ``folder`` with one file, up to ``leave_bytes``; return the file."""
    ballast = folder / ".ballast"
    status = os.statvfs(folder)
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        # All at once for the most part; the rest a page at a time, since others may write meanwhile.
        os.posix_fallocate(file.fileno(), 0, max(4096, status.f_bavail * status.f_frsize - max(leave_bytes, 1 << 20)))
        file.seek(0, os.SEEK_END)
        while leave_bytes == 0:
            file.write(bytes(4096))
    status = os.statvfs(folder)
    assert status.f_bavail * status.f_frsize <= leave_bytes + (2 << 20), "it is not full"
    return ballast


@contextmanager
def prepared(directory: Path, *, tables: Sequence[tuple[str, str]] = (), **changes: str) -> Iterator[Sandbox]:
    """Run a sandbox while the block runs; ``tables`` are lines to add to its configuration below a table's head."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path, **changes)
        text = sandbox.config_path.read_text()
        for head, lines in tables:
            assert f"[{head}]\n" in text
            text = text.replace(f"[{head}]\n", f"[{head}]\n{lines}\n")
        sandbox.config_path.write_text(text)
        yield sandbox


@contextmanager
def service(
    directory: Path, *, tables: Sequence[tuple[str, str]] = (), **changes: str
) -> Iterator[tuple[Sandbox, Running]]:
    """Run sandbox and daemon while the block runs, configured as `prepared` says."""
    with prepared(directory, tables=tables, **changes) as sandbox, running_daemon(sandbox.config_path) as running:
        yield sandbox, running


def troubles(running: Running) -> dict[str, str]:
    """Return what `sealdrop status` would show: what is in trouble, and the text."""
    return {trouble.subject: trouble.text for trouble in running.daemon._ledger.troubles()}


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """Another process holds a lease for writing on the file while the block runs, and does not give way."""
    with subprocess.Popen(
        [sys.executable, "-c", LEASER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(30)
