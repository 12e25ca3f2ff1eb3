"""Threads that the kernel knows by name, so that `top -H` and `ps -L` tell who is busy.

Python gives its threads names, and tells nobody else before version 3.14. The kernel keeps 15 bytes of a name
(proc_pid_comm(5)): what is worth telling comes first.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def show_name(name: str, task: int | None = None) -> None:
    """Have the kernel call a thread of this process, or the one that asks, by ``name``, if it will."""
    with suppress(OSError):
        Path(f"/proc/self/task/{task or threading.get_native_id()}/comm").write_bytes(name.encode())


class NamedThread(threading.Thread):
    """A thread that runs ``target`` under a name, and does not keep the process alive."""

    def __init__(self, target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)

    def run(self) -> None:
        """Tell the kernel the name, and do what is to be done."""
        show_name(self.name)
        super().run()
