"""Who spends the CPU: the service's threads and children by their names, the others on this machine."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stage import TICK_S, family

LOOK_S = 0.5
IDLE_FIELDS = slice(3, 5)  # of the first line of /proc/stat: idle, iowait


def exact_s(process: int) -> float:
    """Return the CPU seconds of a process and its living children, to the nanosecond."""
    total_s = 0.0
    for each in family(process):
        with suppress(OSError):
            total_s += time.clock_gettime((~each << 3) | 2)  # the clock of clock_getcpuclockid(3), which Python lacks
    return total_s


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds."""

    user_s: float = 0.0
    system_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.user_s + self.system_s

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.user_s + other.user_s, self.system_s + other.system_s)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.user_s - other.user_s, self.system_s - other.system_s)

    def __truediv__(self, number: float) -> "Spent":
        return Spent(self.user_s / number, self.system_s / number)


def parse(stat: str) -> tuple[str, Spent]:
    """Return the name and the CPU time that ``/proc/PID/stat`` tells (proc_pid_stat(5)); a name may hold anything."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], Spent(int(fields[11]) * TICK_S, int(fields[12]) * TICK_S)


def refined(spent: Spent, schedstat: str) -> Spent:
    """Return the same to the nanosecond: ``/proc/PID/schedstat`` tells the sum so, and many threads spend little."""
    exact_s = int(schedstat.split(maxsplit=1)[0]) / 1e9
    user_share = spent.user_s / spent.total_s if spent.total_s else 1.0
    return Spent(exact_s * user_share, exact_s * (1.0 - user_share))


class SpentByName(threading.Thread):
    """Adds up what the threads of a process and its children spend, by the names that the kernel has for them.

    It looks twice a second, so that what has ended meanwhile is counted, but for its last moments.
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._ended = threading.Event()
        self._first = self._look()
        self._last = dict(self._first)

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(LOOK_S):
            self._last |= self._look()

    def end(self) -> Mapping[str, Spent]:
        """Look no more; return what was spent by name since this was made."""
        self._ended.set()
        self.join()
        self._last |= self._look()
        found: dict[str, Spent] = {}
        for task, (name, spent) in self._last.items():
            _, before = self._first.get(task, ("", Spent()))
            found[name] = found.get(name, Spent()) + (spent - before)
        return found

    def _look(self) -> dict[Path, tuple[str, Spent]]:
        found = {}
        main, *children = family(self._process)
        stats = [*Path(f"/proc/{main}/task").glob("*/stat"), *(Path(f"/proc/{child}/stat") for child in children)]
        for stat in stats:
            with suppress(OSError):
                name, spent = parse(stat.read_text())
                found[stat] = name, refined(spent, stat.with_name("schedstat").read_text())
        return found


class Others:
    """The share of this machine's CPU that went to whatever has no part in a measurement."""

    def __init__(self) -> None:
        self.share = 0.0

    @contextmanager
    def watched(self, *processes: int) -> Iterator[None]:
        """Take note of it while the block runs; this process and ``processes`` with their children do have a part."""
        before, began = self._taken_s(processes)
        yield
        after, ended = self._taken_s(processes)
        self.share = max(after - before, 0.0) / max(ended - began, TICK_S)

    @staticmethod
    def _taken_s(processes: tuple[int, ...]) -> tuple[float, float]:
        """Return the CPU seconds that others have taken, and those that there were."""
        ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        all_s = sum(ticks) * TICK_S
        busy_s = all_s - sum(ticks[IDLE_FIELDS]) * TICK_S
        ours_s = time.process_time() + sum(exact_s(process) for process in processes)
        return busy_s - ours_s, all_s
