"""Which crew works, and how another one follows it when the configuration is read anew.

First everything is checked that a start would check, while the old crew works on. Then it takes no more work, and is
waited for, `service.grace_s` at most. What has not ended by then goes on by the old configuration (`crew`), with its
jails and connections, which are closed after it. The new crew begins at once. If anything speaks against the new
configuration after all, another crew goes on by the old one.
"""

import threading
from collections.abc import Callable, Iterator

from sealdrop.config import Config
from sealdrop.daemon.crew import Crew
from sealdrop.daemon.jails import TwoLimits
from sealdrop.daemon.lasting import Lasting
from sealdrop.daemon.locks import Locks
from sealdrop.daemon.means import Means
from sealdrop.daemon.progress import Progress, waiting
from sealdrop.daemon.startup import (
    addresses,
    check_configuration,
    check_folders,
    check_same_service,
    check_waiting,
    inbounds,
)
from sealdrop.errors import ConfigurationError, Fatal, Retryable

JOIN_S = 0.1  # between two looks whether the service is to stop


class Shifts:
    """The crew that works, and those that have something to finish."""

    def __init__(self, means: Means, locks: Locks, lasting: Lasting, limits: TwoLimits) -> None:
        self._locks = locks
        self._lasting = lasting
        self._limits = limits
        self._lock = threading.Lock()  # held while one crew takes the place of another, so that a stop sees both
        self._is_over = threading.Event()
        self._earlier: list[Crew] = []
        self.crew = Crew(means, lasting)

    def follow(self, config: Config, put_on_record: Callable[[], None]) -> bool:
        """Have a new crew work by ``config``; return whether it does: not if the service stops meanwhile.

        ``put_on_record`` is called when nothing speaks against it, and before anything is done by it.

        Raises:
            ConfigurationError: it cannot be used; the crew works on by the old one.
            SealdropError: the ledger cannot be used now; the same.
        """
        self.clear()
        with waiting("the folders of the new configuration", None):
            _check_unchanged(self.crew.config, config)
            check_configuration(config)
            check_folders(config)
            self._locks.take(config)
        try:
            means = Means(config, self._lasting.spool.root, self._limits, self._lasting.clock)
            try:
                self._check(config)
                return self._take_turns(means, put_on_record)
            finally:
                if self.crew.means is not means:
                    means.close()
        finally:
            self.clear()

    def _check(self, config: Config) -> None:
        check_waiting(config, self._lasting.ledger)
        check_same_service(config, self._lasting.ledger)

    def _take_turns(self, means: Means, put_on_record: Callable[[], None]) -> bool:
        old = self.crew
        with self._lock:
            if self._is_over.is_set():
                return False
            old.stop()
        grace_s = old.config.service.grace_s
        with waiting("workers to finish what they are at", grace_s):
            deadline = self._lasting.clock.monotonic() + grace_s
            while not old.join(JOIN_S) and self._lasting.clock.monotonic() < deadline and not self._is_over.is_set():
                continue
        with self._lock:
            if self._is_over.is_set():
                return False
            self._earlier.append(old)
            try:
                self._check(means.config)  # once more: the old crew has gone on meanwhile
                self._check_unfinished(means.config)
                # What waits for hours, a quota or a patience that have changed is looked at by the new crew at once. If
                # it comes to none, the old one puts it off again.
                self._lasting.ledger.hasten(self._lasting.clock.now())
                put_on_record()
                new = Crew(means, self._lasting, self._earlier)
                # Last: while the old crew may still go on, its addresses are those that a restart must keep to.
                self._lasting.ledger.keep_places(addresses(means.config), inbounds(means.config))
            except BaseException:
                self._begin(Crew(old.means, self._lasting, self._earlier))
                raise
            self._begin(new)
        self._lasting.troubles.forget_others(means.config)
        return True

    def _begin(self, crew: Crew) -> None:
        self.crew = crew
        try:
            crew.start()
        except Exception as error:
            raise Fatal("the workers cannot be started: no more threads?") from error

    def _check_unfinished(self, config: Config) -> None:
        """Pass if what an earlier crew may still take over, or send, has its folder and account in the configuration.

        And if that folder is where it was: two workers of one name must not write one list of notices, nor tell of one
        folder that it does not answer and that it does.

        Raises:
            ConfigurationError: it would be taken over, and wait for ever; or sent to one address, and asked for at
                another one; or two would be at work under one name.
        """
        problems = []
        for crew in self._earlier:
            for name in crew.taking_over():
                inbound = crew.config.folders[name].inbound
                hangs = f"its worker hangs in {inbound}, and may still take a file over; try again when it has ended"
                account = crew.config.folders[name].account
                if name not in config.folders:
                    problems.append(f"folders.{name}: missing, but {hangs}")
                elif config.folders[name].inbound != inbound:
                    problems.append(
                        f"folders.{name}.inbound: changed, but {hangs}; or restart the service, or give the new path a "
                        "folder of its own"
                    )
                elif account not in config.accounts:
                    problems.append(f"accounts.{account}: missing, but folder {name} needs it: {hangs}")
            for name in sorted(crew.calling() & config.accounts.keys()):
                address = crew.config.accounts[name].base_url
                if config.accounts[name].base_url != address:
                    hangs = f"a worker has not ended, and may still send documents to {address}; try again when it has"
                    problems.append(f"accounts.{name}.base_url: changed, but {hangs}")
        if problems:
            raise ConfigurationError(str(config.source), problems)

    def clear(self) -> None:
        """Give back what those who have ended could not settle, and close what nobody works with any more."""
        with self._lock:
            ended = [crew for crew in self._earlier if crew.join(0.0) and self._has_given_back(crew)]
            self._earlier = [crew for crew in self._earlier if crew not in ended]
            used = [self.crew.means, *(crew.means for crew in self._earlier)]
            if not self._earlier:
                self._locks.keep(self.crew.config)
        for crew in ended:
            if crew.means not in used:
                crew.means.close()

    def _has_given_back(self, crew: Crew) -> bool:
        """Make due again what an ended crew claimed and could not settle; return whether that could be written."""
        unsettled = crew.unsettled()
        if unsettled:
            try:
                self._lasting.ledger.give_up_leases(unsettled)
            except Retryable:
                return False  # at the next look, or when the lease ends
            self.crew.make_up()
        return True

    def progress(self) -> Iterator[Progress]:
        """Yield what each worker is at."""
        for crew in [self.crew, *self._earlier]:
            yield from crew.progress()

    def stop(self, grace_s: float) -> list[str]:
        """Take no more work, and wait for what runs; return the names of the workers that have not ended in time."""
        with self._lock:
            self._is_over.set()
            crews = [self.crew, *self._earlier]
        deadline = self._lasting.clock.monotonic() + grace_s
        for crew in crews:
            crew.stop()
        for crew in crews:
            crew.join(max(0.0, deadline - self._lasting.clock.monotonic()))
        working = [name for crew in crews for name in crew.working()]
        for crew in crews:
            crew.means.jails.close()
        return working

    def close(self) -> None:
        """Close everything; nobody may be at work any more."""
        for crew in [self.crew, *self._earlier]:
            crew.means.close()


def _check_unchanged(old: Config, new: Config) -> None:
    """Pass if the configurations differ only in what can be changed while the service runs.

    Raises:
        ConfigurationError: they differ in more.
    """
    if new.service.state_dir != old.service.state_dir:
        problem = f"service.state_dir: cannot be changed while the service runs, from {old.service.state_dir}"
        raise ConfigurationError(str(new.source), [problem])
