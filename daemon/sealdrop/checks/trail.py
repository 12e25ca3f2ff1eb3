"""The audit trail: every file of it, and that its end is the one that the ledger knows."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sealdrop.audit.check import verify_trail
from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Config
from sealdrop.errors import Fatal, Retryable
from sealdrop.ledger.reading import LedgerReader

_SUBJECT, _WHAT = "audit trail", "files"


def skipped_trail() -> Finding:
    """Return that nobody looked."""
    return Finding.of(Condition.TRAIL_SKIPPED, _SUBJECT, _WHAT, "left out")


def judge_trail(config: Config, on_file: Callable[[Path], None]) -> Iterator[Finding]:
    """Yield what the files prove. ``on_file`` is called with each that was read: ten years of them take a while."""
    folder = config.service.audit_folder
    expected = _flushed(config)
    if not folder.exists():
        if expected is not None and expected[0] > 0:
            text = f"there is no folder {folder}, while the ledger knows of {expected[0]} records in it"
            yield Finding.of(Condition.TRAIL_MISSING, _SUBJECT, _WHAT, text)
        else:
            yield Finding(_SUBJECT, _WHAT, f"none yet; the first start creates {folder}")
        return
    try:
        report = verify_trail(folder, expect=[expected] if expected else [], on_file=on_file)
    except Fatal as error:
        yield Finding.of(Condition.TRAIL_BROKEN, _SUBJECT, _WHAT, str(error))
        return
    for problem in report.problems[:1]:
        place = " ".join(filter(None, [problem.file, f"line {problem.line}:" if problem.line else ":"]))
        more = f" (and {report.problem_count - 1} more)" if report.problem_count > 1 else ""
        yield Finding.of(Condition.TRAIL_BROKEN, _SUBJECT, _WHAT, f"{place} {problem.text}{more}")
    if report.ok:
        head = "" if report.last is None else f", head {report.last.seq}:{report.last.hash[:12]}…"
        against = ", the end as the ledger has it" if expected else ""
        files = "1 file" if report.files == 1 else f"{report.files} files"
        yield Finding(_SUBJECT, _WHAT, f"whole: {report.records} records in {files}{against}{head}")


def _flushed(config: Config) -> tuple[int, str] | None:
    """Return the record that must still be in the files, by the ledger; None if there is none that can be asked."""
    try:
        with LedgerReader.open_read_only(config.service.ledger_path) as ledger:
            head = ledger.audit_flushed_head()
    except (Fatal, Retryable):
        return None  # the ledger's own finding says why
    return head.seq, head.hash
