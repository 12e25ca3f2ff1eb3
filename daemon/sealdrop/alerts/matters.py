"""What somebody is to be told, and what was: the pure core of alerts. Time is handed in, nothing is sent here.

Two shapes of news:

- A `Matter` lasts: a folder that is gone, a certificate that ends soon. Each channel is told when it has lasted for a
  while, now and then while it goes on, and once when it is over. What comes and goes within moments counts as one; what
  a channel could not be told before it was over is told in one piece.
- A `Happening` has no end: documents that failed, a stop that was none. They are gathered by kind, counted, the first
  few with their names, until a channel has been told.

Each kind is told of at most once an interval, so that neither a share that flaps nor a bad batch fills a mailbox. The
end of a matter is not held back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sealdrop.config import Alerts
from sealdrop.model import AlertKind

SETTLE = timedelta(minutes=2)  # that a matter must have been away to be over
# The same for what an earlier run met and this one has not yet: it may take several calls to meet it again.
RESTART = timedelta(minutes=15)
URGENT = frozenset({AlertKind.SERVICE_BROKEN, AlertKind.AUDIT_BROKEN})  # told at once: there may be no later


class Phase(StrEnum):
    """What is told of a matter."""

    BEGAN = "began"
    GOES_ON = "goes_on"
    OVER = "over"
    WAS = "was"  # it began and ended, and nobody could be told in between
    HAPPENED = "happened"


ENDS = frozenset({Phase.OVER, Phase.WAS})


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that is wrong at this moment. ``key`` tells it from others; ``waiting`` documents wait for its end.

    What ``repeats`` is told again as long as it lasts; the other is told again only when its text changes.
    """

    kind: AlertKind
    key: str
    since: datetime
    text: str
    waiting: int = 0
    repeats: bool = True


@dataclass(frozen=True, slots=True)
class Telling:
    """When a channel was last told of a matter, and what."""

    at: datetime
    phase: Phase
    text: str


@dataclass(frozen=True, slots=True)
class Matter:
    """Something that lasts or lasted; ``told`` has the last telling of each channel that was told."""

    kind: AlertKind
    key: str
    since: datetime
    text: str
    repeats: bool = True
    over_at: datetime | None = None
    told: Mapping[str, Telling] = field(default_factory=dict)

    def not_after(self, now: datetime) -> "Matter":
        """Return the same, with no moment in it that is still to come."""
        over_at = self.over_at and min(self.over_at, now)
        told = {channel: replace(telling, at=min(telling.at, now)) for channel, telling in self.told.items()}
        return replace(self, since=min(self.since, now), over_at=over_at, told=told)

    def phase(self, channel: str, now: datetime, rules: "Rules") -> Phase | None:
        """Return what the channel is to be told now, if anything."""
        told = self.told.get(channel)
        has_lasted = (self.over_at or now) - self.since >= rules.delay(self.kind)
        if self.over_at is not None:
            if told is None:
                return Phase.WAS if has_lasted else None
            return None if told.phase in ENDS else Phase.OVER
        if told is None or told.phase in ENDS:
            return Phase.BEGAN if has_lasted else None
        if not self.repeats:
            return Phase.BEGAN if told.text != self.text else None
        return Phase.GOES_ON if now - told.at >= rules.repeat else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the things that happened, by name; ``document`` is its ID, if it is one."""

    name: str
    detail: str
    document: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened, ``count`` times; ``shares`` counts by what they have in common; ``samples`` are the first few."""

    kind: AlertKind
    count: int
    first_at: datetime
    last_at: datetime
    shares: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    def joined(self, later: "Happening", names: int) -> "Happening":
        """Return both as one, with at most ``names`` samples."""
        keys = {**self.shares, **later.shares}
        return replace(
            self,
            count=self.count + later.count,
            first_at=min(self.first_at, later.first_at),
            last_at=max(self.last_at, later.last_at),
            shares={key: self.shares.get(key, 0) + later.shares.get(key, 0) for key in keys},
            samples=(self.samples + later.samples)[:names],
        )


