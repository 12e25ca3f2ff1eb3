"""``make bench``: measures sealdrop against a stand-in for SignAPI that is never the bottleneck, and prints tables.

Every ratio is taken within one run, on the same machine, with the same stand-in. ``--quick`` is a small form;
``--json FILE`` writes the figures for programs; ``--only NAME`` runs one measurement.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measures
from memory import memory, scan
from rich.console import Console
from rich.table import Table

from sealdrop.sandbox.sealing import Level

Figures = dict[str, float]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _throughput(work: Path, console: Console, *, quick: bool) -> Figures:
    forms = [
        ("50kb", 50_000, 200 if quick else 2000, Level.LTA),
        ("1mb", 1_000_000, 40 if quick else 300, Level.LTA),
        *([] if quick else [("50kb_b", 50_000, 1000, Level.B)]),
    ]
    table = _table("Throughput", "documents", "docs/s", "bare client", "ratio", "CPU ms each", "user", "system")
    figures: Figures = {}
    for name, size_bytes, number, level in forms:
        found = measures.throughput(work / f"throughput-{name}", size_bytes, number, level)
        table.add_row(
            f"{number} of {size_bytes // 1000} kB, {level.value[-3:].strip('_')}",
            f"{found.per_s:.1f}",
            f"{found.bare_per_s:.1f}",
            f"{found.ratio:.2f}",
            f"{found.cpu_ms:.1f}",
            f"{found.user_ms:.1f}",
            f"{found.system_ms:.1f}",
        )
        figures[f"throughput_ratio_{name}"] = found.ratio
        figures[f"throughput_per_s_{name}"] = found.per_s
        figures[f"cpu_ms_{name}"] = found.cpu_ms
    console.print(table)
    return figures


def _latency(work: Path, console: Console, *, quick: bool) -> Figures:
    found = measures.latency(work / "latency", 10 if quick else 100)
    table = _table("Latency of a lone PDF of 50 kB", "", "ms")
    table.add_row("median", f"{found.median_s * 1000:.0f}")
    table.add_row("95th percentile", f"{found.p95_s * 1000:.0f}")
    console.print(table)
    return {"latency_ms_median": found.median_s * 1000, "latency_ms_p95": found.p95_s * 1000}


def _memory(work: Path, console: Console, *, quick: bool) -> Figures:
    sizes = {f"{size}mb": size * 1_000_000 for size in ((1, 100) if quick else (1, 10, 100, 500))}
    found = {name: memory(work / f"memory-{name}", scan(size_bytes)) for name, size_bytes in sizes.items()}
    if not quick:
        size_bytes = sizes["500mb"]
        found["500mb_in_one"] = memory(work / "memory-500mb-in-one", scan(size_bytes, size_bytes))
    base_bytes = found["1mb"].total_bytes
    table = _table("Most memory for one document", "MB", *(name.replace("_", " ") for name in found))
    kinds = dict.fromkeys(kind for each in found.values() for kind in each.resident)
    for kind in kinds:
        held = (f"{each.held.get(kind, 0) / 1e6:.0f}" for each in found.values())
        table.add_row(kind, *held)
    table.add_row("all (PSS)", *(f"{each.total_bytes / 1e6:.0f}" for each in found.values()))
    table.add_row("ratio to 1 MB", *(f"{each.total_bytes / base_bytes:.2f}" for each in found.values()))
    for kind in kinds:
        most = (f"{each.resident.get(kind, 0) / 1e6:.0f}" for each in found.values())
        table.add_row(f"{kind}: highest resident", *most)
    console.print(table)
    return {
        **{
            f"memory_ratio_{name}_to_1mb": each.total_bytes / base_bytes
            for name, each in found.items()
            if name != "1mb"
        },
        "peak_memory_mb": max(each.total_bytes for each in found.values()) / 1e6,
    }


MEASUREMENTS: dict[str, Callable[..., Figures]] = {
    "throughput": _throughput,
    "latency": _latency,
    "memory": _memory,
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small form, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS), action="append", help="may be given again")
    parser.add_argument("--dir", type=Path, help="work there, and leave all of it (default: a temporary directory)")
    arguments = parser.parse_args()
    console = Console(file=sys.stdout)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="sealdrop-bench-") as temporary:
        work = arguments.dir or Path(temporary)
        for name in arguments.only or MEASUREMENTS:
            figures |= MEASUREMENTS[name](work, console, quick=arguments.quick)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
