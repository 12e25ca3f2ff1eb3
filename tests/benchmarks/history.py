"""What a step costs with a short and with a long history: CPU and pages read, in ledgers that are filled beforehand.

The documents of the past are written by plain SQL into the real tables. Rounds are made in all ledgers by turns, so
that whatever else the machine does meanwhile meets all of them.
"""

import secrets
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from sealdrop.audit.chain import link
from sealdrop.clock import SystemClock
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, Event, FileIdentity, Sha256, State, new_document_id

PAGE_BYTES = 4096
ROUNDS = 300
WARM_UP = 20
WAITING = 5  # documents that are due in an hour

T = TypeVar("T")

# A day's 10,000 documents, day after day; every hundredth was rejected, every thousandth failed.
_FILL = """
INSERT INTO document (
    id, node, account, folder, name, identity, size_bytes, sha256, state, received_at, updated_at, level, archive,
    attempts, external_id, request_id, sign_accepted, refusals, inspection, remote, verification, sealed_size_bytes,
    sealed_sha256, published_name, stamp_known, first_seq, last_seq, short_id, file_name, original_stands
)
WITH RECURSIVE number(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?)
SELECT
    printf('%08d-%016x', n / 10000, n), 'host', 'main', 'invoices', printf('%d/invoice-%d.pdf', n / 10000, n),
    printf('64769:%d:50000:%d', n, n), 50000, lower(hex(randomblob(32))),
    CASE WHEN n % 1000 = 0 THEN 'failed' WHEN n % 100 = 0 THEN 'rejected' ELSE 'delivered' END,
    1600000000000000 + n, 1600000000000000 + n, 'PAdES_BASELINE_LTA', true, 0, printf('%016x-1', n),
    printf('%036d', n), true, 0, '{"verdict":"accept","pages":1}', printf('{"answer":"%0200d"}', n),
    printf('{"checks":[],"level":"%s"}', 'PAdES_BASELINE_LTA'), 90000, lower(hex(randomblob(32))),
    printf('%d/invoice-%d.pdf', n / 10000, n), true, 8 * n, 8 * n + 7, printf('%08x', n),
    printf('invoice-%d.pdf', n), false
FROM number
"""


@dataclass
class Costs:
    """What one operation took in each round."""

    cpu_us: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """The median of one operation's costs in a ledger with so many documents."""

    documents: int
    cpu_us: float
    pages: float


def history(directory: Path, sizes: Sequence[int], rounds: int = ROUNDS) -> Mapping[str, Sequence[Found]]:
    """Return, for each operation, what it takes with each number of documents in the ledger."""
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        ledgers = [stack.enter_context(_filled(directory / f"{size}.sqlite", size)) for size in sizes]
        costs: list[dict[str, Costs]] = [{} for _ in sizes]
        for number in range(WARM_UP + rounds):
            for ledger, into in zip(ledgers, costs, strict=True):
                _way_of_a_document(ledger, into if number >= WARM_UP else {})
    return {
        operation: [
            Found(size, statistics.median(each[operation].cpu_us), statistics.mean(each[operation].pages))
            for size, each in zip(sizes, costs, strict=True)
        ]
        for operation in costs[0]
    }


@contextmanager
def _filled(path: Path, documents: int) -> Iterator[Ledger]:
    opened = partial(Ledger.open, path, link=partial(link, node="host"), clock=SystemClock())
    opened().close()
    _fill(path, documents)
    later = SystemClock().now() + timedelta(hours=1)
    with opened() as ledger:
        ledger.record(*(Step(None, _new(later), Event("document_received")) for _ in range(WAITING)))
        yield ledger


def _fill(path: Path, documents: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
        # The indexes are built at the end: in their order, and not each entry at its place.
        made = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'document' AND sql IS NOT NULL"
        indexes = connection.execute(made).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.execute(_FILL, (0, documents))
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("UPDATE audit_chain SET head_seq = ?, flushed_seq = head_seq", (8 * documents,))


def _new(due_at: datetime) -> Document:
    now = SystemClock().now()
    return Document(
        id=new_document_id(now),
        node="host",
        account="main",
        folder="invoices",
        name=f"{secrets.token_hex(4)}.pdf",
        identity=FileIdentity(1, secrets.randbits(32), 50_000, 1),
        size_bytes=50_000,
        sha256=Sha256(secrets.token_hex(32)),
        state=State.RECEIVED,
        received_at=now,
        updated_at=now,
        due_at=due_at,
    )


def _way_of_a_document(ledger: Ledger, costs: dict[str, Costs]) -> None:
    new = _new(SystemClock().now())
    document = _costing(costs, "take over", partial(ledger.add, new, Event("document_received")))
    _costing(costs, "look for an earlier one", partial(ledger.earlier_of, document))
    for state, changes in (
        (State.VALIDATED, {}),
        (State.SUBMITTING, {"external_id": f"{new.id}-1"}),
        (State.SEALED, {"sealed_sha256": secrets.token_hex(32)}),
        (State.VERIFIED, {}),
        (State.DELIVERED, {"published_name": new.name}),
    ):
        claim = partial(ledger.claim, document.state, now=SystemClock().now(), limit=1, lease_s=60)
        (document,) = _costing(costs, "claim", claim).documents
        due_at = None if state is State.DELIVERED else SystemClock().now()
        after = replace(document, state=state, lease=None, due_at=due_at, **changes)
        step = Step(document, after, Event("document_moved", {"folder": "invoices"}))
        (document,) = _costing(costs, "step", partial(ledger.record, step))
    (newest,) = ledger.audit_pending(100)[-1:]
    ledger.audit_written(newest)


def _costing(costs: dict[str, Costs], operation: str, work: Callable[[], T]) -> T:
    pages, began_s = _read_bytes(), time.thread_time()
    result = work()
    took_s = time.thread_time() - began_s
    into = costs.setdefault(operation, Costs())
    into.cpu_us.append(took_s * 1e6)
    into.pages.append((_read_bytes() - pages) / PAGE_BYTES)
    return result


def _read_bytes() -> int:
    """Return what this process has read so far, from the system's memory or from a disk."""
    return int(Path("/proc/self/io").read_text().split("\n", 1)[0].removeprefix("rchar: "))
