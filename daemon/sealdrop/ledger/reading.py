"""Looking at the ledger. Nothing here writes, so a command may use it while a daemon works.

Each method sees one moment of the database. Answers are bounded or come in batches, however long the history is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, text

from sealdrop.errors import Fatal
from sealdrop.ledger import schema
from sealdrop.ledger.database import Database
from sealdrop.ledger.schema import (
    ACTIVE,
    DOCUMENT_COLUMNS,
    FAILED,
    address,
    chain,
    document,
    inbound,
    sent,
    tally,
    trouble,
)
from sealdrop.ledger.statement import Query, Values, limited
from sealdrop.model import AuditHead, Document, DocumentId, Hold, Reason, Sha256, State, Trouble

_FOUND_AT_MOST = 20
# Reasons of documents that were sealed, and billed, though no sealed PDF came back.
BILLED = (Reason.SEALED_CONTENT_MISSING, Reason.ARCHIVE_FAILED)
# Documents that SignAPI may have, and of which it will be asked.
AT_SIGNAPI = (State.SUBMITTING, State.SUBMITTED, State.SEALING, State.ARCHIVING, State.RETRYING)


@dataclass(frozen=True, slots=True)
class Held:
    """Documents of one folder that are kept waiting for one reason, and the first moment at which that ends."""

    folder: str
    hold: Hold
    documents: int
    until: datetime


@dataclass(frozen=True, slots=True)
class InSpool:
    """A document that has not come to its end, and what it has in the spool."""

    document: DocumentId
    folder: str
    state: State
    size_bytes: int
    sealed_size_bytes: int | None


def to_document(row: Iterable[Any]) -> Document:
    """Return the document in a row of `DOCUMENT_COLUMNS`."""
    return Document(*row)


class LedgerReader:
    """What is known of the documents, to look at. Use it as a context manager, or close it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open_read_only(cls, path: Path) -> "LedgerReader":
        """Return the ledger in the file ``path``, never changing it, even while a daemon writes there.

        Raises:
            Fatal: there is no ledger, it cannot be trusted, or an older sealdrop wrote it.
            LedgerTooNew: a newer sealdrop wrote it.
            Retryable: it cannot be read now.
        """
        database = Database.at_path_read_only(path)
        try:
            with database.reading() as connection:
                if schema.check(connection) != schema.SCHEMA_VERSION:
                    raise Fatal(f"the ledger {path} is empty or of an older sealdrop: start this one's daemon once")
        except BaseException:
            database.close()
            raise
        return LedgerReader(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def get(self, document_id: str) -> Document | None:
        """Return the document with that ID, or None.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._database.reading() as connection:
            return _with_id(connection, document_id)

    def find(self, wanted: str, *, limit: int = _FOUND_AT_MOST, state: State | None = None) -> tuple[Document, ...]:
        """Return the documents with that ID, short ID or file name, newest first, at most ``limit``.

        With ``state``, only those that are in it.

        A file name may be given alone, or as the path below the inbound folder.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        identifier = wanted.strip().lower()
        named = _documents().where(document.c.file_name == wanted.rpartition("/")[2])
        if "/" in wanted:
            named = named.where(document.c.name == wanted)
        # One query for each way, since each has an index of its own.
        queries = (
            _documents().where(document.c.id == identifier),
            _documents().where(document.c.short_id == identifier),
            named,
        )
        found: dict[DocumentId, Document] = {}
        with self._database.reading() as connection:
            for query in queries:
                wanted_state = query if state is None else query.where(document.c.state == state)
                newest = wanted_state.order_by(document.c.received_at.desc()).limit(limit)
                found |= {row.id: to_document(row) for row in connection.execute(newest)}
        return tuple(sorted(found.values(), key=lambda one: (one.received_at, one.id), reverse=True)[:limit])

    def knows_content(self, sha256: Sha256) -> bool:
        """Return whether a document of that content was ever taken over.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        return self._first(_documents().where(document.c.sha256 == sha256).limit(1)) is not None

    def earlier_of(self, later: Document) -> Document | None:
        """Return the first document of the same content, account and folder that was put on record before ``later``.

        Only if it was sealed, or may yet be: what was rejected, or failed without a seal, is none.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        return self._one(_EARLIER, {**_same_place(later), "before": later.first_seq})

    def twin_of(self, one: Document) -> Document | None:
        """Return another document of the same content, account and folder that was sealed, or may yet be.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        same = (document.c.sha256 == one.sha256, document.c.folder == one.folder, document.c.account == one.account)
        return self._first(_documents().where(*same, _IS_SEALED_OR_MAY_BE, document.c.id != one.id).limit(1))

    def sealed_as(self, content: Document) -> Document | None:
        """Return the document of the same folder and account whose sealed PDF the ``content`` of this one is.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        return self._one(_SEALED_AS, _same_place(content))

    def any_due(self, state: State, now: datetime) -> bool:
        """Return whether a document of that state is due.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        due = _documents().where(document.c.state == state, document.c.due_at.is_not(None), document.c.due_at <= now)
        return self._first(due.limit(1)) is not None

    def taken_from(self, path: Path) -> frozenset[str]:
        """Return the names of the folders whose documents were dropped at ``path``, or above or below it, if ever.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._database.reading() as connection:
            known = [(row.folder, Path(row.path)) for row in connection.execute(select(inbound))]
        return frozenset(name for name, at in known if at.is_relative_to(path) or path.is_relative_to(at))

    def originals_standing(self, *folders: str) -> tuple[Document, ...]:
        """Return the folders' documents whose originals are not known to be gone from inbound; normally few.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        standing = _documents().where(document.c.folder.in_(folders), document.c.original_stands.is_(True))
        with self._database.reading() as connection:
            return tuple(to_document(row) for row in connection.execute(standing))

    def originals_orphaned(self, folders: Collection[str]) -> tuple[Document, ...]:
        """Return the documents of all but these folders whose originals are not known to be gone; normally none.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        orphaned = _documents().where(document.c.folder.not_in(folders), document.c.original_stands.is_(True))
        with self._database.reading() as connection:
            return tuple(to_document(row) for row in connection.execute(orphaned))

    def counts(self) -> Mapping[str, Mapping[State, int]]:
        """Return how many documents there are, for each folder and for each state that has any.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        counted: dict[str, dict[State, int]] = {}
        with self._database.reading() as connection:
            for folder, state, documents in connection.execute(select(tally).order_by(tally.c.folder)):
                if documents:
                    counted.setdefault(folder, {})[state] = documents
        return counted

    def under_way(self) -> Iterator[InSpool]:
        """Yield all documents that have not come to their end, or wait to be given back.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        sizes = (document.c.size_bytes, document.c.sealed_size_bytes)
        columns = (document.c.id, document.c.folder, document.c.state, *sizes)
        with self._database.reading() as connection:
            for row in connection.execute(select(*columns).where(ACTIVE)):
                yield InSpool(*row)

    def oldest_waiting(self, *, unheld_at: datetime | None = None) -> Mapping[str, Document]:
        """Return, for each folder that has any, the document that has waited longest for its end, or to be given back.

        With ``unheld_at``, none of those that wait on purpose at that moment (`held`).

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        oldest = {}
        with self._database.reading() as connection:
            folders = connection.scalars(select(tally.c.folder).distinct()).all()
            for folder in folders:
                query = _documents().where(ACTIVE, document.c.folder == folder)
                if unheld_at is not None:
                    query = query.where(~_is_held(unheld_at))
                row = connection.execute(query.order_by(document.c.received_at).limit(1)).one_or_none()
                if row is not None:
                    oldest[folder] = to_document(row)
        return oldest

    def failed_after(self, seq: int, *, limit: int) -> tuple[Document, ...]:
        """Return the documents that failed and were given back, with a newest record past ``seq``, in that order.

        None whose newest record is that its files were removed: it failed long before that.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        query = _documents().where(FAILED, document.c.last_seq > seq, document.c.expired_at.is_(None))
        query = query.order_by(document.c.last_seq).limit(limit)
        with self._database.reading() as connection:
            return tuple(to_document(row) for row in connection.execute(query))

    def held(self, now: datetime) -> tuple[Held, ...]:
        """Return what is kept waiting on purpose, by folder and reason; what may go on by now does not count.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        counted = select(document.c.folder, document.c.hold, func.count(), func.min(document.c.due_at))
        counted = counted.where(_is_held(now))
        with self._database.reading() as connection:
            rows = connection.execute(counted.group_by(document.c.folder, document.c.hold)).all()
        return tuple(sorted((Held(*row) for row in rows), key=lambda each: (each.folder, each.hold)))

    def sent_on(self, folder: str, day: date) -> int:
        """Return how many of the folder's documents were sent on that local day, if it had a daily quota then.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        query = select(sent.c.documents).where(sent.c.folder == folder, sent.c.day == day.isoformat())
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def is_kept_by_another(self, one: Document, name: str, folders: Collection[str]) -> bool:
        """Return whether another document of that content and these folders has its original kept as ``name``.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        same = (document.c.sha256 == one.sha256, document.c.folder.in_(folders), document.c.kept_name == name)
        standing = document.c.expired_at.is_(None) | document.c.kept_until.is_not(None)
        others = _documents().where(*same, document.c.id != one.id, standing)
        return self._first(others.limit(1)) is not None

    def is_given_to_a_later(self, one: Document, name: str, folders: Collection[str]) -> bool:
        """Return whether a document of that content and these folders was given back as ``name`` after ``one`` was.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        same = (document.c.sha256 == one.sha256, document.c.folder.in_(folders), document.c.published_name == name)
        later = (document.c.state.in_((State.REJECTED, State.FAILED)), document.c.last_seq > one.last_seq)
        standing = document.c.expired_at.is_(None) | document.c.kept_until.is_not(None)
        return self._first(_documents().where(*same, *later, standing).limit(1)) is not None

    def troubles(self) -> tuple[Trouble, ...]:
        """Return what is wrong with the service's surroundings, as far as it could write that down; oldest first.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        query = select(trouble.c.subject, trouble.c.since, trouble.c.text).order_by(trouble.c.since, trouble.c.subject)
        with self._database.reading() as connection:
            return tuple(Trouble(*row) for row in connection.execute(query))

    def waiting_for(self) -> Mapping[tuple[str, str], DocumentId]:
        """Return the folders and accounts that documents wait for, or to be given back to, each with one document.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        query = select(document.c.folder, document.c.account, func.min(document.c.id)).where(ACTIVE)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(document.c.folder, document.c.account)).all()
        return {(folder, account): document_id for folder, account, document_id in rows}

    def sent_for(self, account: str) -> DocumentId | None:
        """Return a document of the account that was perhaps sent to SignAPI and whose answer is not here; None if none.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        sent = (ACTIVE, document.c.account == account, document.c.state.in_(AT_SIGNAPI))
        with self._database.reading() as connection:
            return connection.scalars(select(document.c.id).where(*sent).limit(1)).first()

    def addresses(self) -> Mapping[str, str]:
        """Return where the documents of each account were sent so far, as far as that is known.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._database.reading() as connection:
            return {row.account: row.base_url for row in connection.execute(select(address))}

    def audit_head(self) -> AuditHead:
        """Return the newest record of the chain, whether it is in the files yet or not.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        return self._head(chain.c.head_seq, chain.c.head_hash, chain.c.head_at)

    def audit_flushed_head(self) -> AuditHead:
        """Return the newest record that is known to be durable in the files: they must still hold it.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        return self._head(chain.c.flushed_seq, chain.c.flushed_hash, chain.c.flushed_at)

    def _head(self, *columns: Any) -> AuditHead:  # noqa: ANN401 (columns of three types)
        with self._database.reading() as connection:
            return AuditHead(*connection.execute(select(*columns)).one())

    def _one(self, query: Query, values: Values) -> Document | None:
        """Return the document whose ID is found. Usually none is: to ask for all of it at once would be dear."""
        with self._database.reading() as connection:
            ids = query.rows(connection, values)
            return _with_id(connection, ids[0][0]) if ids else None

    def _first(self, query: Select[Any]) -> Document | None:
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else to_document(row)


