"""The service as a whole: what it opens at the start, which workers it runs, how it stops."""

import random
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial

from pydantic import JsonValue

from sealdrop import __version__
from sealdrop.audit.chain import link
from sealdrop.audit.trail import Trail
from sealdrop.clock import Clock, SystemClock
from sealdrop.config import Config
from sealdrop.daemon.account import AccountWorker
from sealdrop.daemon.clockwatch import ClockWatch
from sealdrop.daemon.duties import CLAIM, duties, lease_s
from sealdrop.daemon.inbound import InboundWorker
from sealdrop.daemon.jails import Jails, TwoLimits
from sealdrop.daemon.line import AccountLine
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.pump import Pump
from sealdrop.daemon.recorder import Listener, Recorder, TrailWriter, one_line
from sealdrop.daemon.room import Room
from sealdrop.daemon.stages import LocalStages
from sealdrop.daemon.startup import (
    audit_folder,
    check_anchors,
    check_folders,
    check_trail,
    check_waiting,
    ledger_path,
    lock_all,
)
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.durable import make_folder
from sealdrop.errors import Retryable, SealdropError
from sealdrop.events import EventName
from sealdrop.ledger.store import Claimed, Ledger
from sealdrop.logs import Log
from sealdrop.model import END_STATES, AuditHead, AuditRecord, Document, Event, State
from sealdrop.pdf.jail import Protection
from sealdrop.schedule import Schedule
from sealdrop.signapi.client import SignApi
from sealdrop.spool import Spool

LOCAL_LEASE_S = 600.0  # longer than a worker honestly needs for what it claims
TRAIL_STOP_S = 10.0
DAY_S = 60.0  # between two looks whether a day is over that nothing has closed yet
WISHES_S = 2.0  # between two looks for what another program has written into the ledger
# Where the documents of a state are written, each with a worker of its own: one that is full does not hold up another.
OUTLETS = {State.VERIFIED: "outbound", State.REJECTED: "rejected", State.FAILED: "failed"}


