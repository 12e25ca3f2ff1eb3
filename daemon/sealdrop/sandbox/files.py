"""Files that are whole or absent after a crash.

A file is written under a temporary name in its folder, fsynced, renamed, and the folder fsynced: a crash leaves the old
content or the new. Leftover temporary files begin with `TEMPORARY_PREFIX` and may be deleted at any start.
"""

import os
import secrets
from pathlib import Path

TEMPORARY_PREFIX = ".new-"


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Make ``path`` hold ``content`` durably, in one step for whoever reads it."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_folder(path.parent)
