"""When the state directory's file system has room for another document: one rule, for the service and for `check`."""

from pathlib import Path

MIN_FREE_FILES = 64  # a document needs a few, the ledger and the audit trail one now and then


def lack(free_bytes: int, free_files: int, *, min_free_mib: float, place: Path, need_bytes: int = 0) -> str | None:
    """Return in words what room is missing at ``place`` for ``need_bytes`` more, or None if there is enough.

    ``free_files`` is -1 where the file system makes room for names as it needs it. A ``min_free_mib`` of 0 switches
    the rule off.
    """
    if min_free_mib == 0:
        return None
    min_free_bytes = int(min_free_mib * (1 << 20))
    if free_bytes - need_bytes < min_free_bytes:
        wanted_mib, free_mib = (need_bytes + min_free_bytes) / (1 << 20), free_bytes / (1 << 20)
        return f"{free_mib:.0f} MiB are free where {place} is, {wanted_mib:.0f} MiB are needed"
    if 0 <= free_files < MIN_FREE_FILES:
        return f"there is room for only {free_files} more files where {place} is"
    return None
