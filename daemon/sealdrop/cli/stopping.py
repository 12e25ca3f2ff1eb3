"""Waiting for somebody to say stop, or that the configuration is to be read anew."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Wishes:
    """What signals and other threads wish for. A wish to stop stays; one to reload is fulfilled once for all so far."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._stop = False
        self._reload = False

    def ask(self) -> None:
        """Ask for the stop."""
        self._stop = True
        with suppress(BlockingIOError):  # full of wishes: whoever waits wakes up anyway
            os.write(self._write_fd, b".")

    def ask_reload(self) -> None:
        """Ask for a reload."""
        self._reload = True
        with suppress(BlockingIOError):
            os.write(self._write_fd, b".")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether somebody wants a stop: as soon as somebody does, or after ``timeout_s`` seconds at most."""
        while not self._stop and self._wakes(timeout_s) and timeout_s is None:
            continue
        return self._stop

    def wait_for_either(self) -> bool:
        """Return once somebody wants something: whether it is a reload, and no stop."""
        while not self._stop and not self._reload:
            self._wakes(None)
        self._reload, reload = False, self._reload
        return reload and not self._stop

    def _wakes(self, timeout_s: float | None) -> bool:
        """Wait for a sign that there is a new wish; return whether there was one.

        What wakes us says nothing by itself: it is a byte, and where there are too many the last are lost.
        """
        if not select.select([self._read_fd], [], [], timeout_s)[0]:
            return False
        with suppress(BlockingIOError):
            os.read(self._read_fd, select.PIPE_BUF)
        return True


@contextmanager
def stop_signals(*, hangup: Literal["stop", "reload"] | None = None) -> Iterator[Wishes]:
    """Turn SIGTERM and SIGINT into `Wishes` while the block runs, SIGHUP too where told; the main thread only."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    wishes = Wishes(read_fd, write_fd)
    handlers = dict.fromkeys(STOP_SIGNALS, wishes.ask)
    if hangup is not None:
        handlers[signal.SIGHUP] = wishes.ask_reload if hangup == "reload" else wishes.ask
    # The kernel may give a signal to any thread. Python's own handlers wait for the main one, which sleeps in select():
    # what wakes it is the byte that is written the moment the signal arrives, in whichever thread. Then, before it can
    # sleep again, the handler notes the wish.
    before_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _calling(ask)) for number, ask in handlers.items()}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(read_fd)
        os.close(write_fd)


def _calling(ask: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: ask()
