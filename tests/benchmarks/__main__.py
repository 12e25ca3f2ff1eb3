"""``make bench``: measures sealdrop against a stand-in for SignAPI that is never the bottleneck, and prints tables.

Every ratio is taken within one run, on the same machine, with the same stand-in. ``--quick`` is a small form, within a
minute: of what takes long it measures what there is time for. ``--json FILE`` writes the figures for programs,
``--markdown FILE`` the tables for docs/performance.md; ``--only NAME`` runs one measurement.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import backlog
import history
from idle import FOLDERS, idle
from memory import memory, scan
from peer import SERVICE_S, peer
from rich.console import Console
from speed import Latency, Throughput, Wish, speed
from tables import Report, goals_table, measured, new_table, this_machine, verdict

from sealdrop.sandbox.sealing import Level

Figures = dict[str, float]

QUICK_S = 52.0  # within which the quick form has begun and ended what it may leave out


def _speed(work: Path, console: Console, *, quick: bool) -> Figures:
    wishes = [
        Wish("50kb", 50_000, 240, 3, enough_s=8.0) if quick else Wish("50kb", 50_000, 2000, 4),
        Wish("1mb", 1_000_000, 45, 3, enough_s=5.0) if quick else Wish("1mb", 1_000_000, 300, 3),
    ]
    latency, found = speed(work / "speed", wishes, lone=20 if quick else 100)
    figures = _throughput(found, console) | _stages(found, console)
    return figures | (_latency(latency, console) if latency is not None else {})


def _basic(work: Path, console: Console, *, quick: bool) -> Figures:
    _, found = speed(work / "basic", [Wish("50kb_b", 50_000, 60 if quick else 1000, 2)], level=Level.B)
    return _throughput(found, console)


def _throughput(found: Mapping[str, Throughput], console: Console) -> Figures:
    others = max(each.others for each in found.values())
    note = f"Other programs took {others:.0%} of the CPU meanwhile. CPU: user and system, children included."
    table = new_table("Throughput", "", *found, note=note)
    names = {name: f"throughput_ratio_{name}" for name in found}
    rows: dict[str, Callable[[str, Throughput], str]] = {
        "documents": lambda _, each: str(each.documents),
        "sealdrop, documents/s": lambda _, each: f"{each.per_s:.1f}",
        "bare client, documents/s": lambda _, each: f"{each.bare_per_s:.1f}",
        "ratio": lambda _, each: f"{each.ratio:.2f}",
        "its goal": lambda name, each: verdict(names[name], each.ratio),
        "sealdrop, CPU ms each": lambda _, each: f"{each.each.total_s * 1000:.1f}",
        "the same, goal": lambda name, each: verdict(f"cpu_ms_{name}", each.each.total_s * 1000),
        "bare client, CPU ms each": lambda _, each: f"{each.bare_each_s * 1000:.1f}",
        "stand-in, CPU ms each": lambda _, each: f"{each.stand_in_each_s * 1000:.1f}",
    }
    for title, cell in rows.items():
        cells = [cell(name, each) for name, each in found.items()]
        if any(cells):
            table.add_row(title, *cells)
    console.print(table)
    figures: Figures = {}
    for name, each in found.items():
        figures |= {
            names[name]: each.ratio,
            f"throughput_per_s_{name}": each.per_s,
            f"bare_per_s_{name}": each.bare_per_s,
            f"cpu_ms_{name}": each.each.total_s * 1000,
            f"bare_cpu_ms_{name}": each.bare_each_s * 1000,
            f"stand_in_cpu_ms_{name}": each.stand_in_each_s * 1000,
            f"others_share_{name}": each.others,
        }
    return figures


def _stages(found: Mapping[str, Throughput], console: Console) -> Figures:
    note = (
        "ms for each document, user, system and both. A stage's claims and commits in the ledger are in its own row; "
        "'audit files' is the copying of committed records into the trail's files."
    )
    heads = [head for name in found for head in ("user", "system", name)]
    table = new_table("CPU by stage", "stage", *heads, note=note)
    figures: Figures = {}
    for stage in next(iter(found.values())).stages:
        cells = []
        for name, each in found.items():
            spent = each.stages[stage]
            cells += [f"{max(1000 * s, 0.0):.1f}" for s in (spent.user_s, spent.system_s, spent.total_s)]
            figures[f"cpu_ms_{name}_{'_'.join(stage.replace(',', '').replace(':', '').split())}"] = spent.total_s * 1000
        table.add_row(stage, *cells)
    console.print(table)
    return figures


def _latency(found: Latency, console: Console) -> Figures:
    figures = {"latency_ms_median": found.median_s * 1000, "latency_ms_p95": found.p95_s * 1000}
    table = new_table("Latency of a lone PDF of 50 kB, from its drop to its receipt", "", "ms", "goal")
    for title, name in (("median", "latency_ms_median"), ("95th percentile", "latency_ms_p95")):
        table.add_row(title, f"{figures[name]:.0f}", verdict(name, figures[name]))
    console.print(table)
    return figures


def _memory(work: Path, console: Console, *, quick: bool) -> Figures:
    sizes = {f"{size}mb": size * 1_000_000 for size in ((1, 100) if quick else (1, 10, 100, 500))}
    found = {name: memory(work / f"memory-{name}", scan(size_bytes)) for name, size_bytes in sizes.items()}
    if not quick:
        size_bytes = sizes["500mb"]
        found["500mb_in_one"] = memory(work / "memory-500mb-in-one", scan(size_bytes, size_bytes))
    base_bytes = found["1mb"].total_bytes
    figures = {
        f"memory_ratio_{name}_to_1mb": each.total_bytes / base_bytes for name, each in found.items() if name != "1mb"
    }
    figures["peak_memory_mb"] = max(each.total_bytes for each in found.values()) / 1e6
    told = "; ".join(f"{name} {verdict(name, figure)}" for name, figure in figures.items())
    table = new_table("Most memory for one document", "MB", *(name.replace("_", " ") for name in found), note=told)
    kinds = dict.fromkeys(kind for each in found.values() for kind in each.resident)
    for kind in kinds:
        table.add_row(kind, *(f"{each.held.get(kind, 0) / 1e6:.0f}" for each in found.values()))
    table.add_row("all (PSS)", *(f"{each.total_bytes / 1e6:.0f}" for each in found.values()))
    table.add_row("ratio to 1 MB", *(f"{each.total_bytes / base_bytes:.2f}" for each in found.values()))
    for kind in kinds:
        most = (f"{each.resident.get(kind, 0) / 1e6:.0f}" for each in found.values())
        table.add_row(f"{kind}: highest resident", *most)
    console.print(table)
    return figures


def _idle(work: Path, console: Console, *, quick: bool) -> Figures:
    found = idle(work / "idle", 10.0 if quick else 120.0)
    note = "What comes once a minute (each worker's own look into the ledger) is not in so short a window."
    table = new_table("Idle", "", "", "goal", note=note if quick else "")
    table.add_row("folders", str(FOLDERS), "")
    table.add_row("threads", str(found.threads), "")
    table.add_row("seconds watched", f"{found.window_s:.0f}", "")
    table.add_row("threads woken a second", f"{found.sleeps / found.window_s:.1f}", "")
    per_hour_s = found.per_hour_s
    table.add_row("CPU seconds an hour", f"{per_hour_s:.1f}", verdict("idle_cpu_s_per_hour", per_hour_s))
    console.print(table)
    return {"idle_cpu_s_per_hour": per_hour_s, "idle_wakeups_per_s": found.sleeps / found.window_s}


def _peer(work: Path, console: Console, *, quick: bool) -> Figures:
    found = peer(work / "peer", 40 if quick else 200, 4 if quick else 200)
    note = f"Each sign and each status call takes {SERVICE_S * 1000:.0f} ms; create is answered at once."
    table = new_table("A service that takes its time: PDFs of 50 kB", "", "documents", "documents/s", note=note)
    table.add_row("one after the other, by curl", str(found.loop_documents), f"{found.loop_per_s:.2f}")
    table.add_row(f"sealdrop, {found.connections} connections", str(found.documents), f"{found.per_s:.2f}")
    table.add_row("ratio", "", f"{found.ratio:.1f}")
    console.print(table)
    return {"peer_ratio": found.ratio, "peer_per_s": found.per_s, "peer_loop_per_s": found.loop_per_s}


def _history(work: Path, console: Console, *, quick: bool) -> Figures:
    sizes, rounds = ([10_000, 200_000], 100) if quick else ([10_000, 1_000_000, 10_000_000], history.ROUNDS)
    table = new_table("Ledger, by length of its history", "", "documents", "CPU µs", "pages read", "ratio")
    figures: Figures = {}
    for operation, found in history.history(work / "history", sizes, rounds).items():
        for each in found:
            ratio = each.cpu_us / found[0].cpu_us
            table.add_row(operation, f"{each.documents:,}", f"{each.cpu_us:.0f}", f"{each.pages:.1f}", f"{ratio:.2f}")
        figures[f"history_ratio_{operation.replace(' ', '_')}"] = ratio
    console.print(table)
    return figures


def _backlog(work: Path, console: Console, *, quick: bool) -> Figures:
    rows, figures = backlog.run(work, quick=quick)
    table = new_table("Files waiting at the start", *backlog.COLUMNS)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return figures


MEASUREMENTS: dict[str, Callable[..., Figures]] = {
    "speed": _speed,
    "memory": _memory,
    "peer": _peer,
    "idle": _idle,
    "basic": _basic,
    "history": _history,
    "backlog": _backlog,
}
# About how long the quick form of what it may leave out takes; without an entry, it is always measured.
MAY_BE_LEFT_OUT_S = {"peer": 11.0, "idle": 19.0, "basic": 11.0, "history": 8.0, "backlog": 12.0}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small form, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS), action="append", help="may be given again")
    parser.add_argument("--dir", type=Path, help="work there, and leave all of it (default: a temporary directory)")
    arguments = parser.parse_args()
    began = time.monotonic()

    def is_left_out(name: str) -> bool:
        left_s = QUICK_S - (time.monotonic() - began)
        is_out = arguments.quick and not arguments.only and MAY_BE_LEFT_OUT_S.get(name, 0.0) > left_s
        if is_out:
            console.print(f"Left out, for it would take longer than a minute in all: {name}")
        return is_out

    with tempfile.TemporaryDirectory(prefix="sealdrop-bench-") as temporary:
        work = arguments.dir or Path(temporary)
        machine = this_machine(work)
        console = Report(machine)
        figures, failures = measured(
            arguments.only or list(MEASUREMENTS),
            lambda name: MEASUREMENTS[name](work, console, quick=arguments.quick),
            is_left_out,
        )
    goals = goals_table(figures)
    if goals is not None:
        console.print(goals)
    if arguments.json:
        rounded = {name: round(value, 3) for name, value in figures.items()}
        arguments.json.write_text(json.dumps({"machine": machine, **rounded}, indent=2) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(console.markdown())
    for failure in failures:
        traceback.print_exception(failure.error)
    if failures:
        sys.exit(f"make bench: could not be measured: {', '.join(failure.name for failure in failures)}")


if __name__ == "__main__":
    main()
