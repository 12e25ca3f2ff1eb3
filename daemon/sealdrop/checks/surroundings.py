"""What this machine has to say to a unit: its text, the addresses of hosts and resolvers, where links lead.

Each of them may hang: a share, a resolver, systemd itself. So each is asked within a time.
"""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from sealdrop.config import Config, load

ASK_S = 5.0
LOAD_S = 5.0  # to follow the links of all folders; longer means that one of them hangs
UNIT = "sealdrop.service"
RESOLVERS = Path("/etc/resolv.conf")
# The unit that is installed with the program, else the one in the source tree.
_BROUGHT = (Path(sys.prefix, "share/sealdrop/systemd", UNIT), Path(__file__).parents[3] / "systemd" / UNIT)

_Answer = TypeVar("_Answer")


def within(limit_s: float, ask: Callable[[], _Answer]) -> _Answer:
    """Return what ``ask`` returns, or raise what it raises; it is left behind in a thread if it hangs.

    Raises:
        TimeoutError: it hangs.
    """
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=run, name="ask", daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError
    return answers[0]


def load_in_time(path: Path) -> Config:
    """Return the configuration; if one of its folders hangs, without having followed where they lead.

    Raises:
        ConfigurationError: it cannot be used; all its faults are in ``problems``.
    """
    try:
        return within(LOAD_S, lambda: load(path))
    except TimeoutError:
        return load(path, follow_links=False)


def unit_text() -> tuple[str, str]:
    """Return the unit's text with its drop-ins, and where it is from; that of the program if systemd has none."""
    systemctl = shutil.which("systemctl")
    if systemctl is not None:
        command = [systemctl, "cat", "--no-pager", UNIT]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)  # noqa: S603 - systemd's own
        except (OSError, subprocess.TimeoutExpired):
            pass
        else:
            if asked.returncode == 0:
                return asked.stdout, f"{UNIT} as systemd has it"
    for path in _BROUGHT:
        if path.is_file():
            return path.read_text(encoding="utf-8"), f"{path}, since systemd has no {UNIT} yet"
    return "", f"no unit: systemd has no {UNIT}, and none came with the program"


def addresses_of(hosts: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return the addresses of each host, none for one that cannot be looked up within the time."""
    found = {}
    for host in hosts:
        try:
            answers = within(ASK_S, partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
        except OSError:  # among them those of looking up, and TimeoutError
            continue
        found[host] = sorted({str(answer[4][0]) for answer in answers})
    return found


def resolvers() -> Sequence[str]:
    """Return the resolvers that this machine asks for names (resolv.conf(5))."""
    try:
        lines = RESOLVERS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    # A zone of an address of version 6 ("%eth0") is not for IPAddressAllow=.
    return tuple(each[1].partition("%")[0] for each in words if len(each) > 1 and each[0] == "nameserver")


def followed(path: Path) -> Path:
    """Return where a path leads; the path itself if that cannot be found out within the time."""
    try:
        return within(ASK_S, path.resolve)
    except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle, before Python 3.13
        return path


def is_there(path: Path) -> bool:
    """Return whether a file is there; of one that may not be looked at nothing is said."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def programs() -> Sequence[Path]:
    """Return the folders that this program is made of: its own, and the Python's that it was made with."""
    return tuple(dict.fromkeys(Path(each) for each in (sys.prefix, sys.base_prefix)))
