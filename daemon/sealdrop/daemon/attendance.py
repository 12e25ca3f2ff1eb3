"""Whoever looks after the workers: tells systemd that all is well while it is, and people what is not.

Its own thread does nothing else, so that a reload or a slow disk is no reason to be silent. When it is silent because a
worker is stuck (`progress`), the worker's stack is in the log before systemd ends the service (WatchdogSec=): the next
start takes up everything from its last step.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Iterable

from sealdrop.clock import Clock
from sealdrop.daemon.notify import Notifier
from sealdrop.daemon.progress import Doing, Progress, Verdict
from sealdrop.events import EventName
from sealdrop.logs import Log
from sealdrop.threads import NamedThread

LOOK_S = 5.0
LATE = 4.0  # looks that were missed: then the whole process was held up, and nobody is to blame for that


class Attendance:
    """Looks at the ``workers`` every few seconds. ``status`` is asked for the line that tells what is being done."""

    def __init__(
        self,
        workers: Callable[[], Iterable[Progress]],
        status: Callable[[], str],
        notifier: Notifier,
        clock: Clock,
        log: Log,
    ) -> None:
        self._workers = workers
        self._status = status
        self._notifier = notifier
        self._clock = clock
        self._log = log
        self._every_s = min(LOOK_S, notifier.watchdog_s / 2 if notifier.watchdog_s is not None else LOOK_S)
        self._looked_at = clock.monotonic()
        self._told: dict[Progress, Doing] = {}
        self._held_up: dict[Progress, Doing] = {}
        self._said = ""
        self._is_ending = False
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "attendance")

    def start(self) -> None:
        """Begin to look."""
        self._looked_at = self._clock.monotonic()
        self._thread.start()

    def service_ends(self) -> None:
        """Say that the service ends, within a time of its own: from now on nobody is judged."""
        self._is_ending = True

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Look at everybody once; tell systemd and people."""
        now = self._clock.monotonic()
        is_late = now - self._looked_at > self._every_s * LATE
        self._looked_at = now
        is_anybody_stuck = False
        if not is_late and not self._is_ending:
            is_anybody_stuck = any([self._is_stuck(worker, now) for worker in list(self._workers())])  # noqa: C419 - all
        if not is_anybody_stuck:
            self._notifier.alive()
        self._tell_status()

    def _is_stuck(self, worker: Progress, now: float) -> bool:
        verdict, doing = worker.judged()
        if doing is None or verdict is not Verdict.HELD_UP:
            self._held_up.pop(worker, None)
        if doing is None or verdict is not Verdict.STUCK:
            self._told.pop(worker, None)
        if doing is None or verdict is Verdict.FINE:
            return False
        for_s = now - doing.since
        if verdict is Verdict.HELD_UP:
            self._held_up[worker] = doing
            if doing.tell is not None:
                doing.tell(f"it has not answered for {for_s:.0f} s")
            return False
        if self._told.get(worker) is not doing:
            self._told[worker] = doing
            stack = _stack(worker)
            self._log.error(EventName.WORKER_STUCK, worker=worker.name, at=doing.what, for_s=round(for_s), stack=stack)
        return True

    def _tell_status(self) -> None:
        try:
            status = self._status()
        except Exception as error:  # noqa: BLE001 - whoever looks after the others goes on
            status = f"figures cannot be had: {type(error).__name__}"
        stuck = [f"STUCK: {worker.name}" for worker in self._told]
        # Those that have nobody to tell it are told of here.
        held_up = [f"{worker.name} waits for {at.what}" for worker, at in self._held_up.items() if at.tell is None]
        status = "; ".join([*sorted(stuck), *sorted(held_up), status])
        if status != self._said:
            self._notifier.status(status)
            self._said = status

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.look()


def _stack(worker: Progress) -> str:
    """Return where the worker is: lines of code, no values."""
    frame = sys._current_frames().get(worker.ident or 0)  # noqa: SLF001 - what the standard library has for this
    return "".join(traceback.format_stack(frame)) if frame is not None else "its thread has ended"
