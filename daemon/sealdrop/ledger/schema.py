"""The ledger's tables, and how a database gets them.

Rules:

- A column of `document` has the name and, through a type below, the value of the field of `model.Document` that it
  keeps; beside them stand only columns to look documents up by.
- Moments are whole microseconds since 1970 in UTC: exact, ordered, the same in every database.
- What a claim reads is in partial indexes over the documents that wait, so that it does not grow with history.
- A database knows its version. `MIGRATIONS` holds the step from each version to the next; a newer one is refused.

(Long, because the tables and the steps that lead to them must agree, and are best read together.)
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn

from sealdrop.errors import Fatal, LedgerTooNew
from sealdrop.model import (
    END_STATES,
    GENESIS,
    Companion,
    Document,
    Earlier,
    FileIdentity,
    Hold,
    Inspection,
    Reason,
    Remote,
    SealLevel,
    Stamp,
    State,
    Verification,
    Wishes,
)

SCHEMA_VERSION = 4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware moment, kept to the microsecond; it comes back in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return microseconds since 1970."""
        del dialect
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return the moment."""
        del dialect
        return None if value is None else _EPOCH + value * _MICROSECOND


class Member(TypeDecorator[StrEnum]):
    """A member of the enumeration ``kind``, kept as its value."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """Return the member's value."""
        del dialect
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        """Return the member."""
        del dialect
        return None if value is None else self.kind(value)


class Report(TypeDecorator[Any]):
    """A value of ``kind``, a frozen dataclass or several of them, kept as JSON text."""

    impl = Text
    cache_ok = True

    def __init__(
        self, kind: type[Earlier | Inspection | Remote | Stamp | Verification | Wishes | tuple[Companion, ...]]
    ) -> None:
        super().__init__()
        self.kind = kind
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
        # A document is claimed several times within seconds, and much is the same in many.
        self._read = lru_cache(maxsize=64)(self._adapter.validate_json)

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        """Return the JSON text."""
        del dialect
        return None if value is None else self._adapter.dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        """Return the value."""
        del dialect
        return None if value is None else self._read(value)


