"""What must be so before the service works by a configuration: its folders, an audit trail that is all there.

What is wrong is said at once and as a whole; then nothing is started. What that is, `sealdrop check` judges too, by the
same code: docs/check.md has the list.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sealdrop.audit.trail import Trail
from sealdrop.checks.anchors import anchors_unusable
from sealdrop.checks.files import files_of
from sealdrop.checks.findings import Finding
from sealdrop.checks.folders import STATE_DIR, judge_access, places_of, state_unsafe
from sealdrop.checks.looking import look
from sealdrop.checks.seals import judge_seals
from sealdrop.checks.settings import patterns_too_wide
from sealdrop.checks.state import documents_stranded
from sealdrop.config import Config
from sealdrop.durable import fsync_folder, make_folder
from sealdrop.errors import ConfigurationError, TrailBroken
from sealdrop.ledger.store import Ledger
from sealdrop.pdf.jail import Jail, JailedError
from sealdrop.pdf.jobs import describe_anchors

USER = "the service's user"


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
    return config.service.ledger_path


def audit_folder(config: Config) -> Path:
    """Return where the audit trail's files are."""
    return config.service.audit_folder


def check_configuration(config: Config) -> None:
    """Pass if nothing in the configuration would have a document sealed twice, or never sent, or sealed to no purpose.

    Raises:
        ConfigurationError: something would.
    """
    images = {file.path: look(file.path) for file in files_of(config) if file.is_image}
    _refuse(config, [*patterns_too_wide(config), *judge_seals(config, images, USER)])


def check_folders(config: Config) -> None:
    """Pass if every folder is there and may be used, having created what the configuration says to create.

    The state must be where it is safe, unless the configuration says that it need not be. No folder may be inside
    another by a link either, which may not have been followed when the configuration was read.

    Raises:
        ConfigurationError: some are not; all are named.
    """
    if config.service.create_folders:
        problems = [problem for subject, key, path in places_of(config) for problem in _create(subject, key, path)]
        if problems:
            raise ConfigurationError(str(config.source), problems)
    _refuse(config, _folder_findings(config))
    problems = config.overlaps()
    if problems:
        raise ConfigurationError(str(config.source), problems)


def _create(subject: str, key: str, path: Path) -> Iterator[str]:
    if path.is_dir():
        # We may have made it in a start that was cut off before its name was durable. If somebody else did, we may not
        # be allowed to do this, and need not.
        with suppress(OSError):
            fsync_folder(path.parent)
    elif not path.exists():
        try:
            make_folder(path, mode=0o700 if key == STATE_DIR else 0o770)
        except OSError as error:
            place = f"service.{key}" if key == STATE_DIR else f"folders.{subject.partition(' ')[2]}.{key}"
            yield f"{place}: {path} cannot be created: {error.strerror}"


def _folder_findings(config: Config) -> Iterator[Finding]:
    for subject, key, path in places_of(config):
        facts = look(path)
        fault = judge_access(subject, key, facts, USER, may_create=False)
        if fault is None and key == STATE_DIR:
            fault = state_unsafe(config, facts)
        if fault is not None:
            yield fault


def check_waiting(config: Config, ledger: Ledger) -> None:
    """Pass if every document that waits has its folder and account in the configuration.

    Raises:
        ConfigurationError: documents would wait for ever.
    """
    _refuse(config, documents_stranded(config, ledger))


def addresses(config: Config) -> dict[str, str]:
    """Return where each account's documents are sent."""
    return {name: account.base_url for name, account in config.accounts.items()}


def inbounds(config: Config) -> dict[str, Path]:
    """Return where each folder's documents are dropped."""
    return {name: folder.inbound for name, folder in config.folders.items()}


def check_same_service(config: Config, ledger: Ledger) -> None:
    """Pass if what was sent to SignAPI, by this run or an earlier one, will be asked for where it was sent to.

    Another service would say that it knows nothing of it, and it would be sent there as well, and sealed twice.

    Raises:
        ConfigurationError: an account's address changes while documents of it are at SignAPI.
    """
    problems = []
    wanted = addresses(config)
    for name, known in ledger.addresses().items():
        document = ledger.sent_for(name) if wanted.get(name, known) != known else None
        if document is not None:
            problems.append(
                f"accounts.{name}.base_url: documents were sent to {known} and are not back, "
                f"{document} for one; let them come back first, or give the new address an account of its own"
            )
    if problems:
        raise ConfigurationError(str(config.source), sorted(problems))


def anchor_problems(config: Config, jail: Jail) -> Iterator[str]:
    """Yield what is wrong with trust anchors; each is read in a child process, which is warm then for a document."""
    for name, account in config.accounts.items():
        try:
            jail.run(describe_anchors, account.trust_anchors)
        except JailedError as error:
            yield _told(anchors_unusable(name, error.text))


def _refuse(config: Config, findings: Iterable[Finding]) -> None:
    """Raise if the service does not start with some of the findings (see `sealdrop.checks.findings`)."""
    problems = [_told(each) for each in findings if each.refuses]
    if problems:
        raise ConfigurationError(str(config.source), problems)


def _told(finding: Finding) -> str:
    return f"{_key(finding)}{finding.text}. {finding.advice}"


def _key(finding: Finding) -> str:
    """Return the key of the configuration that a finding is about, or nothing where its text has it."""
    match finding.subject.split(" "):
        case [("account" | "folder") as table, name]:
            return f"{table}s.{name}.{finding.what}: "
        case ["service"]:
            return f"service.{finding.what}: "
        case _:
            return ""
