"""Documents a second, CPU for each, and how long a lone one takes: all from one run of the service.

The service and the bare client take turns, over the same connections to the same stand-in, with the same PDFs. So what
else this machine does meanwhile touches both; medians are compared.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import bare
from cpu import Others, Spent, SpentByName, exact_s
from stage import Stage, cpu_s, drop, is_ready, moment, pdf, service, stage

from sealdrop.sandbox.sealing import Level

VARIANTS = 8  # PDFs of one size; each is dropped again and again
WARM_UP = 4
IDLE_S = 0.05  # between two lone documents

# Whose CPU time is whose: how the names of threads and children begin, and what these do. Each stage's part of the
# ledger (claim, commit) is in its own row.
STAGES: Mapping[str, tuple[str, ...]] = {
    "take over": ("inbound ",),
    "inspect, worker": ("validate ",),
    "inspect, child": ("inspect",),
    "submit: create, sign": ("submit ", "sign ", "reconcile "),
    "poll": ("poll ",),
    "verify, worker": ("verify ",),
    "verify, child": ("verify",),
    "deliver": ("outbound ",),
    "audit files": ("audit",),
}
REST = "the rest"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Documents a second, from the first drop to the last receipt, beside the bare client's; CPU for each, in seconds.

    ``others`` is the share of the machine's CPU that went elsewhere meanwhile.
    """

    documents: int
    size_bytes: int
    per_s: float
    bare_per_s: float
    ratio: float
    each: Spent
    bare_each_s: float
    stand_in_each_s: float
    stages: Mapping[str, Spent]
    others: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the drop of a lone PDF to its receipt."""

    median_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Wish:
    """Throughput to be measured, under that name among the figures: of how many documents, in how many rounds.

    After ``enough_s`` seconds no other round begins.
    """

    name: str
    size_bytes: int
    documents: int
    rounds: int
    enough_s: float = math.inf


def by_stage(spent: Mapping[str, Spent], total: Spent, documents: int) -> dict[str, Spent]:
    """Return what each stage spent for one document, and the rest of ``total`` that no named thread accounts for.

    The rest may be less than nothing: the kernel tells of a whole process in hundredths of a second.
    """
    found = dict.fromkeys(STAGES, Spent())
    left = total
    for name, each in spent.items():
        stage_name = next((at for at, starts in STAGES.items() if _is_of(name, starts)), None)
        if stage_name is not None:
            found[stage_name] += each
            left -= each
    return {at: each / documents for at, each in {**found, REST: left}.items()}


def _is_of(name: str, starts: tuple[str, ...]) -> bool:
    """Whether a thread has one of the names, or begins with one that ends with a space."""
    return any(name.startswith(start) if start.endswith(" ") else name == start for start in starts)


class Run:
    """The service under way, on a stage of its own."""

    def __init__(self, at: Stage, process: "Popen[bytes]", level: Level) -> None:
        self._at = at
        self._process = process
        self._level = level
        self._delivered = 0

    def round_s(self, contents: Sequence[bytes], number: int) -> float:
        """Return the seconds from the first drop of ``number`` documents to the last receipt."""
        moves = self._at.made_ready(contents, number)
        began = time.time()
        drop(moves)
        self._delivered += number
        # When the last came is read from the disk, so that looking need not be often.
        moment(lambda: self._at.receipts() >= self._delivered, every_s=0.1)
        return self._at.newest_receipt() - began

    def lone_s(self, content: bytes) -> float:
        """Return the seconds from the drop of a lone document to its receipt."""
        moves = self._at.made_ready([content], 1)
        time.sleep(IDLE_S)
        receipt = self._at.config.folders["one"].outbound / f"{moves[0][1].name}.receipt.json"
        began = time.monotonic()
        drop(moves)
        self._delivered += 1
        return moment(receipt.exists, every_s=0.001) - began

    def latency(self, contents: Sequence[bytes], number: int) -> Latency:
        """Measure how long one PDF takes in an idle service; the stand-in takes no time of its own."""
        times = sorted([self.lone_s(contents[index % len(contents)]) for index in range(WARM_UP + number)][WARM_UP:])
        return Latency(statistics.median(times), times[min(round(0.95 * len(times)), len(times) - 1)])

    def throughput(self, contents: Sequence[bytes], wish: Wish) -> Throughput:
        """Measure how many documents a second go through, with all that sealdrop promises."""
        service_id, stand_in = self._process.pid, self._at.stand_in.pid
        each = max(wish.documents // wish.rounds, 1)
        times: list[float] = []
        bare_times: list[float] = []
        bare_cpu_s = 0.0
        others = Others()
        spent = Spent()
        with bare.Client(self._at.config.accounts["bench"]) as client, others.watched(service_id, stand_in):
            client.seconds(contents, WARM_UP, self._level.value)
            self.round_s(contents, WARM_UP)
            stand_in_before_s = exact_s(stand_in)
            by_name = SpentByName(service_id)
            by_name.start()
            began = time.monotonic()
            while len(times) < wish.rounds and (not times or time.monotonic() - began < wish.enough_s):
                bare_began = time.process_time()
                bare_times.append(client.seconds(contents, each, self._level.value))
                bare_cpu_s += time.process_time() - bare_began
                before = Spent(*cpu_s(service_id))
                times.append(self.round_s(contents, each))
                spent += Spent(*cpu_s(service_id)) - before
            documents = each * len(times)
            stand_in_s = exact_s(stand_in) - stand_in_before_s
            stages = by_stage(by_name.end(), spent, documents)
        return Throughput(
            documents,
            len(contents[0]),
            each / statistics.median(times),
            each / statistics.median(bare_times),
            statistics.median(bare_s / ours_s for bare_s, ours_s in zip(bare_times, times, strict=True)),
            spent / documents,
            bare_cpu_s / documents,
            stand_in_s / (2 * documents),  # it answers both
            stages,
            others.share,
        )


def speed(
    directory: Path, wishes: Sequence[Wish], *, lone: int = 0, level: Level = Level.LTA
) -> tuple[Latency | None, Mapping[str, Throughput]]:
    """Measure the latency of ``lone`` documents of 50 kB, if any, and then the throughputs, in one run."""
    contents = {
        size: [pdf(size, variant) for variant in range(VARIANTS)]
        for size in {50_000, *(each.size_bytes for each in wishes)}
    }
    sealed = [content for each in contents.values() for content in each]
    with stage(directory, sealed, level=level) as at, service(at) as process:
        moment(lambda: is_ready(at, process))
        run = Run(at, process, level)
        latency = run.latency(contents[50_000], lone) if lone else None
        return latency, {each.name: run.throughput(contents[each.size_bytes], each) for each in wishes}
