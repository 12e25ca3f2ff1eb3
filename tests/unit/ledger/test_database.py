"""What happens to the ledger when its file, its disk or its neighbours misbehave."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from sealdrop.errors import Fatal, LedgerTooNew, Retryable
from sealdrop.ledger import Ledger, LedgerReader, database, schema
from sealdrop.ledger.database import Database
from sealdrop.ledger.store import Step
from sealdrop.model import Document, DocumentId, Earlier, Event, State

from .conftest import LINK, MakeDocument, StoppedClock

EVENT = Event("something_happened", {"text": "x" * 2_000})


def reopen(path: Path, clock: StoppedClock) -> Ledger:
    """Open the ledger as a starting daemon does."""
    return Ledger.open(path, link=LINK, clock=clock)


@pytest.fixture
def filled(path: Path, clock: StoppedClock, make_document: MakeDocument) -> Path:
    """A closed ledger with some documents in it."""
    with reopen(path, clock) as ledger:
        for _ in range(50):
            ledger.add(make_document(), EVENT)
    return path


def execute(path: Path, statement: str) -> None:
    """Change the database behind sealdrop's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_files_are_for_their_owner_only(ledger: Ledger, path: Path, make_document: MakeDocument) -> None:
    """The ledger and the files that SQLite puts beside it can be read by their owner only."""
    ledger.add(make_document(), EVENT)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys((path.name, f"{path.name}-shm", f"{path.name}-wal"), 0o600)


def test_commits_are_flushed_to_disk(ledger: Ledger) -> None:
    """Every connection writes ahead and waits for the disk at each commit."""
    with ledger._database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def flushes(ledger: Ledger, *, durable: bool) -> bool:
    """Whether the disk is waited for at the end of such a transaction."""
    with ledger._database.writing(durable=durable) as connection:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_only_what_need_not_be_durable_is_not_flushed(ledger: Ledger) -> None:
    """Whether the disk is waited for is each transaction's own, whatever the one before said, or how it ended."""
    assert [flushes(ledger, durable=durable) for durable in (True, False, False, True)] == [True, False, False, True]
    with pytest.raises(RuntimeError), ledger._database.writing(durable=False):
        raise RuntimeError
    assert flushes(ledger, durable=True)


