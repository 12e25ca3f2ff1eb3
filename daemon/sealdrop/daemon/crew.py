"""All that works by one configuration: made as a whole, started, stopped, and followed by the next one.

A worker that does not end in time when its configuration is replaced goes on by it, alone: it finishes the call that it
is in, writes down what became of it, and ends. Nothing waits for it but what must not be done twice at a time:

- the documents that it holds, under its lease;
- the documents of its folder in its states, if it writes them into outbound, rejected, failed or processed: a share may
  hang for longer than any lease, and what is written when it answers again must not have been written by another
  meanwhile, be it elsewhere;
- its inbound folder, if it takes files over, or its successor could take the same file.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sealdrop.daemon.account import AccountWorker
from sealdrop.daemon.duties import CLAIM, duties, lease_s
from sealdrop.daemon.gate import Gate
from sealdrop.daemon.inbound import InboundWorker
from sealdrop.daemon.lasting import Lasting
from sealdrop.daemon.line import AccountLine
from sealdrop.daemon.means import Means
from sealdrop.daemon.outlet import Outlet
from sealdrop.daemon.progress import Progress
from sealdrop.daemon.pump import Pump, Team
from sealdrop.daemon.recorder import one_line
from sealdrop.daemon.retention import Retention
from sealdrop.daemon.room import Room
from sealdrop.daemon.stages import LocalStages
from sealdrop.daemon.throttle import Throttle
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Claimed
from sealdrop.model import Document, State
from sealdrop.schedule import Schedule

LOCAL_LEASE_S = 600.0  # longer than a worker honestly needs for what it claims
DAY_S = 60.0  # between two looks whether a day is over that nothing has closed yet
WISHES_S = 2.0  # between two looks for what another program has written into the ledger
PREDECESSOR_LOOK_S = 1.0
BEAT_S = 5.0  # between two signs of life of the schedule
# Where the documents of a state are written, each with a worker of its own: one that is full does not hold up another.
OUTLETS = {
    State.VERIFIED: "outbound",
    State.REJECTED: "rejected",
    State.FAILED: "failed",
    State.DELIVERED: "processed",
}


@dataclass(frozen=True, slots=True)
class _Work:
    """Which documents a team takes: those of the states, and of the account, folder and kind, if one is given."""

    states: tuple[State, ...]
    account: str | None
    folder: str | None
    suspect: bool | None

    def includes(self, document: Document) -> bool:
        return (
            document.state in self.states
            and self.account in (None, document.account)
            and self.folder in (None, document.folder)
            and self.suspect in (None, document.suspect)
        )


class Crew:
    """The workers of one configuration. Used once: `start`, then `stop` and `join`.

    ``inbound`` and ``lines`` are its workers and its accounts' calls, to look at. ``earlier`` are those of earlier
    configurations that may still have something to finish.
    """

    def __init__(self, means: Means, lasting: Lasting, earlier: Sequence["Crew"] = ()) -> None:
        self.means = means
        self.config = means.config
        self._lasting = lasting
        self._earlier = tuple(earlier)
        self._schedule = Schedule()
        self._beat = Progress("schedule", lasting.clock)
        self._calls: list[Progress] = []
        self._is_stopped = False
        self._pumps: list[Pump] = []
        self._teams: dict[_Work, Team] = {}
        self.inbound: list[InboundWorker] = []
        self.lines: list[AccountLine] = []
        self._room = Room(self.config.service.state_dir, self.config.service.min_free_mib, lasting.troubles)
        self._make_workers()

    def start(self) -> None:
        """Begin to work."""
        for worker in self._workers():
            worker.start()
        self._every(WISHES_S, self._look_for_wishes, "wishes")
        self._every(DAY_S, self._close_day, "day")
        self._sign_of_life()
        self._schedule.every(BEAT_S, self._sign_of_life, name="sign of life", alone=True)
        self._schedule.start()

    def stop(self) -> None:
        """Take no more work, and return at once; what runs is finished."""
        self._schedule.stop()
        self._is_stopped = True
        self._beat.dismiss()
        for worker in self._workers():
            worker.stop()
        for line in self.lines:
            line.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until all workers have ended, for so long at most in all; return whether they have."""
        deadline = self._lasting.clock.monotonic() + timeout_s
        return all(worker.join(max(0.0, deadline - self._lasting.clock.monotonic())) for worker in self._workers())

    def working(self) -> list[str]:
        """Return the names of the workers that have not ended."""
        inbound = [f"inbound {name}" for name in self.taking_over()]
        return [*inbound, *(pump.name for pump in self._pumps if not pump.join(0.0))]

    def taking_over(self) -> list[str]:
        """Return the names of the folders whose inbound workers have not ended."""
        return [worker.name for worker in self.inbound if not worker.join(0.0)]

    def calling(self) -> set[str]:
        """Return the names of the accounts that have workers which have not ended."""
        return {work.account for work, team in self._teams.items() if work.account is not None and team.is_working}

    def writes(self, folder: str, states: Sequence[State]) -> bool:
        """Return whether a worker that writes the folder's documents of one of these states has not ended."""
        writers = (
            team for work, team in self._teams.items() if work.folder == folder and set(states) & set(work.states)
        )
        return any(team.is_working for team in writers)

    def progress(self) -> list[Progress]:
        """Return what all workers, and all that is called by the clock, are at."""
        return [*(worker.progress for worker in self._workers()), *self._calls, self._beat]

    def make_up(self) -> None:
        """Let everybody look: everything may be due."""
        for pump in self._pumps:
            pump.wake()
        self._schedule.make_up()

    def wake_all(self, state: State) -> None:
        """Wake all workers of a state."""
        for work, team in self._teams.items():
            if state in work.states:
                team.wake()

    def wake_next(self, document: Document) -> None:
        """Have somebody look for a document that has reached its state, when it is due."""
        if document.due_at is None:
            return
        in_s = max((document.due_at - self._lasting.clock.now()) / timedelta(seconds=1), 0.0)
        for work, team in self._teams.items():
            if work.includes(document):
                team.wake(in_s)

    def _sign_of_life(self) -> None:
        self._beat.expect("the schedule's next sign of life", BEAT_S)
        if self._is_stopped:
            self._beat.dismiss()

    def _every(self, seconds: float, call: Callable[[], None], name: str) -> None:
        """Have something called by the clock that is watched like any worker."""
        progress = Progress(f"schedule {name}", self._lasting.clock)
        self._calls.append(progress)

        def watched() -> None:
            with progress.attended():
                try:
                    call()
                except Exception as error:  # noqa: BLE001 - it is called again
                    self._lasting.log.error(EventName.WORKER_TROUBLED, worker=progress.name, error=one_line(error))

        self._schedule.every(seconds, watched, name=name)

    def _workers(self) -> list[Pump | InboundWorker]:
        return [*self.inbound, *self._pumps]

    def unsettled(self) -> list[Document]:
        """Return what the workers, all of which have ended, claimed and could not write down the outcome of."""
        return [document for pump in self._pumps for document in pump.unsettled]

    def _look_for_wishes(self) -> None:
        """Wake those who fetch documents back, if somebody had `sealdrop retry` write a wish into the ledger."""
        try:
            if self._lasting.ledger.any_due(State.RETRYING, self._lasting.clock.now()):
                self._lasting.on_record()
                self.wake_all(State.RETRYING)
        except Retryable:
            return  # the pumps look by themselves, if less often

    def _close_day(self) -> None:
        """Close a day that is over, if nothing happened since that would have closed it."""
        with suppress(Retryable):  # whatever is put on record next closes it
            if self._lasting.ledger.close_day() is not None:
                self._lasting.on_record()

    # Making the workers.

    def _make_workers(self) -> None:
        lasting, jails = self._lasting, self.means.jails
        outlets = {
            (name, state): self._outlet(name, state)
            for name, folder in self.config.folders.items()
            for state, place in OUTLETS.items()
            if place in dict(folder.places())
        }
        stages = LocalStages(
            self.config,
            lasting.spool,
            jails,
            lasting.ledger,
            lasting.recorder,
            outlets,
            lasting.troubles,
            lasting.clock,
            lasting.rng,
            lasting.being_kept,
        )
        for number in range(self.config.service.inspectors):
            self._pump(f"validate {number}", stages.validate, State.RECEIVED, suspect=False)
            self._pump(f"verify {number}", stages.verify, State.SEALED, suspect=False)
        # One at a time: it may take all of its time, and what else is claimed would wait for it.
        self._pump("validate suspects", stages.validate, State.RECEIVED, suspect=True, limit=lambda: 1)
        self._pump("verify suspects", stages.verify, State.SEALED, suspect=True, limit=lambda: 1)
        for name in self.config.folders:
            self._make_folder_workers(name, outlets, stages)
        self._make_retention_worker(outlets)
        for name in self.config.accounts:
            self._make_account_workers(name)

    def _make_folder_workers(self, name: str, outlets: dict[tuple[str, State], Outlet], stages: LocalStages) -> None:
        for state, place in OUTLETS.items():
            if (name, state) not in outlets:
                continue
            states: tuple[State, ...] = (state,)
            if state is State.VERIFIED and (name, State.DELIVERED) not in outlets:
                # Some may be left from when originals were kept.
                states = (state, State.DELIVERED)
            if state is State.FAILED:
                # Whoever gives failed documents back fetches them too: no copy is fetched while it is being cleared.
                states = (state, State.RETRYING)
            closed_s = partial(self._closed_after_earlier_s, name, states, outlets[name, state].closed_s)
            self._pump(f"{place} {name}", stages.deliver, *states, folder=name, closed_s=closed_s)
        inbound = self._inbound_worker(name)
        self.inbound.append(inbound)
        self._every(self.config.folders[name].sweep_s, inbound.sweep, f"sweep {name}")

    def _make_retention_worker(self, outlets: dict[tuple[str, State], Outlet]) -> None:
        lasting = self._lasting
        retention = Retention(
            self.config,
            lasting.ledger,
            lasting.recorder,
            outlets,
            lasting.troubles,
            lasting.clock_trust,
            lasting.clock,
            lasting.log,
        )
        self._pumps.append(
            Pump(
                "retention",
                claim=retention.claim,
                give_up=lasting.ledger.give_up_kept,
                work=retention.work,
                clock=lasting.clock,
                log=lasting.log,
                on_fatal=lasting.broken,
                # Nothing is looked for in a folder that a worker of an earlier configuration may be writing into.
                closed_s=lambda: PREDECESSOR_LOOK_S if self._going_on() else 0.0,
            )
        )

    def _make_account_workers(self, name: str) -> None:
        account, lasting = self.config.accounts[name], self._lasting
        throttle = lasting.throttles.setdefault(name, Throttle(lasting.clock))
        line = AccountLine(name, account, lasting.clock, lasting.troubles, lasting.rng, lasting.meter.called, throttle)
        self.lines.append(line)
        sign_calls = lasting.sign_calls.setdefault(name, {})
        api = self.means.apis[name]
        gate = Gate(self.config, lasting.recorder, lasting.clock, lasting.log)
        worker = AccountWorker(
            line,
            self.config,
            api,
            lasting.spool,
            lasting.recorder,
            gate,
            lasting.troubles,
            lasting.clock,
            lasting.rng,
            sign_calls,
        )
        for duty in duties(worker, account):
            self._pump(
                duty.name,
                duty.work,
                *duty.states,
                account=name,
                limit=duty.limit,
                lease_s=lease_s(account),
                closed_s=partial(line.closed_s, *duty.needs),
            )

    def _outlet(self, name: str, state: State) -> Outlet:
        place = OUTLETS[state]
        path = dict(self.config.folders[name].places())[place]
        lasting, state_dir = self._lasting, self.config.service.state_dir
        return Outlet(name, place, path, state_dir, lasting.troubles, lasting.clock, lasting.mounts)

    def _inbound_worker(self, name: str) -> InboundWorker:
        lasting = self._lasting
        return InboundWorker(
            name,
            self.config,
            lasting.node,
            lasting.spool,
            lasting.unclaimed,
            lasting.ledger,
            lasting.recorder,
            lasting.troubles,
            self._room,
            lasting.under_way,
            lasting.clock,
            lasting.log,
            lasting.broken,
            lasting.mounts,
            is_free=partial(self._is_free, name),
        )

    def _going_on(self) -> tuple["Crew", ...]:
        """Return the earlier crews that have not ended."""
        self._earlier = tuple(crew for crew in self._earlier if not crew.join(0.0))
        return self._earlier

    def _is_free(self, name: str) -> bool:
        """Whether no earlier worker may still be taking a file over from the folder."""
        inbound = self.config.folders[name].inbound
        for crew in self._going_on():
            for worker in crew.taking_over():
                other = crew.config.folders[worker].inbound
                if inbound.is_relative_to(other) or other.is_relative_to(inbound):
                    return False
        return True

    def _closed_after_earlier_s(self, folder: str, states: Sequence[State], closed_s: Callable[[], float]) -> float:
        """Return for how long a worker must not begin, since an earlier one of its folder and states goes on."""
        if any(crew.writes(folder, states) for crew in self._going_on()):
            return PREDECESSOR_LOOK_S
        return closed_s()

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
        lasting = self._lasting

        def claim() -> Claimed:
            now = lasting.clock.now()
            return lasting.ledger.claim(
                *states, now=now, limit=limit(), lease_s=lease_s, account=account, folder=folder, suspect=suspect
            )

        team = self._teams.setdefault(_Work(states, account, folder, suspect), Team())
        pump = Pump(
            name,
            claim=claim,
            give_up=lasting.ledger.give_up_leases,
            work=work,
            clock=lasting.clock,
            log=lasting.log,
            on_fatal=lasting.broken,
            closed_s=closed_s,
            call_help=team.wake,
        )
        self._pumps.append(pump)
        team.pumps.append(pump)
