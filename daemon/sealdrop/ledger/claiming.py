"""The ledger as a queue: which documents are due, and whose they are for a time.

What waits is found by partial indexes over what waits, in the order of the due times. That order is one within a
state, so each state is asked for by itself.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, TextClause, bindparam, select, update

from sealdrop.ledger.reading import to_document
from sealdrop.ledger.schema import CLAIMED_FOR_FOLDER, DOCUMENT_COLUMNS, FOR_FOLDER, document
from sealdrop.ledger.statement import Query, Statement, limited
from sealdrop.model import Document, State

_ID, _DUE_AT, _LEASE = (DOCUMENT_COLUMNS.index(document.c[name]) for name in ("id", "due_at", "lease"))
_TAKE = Statement(
    update(document)
    .where(document.c.id == bindparam("claimed"))
    .values(lease=bindparam("lease"), due_at=bindparam("until"))
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody claims: documents of some states.

    With ``account`` or ``folder``, only theirs; with ``suspect``, only those that are or are not.
    """

    states: tuple[State, ...]
    account: str | None = None
    folder: str | None = None
    suspect: bool | None = None

    def waiting(self, connection: Connection) -> dict[State, datetime]:
        """Return the states that any of them waits in, and when the first one there falls due."""
        found = {}
        for state in self.states:
            for (due_at,) in self._asking.first.rows(connection, {**self._values(state), "limit": 1}):
                found[state] = due_at
        return found

    def claim(
        self, connection: Connection, states: Iterable[State], *, now: datetime, limit: int, lease_s: float
    ) -> tuple[Document, ...]:
        """Take up to ``limit`` that are due in these of the states, the oldest due first, under one lease."""
        rows = []
        for state in states:
            rows += self._asking.due.rows(connection, {**self._values(state), "now": now, "limit": limit})
        rows.sort(key=itemgetter(_DUE_AT, _ID))
        lease, until = secrets.token_hex(8), now + timedelta(seconds=lease_s)
        claimed = []
        for row in rows[:limit]:
            row[_LEASE], row[_DUE_AT] = lease, until
            claimed.append(to_document(row))
        if claimed:
            _TAKE.execute_each(connection, [{"claimed": each.id, "lease": lease, "until": until} for each in claimed])
        return tuple(claimed)

    @property
    def _asking(self) -> "_Asking":
        return _asking(
            by_account=self.account is not None,
            by_folder=self.folder is not None,
            for_folder=self.folder is not None and CLAIMED_FOR_FOLDER.issuperset(self.states),
            suspect=self.suspect,
        )

    def _values(self, state: State) -> dict[str, object]:
        return {"of_state": state, "of_account": self.account, "in_folder": self.folder}


@dataclass(frozen=True, slots=True)
class _Asking:
    """The statements for documents of one state: when the first falls ``due_at``, and those that are ``due``."""

    first: Query
    due: Query


@cache
def _asking(*, by_account: bool, by_folder: bool, for_folder: bool, suspect: bool | None) -> _Asking:
    wanted: list[ColumnElement[bool] | TextClause] = [
        document.c.state == bindparam("of_state"),
        document.c.due_at.is_not(None),
    ]
    if by_account:
        wanted.append(document.c.account == bindparam("of_account"))
    if by_folder:
        wanted.append(document.c.folder == bindparam("in_folder"))
    if for_folder:
        wanted.append(FOR_FOLDER)  # true anyway, and said for the index
    if suspect is not None:
        wanted.append(document.c.suspect.is_(suspect))
    first = limited(select(document.c.due_at).where(*wanted).order_by(document.c.due_at))
    due = limited(select(*DOCUMENT_COLUMNS).where(*wanted, document.c.due_at <= bindparam("now")))
    # Where several hosts share a PostgreSQL, rows that another one is claiming are passed over, not waited for; SQLite
    # needs no such words.
    due = due.order_by(document.c.due_at).with_for_update(skip_locked=True)
    return _Asking(Query(first), Query(due))
