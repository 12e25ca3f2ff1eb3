"""The real programs as processes, for tests that start, signal and kill them."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from running import PATIENCE_S

SEALDROP = Path(sys.executable).with_name("sealdrop")


class Program:
    """A running program whose lines of standard output can be waited for."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [SEALDROP, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, text: str, times: int = 1) -> str:
        """Return the line in which ``text`` is seen for the given time, counted from now."""
        while times:
            try:
                line = self._queue.get(timeout=PATIENCE_S)
            except Empty:
                raise AssertionError(f"no {text!r} in time; so far: {self.lines}") from None
            if line is None:
                raise AssertionError(f"ended before {text!r}: {self.lines}")
            self.lines.append(line)
            times -= text in line
        return self.lines[-1]

    def wait_for_lines(self, number: int, *, quiet_s: float) -> None:
        """Return after so many lines, or once none has come for ``quiet_s`` seconds."""
        for _ in range(number):
            try:
                line = self._queue.get(timeout=quiet_s)
            except Empty:
                return
            if line is None:
                raise AssertionError(f"ended by itself: {self.lines}")
            self.lines.append(line)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # has it show where its threads are
            self._reader.join(PATIENCE_S)
            while (line := self._queue.get()) is not None:
                self.lines.append(line)
            raise AssertionError(f"{number.name} did not end it: {''.join(self.lines)}") from None

    def kill(self) -> None:
        """End it, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)


@contextmanager
def program(*arguments: str | Path) -> Iterator[Program]:
    """Run a program while the block runs; it is killed at the end if it still runs."""
    running = Program(*arguments)
    try:
        yield running
    finally:
        running.kill()
