"""`sealdrop.pdf.confine` and `sealdrop.pdf.syscalls`: what a document that has taken over its child can do."""

import ctypes
import errno
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import jailed
from sealdrop.pdf import confine, syscalls
from sealdrop.pdf.confine import Protection, by_landlock, ruleset
from sealdrop.pdf.jail import Jail, JailLimits
from sealdrop.pdf.syscalls import MACHINES, NEWEST, Machine, filter_program, numbers

TESTS = Path(jailed.__file__).parent
DEADLINE_S = 60.0
AMPLE = JailLimits(wall_s=DEADLINE_S, cpu_s=60)
REFUSED = {"EPERM", "EACCES", "ENOSYS", "EAGAIN"}
ALLOWED_INSIDE = {"read the document"}
# What may fail outside a jail too, by the kernel, a container or a lack of rights.
UNSURE_OUTSIDE = {
    "socket AF_INET6",
    "socket AF_PACKET",
    "socket AF_VSOCK",
    "socket AF_ALG",
    "change the flags",
    "trace the parent",
    "use a ring",
    "load a program",
    "handle faults",
    "use keys",
    "call what is not invented",
}
NOBODY = 65534
FIOCLEX = 0x5451


@pytest.fixture
def port() -> Iterator[int]:
    """A port on loopback that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a document, and a secret beside it."""
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "document").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "secret").write_bytes(b"key")
    return folder


@pytest.mark.usefixtures("landlock")
def test_nothing_can_be_done_but_read_what_the_jail_is_for(folder: Path, port: int) -> None:
    """Each attempt fails, of those that succeed outside as of the others, and what is outside is as it was."""
    secret = folder.parent / "secret"
    with Jail(1, AMPLE, readable=[folder, TESTS]) as jail:
        inside = jail.run(jailed.outcomes, os.getpid(), port, folder, secret)
    assert {name for name, outcome in inside.items() if outcome == jailed.DONE} == ALLOWED_INSIDE
    assert {outcome for name, outcome in inside.items() if name not in ALLOWED_INSIDE} <= REFUSED
    assert [path.name for path in folder.iterdir()] == ["document"]
    assert (folder / "document").read_bytes() == b"%PDF-1.7\n"


@pytest.mark.usefixtures("root")
def test_the_attempts_are_real(folder: Path, port: int) -> None:
    """The same attempts succeed outside a jail: what fails inside fails because of it."""
    script = "import json, os, sys, jailed; from pathlib import Path; "
    script += "print(json.dumps(jailed.outcomes(os.getppid(), int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))))"
    arguments = [str(port), str(folder), str(folder.parent / "secret")]
    printed = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    ).stdout
    failed = {name: outcome for name, outcome in json.loads(printed).items() if outcome != jailed.DONE}
    assert set(failed) <= UNSURE_OUTSIDE, failed


@pytest.mark.usefixtures("root", "landlock")
def test_the_same_holds_for_an_ordinary_user(folder: Path, port: int) -> None:
    """A service that is not root is protected as well: nothing of it needs a privilege."""
    for path in (folder, folder / "document", folder.parent / "secret"):
        os.chown(path, NOBODY, NOBODY)
    for above in folder.parents:
        if above.stat().st_uid == os.getuid() and "pytest" in str(above):
            above.chmod(0o755)
    script = """
        import json, os, sys
        from pathlib import Path
        import jailed
        from sealdrop.pdf.jail import Jail, JailLimits
        if __name__ == "__main__":
            folder = Path(sys.argv[2])
            with Jail(1, JailLimits(wall_s=60.0), readable=[folder, Path(jailed.__file__).parent]) as jail:
                inside = jail.run(jailed.outcomes, os.getpid(), int(sys.argv[1]), folder, folder.parent / "secret")
                print(json.dumps([sorted(jail.confinement()), inside]))
    """
    # The one capability lets it read a Python that stands in somebody's home; the child drops it.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    with tempfile.TemporaryDirectory() as short:  # a socket's path is: 107 bytes are all that it may have
        os.chown(short, NOBODY, NOBODY)
        ended = subprocess.run(
            [*become, sys.executable, "-c", textwrap.dedent(script), str(port), str(folder)],
            env={"PYTHONPATH": str(TESTS), "TMPDIR": short},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    in_force, inside = json.loads(ended.stdout)
    assert set(in_force) == set(Protection)
    assert {name for name, outcome in inside.items() if outcome == jailed.DONE} == ALLOWED_INSIDE


@pytest.mark.usefixtures("landlock")
def test_what_is_in_force_is_what_the_kernel_says(folder: Path) -> None:
    """A child says that it has all protections, and its status in /proc agrees: no capability, a filter for good."""
    with Jail(1, AMPLE, readable=[folder]) as jail:
        assert jail.confinement() == frozenset(Protection)
        child = jail.run(os.getpid)
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines() if ":\t" in line
        )
        environment = Path(f"/proc/{child}/environ").read_bytes() if os.getuid() == 0 else b""
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    assert not environment.strip(b"\0")


def test_a_file_that_is_replaced_can_be_read(tmp_path: Path) -> None:
    """A trust anchor that was renewed while the service runs is read by the next call, though it is another inode."""
    anchor, new = tmp_path / "anchor", tmp_path / "new"
    anchor.write_text("old")
    with Jail(1, AMPLE, readable=[anchor]) as jail:
        assert jail.run(anchor.read_text) == "old"
        new.write_text("renewed")
        new.replace(anchor)
        assert jail.run(anchor.read_text) == "renewed"


