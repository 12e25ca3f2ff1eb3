"""Why files stay in an inbound folder: told once for each state of a file, in the log and in the rejected folder.

What was told is kept in ``state_dir/notices``, one line of JSON for each change, written before the notice is: a
notice is found again after a restart, and removed once its file was taken or has gone.
"""

import json
import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath

from sealdrop.clock import Clock
from sealdrop.daemon.troubles import Troubles
from sealdrop.durable import flush, make_folder, replace_file
from sealdrop.events import EventName
from sealdrop.logs import Log
from sealdrop.model import FileIdentity, Reason
from sealdrop.pipeline import notice
from sealdrop.pipeline.below import status_below
from sealdrop.pipeline.watch import GONE
from sealdrop.receipt import Notice

MAX_TOLD = 10_000  # files with a notice at a time in one folder; of more than these the log has one a sweep
BATCH = 16  # notices written at a time, for no number of them may keep documents waiting
PAUSE_S = 10.0  # before notices are tried again that could not be written
MAX_LINES = 1_000  # more than there are notices; then what is kept is written anew


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a file; ``state`` is None where it does not matter, as for a file that keeps changing."""

    state: tuple[int, int, int] | None
    reason: Reason
    detail: str
    seen_at: datetime
    sweep: int


class Complaints:
    """The notices of one folder. Used by one thread; its methods raise no OSError."""

    def __init__(
        self, folder: str, inbound: Path, rejected: Path, state_dir: Path, troubles: Troubles, clock: Clock, log: Log
    ) -> None:
        self._folder = folder
        self._inbound = inbound
        self._rejected = rejected
        self._kept = state_dir / "notices" / f"{folder}.jsonl"
        self._troubles = troubles
        self._subject = f"folder {folder} notices"
        self._clock = clock
        self._log = log
        self._told: dict[str, Told] = {}
        self._unwritten: dict[str, None] = {}  # in the order in which they were told
        self._over: dict[str, None] = {}
        self._lines = 0
        self._try_at = float("-inf")
        self._try_name_at: dict[str, float] = {}  # those that failed while others did not: they keep nobody waiting
        self._sweep = 0
        self._has_told_of_more = False

    def load(self) -> None:
        """Take up what the last run told."""
        try:
            make_folder(self._kept.parent, mode=0o700)
            content = self._kept.read_text(encoding="utf-8") if self._kept.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            self._troubled(error)
            return
        lines = content.splitlines(keepends=True)
        for line in lines:
            try:
                name, told = _from_line(line)
            except (ValueError, KeyError, TypeError):  # cut off by a crash; its notice was not written then
                continue
            if told is None:
                self._told.pop(name, None)
            else:
                self._told[name] = told
        is_whole = not lines or lines[-1].endswith("\n")
        self._lines = len(lines) if is_whole else MAX_LINES + len(lines)
        # The last of them may not have come to be written.
        self._unwritten = dict.fromkeys(self._told)

    def tell(self, path: Path, reason: Reason, detail: str, identity: FileIdentity | None = None) -> None:
        """Say why the file or folder at ``path``, below inbound, is left where it is."""
        name = "/".join(path.relative_to(self._inbound).parts)
        state = None if identity is None else _state(identity)
        known = self._told.get(name)
        if known is not None and (known.state, known.reason, known.detail) == (state, reason, detail):
            self._told[name] = replace(known, sweep=self._sweep)
            return
        if known is None and len(self._told) >= MAX_TOLD:
            if self._has_told_of_more:
                return
            self._has_told_of_more = True
        else:
            same = known is not None and (known.reason, known.detail) == (reason, detail)
            seen_at = known.seen_at if known is not None and same else self._clock.now()
            self._told[name] = Told(state, reason, detail, seen_at, self._sweep)
            self._over.pop(name, None)
            self._unwritten[name] = None
        shown = notice.readable(name)
        self._log.warning(EventName.FILE_NOT_TAKEN, folder=self._folder, name=shown, reason=reason, detail=detail)

    def has_told(self, path: Path, reasons: Collection[Reason], identity: FileIdentity | None = None) -> bool:
        """Return whether one of these was said of the file, in this state if one is given."""
        known = self._told.get("/".join(path.relative_to(self._inbound).parts))
        if known is None or known.reason not in reasons:
            return False
        return identity is None or known.state == _state(identity)

    def knows(self, path: Path) -> bool:
        """Return whether something was said of the file or folder, and still holds as far as is known."""
        return "/".join(path.relative_to(self._inbound).parts) in self._told

    def taken(self, name: str) -> None:
        """Take note that the file ``name`` was taken over, or is not there any more."""
        if name in self._told:
            del self._told[name]
            self._unwritten.pop(name, None)
            self._over[name] = None

    def sweep_begins(self) -> None:
        """Take note that everything in the folder will be looked at now."""
        self._sweep += 1
        self._has_told_of_more = False

    def sweep_ended(self) -> None:
        """Let go of what was not seen again: files that have gone, folders that are as they should be now."""
        for name in [name for name, told in self._told.items() if told.sweep < self._sweep]:
            try:
                status = status_below(self._inbound, PurePosixPath(name))
            except OSError as error:
                if error.errno in GONE:
                    self.taken(name)
                continue
            if stat.S_ISDIR(status.st_mode):
                self.taken(name)

    def settle(self) -> bool:
        """Write and remove some of the notices that are to be; return whether more wait."""
        now = self._clock.monotonic()
        if not (self._unwritten or self._over) or now < self._try_at:
            return False
        names, over = self._ready(self._unwritten, now), self._ready(self._over, now)
        if not (names or over):
            return False
        try:
            self._keep([_to_line(name, self._told[name]) for name in names])
            written, one_error = self._each(names, self._write, self._unwritten, now)
            removed, other_error = self._each(over, self._remove, self._over, now)
            # If we crash before this, the next start finds that the file is not there and removes its notice again.
            self._keep([_to_line(name, None) for name in removed])
        except OSError as error:
            self._try_at = now + PAUSE_S
            self._troubled(error)
            return False
        for name in written:
            self._unwritten.pop(name)
        for name in removed:
            self._over.pop(name)
        failure = one_error or other_error
        if failure is not None:
            self._troubled(failure)
            if not (written or removed):
                self._try_at = now + PAUSE_S
                return False
        elif not self._try_name_at:
            event = EventName.FOLDER_WRITABLE
            self._troubles.over(self._subject, event, folder=self._folder, place="notices", path=str(self._rejected))
        return bool(self._ready(self._unwritten, now) or self._ready(self._over, now))

    def _ready(self, waiting: dict[str, None], now: float) -> list[str]:
        """Return the first of those that may be tried now."""
        return list(islice((name for name in waiting if self._try_name_at.get(name, now) <= now), BATCH))

    def _each(
        self, names: Sequence[str], work: Callable[[str], None], waiting: dict[str, None], now: float
    ) -> tuple[list[str], OSError | None]:
        """Do ``work`` for each; return those for which it was done, and what went wrong with one of the others.

        These wait behind all others, and a while: one that cannot be had must not keep the rest from being written.
        """
        done, failed = list[str](), None
        for name in names:
            try:
                work(name)
            except OSError as error:
                failed = error
                self._try_name_at[name] = now + PAUSE_S
                waiting[name] = waiting.pop(name)
            else:
                self._try_name_at.pop(name, None)
                done.append(name)
        return done, failed

    def _remove(self, name: str) -> None:
        notice.remove(self._rejected, name, notice.token_of(self._folder, name))

    def _keep(self, lines: Sequence[str]) -> None:
        if self._lines > len(self._told) + MAX_LINES:
            everything = [_to_line(name, told) for name, told in self._told.items()]
            replace_file(self._kept, "".join([*everything, *lines]).encode())
            self._lines = len(everything) + len(lines)
        elif lines:
            fd = os.open(self._kept, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "ab") as file:
                file.write("".join(lines).encode())
                flush(file)
            self._lines += len(lines)

    def _write(self, name: str) -> None:
        told = self._told[name]
        notice.put(
            self._rejected,
            Notice(
                folder=self._folder,
                name=notice.readable(name),
                token=notice.token_of(self._folder, name),
                reason=told.reason,
                detail=told.detail,
                seen_at=told.seen_at,
            ),
        )

    def _troubled(self, error: Exception) -> None:
        what = getattr(error, "strerror", None) or str(error)
        text = f"notices of files that are left in inbound cannot be written to {self._rejected}: {what}"
        event, path = EventName.FOLDER_UNWRITABLE, str(self._rejected)
        self._troubles.tell(
            self._subject, text, event, folder=self._folder, place="notices", path=path, error=str(error)
        )


def _state(identity: FileIdentity) -> tuple[int, int, int]:
    return identity.inode, identity.size_bytes, identity.mtime_ns


def _to_line(name: str, told: Told | None) -> str:
    """Return a line that holds any name: JSON escapes what is not UTF-8."""
    content: dict[str, object] = {"name": name}
    if told is not None:
        content |= {
            "state": told.state,
            "reason": told.reason,
            "detail": told.detail,
            "seen_at": told.seen_at.isoformat(),
        }
    return json.dumps(content) + "\n"


def _from_line(line: str) -> tuple[str, Told | None]:
    content = json.loads(line)
    name = str(content["name"])
    if "reason" not in content:
        return name, None
    state: tuple[int, int, int] | None = None
    if content["state"] is not None:
        inode, size_bytes, mtime_ns = map(int, content["state"])
        state = inode, size_bytes, mtime_ns
    seen_at = datetime.fromisoformat(content["seen_at"])
    return name, Told(state, Reason(content["reason"]), str(content["detail"]), seen_at, 0)
