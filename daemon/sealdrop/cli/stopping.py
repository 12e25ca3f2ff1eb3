"""Waiting for somebody to say stop."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """A wish to stop, from a signal or from another thread; later wishes change nothing."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd

    def ask(self) -> None:
        """Ask for the stop."""
        with suppress(BlockingIOError):  # full of such wishes
            os.write(self._write_fd, b".")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether somebody has asked, as soon as somebody has or after ``timeout_s`` seconds."""
        # The wish is left in the pipe, so that whoever looks later sees it too.
        return bool(select.select([self._read_fd], [], [], timeout_s)[0])


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a `Stop` while the block runs; the main thread only."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # The kernel may give a signal to any thread. Python's own handlers wait for the main one, which sleeps in select():
    # what wakes it is the byte that is written the moment the signal arrives, in whichever thread.
    before_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
    try:
        yield Stop(read_fd, write_fd)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(read_fd)
        os.close(write_fd)
