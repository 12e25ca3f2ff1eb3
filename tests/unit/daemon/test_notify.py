"""Telling systemd how the service is: what a real socket hears, and that nothing goes wrong without one."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealdrop.daemon.notify import STATUS_CHARACTERS, Notifier


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its name as the environment has it."""
    path = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.settimeout(10)
        if request.param == "a path":
            listening.bind(path)
            yield listening, path
        else:
            listening.bind(f"\0{path}")
            yield listening, f"@{path}"


def test_what_is_told_is_heard(manager: tuple[socket.socket, str]) -> None:
    """Each message arrives as sd_notify(3) writes it, whichever kind of socket there is."""
    listening, name = manager
    notifier = Notifier(name)
    notifier.may_take(90.5, "opening")
    notifier.ready("3 in work")
    notifier.alive()
    notifier.reloading(12.25)
    notifier.stopping(35)
    assert [listening.recv(4096).decode().splitlines() for _ in range(5)] == [
        ["EXTEND_TIMEOUT_USEC=90500000", "STATUS=opening"],
        ["READY=1", "STATUS=3 in work"],
        ["WATCHDOG=1"],
        ["RELOADING=1", "MONOTONIC_USEC=12250000", "STATUS=reading the configuration"],
        ["STOPPING=1", "EXTEND_TIMEOUT_USEC=35000000", "STATUS=stopping"],
    ]


def test_a_status_is_one_line_of_text(manager: tuple[socket.socket, str]) -> None:
    """Whatever stands in it (a path, an answer of SignAPI), a status never becomes another message, and is short."""
    listening, name = manager
    Notifier(name).status("a\nREADY=1\x1b[0m \udc80 é" + "x" * 5000)
    told = listening.recv(65536).decode().splitlines()
    assert len(told) == 1
    assert told[0].startswith("STATUS=a READY=1 [0m ")
    assert len(told[0]) == len("STATUS=") + STATUS_CHARACTERS


@pytest.mark.parametrize(
    "address", [None, "/nowhere/at/all", "@nobody-listens-here", "vsock:2:1234", "/" + "x" * 200, "@"]
)
def test_without_anybody_who_listens_nothing_happens(address: str | None) -> None:
    """No socket, one that is gone, one of a kind that we do not speak to: nothing is sent, and nothing raised."""
    assert not Notifier(address).tell("READY=1")


def test_the_environment_says_where_and_how_often() -> None:
    """Address and watchdog come from the environment, and are taken out of it."""
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "PATH": "/bin"}
    assert Notifier.from_environment(environment).watchdog_s == pytest.approx(30.0)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_watches(environment: dict[str, str]) -> None:
    """Without a time that makes sense, or with another process meant, no watchdog is fed."""
    assert Notifier.from_environment(environment).watchdog_s is None
