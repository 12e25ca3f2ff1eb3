"""What is measured, each in a directory of its own, with everything it is compared with in the same run."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bare
from stage import Stage, cpu_s, is_ready, moment, pdf, service, stage

from sealdrop.sandbox.sealing import Level

VARIANTS = 8  # PDFs of one size; each is dropped again and again
WARM_UP = 4


@dataclass(frozen=True, slots=True)
class Throughput:
    """Documents a second, from the first drop to the last receipt, beside the bare client's; CPU of the service."""

    documents: int
    size_bytes: int
    per_s: float
    bare_per_s: float
    user_ms: float
    system_ms: float

    @property
    def ratio(self) -> float:
        """The service's rate over the bare client's."""
        return self.per_s / self.bare_per_s

    @property
    def cpu_ms(self) -> float:
        """CPU for each document, children included."""
        return self.user_ms + self.system_ms


def _made_ready(of: Stage, contents: Sequence[bytes], number: int) -> list[tuple[Path, Path]]:
    """Write files beside the inbound folder, so that dropping one is a rename; return from where and to where."""
    aside, inbound = of.directory / "aside", of.inbound()
    aside.mkdir(exist_ok=True)
    moves = []
    for index in range(number):
        path = aside / f"{time.monotonic_ns()}-{index}.pdf"
        path.write_bytes(contents[index % len(contents)])
        moves.append((path, inbound / f"{time.monotonic_ns()}-{index}.pdf"))
    return moves


def _drop(moves: Sequence[tuple[Path, Path]]) -> None:
    for path, target in moves:
        path.rename(target)


def throughput(directory: Path, size_bytes: int, number: int, level: Level = Level.LTA) -> Throughput:
    """Measure how many documents a second go through, with all that sealdrop promises."""
    contents = [pdf(size_bytes, variant) for variant in range(VARIANTS)]
    with stage(directory, contents, level=level) as at:
        account = at.config.accounts["bench"]
        bare.threads(account, contents, 2 * account.connections, level.value)
        bare_s = bare.threads(account, contents, number, level.value)
        moves = _made_ready(at, contents, WARM_UP + number)
        with service(at) as process:
            moment(lambda: is_ready(at, process))
            _drop(moves[:WARM_UP])
            moment(lambda: at.receipts() == WARM_UP)
            before = cpu_s(process.pid)
            began = time.monotonic()
            _drop(moves[WARM_UP:])
            took_s = moment(lambda: at.receipts() == WARM_UP + number, every_s=0.02) - began
            after = cpu_s(process.pid)
    user_ms, system_ms = ((late - early) * 1000 / number for early, late in zip(before, after, strict=True))
    return Throughput(number, size_bytes, number / took_s, number / bare_s, user_ms, system_ms)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the drop of a lone PDF to its receipt."""

    median_s: float
    p95_s: float


def latency(directory: Path, number: int, size_bytes: int = 50_000) -> Latency:
    """Measure how long one PDF takes in an idle service; the stand-in takes no time of its own."""
    contents = [pdf(size_bytes, variant) for variant in range(VARIANTS)]
    times = []
    with stage(directory, contents) as at:
        moves = _made_ready(at, contents, WARM_UP + number)
        with service(at) as process:
            moment(lambda: is_ready(at, process))
            for done, move in enumerate(moves, 1):
                began = time.monotonic()
                _drop([move])
                times.append(moment(lambda done=done: at.receipts() == done, every_s=0.001) - began)
    times = sorted(times[WARM_UP:])
    return Latency(statistics.median(times), times[min(round(0.95 * len(times)), len(times) - 1)])