def test_old_kernels_give_less_and_it_is_said() -> None:
    """What Landlock gives depends on its version; what is asked of it never goes beyond what the version knows."""
    assert by_landlock(0) == frozenset()
    assert Protection.NO_FOREIGN_READING in by_landlock(1)
    assert Protection.NO_SIGNALS not in by_landlock(5)
    assert Protection.NO_SIGNALS in by_landlock(6)
    sizes = {version: len(ruleset(version)) for version in range(1, 9)}
    assert sizes == {1: 8, 2: 8, 3: 8, 4: 16, 5: 16, 6: 24, 7: 24, 8: 24}
    assert [struct.unpack_from("=Q", ruleset(version))[0].bit_length() for version in range(1, 8)] == [
        13,
        14,
        15,
        15,
        16,
        16,
        16,
    ]


def test_a_child_that_cannot_be_confined_still_runs() -> None:
    """Where the kernel offers nothing, or refuses, calls are answered all the same, and the answer is: nothing."""
    script = """
        import ctypes, os
        from pathlib import Path
        from sealdrop.pdf import confine
        if __name__ == "__main__":
            class Refusing:
                def __getattr__(self, name):
                    return lambda *_: -1
            confine.ctypes.CDLL = lambda *_, **__: Refusing()
            print(sorted(confine.confine([Path("/")])), os.environ == {})
    """
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    ).stdout
    assert printed == "[] True\n"


ALLOW, REFUSE, ABSENT, KILL = "allow", "refuse", "absent", "kill"
VERDICTS = {0x7FFF0000: ALLOW, 0x00050000 | errno.EPERM: REFUSE, 0x00050000 | errno.ENOSYS: ABSENT, 0x80000000: KILL}
PID = 4711


def judged(machine: Machine, number: int, *arguments: int, arch: int | None = None) -> str:
    """Run the filter as the kernel would, and return its verdict."""
    program = list(struct.iter_unpack("<HBBI", filter_program(machine, PID)))
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, machine.arch if arch is None else arch, 0, *padded)
    at = word = 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, value)
            case 0x06:
                return VERDICTS[value]
            case 0x15:
                at += yes if word == value else no
            case 0x25:
                at += yes if word > value else no
            case 0x45:
                at += yes if word & value else no
            case _:
                pytest.fail(f"the filter holds an instruction {code:#x}")


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_the_filter_judges_each_call(machine: Machine) -> None:
    """On each machine: what is listed is refused, whatever is new is absent, and everything else is let through."""
    refused = set(numbers(machine).values())
    absent = set(numbers(machine, syscalls._ABSENT).values())
    by_arguments = set(numbers(machine, syscalls._JUDGED).values())
    for number in range(NEWEST + 200):
        if number in by_arguments:
            continue
        expected = REFUSE if number in refused else ABSENT if number in absent or number > NEWEST else ALLOW
        assert judged(machine, number) == expected, number
    assert judged(machine, 0, arch=0x40000003) == KILL  # 32-bit x86
    assert judged(machine, 0x40000000) == ABSENT  # x32


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_the_filter_judges_by_arguments(machine: Machine) -> None:
    """Files can be opened to be read, signals sent to oneself, one's own limits set; and no more."""
    call = numbers(machine, syscalls._JUDGED)
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY):
        assert judged(machine, call["openat"], 0, 0, flags) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE, os.O_WRONLY | os.O_RDWR):
        assert judged(machine, call["openat"], 0, 0, flags) == REFUSE
        if "open" in call:
            assert judged(machine, call["open"], 0, flags) == REFUSE
    for name in ("kill", "tgkill"):
        assert judged(machine, call[name], PID) == ALLOW
        assert {judged(machine, call[name], other) for other in (0, 1, PID + 1, 2**32 - 1, 2**64 - 1)} == {REFUSE}
    assert {judged(machine, call["prlimit64"], own) for own in (0, PID)} == {ALLOW}
    assert judged(machine, call["prlimit64"], PID + 1) == REFUSE
    for command in (fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL):
        assert judged(machine, call["fcntl"], 3, command) == ALLOW
    for command in (fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_SETOWN, fcntl.F_SETSIG, fcntl.F_SETLEASE, fcntl.F_NOTIFY):
        assert judged(machine, call["fcntl"], 3, command) == REFUSE
        assert judged(machine, call["fcntl"], 3, command | 1 << 32) == REFUSE  # the kernel looks at the lower half
    assert judged(machine, call["ioctl"], 3, FIOCLEX) == ALLOW
    assert {judged(machine, call["ioctl"], 3, each) for each in (0x40086602, 0x401C5820, 0x40806685)} == {REFUSE}


@pytest.mark.parametrize(
    ("name", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_numbers_are_those_of_the_kernels_headers(name: str, header: str) -> None:
    """Where the kernel's headers are installed, every number is the one they give."""
    path = Path(header)
    if not path.exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), re.MULTILINE)
    defined = {each: int(number) for each, number in found}
    for table in (syscalls._REFUSED, syscalls._ABSENT, syscalls._JUDGED):
        for call, number in numbers(MACHINES[name], table).items():
            assert defined.get(call, number) == number, call


class _StrictLibc:
    """A C library where a filter refuses capset(2); the process has the capabilities that are given."""

    def __init__(self, held: bytes) -> None:
        self._held = held

    def capset(self, _header: bytes, _data: bytes) -> int:
        """Refuse."""
        return -1

    def capget(self, _header: bytes, data: "ctypes.Array[ctypes.c_char]") -> int:
        """Tell what the process has."""
        data.raw = self._held
        return 0


@pytest.mark.parametrize(("held", "is_without"), [(bytes(24), True), (b"\x01" + bytes(23), False)])
def test_where_capabilities_cannot_be_dropped_there_must_be_none(held: bytes, is_without: bool) -> None:
    """A unit that forbids the call and grants no capabilities is as good; one that grants some is not."""
    assert confine._drop_capabilities(cast(ctypes.CDLL, _StrictLibc(held))) is is_without
