"""What the service spends while there is nothing to do."""

import time
from dataclasses import dataclass
from pathlib import Path

from cpu import exact_s
from stage import is_ready, moment, pdf, service, stage

FOLDERS = 20
SETTLED_S = 4.0  # after which what happens once, at the start, is over


@dataclass(frozen=True, slots=True)
class Idle:
    """CPU seconds spent within ``window_s``, how often a thread went to sleep in it, and how many threads there are."""

    window_s: float
    spent_s: float
    sleeps: int
    threads: int

    @property
    def per_hour_s(self) -> float:
        """CPU seconds an hour, if it goes on like that."""
        return self.spent_s * 3600 / self.window_s


def idle(directory: Path, window_s: float) -> Idle:
    """Watch the service with `FOLDERS` empty folders for ``window_s`` seconds."""
    names = [f"folder{number}" for number in range(FOLDERS)]
    with stage(directory, [pdf(1000)], names=names) as at, service(at) as process:
        moment(lambda: is_ready(at, process))
        time.sleep(SETTLED_S)
        before_s, sleeps, began = exact_s(process.pid), _sleeps(process.pid), time.monotonic()
        time.sleep(window_s)
        took_s = time.monotonic() - began
        spent_s = exact_s(process.pid) - before_s
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        return Idle(took_s, spent_s, _sleeps(process.pid) - sleeps, threads)


def _sleeps(process: int) -> int:
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{process}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )
