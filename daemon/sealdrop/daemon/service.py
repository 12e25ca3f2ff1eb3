"""The service as a whole: what it opens at the start, what lasts as long as it does, how it stops."""

import random
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial

from pydantic import JsonValue

from sealdrop import __version__
from sealdrop.audit.chain import link
from sealdrop.audit.trail import Trail
from sealdrop.clock import Clock, SystemClock
from sealdrop.config import Config
from sealdrop.daemon.attendance import Attendance
from sealdrop.daemon.clocktrust import ClockTrust
from sealdrop.daemon.clockwatch import ClockWatch
from sealdrop.daemon.figures import SinceStart, words
from sealdrop.daemon.health import STOP_S as HEALTH_STOP_S
from sealdrop.daemon.health import FailedStart, Health
from sealdrop.daemon.jails import TwoLimits
from sealdrop.daemon.lasting import Lasting
from sealdrop.daemon.locks import Locks
from sealdrop.daemon.means import Means
from sealdrop.daemon.notify import Notifier
from sealdrop.daemon.progress import Progress
from sealdrop.daemon.recorder import Listener, Recorder, TrailWriter, one_line
from sealdrop.daemon.reload import Reload, on_record
from sealdrop.daemon.shifts import Shifts
from sealdrop.daemon.startup import (
    addresses,
    audit_folder,
    check_configuration,
    check_folders,
    check_same_service,
    check_trail,
    check_waiting,
    inbounds,
    ledger_path,
)
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.durable import make_folder
from sealdrop.errors import Retryable, SealdropError
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.metrics.meter import Meter
from sealdrop.model import END_STATES, AuditHead, AuditRecord, Document, Event, State
from sealdrop.pdf.jail import Protection
from sealdrop.spool import Spool

TRAIL_STOP_S = 10.0
RELOAD_STOP_S = 5.0  # it looks several times a second whether the service stops, unless it hangs in a folder
STOP_SLACK_S = TRAIL_STOP_S + RELOAD_STOP_S + HEALTH_STOP_S + 2.0  # that a stop may take beyond the grace time
START_STEP_S = 600.0  # that one step of a start may take: a large ledger is brought forward, a large file hashed
START_TELL_S = 5.0


