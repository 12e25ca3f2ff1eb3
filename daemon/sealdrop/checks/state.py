"""What is in the state directory: a service that runs, the ledger, documents that wait for what is not there."""

import os
from collections.abc import Iterator
from pathlib import Path

from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Config
from sealdrop.errors import Fatal, LedgerTooNew, Retryable
from sealdrop.ledger.health import examine
from sealdrop.ledger.reading import LedgerReader

LOCKS = Path("/proc/locks")  # proc(5)
_SUBJECT = "ledger"


def running_on(state_dir: Path) -> int | None:
    """Return the process that has the state directory's lock, or None. The lock is not touched: nobody is disturbed.

    A process in another container is not seen.
    """
    try:
        status = state_dir.stat()
        locks = LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for line in locks.splitlines():
        _, kind, _, access, process, place, *_ = [*line.split(), *[""] * 6]
        of_device, _, inode = place.rpartition(":")
        is_it = (kind, access, inode) == ("FLOCK", "WRITE", str(status.st_ino))
        if is_it and (of_device == device or _has_open(process, state_dir)):
            return int(process)
    return None


def _has_open(process: str, folder: Path) -> bool:
    """Return whether a process has the folder open: on btrfs the lock's device is not the folder's."""
    try:
        return any(fd.samefile(folder) for fd in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def judge_running(config: Config) -> Iterator[Finding]:
    """Yield whether a service runs on this state directory."""
    process = running_on(config.service.state_dir)
    text = "no service runs on it now" if process is None else f"a service runs on it, process {process}"
    yield Finding("service", "running", text)


def judge_ledger(config: Config) -> Iterator[Finding]:
    """Yield whether the ledger can be trusted and used, and whether what waits there has a place to go."""
    path = config.service.ledger_path
    if not path.exists():
        yield Finding(_SUBJECT, "file", f"none yet; the first start creates {path}")
        return
    try:
        health = examine(path)
        if not health.is_current:
            version = "empty" if health.version is None else f"of version {health.version}"
            text = f"{path} is {version}, which an older sealdrop wrote"
            yield Finding.of(Condition.LEDGER_OLDER, _SUBJECT, "file", text)
            return
        if not health.is_looked_over:
            text = f"{path} has {health.size_bytes >> 20} MiB, too many to look over in passing"
            yield Finding.of(Condition.LEDGER_LARGE, _SUBJECT, "file", text)
        else:
            yield Finding(_SUBJECT, "file", f"whole, version {health.version} ({path})")
        with LedgerReader.open_read_only(path) as ledger:
            yield from _judge_content(config, ledger)
    except LedgerTooNew as error:
        yield Finding.of(Condition.LEDGER_TOO_NEW, _SUBJECT, "file", str(error))
    except Fatal as error:
        yield Finding.of(Condition.LEDGER_BROKEN, _SUBJECT, "file", str(error))
    except Retryable as error:
        yield Finding.of(Condition.LEDGER_BUSY, _SUBJECT, "file", str(error))


def _judge_content(config: Config, ledger: LedgerReader) -> Iterator[Finding]:
    stranded = list(documents_stranded(config, ledger))
    yield from stranded
    if not stranded:
        yield Finding(_SUBJECT, "documents", "whatever waits has its folder and its account")
    troubles = [each for each in ledger.troubles() if not each.is_pressure]
    if troubles:
        more = f", and {len(troubles) - 1} more" if len(troubles) > 1 else ""
        text = f"the service had trouble with {troubles[0].subject}{more}: {troubles[0].text}"
        yield Finding.of(Condition.TROUBLES_KNOWN, _SUBJECT, "troubles", text)


def documents_stranded(config: Config, ledger: LedgerReader) -> Iterator[Finding]:
    """Yield the folders and accounts that documents wait for, and that the configuration does not have any more.

    Raises:
        Retryable: the ledger cannot be read now.
        Fatal: it cannot be trusted.
    """
    for (folder, account), document in ledger.waiting_for().items():
        if folder not in config.folders:
            text = f"folders.{folder}: missing, but documents of it wait, {document} for one"
        elif account not in config.accounts:
            text = f"accounts.{account}: missing, but documents wait for it, {document} for one"
        else:
            continue
        yield Finding.of(Condition.DOCUMENTS_STRANDED, _SUBJECT, "documents", text)
