"""Transactions on the ledger's database, with its errors in our words.

Rules:

- SQLite runs in WAL mode with ``synchronous=FULL``: a transaction that has committed survives a power cut.
- What a killed process wrote and did not flush is flushed before it is read.
- A transaction that records nothing which a power cut ends anyway need not wait for the disk; its writer says so.
- A writing transaction takes SQLite's write lock when it begins (BEGIN IMMEDIATE), so it never has to give up half
  way because somebody else wrote in between. Threads of one process wait for a lock, which wakes at once; only other
  processes are waited for by SQLite's busy timeout, which polls. The lock is not fair; one that was did not shorten
  what anybody waits.
- All writing goes through one connection: fetching one from the pool took longer than SQLite's part of a transaction,
  and SQLite forgets all that it has read of the file when another connection has written.
- Python's own handling of SQLite transactions is switched off: every BEGIN is ours.
- No error text holds a statement's parameters, for they are a document's.

An I/O error at commit is reported as "nothing was committed", which holds for everybody who reads the database. One
residual case: the disk may still have got the transaction, and if the machine then loses power before the next
commit overwrites it, it is there afterwards. A ledger that is one whole step further than its writer knew is
consistent, and start-up goes by what the ledger says.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self, cast

from pydantic_core import PydanticSerializationError
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.pool import QueuePool

from sealdrop.durable import fsync_folder
from sealdrop.errors import Fatal, Retryable, SealdropError, Unrecordable

# How long a process waits for another one's writing transaction.
BUSY_TIMEOUT_S = 10.0
# Looking over a larger file would make a restart wait too long: 1.2 GB took 1.9 s with all of it in memory.
QUICK_CHECK_BYTES = 256 << 20
# Beyond it, the write-ahead log is cut back at the next checkpoint.
WAL_BYTES = 64 << 20
# What SQLite does with its log at a commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
FLUSHED, WRITTEN = "FULL", "NORMAL"

# Nothing was applied, and waiting may help: somebody else writes, the disk is full or failed once, descriptors or
# memory ran out (https://www.sqlite.org/rescode.html).
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """One database: its transactions, and what goes wrong in them."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._driver = engine.dialect.loaded_dbapi
        self._lock = threading.Lock()
        self._writer: Connection | None = None  # whoever has the lock may use it
        self._flushes: bool | None = None  # whether it flushes at each commit, as far as it was told
        self.name = name

    @classmethod
    def at_url(cls, url: str) -> Self:
        """Return the database server's database at an SQLAlchemy URL; nothing is connected yet.

        Raises:
            Fatal: it is no such URL, its driver is not installed, or it is an SQLite file's (give its path instead:
                what keeps a file safe is set up there).
        """
        try:
            engine = create_engine(url, hide_parameters=True)
        except (sqlalchemy_errors.SQLAlchemyError, ImportError) as error:
            raise Fatal("the ledger's URL cannot be used: it is malformed, or its driver is not installed") from error
        if engine.dialect.name == "sqlite":
            raise Fatal("a ledger in a file is given by its path, not by a URL")
        return cls(engine, engine.url.render_as_string(hide_password=True))

    @classmethod
    def at_path(cls, path: Path) -> Self:
        """Return the SQLite database in the file ``path``, created for its owner only if there is none.

        Raises:
            Fatal: there is something else than a file, it cannot be created, or what is in it is damaged.
            Retryable: another process holds it, or the disk is full or failing.
        """
        _create_file(path)
        _make_durable(path)
        database = cls(_sqlite_engine(path.absolute().as_uri()), str(path))
        try:
            database._set_up(path)
        except SealdropError:
            database.close()
            raise
        return database

    @classmethod
    def at_path_read_only(cls, path: Path) -> Self:
        """Return the SQLite database in the file ``path``; nothing is ever written, whether a daemon runs or not.

        While a daemon runs, SQLite's shared-memory file is used. When there is no write-ahead log, nobody has the
        database open, and even that file is spared: the database is read as it lies there. A daemon that starts
        meanwhile is then not seen, so open anew for each look.

        Raises:
            Fatal: there is no such file.
        """
        if not path.is_file():
            raise Fatal(f"there is no ledger at {path}: has the daemon been started with this configuration?")
        absolute = path.absolute()
        in_use = absolute.with_name(f"{absolute.name}-wal").exists()
        return cls(_sqlite_engine(f"{absolute.as_uri()}?{'mode=ro' if in_use else 'immutable=1'}"), str(path))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that sees one moment of the database.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._translated(), self._engine.connect() as connection, connection.begin():
            self._begin(connection, "DEFERRED")
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """Yield a connection in the only writing transaction there is; it commits durably, or leaves nothing.

        If not ``durable``, a power cut may undo it, together with those after it that are not durable either; nothing
        else may. The next durable one makes it durable as well.

        Raises:
            Retryable: the database cannot be written now; nothing was committed.
            Unrecordable: a value cannot be written down; nothing was committed.
            Fatal: the database cannot be trusted.
        """
        with self._writing_connection() as connection, connection.begin():
            self._tell_whether_to_flush(connection, durable=durable)
            self._begin(connection, "IMMEDIATE")
            yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """Yield a connection to read with as `reading`, for what is asked all the time and answered at once.

        It is the one that all writing goes through, so it has most of what it reads in memory, and nobody writes
        meanwhile.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._writing_connection() as connection, connection.begin():
            self._begin(connection, "DEFERRED")
            yield connection

    @contextmanager
    def _writing_connection(self) -> Iterator[Connection]:
        with self._translated(), self._lock:
            connection = self._writer or self._engine.connect()
            self._writer = None
            try:
                yield connection
            except BaseException:
                # Back into the pool, which sees to it that nothing of the transaction is left.
                self._flushes = None
                connection.close()
                raise
            self._writer = connection

    def _begin(self, connection: Connection, kind: str) -> None:
        """Begin SQLite's transaction; elsewhere one has begun, as it has for SQLAlchemy."""
        if self._is_sqlite:
            _driver(connection).execute(f"BEGIN {kind}")

    def _tell_whether_to_flush(self, connection: Connection, *, durable: bool) -> None:
        """Have SQLite flush its log at each commit from now on, or only write it."""
        if self._is_sqlite and durable is not self._flushes:
            # As a script: SQLite obeys this one when it is prepared, and the driver keeps what it has prepared.
            _driver(connection).executescript(f"PRAGMA synchronous = {FLUSHED if durable else WRITTEN}")
            self._flushes = durable

    def _set_up(self, path: Path) -> None:
        # Outside a transaction, as SQLite asks: through the driver's connection, with which SQLAlchemy begins none.
        with (
            self._translated(),
            self._engine.connect() as connection,
            closing(connection.connection.cursor()) as cursor,
        ):
            cursor.execute("PRAGMA journal_mode = WAL")
        if path.stat().st_size <= QUICK_CHECK_BYTES:
            self.look_over()

    def look_over(self) -> None:
        """Pass if SQLite finds nothing wrong with how the file is built, having read all of it.

        Raises:
            Fatal: it is damaged.
            Retryable: it cannot be read now.
        """
        with self._translated(), self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if found != "ok":
                raise self._damaged(" ".join(str(found).split()))

    def close(self) -> None:
        """Close all connections; the last one to close a SQLite database folds its write-ahead log in."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy_errors.SQLAlchemyError as error:
            raise self._in_our_words(error) from error
        except self._driver.Error as error:
            raise self._of_driver(error, str(error)) from error
        except (PydanticSerializationError, UnicodeEncodeError, OverflowError) as error:
            raise Unrecordable(f"the ledger cannot hold a value: {error}") from error
        except ValueError as error:
            # A row's own: a state that is none, a report that is not one. What it holds is a document's.
            raise self._damaged(f"a row cannot be understood, {type(error).__name__}") from error

    def _in_our_words(self, error: sqlalchemy_errors.SQLAlchemyError) -> SealdropError:
        orig = error.orig if isinstance(error, sqlalchemy_errors.StatementError) else None
        if isinstance(orig, self._driver.Error):
            return self._of_driver(orig, str(orig))
        if isinstance(orig, ValueError | OverflowError):
            return Unrecordable(f"the ledger cannot hold a value: {orig}")
        if isinstance(error, sqlalchemy_errors.TimeoutError):
            return Retryable(f"the ledger {self.name} cannot be used now: {type(error).__name__}")
        return Fatal(f"the ledger {self.name} failed: {orig or error}")

    def _of_driver(self, error: BaseException, what: str) -> SealdropError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        is_passing = primary in _PASSING if self._is_sqlite else isinstance(error, self._driver.OperationalError)
        if is_passing:
            return Retryable(f"the ledger {self.name} cannot be used now, nothing was committed: {what}")
        if primary in _DAMAGED:
            return self._damaged(what)
        return Fatal(f"the ledger {self.name} failed: {what}")

    def _damaged(self, what: str) -> Fatal:
        return Fatal(
            f"the ledger {self.name} is damaged ({what}). Keep the file, with its -wal and -shm beside it, for "
            "analysis; put the newest backup in its place; run `sealdrop audit verify` before starting again"
        )


def _create_file(path: Path) -> None:
    """SQLite takes an empty file for a new database, and gives its other files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        if not path.is_file():
            raise Fatal(f"the ledger {path} is not a file") from error
    except OSError as error:
        raise Fatal(f"the ledger {path} cannot be created: {error}") from error


def _make_durable(path: Path) -> None:
    """Flush what the last process wrote, before anybody reads it.

    If that one was killed while it committed, the log holds a transaction that was written and not flushed. From now on
    it counts as committed, so it must not be gone when the power is.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        if log.exists():
            fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        fsync_folder(path.parent)
    except OSError as error:
        raise Retryable(f"the ledger {path} cannot be made durable: {error}") from error


def _sqlite_engine(uri: str) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA synchronous = {FLUSHED}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool, max_overflow=-1, hide_parameters=True)


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)
