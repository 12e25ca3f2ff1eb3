"""The power is cut at durable steps and at random moments: what was flushed is enough to go on from.

``SEALDROP_TEST_CUTS`` sets the number of cuts at random moments (8 unless told), ``SEALDROP_TEST_SEED`` the seed;
``SEALDROP_TEST_STEPS=all`` cuts the power before and after every step of docs/crashes.md, not only after some.
"""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from crash_steps import ALL, deaths
from power import Disks, NoLoop
from rounds import Death, Rounds
from steps import AFTER, Nursery

CUTS = int(os.environ.get("SEALDROP_TEST_CUTS", "8"))
SEED = int(os.environ.get("SEALDROP_TEST_SEED", "1"))
PARTS = 2  # that xdist may share out
# What the service relies on to be there: it goes on to remove, to send or to tell something.
RELIED_ON = (
    "_commit: commit document_received",
    "remove_original: rename in/dropped/SUB/.sealdrop-ID.tmp",
    "submit: commit submission_intended",
    "create: send POST",
    "sign: commit seal_intended",
    "sign: send POST",
    "_settle: commit document_sealed",
    "_write: link out/sealed/SUB/good.pdf",
    "_write: link out/sealed/SUB/good.pdf.receipt.json",
    "_commit: commit document_delivered",
    "_write: link out/processed/SUB/good.pdf",
    "_commit: commit original_kept",
    "_each: rmdir state/daemon/spool/XX/ID",
    "_commit: commit original_returned",
    "_write: pwrite state/daemon/audit/DAY.jsonl",
)
# What a restart finds in the kernel's memory, and could take for durable.
SEEN = (
    "take: rename state/daemon/spool/XX/ID/original.pdf",
    "_settle_aside: unlink in/dropped/SUB/.sealdrop-ID.tmp",
    "poll: replace state/daemon/spool/XX/ID/sealed-HEX.pdf",
    "_write: mkdir out/sealed/SUB",
    "_write: link out/sealed/SUB/good.pdf",
    "_write: link out/sealed/SUB/good.pdf.receipt.json",
    "_write: link out/rejected/SUB/unfit.pdf.reason.json",
    "_write: unlink out/sealed/SUB/.sealdrop-ID.tmp for good.pdf.receipt.json",
)


@contextmanager
def house(place: Path, keys: Path, nursery: Nursery) -> Iterator[tuple[Disks, Rounds]]:
    """A service on disks that can lose their power, with a sandbox that is elsewhere and loses nothing."""
    place.mkdir()
    try:
        with Disks(place / "house", place / "images") as disks, Rounds(disks.mounts, keys, nursery) as rounds:
            yield disks, rounds
    except NoLoop as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must be able to mount images: {error}")
        pytest.skip(str(error))


def _chosen(ends: Sequence[str], part: int) -> list[Death]:
    chosen = deaths() if ALL else [each for each in deaths() if each.when == AFTER and each.step.endswith(tuple(ends))]
    return [each for each in chosen if ALL or each.run != "recovery"][part::PARTS]


def _cut(disks: Disks, rounds: Rounds) -> None:
    """Kill the service, cut the power and start it again: all must be as it was."""
    rounds.stop(signal.SIGKILL)
    disks.cut()
    rounds.recover("after the power was cut when all was done")


@pytest.mark.usefixtures("root")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_power_cut_at_a_step_loses_and_doubles_nothing(
    tmp_path: Path, keys: Path, nursery: Nursery, part: int
) -> None:
    """With the service's death the power goes, and all that was not flushed: every document ends once, as it must."""
    with ExitStack() as lasting:
        shared: tuple[Disks, Rounds] | None = None
        for number, death in enumerate(_chosen(RELIED_ON, part)):
            if death.run == "first start":
                with house(tmp_path / f"first-{number}", keys, nursery) as (disks, rounds):
                    rounds.on_death = disks.cut
                    rounds.round(death)
            else:
                shared = shared or lasting.enter_context(house(tmp_path / "shared", keys, nursery))
                shared[1].on_death = shared[0].cut
                shared[1].round(death)


@pytest.mark.usefixtures("root")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_finished_after_a_crash_survives_a_power_cut(
    tmp_path: Path, keys: Path, nursery: Nursery, part: int
) -> None:
    """After a crash and its recovery the power is cut: nothing that was reported as done had still to be flushed."""
    with house(tmp_path / "shared", keys, nursery) as (disks, rounds):
        for death in _chosen(SEEN, part):
            if death.run != "first start":
                rounds.round(death)
                _cut(disks, rounds)


@pytest.mark.usefixtures("root")
@pytest.mark.timeout(120 + 20 * CUTS)
def test_power_cuts_at_random_moments_lose_and_double_nothing(tmp_path: Path, keys: Path, nursery: Nursery) -> None:
    """The power goes while documents are under way, again and again: in the end each has ended once, as it must."""
    rng, pause = random.Random(SEED), threading.Event()
    with house(tmp_path / "shared", keys, nursery) as (disks, rounds):
        rounds.recover("before the first cut")
        for _ in range(CUTS):
            rounds.start()
            for _ in range(rng.randint(1, 4)):
                rounds.drop(rng.choice(("good", "good", "good", "unfit")))
                pause.wait(rng.uniform(0.0, 0.4))
            rounds.stop(signal.SIGKILL)
            disks.cut()
        rounds.recover("after the last cut")
        _cut(disks, rounds)
        print(f"seed {SEED}: {CUTS} power cuts, {len(rounds.drops)} documents, 0 lost")  # noqa: T201


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("forgets", ["files", "folders"])
def test_a_service_that_forgets_to_flush_is_found_out(
    tmp_path: Path, keys: Path, nursery: Nursery, forgets: str
) -> None:
    """A service that does not flush its files, or their folders, loses something in the same tests."""
    with house(tmp_path / "shared", keys, nursery) as (disks, rounds):
        rounds.forgets = forgets
        rounds.on_death = disks.cut
        with pytest.raises(AssertionError, match=r"is missing|is not the one|ended by itself"):
            rounds.round(_death("_commit: commit document_delivered"))


@pytest.mark.usefixtures("root")
def test_what_a_killed_commit_left_is_durable_before_anything_follows_from_it(
    tmp_path: Path, keys: Path, nursery: Nursery
) -> None:
    """A commit that was written and not flushed counts after a restart, and is not gone after a power cut.

    By then the audit trail's files may have its record, and the service does not start with a ledger that has not.
    """
    with house(tmp_path / "shared", keys, nursery) as (disks, rounds):
        rounds.forgets = "ledger"  # its death after a commit is that of another one between the write and the flush
        rounds.recover("before")
        subprocess.run(["sync", "--file-system", disks.mounts / "state"], check=True)
        rounds.die(_death("_commit: commit document_received"))
        rounds.forgets = ""
        rounds.die(_death("_write: fsync state/daemon/audit/DAY.jsonl"))
        disks.cut()
        rounds.recover("after the power was cut")


def _death(end: str) -> Death:
    (found,) = (each for each in deaths() if each.when == AFTER and each.step.endswith(end) and each.run != "recovery")
    return found
