"""Whoever looks after the workers: silent towards systemd only while one is stuck, and people are told why."""

import threading

import pytest

from documents import FakeClock
from running import PATIENCE_S, KeptLog
from sealdrop.daemon.attendance import LATE, LOOK_S, Attendance
from sealdrop.daemon.notify import Notifier
from sealdrop.daemon.progress import HELD_UP_S, STEP_S, Progress


class KeptNotifier(Notifier):
    """A way to systemd that keeps what is told."""

    def __init__(self, watchdog_s: float | None = None) -> None:
        super().__init__(watchdog_s=watchdog_s)
        self.told: list[str] = []

    def tell(self, *assignments: str) -> bool:
        """Keep it."""
        self.told += assignments
        return True

    def take(self) -> list[str]:
        """Return what was told since the last time."""
        told, self.told = self.told, []
        return told


class Place:
    """Two workers, one of which can be made to hang, and whoever looks after them."""

    def __init__(self) -> None:
        self.clock, self.log, self.notifier = FakeClock(), KeptLog(), KeptNotifier()
        self.workers = [Progress("good", self.clock), Progress("bad", self.clock)]
        self.figures = "0 in work"
        self.attendance = Attendance(lambda: self.workers, lambda: self.figures, self.notifier, self.clock, self.log)

    def go(self, seconds: float, *, bad: bool = False) -> list[str]:
        """Let time pass, from look to look; the good worker makes its steps; return what was told."""
        for _ in range(int(seconds / LOOK_S)):
            self.clock.go(LOOK_S)
            self.workers[0].expect("a step", 0.0)
            if not bad:
                self.workers[1].expect("a step", 0.0)
            self.attendance.look()
        return self.notifier.take()


@pytest.fixture
def place() -> Place:
    """A place where all is well."""
    return Place()


def test_all_is_well(place: Place) -> None:
    """Every look is told to systemd, the figures only when they change."""
    assert place.go(3 * LOOK_S) == ["WATCHDOG=1", "STATUS=0 in work", "WATCHDOG=1", "WATCHDOG=1"]
    place.figures = "1 in work"
    assert place.go(LOOK_S) == ["WATCHDOG=1", "STATUS=1 in work"]


def test_one_stuck_worker_silences_it_and_is_told_of_once(place: Place) -> None:
    """While a worker is stuck systemd hears nothing but a status, and its stack is logged once; freed, all is well."""
    began, done = threading.Event(), threading.Event()

    def in_its_own_work() -> None:
        with place.workers[1].attended():
            began.set()
            done.wait(PATIENCE_S)

    thread = threading.Thread(target=in_its_own_work)
    thread.start()
    assert began.wait(PATIENCE_S)
    assert "WATCHDOG=1" in place.go(STEP_S, bad=True)
    told = place.go(60, bad=True)
    assert told == ["STATUS=STUCK: bad; 0 in work"]
    (stuck,) = place.log.events("worker_stuck")
    assert (stuck["worker"], stuck["at"]) == ("bad", "its own work")
    assert "in in_its_own_work" in str(stuck["stack"])
    place.workers[1].step()
    assert place.go(LOOK_S, bad=True) == ["WATCHDOG=1", "STATUS=0 in work"]
    done.set()
    thread.join(PATIENCE_S)


def test_a_share_that_hangs_is_a_trouble_and_no_reason_to_be_killed(place: Place) -> None:
    """A worker that waits for somebody else's file system, for a day, is told of; systemd hears that all is well."""
    told: list[str] = []
    with place.workers[1].waiting("/srv/share", None, told.append):
        assert place.go(HELD_UP_S, bad=True).count("WATCHDOG=1") == HELD_UP_S / LOOK_S
        assert told == []
        place.go(86_400, bad=True)
    assert told[0] == "it has not answered for 65 s"
    assert place.notifier.take() == []
    assert place.log.lines == []


def test_a_wait_that_nobody_tells_of_is_in_the_status(place: Place) -> None:
    """A reload that hangs in a folder is seen in `systemctl status`, as long as it does."""
    with place.workers[1].waiting("the folders", None):
        told = place.go(HELD_UP_S + LOOK_S, bad=True)
    assert told[-2:] == ["WATCHDOG=1", "STATUS=bad waits for the folders; 0 in work"]
    assert place.go(LOOK_S) == ["WATCHDOG=1", "STATUS=0 in work"]


def test_a_process_that_was_held_up_blames_nobody(place: Place) -> None:
    """After the whole process stood still (a suspended machine), the workers get the time to make a step first."""
    place.go(LOOK_S)
    place.clock.go(STEP_S + LATE * LOOK_S + 1)
    place.attendance.look()
    assert place.notifier.take() == ["WATCHDOG=1"]
    place.go(LOOK_S)
    assert place.log.lines == []


def test_once_the_service_ends_nobody_is_judged(place: Place) -> None:
    """A stop has a time limit of its own, so systemd is told that all is well until it is over."""
    place.workers[1].expect("a step", 0.0)
    place.go(STEP_S + 60, bad=True)
    assert place.go(LOOK_S, bad=True) == []
    place.attendance.service_ends()
    assert place.go(LOOK_S, bad=True) == ["WATCHDOG=1"]


def test_figures_that_cannot_be_had_do_not_end_it(place: Place) -> None:
    """An error in the figures is told in their place."""

    def broken() -> str:
        raise ZeroDivisionError

    attendance = Attendance(lambda: (), broken, place.notifier, place.clock, place.log)
    attendance.look()
    assert place.notifier.take() == ["WATCHDOG=1", "STATUS=figures cannot be had: ZeroDivisionError"]


@pytest.mark.parametrize(("watchdog_s", "every_s"), [(None, LOOK_S), (60.0, LOOK_S), (4.0, 2.0)])
def test_it_looks_twice_as_often_as_systemd_asks(watchdog_s: float | None, every_s: float) -> None:
    """At half of the watchdog's time at the latest, as sd_watchdog_enabled(3) advises."""
    place = Place()
    notifier = KeptNotifier(watchdog_s)
    attendance = Attendance(lambda: (), lambda: "", notifier, place.clock, place.log)
    assert attendance._every_s == every_s
