"""What a document does that has taken over its child: run inside a jail by the tests, and outside of it to compare."""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from sealdrop.config import SealPage, Validation
from sealdrop.model import Inspection, Verification
from sealdrop.pdf.child import JailLimits
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.seal import Expectation, verify_seal

DONE = "done"
_SEIZE = 0x4206  # PTRACE_SEIZE, which does not stop the process
_NUMBERS = {
    "x86_64": {"memfd_create": 319, "io_uring_setup": 425, "bpf": 321, "userfaultfd": 323, "keyctl": 250, "shmget": 29},
    "aarch64": {
        "memfd_create": 279,
        "io_uring_setup": 425,
        "bpf": 280,
        "userfaultfd": 282,
        "keyctl": 219,
        "shmget": 194,
    },
}
_NOT_INVENTED = 4000
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS


def outcomes(parent: int, port: int, folder: Path, secret: Path) -> dict[str, str]:
    """Try everything, and return for each attempt how it ended: `DONE`, or the error's name.

    ``folder`` holds a file ``document`` and may be read; ``secret`` may not; ``port`` listens on loopback.
    """
    return {name: _outcome(attempt) for name, attempt in _attempts(parent, port, folder, secret).items()}


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "OSError")
    except RuntimeError:  # threading's word for it
        return "EAGAIN"
    return DONE


