"""A backlog: files that wait in inbound when the service starts. Nothing should depend on how many there are."""

import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from memory import Watch
from stage import Stage, cpu_s, is_ready, moment, pdf, service, stage

LOOK_S = 0.02
SIZE_BYTES = 5_000  # small documents: a hundred thousand of them must not fill the disk, and all are to be alike
VARIANTS = 2
SETTLE_S = 2.0  # the configuration's default
COLUMNS = "files waiting", "first receipt, s", "after ready, s", "docs/s", "CPU ms each", "PSS in MB"


@dataclass(frozen=True, slots=True)
class Form:
    """How many files wait, and the window (seconds) in which it is counted how many get through; None: all of them.

    Before the window as many get ahead of being delivered as may: else what is done for them would seem lost. All of
    them are counted from when the first is taken over: what is done before its receipt is done for many.
    """

    documents: int
    warm_s: float = 0.0  # since the first receipt, before the window
    window_s: float | None = None


FORMS = (Form(1_000), Form(10_000), Form(100_000, warm_s=90.0, window_s=90.0))
QUICK = (Form(300, warm_s=0.5, window_s=2.5), Form(1_500, warm_s=0.5, window_s=2.5))


@dataclass(frozen=True, slots=True)
class Backlog:
    """Seconds until the first receipt, since the process began and since it was ready; then how it went on."""

    documents: int
    since_start_s: float
    since_ready_s: float
    per_s: float
    cpu_ms: float
    peak_bytes: int


def measure(directory: Path, form: Form) -> Backlog:
    """Start the service with files waiting, and see when the first is delivered, and how it goes on."""
    contents = [pdf(SIZE_BYTES, variant) for variant in range(VARIANTS)]
    with stage(directory, contents) as at:
        inbound = at.inbound()
        for number, content in zip(range(form.documents), itertools.cycle(contents), strict=False):
            (inbound / f"{number:06}.pdf").write_bytes(content)
        os.sync()  # what is written for the measurement is not to be flushed at its cost
        time.sleep(SETTLE_S)  # they have been waiting
        untouched = inbound.stat().st_mtime_ns
        began = time.monotonic()
        with service(at) as process:
            watch = Watch(process.pid, every_s=0.25)
            watch.start()
            ready = moment(lambda: is_ready(at, process), every_s=LOOK_S)
            taken = moment(lambda: inbound.stat().st_mtime_ns != untouched, every_s=LOOK_S)
            spent_s = sum(cpu_s(process.pid))
            first = moment(lambda: at.receipts() >= 1, every_s=LOOK_S)
            per_s, cpu_ms = _pace(at, process.pid, form, taken, spent_s)
            peak_bytes = watch.end().total_bytes
    return Backlog(form.documents, first - began, first - ready, per_s, cpu_ms, peak_bytes)


def _pace(at: Stage, process: int, form: Form, began: float, spent_s: float) -> tuple[float, float]:
    """Return how many documents a second get through, and the CPU for each: within the window, or of all.

    All are counted since ``began``, when ``spent_s`` of CPU time had been spent.
    """
    before = 0
    if form.window_s is None:
        moment(lambda: at.receipts() >= form.documents, every_s=0.1)
    else:
        time.sleep(form.warm_s)
        before, began, spent_s = at.receipts(), time.monotonic(), sum(cpu_s(process))
        time.sleep(form.window_s)
    documents = at.receipts() - before
    return documents / (time.monotonic() - began), (sum(cpu_s(process)) - spent_s) * 1000 / documents


def run(work: Path, *, quick: bool) -> tuple[list[tuple[str, ...]], dict[str, float]]:
    """Return the table's rows, and the figures."""
    found = [measure(work / f"backlog-{form.documents}", form) for form in (QUICK if quick else FORMS)]
    rates = [each.per_s for each in found]
    rows = [
        (
            f"{each.documents:,} of {SIZE_BYTES // 1000} kB",
            f"{each.since_start_s:.1f}",
            f"{each.since_ready_s:.1f}",
            f"{each.per_s:.1f}",
            f"{each.cpu_ms:.1f}",
            f"{each.peak_bytes / 1e6:.0f}",
        )
        for each in found
    ]
    figures = {
        "backlog_first_s": max(each.since_ready_s for each in found),
        "backlog_first_since_start_s": max(each.since_start_s for each in found),
        "backlog_rate_ratio": min(rates) / max(rates),
        "backlog_cpu_ratio": min(each.cpu_ms for each in found) / max(each.cpu_ms for each in found),
        "backlog_memory_ratio": found[-1].peak_bytes / found[0].peak_bytes,
    }
    return rows, figures
