"""What the daemon knows of every document, and what waits to be done: the ledger.

Rules:

- A document's change and its audit record are one transaction, which also moves the chain's head (`recording`).
- A document belongs to whoever holds its lease. A change is made only while the row still has the state and the
  lease that the worker saw; else the worker's outcome is dropped, and nothing goes on record for it.
- ``due_at`` is when a row may be claimed. A claim moves it to the lease's end: a worker that died needs no clean-up,
  its rows fall due again.
- ``first_seq`` and ``last_seq`` are those of the document's records; what a caller puts there is replaced.
- Records wait in the outbox until the files have them for good. If we crash between writing the files and
  `Ledger.audit_written`, they are handed out again, and the files know them by their ``seq``.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from sqlalchemy import Column, bindparam, delete, false, insert, select, update

from sealdrop.clock import Clock
from sealdrop.errors import LeaseLost, TrailBroken
from sealdrop.ledger import schema
from sealdrop.ledger.claiming import Wanted
from sealdrop.ledger.database import Database
from sealdrop.ledger.reading import LedgerReader, to_document
from sealdrop.ledger.recording import Link, Ration, Recording, Step, is_over
from sealdrop.ledger.schema import DOCUMENT_COLUMNS, address, chain, document, inbound, outbox, trouble
from sealdrop.ledger.statement import Query, Statement, limited
from sealdrop.model import AuditHead, AuditRecord, Document, DocumentId, Event, State, Trouble

__all__ = ["Claimed", "Ledger", "Link", "Ration", "Step"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """Documents to work on, under a lease, and when the next of their kind falls due (None: none waits)."""

    documents: tuple[Document, ...]
    next_due_at: datetime | None


class Ledger(LedgerReader):
    """The ledger, to write: safe to share between threads."""

    def __init__(self, database: Database, *, link: Link, clock: Clock) -> None:
        super().__init__(database)
        self._link = link
        self._clock = clock

    @classmethod
    def open(cls, where: Path | str, *, link: Link, clock: Clock) -> Self:
        """Return the ledger at ``where``, with the present schema: an SQLite file's path, or a server's URL.

        A new file is readable by its owner only. A file up to `QUICK_CHECK_BYTES` is looked over for damage.

        Raises:
            Fatal: the ledger is damaged, is not one, or cannot be created.
            LedgerTooNew: a newer sealdrop wrote it.
            Retryable: it cannot be used now.
        """
        database = Database.at_path(where) if isinstance(where, Path) else Database.at_url(where)
        try:
            with database.writing() as connection:
                schema.prepare(connection)
        except BaseException:
            database.close()
            raise
        return cls(database, link=link, clock=clock)

    def add(self, new: Document, event: Event) -> Document:
        """Store a new document and its first record in one transaction; return it as it stands.

        Raises:
            Retryable: the database cannot be written now; nothing was committed.
            Unrecordable: the document or the event cannot be written down; nothing was committed.
            Fatal: there is a document with that ID, or the database cannot be trusted.
        """
        with self._recording() as recording:
            added = recording.make(Step(None, new, event))
        if isinstance(added, LeaseLost):
            raise added
        return added

    def record(self, *steps: Step) -> tuple[Document | LeaseLost, ...]:
        """Make the steps, each with its record, all in one transaction; return the outcomes in the steps' order.

        An outcome is the document as it stands. Or it is `LeaseLost`, where somebody else has claimed the document
        meanwhile or moved it on: it is left as it is and gets no record, and the other steps are made all the same.
        Several steps of one document follow each other: the later one's ``before`` has the state and the lease of
        the earlier one's ``after``.

        Raises:
            Retryable: the database cannot be written now; nothing was committed.
            Unrecordable: a document or an event cannot be written down; nothing was committed.
            Fatal: a new document's ID is taken, or the database cannot be trusted.
        """
        if not steps:
            return ()
        with self._recording() as recording:
            return tuple(recording.make(step) for step in steps)

    def note(self, event: Event) -> AuditRecord:
        """Put an event on record that concerns no document; return its record.

        Raises:
            Retryable: the database cannot be written now; nothing was committed.
            Unrecordable: the event cannot be written down; nothing was committed.
            Fatal: the database cannot be trusted.
        """
        with self._recording() as recording:
            return recording.note(event)

    def close_day(self) -> AuditRecord | None:
        """Put on record that the newest record's day is closed, if it is over and not closed yet; return the record.

        Whatever else goes on record closes it too: this is for when nothing happens. Where there is nothing to close,
        nothing is written.

        Raises:
            Retryable: the database cannot be written now; nothing was committed.
            Fatal: it cannot be trusted.
        """
        if not is_over(self.audit_head(), self._clock.now()):
            return None
        with self._recording() as recording:
            return recording.close_day()

    def original_removed(self, documents: Collection[DocumentId]) -> None:
        """Take note that the originals of these documents are gone from inbound; see `originals_standing`.

        Raises:
            Retryable: the database cannot be written now.
            Fatal: it cannot be trusted.
        """
        if not documents:
            return
        # If a power cut undoes it, they are looked for once more.
        with self._database.writing(durable=False) as connection:
            _GONE.execute_each(connection, [{"gone": each} for each in documents])

    def claim(
        self,
        *states: State,
        now: datetime,
        limit: int,
        lease_s: float,
        account: str | None = None,
        folder: str | None = None,
        suspect: bool | None = None,
    ) -> Claimed:
        """Return up to ``limit`` due documents of those states, oldest due first, for the caller alone for ``lease_s``.

        With ``account`` or ``folder``, only theirs are looked at; with ``suspect``, only those that are or are not.
        When nothing is due, nothing is written.

        Raises:
            Retryable: the database cannot be used now; nothing was claimed.
            Fatal: it cannot be trusted.
        """
        wanted = Wanted(states, account, folder, suspect)
        with self._database.looking() as connection:
            waiting = wanted.waiting(connection)
        due = [state for state, due_at in waiting.items() if due_at <= now]
        if not due:
            return Claimed((), min(waiting.values(), default=None))
        # A power cut ends whoever holds a lease, so it may undo it.
        with self._database.writing(durable=False) as connection:
            claimed = wanted.claim(connection, due, now=now, limit=limit, lease_s=lease_s)
            return Claimed(claimed, min(wanted.waiting(connection).values(), default=None))

    def next_expiry(self) -> datetime | None:
        """Return when the files of the next document may be removed, None if all that stand are kept for ever.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._database.reading() as connection:
            return connection.scalar(_NEXT_EXPIRY)

    def claim_kept(self, *, now: datetime, limit: int, lease_s: float) -> Claimed:
        """Return up to ``limit`` documents whose files may be removed by now, for the caller alone for ``lease_s``.

        As `claim`, but ``kept_until`` moves to the lease's end: nothing else is left to do for these documents. While
        one has a lease, nobody can have it tried again.

        Raises:
            Retryable: the database cannot be used now; nothing was claimed.
            Fatal: it cannot be trusted.
        """
        next_at = self.next_expiry()
        if next_at is None or next_at > now:
            return Claimed((), next_at)
        with self._database.writing() as connection:
            due = select(document.c.id).where(*_KEPT, document.c.kept_until <= now)
            due = due.order_by(document.c.kept_until).limit(limit).with_for_update(skip_locked=True)
            lease = {"lease": secrets.token_hex(8), "kept_until": now + timedelta(seconds=lease_s)}
            held = update(document).where(document.c.id.in_(connection.scalars(due).all()))
            claimed = tuple(map(to_document, connection.execute(held.values(lease).returning(*DOCUMENT_COLUMNS))))
            return Claimed(claimed, connection.scalar(_NEXT_EXPIRY))

    def give_up_kept(self, documents: Collection[Document]) -> None:
        """As `give_up_leases`, for what `claim_kept` gave.

        Raises:
            Retryable: the database cannot be written now; they fall due when their lease ends.
            Fatal: it cannot be trusted.
        """
        self._give_up(documents, document.c.kept_until)

    def release_leases(self, node: str) -> int:
        """Make the documents due at once that ``node`` held when it stopped; return their number. For start-up only.

        Raises:
            Retryable: the database cannot be written now; nothing was released.
            Fatal: it cannot be trusted.
        """
        # Naming the states lets the partial index over what waits answer, so that history is not read.
        leased = (document.c.state.in_(tuple(State)), document.c.due_at.is_not(None), document.c.lease.is_not(None))
        with self._database.writing() as connection:
            release = update(document).where(*leased, document.c.node == node)
            return connection.execute(release.values(lease=None, due_at=self._clock.now())).rowcount

    def hasten(self, now: datetime) -> int:
        """Make all documents due that wait for a later moment, but for those that a worker holds; return their number.

        For when the clock was set back: then they would wait for longer than was meant.

        Raises:
            Retryable: the database cannot be written now; nothing was changed.
            Fatal: it cannot be trusted.
        """
        later = (document.c.state.in_(tuple(State)), document.c.due_at > now, document.c.lease.is_(None))
        with self._database.writing() as connection:
            return connection.execute(update(document).where(*later).values(due_at=now)).rowcount

    def hasten_copies(self, earlier: Document) -> int:
        """Make due what waits to be validated and has the content of ``earlier``; return the number of documents.

        Where there is none, nothing is written.

        Raises:
            Retryable: the database cannot be used now; nothing was changed.
            Fatal: it cannot be trusted.
        """
        now = self._clock.now()
        of = {"with_sha256": earlier.sha256, "in_folder": earlier.folder, "of_account": earlier.account}
        values = {**of, "in_state": State.RECEIVED, "now": now}
        with self._database.reading() as connection:
            if not _COPIES.rows(connection, {**values, "limit": 1}):
                return 0
        with self._database.writing() as connection:
            return _HASTEN_COPIES.execute(connection, values)

    def give_up_leases(self, documents: Collection[Document]) -> None:
        """Make claimed documents due at once again, for a worker that could not record what became of them.

        A document whose lease is not the one that was claimed is left alone.

        Raises:
            Retryable: the database cannot be written now; they fall due when their lease ends.
            Fatal: it cannot be trusted.
        """
        self._give_up(documents, document.c.due_at)

    def _give_up(self, documents: Collection[Document], due: Column[datetime]) -> None:
        with self._database.writing() as connection:
            for each in documents:
                held = update(document).where(document.c.id == each.id, document.c.lease == each.lease)
                connection.execute(held.values({document.c.lease: None, due: self._clock.now()}))

    def troubled(self, node: str, new: Trouble) -> None:
        """Keep a trouble of ``node``, in the place of what was known of the same subject.

        Raises:
            Retryable: the database cannot be written now.
            Fatal: it cannot be trusted.
        """
        with self._database.writing() as connection:
            connection.execute(delete(trouble).where(trouble.c.node == node, trouble.c.subject == new.subject))
            row = {"node": node, "subject": new.subject, "since": new.since, "text": new.text}
            connection.execute(insert(trouble).values(row))

    def relieved(self, node: str, subject: str | None = None) -> None:
        """Forget a trouble of ``node``, or all of them; it is no fault if there is none.

        Raises:
            Retryable: the database cannot be written now.
            Fatal: it cannot be trusted.
        """
        gone = delete(trouble).where(trouble.c.node == node)
        if subject is not None:
            gone = gone.where(trouble.c.subject == subject)
        with self._database.writing() as connection:
            connection.execute(gone)

    def keep_places(self, addresses: Mapping[str, str], inbounds: Mapping[str, Path]) -> None:
        """Keep where the documents of each account are sent from now on, and where those of each folder are dropped.

        Accounts that are not named stay as they are; what was an inbound folder once stays known as that.

        Raises:
            Retryable: the database cannot be written now; nothing was kept.
            Fatal: it cannot be trusted.
        """
        with self._database.writing() as connection:
            connection.execute(delete(address).where(address.c.account.in_(addresses)))
            connection.execute(insert(address), [{"account": name, "base_url": url} for name, url in addresses.items()])
            known = {(row.folder, row.path) for row in connection.execute(select(inbound))}
            new = [(name, str(path)) for name, path in inbounds.items() if (name, str(path)) not in known]
            if new:
                connection.execute(insert(inbound), [{"folder": name, "path": path} for name, path in new])

    def audit_pending(self, limit: int) -> tuple[AuditRecord, ...]:
        """Return the oldest ``limit`` records that are not known to be in the files, in the order of the chain.

        Raises:
            Retryable: the database cannot be read now.
            Fatal: it cannot be trusted.
        """
        with self._database.reading() as connection:
            return tuple(AuditRecord(*row) for row in _PENDING.rows(connection, {"limit": limit}))

    def audit_written(self, head: AuditHead | AuditRecord) -> None:
        """Take note that the files durably hold every record up to ``head``, and let go of those.

        Raises:
            Retryable: the database cannot be written now; the records will be handed out again.
            TrailBroken: the files hold another chain than the ledger: one of the two was replaced.
        """
        # If a power cut undoes it, the records are handed out again.
        with self._database.writing(durable=False) as connection:
            ((head_seq, flushed_seq, flushed_hash),) = _FLUSHED.rows(connection, {})
            if head.seq <= flushed_seq:
                known = flushed_hash if head.seq == flushed_seq else head.hash
            else:
                known = next((each for (each,) in _PENDING_HASH.rows(connection, {"of_seq": head.seq})), None)
            if known != head.hash:
                raise TrailBroken(
                    f"the audit trail's files hold record {head.seq} ({head.hash[:12]}…), the ledger's newest is "
                    f"{head_seq}, and that record is not the same there: one of the two was replaced, perhaps by "
                    "an older copy. Find out which, with `sealdrop audit verify`, before starting again"
                )
            if head.seq > flushed_seq:
                _LET_GO.execute(connection, {"up_to": head.seq})
                flushed = {"flushed_seq": head.seq, "flushed_hash": head.hash, "flushed_at": head.at}
                _MOVE_FLUSHED.execute(connection, flushed)

    @contextmanager
    def _recording(self) -> Iterator[Recording]:
        with self._database.writing() as connection:
            recording = Recording(connection, self._link, self._clock.now())
            yield recording
            recording.store()