@dataclass(frozen=True, slots=True)
class News:
    """One thing that a channel is to be told; ``waiting`` is the most documents that waited at a time."""

    kind: AlertKind
    phase: Phase
    key: str
    since: datetime
    until: datetime | None
    text: str
    waiting: int = 0
    happening: Happening | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How soon and how often; from the configuration."""

    delays: Mapping[AlertKind, timedelta]
    repeat: timedelta
    interval: timedelta
    names: int
    switched_off: frozenset[AlertKind]

    @classmethod
    def of(cls, config: Alerts) -> "Rules":
        """Return the rules that a configuration asks for."""
        delays = {
            AlertKind.SIGNAPI_UNREACHABLE: timedelta(minutes=config.signapi_minutes),
            AlertKind.FOLDER_UNAVAILABLE: timedelta(minutes=config.folder_minutes),
            AlertKind.DISK_LOW: timedelta(minutes=config.folder_minutes),
        }
        return cls(
            delays,
            timedelta(hours=config.repeat_hours),
            timedelta(minutes=config.interval_minutes),
            config.names,
            frozenset(config.switched_off),
        )

    def delay(self, kind: AlertKind) -> timedelta:
        """Return for how long a matter of that kind must have lasted."""
        return self.delays.get(kind, timedelta(0))


@dataclass
class Memory:
    """All that is known of what is to be told. ``seq`` is the newest failed document's that was taken note of.

    ``pending`` has, for each channel and kind, what happened; the first of two is being sent. ``last`` is when a
    channel was last told that something of a kind began or happened. Not for several threads at a time.
    """

    seq: int | None = None
    matters: dict[str, Matter] = field(default_factory=dict)
    pending: dict[str, dict[AlertKind, tuple[Happening, ...]]] = field(default_factory=dict)
    last: dict[str, dict[AlertKind, datetime]] = field(default_factory=dict)


class Book:
    """The memory at work: takes in what is observed and happens, says what is owed, takes note of what was told."""

    def __init__(self, memory: Memory, channels: Sequence[str], rules: Rules, began_at: datetime) -> None:
        self.memory = memory
        self._channels = channels
        self._rules = rules
        self._began_at = began_at
        # What is wrong at this moment; since the start of this run, when each matter was last met, and how many
        # documents waited for its end at most.
        self._present: frozenset[str] = frozenset()
        self._met: dict[str, datetime] = {}
        self._waited: dict[str, int] = {}
        self._sending: set[str] = set()
        self.go_on(channels, rules)

    def go_on(self, channels: Sequence[str], rules: Rules) -> None:
        """Go on for these channels, by these rules: what is known stays known, and what is being sent may be told.

        What a channel that is gone was not told of, one that is new is told.
        """
        self._channels, self._rules = channels, rules
        pending = self.memory.pending
        left = next((kinds for channel, kinds in pending.items() if channel not in channels), {})
        self.memory.pending = {channel: pending.get(channel, dict(left)) for channel in channels}
        self.memory.last = {channel: self.memory.last.get(channel, {}) for channel in channels}

    def observe(self, observations: Iterable[Observation], now: datetime) -> None:
        """Take note of everything that is wrong at this moment: what is known and not among it may be over."""
        self._catch_up(now)
        present = {each.key: each for each in observations if each.kind not in self._rules.switched_off}
        self._present = frozenset(present)
        for key, each in present.items():
            known = self.memory.matters.get(key)
            if known is None:
                known = Matter(each.kind, key, min(each.since, now), each.text, each.repeats)
                self._waited.pop(key, None)
            text = known.text if each.repeats and known.over_at is None else each.text
            self.memory.matters[key] = replace(known, text=text, repeats=each.repeats, over_at=None)
            self._met[key] = now
            self._waited[key] = max(each.waiting, self._waited.get(key, 0))
        for key in self.memory.matters.keys() - present.keys():
            matter = self._perhaps_over(self.memory.matters[key], now)
            self.memory.matters[key] = matter
            if matter.kind in self._rules.switched_off or self._is_closed(matter, now):
                del self.memory.matters[key]

    def _catch_up(self, now: datetime) -> None:
        """Take what was noted by a clock that was ahead, and has been set back, as noted now: else all would wait."""
        self._began_at = min(self._began_at, now)
        self._met = {key: min(met, now) for key, met in self._met.items()}
        self.memory.matters = {key: matter.not_after(now) for key, matter in self.memory.matters.items()}

    def _perhaps_over(self, matter: Matter, now: datetime) -> Matter:
        if matter.over_at is not None:
            return matter
        met = self._met.get(matter.key)
        if now - (met or self._began_at) < (RESTART if met is None else SETTLE):
            return matter
        return replace(matter, over_at=met or self._began_at)

    def _is_closed(self, matter: Matter, now: datetime) -> bool:
        """Whether it is over and nobody is to be told any more."""
        phases = (matter.phase(channel, now, self._rules) for channel in self._channels)
        return matter.over_at is not None and not any(phases)

    def happened(self, happening: Happening) -> None:
        """Take note of what happened, for every channel."""
        if happening.kind in self._rules.switched_off:
            return
        for channel in self._channels:
            kinds = self.memory.pending[channel]
            groups = kinds.get(happening.kind, ())
            settled = 1 if channel in self._sending else 0
            if len(groups) > settled:
                groups = (*groups[:-1], groups[-1].joined(happening, self._rules.names))
            else:
                groups = (*groups, replace(happening, samples=happening.samples[: self._rules.names]))
            kinds[happening.kind] = groups

    @property
    def is_urgent(self) -> bool:
        """Whether something happened that should be told before the service ends."""
        return any(not URGENT.isdisjoint(kinds) for kinds in self.memory.pending.values())

    def owed(self, channel: str, now: datetime) -> tuple[News, ...]:
        """Return all that the channel is to be told, if any of it may be told by now; else nothing.

        What came first is first.
        """
        self._sending.discard(channel)
        found = []
        for matter in self.memory.matters.values():
            phase = matter.phase(channel, now, self._rules)
            # What has gone an instant ago is not told of as lasting: it may be over.
            if phase in ENDS or (phase is not None and matter.key in self._present):
                waiting = self._waited.get(matter.key, 0)
                found.append(News(matter.kind, phase, matter.key, matter.since, matter.over_at, matter.text, waiting))
        for kind, groups in self.memory.pending[channel].items():
            together = groups[0]
            for later in groups[1:]:
                together = together.joined(later, self._rules.names)
            self.memory.pending[channel][kind] = (together,)
            since = together.first_at
            found.append(News(kind, Phase.HAPPENED, kind, since, together.last_at, "", happening=together))
        if not any(self._may_be_told(channel, news, now) for news in found):
            return ()
        return tuple(sorted(found, key=lambda news: (news.phase in ENDS, news.since, news.key)))

    def _may_be_told(self, channel: str, news: News, now: datetime) -> bool:
        if news.phase in ENDS or news.phase is Phase.GOES_ON:
            return True
        last = self.memory.last[channel].get(news.kind)
        # A clock that was set back must not keep anybody from being told.
        return last is None or now - last >= self._rules.interval or now < last

    def sending(self, channel: str) -> None:
        """Take note that what is owed is under way: what happens from now on is for the next message."""
        self._sending.add(channel)

    def told(self, channel: str, news: Iterable[News], now: datetime) -> None:
        """Take note that the channel was told all that; nobody may have it any more."""
        self._sending.discard(channel)
        if channel not in self._channels:
            return
        for each in news:
            if each.phase not in ENDS:
                self.memory.last[channel][each.kind] = now
            if each.happening is not None:
                rest = self.memory.pending[channel].pop(each.kind, ())[1:]
                if rest:
                    self.memory.pending[channel][each.kind] = rest
                continue
            matter = self.memory.matters.get(each.key)
            if matter is not None:
                telling = Telling(now, each.phase, each.text)
                self.memory.matters[each.key] = replace(matter, told={**matter.told, channel: telling})