def _documents() -> Select[Any]:
    return select(*DOCUMENT_COLUMNS)


def _with_id(connection: Connection, document_id: str) -> Document | None:
    rows = _WITH_ID.rows(connection, {"with_id": document_id})
    return to_document(rows[0]) if rows else None


def _is_held(now: datetime) -> ColumnElement[bool]:
    """Whether a document waits on purpose: what may go on by now, or is at work, does not."""
    return document.c.hold.is_not(None) & document.c.lease.is_(None) & (document.c.due_at > now)


# A seal that came back, or that the service claimed to have made, was billed, whatever became of the document. As text,
# for values that are always the same would be given anew each time.
_IS_SEALED = f"(sealed_sha256 IS NOT NULL OR reason IN ({', '.join(repr(reason.value) for reason in BILLED)}))"
_IS_SEALED_OR_MAY_BE = text(
    f"NOT (state = {State.REJECTED.value!r} OR (state = {State.FAILED.value!r} AND NOT {_IS_SEALED}))"
)

# What is asked of every document, or nearly.
_WITH_ID = Query(_documents().where(document.c.id == bindparam("with_id")))
_IN_SAME_PLACE = select(document.c.id).where(
    document.c.folder == bindparam("in_folder"), document.c.account == bindparam("of_account")
)
_IN_SAME_PLACE = limited(_IN_SAME_PLACE.order_by(document.c.first_seq))
_EARLIER = Query(
    _IN_SAME_PLACE.where(
        document.c.sha256 == bindparam("with_sha256"), _IS_SEALED_OR_MAY_BE, document.c.first_seq < bindparam("before")
    )
)
# Said twice, for the index: it holds only what is sealed.
_SEALED_AS = Query(
    _IN_SAME_PLACE.where(document.c.sealed_sha256 == bindparam("with_sha256"), document.c.sealed_sha256.is_not(None))
)


def _same_place(one: Document) -> dict[str, object]:
    return {"with_sha256": one.sha256, "in_folder": one.folder, "of_account": one.account, "limit": 1}