def test_steps_and_records_are_flushed_and_leases_are_not(
    ledger: Ledger, clock: StoppedClock, make_document: MakeDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may undo is who has a document in hand, and what is found out anew: nothing that happened."""
    flushed: list[bool] = []
    writing = Database.writing

    @contextmanager
    def noting(of: Database, *, durable: bool = True) -> Iterator[Connection]:
        flushed.append(durable)
        with writing(of, durable=durable) as connection:
            yield connection

    monkeypatch.setattr(Database, "writing", noting)
    document = ledger.add(make_document(), EVENT)
    ledger.note(EVENT)
    ledger.record(Step(document, replace(document, state=State.VALIDATED), EVENT))
    assert flushed == [True, True, True]
    flushed.clear()
    ledger.original_removed([document.id])
    assert ledger.claim(State.VALIDATED, now=clock.now(), limit=1, lease_s=1).documents
    ledger.audit_written(ledger.audit_pending(9)[-1])
    assert flushed == [False, False, False]


def test_what_a_killed_process_wrote_is_flushed_before_it_counts(
    ledger: Ledger, path: Path, tmp_path: Path, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is there at the start may hold a commit that nobody flushed: it and the folder are flushed."""
    ledger.note(EVENT)
    killed = tmp_path / "killed"
    killed.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        shutil.copyfile(each, killed / each.name)
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    with reopen(killed / path.name, clock) as again:
        assert flushed == [f"{path.name}-wal", "killed"]
        assert again.audit_head() == ledger.audit_head()


def overwrite_start(path: Path) -> None:
    """Make the file something else than SQLite's."""
    path.write_bytes(b"%PDF-1.7\n" + path.read_bytes()[9:])


def overwrite_page(path: Path) -> None:
    """Damage a page in the middle."""
    content = bytearray(path.read_bytes())
    content[8 * 4096 : 9 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Lose the file's second half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damage", [overwrite_start, overwrite_page, cut])
def test_damaged_ledger_is_refused_with_advice(
    filled: Path, clock: StoppedClock, damage: Callable[[Path], None]
) -> None:
    """A ledger that is damaged is not opened, and the error says what to do."""
    damage(filled)
    with pytest.raises(Fatal, match=r"damaged.*newest backup"):
        reopen(filled, clock)


def test_damage_that_shows_later_is_fatal(filled: Path, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is too large to look over at start, damage still stops the daemon when it is met."""
    monkeypatch.setattr(database, "QUICK_CHECK_BYTES", 0)
    content = bytearray(filled.read_bytes())
    content[4 * 4096 :] = b"\xa5" * (len(content) - 4 * 4096)
    filled.write_bytes(content)
    with pytest.raises(Fatal, match="damaged"), reopen(filled, clock) as ledger:
        ledger.originals_standing("invoices")


@pytest.mark.parametrize("change", ["state = 'secret'", "identity = 'secret'", "remote = 'secret'"])
def test_row_that_makes_no_sense_is_fatal(filled: Path, clock: StoppedClock, change: str) -> None:
    """A row that was changed into something impossible stops the daemon, and is not shown in the error."""
    execute(filled, f"UPDATE document SET {change}")  # noqa: S608 (our own)
    with reopen(filled, clock) as ledger, pytest.raises(Fatal, match="cannot be understood") as caught:
        ledger.find("1.pdf")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["no url", "sqlite:////tmp/x", "nosuch://u:secret@h/d", "postgresql+nosuchdriver://u:secret@h/d"],
)
def test_url_that_cannot_be_used_is_refused(clock: StoppedClock, url: str) -> None:
    """A ledger's URL that leads nowhere is an error of ours, which does not tell the password."""
    with pytest.raises(Fatal) as caught:
        Ledger.open(url, link=LINK, clock=clock)
    assert "secret" not in str(caught.value)


def test_folder_in_its_place_is_refused(path: Path, clock: StoppedClock) -> None:
    """A folder where the ledger should be is named, not retried."""
    path.mkdir()
    with pytest.raises(Fatal, match="not a file"):
        reopen(path, clock)


def test_missing_state_folder_is_refused(tmp_path: Path, clock: StoppedClock) -> None:
    """Without its folder the ledger cannot be made, and the error says so."""
    with pytest.raises(Fatal, match="cannot be created"):
        reopen(tmp_path / "missing" / "ledger.sqlite", clock)


def test_database_of_another_program_is_left_alone(path: Path, clock: StoppedClock) -> None:
    """A database with somebody else's tables is refused, and nothing is added to it."""
    execute(path, "CREATE TABLE theirs (x)")
    with pytest.raises(Fatal, match="not sealdrop's"):
        reopen(path, clock)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_newer_ledger_is_refused(filled: Path, clock: StoppedClock) -> None:
    """A ledger that a newer sealdrop wrote is neither read nor changed."""
    execute(filled, "UPDATE schema_version SET version = version + 1")
    with pytest.raises(LedgerTooNew, match=f"version {schema.SCHEMA_VERSION + 1}"):
        reopen(filled, clock)
    with pytest.raises(LedgerTooNew, match=f"version {schema.SCHEMA_VERSION + 1}"):
        LedgerReader.open_read_only(filled)


def test_ledger_without_a_version_is_refused(filled: Path, clock: StoppedClock) -> None:
    """A ledger whose version row is gone is not guessed at."""
    execute(filled, "DELETE FROM schema_version")
    with pytest.raises(Fatal, match="which version"):
        reopen(filled, clock)


def test_older_ledger_is_brought_forward_or_left(
    filled: Path, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each migration step is run once, in order; if one fails, the ledger stays wholly as it was."""

    def rename(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE tally RENAME TO counted")

    def back(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE counted RENAME TO tally")

    def fail(_connection: Connection) -> None:
        raise Fatal("no way")

    now = schema.SCHEMA_VERSION
    monkeypatch.setattr(schema, "SCHEMA_VERSION", now + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {now: rename, now + 1: fail})
    with pytest.raises(Fatal, match="no way"):
        reopen(filled, clock)
    with pytest.raises(Fatal, match="older"):
        LedgerReader.open_read_only(filled)
    monkeypatch.setattr(schema, "MIGRATIONS", {now: rename, now + 1: back})
    for _ in range(2):
        with reopen(filled, clock) as ledger:
            assert sum(ledger.counts()["invoices"].values()) == 50


def test_empty_file_left_by_a_crash_becomes_a_ledger(path: Path, clock: StoppedClock) -> None:
    """A start that died between creating the file and the tables does not stop the next one."""
    path.touch(mode=0o600)
    with reopen(path, clock) as ledger:
        assert ledger.note(EVENT).seq == 1


def test_ledger_locked_by_another_process_is_tried_again_later(
    path: Path, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the write lock past the timeout, writing is put off and reading goes on."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    with reopen(path, clock) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retryable, match="locked"):
            ledger.note(EVENT)
        assert ledger.audit_head().seq == 0
        other.execute("ROLLBACK")
        assert ledger.note(EVENT).seq == 1


def fill(ledger: Ledger) -> None:
    """Write until something stops it."""
    for _ in range(1_000):
        ledger.note(EVENT)


def test_full_disk_commits_nothing_and_passes(ledger: Ledger) -> None:
    """When there is no room, nothing of a transaction stays, the error asks to try again, and trying again works."""
    pages = "PRAGMA max_page_count = "
    with ledger._database.writing() as connection:
        connection.exec_driver_sql(f"{pages}1")  # SQLite makes it the present size
    with pytest.raises(Retryable, match="full"):
        fill(ledger)
    written = ledger.audit_head().seq
    assert [record.seq for record in ledger.audit_pending(1_000)] == list(range(1, written + 1))
    with ledger._database.writing() as connection:
        connection.exec_driver_sql(f"{pages}100000")
    assert ledger.note(EVENT).seq == written + 1


def test_errors_do_not_tell_what_is_in_a_document(ledger: Ledger, make_document: MakeDocument) -> None:
    """An error of the database names no value of the statement that failed."""
    document = ledger.add(make_document(name="salary of J. Doe.pdf"), EVENT)
    with pytest.raises(Fatal) as caught:
        ledger.add(document, EVENT)
    assert "Doe" not in str(caught.value)
    assert "Doe" not in str(caught.value.__cause__)


LACKS = {
    1: ("retries", "suspect", "duplicate_of"),
    2: ("companions", "stamp", "stamp_known", "wishes", "hold", "kept_until", "kept_name", "expired_at"),
    3: (),
}


def _take_back(path: Path, version: int) -> None:
    """Make the ledger one of an older version."""
    for index in ("due_folder", "due_suspect"):
        execute(path, f"DROP INDEX document_{index}")
    execute(path, f"UPDATE schema_version SET version = {version}")  # noqa: S608 - a number
    if version == 3:
        return
    for index in ("kept", "hold", "sealed_content", "failed"):
        execute(path, f"DROP INDEX document_{index}")
    execute(path, "DROP TABLE sent")
    execute(path, "DROP TABLE address")
    execute(path, "DROP TABLE inbound")
    for column in (column for older, columns in LACKS.items() if older >= version for column in columns):
        execute(path, f"ALTER TABLE document DROP COLUMN {column}")
    execute(path, "ALTER TABLE audit_chain DROP COLUMN day_first_seq")
    if version == 1:
        execute(path, "DROP TABLE trouble")


@pytest.mark.parametrize("version", LACKS)
def test_an_older_ledger_is_brought_forward(filled: Path, clock: StoppedClock, version: int) -> None:
    """Documents of an older version are there after the steps to this one, with what they lack at its default."""
    _take_back(filled, version)
    with reopen(filled, clock) as ledger:
        with ledger._database.reading() as connection:
            found = {index["name"] for index in inspect(connection).get_indexes("document")}
        assert found == {index.name for index in schema.document.indexes}
        documents = ledger.claim(State.RECEIVED, now=clock.now(), limit=100, lease_s=60).documents
        assert {(each.retries, each.suspect, each.duplicate_of) for each in documents} == {(0, False, None)}
        assert {(each.companions, each.wishes, each.hold, each.kept_until) for each in documents} == {
            ((), None, None, None)
        }
        assert len(documents) == 50
        assert ledger.troubles() == ()


def test_what_was_validated_and_not_sent_is_validated_anew(
    path: Path, clock: StoppedClock, make_document: MakeDocument
) -> None:
    """Version 2 measured no page for a visible seal. How seals look that it asked for is not known; of new ones it is.

    A duplicate that waits for the seal of an earlier document needs no measuring.
    """
    earlier = Earlier(DocumentId("20260101-0000000000000000"), clock.now())
    plain, duplicate, sealing = make_document(), make_document(duplicate_of=earlier), make_document()
    with reopen(path, clock) as ledger:
        for new in (plain, duplicate, sealing):
            stored = ledger.add(new, EVENT)
            (stored,) = ledger.record(Step(stored, replace(stored, state=State.VALIDATED, attempts=3), EVENT))
            if new is sealing:
                for state in (State.SUBMITTING, State.SEALING):
                    assert isinstance(stored, Document)
                    (stored,) = ledger.record(Step(stored, replace(stored, state=state), EVENT))
    _take_back(path, 2)
    with reopen(path, clock) as ledger:
        found = [ledger.get(each.id) for each in (plain, duplicate, sealing)]
        assert [each and (each.state, each.stamp_known, each.attempts) for each in found] == [
            (State.RECEIVED, False, 0),
            (State.VALIDATED, False, 3),
            (State.SEALING, False, 3),
        ]
        assert ledger.counts() == {"invoices": {State.RECEIVED: 1, State.VALIDATED: 1, State.SEALING: 1}}
        assert ledger.add(make_document(), EVENT).stamp_known