class Daemon:
    """Everything that `sealdrop run` runs. Used once: `start`, then `stop`.

    Raises:
        ConfigurationError: something that the configuration names is not as it must be; nothing was started.
        Fatal: what is on disk cannot be trusted; nothing was started.
    """

    def __init__(
        self, config: Config, log: Log, *, clock: Clock | None = None, limits: TwoLimits | None = None
    ) -> None:
        self.config = config
        self._log = log
        self._clock = clock or SystemClock()
        self._rng = random.Random()  # noqa: S311 - scatters retries, guards nothing
        self._node = socket.gethostname()
        self._stopped_by: BaseException | None = None
        self._on_broken: Callable[[], None] = lambda: None
        check_folders(config)
        with ExitStack() as opened:
            opened.enter_context(lock_all(config))
            self._spool = Spool(config.service.state_dir / "spool")
            make_folder(self._spool.root, mode=0o700)
            self._jails = opened.enter_context(self._new_jails(limits or TwoLimits()))
            # It is warm then for the first seal.
            check_anchors(config, self._jails.for_verifying(suspects=False))
            trail = Trail.open(audit_folder(config))
            self._ledger = opened.enter_context(Ledger.open(ledger_path(config), link=self._link, clock=self._clock))
            self._trail_writer = TrailWriter(self._ledger, trail, log, on_fatal=self._broken)
            check_trail(trail, self._ledger)
            self._trail_writer.flush()
            check_waiting(config, self._ledger)
            self._unclaimed = Unclaimed(self._spool, self._ledger, log)
            self._apis = {name: opened.enter_context(self._api(name)) for name in config.accounts}
            self._opened = opened.pop_all()
        self._recorder = Recorder(
            self._ledger, self._clock, log, on_stored=self._wake_next, on_record=self._trail_writer.wake
        )
        self._troubles = Troubles(self._node, self._ledger, self._clock, log)
        self._room = Room(config.service.state_dir, config.service.min_free_mib, self._troubles)
        self._schedule = Schedule()
        self._clock_watch = ClockWatch(self._clock, self._ledger, log, on_set_back=self._make_up)
        self._pumps: list[Pump] = []
        self._waiting_for: dict[State, list[tuple[Pump, str | None, str | None, bool | None]]] = {}
        self._inbound: list[InboundWorker] = []

    def _link(self, head: AuditHead, at: datetime, document: str | None, event: Event) -> AuditRecord:
        return link(head, at, document, event, node=self._node)

    def _new_jails(self, limits: TwoLimits) -> Jails:
        anchors = sorted({path for account in self.config.accounts.values() for path in account.trust_anchors})
        return Jails(self.config.service.inspectors, limits, readable=[self._spool.root], anchors=anchors)

    def _api(self, name: str) -> SignApi:
        largest = self.config.largest_document_bytes(name)
        return SignApi(self.config.accounts[name], largest_document_bytes=largest, clock=self._clock)

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` called with every document that moves and the event; before `start` only."""
        self._recorder.listen(listener)

    def start(self, on_broken: Callable[[], None] = lambda: None) -> None:
        """Take up what the last run left and begin to work. ``on_broken`` is called if the service must stop itself."""
        self._on_broken = on_broken
        self._tell_confinement()
        self._ledger.release_leases(self._node)
        # The clock may have been wrong in the last run: what was put off until a future that it saw would wait for it.
        self._ledger.hasten(self._clock.now())
        self._troubles.clear()
        self._recorder.note(
            EventName.SERVICE_STARTED,
            version=__version__,
            accounts=list[JsonValue](sorted(self.config.accounts)),
            folders=list[JsonValue](sorted(self.config.folders)),
        )
        # Nothing is removed or claimed before the files have taken this record: they and the ledger do agree.
        self._trail_writer.flush()
        self._unclaimed.clear_spool()
        self._trail_writer.start()
        self._make_workers()
        for worker in self._workers():
            worker.start()
        self._schedule.every(DAY_S, self._close_day, name="day")
        self._schedule.every(WISHES_S, self._look_for_wishes, name="wishes")
        self._schedule.start()
        self._clock_watch.start()

    def _tell_confinement(self) -> None:
        """Say what the children that read PDFs are kept from, and have one that is warm for the first document."""
        in_force = self._jails.for_validating(suspects=False).confinement()
        missing = sorted(set(Protection) - in_force)
        tell = self._log.warning if missing else self._log.info
        tell(EventName.JAIL_CONFINED, in_force=sorted(in_force), missing=missing)

    def _workers(self) -> list[Pump | InboundWorker]:
        return [*self._inbound, *self._pumps]

    def _make_workers(self) -> None:
        outlets = {(name, state): self._outlet(name, state) for name in self.config.folders for state in OUTLETS}
        stages = LocalStages(
            self.config,
            self._spool,
            self._jails,
            self._ledger,
            self._recorder,
            outlets,
            self._troubles,
            self._clock,
            self._rng,
        )
        for number in range(self.config.service.inspectors):
            self._pump(f"validate {number}", stages.validate, State.RECEIVED, suspect=False)
            self._pump(f"verify {number}", stages.verify, State.SEALED, suspect=False)
        # One at a time: it may take all of its time, and what else is claimed would wait for it.
        self._pump("validate suspects", stages.validate, State.RECEIVED, suspect=True, limit=lambda: 1)
        self._pump("verify suspects", stages.verify, State.SEALED, suspect=True, limit=lambda: 1)
        for name, folder in self.config.folders.items():
            for state, place in OUTLETS.items():
                closed_s = outlets[name, state].closed_s
                # Whoever gives failed documents back fetches them too: no copy is fetched while it is being cleared.
                states = (state, State.RETRYING) if state is State.FAILED else (state,)
                self._pump(f"{place} {name}", stages.deliver, *states, folder=name, closed_s=closed_s)
            inbound = self._inbound_worker(name)
            self._inbound.append(inbound)
            self._schedule.every(folder.sweep_s, inbound.sweep, name=f"sweep {name}")
        for name, account in self.config.accounts.items():
            worker = self._account_worker(name)
            for duty in duties(worker, account):
                limit = partial(worker.line.share, duty.limit, *duty.needs)
                closed_s = partial(worker.line.closed_s, *duty.needs)
                self._pump(
                    duty.name,
                    duty.work,
                    *duty.states,
                    account=name,
                    limit=limit,
                    lease_s=lease_s(account),
                    closed_s=closed_s,
                )

    def _outlet(self, name: str, state: State) -> Outlet:
        place = OUTLETS[state]
        path = dict(self.config.folders[name].places())[place]
        return Outlet(name, place, path, self.config.service.state_dir, self._troubles, self._clock)

    def _inbound_worker(self, name: str) -> InboundWorker:
        return InboundWorker(
            name,
            self.config,
            self._node,
            self._spool,
            self._unclaimed,
            self._ledger,
            self._recorder,
            self._troubles,
            self._room,
            self._clock,
            self._log,
            self._broken,
        )

    def _account_worker(self, name: str) -> AccountWorker:
        line = AccountLine(name, self.config.accounts[name], self._clock, self._troubles, self._rng)
        return AccountWorker(line, self.config, self._apis[name], self._spool, self._recorder, self._clock, self._rng)

    def _pump(
        self,
        name: str,
        work: Callable[[Sequence[Document]], None],
        *states: State,
        folder: str | None = None,
        account: str | None = None,
        suspect: bool | None = None,
        limit: Callable[[], int] = lambda: CLAIM,
        lease_s: float = LOCAL_LEASE_S,
        closed_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        def claim() -> Claimed:
            now = self._clock.now()
            return self._ledger.claim(
                *states, now=now, limit=limit(), lease_s=lease_s, account=account, folder=folder, suspect=suspect
            )

        pump = Pump(
            name,
            claim=claim,
            give_up=self._ledger.give_up_leases,
            work=work,
            clock=self._clock,
            log=self._log,
            on_fatal=self._broken,
            closed_s=closed_s,
        )
        self._pumps.append(pump)
        for state in states:
            self._waiting_for.setdefault(state, []).append((pump, account, folder, suspect))

    def _look_for_wishes(self) -> None:
        """Wake those who fetch documents back, if somebody had `sealdrop retry` write a wish into the ledger."""
        try:
            if self._ledger.any_due(State.RETRYING, self._clock.now()):
                self._trail_writer.wake()
                self._wake_all(State.RETRYING)
        except Retryable:
            return  # the pumps look by themselves, if less often

    def _close_day(self) -> None:
        """Close a day that is over, if nothing happened since that would have closed it."""
        with suppress(Retryable):  # whatever is put on record next closes it
            if self._ledger.close_day() is not None:
                self._trail_writer.wake()

    def _wake_all(self, state: State) -> None:
        for pump, *_ in self._waiting_for[state]:
            pump.wake()

    def _wake_next(self, document: Document) -> None:
        """Wake the workers of the state that a document has reached, and the copies that have waited for its end."""
        if document.state in END_STATES:
            with suppress(Retryable):  # they look by themselves, if rarely
                if self._ledger.hasten_copies(document):
                    self._wake_all(State.RECEIVED)
        for pump, account, folder, suspect in self._waiting_for.get(document.state, ()):
            takes = account in (None, document.account) and folder in (None, document.folder)
            if takes and suspect in (None, document.suspect):
                pump.wake()

    def _make_up(self) -> None:
        """The clock was set back, and everything is due: let everybody look."""
        for pump in self._pumps:
            pump.wake()
        self._schedule.make_up()

    def _broken(self, error: BaseException) -> None:
        """A worker found that what is on disk cannot be trusted: the service stops, for a person to look."""
        self._stopped_by = self._stopped_by or error
        self._log.error(EventName.SERVICE_BROKEN, error=one_line(error), exc_info=not isinstance(error, SealdropError))
        self._on_broken()

    @property
    def stopped_by(self) -> BaseException | None:
        """What made the service stop itself, or None."""
        return self._stopped_by

    def stop(self) -> None:
        """Take no more work, let what runs finish within the grace time, and abandon the rest where it is safe.

        What is abandoned is under a lease and its last step is on record: the next start takes it up from there.
        """
        self._log.info(EventName.SERVICE_STOPPING, grace_s=self.config.service.grace_s)
        deadline = self._clock.monotonic() + self.config.service.grace_s
        self._clock_watch.stop()
        self._schedule.stop()
        workers = self._workers()
        for worker in workers:
            worker.stop()
        abandoned: list[JsonValue] = [
            worker.name for worker in workers if not worker.join(max(0.0, deadline - self._clock.monotonic()))
        ]
        self._jails.close()
        try:
            self._troubles.clear()
            self._recorder.note(EventName.SERVICE_STOPPED, abandoned=abandoned)
        except SealdropError as error:
            self._log.error(EventName.WORKER_TROUBLED, worker="stop", error=str(error))
        self._trail_writer.stop(TRAIL_STOP_S)
        if not abandoned:  # else their threads still use it all; the end of the process closes it
            self._opened.close()
