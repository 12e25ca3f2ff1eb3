"""How figures are shown: tables with the goal beside each figure, on which machine, as text and as Markdown."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

WIDTH = 80
FSYNCS = 30


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to be: at least or at most so much."""

    limit: float
    at_least: bool = False

    def is_met(self, figure: float) -> bool:
        """Whether the figure is so."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def told(self, figure: float) -> str:
        """Return the goal, and whether the figure meets it."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.limit:g}: {'met' if self.is_met(figure) else 'NOT met'}"


# By the names of the figures in the JSON file.
GOALS: Mapping[str, Goal] = {
    "throughput_ratio_50kb": Goal(0.8, at_least=True),
    "throughput_ratio_1mb": Goal(0.9, at_least=True),
    "cpu_ms_50kb": Goal(15.0),
    "latency_ms_median": Goal(150.0),
    "memory_ratio_100mb_to_1mb": Goal(1.2),
    "memory_ratio_500mb_to_1mb": Goal(1.2),
    "peak_memory_mb": Goal(200.0),
    "idle_cpu_s_per_hour": Goal(20.0),
}


def verdict(name: str, figure: float) -> str:
    """Return the goal for the figure of that name and whether it is met; nothing if there is none."""
    goal = GOALS.get(name)
    return goal.told(figure) if goal is not None else ""


def new_table(title: str, *columns: str, note: str = "") -> Table:
    """Return a table without rows; a ``note`` below it tells how its figures are to be read."""
    table = Table(title=title, title_justify="left", caption=note or None)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    return table


def this_machine(work: Path) -> str:
    """Return what this is measured on, in a line: the file system with what an fsync costs there."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())["MemTotal"]
    gib = int(memory.split()[0]) / (1 << 20)
    cores = len(os.sched_getaffinity(0))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores, {gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {file_system(work)} with fsync of 4 kB in {fsync_ms(work):.1f} ms"
    )


def file_system(path: Path, mounts: str | None = None) -> str:
    """Return the kind of file system that ``path`` lies on, as ``mounts`` (/proc/self/mountinfo) tells it."""
    mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    path, kind, depth = path.resolve(), "unknown", -1
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        point = Path(where.split()[4].encode().decode("unicode_escape"))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = what.split()[0], len(point.parts)
    return kind


def fsync_ms(directory: Path) -> float:
    """Return the median of what it takes here to append 4 kB to a file and have them on the disk."""
    directory.mkdir(parents=True, exist_ok=True)
    path, times = directory / "fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000


class Report(Console):
    """Prints tables, each with what is to be said of it and of the machine below, and keeps them as Markdown."""

    def __init__(self, machine: str) -> None:
        super().__init__(width=WIDTH)
        self._machine = machine
        self._markdown: list[str] = []

    def print(self, *objects: object, **options: object) -> None:
        """Print; what stands below a table is not folded to its width."""
        for each in objects:
            notes = []
            if isinstance(each, Table):
                notes = [*([str(each.caption)] if each.caption else []), f"{self._machine}.\n"]
                each.caption = None
                self._markdown.append(markdown(each, notes))
            super().print(each, *notes, sep="\n", highlight=False, **options)  # type: ignore[arg-type]

    def markdown(self) -> str:
        """Return all tables so far."""
        return "\n".join(self._markdown)


def markdown(table: Table, notes: Sequence[str]) -> str:
    """Return a table in Markdown, its title as a heading, the notes below it."""
    heads = [str(column.header) for column in table.columns]
    rules = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows)]
    return "\n".join([f"### {table.title}", "", *lines, "", *notes])


def goals_table(figures: Mapping[str, float]) -> Table | None:
    """Return the table of all figures that have a goal, None if none has."""
    table = new_table("Goals", "figure", "value", "goal")
    for name in GOALS:
        if name in figures:
            table.add_row(name, f"{figures[name]:.2f}", verdict(name, figures[name]))
    return table if table.row_count else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A measurement that could not be made, and why."""

    name: str
    error: Exception


def measured(
    names: Sequence[str], measure: Callable[[str], Mapping[str, float]], left_out: Callable[[str], bool]
) -> tuple[dict[str, float], list[Failure]]:
    """Return the figures of all measurements that are not ``left_out``, and those that failed: one spoils no other."""
    figures: dict[str, float] = {}
    failures = []
    for name in names:
        if left_out(name):
            continue
        try:
            figures |= measure(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, what was measured before is worth having
            failures.append(Failure(name, error))
    return figures, failures
