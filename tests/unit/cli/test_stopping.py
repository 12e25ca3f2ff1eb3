"""Waiting for somebody to say stop."""

import os
import signal
import threading

import pytest

from sealdrop.cli.stopping import STOP_SIGNALS, stop_signals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_another_thread_receives_wakes_the_main_one(number: signal.Signals) -> None:
    """The kernel may hand a signal to any thread; the main one, asleep, still learns of it at once."""
    ready, done = threading.Event(), threading.Event()

    def receive() -> None:
        ready.wait(30)
        signal.pthread_kill(threading.get_ident(), number)
        done.wait(30)

    thread = threading.Thread(target=receive)
    with stop_signals() as stop:
        assert not stop.wait(timeout_s=0)
        thread.start()
        ready.set()
        try:
            assert stop.wait(timeout_s=30)
        finally:
            done.set()
            thread.join()
        assert stop.wait(timeout_s=0)  # a wish stays


def test_another_thread_may_ask() -> None:
    """A worker that finds that nothing may go on ends the wait; asking often does no harm."""
    with stop_signals() as stop:
        thread = threading.Thread(target=lambda: [stop.ask() for _ in range(100_000)])
        thread.start()
        assert stop.wait(timeout_s=30)
        thread.join()


def test_handlers_are_put_back() -> None:
    """After the block signals do what they did before."""
    numbers = (*STOP_SIGNALS, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with stop_signals(hangup="reload"):
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) != before[-1]
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_reload_is_wished_for_once_and_a_stop_comes_first() -> None:
    """Signals to reload that came together are one wish; a stop is heard whatever else is wished for."""
    with stop_signals(hangup="reload") as wishes:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert wishes.wait_for_either()
        assert not wishes.wait(timeout_s=0)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not wishes.wait_for_either()
        assert wishes.wait(timeout_s=0)


def test_a_stop_is_heard_among_very_many_wishes_to_reload() -> None:
    """The pipe that wakes us holds only so much; what is lost in it is the waking, not the wish."""
    with stop_signals(hangup="reload") as wishes:
        for _ in range(100_000):
            wishes.ask_reload()
        os.kill(os.getpid(), signal.SIGTERM)
        assert wishes.wait(timeout_s=30)


def test_a_signal_to_reload_that_another_thread_receives_wakes_the_main_one() -> None:
    """As for a stop: whichever thread the kernel gives it to."""
    done = threading.Event()

    def receive() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        done.wait(30)

    with stop_signals(hangup="reload") as wishes:
        thread = threading.Thread(target=receive)
        thread.start()
        assert wishes.wait_for_either()
        done.set()
        thread.join()


def test_a_closed_terminal_is_a_stop() -> None:
    """Where it is told so, SIGHUP asks for a stop."""
    with stop_signals(hangup="stop") as wishes:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not wishes.wait_for_either()
        assert wishes.wait(timeout_s=0)
