"""What one configuration needs opened before anything works by it: jails, and the lines to its accounts.

Opening it is a check as well: trust anchors, certificates and keys are all looked at, at the start of the service and
when its configuration is read anew. Whatever cannot be used is said at once and as a whole.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.daemon.jails import Jails, TwoLimits
from sealdrop.daemon.startup import anchor_problems
from sealdrop.errors import ConfigurationError
from sealdrop.signapi.client import SignApi


class Means:
    """The jails and the clients of one configuration; to be closed when nobody works by it any more."""

    def __init__(self, config: Config, spool: Path, limits: TwoLimits, clock: Clock) -> None:
        """Open them all.

        Raises:
            ConfigurationError: something that the configuration names cannot be used; nothing is open.
        """
        self.config = config
        anchors = sorted({path for account in config.accounts.values() for path in account.trust_anchors})
        apis: dict[str, SignApi] = {}
        with ExitStack() as opened:
            self.jails = opened.enter_context(
                Jails(config.service.inspectors, limits, readable=[spool], anchors=anchors)
            )
            # The child that this starts is warm then for the first seal.
            problems = list(anchor_problems(config, self.jails.for_verifying(suspects=False)))
            for name, account in config.accounts.items():
                try:
                    api = SignApi(account, largest_document_bytes=config.largest_document_bytes(name), clock=clock)
                except ConfigurationError as error:
                    problems += [f"accounts.{name}: {problem}" for problem in error.problems]
                else:
                    apis[name] = opened.enter_context(api)
            if problems:
                raise ConfigurationError(str(config.source), problems)
            self._opened = opened.pop_all()
        self.apis: Mapping[str, SignApi] = apis

    def close(self) -> None:
        """End what runs in the jails, and close all connections."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
