"""A machine of its own: a real systemd, booted on a throw-away layer over this machine's root.

Nothing of it stays: what it writes is in memory, below a folder of the test's, and gone with it. It has no network but
its own loopback, the programs of the machine it stands on, none of that machine's services, and is up in half a second.
"""

import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

BOOT_S = 30.0
COMMAND_S = 120.0
LOOK_S = 0.05
SIZE = "1g"
# Where systemd keeps the processes of a machine, in the ways that machines have it.
_TREES = [Path("/sys/fs/cgroup", name) for name in ("unified", "systemd", "")]
# What a machine's systemd lets services be confined with, beyond what nspawn grants by itself.
_CALLS = "bpf @keyring landlock_create_ruleset landlock_add_rule landlock_restrict_self"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


class NoBoot(Exception):
    """No systemd can be booted here; the text says why."""


class Machine:
    """A machine that is up. ``root`` is its root folder as seen from here."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._enter = [
            *("nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
            *("env", "--chdir=/root", "--ignore-environment", "HOME=/root", "LC_ALL=C.UTF-8"),
        ]
        self.environment: dict[str, str] = {"PATH": _PATH}

    def path(self, inside: str | Path) -> Path:
        """Return where a path of the machine is as seen from here."""
        return self.root / str(inside).lstrip("/")

    def ask(self, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command there as root, and return how it ended."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return subprocess.run(
            [*self._enter, *variables, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command there as root, and return what it printed.

        Raises:
            AssertionError: it did not end with 0.
        """
        ended = self.ask(*command, stdin=stdin)
        assert ended.returncode == 0, (
            f"{shlex.join(map(str, command))}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
        )
        return ended.stdout

    def shell(self, script: str, stdin: str = "") -> str:
        """Run lines of a page there as root, as somebody would type them; the first that fails ends it."""
        return self.run("bash", "-euxc", script, stdin=stdin)


@contextmanager
def booted(work: Path, *, shown: Mapping[str, Path]) -> Iterator[Machine]:
    """Boot a machine that lasts as long as the block; ``shown`` are folders from here that can be read there.

    Raises:
        NoBoot: it cannot be done here.
    """
    if os.geteuid() != 0:
        raise NoBoot("only root may boot a systemd")
    with ExitStack() as undo:
        root = _layer(work, undo)
        nspawn = _start(work, root, shown, undo)
        deadline = time.monotonic() + BOOT_S
        leader = _leader(nspawn, work, deadline)
        machine = Machine(root, leader)
        # Before nspawn, which waits for it.
        undo.callback(_kill, leader)
        while machine.ask("systemctl", "is-system-running").stdout.strip() not in ("running", "degraded"):
            _wait(deadline, nspawn, work)
        yield machine


@contextmanager
def booted_or_skipped(work: Path, *, shown: Mapping[str, Path]) -> Iterator[Machine]:
    """Boot a machine, or skip the test and say why; what CI can install, it must have."""
    missing = [tool for tool in ("systemd-nspawn", "nsenter") if shutil.which(tool) is None]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"{', '.join(missing)} is missing (Debian: systemd-container), and CI must not do without")
        pytest.skip(f"{', '.join(missing)} is not installed (Debian: systemd-container)")
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(booted(work, shown=shown))
        except NoBoot as reason:
            pytest.skip(f"no systemd can be booted here: {reason}")
        yield machine


def _layer(work: Path, undo: ExitStack) -> Path:
    """Lay a throw-away layer over the machine's root, without what only this machine is to start and mount."""
    work.mkdir(exist_ok=True)
    _mount(undo, work, "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs")
    for name in ("upper", "work", "root"):
        (work / name).mkdir()
    root = work / "root"
    _overlay(undo, Path("/"), work / "upper", work / "work", root)
    for place in ("run", "srv"):
        shutil.rmtree(root / place)
        (root / place).mkdir()
    (root / "etc/fstab").write_text("")
    for wanted in (root / "etc/systemd/system").glob("*.wants"):
        shutil.rmtree(wanted)
    for level in (root / "etc").glob("rc?.d"):
        shutil.rmtree(level)
    return root


def _start(work: Path, root: Path, shown: Mapping[str, Path], undo: ExitStack) -> subprocess.Popen[bytes]:
    """Have systemd-nspawn boot it, in a group of processes of its own."""
    name = f"sealdrop-{os.getpid()}"
    groups = [tree / name for tree in _TREES if (tree / "cgroup.procs").is_file()]
    for group in groups:
        try:
            group.mkdir()
        except OSError as error:
            raise NoBoot(f"no group for its processes: {error}") from error
        undo.callback(_remove_group, group)
    joined = "".join(f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))} && " for group in groups)
    command = [
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--boot", f"--machine={name}", "--register=no"),
        *("--keep-unit", "--private-network", "--link-journal=no", "--console=pipe", "--capability=all"),
        *(f"--bind-ro={place}:{inside}" for inside, place in shown.items()),
        *(f"--system-call-filter={_CALLS}", "--", "systemd.unit=basic.target"),
    ]
    with (work / "console").open("wb") as console:
        process = subprocess.Popen(
            ["sh", "-c", f"{joined}exec {shlex.join(command)}"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
    undo.callback(_end, process)
    return process


def _leader(nspawn: subprocess.Popen[bytes], work: Path, deadline: float) -> int:
    """Return the machine's first process, by its number here."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    while True:
        for child in children.read_text().split():
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except FileNotFoundError:
                continue
            if any(line.split()[2:] == ["1"] for line in status.splitlines() if line.startswith("NSpid:")):
                return int(child)
        _wait(deadline, nspawn, work)


def _wait(deadline: float, nspawn: subprocess.Popen[bytes], work: Path) -> None:
    said = (work / "console").read_text(errors="replace")[-500:]
    if nspawn.poll() is not None:
        raise NoBoot(f"systemd-nspawn ended with {nspawn.returncode}: {said}")
    if time.monotonic() > deadline:
        raise NoBoot(f"it was not up within {BOOT_S:.0f} s: {said}")
    threading.Event().wait(LOOK_S)


def layered(source: Path, work: Path, undo: ExitStack) -> Path:
    """Return a folder that is like ``source`` but can be changed without changing it; ``work`` is a new folder.

    Raises:
        NoBoot: no file system can be laid over another here.
    """
    work.mkdir()
    _mount(undo, work, "-t", "tmpfs", "-o", "mode=755", "tmpfs")
    for name in ("upper", "work", "site-packages"):
        (work / name).mkdir()
    _overlay(undo, source, work / "upper", work / "work", work / "site-packages")
    return work / "site-packages"


def _overlay(undo: ExitStack, lower: Path, upper: Path, work: Path, place: Path) -> None:
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount(undo, place, "-t", "overlay", "-o", options, "overlay")


def _mount(undo: ExitStack, place: Path, *options: str) -> None:
    try:
        subprocess.run(["mount", *options, place], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise NoBoot(error.stderr.strip()) from error
    undo.callback(subprocess.run, ["umount", "--lazy", place], check=True)


def _kill(process: int) -> None:
    """Switch the machine off: with its first process all others end."""
    os.kill(process, 9)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(BOOT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_group(group: Path) -> None:
    """Remove a group of processes that have ended, with the groups in it."""
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()
