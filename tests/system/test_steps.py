"""The service dies at every durable step there is, before and after it, and comes back: nothing is lost or doubled.

The steps are read from docs/crashes.md, which also says what recovery does at each; a step that the code takes and that
does not stand there fails a test, and so does one that stands there and never comes. ``SEALDROP_TEST_STEPS=all`` tries
the making of each file in the rejected and failed folders, too, which is the same code as for outbound.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rounds import Death, Rounds
from sealdrop.sandbox.pki import Pki
from steps import AFTER, BEFORE, Nursery

DOCUMENT = Path(__file__).parents[2] / "docs" / "crashes.md"
PARTS = 8  # that xdist may share out
RUNS = {
    "The first start": "first start",
    "Every start": "start",
    "A document that is sealed": "good",
    "A document that is turned away": "unfit",
    "A document whose seal does not pass": "failing",
    "A stop": "stop",
    "Recovery": "recovery",
}
_BRACES = re.compile(r"(.*)\{([^}]*)\}(.*)")
_ENOUGH = 20  # documents until each step that depends on chance has been seen


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


def deaths() -> list[Death]:
    """Return every death that is tried: each step in both forms."""
    rows = documented()
    found = {step: (run, first) for run, step, first in reversed(rows)}

    def death(run: str, step: str, when: str, first: tuple[str, str] | None) -> Death:
        if first is None:
            return Death(run, step, when)
        earlier_run, earlier_first = found[first[0]]
        return Death(run, step, when, death(earlier_run, *first, earlier_first))

    made: list[Death] = []
    for run, step, first in rows:
        if os.environ.get("SEALDROP_TEST_STEPS") != "all" and run in ("unfit", "failing"):
            verb = step.partition(": ")[2].split()[0]
            if verb not in ("commit", "link", "mkdir"):
                continue
        made += [death(run, step, when, first) for when in (BEFORE, AFTER)]
    return made


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder whose ``pki`` may be copied."""
    Pki.ensure(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    """Where services come from."""
    notes = tmp_path / "notes"
    notes.mkdir()
    with Nursery(notes) as running:
        yield running


def _steps() -> set[str]:
    return {step for _, step, _ in documented()}


def test_every_step_of_an_undisturbed_life_is_documented(tmp_path: Path, keys: Path, nursery: Nursery) -> None:
    """From the first start to a stop, with documents of all kinds: the steps are exactly those of docs/crashes.md."""
    due = {step for _, step, first in documented() if first is None}
    with Rounds(tmp_path, keys, nursery) as rounds:
        for _ in range(_ENOUGH):
            for kind in ("good", "unfit", "failing"):
                rounds.start()
                rounds.drop(kind)
                rounds.recover("undisturbed")
            rounds.stop(signal.SIGTERM)
            if due <= rounds.told:
                break
        assert rounds.told - _steps() == set(), "taken, and not in docs/crashes.md"
        assert due - rounds.told == set(), "in docs/crashes.md, and never taken"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_dying_at_any_step_loses_and_doubles_nothing(tmp_path: Path, keys: Path, nursery: Nursery, part: int) -> None:
    """Killed before and after each step, and started again: every document ends once, as it must."""
    told: set[str] = set()
    with ExitStack() as lasting:
        shared: Rounds | None = None
        for number, death in enumerate(deaths()[part::PARTS]):
            if death.run == "first start":
                with Rounds(tmp_path / f"first-{number}", keys, nursery) as rounds:
                    rounds.round(death)
                told |= rounds.told
            else:
                shared = shared or lasting.enter_context(Rounds(tmp_path / "shared", keys, nursery))
                shared.round(death)
        if shared is not None:
            told |= shared.told
    assert told - _steps() == set(), "taken, and not in docs/crashes.md"