def _attempts(parent: int, port: int, folder: Path, secret: Path) -> Mapping[str, Callable[[], object]]:
    document, new = folder / "document", folder / "new"
    families = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG")
    sockets: dict[str, Callable[[], object]] = {
        f"socket {family}": lambda family=family: _socket(getattr(socket, family)) for family in families
    }
    return {
        **sockets,
        "socket pair": lambda: [each.close() for each in socket.socketpair()],
        "connect": lambda: socket.create_connection(("127.0.0.1", port), 5).close(),
        "read the document": document.read_bytes,
        "read the secret": secret.read_bytes,
        "read /etc/shadow": Path("/etc/shadow").read_bytes,
        "read the parent's memory map": Path(f"/proc/{parent}/maps").read_bytes,
        "read the parent's environment": Path(f"/proc/{parent}/environ").read_bytes,
        "list the root": lambda: list(Path("/").iterdir()),
        "list /tmp": lambda: list(Path("/tmp").iterdir()),  # noqa: S108 - the place itself
        "read an environment": _read_environment,
        "create in /tmp": lambda: _create(Path(f"/tmp/sealdrop-{os.getpid()}")),  # noqa: S108 - as above
        "create": lambda: _create(new),
        "create without a name": lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR)),
        "create in memory": lambda: _call("memfd_create", b"x", 0),
        "overwrite": lambda: os.close(os.open(document, os.O_RDWR)),
        "append": lambda: os.close(os.open(document, os.O_WRONLY | os.O_APPEND)),
        "empty on opening": lambda: os.close(os.open(document, os.O_RDONLY | os.O_TRUNC)),
        "truncate": lambda: os.truncate(document, 0),
        "rename": lambda: (document.rename(new), new.rename(document)),
        "link": lambda: (os.link(document, new), new.unlink()),
        "link symbolically": lambda: (new.symlink_to(document), new.unlink()),
        "make a folder": lambda: (new.mkdir(), new.rmdir()),
        "make a pipe": lambda: (os.mkfifo(new), new.unlink()),
        "change the mode": lambda: document.chmod(0o600),
        "change the owner": lambda: os.chown(document, os.getuid(), os.getgid()),
        "change the times": lambda: os.utime(document),
        "lock": lambda: _lock(document),
        "lock a part": lambda: _control(document, fcntl.F_SETLK, struct.pack("@hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)),
        "choose a signal": lambda: _control(document, fcntl.F_SETSIG, signal.SIGURG),
        "lease": lambda: _control(document, fcntl.F_SETLEASE, fcntl.F_RDLCK),
        "hear of changes": lambda: _control(folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS),
        "change the flags": lambda: _change_flags(document),
        "unlink": document.unlink,
        "execute": lambda: _execute("/nowhere"),
        "fork": _fork,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "signal the parent": lambda: os.kill(parent, 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "signal the group": lambda: os.killpg(os.getpgrp(), 0),
        "signal through a pipe": lambda: _signal_through_a_pipe(parent),
        "signal by descriptor": lambda: os.close(os.pidfd_open(parent)),
        "trace the parent": lambda: _checked(_libc().ptrace(_SEIZE, parent, None, None)),
        "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
        "slow the parent down": lambda: os.setpriority(
            os.PRIO_PROCESS, parent, os.getpriority(os.PRIO_PROCESS, parent)
        ),
        "leave the namespace": lambda: _checked(_libc().unshare(0)),
        "become somebody": lambda: os.setuid(os.getuid()),
        "use a ring": lambda: _call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
        "load a program": lambda: _call("bpf", 0, None, 0),
        "handle faults": lambda: _call("userfaultfd", 1),
        "use keys": lambda: _call("keyctl", 0, -3, 0),
        "share memory": lambda: _call("shmget", 0, 4096, 0o1600),
        "call what is not invented": lambda: _checked(_libc().syscall(_NOT_INVENTED)),
    }


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def _call(name: str, *arguments: object) -> None:
    _checked(_libc().syscall(_NUMBERS[os.uname().machine][name], *arguments))


def _socket(family: int) -> None:
    kind = socket.SOCK_SEQPACKET if family == getattr(socket, "AF_ALG", None) else socket.SOCK_DGRAM
    socket.socket(family, kind).close()


def _read_environment() -> None:
    if not os.environ:
        raise PermissionError(errno.EPERM, "")


def _create(path: Path) -> None:
    path.touch()
    path.unlink()


def _lock(path: Path) -> None:
    with path.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _control(path: Path, command: int, argument: int | bytes) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(opened, command, argument)
    finally:
        os.close(opened)


def _change_flags(path: Path) -> None:
    opened, flags = os.open(path, os.O_RDONLY), bytes(8)
    try:
        with contextlib.suppress(OSError):  # refused or not, what counts is setting them
            flags = fcntl.ioctl(opened, _GET_FLAGS, flags)
        fcntl.ioctl(opened, _SET_FLAGS, flags)
    finally:
        os.close(opened)


def _signal_through_a_pipe(pid: int) -> None:
    """Have the kernel send ``pid`` a signal: SIGURG here, which nobody minds, but SIGKILL would do as well."""
    readable, writable = os.pipe()
    try:
        fcntl.fcntl(readable, fcntl.F_SETOWN, pid)
        fcntl.fcntl(readable, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(readable, fcntl.F_SETFL, os.O_ASYNC)
        os.write(writable, b"x")
    finally:
        os.close(readable)
        os.close(writable)


def _execute(program: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # it was looked for, so it would have been run
        os.execv(program, [program])  # noqa: S606 - that is the attempt


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def write_to_the_daemon(content: bytes, then: str) -> Inspection:
    """Write ``content`` to whatever is open for writing, the daemon's pipe among it, then hang or end."""
    for fd in range(3, 32):
        with contextlib.suppress(OSError):
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
    if then == "hang":
        time.sleep(3600)
    if then == "end":
        signal.raise_signal(signal.SIGKILL)
    os._exit(0)


def flood_the_daemon() -> None:
    """Write without end to whatever is open for writing."""
    digits = b"1" * 65536
    while True:
        for fd in range(3, 32):
            with contextlib.suppress(OSError):
                os.write(fd, digits)


def close_all_and_stay() -> None:
    """Close every descriptor, those that tell of the daemon's end among them, then be busy until killed."""
    os.closerange(0, 64)
    while True:
        pass


def serve_nonsense(_: Connection, answers: Connection, *__: object) -> None:
    """Serve as a child that says of itself what is no protection."""
    os.write(answers.fileno(), b'["no_worries"]\n')
    signal.pause()


def says_a_verdict_that_there_is_not() -> Inspection:
    """Return something else than was said."""
    return {"verdict": "maybe"}  # type: ignore[return-value]


def surrogate() -> str:
    """Return text that no JSON can hold."""
    return "before \ud800 after"


def inspect_or_wait(original: Path, rules: Validation, seal_page: SealPage | None) -> Inspection:
    """Inspect; for a document that names a gate, crash the first time, then wait at it, and crash without a word."""
    _wait_at_gate(original, b"%INSPECTION-WAITS ")
    return inspect(original, rules, seal_page)


def verify_or_wait(sealed: Path, expected: Expectation) -> Verification:
    """Verify; for a document that names a gate, crash the first time, then wait at it, and crash without a word."""
    _wait_at_gate(sealed, b"%VERIFICATION-WAITS ")
    return verify_seal(sealed, expected)


def inspect_or_break(original: Path, rules: Validation, seal_page: SealPage | None) -> Inspection:
    """Inspect, but for a document that says what to raise: raise it, with a secret in the text."""
    content = original.read_bytes()
    if b"%RAISES KeyError" in content:
        raise KeyError("secret content")
    if b"%RAISES OSError" in content:
        raise OSError(errno.EIO, "secret content")
    return inspect(original, rules, seal_page)


FIRST = JailLimits(memory_bytes=(1 << 30) - 4096)  # told by its memory


def verify_or_break(sealed: Path, expected: Expectation) -> Verification:
    """Verify, but for a document that says so: raise, with a secret in the text."""
    if b"%RAISES KeyError" in sealed.read_bytes():
        raise KeyError("secret content")
    return verify_seal(sealed, expected)


def _wait_at_gate(path: Path, mark: bytes) -> None:
    _, found, rest = path.read_bytes().partition(mark)
    if found and resource.getrlimit(resource.RLIMIT_AS)[0] == FIRST.memory_bytes:
        signal.raise_signal(signal.SIGKILL)
    if found:
        word = Path(os.fsdecode(rest.partition(b"\n")[0])).read_bytes()
        if not word:
            signal.raise_signal(signal.SIGKILL)
