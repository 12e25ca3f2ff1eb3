"""Taking from a child process what it does not need, for good: what a parser may do that a document has taken over.

What is taken is listed in `Protection`. Each is taken by itself and reported if it was, since kernels differ: an old
one lacks Landlock, a container's own filter may refuse what we ask for. A child that cannot be confined still runs,
within its limits, and the daemon says what is missing.

- Landlock (kernel 5.13 and later) is a list of what may be read; nothing else of the file system can be opened, be it
  a key, a secret or another process's memory. What can be named can still be asked for its existence and size.
- A filter of system calls (see `syscalls`) refuses sockets, changes to files, other programs, other processes, signals.
- Capabilities are dropped, should the service run as root, and cannot come back.
- The environment is emptied, and wiped where the kernel keeps what the process was started with: it may hold a secret.

The kernel's structures and numbers are those of Linux's include/uapi: landlock.h, prctl.h, capability.h.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import sealdrop
from sealdrop.pdf.syscalls import MACHINES, filter_program

OPEN_FILES = 64  # a child has some six open

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446  # on every machine
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

# The rights that each version of Landlock knows, and the first version that knows of TCP, of scopes.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP_SINCE, _TCP_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11

# Where the system keeps libraries and time zones, which Python may load at any time.
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")


class Protection(StrEnum):
    """What a document that has taken over its child cannot do."""

    NO_FOREIGN_READING = "no_foreign_reading"  # of files beside Python's and those that the child is for
    NO_WRITING = "no_writing"
    NO_SOCKETS = "no_sockets"
    NO_PROGRAMS = "no_programs"
    NO_PROCESSES = "no_processes"
    NO_SIGNALS = "no_signals"
    NO_TRACING = "no_tracing"
    NO_PRIVILEGES = "no_privileges"


_BY_FILTER = frozenset(
    {
        Protection.NO_WRITING,
        Protection.NO_SOCKETS,
        Protection.NO_PROGRAMS,
        Protection.NO_PROCESSES,
        Protection.NO_SIGNALS,
        Protection.NO_TRACING,
    }
)


def by_landlock(version: int) -> frozenset[Protection]:
    """Return what Landlock of that version gives by itself; 0 is none."""
    given = set[Protection]()
    if version >= 1:
        given |= {Protection.NO_FOREIGN_READING, Protection.NO_PROGRAMS, Protection.NO_TRACING}
    if version >= _SCOPES_SINCE:
        given.add(Protection.NO_SIGNALS)
    return frozenset(given)


def ruleset(version: int) -> bytes:
    """Return struct landlock_ruleset_attr: everything that Landlock of that version can refuse is refused."""
    fields = [max(rights for since, rights in _FILE_RIGHTS.items() if since <= version)]
    if version >= _TCP_SINCE:
        fields.append(_TCP_RIGHTS)
    if version >= _SCOPES_SINCE:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def code_folders() -> Iterator[Path]:
    """Yield where Python's modules, ours and the system's libraries are."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield from (Path(entry) for entry in sys.path if entry.endswith("-packages"))  # a user's own, a distribution's
    yield Path(sys.base_prefix, "lib")
    yield Path(sealdrop.__file__).parent
    yield from map(Path, _SYSTEM)


def confine(readable: Iterable[Path]) -> frozenset[Protection]:
    """Take from this process, for good, all but reading ``readable`` and code; return what is in force.

    The process must have one thread. Descriptors that are open stay open. Raises nothing: what the kernel does not
    offer is left out of the answer.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _wipe_environment()
    for limit, value in ((resource.RLIMIT_NOFILE, OPEN_FILES), (resource.RLIMIT_NPROC, 0)):
        lower(limit, value)
    in_force = set[Protection]()
    # First: it lets a process without privileges ask for the rest.
    promised = _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    in_force |= _restrict_files(libc, [*readable, *code_folders()])
    if _drop_capabilities(libc) and promised:
        in_force.add(Protection.NO_PRIVILEGES)
    # Neither core dumps nor being looked into by processes of the same user, other children among them.
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    if _filter_calls(libc):  # last, since it refuses all of the above
        in_force |= _BY_FILTER
    return frozenset(in_force)


def lower(limit: int, value: int) -> None:
    """Set a resource limit, soft and hard, to ``value``, or leave it where it is lower."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def die_with_the_parent() -> None:
    """Have the kernel kill this process when its parent ends from now on; what `confine` takes does not undo it."""
    _prctl(ctypes.CDLL(None, use_errno=True), _PR_SET_PDEATHSIG, signal.SIGKILL)


def _restrict_files(libc: ctypes.CDLL, readable: Iterable[Path]) -> frozenset[Protection]:
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return frozenset()
    attributes = ruleset(version)
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return frozenset()
    try:
        for path in readable:
            with contextlib.suppress(OSError):  # what is not there need not be read
                _allow_reading(libc, rules, path)
        restricted = libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)
    return by_landlock(version) if restricted else frozenset()


def _allow_reading(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        libc.syscall(_LANDLOCK_ADD_RULE, rules, _LANDLOCK_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    if libc.capset(header, none) == 0:
        return True
    # A strict unit forbids that call, and has left nothing to drop.
    held = ctypes.create_string_buffer(b"?" * len(none), len(none))
    return bool(libc.capget(header, held) == 0 and held.raw == none)


def _filter_calls(libc: ctypes.CDLL) -> bool:
    machine = MACHINES.get(os.uname().machine)
    if machine is None or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        return False
    program = ctypes.create_string_buffer(filter_program(machine, os.getpid()))
    instructions = (len(program) - 1) // 8
    # struct sock_fprog: the number of instructions, and where they are.
    pointer = struct.pack("@HP", instructions, ctypes.addressof(program))
    # Not the call seccomp(2): prctl is what the strictest unit still allows.
    return _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, pointer)


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int | bytes) -> bool:
    """Call prctl(2), whose arguments are as wide as a pointer, and return whether it did what was asked."""
    given = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_ulong(each) for each in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    return bool(libc.prctl(option, *given) == 0)


def _wipe_environment() -> None:
    os.environ.clear()
    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5), /proc/pid/stat: fields 50 and 51 are where the environment begins and ends. After the name's ")".
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])
        if 0 < start < end:
            ctypes.memset(start, 0, end - start)
