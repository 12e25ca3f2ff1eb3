"""What the service is doing, in one line for `systemctl status`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo

from sealdrop.config import Config
from sealdrop.daemon.line import NEEDED_BY, subject
from sealdrop.events import EventName
from sealdrop.ledger.reading import Held
from sealdrop.model import END_STATES, PRESSURE, Document, Event, State, Trouble

ENDS: Mapping[str, str] = {
    EventName.DOCUMENT_DELIVERED: "delivered",
    EventName.DOCUMENT_REJECTED: "rejected",
    EventName.DOCUMENT_FAILED: "failed",
}


class SinceStart:
    """How many documents have come to which end since the service started."""

    def __init__(self) -> None:
        self._ends = dict.fromkeys(ENDS.values(), 0)

    def hear(self, _: Document, event: Event) -> None:
        """Count a document's move. Called by worker threads, whose counts may meet: it is a figure, not a record."""
        end = ENDS.get(event.name)
        if end is not None:
            self._ends[end] += 1

    def words(self) -> str:
        """Return them in words; delivered ones always, others if there are any."""
        told = [f"{number} {end}" for end, number in self._ends.items() if number or end == "delivered"]
        return f"{', '.join(told)} since start"


def words(
    config: Config,
    counts: Mapping[str, Mapping[State, int]],
    held: Sequence[Held],
    troubles: Sequence[Trouble],
    since_start: SinceStart,
    now: datetime,
) -> str:
    """Return what is in work, what is held on purpose, what waits for whom, what else is wrong, what has been done."""
    counts = without_held(counts, held)
    waiting = dict(_waiting(config, counts, troubles))
    in_work = sum(number for states in counts.values() for state, number in states.items() if state not in END_STATES)
    parts = [f"{in_work - sum(waiting.values())} in work"]
    if held:
        first = min(each.until for each in held)
        number, until = sum(each.documents for each in held), _moment(first, now, config.service.zone())
        parts.append(f"{number} held for hours or quotas, the first until {until}")
    for trouble in troubles:
        if trouble.is_pressure:
            folder = trouble.subject.removeprefix(PRESSURE)
            parts.append(f"{folder} waits since {_moment(trouble.since, now, config.service.zone())}: {trouble.text}")
            continue
        number = waiting.get(trouble.subject, 0)
        told = f"{number} wait for {trouble.subject}, in trouble" if number else f"{trouble.subject} in trouble"
        parts.append(f"{told} since {_moment(trouble.since, now, config.service.zone())}")
    return ", ".join([*parts, since_start.words()])


def without_held(counts: Mapping[str, Mapping[State, int]], held: Sequence[Held]) -> Mapping[str, Mapping[State, int]]:
    """Return the counts without the documents that are held: nothing else has them wait."""
    rest = {folder: dict(states) for folder, states in counts.items()}
    for each in held:
        left, states = each.documents, rest.get(each.folder, {})
        for state in (State.VALIDATED, State.SUBMITTING):
            taken = min(left, states.get(state, 0))
            states[state] = states.get(state, 0) - taken
            left -= taken
    return rest


def _waiting(
    config: Config, counts: Mapping[str, Mapping[State, int]], troubles: Sequence[Trouble]
) -> Iterator[tuple[str, int]]:
    """Yield for each trouble how many documents wait for its end; each document is counted once."""
    counted: set[tuple[str, State]] = set()
    for trouble in troubles:
        held = {
            (folder, state)
            for folder, states in counts.items()
            for state in states
            if (folder, state) not in counted and _holds_up(trouble.subject, folder, state, config)
        }
        counted |= held
        yield trouble.subject, sum(counts[folder][state] for folder, state in held)


def _holds_up(named: str, folder: str, state: State, config: Config) -> bool:
    if state is State.VERIFIED:
        return named == f"folder {folder} outbound"
    if state is State.RETRYING:
        return named == f"folder {folder} failed"
    known = config.folders.get(folder)
    return known is not None and any(
        named == subject(known.account, operation) for operation, states in NEEDED_BY.items() if state in states
    )


def _moment(moment: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """Return a moment in local time, with its day if that is not today."""
    local = moment.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == now.astimezone(zone).date() else f"{local:%Y-%m-%d %H:%M}"
