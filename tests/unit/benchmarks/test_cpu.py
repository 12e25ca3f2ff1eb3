"""Who spends the CPU, as the benchmark tells it."""

import os
import subprocess
import sys
import threading
import time

import pytest
from cpu import Others, Spent, SpentByName, exact_s, parse, refined
from speed import REST, STAGES, by_stage

from sealdrop.threads import NamedThread

WORK_S = 0.05  # of CPU


def _work() -> None:
    while time.thread_time() < WORK_S:
        sum(range(1000))


def test_a_name_may_hold_what_looks_like_more_of_the_line() -> None:
    """What stands behind the last bracket counts, whatever a thread is called."""
    name, spent = parse("7 (room a) S 1 (b) S 1 7 7 0 -1 4194304 90 0 0 0 250 50 9 9 20 0 1 0")
    assert name == "room a) S 1 (b"
    assert (spent.user_s, spent.system_s) == pytest.approx((2.5, 0.5))


def test_threads_of_one_name_are_added_up() -> None:
    """Two threads that begin after the first look, under one name, are told as one sum."""
    busy_enough, release = threading.Barrier(3), threading.Event()
    watch = SpentByName(os.getpid())

    def busy() -> None:
        _work()
        busy_enough.wait(60)
        release.wait(60)

    threads = [NamedThread(busy, f"outbound {'x' * 20}{number}") for number in range(2)]
    watch.start()
    for thread in threads:
        thread.start()
    busy_enough.wait(60)
    spent = watch.end()
    release.set()
    assert spent["outbound xxxxxx"].total_s == pytest.approx(2 * WORK_S, abs=0.02)


def test_the_exact_sum_is_split_as_the_hundredths_are() -> None:
    """User and system keep their shares; what is too little for a hundredth counts as the user's."""
    found = refined(Spent(0.03, 0.01), "44000000 17 5")
    assert (found.user_s, found.system_s) == pytest.approx((0.033, 0.011))
    assert refined(Spent(), "9000000 0 1") == Spent(0.009, 0.0)


def test_each_name_is_in_one_stage_and_the_rest_is_what_is_left() -> None:
    """Workers, children of the same word and others are told apart; nothing is counted twice or lost."""
    spent = {
        "verify 0": Spent(1.0, 0.5),
        "verify 1": Spent(1.0, 0.5),
        "verify": Spent(8.0, 0.0),
        "poll bench 0": Spent(2.0, 1.0),
        "audit": Spent(0.5, 0.5),
        "auditor": Spent(64.0, 0.0),
        "sealdrop": Spent(1.0, 1.0),
    }
    total = Spent(100.0, 10.0)
    found = by_stage(spent, total, documents=10)
    assert found["verify, worker"] == Spent(0.2, 0.1)
    assert found["verify, child"] == Spent(0.8, 0.0)
    assert found["poll"] == Spent(0.2, 0.1)
    assert found["audit files"] == Spent(0.05, 0.05)
    assert list(found) == [*STAGES, REST]
    assert sum(each.total_s for each in found.values()) == pytest.approx(total.total_s / 10)


def test_what_has_a_part_is_not_counted_among_the_others() -> None:
    """The same busy process is one of the others where it is not named, and none where it is."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        without_it, with_it = Others(), Others()
        with without_it.watched(), with_it.watched(busy.pid):
            before_s = exact_s(busy.pid)
            while exact_s(busy.pid) - before_s < 2 * WORK_S:
                os.sched_yield()
        busy.kill()
    assert without_it.share > with_it.share


def test_cpu_time_is_told_to_the_nanosecond() -> None:
    """What a process is told to have spent is what it knows itself."""
    before_s = time.process_time()
    assert before_s <= exact_s(os.getpid()) <= time.process_time()