class Identity(TypeDecorator[FileIdentity]):
    """A file's identity, kept as text: device and inode numbers need not fit a database's signed integers."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: FileIdentity | None, dialect: Dialect) -> str | None:
        """Return the four numbers in one text."""
        del dialect
        if value is None:
            return None
        return f"{value.device}:{value.inode}:{value.size_bytes}:{value.mtime_ns}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> FileIdentity | None:
        """Return the identity."""
        del dialect
        return None if value is None else FileIdentity(*map(int, value.split(":")))


metadata = MetaData()

document = Table(
    "document",
    metadata,
    Column("id", String, primary_key=True),
    Column("node", String, nullable=False),
    Column("account", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("name", Text, nullable=False),
    Column("identity", Identity, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("state", Member(State), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("due_at", Moment),
    Column("level", Member(SealLevel), nullable=False),
    Column("archive", Boolean, nullable=False),
    Column("lease", String),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("external_id", String),
    Column("request_id", String),
    Column("sign_called_at", Moment),
    Column("sign_accepted", Boolean, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("reason", Member(Reason)),
    Column("reason_detail", Text),
    Column("inspection", Report(Inspection)),
    Column("remote", Report(Remote), nullable=False),
    Column("verification", Report(Verification)),
    Column("sealed_size_bytes", BigInteger),
    Column("sealed_sha256", String),
    Column("published_name", Text),
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("suspect", Boolean, nullable=False, server_default=text("false")),
    Column("duplicate_of", Report(Earlier)),
    Column("companions", Report(tuple[Companion, ...]), nullable=False, server_default=text("'[]'")),
    Column("stamp", Report(Stamp)),
    # False for what an older sealdrop wrote; the new ones say so themselves.
    Column("stamp_known", Boolean, nullable=False, server_default=text("false")),
    Column("wishes", Report(Wishes)),
    Column("hold", Member(Hold)),
    Column("kept_until", Moment),
    Column("kept_name", Text),
    Column("expired_at", Moment),
    Column("first_seq", BigInteger),
    Column("last_seq", BigInteger),
    # To look documents up by.
    Column("short_id", String, nullable=False),
    Column("file_name", Text, nullable=False),
    # Until the original is known to be gone from inbound, it must be recognised, or it would be taken again.
    Column("original_stands", Boolean, nullable=False),
)

# The columns that make a `Document`, in the order of its fields.
DOCUMENT_COLUMNS = tuple(document.c[field.name] for field in fields(Document))

# What was true when the document was taken over stays true. Leaving these columns out of updates also spares the
# database from touching their indexes at each step.
FIXED_FIELDS = (
    "id",
    "node",
    "account",
    "folder",
    "name",
    "identity",
    "size_bytes",
    "sha256",
    "received_at",
    "level",
    "archive",
    "companions",
    "wishes",
)

# As text, in the index and in the query alike: SQLite takes a partial index only if it finds the same condition in
# the query, and a bound parameter is not the same.
ACTIVE = text(f"(state NOT IN ({', '.join(repr(state.value) for state in sorted(END_STATES))}) OR due_at IS NOT NULL)")
_WAITING = document.c.due_at.is_not(None)

Index("document_due", document.c.state, document.c.due_at, sqlite_where=_WAITING, postgresql_where=_WAITING)
# With one account out of reach, its backlog must not stand between a claim and another account's documents.
Index(
    "document_due_account",
    document.c.account,
    document.c.state,
    document.c.due_at,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
# Nor must that of a folder that cannot be written. As text, for the same reason as above, and only with what is claimed
# for a folder: until a document gets there, this index is not written.
CLAIMED_FOR_FOLDER = frozenset({State.VERIFIED, State.DELIVERED, State.REJECTED, State.FAILED, State.RETRYING})
FOR_FOLDER = text(f"state IN ({', '.join(repr(state.value) for state in sorted(CLAIMED_FOR_FOLDER))})")
_WAITING_FOR_FOLDER = and_(_WAITING, FOR_FOLDER)
_DUE_FOLDER = Index(
    "document_due_folder",
    document.c.folder,
    document.c.state,
    document.c.due_at,
    sqlite_where=_WAITING_FOR_FOLDER,
    postgresql_where=_WAITING_FOR_FOLDER,
)
# Nor all that waits, between a claim and the few that are examined apart. All of those are suspect: as its first column
# that lets SQLite prefer this index.
_WAITING_APART = and_(_WAITING, document.c.suspect.is_(True))
_DUE_SUSPECT = Index(
    "document_due_suspect",
    document.c.suspect,
    document.c.state,
    document.c.due_at,
    sqlite_where=_WAITING_APART,
    postgresql_where=_WAITING_APART,
)
Index(
    "document_active",
    document.c.folder,
    document.c.received_at,
    document.c.id,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)
# As text for the same reason: those that failed and were given back, for whoever tells of them.
FAILED = text(f"(state = {State.FAILED.value!r} AND due_at IS NULL)")
_FAILED_INDEX = Index("document_failed", document.c.last_seq, sqlite_where=FAILED, postgresql_where=FAILED)
_KEPT = document.c.kept_until.is_not(None)
_KEPT_INDEX = Index("document_kept", document.c.kept_until, sqlite_where=_KEPT, postgresql_where=_KEPT)
_HOLD = document.c.hold.is_not(None)
_HOLD_INDEX = Index("document_hold", document.c.folder, document.c.hold, sqlite_where=_HOLD, postgresql_where=_HOLD)
_STANDING = document.c.original_stands.is_(True)
Index("document_standing", document.c.folder, sqlite_where=_STANDING, postgresql_where=_STANDING)
_CONTENT = Index("document_content", document.c.sha256, document.c.folder, document.c.first_seq)
# What came out may be dropped where it went in.
_IS_SEALED = document.c.sealed_sha256.is_not(None)
_SEALED_CONTENT = Index(
    "document_sealed_content", document.c.sealed_sha256, sqlite_where=_IS_SEALED, postgresql_where=_IS_SEALED
)
Index("document_short_id", document.c.short_id)
Index("document_file_name", document.c.file_name, document.c.received_at)

# How many documents of each folder are in each state: kept by every transaction, so that asking never counts history.
tally = Table(
    "tally",
    metadata,
    Column("folder", String, primary_key=True),
    Column("state", Member(State), primary_key=True),
    Column("documents", BigInteger, nullable=False),
)

# How many documents of each folder were sent on each local day, where that is limited: counted once, with the intent.
sent = Table(
    "sent",
    metadata,
    Column("folder", String, primary_key=True),
    Column("day", String, primary_key=True),
    Column("documents", BigInteger, nullable=False),
)

# One row: the newest record of the chain, and the newest that is known to be in the files.
chain = Table(
    "audit_chain",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", String, nullable=False),
    Column("head_at", Moment),
    Column("flushed_seq", BigInteger, nullable=False),
    Column("flushed_hash", String, nullable=False),
    Column("flushed_at", Moment),
    # The first record of the head's day; unknown on the day on which an older sealdrop wrote last.
    Column("day_first_seq", BigInteger),
)

# Records that are not yet known to be in the files.
outbox = Table(
    "audit_outbox",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("hash", String, nullable=False),
    Column("line", Text, nullable=False),
)

# What is wrong now with what the service works with; a row goes when the trouble is over.
trouble = Table(
    "trouble",
    metadata,
    Column("node", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("text", Text, nullable=False),
)

# Where each account's documents are sent: elsewhere nobody knows them, and they would be sent and sealed again.
address = Table(
    "address",
    metadata,
    Column("account", String, primary_key=True),
    Column("base_url", Text, nullable=False),
)

# Where each folder's documents were dropped, now or earlier: what still stands there is not taken under another name.
inbound = Table(
    "inbound",
    metadata,
    Column("folder", String, primary_key=True),
    Column("path", Text, primary_key=True),
)

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))


def _to_version_2(connection: Connection) -> None:
    """Documents can be tried again, examined apart and be duplicates; troubles are kept."""
    _add_columns(connection, "retries", "suspect", "duplicate_of")
    trouble.create(connection)
    connection.exec_driver_sql(f"DROP INDEX {_CONTENT.name}")
    _CONTENT.create(connection)


def _to_version_3(connection: Connection) -> None:
    """Documents can have companions, wishes, visible seals, holds and files kept for a time; days are closed.

    It is known where each account's documents were sent, where each folder's were dropped, and how their seals look.
    What was validated and not sent is validated anew: its page was not measured for a visible seal.
    """
    columns = ("companions", "stamp", "stamp_known", "wishes", "hold", "kept_until", "kept_name", "expired_at")
    _add_columns(connection, *columns)
    _add_columns(connection, "day_first_seq", table=chain)
    for index in (_KEPT_INDEX, _HOLD_INDEX, _SEALED_CONTENT, _FAILED_INDEX):
        index.create(connection)
    sent.create(connection)
    address.create(connection)
    inbound.create(connection)
    _validate_anew(connection)


def _to_version_4(connection: Connection) -> None:
    """What waits for a folder, or to be examined apart, is found without passing over all that waits."""
    for index in (_DUE_FOLDER, _DUE_SUSPECT):
        index.create(connection)


def _validate_anew(connection: Connection) -> None:
    """Take back to ``received`` what is ``validated`` and will be sent; a duplicate gets a seal that there is."""
    unsent = (document.c.state == State.VALIDATED, document.c.duplicate_of.is_(None))
    counted = select(document.c.folder, func.count()).where(*unsent).group_by(document.c.folder)
    for folder, documents in connection.execute(counted).all():
        for state, change in ((State.VALIDATED, -documents), (State.RECEIVED, documents)):
            row = update(tally).where(tally.c.folder == folder, tally.c.state == state)
            if connection.execute(row.values(documents=tally.c.documents + change)).rowcount == 0:
                connection.execute(insert(tally).values(folder=folder, state=state, documents=change))
    connection.execute(update(document).where(*unsent).values(state=State.RECEIVED, attempts=0, last_error=None))


def _add_columns(connection: Connection, *columns: str, table: Table = document) -> None:
    for column in columns:
        definition = CreateColumn(table.c[column]).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")


# From the version that is the key to the next one. Each runs inside the transaction that opens the ledger.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {
    1: _to_version_2,
    2: _to_version_3,
    3: _to_version_4,
}


def check(connection: Connection) -> int | None:
    """Return the version of the database's schema; None if it is empty.

    Raises:
        LedgerTooNew: a newer sealdrop wrote it.
        Fatal: it holds something else than a ledger.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if schema_version.name not in tables:
        raise Fatal("the database holds tables that are not sealdrop's: give the ledger a file of its own")
    version: int | None = connection.scalar(select(schema_version.c.version))
    if version is None:
        raise Fatal("the ledger does not say which version it is: restore it from a backup")
    if version > SCHEMA_VERSION:
        raise LedgerTooNew(
            f"the ledger has version {version}, this sealdrop knows up to {SCHEMA_VERSION}: "
            "run the newer sealdrop that wrote it"
        )
    return version


def prepare(connection: Connection) -> None:
    """Leave the database with the present schema: create it, or bring an older one forward.

    Everything happens in the caller's transaction: a crash leaves the old schema, or none.

    Raises:
        LedgerTooNew: a newer sealdrop wrote the database.
        Fatal: it holds something else than a ledger.
    """
    version = check(connection)
    if version is None:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
        genesis = {"head_seq": GENESIS.seq, "head_hash": GENESIS.hash}
        connection.execute(insert(chain).values(id=1, **genesis, flushed_seq=GENESIS.seq, flushed_hash=GENESIS.hash))
        return
    for older in range(version, SCHEMA_VERSION):
        MIGRATIONS[older](connection)
        connection.execute(update(schema_version).values(version=older + 1))
