"""Steps of documents, and how they get on record: inside one writing transaction of the ledger.

The chain's head is read when the transaction begins and put back when it ends, under the database's write lock. So
the chain has neither gap nor fork, whatever number of threads or processes write.

The first record of a day is preceded by one that closes the day before, ``day_closed``, in the same transaction: it is
the last of that day's file, whenever it is written, and says how many there are. On the day on which an older sealdrop
wrote last nobody knows that, and it stays open.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from functools import cache
from operator import attrgetter

from pydantic import JsonValue
from sqlalchemy import Connection, bindparam, insert, select, text, update

from sealdrop.errors import IllegalMove, LeaseLost
from sealdrop.events import EventName
from sealdrop.ledger.schema import FIXED_FIELDS, chain, document, outbox, sent, tally
from sealdrop.ledger.statement import Query, Statement
from sealdrop.model import (
    AuditHead,
    AuditRecord,
    Document,
    DocumentId,
    Event,
    State,
    check_move,
    end_of_day,
    moment_after,
)

# Makes the record that follows a head: at a moment, about a document (or none), for an event.
Link = Callable[[AuditHead, datetime, str | None, Event], AuditRecord]

# What nearly every step changes, and what is written only if a step does: spelling out a report takes long, and with a
# column its indexes are written too.
_MOVING = ("state", "updated_at", "due_at", "lease")
_CHANGING = tuple(field.name for field in fields(Document) if field.name not in {*FIXED_FIELDS, *_MOVING, "first_seq"})
_changing_values = attrgetter(*_CHANGING)

_HELD = update(document).where(
    document.c.id == bindparam("seen_id"),
    document.c.state == bindparam("seen_state"),
    document.c.lease.is_not_distinct_from(bindparam("seen_lease")),
    document.c.retries == bindparam("seen_retries"),  # or a whole try may have come in between
)
_ADD = Statement(insert(document))
_HEAD_COLUMNS = (chain.c.head_seq, chain.c.head_hash, chain.c.head_at, chain.c.day_first_seq)
_HEAD = Query(select(*_HEAD_COLUMNS).with_for_update())
_MOVE_HEAD = Statement(update(chain).values({column: bindparam(column.name) for column in _HEAD_COLUMNS}))
_KEEP = Statement(insert(outbox))
# As text: SQLite and PostgreSQL spell it alike, and SQLAlchemy wants to be told which of the two it is for.
_COUNT = Statement(
    text(
        f"INSERT INTO {tally.name} (folder, state, documents) VALUES (:folder, :state, :change) "  # noqa: S608 - a name
        f"ON CONFLICT (folder, state) DO UPDATE SET documents = {tally.name}.documents + excluded.documents"
    )
)
_SENT = select(sent.c.documents).where(sent.c.folder == bindparam("of_folder"), sent.c.day == bindparam("on_day"))
_COUNT_SENT = update(sent).where(sent.c.folder == bindparam("of_folder"), sent.c.day == bindparam("on_day"))
_COUNT_SENT = _COUNT_SENT.values(documents=bindparam("number"))


@dataclass(frozen=True, slots=True)
class Ration:
    """What a folder may send on a local day. Once that many were sent, the document becomes ``otherwise`` instead."""

    day: date
    documents: int
    otherwise: Document


@dataclass(frozen=True, slots=True)
class Step:
    """One document's change and what goes on record for it; legal by construction.

    Without ``before``, the document is new. Without ``event``, nothing goes on record: only for what leaves the
    document in its state, such as when to look at it next. With a ``ration``, the step is counted, or not made: then
    the document waits, and nothing goes on record.

    Raises:
        IllegalMove: the move is not in the table of moves, nothing would be on record for it, or a fact about the
            drop itself would change.
    """

    before: Document | None
    after: Document
    event: Event | None
    ration: Ration | None = None

    def __post_init__(self) -> None:
        before, after = self.before, self.after
        if before is not None:
            check_move(before.id, before.state, after.state)
            for name in FIXED_FIELDS:
                if getattr(before, name) != getattr(after, name):
                    raise IllegalMove(f"document {before.id} was about to change its {name}, which never changes")
        if self.event is None and (before is None or before.state != after.state):
            raise IllegalMove(f"document {after.id} was about to become {after.state} with nothing on record")
        if self.ration is not None and (before is None or before.state != self.ration.otherwise.state):
            raise IllegalMove(f"document {after.id} was about to wait in another state than it is in")


class Recording:
    """The chain and the tally inside one writing transaction: taken up at its start, put back by `store`."""

    def __init__(self, connection: Connection, link: Link, at: datetime) -> None:
        self._connection = connection
        self._link = link
        self._at = at
        self._kept: list[AuditRecord] = []
        self._tally: Counter[tuple[str, State]] = Counter()
        self._sent: dict[tuple[str, date], int] = {}
        self._made: dict[DocumentId, Document] = {}
        ((*head, self._day_first_seq),) = _HEAD.rows(connection, {})
        self._head = AuditHead(*head)

    def make(self, step: Step) -> Document | LeaseLost:
        """Make the step and keep its record; if the document belongs to somebody else now, leave it as it is."""
        ration = step.ration
        if ration is not None and self._sent_on(step.after.folder, ration.day) >= ration.documents:
            return self.make(Step(step.before, ration.otherwise, None))
        if step.before is None:
            record = self._next(step.after.id, step.event)
            seq = record.seq if record else None
            stored = replace(step.after, first_seq=seq, last_seq=seq)
            _ADD.execute(self._connection, _new_row(stored))
        else:
            record = self._next(step.before.id, step.event)
            # Of what this transaction has made of it already, ``before`` need not tell all.
            known = self._made.get(step.before.id, step.before)
            last_seq = record.seq if record else known.last_seq
            stored = replace(step.after, first_seq=known.first_seq, last_seq=last_seq)
            if not self._update(step.before, known, stored):
                return LeaseLost(f"document {step.before.id} belongs to somebody else now, this outcome is dropped")
            self._tally[stored.folder, step.before.state] -= 1
            if ration is not None:
                self._sent[stored.folder, ration.day] += 1
        self._tally[stored.folder, stored.state] += 1
        self._made[stored.id] = stored
        if record:
            self._keep(record)
        return stored

    def note(self, event: Event) -> AuditRecord:
        """Keep a record that concerns no document, and return it."""
        self.close_day()
        record = self._link(self._head, self._at, None, event)
        self._keep(record)
        return record

    def close_day(self) -> AuditRecord | None:
        """Keep the record that closes the head's day, if that is over and not closed yet; return it."""
        head, first_seq = self._head, self._day_first_seq
        if head.at is None or first_seq is None or not is_over(head, self._at):
            return None
        fields: dict[str, JsonValue] = {
            "day": f"{head.at:%Y-%m-%d}",
            "first_seq": first_seq,
            "records": head.seq + 1 - first_seq,
            "closed_at": self._at.isoformat(),
        }
        record = self._link(head, end_of_day(head.at), None, Event(EventName.DAY_CLOSED, fields))
        self._keep(record)
        return record

    def store(self) -> None:
        """Write what was kept and counted."""
        if self._kept:
            rows = [{"seq": kept.seq, "at": kept.at, "hash": kept.hash, "line": kept.line} for kept in self._kept]
            _KEEP.execute_each(self._connection, rows)
            head = self._head
            values = {"head_seq": head.seq, "head_hash": head.hash, "head_at": head.at}
            _MOVE_HEAD.execute(self._connection, {**values, "day_first_seq": self._day_first_seq})
        counted = [
            {"folder": folder, "state": state.value, "change": change}
            for (folder, state), change in self._tally.items()
            if change
        ]
        if counted:
            _COUNT.execute_each(self._connection, counted)
        for (folder, day), number in self._sent.items():
            so_far = {"of_folder": folder, "on_day": day.isoformat(), "number": number}
            if number and self._connection.execute(_COUNT_SENT, so_far).rowcount == 0:
                self._connection.execute(insert(sent).values(folder=folder, day=day.isoformat(), documents=number))

    def _update(self, before: Document, known: Document, stored: Document) -> bool:
        """Update the document's row if it still is as it was seen, same state and same lease; return whether it was.

        What is the same in ``known`` as in ``stored`` is not written.
        """
        pairs = zip(_CHANGING, _changing_values(known), _changing_values(stored), strict=True)
        changed = tuple(name for name, old, new in pairs if old is not new and old != new)
        values = {name: getattr(stored, name) for name in (*_MOVING, *changed)}
        seen = {"seen_id": before.id, "seen_state": before.state, "seen_lease": before.lease}
        return _updating(changed).execute(self._connection, {**values, **seen, "seen_retries": before.retries}) > 0

    def _sent_on(self, folder: str, day: date) -> int:
        """Return how many documents the folder has sent on the day, those of this transaction included.

        Nobody else can be counting: the chain's head is locked until this transaction ends.
        """
        if (folder, day) not in self._sent:
            found = self._connection.scalar(_SENT, {"of_folder": folder, "on_day": day.isoformat()})
            self._sent[folder, day] = found or 0
        return self._sent[folder, day]

    def _next(self, document_id: str, event: Event | None) -> AuditRecord | None:
        """Return the record that comes next, if it is kept."""
        if event is None:
            return None
        self.close_day()
        return self._link(self._head, self._at, document_id, event)

    def _keep(self, record: AuditRecord) -> None:
        if self._head.at is None or record.at.date() != self._head.at.date():
            self._day_first_seq = record.seq
        self._head = AuditHead(record.seq, record.hash, record.at)
        self._kept.append(record)


def is_over(head: AuditHead, at: datetime) -> bool:
    """Return whether the day of ``head`` is over at ``at``, and not closed yet."""
    if head.at is None or head.at == end_of_day(head.at):
        return False
    return moment_after(head, at).date() > head.at.date()


@cache
def _updating(changed: tuple[str, ...]) -> Statement:
    """Return the statement that updates these columns of a document, and those that nearly every step changes."""
    return Statement(_HELD.values({name: bindparam(name) for name in (*_MOVING, *changed)}))


def _new_row(new: Document) -> dict[str, object]:
    row = {field.name: getattr(new, field.name) for field in fields(Document)}
    look_up = {"short_id": new.short_id, "file_name": new.name.rpartition("/")[2], "original_stands": True}
    return row | look_up
