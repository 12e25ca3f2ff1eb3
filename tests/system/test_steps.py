"""The service dies at every durable step there is, before and after it, and comes back: nothing is lost or doubled.

The steps are read from docs/crashes.md, which also says what recovery does at each; a step that the code takes and that
does not stand there fails a test, and so does one that stands there and never comes; `crash_steps` has the choice.
"""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from crash_steps import deaths, documented, undocumented
from rounds import Rounds
from steps import Nursery

PARTS = 8  # that xdist may share out
_ENOUGH = 20  # documents until each step that depends on chance has been seen


def test_every_step_of_an_undisturbed_life_is_documented(tmp_path: Path, keys: Path, nursery: Nursery) -> None:
    """From the first start to a stop, with documents of all kinds and a reload: exactly those of docs/crashes.md."""
    due = {step for run, step, first in documented() if first is None and run != "trouble"}
    with Rounds(tmp_path, keys, nursery) as rounds:
        for _ in range(_ENOUGH):
            for kind in ("good", "unfit", "failing"):
                rounds.start()
                rounds.drop(kind)
                rounds.recover("undisturbed")
            rounds.drop("retried")
            rounds.recover("failed")
            rounds.try_again()
            rounds.recover("tried again")
            rounds.reload()
            rounds.drop("good")
            rounds.recover("reloaded")
            rounds.stop(signal.SIGTERM)
            if due <= rounds.told:
                break
        assert undocumented(rounds.told) == [], "taken, and not in docs/crashes.md"
        assert due - rounds.told == set(), "in docs/crashes.md, and never taken"


_CALLER_THAT_IS_GONE = """
import multiprocessing, os, socket
from multiprocessing import forkserver
from steps import ensure_fork_server

ensure_fork_server()
for _ in range(3):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(forkserver._forkserver._forkserver_address)
forkserver._forkserver.ensure_running = lambda: None
forkserver.ensure_running = lambda: None
child = multiprocessing.get_context("forkserver").Process(target=os.getpid)
child.start()
child.join()
print(child.exitcode)
"""


def test_the_fork_server_outlives_a_service_that_is_killed_while_it_calls() -> None:
    """What the tests' services share goes on when one is gone that had only connected, and the next one is served."""
    ended = subprocess.run(
        [sys.executable, "-c", _CALLER_THAT_IS_GONE],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("0\n", "")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_dying_at_any_step_loses_and_doubles_nothing(tmp_path: Path, keys: Path, nursery: Nursery, part: int) -> None:
    """Killed before and after each step, by a flush once, and started again: every document ends once, as it must."""
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
    assert undocumented(told) == [], "taken, and not in docs/crashes.md"
