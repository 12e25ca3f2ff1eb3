"""The durable steps as docs/crashes.md lists them, and the deaths that follow: each step, before and after it.

A restart finds the same before a flush and after it, so one of the two is tried; the difference is for power cuts.
``SEALDROP_TEST_STEPS=all`` has both tried, and the making of each file in the rejected, failed and processed folders,
too, which is the same code as for outbound.
"""

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from rounds import Death
from steps import AFTER, BEFORE

ALL = os.environ.get("SEALDROP_TEST_STEPS") == "all"
DOCUMENT = Path(__file__).parents[1] / "docs" / "crashes.md"
RUNS = {
    "The first start": "first start",
    "Every start": "start",
    "A document that is sealed": "good",
    "A document that is turned away": "unfit",
    "A document whose seal does not pass": "failing",
    "A document that is tried again": "retried",
    "A reload": "reload",
    "A stop": "stop",
    "Recovery": "recovery",
    "Hours, quotas, and what is removed in time": "trouble",
    "A failed try": "trouble",
    "Alerts and figures": "trouble",
}
_BRACES = re.compile(r"(.*)\{([^}]*)\}(.*)")


def _spelled_out(step: str) -> list[str]:
    found = _BRACES.fullmatch(step)
    return [f"{found[1]}{each}{found[3]}" for each in found[2].split(",")] if found else [step]


def documented() -> list[tuple[str, str, tuple[str, str] | None]]:
    """Return the steps in the order of the page: what is going on then, the step, and the death that comes first."""
    rows: list[tuple[str, str, tuple[str, str] | None]] = []
    run = ""
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("## "):
            run = RUNS[line.removeprefix("## ")]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            first = None
            if run == "recovery":
                when, _, step = cells[1].partition(" ")
                first = step.strip("`"), when
            rows += [(run, step, first) for step in _spelled_out(cells[0].strip("`"))]
    return rows


def undocumented(told: Iterable[str]) -> list[str]:
    """Return those of the steps that do not stand on the page."""
    patterns = [step for _, step, _ in documented()]
    return [step for step in told if not any(fnmatchcase(step, pattern) for pattern in patterns)]


def deaths() -> list[Death]:
    """Return every death that is tried: each step in both forms, but a flush in one."""
    rows = documented()
    found = {step: (run, first) for run, step, first in reversed(rows)}

    def death(run: str, step: str, when: str, first: tuple[str, str] | None) -> Death:
        if first is None:
            return Death(run, step, when)
        earlier_run, earlier_first = found[first[0]]
        return Death(run, step, when, death(earlier_run, *first, earlier_first))

    made: list[Death] = []
    for run, step, first in rows:
        if run == "trouble":
            continue
        verb = step.partition(": ")[2].split()[0]
        repeats = run in ("unfit", "failing") or "out/processed/" in step
        if not ALL and repeats and verb not in ("commit", "link", "mkdir"):
            continue
        forms = (AFTER,) if verb == "fsync" and not ALL else (BEFORE, AFTER)
        made += [death(run, step, when, first) for when in forms]
    return made
