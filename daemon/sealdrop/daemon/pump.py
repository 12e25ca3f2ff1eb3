"""The loop that every worker runs: claim what is due, work on it, wait until more is due.

Waiting documents hold no thread: they are ledger rows with a due time. A pump sleeps until the next one is due, or
until somebody wakes it because a document has reached its state.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from sealdrop.clock import Clock
from sealdrop.daemon.progress import Progress
from sealdrop.daemon.recorder import one_line
from sealdrop.errors import Fatal, SealdropError
from sealdrop.events import EventName
from sealdrop.ledger.store import Claimed
from sealdrop.logs import Log
from sealdrop.model import Document
from sealdrop.threads import NamedThread

LONGEST_SLEEP_S = 60.0
TROUBLED_SLEEP_S = 5.0


class Pump:
    """One worker thread.

    ``claim`` takes what is due under a lease; ``work`` records an outcome for each claimed document. Both may raise:
    a `Fatal` error ends the service, anything else is logged. Then ``give_up`` gives back what was claimed, before
    anything else is claimed: a document whose outcome could not be written down (a full disk) need not wait until its
    lease ends.
    ``closed_s`` says for how many seconds nothing may be claimed (what the work needs is out of reach), 0 if it may.
    """

    def __init__(
        self,
        name: str,
        *,
        claim: Callable[[], Claimed],
        give_up: Callable[[Sequence[Document]], None],
        work: Callable[[Sequence[Document]], None],
        clock: Clock,
        log: Log,
        on_fatal: Callable[[BaseException], None],
        closed_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.name = name
        self.progress = Progress(name, clock)
        self._claim = claim
        self._give_up = give_up
        self._unsettled: Sequence[Document] = ()
        self._work = work
        self._clock = clock
        self._log = log
        self._on_fatal = on_fatal
        self._closed_s = closed_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, name)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def unsettled(self) -> Sequence[Document]:
        """What was claimed, and neither worked on to its end nor given back. To be asked once the thread has ended."""
        return self._unsettled

    def wake(self) -> None:
        """Say that something may be due."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing any more; what is being worked on is finished."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread has ended; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self.progress.attended():
                self._work_until_stopped()
        except BaseException as error:  # noqa: BLE001 - a worker that ends unseen would leave its documents waiting
            self._on_fatal(error)

    def _work_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self.progress.step()
            sleep_s = self.turn()
            if sleep_s > 0 and not self._stopping.is_set():
                with self.progress.waiting("more to do", sleep_s):
                    self._wake.wait(sleep_s)

    def turn(self) -> float:
        """Do one round; return for how many seconds there is nothing more to do, unless somebody wakes the pump.

        Raises:
            Fatal: what is on disk cannot be trusted.
        """
        try:
            return min(self._turn(), LONGEST_SLEEP_S)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - a worker never dies of one document's trouble
            self._log.error(
                EventName.WORKER_TROUBLED,
                worker=self.name,
                error=one_line(error),
                exc_info=not isinstance(error, SealdropError),
            )
            return TROUBLED_SLEEP_S

    def _turn(self) -> float:
        closed_s = self._closed_s()
        if closed_s > 0:
            return closed_s
        if self._unsettled:
            self._give_up(self._unsettled)
            self._unsettled = ()
        claimed = self._claim()
        if claimed.documents:
            self._unsettled = claimed.documents
            self._work(claimed.documents)
            self._unsettled = ()
            return 0.0
        if claimed.next_due_at is None:
            return LONGEST_SLEEP_S
        return max((claimed.next_due_at - self._clock.now()) / timedelta(seconds=1), 0.001)
