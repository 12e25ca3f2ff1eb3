"""The checker that judges what crashes leave finds each thing that could be wrong: one that cannot fail is none."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

import documents
from invariants import OF_THE_SERVICE, STATES_AFTER, Drop, problems, story_problems
from rounds import Rounds
from sealdrop.audit.reading import TrailEntry
from sealdrop.config import load
from sealdrop.events import EventName
from sealdrop.model import Document, State
from steps import Nursery

GOOD, UNFIT, FAILING = "out/sealed/round-1/good.pdf", "out/rejected/round-2/unfit.pdf", "out/failed/round-3/failing.pdf"
KEPT = "out/processed/round-1/good.pdf"
LEDGER = "state/daemon/ledger.sqlite"
EVENTS = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, keys: Path, nursery: Nursery) -> tuple[Path, Sequence[Drop]]:
    """A house in which one document of each kind has come to its end, all in order."""
    base = tmp_path_factory.mktemp("finished") / "house"
    with Rounds(base, keys, nursery) as rounds:
        for kind in ("good", "unfit", "failing"):
            rounds.start()
            rounds.drop(kind)
            rounds.recover("all in order")
        rounds.stop()
        rounds.check()
    return base, rounds.drops


def _write(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def change(house: Path) -> None:
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_bytes(content)

    return change


def _remove(name: str) -> Callable[[Path], None]:
    return lambda house: (house / name).unlink()


def _edit(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(house: Path) -> None:
        path = next(house.glob(name))
        path.write_bytes(edit(path.read_bytes()))

    return change


def _copy(name: str, to: str) -> Callable[[Path], None]:
    return lambda house: (house / to).write_bytes((house / name).read_bytes())


def _query(text: str) -> Callable[[Path], None]:
    def change(house: Path) -> None:
        with closing(sqlite3.connect(house / LEDGER)) as database, database:
            database.execute(text)

    return change


def _first_line(content: bytes) -> bytes:
    return content.splitlines(keepends=True)[0]


def _as_of_version_2(content: bytes) -> bytes:
    receipt = json.loads(content)
    del receipt["seal"]["place"], receipt["sidecar"], receipt["checksum"]
    return json.dumps(receipt | {"version": 2}).encode()


def _without_sidecar(content: bytes) -> bytes:
    return json.dumps(json.loads(content) | {"sidecar": None}).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_edit("sandbox/seals.jsonl", lambda lines: lines + _first_line(lines)), "2 seals instead of 1"),
        (_edit("sandbox/seals.jsonl", lambda _: b""), "0 seals instead of 1"),
        (_edit("sandbox/deposits.jsonl", lambda lines: lines + _first_line(lines)), "2 deposits instead of 1"),
        (_edit("sandbox/deposits.jsonl", lambda _: b""), "0 deposits instead of 1"),
        (_remove(f"{GOOD}.receipt.json"), "is missing"),
        (_remove(GOOD), "is missing"),
        (_remove(f"{UNFIT}.reason.txt"), "is missing"),
        (_remove(f"{FAILING}.sealed.pdf"), "is missing"),
        (_remove(f"{UNFIT}.json"), "is missing"),
        (_remove(KEPT), "is missing"),
        (_remove(f"{KEPT}.json"), "is missing"),
        (_edit(GOOD, lambda content: content + b"\n"), "is not the one that was verified"),
        (_edit(f"{FAILING}.sealed.pdf", lambda _: b""), "is not the one that was verified"),
        (_edit(UNFIT, lambda content: content[:-1]), "not what was dropped"),
        (_edit(f"{UNFIT}.json", lambda _: b"{}"), "not what was dropped"),
        (_edit(KEPT, lambda content: content[:-1]), "not what was dropped"),
        (_edit(f"{KEPT}.json", lambda _: b"{}"), "not what was dropped"),
        (_edit(f"{GOOD}.receipt.json", lambda _: b""), "not a receipt"),
        (_edit(f"{GOOD}.receipt.json", _as_of_version_2), "not of the present version"),
        (_edit(f"{GOOD}.receipt.json", lambda text: text.replace(b'"sandbox"', b'"other"')), "for another account"),
        (_edit(f"{GOOD}.receipt.json", _without_sidecar), "names other companions"),
        (_edit(f"{UNFIT}.reason.json", _without_sidecar), "names other companions"),
        (_edit(f"{UNFIT}.reason.json", lambda _: b""), "not a reason"),
        (_edit(f"{UNFIT}.reason.txt", lambda _: b""), "says nothing"),
        (_copy(f"{FAILING}.reason.json", f"{UNFIT}.reason.json"), "another document's"),
        (_edit(f"{GOOD}.receipt.json", lambda text: text.replace(b"round-1", b"round-9")), "another sealed PDF"),
        (_write("in/dropped/left.pdf"), "should not be there"),
        (_write("in/dropped/round-1/.sealdrop-x.tmp"), "should not be there"),
        (_write("out/sealed/.hidden"), "should not be there"),
        (_write("out/failed/round-3/failing-2.pdf"), "should not be there"),
        (_write("state/daemon/spool/aa/20261124-00112233aabbccaa/original.pdf"), "should not be there"),
        (_write("state/daemon/audit/2026-11-24.jsonl.tmp"), "should not be there"),
        (
            _edit("state/daemon/audit/*.jsonl", lambda lines: lines.replace(b"document_sealed", b"document_seaIed")),
            "trail",
        ),
        (_edit("state/daemon/audit/*.jsonl", lambda lines: lines[: lines[:-1].rindex(b"\n") + 1]), "cut off"),
        (_query("UPDATE document SET state = 'verified' WHERE state = 'delivered'"), "is verified"),
        (_query("UPDATE document SET due_at = 1 WHERE state = 'delivered'"), "is not over"),
        (_query("DELETE FROM document WHERE state = 'delivered'"), "0 documents instead of 1"),
        (
            _query("UPDATE document SET last_seq = last_seq - 1 WHERE state = 'delivered'"),
            "the ledger knows of records",
        ),
        (_query("UPDATE tally SET documents = documents + 1"), "the ledger counts"),
        (_query("UPDATE document SET request_id = 'x' WHERE state = 'delivered'"), "known as x"),
        (_query("UPDATE document SET companions = '[]' WHERE state = 'delivered'"), "has not the companions"),
        (_query("UPDATE document SET expired_at = 1 WHERE state = 'delivered'"), "good.pdf should not be there"),
        (_query("INSERT INTO trouble VALUES ('n', 's', 1, 't')"), "a trouble is left over"),
        (_query("UPDATE audit_chain SET flushed_seq = flushed_seq - 1"), "are not in the audit trail's files"),
    ],
)
def test_whatever_is_wrong_is_told(
    finished: tuple[Path, Sequence[Drop]], tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    """One thing at a time is made wrong in a house that was in order, and the checker tells of it."""
    base, drops = finished
    house = tmp_path / "house"
    shutil.copytree(base, house)
    config = load(house / "sealdrop.toml")
    assert list(problems(house / "sandbox", config, drops)) == []
    change(house)
    assert told in "\n".join(problems(house / "sandbox", config, drops))


def test_what_nobody_dropped_is_told(finished: tuple[Path, Sequence[Drop]]) -> None:
    """A document, a seal and a deposit of something that was not dropped are each told of."""
    base, drops = finished
    told = "\n".join(problems(base / "sandbox", load(base / "sealdrop.toml"), drops[1:]))
    for text in ("1 seals instead of 0", "1 deposits instead of 0", "1 documents instead of 0"):
        assert text in told


WHOLE = (
    EventName.DOCUMENT_RECEIVED,
    EventName.DOCUMENT_VALIDATED,
    EventName.SUBMISSION_INTENDED,
    EventName.SUBMISSION_CONFIRMED,
    EventName.SEAL_INTENDED,
    EventName.REMOTE_STATUS_CHANGED,
    EventName.DOCUMENT_SEALED,
    EventName.DOCUMENT_VERIFIED,
    EventName.DOCUMENT_DELIVERED,
)


def _told(events: Sequence[str]) -> list[str]:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    known: Document = documents.verified(state=State.DELIVERED, first_seq=1, last_seq=len(events))
    data = {"name": known.name, "sha256": known.sha256}
    story = [
        TrailEntry(number, now, event, known.id, "n", data, "", "", "", number)
        for number, event in enumerate(events, 1)
    ]
    return list(story_problems(known, story))


def test_a_story_with_a_gap_is_told() -> None:
    """A whole story passes; without any one of its events, or with one told twice or too early, it does not."""
    assert _told(WHOLE) == []
    # The answers to create and sign may have been lost: what was asked later tells as much.
    optional = {EventName.SUBMISSION_CONFIRMED, EventName.REMOTE_STATUS_CHANGED}
    repeatable = {EventName.SUBMISSION_INTENDED, EventName.SEAL_INTENDED, EventName.REMOTE_STATUS_CHANGED}
    for place, event in enumerate(WHOLE):
        if event not in optional:
            assert _told([*WHOLE[:place], *WHOLE[place + 1 :]]), f"without {event}"
        if event not in repeatable:
            assert _told([*WHOLE[: place + 1], event, *WHOLE[place + 1 :]]), f"{event} twice"
    for place in range(1, len(WHOLE) - 1):
        before, first, second, after = WHOLE[: place - 1], WHOLE[place - 1], WHOLE[place], WHOLE[place + 1 :]
        if second is EventName.REMOTE_STATUS_CHANGED:
            continue  # the service may say that it is further than we know
        assert _told([*before, second, first, *after]), f"{second} before {first}"


def test_every_event_on_record_is_known() -> None:
    """The checker knows what each event on record is about, and in which states it may leave a document."""
    _, _, page = EVENTS.read_text().partition("## On record in the audit trail")
    on_record = set(re.findall(r"^\| `([a-z_]+)` \|", page.partition("\n## ")[0], flags=re.MULTILINE))
    assert on_record == STATES_AFTER.keys() | OF_THE_SERVICE
