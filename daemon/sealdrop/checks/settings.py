"""Settings that are allowed and may not be meant: pure, from the configuration alone."""

import re
from collections.abc import Iterator

from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Account, Config, Folder
from sealdrop.model import SealLevel

# What a service may say of other faults. A pattern for unknown requests that matches one of these would take such a
# fault for "it was never sent", and have the document sent once more.
OTHER_FAULTS = (
    "unknown error",
    "internal server error",
    "an unexpected error occurred",
    "erreur inconnue",
    "erreur interne",
    "unknown archiver",
    "archiver not found",
    "archive not found",
    "unknown certificate",
    "certificate not found",
    "unknown account",
    "contract not found",
    "document not found",
    "file not found",
    "page not found",
    "not authorized",
    "access denied",
    "service unavailable",
    "timeout",
    "the request is being processed",
    "request already signed",
    "invalid request",
)


def judge_settings(config: Config) -> Iterator[Finding]:
    """Yield the doubts, or that there are none."""
    doubts = [*patterns_too_wide(config), *_doubts(config)]
    yield from doubts
    if not doubts:
        accounts, folders = len(config.accounts), len(config.folders)
        what = f"{_count(accounts, 'account')}, {_count(folders, 'folder')}"
        yield Finding("configuration", "settings", f"{config.source} ({what})")


def patterns_too_wide(config: Config) -> Iterator[Finding]:
    """Yield the patterns that would take another fault for an unknown request."""
    for name, account in config.accounts.items():
        pattern = account.unknown_request_pattern
        taken = [text for text in OTHER_FAULTS if pattern and re.search(pattern, text, re.IGNORECASE)]
        if taken:
            text = f"accounts.{name}.unknown_request_pattern also matches {taken[0]!r}"
            yield Finding.of(Condition.PATTERN_TOO_WIDE, "configuration", f"account {name}", text)


def _doubts(config: Config) -> Iterator[Finding]:
    if config.service.min_free_mib == 0:
        text = "service.min_free_mib = 0: files are taken over until the disk is full"
        yield _doubt("service", text)
    for name, account in config.accounts.items():
        for text in _of_account(account):
            yield _doubt(f"account {name}", text)
        if not any(folder.account == name for folder in config.folders.values()):
            yield _doubt(f"account {name}", "no folder uses it")
    for name, folder in config.folders.items():
        for text in (*_of_folder(folder), *_of_shared_spool(folder, config)):
            yield _doubt(f"folder {name}", text)


def _doubt(what: str, text: str) -> Finding:
    return Finding.of(Condition.SETTING_DOUBTFUL, "configuration", what, text)


def _of_account(account: Account) -> Iterator[str]:
    pairs = (
        ("poll_first_s", account.poll_first_s, "poll_longest_s", account.poll_longest_s),
        ("retry_first_s", account.retry_first_s, "retry_longest_s", account.retry_longest_s),
        ("connect_timeout_s", account.connect_timeout_s, "call_timeout_s", account.call_timeout_s),
        ("read_timeout_s", account.read_timeout_s, "call_timeout_s", account.call_timeout_s),
    )
    for lesser, lesser_s, greater, greater_s in pairs:
        if lesser_s > greater_s:
            yield f"{lesser} ({lesser_s:g}) is longer than {greater} ({greater_s:g}), which it cannot outlast"


def _of_folder(folder: Folder) -> Iterator[str]:
    seal = folder.seal
    if folder.settle_s > folder.incomplete_s:
        yield (
            f"settle_s ({folder.settle_s:g}) is longer than incomplete_s ({folder.incomplete_s:g}): a file is called "
            "truncated before it would be taken"
        )
    if not seal.archive and (seal.archivers or seal.keywords):
        yield "seal.archive is false, so its archivers and keywords are for nothing"
    if seal.archive and seal.level in (SealLevel.B, SealLevel.T):
        yield (
            f"seal.level is {seal.level.value} for documents that are archived: nothing in them will show that the "
            "certificate was not revoked"
        )


def _of_shared_spool(folder: Folder, config: Config) -> Iterator[str]:
    limit_mib = config.service.spool_mib
    if limit_mib and folder.in_flight_mib >= limit_mib and len(config.folders) > 1:
        yield (
            f"in_flight_mib ({folder.in_flight_mib:g}) is not less than service.spool_mib ({limit_mib:g}): while its "
            "account is out of reach, this folder alone can fill the spool, and others have to wait for it"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
