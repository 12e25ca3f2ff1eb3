"""What happens by the clock."""

import logging
import threading

import pytest

from sealdrop.schedule import Schedule

PATIENCE_S = 30.0


def test_a_call_comes_at_once_and_again() -> None:
    """The first call does not wait for the interval; others follow."""
    calls = threading.Semaphore(0)
    once = threading.Event()
    schedule = Schedule()
    schedule.every(0.05, calls.release, name="often")
    schedule.every(86_400, once.set, name="daily")
    schedule.start()
    try:
        assert once.wait(PATIENCE_S)
        for _ in range(3):
            assert calls.acquire(timeout=PATIENCE_S)
    finally:
        schedule.stop()


def test_a_call_that_fails_is_called_again(caplog: pytest.LogCaptureFixture) -> None:
    """An error in one call ends neither the others nor the schedule."""
    calls = threading.Semaphore(0)

    def fail() -> None:
        calls.release()
        raise ValueError("not this time")

    schedule = Schedule()
    schedule.every(0.05, fail, name="failing")
    with caplog.at_level(logging.CRITICAL):
        schedule.start()
        try:
            for _ in range(3):
                assert calls.acquire(timeout=PATIENCE_S)
        finally:
            schedule.stop()


def test_everything_is_made_up_for_when_the_clock_was_set_back() -> None:
    """A call that would be hours away comes at once."""
    calls = threading.Semaphore(0)
    schedule = Schedule()
    schedule.every(86_400, calls.release, name="daily")
    schedule.start()
    try:
        assert calls.acquire(timeout=PATIENCE_S)
        schedule.make_up()
        assert calls.acquire(timeout=PATIENCE_S)
    finally:
        schedule.stop()


def test_stopping_is_no_fault_before_starting() -> None:
    """A service that fails while it starts can stop what it did not start."""
    schedule = Schedule()
    schedule.stop()
    schedule.start()
    schedule.stop()
    schedule.stop()