_GONE = Statement(
    update(document)
    .where(document.c.id == bindparam("gone"), document.c.original_stands.is_(True))
    .values(original_stands=false())
)
_WAITING_COPIES = (
    document.c.sha256 == bindparam("with_sha256"),
    document.c.folder == bindparam("in_folder"),
    document.c.account == bindparam("of_account"),
    document.c.state == bindparam("in_state"),
    document.c.due_at > bindparam("now"),
    document.c.lease.is_(None),
)
_COPIES = Query(limited(select(document.c.id).where(*_WAITING_COPIES)))
_HASTEN_COPIES = Statement(update(document).where(*_WAITING_COPIES).values(due_at=bindparam("now")))
_PENDING = Query(limited(select(outbox.c.seq, outbox.c.at, outbox.c.hash, outbox.c.line).order_by(outbox.c.seq)))
_PENDING_HASH = Query(select(outbox.c.hash).where(outbox.c.seq == bindparam("of_seq")))
_FLUSHED = Query(select(chain.c.head_seq, chain.c.flushed_seq, chain.c.flushed_hash).with_for_update())
_MOVE_FLUSHED = Statement(
    update(chain).values({name: bindparam(name) for name in ("flushed_seq", "flushed_hash", "flushed_at")})
)
_LET_GO = Statement(delete(outbox).where(outbox.c.seq <= bindparam("up_to")))
# Nothing but their files is left to see to; the partial index over what is kept for a time answers.
_KEPT = (document.c.kept_until.is_not(None), document.c.due_at.is_(None))
_NEXT_EXPIRY = select(document.c.kept_until).where(*_KEPT).order_by(document.c.kept_until).limit(1)
