"""Looking with the eyes of the service's user, at places that may hang.

Root may read and write what the service may not, and a share whose server is gone holds whoever touches it for as long
as it likes. So a child process looks: it becomes the service's user, and what does not answer in time is said to hang.
A child that is stuck in the kernel is killed and left behind; the places after it get another one.
"""

import errno
import io
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sealdrop.checks.looking import Facts

LOOK_S = 5.0  # for one place; a healthy share answers in milliseconds
START_S = 20.0  # more for the first, since the interpreter has to start, on a busy machine
GONE_S = 1.0  # for a killed child to be gone
CHILDREN = 4  # at a time


@dataclass(frozen=True, slots=True)
class User:
    """Whose rights count; ``name`` is for people."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def user_named(name: str) -> User:
    """Return the user called ``name``.

    Raises:
        KeyError: there is none.
    """
    entry = pwd.getpwnam(name)
    return User(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def user_numbered(uid: int, gid: int) -> User:
    """Return the user with that number; one that the system has no name for has no group but ``gid``."""
    try:
        return user_named(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return User(str(uid), uid, gid, (gid,))


def myself() -> User:
    """Return the user of this process."""
    return user_numbered(os.geteuid(), os.getegid())


class Eyes:
    """Looks at places as ``user``, or as who we are if that is None."""

    def __init__(self, user: User | None, *, look_s: float = LOOK_S) -> None:
        self._user = user
        self._look_s = look_s

    def look_at(self, groups: Sequence[Sequence[Path]]) -> Mapping[Path, Facts | None]:
        """Return the facts of every path, None for those that hang; the groups are looked at side by side."""
        found: dict[Path, Facts | None] = {}
        with ThreadPoolExecutor(max_workers=CHILDREN, thread_name_prefix="look") as threads:
            for each in threads.map(self._look_at, groups):
                found |= each
        return found

    def _look_at(self, paths: Sequence[Path]) -> Mapping[Path, Facts | None]:
        found: dict[Path, Facts | None] = {}
        while len(found) < len(paths):
            rest = paths[len(found) :]
            found |= dict(zip(rest, self._with_one_child(rest), strict=False))
        return found

    def _with_one_child(self, paths: Sequence[Path]) -> Iterator[Facts | None]:
        """Yield the facts of paths in their order; the last may be those of one that it did not survive."""
        ours, theirs = socket.socketpair()
        # Isolated: nothing of the caller's environment or folder is loaded while the child is still root.
        command = [sys.executable, "-I", "-m", "sealdrop.checks.looking"]
        with theirs:
            fd = theirs.fileno()
            child = subprocess.Popen(command, stdin=fd, stdout=fd, stderr=subprocess.DEVNULL, cwd="/")  # noqa: S603 - ours
        with ours, ours.makefile("rwb") as line:
            try:
                ours.settimeout(START_S)
                _say(line, None if self._user is None else asdict(self._user))
                for path in paths:
                    _say(line, os.fspath(path))
                    answer = line.readline()
                    if not answer:
                        raise BrokenPipeError
                    ours.settimeout(self._look_s)
                    yield Facts(**json.loads(answer))
            except TimeoutError:
                yield None
            except (BrokenPipeError, ConnectionResetError):
                yield Facts(str(path), errno.ECHILD)
            finally:
                child.kill()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(GONE_S)


def _say(line: io.BufferedRWPair, value: object) -> None:
    line.write(json.dumps(value).encode() + b"\n")
    line.flush()
