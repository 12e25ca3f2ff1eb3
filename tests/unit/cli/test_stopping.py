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
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with stop_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
