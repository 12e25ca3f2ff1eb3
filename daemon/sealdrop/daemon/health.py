"""How the service is, told to those who look after it: as figures, as alerts, and as troubles that no worker meets.

All of it belongs to one configuration, and none of it is needed for a document to go its way. So nobody watches these
threads as the workers' are watched: whatever hangs here, a mail server or a scraper, is no reason to end the service.

When the configuration is read anew, another one follows. It goes on where the first was: what was told is not told
again, and what lasts is not over.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType

from sealdrop.alerts.mail import MailChannel
from sealdrop.alerts.matters import Observation
from sealdrop.alerts.teller import LAST_WORDS_S, Teller
from sealdrop.alerts.webhook import WebhookChannel
from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.daemon.inbound import InboundWorker
from sealdrop.daemon.line import AccountLine
from sealdrop.daemon.lookout import STOP_S as LOOKOUT_STOP_S
from sealdrop.daemon.lookout import Lookout
from sealdrop.daemon.troubles import Told, Troubles
from sealdrop.errors import Fatal, Retryable
from sealdrop.events import EventName
from sealdrop.hours import local_day
from sealdrop.ledger.reading import LedgerReader
from sealdrop.logs import Log
from sealdrop.metrics.exporter import STOP_S as EXPORTER_STOP_S
from sealdrop.metrics.exporter import Exporter
from sealdrop.metrics.figures import LedgerFigures, Place, Sources
from sealdrop.metrics.meter import Meter
from sealdrop.model import END_STATES, AlertKind, State
from sealdrop.signapi.certificates import Role, Validity, validities
from sealdrop.signapi.client import SignApi

# Of these troubles somebody is told; of the others only the log and `sealdrop status` tell.
ALERTS: Mapping[EventName, AlertKind] = {
    EventName.ACCOUNT_UNREACHABLE: AlertKind.SIGNAPI_UNREACHABLE,
    EventName.FOLDER_UNREACHABLE: AlertKind.FOLDER_UNAVAILABLE,
    EventName.FOLDER_UNWRITABLE: AlertKind.FOLDER_UNAVAILABLE,
    EventName.ORIGINALS_STAY: AlertKind.ORIGINALS_STAY,
    EventName.DISK_LOW: AlertKind.DISK_LOW,
    EventName.DOCUMENT_LATE: AlertKind.DOCUMENT_LATE,
    EventName.VERIFICATION_BROKEN: AlertKind.DOCUMENT_STUCK,
    EventName.CERTIFICATE_EXPIRING: AlertKind.CERTIFICATE_EXPIRING,
    EventName.AUDIT_BEHIND: AlertKind.AUDIT_BROKEN,
}
_METRICS = "metrics"
_ALERTS_BY = "alerts by "
_CHANNELS = tuple(f"{_ALERTS_BY}{channel.name}" for channel in (MailChannel, WebhookChannel))
STOP_S = LOOKOUT_STOP_S + EXPORTER_STOP_S * 3 + LAST_WORDS_S  # the exporter's thread, its server, and the server's
_AT_SIGNAPI = (State.VALIDATED, State.SUBMITTING, State.SUBMITTED, State.SEALING, State.ARCHIVING)

Counts = Mapping[str, Mapping[State, int]]


class Health:
    """From `start` to `stop`, used once; ``before`` is the one of the configuration before, which was stopped.

    ``meter`` outlives it: it counts for as long as the process lives.
    """

    def __init__(
        self,
        config: Config,
        node: str,
        started_at: datetime,
        ledger: LedgerReader,
        troubles: Troubles,
        meter: Meter,
        inbound: Sequence[InboundWorker],
        lines: Sequence[AccountLine],
        apis: Mapping[str, SignApi],
        clock: Clock,
        log: Log,
        before: "Health | None" = None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._troubles = troubles
        self._inbound = inbound
        self._lines = lines
        self._apis = apis
        self._clock = clock
        # As they are in use: what replaces them on disk is read with the next configuration.
        self._certificates = {name: validities(account) for name, account in config.accounts.items()}
        meter.expect(config.folders)
        counted = before.lookout.counted if before is not None else None
        self.lookout: Lookout = Lookout(config, ledger, troubles, self.certificates, clock, log, counted)
        self._exporter = Exporter(
            config.metrics, meter, self._sources(), started_at, clock, on_trouble=self._metrics_trouble
        )
        observe = partial(observations, config, troubles, ledger.counts)
        teller = before.teller if before is not None else None
        self.teller: Teller = Teller(
            config, node, ledger, observe, clock, log, on_trouble=self._alerts_trouble, before=teller
        )
        if before is not None:
            self._forget_unwanted()

    def start(self, *, after_unclean_stop: bool) -> None:
        """Begin to tell; ``after_unclean_stop`` is whether the last run was cut off."""
        if after_unclean_stop:
            self.teller.unclean_stop()
        self.lookout.start()
        self._exporter.start()
        self.teller.start()

    def stop(self, last_words_s: float = LAST_WORDS_S) -> None:
        """Tell what is urgent, within ``last_words_s``, and no more; `STOP_S` is how long all of it takes at most."""
        self.lookout.stop()
        self._exporter.stop()
        self.teller.stop(last_words_s)

    def _forget_unwanted(self) -> None:
        """Forget what was wrong with telling where nobody is to be told any more."""
        unwanted = {subject for subject in _CHANNELS if subject.removeprefix(_ALERTS_BY) not in self.teller.channels}
        if not self._exporter.is_wanted:
            unwanted.add(_METRICS)
        self._troubles.forget(unwanted)

    def broken(self, error: BaseException) -> None:
        """Say that the service stops itself."""
        self.teller.broken(error)

    def certificates(self) -> Mapping[str, tuple[Validity, ...]]:
        """Return by account how long its certificates are valid, that of the service as it showed it last."""
        found = {}
        for name, known in self._certificates.items():
            until = self._apis[name].server_valid_until
            server = () if until is None else (Validity(Role.SERVER, self._config.accounts[name].base_url, until),)
            found[name] = (*known, *server)
        return found

    def _sources(self) -> Sources:
        return Sources(
            ledger=self._ledger_figures,
            unclaimed_s=self._unclaimed_s,
            out_of_reach=self._out_of_reach,
            certificates=self.certificates,
            troubles=lambda: sum(not each.is_pressure for each in self._troubles.present()),
            places=dict(_places(self._config)),
        )

    def _ledger_figures(self) -> LedgerFigures:
        now = self._clock.now()
        counts = self._ledger.counts()
        folders = {*self._config.folders, *counts}
        documents = {folder: {state: counts.get(folder, {}).get(state, 0) for state in State} for folder in folders}
        waiting = self._ledger.oldest_waiting(unheld_at=now)
        oldest = {folder: self.lookout.waits_since(each) for folder, each in waiting.items()}
        held = {(each.folder, each.hold): each.documents for each in self._ledger.held(now)}
        head, flushed = self._ledger.audit_head().seq, self._ledger.audit_flushed_head().seq
        return LedgerFigures(documents, oldest, held, self._quotas(now), head, flushed)

    def _quotas(self, now: datetime) -> Mapping[str, tuple[int, int]]:
        day = local_day(now, self._config.service.zone())
        quotas = {name: each.daily_quota for name, each in self._config.folders.items()}
        return {name: (self._ledger.sent_on(name, day), quota) for name, quota in quotas.items() if quota is not None}

    def _unclaimed_s(self) -> Mapping[str, float]:
        now = self._clock.monotonic()
        since = {worker.name: worker.waiting_since for worker in self._inbound}
        return {name: 0.0 if first is None else max(now - first, 0.0) for name, first in since.items()}

    def _out_of_reach(self) -> Mapping[tuple[str, str], bool]:
        found = {}
        for line in self._lines:
            for operation, is_out in line.out_of_reach().items():
                found[line.name, operation.value] = is_out
        return found

    def _metrics_trouble(self, problem: str | None) -> None:
        if problem is None:
            self._troubles.over(_METRICS, EventName.METRICS_AVAILABLE)
        else:
            self._troubles.tell(_METRICS, problem, EventName.METRICS_UNAVAILABLE, error=problem)

    def _alerts_trouble(self, channel: str, problem: str | None) -> None:
        subject = f"{_ALERTS_BY}{channel}"
        if problem is None:
            self._troubles.over(subject, EventName.ALERTS_WORK, channel=channel)
        else:
            text = f"what is to be told is kept until it can be: {problem}"
            self._troubles.tell(subject, text, EventName.ALERTS_FAIL, channel=channel, error=problem)


def _places(config: Config) -> Iterator[tuple[Place, Path]]:
    yield ("", "state_dir"), config.service.state_dir
    for name, folder in config.folders.items():
        for place, path in folder.places():
            yield (name, place), path


def observations(config: Config, troubles: Troubles, counts: Callable[[], Counts]) -> Iterable[Observation]:
    """Return the troubles of this moment as alerts know them.

    An account's operations are one matter, and so are all documents that cannot be examined.
    """
    found: dict[str, Observation] = {}
    waiting: Counts | None = None
    for told in sorted(troubles.told(), key=lambda each: each.trouble.since):
        kind = ALERTS.get(told.event)
        if kind is None:
            continue
        if waiting is None:
            try:
                waiting = counts()
            except Retryable:
                waiting = {}
        key, trouble = _key(kind, told), told.trouble
        repeats = kind is not AlertKind.CERTIFICATE_EXPIRING or told.fields.get("days") == 0
        each = Observation(kind, key, trouble.since, trouble.text, _waiting(config, told, waiting), repeats)
        first = found.setdefault(key, each)
        if kind is AlertKind.DOCUMENT_STUCK and first is not each:
            found[key] = replace(first, waiting=first.waiting + 1)
    return found.values()


def _key(kind: AlertKind, told: Told) -> str:
    if kind is AlertKind.SIGNAPI_UNREACHABLE:
        return f"account {told.fields['account']}"
    return "verification" if kind is AlertKind.DOCUMENT_STUCK else told.trouble.subject


def _waiting(config: Config, told: Told, counts: Counts) -> int:
    """Return how many documents wait for the end of a trouble, as far as can be told; 0 if it cannot."""
    if told.event is EventName.VERIFICATION_BROKEN:
        return 1
    account, folder = told.fields.get("account"), told.fields.get("folder")
    if account is not None:
        folders = [name for name, each in config.folders.items() if each.account == account]
        return sum(counts.get(name, {}).get(state, 0) for name in folders for state in _AT_SIGNAPI)
    if told.event is EventName.DOCUMENT_LATE:
        return sum(number for state, number in counts.get(str(folder), {}).items() if state not in END_STATES)
    if told.event is EventName.FOLDER_UNWRITABLE and told.fields.get("place") == "outbound":
        return counts.get(str(folder), {}).get(State.VERIFIED, 0)
    return 0


class FailedStart:
    """Tells that the service cannot start, if it is left with a fatal error; for an `ExitStack`."""

    def __init__(self, config: Config, node: str, clock: Clock, log: Log) -> None:
        self._config = config
        self._node = node
        self._clock = clock
        self._log = log

    def __enter__(self) -> None:
        """Wait for what comes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell it; whoever restarts the service again and again does not have it told each time."""
        if isinstance(error, Fatal):
            teller = Teller(self._config, self._node, None, tuple, self._clock, self._log)
            teller.last_words(error)
