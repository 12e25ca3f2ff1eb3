"""What was told, kept in a small file of the state directory, so that a restart neither repeats nor forgets.

The file is replaced durably after each change. If we crash after a message went out and before that was kept, it goes
out once more; never the other way round.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sealdrop.alerts.matters import Memory
from sealdrop.durable import flush, fsync_folder, temporary_file

FILE_NAME = "alerts.json"
VERSION = 1


@dataclass
class _Kept:
    version: int
    memory: Memory


_KEPT: TypeAdapter[_Kept] = TypeAdapter(_Kept)


class Keeper:
    """The file. Not for several threads at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._written = b""

    def load(self) -> Memory:
        """Return what the last run knew; nothing if there was none, or if the file says nothing that makes sense.

        Then at worst what lasts is told once more.
        """
        try:
            content = self._path.read_bytes()
            kept = _KEPT.validate_json(content)
        except (OSError, ValidationError):
            return Memory()
        if kept.version != VERSION:
            return Memory()
        self._written = content
        return kept.memory

    def keep(self, memory: Memory) -> None:
        """Have the file hold what is known now, durably; nothing is written if it does already.

        Raises:
            OSError: it cannot be written now.
        """
        content = _KEPT.dump_json(_Kept(VERSION, memory))
        if content != self._written:
            # Always under one name: what a crash left of an earlier one is replaced, not added to.
            with temporary_file(self._path.parent, mode=0o600, tag="alerts") as (file, temporary):
                file.write(content)
                flush(file)
                temporary.replace(self._path)
            fsync_folder(self._path.parent)
            self._written = content
