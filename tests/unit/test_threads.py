"""Threads that the kernel knows by name."""

import threading
from pathlib import Path

from sealdrop.threads import NamedThread, show_name


def _told(task: int) -> str:
    return Path(f"/proc/self/task/{task}/comm").read_text()


def test_the_kernel_knows_a_thread_by_its_name() -> None:
    """A named thread is shown under its name, as far as the kernel keeps it, and its starter under its own still."""
    told: list[str] = []
    before = _told(threading.get_native_id())
    thread = NamedThread(lambda: told.append(_told(threading.get_native_id())), "outbound invoices")
    thread.start()
    thread.join()
    assert told == ["outbound invoic\n"]
    assert _told(threading.get_native_id()) == before
    assert thread.daemon


def test_a_name_that_cannot_be_told_is_no_trouble() -> None:
    """A kernel without the file, or a thread that has ended, keeps nobody from working."""
    show_name("nobody", task=2**30)
