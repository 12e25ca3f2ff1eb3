"""How the ledger's statements find what they ask for, and how they are spelled."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from sealdrop.ledger import Ledger, Ration, Step
from sealdrop.ledger.schema import metadata
from sealdrop.ledger.statement import Statement
from sealdrop.model import Document, Event, State

from .conftest import START, MakeDocument, StoppedClock

RECEIVED = Event("document_received")
MOVED = Event("document_moved")
PARTIAL = ("document_active", "document_standing", "document_hold", "document_kept")


@dataclass
class Executed:
    """What a ledger has had executed: as SQLAlchemy has it, and as SQLite has it, with values for the latter."""

    clauses: list[ClauseElement] = field(default_factory=list)
    texts: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def executed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executed]:
    """Notes every statement that the ledger executes from now on, by whichever of the two ways."""
    noted = Executed()
    spelling = Statement._spelling

    def spelled(statement: Statement, dialect: Dialect) -> object:
        found = spelling(statement, dialect)
        noted.clauses.append(statement.clause)
        noted.texts[found.text] = tuple(None for _ in found.values)
        return found

    def element(_connection: object, clause: ClauseElement, *_: object) -> None:
        noted.clauses.append(clause)

    def text(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        noted.texts[statement] = parameters

    monkeypatch.setattr(Statement, "_spelling", spelled)
    engine = ledger._database._engine
    sqlalchemy_event.listen(engine, "before_execute", element)
    sqlalchemy_event.listen(engine, "before_cursor_execute", text)
    yield noted
    sqlalchemy_event.remove(engine, "before_execute", element)
    sqlalchemy_event.remove(engine, "before_cursor_execute", text)


def everything(ledger: Ledger, clock: StoppedClock, make_document: MakeDocument) -> None:
    """Use every operation of the ledger that looks for documents or changes one."""
    document = ledger.add(make_document(), RECEIVED)
    now = clock.now()
    ledger.claim(State.VALIDATED, State.SUBMITTED, now=now, limit=5, lease_s=1, account="main")
    ledger.claim(State.VERIFIED, now=now, limit=5, lease_s=1, folder="invoices")
    ledger.claim(State.RECEIVED, now=now, limit=5, lease_s=1, suspect=True)
    for account, folder in (("main", None), (None, "invoices"), (None, None)):
        held = ledger.add(make_document(), RECEIVED)
        claimed = ledger.claim(
            State.RECEIVED, now=now, limit=5, lease_s=1, account=account, folder=folder, suspect=False
        )
        assert held.id in {each.id for each in claimed.documents}
        ledger.give_up_leases(claimed.documents)
    (held, *_) = ledger.claim(State.RECEIVED, now=now, limit=1, lease_s=1).documents
    (held,) = ledger.record(Step(held, replace(held, state=State.VALIDATED, lease=None), MOVED))
    assert isinstance(held, Document)
    after = replace(held, state=State.SUBMITTING)
    ledger.record(Step(held, after, MOVED, Ration(now.date(), 1, otherwise=replace(held, attempts=1))))
    ledger.release_leases("host-1")
    ledger.hasten(now)
    later = ledger.add(make_document(sha256=document.sha256, due_at=now + timedelta(hours=1)), RECEIVED)
    ledger.hasten_copies(document)
    ledger.add(make_document(state=State.DELIVERED, due_at=None, kept_until=now), RECEIVED)
    ledger.give_up_kept(ledger.claim_kept(now=now, limit=5, lease_s=1).documents)
    ledger.next_expiry()
    ledger.original_removed([document.id])
    ledger.originals_standing("invoices")
    ledger.originals_orphaned(["invoices"])
    ledger.get(document.id)
    ledger.find(document.short_id)
    ledger.find("sub/1.pdf", state=State.FAILED)
    ledger.knows_content(document.sha256)
    ledger.earlier_of(later)
    ledger.twin_of(later)
    ledger.sealed_as(later)
    ledger.any_due(State.RETRYING, now)
    ledger.taken_from(Path("/in"))
    ledger.is_kept_by_another(later, "x.pdf", ["invoices"])
    ledger.is_given_to_a_later(later, "x.pdf", ["invoices"])
    ledger.counts()
    ledger.oldest_waiting()
    ledger.oldest_waiting(unheld_at=now)
    ledger.held(now)
    ledger.sent_on("invoices", now.date())
    ledger.waiting_for()
    ledger.sent_for("main")
    ledger.failed_after(0, limit=9)
    ledger.close_day()
    ledger.audit_written(ledger.audit_pending(9)[-1])
    ledger.audit_head()
    ledger.audit_flushed_head()


def plan(connection: Connection, statement: str, parameters: object) -> list[str]:
    """Return how SQLite goes about the statement."""
    explained = f"EXPLAIN QUERY PLAN {statement}"
    return [row[3] for row in connection.exec_driver_sql(explained, parameters).all()]  # type: ignore[arg-type]


def test_no_operation_reads_history(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument, executed: Executed
) -> None:
    """Every statement finds its rows by an index, so that nothing slows down as documents and records add up."""
    everything(ledger, clock, make_document)
    asked = {
        statement: parameters
        for statement, parameters in executed.texts.items()
        if any(f" {table}" in statement for table in ("document", "audit_outbox")) and "INSERT" not in statement
    }
    with ledger._database.reading() as connection:
        plans = {statement: plan(connection, statement, parameters) for statement, parameters in asked.items()}
    used = " ".join(step for steps in plans.values() for step in steps)
    indexes = {index.name for index in metadata.tables["document"].indexes}
    assert {index for index in indexes if f"INDEX {index} " not in used} == set()
    # A partial index may be walked from its start: it holds only what waits, or stands somewhere.
    scans = [
        (statement, step)
        for statement, steps in plans.items()
        for step in steps
        if step.startswith("SCAN") and not step.endswith(tuple(f"INDEX {index}" for index in PARTIAL))
    ]
    # The outbox holds what is not in the files yet, and is read in its order.
    assert [step for statement, step in scans if "audit_outbox" not in statement] == []


@pytest.mark.parametrize(
    ("states", "whose", "index"),
    [
        pytest.param((State.RECEIVED,), {}, "due (state=? AND due_at", id="of all"),
        pytest.param((State.RECEIVED,), {"suspect": False}, "due (state=? AND due_at", id="of all but suspects"),
        pytest.param((State.RECEIVED,), {"suspect": True}, "due_suspect (suspect=? AND state=?", id="suspects"),
        pytest.param((State.SEALING,), {"account": "main"}, "due_account (account=? AND state=?", id="account's"),
        pytest.param(
            (State.FAILED, State.RETRYING), {"folder": "invoices"}, "due_folder (folder=? AND state=?", id="folder's"
        ),
    ],
)
def test_what_is_claimed_is_found_in_the_order_in_which_it_falls_due(
    ledger: Ledger,
    make_document: MakeDocument,
    executed: Executed,
    states: tuple[State, ...],
    whose: dict[str, Any],
    index: str,
) -> None:
    """A claim sorts nothing and passes over nothing of others: it reads an index from where its own begins."""
    new = ledger.add(make_document(state=states[0], suspect=whose.get("suspect", False)), RECEIVED)
    executed.texts.clear()
    claimed = ledger.claim(*states, now=START, limit=1, lease_s=1, **whose)
    assert [each.id for each in claimed.documents] == [new.id]
    asked = {each: values for each, values in executed.texts.items() if "ORDER BY document.due_at" in each}
    assert len(asked) == 2
    with ledger._database.reading() as connection:
        plans = [plan(connection, statement, values) for statement, values in asked.items()]
    assert [(len(steps), f"document_{index}" in steps[0]) for steps in plans] == [(1, True), (1, True)]


def test_every_statement_is_also_postgresql(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument, executed: Executed
) -> None:
    """The same statements and tables can be spelled for PostgreSQL, where claims pass over locked rows."""
    everything(ledger, clock, make_document)
    dialect = postgresql.dialect()
    spelled = [str(clause.compile(dialect=dialect)) for clause in executed.clauses]
    for table in metadata.sorted_tables:
        spelled.append(str(CreateTable(table).compile(dialect=dialect)))
        spelled += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    assert any("FOR UPDATE SKIP LOCKED" in statement for statement in spelled)
    assert any("IS NOT DISTINCT FROM" in statement for statement in spelled)
    assert len([statement for statement in spelled if "WHERE due_at IS NOT NULL" in statement]) == 4
