"""Which folders are this process's alone: two services on one of them would take the same files, or write one ledger.

The locks end with the process, however it ends. Where a folder is on a file system without locks, two services on it
are not noticed.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from sealdrop.config import Config
from sealdrop.errors import ConfigurationError


class Locks:
    """The locked folders, by their paths. Used by one thread."""

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def take(self, config: Config) -> None:
        """Lock the state directory and the inbound folders that are not locked yet.

        Raises:
            ConfigurationError: another service has some of them; all are named, and none was locked.
            OSError: a folder cannot be opened, or the state directory not be locked; none was locked.
        """
        taken: dict[Path, int] = {}
        try:
            problems = [*self._take(config, taken)]
            if problems:
                raise ConfigurationError(str(config.source), problems)
        except BaseException:
            _close(taken)
            raise
        self._held |= taken

    def _take(self, config: Config, taken: dict[Path, int]) -> Iterator[str]:
        """Lock what is not locked yet, and put it into ``taken``; yield which folders another service has."""
        for path, place in _places(config).items():
            if path in self._held:
                continue
            taken[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(taken[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"{place}: another sealdrop is running on {path}"
            except OSError:
                if path == config.service.state_dir:
                    raise

    def keep(self, config: Config) -> None:
        """Let go of all folders that the configuration does not name."""
        named = _places(config)
        gone = {path: fd for path, fd in self._held.items() if path not in named}
        self._held = {path: fd for path, fd in self._held.items() if path in named}
        _close(gone)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        held, self._held = self._held, {}
        _close(held)


def _places(config: Config) -> Mapping[Path, str]:
    return {config.service.state_dir: "service.state_dir"} | {
        folder.inbound: f"folders.{name}.inbound" for name, folder in config.folders.items()
    }


def _close(held: Mapping[Path, int]) -> None:
    for fd in held.values():
        os.close(fd)
