"""Everything that `sealdrop check` looks at, in the order in which it tells of it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sealdrop.checks import eyes
from sealdrop.checks.accounts import judge_account
from sealdrop.checks.anchors import judge_anchors
from sealdrop.checks.clocks import judge_keeping, judge_zone
from sealdrop.checks.eyes import Eyes, User
from sealdrop.checks.files import files_of, judge_alerts, judge_files
from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.folders import judge_access, judge_folder, judge_state, places_of
from sealdrop.checks.looking import Facts
from sealdrop.checks.outlets import judge_metrics
from sealdrop.checks.seals import judge_seals
from sealdrop.checks.settings import judge_settings
from sealdrop.checks.state import judge_ledger, judge_running
from sealdrop.checks.trail import judge_trail, skipped_trail
from sealdrop.clock import Clock
from sealdrop.config import Config

# What is being looked at, and how much of it is done, from 0 to 1 where that is known.
Tell = Callable[[str, float | None], None]
CALLS = 8  # accounts that are called at a time


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look at: with ``offline`` no network, without ``audit`` not the trail.

    ``user`` is whose rights count, None for the state directory's owner; ``look_s`` what each folder has to answer.
    """

    offline: bool = False
    audit: bool = True
    user: User | None = None
    look_s: float = eyes.LOOK_S


class Survey:
    """One look at everything. ``tell`` hears what is being looked at, for people who wait."""

    def __init__(self, config: Config, clock: Clock, wanted: Wanted, tell: Tell = lambda *_: None) -> None:
        self._config = config
        self._clock = clock
        self._wanted = wanted
        self._tell = tell

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is found, the good as well."""
        yield from judge_settings(self._config)
        self._tell("the folders", None)
        state_dir = self._config.service.state_dir
        others, user, whose = self._whose_eyes(Eyes(None, look_s=self._wanted.look_s).look_at([[state_dir]])[state_dir])
        yield whose
        facts = Eyes(others, look_s=self._wanted.look_s).look_at(self._places())
        yield from self._configuration_file(facts[self._config.source])
        yield from self._state(facts, user)
        yield from self._folders(facts, user)
        self._tell("the accounts", None)
        yield from self._accounts(facts, user)
        yield from judge_alerts(self._config)
        textfile = self._config.metrics.textfile
        yield from judge_metrics(self._config, None if textfile is None else facts[textfile.parent], user.name)
        yield from judge_keeping()
        yield judge_zone(self._config, self._clock.now())

    def _places(self) -> list[list[Path]]:
        """Return what to look at, in groups that may well hang together."""
        groups = [[self._config.source, self._config.service.state_dir]]
        groups += [[path for _, path in folder.places()] for folder in self._config.folders.values()]
        groups.append(list(dict.fromkeys(file.path for file in files_of(self._config))))
        if self._config.metrics.textfile is not None:
            groups.append([self._config.metrics.textfile.parent])
        return groups

    def _whose_eyes(self, state: Facts | None) -> tuple[User | None, User, Finding]:
        """Return whom to become for looking (None: nobody else), who that is then, and what is to be said of it."""
        me, subject, what = eyes.myself(), "service", "user"
        if self._wanted.user is not None:
            other = self._wanted.user
            return (None if other.uid == me.uid else other), other, Finding(subject, what, f"looked at as {other.name}")
        is_there = state is not None and not state.error
        owner = eyes.user_numbered(state.owner, state.group) if state is not None and is_there else None
        if me.uid == 0 and owner is not None and owner.uid != 0:
            return owner, owner, Finding(subject, what, f"looked at as {owner.name}, who owns the state directory")
        if me.uid == 0:
            text = "looked at as root: no other user owns the state directory"
            return None, me, Finding.of(Condition.RUNS_AS_ROOT, subject, what, text)
        if owner is not None and owner.uid != me.uid:
            text = f"looked at as {me.name}, while the state directory is {owner.name}'s"
            return None, me, Finding.of(Condition.OTHER_EYES, subject, what, text)
        return None, me, Finding(subject, what, f"looked at as {me.name}")

    def _configuration_file(self, facts: Facts | None) -> Iterator[Finding]:
        if facts is not None and facts.mode & 0o002:
            text = f"everybody on this machine may change {facts.path}: it has mode {facts.mode:04o}"
            yield Finding.of(Condition.CONFIGURATION_WRITABLE, "configuration", "file", text)

    def _state(self, facts: Mapping[Path, Facts | None], user: User) -> Iterator[Finding]:
        state_dir = self._config.service.state_dir
        known = facts[state_dir]
        may_create = self._config.service.create_folders
        fault = judge_access("service", "state_dir", known, user.name, may_create=may_create)
        if fault is not None or known is None:
            yield from filter(None, [fault])
            return
        yield from judge_state(self._config, known)
        yield from judge_running(self._config)
        self._tell("the ledger", None)
        yield from judge_ledger(self._config)
        yield from self._trail()

    def _trail(self) -> Iterator[Finding]:
        if not self._wanted.audit:
            yield skipped_trail()
            return
        days = max(1, sum(1 for _ in self._config.service.audit_folder.glob("*.jsonl")))
        read = count()
        yield from judge_trail(
            self._config, lambda path: self._tell(f"the audit trail, {path.stem}", next(read) / days)
        )

    def _folders(self, facts: Mapping[Path, Facts | None], user: User) -> Iterator[Finding]:
        may_create = self._config.service.create_folders
        for subject, key, path in places_of(self._config):
            if subject == "service":
                continue
            known = facts[path]
            fault = judge_access(subject, key, known, user.name, may_create=may_create)
            if fault is not None or known is None:
                yield from filter(None, [fault])
            else:
                name = subject.partition(" ")[2]
                yield from judge_folder(self._config, name, key, known, user)

    def _accounts(self, facts: Mapping[Path, Facts | None], user: User) -> Iterator[Finding]:
        yield from judge_files(self._config, facts, user.name)
        yield from judge_seals(self._config, facts, user.name)
        with ThreadPoolExecutor(CALLS) as threads:
            offline = self._wanted.offline

            def account(name: str) -> list[Finding]:
                return list(judge_account(self._config, name, self._clock, offline=offline))

            for name, found in zip(self._config.accounts, threads.map(account, self._config.accounts), strict=True):
                yield from found
                yield from judge_anchors(self._config, name, self._clock.now())