class Daemon:
    """Everything that `sealdrop run` runs. Used once: `start`, then `stop`.

    Raises:
        ConfigurationError: something that the configuration names is not as it must be; nothing was started.
        Fatal: what is on disk cannot be trusted; nothing was started.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        *,
        clock: Clock | None = None,
        limits: TwoLimits | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self._log = log
        self._clock = clock or SystemClock()
        self._notifier = notifier or Notifier()
        self._node = socket.gethostname()
        self._stopped_by: BaseException | None = None
        self._on_broken: Callable[[], None] = lambda: None
        self._notifier.may_take(START_STEP_S, "looking at the folders")
        check_configuration(config)
        check_folders(config)
        with ExitStack() as opened:
            locks = opened.enter_context(Locks())
            locks.take(config)
            opened.enter_context(FailedStart(config, self._node, self._clock, log))
            spool = Spool(config.service.state_dir / "spool")
            make_folder(spool.root, mode=0o700)
            limits = limits or TwoLimits()
            means = opened.enter_context(Means(config, spool.root, limits, self._clock))
            self._notifier.may_take(START_STEP_S, "opening ledger and audit trail")
            trail = Trail.open(audit_folder(config))
            self._was_cut_off = trail.ended_with() not in (None, EventName.SERVICE_STOPPED)
            self._ledger = opened.enter_context(Ledger.open(ledger_path(config), link=self._link, clock=self._clock))
            self._trail_writer = TrailWriter(self._ledger, trail, log, clock=self._clock, on_fatal=self._broken)
            check_trail(trail, self._ledger)
            self._trail_writer.flush()
            check_waiting(config, self._ledger)
            check_same_service(config, self._ledger)
            self._opened = opened.pop_all()
        self._recorder = Recorder(
            self._ledger, self._clock, log, on_stored=self._wake_next, on_record=self._trail_writer.wake
        )
        self._meter = Meter()
        self._recorder.follow(self._meter.recorded)
        self._started_at = self._clock.now()
        self._troubles = Troubles(self._node, self._ledger, self._clock, log)
        self._unclaimed = Unclaimed(spool, self._ledger, log)
        lasting = Lasting(
            self._node,
            spool,
            self._unclaimed,
            self._ledger,
            self._recorder,
            self._troubles,
            self._clock,
            ClockTrust(self._clock, self._ledger.audit_head().at),  # before this run puts anything on record
            self._meter,
            random.Random(),  # noqa: S311 - scatters retries, guards nothing
            log,
            broken=self._broken,
            on_record=self._trail_writer.wake,
        )
        self._under_way = lasting.under_way
        self._recorder.follow(self._under_way.recorded)
        self._shifts = Shifts(means, locks, lasting, limits)
        self._clock_watch = ClockWatch(self._clock, self._ledger, log, on_set_back=self._make_up)
        self._reload = Reload(
            self._shifts,
            self._recorder,
            self._notifier,
            self._clock,
            log,
            status=self._status,
            on_fatal=self._broken,
        )
        self._attendance = Attendance(self._progress, self._status, self._notifier, self._clock, log)
        self._since_start = SinceStart()
        self.listen(self._since_start.hear)
        self._health = self._new_health()
        self._health_changes = threading.Lock()
        self._is_ending = False

    @property
    def config(self) -> Config:
        """The configuration that is in force."""
        return self._shifts.crew.config

    def _link(self, head: AuditHead, at: datetime, document: str | None, event: Event) -> AuditRecord:
        return link(head, at, document, event, node=self._node)

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` called with every document that moves and the event; before `start` only."""
        self._recorder.listen(listener)

    def start(
        self, on_broken: Callable[[], None] = lambda: None, on_reloaded: Callable[[Config], None] = lambda _: None
    ) -> None:
        """Take up what the last run left and begin to work.

        ``on_broken`` is called if the service must stop itself, ``on_reloaded`` with a new configuration in force.
        """
        self._on_broken = on_broken
        self._notifier.may_take(START_STEP_S, "taking up what the last run left")
        self._tell_confinement()
        self._ledger.release_leases(self._node)
        # The clock may have been wrong in the last run: what was put off until a future that it saw would wait for it.
        self._ledger.hasten(self._clock.now())
        self._under_way.load(self._ledger.under_way())
        self._troubles.clear()
        self._ledger.keep_places(addresses(self.config), inbounds(self.config))
        self._recorder.note(EventName.SERVICE_STARTED, version=__version__, **on_record(self.config))
        # Nothing is removed or claimed before the files have taken this record: they and the ledger do agree.
        self._trail_writer.flush()
        self._unclaimed.clear_spool(self._tell_clearing())
        self._trail_writer.start()
        if self._was_cut_off:
            self._log.warning(EventName.UNCLEAN_STOP)
        self._shifts.crew.start()
        self._clock_watch.start()
        self._health.start(after_unclean_stop=self._was_cut_off)
        self._reload.start(partial(self._reloaded, on_reloaded))
        self._notifier.ready(self._status())
        self._attendance.start()

    def reload_soon(self) -> None:
        """Have the configuration read anew. It takes effect as a whole, if nothing speaks against it, or not at all."""
        self._reload.ask()

    def _reloaded(self, on_reloaded: Callable[[Config], None], config: Config) -> None:
        """Have what tells of the service do so by the new configuration, of the new crew."""
        with self._health_changes:
            if self._is_ending:
                return
            self._health.stop(0.0)  # what is urgent is told by the new one
            self._health = self._new_health(self._health)
            self._health.start(after_unclean_stop=False)
        on_reloaded(config)

    def _new_health(self, before: Health | None = None) -> Health:
        crew = self._shifts.crew
        return Health(
            self.config,
            self._node,
            self._started_at,
            self._ledger,
            self._troubles,
            self._meter,
            crew.inbound,
            crew.lines,
            crew.means.apis,
            self._clock,
            self._log,
            before,
        )

    def _tell_clearing(self) -> Callable[[int], None]:
        """Return what tells systemd, now and then, how far the spool has been looked through: it may hold very much."""
        told_at = float("-inf")

        def tell(documents: int) -> None:
            nonlocal told_at
            if self._clock.monotonic() - told_at >= START_TELL_S:
                told_at = self._clock.monotonic()
                self._notifier.may_take(START_STEP_S, f"looking through the spool: {documents} documents so far")

        return tell

    def _progress(self) -> list[Progress]:
        lasting = [self._trail_writer.progress, self._clock_watch.progress, self._reload.progress]
        return [*lasting, *self._shifts.progress()]

    def _status(self) -> str:
        troubles = self._troubles.present()
        try:
            now = self._clock.now()
            told = words(self.config, self._ledger.counts(), self._ledger.held(now), troubles, self._since_start, now)
        except Retryable as error:
            told = f"the ledger cannot be read: {one_line(error)}"
        refused = self._reload.refused
        return f"RELOAD REFUSED, the old configuration stays ({refused}); {told}" if refused else told

    def _tell_confinement(self) -> None:
        """Say what the children that read PDFs are kept from, and have one that is warm for the first document."""
        in_force = self._shifts.crew.means.jails.for_validating(suspects=False).confinement()
        missing = sorted(set(Protection) - in_force)
        tell = self._log.warning if missing else self._log.info
        tell(EventName.JAIL_CONFINED, in_force=sorted(in_force), missing=missing)

    def _wake_next(self, document: Document) -> None:
        """Wake the workers of the state that a document has reached, and the copies that have waited for its end."""
        if document.state in END_STATES:
            with suppress(Retryable):  # they look by themselves, if rarely
                if self._ledger.hasten_copies(document):
                    self._shifts.crew.wake_all(State.RECEIVED)
        self._shifts.crew.wake_next(document)

    def _make_up(self) -> None:
        """The clock was set back, and everything is due: let everybody look."""
        self._shifts.crew.make_up()

    def _broken(self, error: BaseException) -> None:
        """A worker found that what is on disk cannot be trusted: the service stops, for a person to look."""
        self._stopped_by = self._stopped_by or error
        self._log.error(EventName.SERVICE_BROKEN, error=one_line(error), exc_info=not isinstance(error, SealdropError))
        self._health.broken(error)
        self._on_broken()

    @property
    def stopped_by(self) -> BaseException | None:
        """What made the service stop itself, or None."""
        return self._stopped_by

    def stop(self) -> None:
        """Take no more work, let what runs finish within the grace time, and abandon the rest where it is safe.

        What is abandoned is under a lease and its last step is on record: the next start takes it up from there.
        """
        grace_s = self.config.service.grace_s
        self._log.info(EventName.SERVICE_STOPPING, grace_s=grace_s)
        self._notifier.stopping(grace_s + STOP_SLACK_S)
        self._attendance.service_ends()
        self._clock_watch.stop()
        self._reload.stop()
        abandoned = list[JsonValue](self._shifts.stop(grace_s))
        if not self._reload.join(RELOAD_STOP_S):
            abandoned.append("reload")
        with self._health_changes:
            self._is_ending = True
            self._health.stop()
        try:
            self._troubles.clear()
            self._recorder.note(EventName.SERVICE_STOPPED, abandoned=abandoned)
        except SealdropError as error:
            self._log.error(EventName.WORKER_TROUBLED, worker="stop", error=str(error))
        self._trail_writer.stop(TRAIL_STOP_S)
        self._attendance.stop()
        if not abandoned:  # else their threads still use it all; the end of the process closes it
            self._shifts.close()
            self._opened.close()
