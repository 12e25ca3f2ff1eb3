"""Ledger and files together: however often the daemon dies in between, the files hold the ledger's chain.

The machine below makes documents and moves them, flushes as the daemon does, and dies after any of the flush's
steps, or in the middle of writing, with any part of the last write lost. It remembers every record that was ever
committed: the ledger and the files must never have anything else.
"""

import json
import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from sealdrop.audit import Trail, read_records, verify_trail
from sealdrop.audit.chain import link
from sealdrop.ledger import Ledger, Step
from sealdrop.model import (
    GENESIS,
    MOVES,
    AuditHead,
    AuditRecord,
    Document,
    Event,
    FileIdentity,
    Sha256,
    State,
    new_document_id,
)

from .conftest import START, expected_files, head_of, read_files


class MovingClock:
    """A clock that the machine moves, back too."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """Return the moment that was set last."""
        return self.moment

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self.moment - START).total_seconds()


class LedgerAndFiles(RuleBasedStateMachine):
    """The daemon's two stores, and a memory of what they must hold."""

    documents = Bundle("documents")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = MovingClock()
        self.committed: list[AuditRecord] = []
        self.acknowledged = GENESIS
        self.start()

    def link(self, head: AuditHead, at: datetime, document: str | None, event: Event) -> AuditRecord:
        """Link, and remember what was linked last."""
        record = link(head, at, document, event, node="host-1")
        self.linked.append(record)
        return record

    def start(self) -> None:
        """Start the daemon."""
        self.linked: list[AuditRecord] = []
        self.ledger = Ledger.open(self.folder / "ledger.sqlite", link=partial(self.link), clock=self.clock)
        self.trail = Trail.open(self.folder / "audit")

    def die(self) -> None:
        """Let the daemon end, whatever it was doing, and start again."""
        self.ledger.close()
        self.start()

    def teardown(self) -> None:
        """Bring the files up to date, judge them, and clean up."""
        while pending := self.ledger.audit_pending(2):
            self.ledger.audit_written(self.trail.append(pending))
        head = self.ledger.audit_head()
        assert read_files(self.folder / "audit") == expected_files(self.committed)
        assert verify_trail(self.folder / "audit", expect=[(head.seq, head.hash)]).problems == ()
        for document_id in {entry.document for entry in read_records(self.folder / "audit")} - {None}:
            seqs = [entry.seq for entry in read_records(self.folder / "audit", document=document_id)]
            document = self.ledger.get(str(document_id))
            assert document is not None
            assert (document.first_seq, document.last_seq) == (seqs[0], seqs[-1])
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        """Put the start on record."""
        self.note("started")

    @rule(text=st.text(max_size=5))
    def note(self, text: str) -> None:
        """Put something on record that is about no document."""
        self.linked.clear()
        record = self.ledger.note(Event("noted", {"text": text}))
        self.remember(None)
        assert self.committed[-1] == record

    @rule(passed=st.sampled_from([timedelta(minutes=1), timedelta(hours=-20), timedelta(hours=30)]))
    def let_time_pass(self, passed: timedelta) -> None:
        """Move the clock."""
        self.clock.moment += passed

    @rule(target=documents, name=st.text(min_size=1, max_size=5))
    def receive(self, name: str) -> Document:
        """Take a document over."""
        now = self.clock.now()
        document = Document(
            id=new_document_id(now),
            node="host-1",
            account="a",
            folder="f",
            name=name,
            identity=FileIdentity(1, 2, 3, 4),
            size_bytes=3,
            sha256=Sha256("0" * 64),
            state=State.RECEIVED,
            received_at=now,
            updated_at=now,
            due_at=now,
        )
        self.linked.clear()
        stored = self.ledger.add(document, Event("document_received", {"name": name}))
        self.remember(document.id)
        return stored

    @rule()
    def close_day(self) -> None:
        """Look whether a day is over, as the daemon does when nothing happens."""
        self.linked.clear()
        assert self.ledger.close_day() in (None, *self.linked)
        self.remember()

    def remember(self, *about: str | None) -> None:
        """Take note of what was linked for these documents, or for none, and of the closing of a day before it."""
        for record in self.linked:
            content = json.loads(record.line)
            # A record that was linked for a lost document has a successor with the same number.
            follows = record.seq == len(self.committed) + 1
            if follows and (content["event"] == "day_closed" or content["document"] in about):
                self.committed.append(record)

    @rule(target=documents, chosen=st.lists(consumes(documents), max_size=3), lost=st.booleans(), data=st.data())
    def move(self, chosen: list[Document], lost: bool, data: st.DataObject) -> Document:
        """Move some documents on in one transaction; perhaps one of them belongs to somebody else by now."""
        steps = []
        for document in chosen:
            seen = replace(document, lease="somebody else's") if lost and document is chosen[0] else document
            state = data.draw(st.sampled_from([seen.state, *sorted(MOVES[seen.state])]))
            steps.append(Step(seen, replace(seen, state=state), Event("document_moved", {"to": state})))
        self.linked.clear()
        outcomes = self.ledger.record(*steps)
        stored = [each for each in outcomes if isinstance(each, Document)]
        self.remember(*(each.id for each in stored))
        return multiple(*stored, *(chosen[:1] if lost else ()))

    @rule(limit=st.integers(1, 5))
    def flush(self, limit: int) -> None:
        """Copy some records to the files."""
        self.acknowledged = self.trail.append(self.ledger.audit_pending(limit))
        self.ledger.audit_written(self.acknowledged)

    @rule(limit=st.integers(1, 5), lost_bytes=st.just(0) | st.integers(1, 1_500))
    def die_while_flushing(self, limit: int, lost_bytes: int) -> None:
        """Copy some records, and die before the ledger knows, with the last bytes of the write lost or none."""
        before = read_files(self.folder / "audit")
        self.trail.append(self.ledger.audit_pending(limit))
        self.lose(before, lost_bytes)
        self.die()

    def lose(self, before: dict[str, bytes], size_bytes: int) -> None:
        """Undo up to so many bytes of what was written since ``before``, from the end, as a crash would."""
        for path in sorted((self.folder / "audit").iterdir(), reverse=True):
            content = path.read_bytes()
            losable = min(size_bytes, len(content) - len(before.get(path.name, b"")))
            size_bytes -= losable
            path.write_bytes(content[: len(content) - losable])
            if losable == len(content) and size_bytes > 0:
                path.unlink()
            elif losable < len(content):
                break

    @invariant()
    def files_are_a_beginning_of_the_chain(self) -> None:
        """The files hold a beginning of what was committed, and everything that was acknowledged."""
        if not self.committed:
            return
        assert self.ledger.audit_head() == head_of(self.committed[-1])
        assert self.ledger.audit_flushed_head().seq == self.acknowledged.seq
        held = self.trail.head().seq
        assert held >= self.acknowledged.seq
        there = read_files(self.folder / "audit")
        for name, content in expected_files(self.committed).items():
            assert content.startswith(there.pop(name, b""))
        assert not there
        sure = expected_files(self.committed[:held])
        assert all((self.folder / "audit" / name).read_bytes().startswith(sure[name]) for name in sure)


TestLedgerAndFiles = LedgerAndFiles.TestCase
TestLedgerAndFiles.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
