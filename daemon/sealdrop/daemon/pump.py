"""The loop that every worker runs: claim what is due, work on it, wait until more is due.

Waiting documents hold no thread: they are ledger rows with a due time. A pump sleeps until the next one is due, or
until somebody wakes it because a document has reached its state. To look costs a query, so nobody is woken for what
another one will take: of several pumps that do the same work (a `Team`) one is woken, for when something is due. Before
that one begins to work, it has another look at what is due next.
"""

import math
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
    ``call_help`` is called with the seconds until more is due than was claimed: this pump may be at work by then.
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
        call_help: Callable[[float], None] = lambda _: None,
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
        self._call_help = call_help
        self._sleep = threading.Condition()
        self._look_at = 0.0  # monotonic; under the condition's lock
        self._stopping = threading.Event()
        self.is_asleep = False
        self._thread = NamedThread(self._run, name)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def unsettled(self) -> Sequence[Document]:
        """What was claimed, and neither worked on to its end nor given back. To be asked once the thread has ended."""
        return self._unsettled

    def wake(self, in_s: float = 0.0) -> None:
        """Say that something may be due in so many seconds."""
        with self._sleep:
            look_at = self._clock.monotonic() + in_s
            if look_at < self._look_at:
                self._look_at = look_at
                self._sleep.notify()

    def stop(self) -> None:
        """Claim nothing any more; what is being worked on is finished."""
        self._stopping.set()
        with self._sleep:
            self._sleep.notify()

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
            with self._sleep:
                self._look_at = math.inf
            self.progress.step()
            sleep_s = self.turn()
            if sleep_s > 0:
                self._sleep_for(sleep_s)

    def _sleep_for(self, sleep_s: float) -> None:
        """Sleep so long, or until an earlier moment for which somebody wakes this pump, be it by now."""
        with self.progress.waiting("more to do", sleep_s), self._sleep:
            self._look_at = min(self._look_at, self._clock.monotonic() + sleep_s)
            self.is_asleep = True
            while not self._stopping.is_set() and (left_s := self._look_at - self._clock.monotonic()) > 0:
                if not self._sleep.wait(left_s):
                    break
            self.is_asleep = False

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
        next_due_s = None
        if claimed.next_due_at is not None:
            next_due_s = (claimed.next_due_at - self._clock.now()) / timedelta(seconds=1)
        if claimed.documents:
            if next_due_s is not None:
                self._call_help(max(next_due_s, 0.0))
            self._unsettled = claimed.documents
            self._work(claimed.documents)
            self._unsettled = ()
            return 0.0
        return LONGEST_SLEEP_S if next_due_s is None else max(next_due_s, 0.001)


class Team:
    """Pumps that do the same work: whatever is due, any of them will do. ``pumps`` are added before they start."""

    def __init__(self) -> None:
        self.pumps: list[Pump] = []

    def wake(self, in_s: float = 0.0) -> None:
        """Have one that sleeps look in so many seconds; where none does, each looks once it is done."""
        asleep = next((pump for pump in self.pumps if pump.is_asleep), None)
        for pump in self.pumps if asleep is None else (asleep,):
            pump.wake(in_s)

    @property
    def is_working(self) -> bool:
        """Whether not all of them have ended."""
        return not all(pump.join(0.0) for pump in self.pumps)
