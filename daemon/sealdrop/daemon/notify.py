"""Telling systemd how the service is: datagrams to the socket that it names, as sd_notify(3) describes them.

Nothing here can harm the service: without a socket nothing is sent, and what cannot be sent is lost. That is no small
thing for READY=1, so a full socket is waited for a moment.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import Self

SEND_S = 5.0
STATUS_CHARACTERS = 800
MICROSECOND = 1e-6


class Notifier:
    """The way to the service manager, if there is one. Used by several threads; no method raises."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        """Make ready to send to ``address``: a path, or with ``@`` an abstract name."""
        self._address = address
        self.watchdog_s = watchdog_s
        """Within how many seconds systemd wants to hear that all is well, None if it does not watch."""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Return the way that the environment names, and take it out: a child process has nothing to tell there."""
        address = environment.pop("NOTIFY_SOCKET", None)
        watchdog_usec = environment.pop("WATCHDOG_USEC", "")
        watched_pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        is_watched = watchdog_usec.isdecimal() and int(watchdog_usec) > 0 and watched_pid == str(os.getpid())
        return cls(address or None, int(watchdog_usec) * MICROSECOND if is_watched else None)

    def tell(self, *assignments: str) -> bool:
        """Send these in one message; return whether it was taken."""
        if self._address is None or self._address[0] not in "/@":
            return False
        name = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.settimeout(SEND_S)
                way.sendto("\n".join(assignments).encode(errors="replace"), os.fsencode(name))
        except (OSError, ValueError):
            return False
        return True

    def ready(self, status: str) -> None:
        """Say that the service works, after its start or after a reload."""
        self.tell("READY=1", _status(status))

    def status(self, status: str) -> None:
        """Say in one line what the service is doing."""
        self.tell(_status(status))

    def alive(self) -> None:
        """Say that all is well."""
        self.tell("WATCHDOG=1")

    def may_take(self, seconds: float, status: str) -> None:
        """Say that what has begun now may take so long, and what it is."""
        self.tell(f"EXTEND_TIMEOUT_USEC={seconds / MICROSECOND:.0f}", _status(status))

    def reloading(self, monotonic_s: float) -> None:
        """Say that the configuration is being read anew since that moment."""
        self.tell(
            "RELOADING=1", f"MONOTONIC_USEC={monotonic_s / MICROSECOND:.0f}", _status("reading the configuration")
        )

    def stopping(self, within_s: float) -> None:
        """Say that the service stops, which may take so long."""
        self.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={within_s / MICROSECOND:.0f}", _status("stopping"))


def _status(text: str) -> str:
    """Return the assignment: one line, since a line break would begin another one."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return f"STATUS={line[:STATUS_CHARACTERS]}"
