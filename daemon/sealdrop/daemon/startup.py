"""What must be so before the service starts: its folders, its locks, an audit trail that is all there.

What is wrong is said at once and as a whole; then nothing is started.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from sealdrop.audit.trail import Trail
from sealdrop.config import Config
from sealdrop.durable import fsync_folder, make_folder
from sealdrop.errors import ConfigurationError, TrailBroken
from sealdrop.ledger.store import Ledger
from sealdrop.pdf.evidence import count_anchors
from sealdrop.pdf.jail import Jail, JailedError


def check_trail(trail: Trail, ledger: Ledger) -> None:
    """Pass if ledger and audit files tell the same story: the files end with a record that the ledger has.

    Raises:
        TrailBroken: one of the two was cut off, replaced or put back from an older copy.
    """
    found, flushed = trail.head(), ledger.audit_flushed_head()
    known = {flushed.seq: flushed.hash}
    if found.seq > flushed.seq:  # written to the files by the last run, which did not come to say so
        known |= {record.seq: record.hash for record in ledger.audit_pending(found.seq - flushed.seq)}
    if found.seq < flushed.seq or known.get(found.seq) != found.hash:
        raise TrailBroken(
            f"ledger and audit trail do not belong together: the files end with record {found.seq}, the ledger knows "
            f"of records up to {ledger.audit_head().seq}. One of them was cut off, replaced or put back from an older "
            "copy. Nothing was started or removed: bring both back as they were at one moment"
        )


def ledger_path(config: Config) -> Path:
    """Return where the ledger is."""
    return config.service.state_dir / "ledger.sqlite"


def audit_folder(config: Config) -> Path:
    """Return where the audit trail's files are."""
    return config.service.state_dir / "audit"


def check_folders(config: Config) -> None:
    """Pass if every folder is there and may be used, having created what the configuration says to create.

    Raises:
        ConfigurationError: some are not; all are named.
    """
    problems = list(_folder_problems(config))
    if problems:
        raise ConfigurationError(str(config.source), problems)


def _folder_problems(config: Config) -> Iterator[str]:
    places = [("service.state_dir", config.service.state_dir, 0o700)]
    places += [
        (f"folders.{name}.{key}", path, 0o770)
        for name, folder in config.folders.items()
        for key, path in folder.places()
    ]
    for place, path, mode in places:
        if path.is_dir() and config.service.create_folders:
            # We may have made it in a start that was cut off before its name was durable. If somebody else did, we may
            # not be allowed to do this, and need not.
            with suppress(OSError):
                fsync_folder(path.parent)
        elif not path.exists() and config.service.create_folders:
            try:
                make_folder(path, mode=mode)
            except OSError as error:
                yield f"{place}: {path} cannot be created: {error.strerror}"
                continue
        if not path.is_dir():
            yield f"{place}: there is no folder {path} (create it, or set service.create_folders = true)"
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            yield f"{place}: {path} must be readable and writable for the service's user"


def check_waiting(config: Config, ledger: Ledger) -> None:
    """Pass if every document that waits has its folder and account in the configuration.

    Raises:
        ConfigurationError: documents would wait for ever.
    """
    problems = []
    for (folder, account), document in ledger.waiting_for().items():
        if folder not in config.folders:
            problems.append(f"folders.{folder}: missing, but documents of it wait, {document} for one")
        elif account not in config.accounts:
            problems.append(f"accounts.{account}: missing, but documents wait for it, {document} for one")
    if problems:
        raise ConfigurationError(str(config.source), problems)


def check_anchors(config: Config, jail: Jail) -> None:
    """Read every trust anchor, in a child process, which is warm then for the first document.

    Raises:
        ConfigurationError: some cannot be used; all their accounts are named.
    """
    problems = []
    for name, account in config.accounts.items():
        try:
            jail.run(count_anchors, account.trust_anchors)
        except JailedError as error:
            problems.append(f"accounts.{name}.trust_anchors: {error.text}")
    if problems:
        raise ConfigurationError(str(config.source), problems)


def lock_all(config: Config) -> ExitStack:
    """Take the state directory and the inbound folders for this process alone; closing the result lets go of them.

    The locks end with the process, however it ends. Where an inbound folder is on a file system without locks, two
    services on it are not noticed.

    Raises:
        ConfigurationError: another service has one of them.
    """
    with ExitStack() as held:
        _lock(held, "service.state_dir", config.service.state_dir)
        for name, folder in config.folders.items():
            _lock(held, f"folders.{name}.inbound", folder.inbound)
        return held.pop_all()


def _lock(held: ExitStack, place: str, folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError("sealdrop", [f"{place}: another sealdrop is running on {folder}"]) from error
    except OSError:
        if place == "service.state_dir":
            raise
