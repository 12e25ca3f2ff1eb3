"""Whether a ledger can be trusted and used, found out without changing it, even while a daemon writes there."""

from dataclasses import dataclass
from pathlib import Path

from sealdrop.ledger import schema
from sealdrop.ledger.database import QUICK_CHECK_BYTES, Database


@dataclass(frozen=True, slots=True)
class LedgerHealth:
    """What a look at a ledger has found; ``version`` is None if it is still empty.

    ``is_looked_over`` says whether all of the file was read: a large one would take too long.
    """

    version: int | None
    is_current: bool
    is_looked_over: bool
    size_bytes: int


def examine(path: Path) -> LedgerHealth:
    """Return what is found in the ledger at ``path``.

    Raises:
        Fatal: there is none, it is damaged, or it is something else than a ledger.
        LedgerTooNew: a newer sealdrop wrote it.
        Retryable: it cannot be read now.
    """
    database = Database.at_path_read_only(path)
    try:
        size_bytes = path.stat().st_size
        is_small = size_bytes <= QUICK_CHECK_BYTES
        if is_small:
            database.look_over()
        with database.reading() as connection:
            version = schema.check(connection)
        return LedgerHealth(version, version == schema.SCHEMA_VERSION, is_small, size_bytes)
    finally:
        database.close()
