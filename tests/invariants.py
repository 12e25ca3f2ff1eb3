"""What must hold once all documents are over, whatever happened on the way: looked at from outside, by what is on disk.

`problems` compares four accounts that know nothing of each other: what was dropped, what the sandbox says it sealed and
deposited, what stands in the folders, and what ledger and audit trail tell. Use it after crashes, faults, full disks:
the answer must be an empty list.

1. Each content that was to be sealed is in ``seals.jsonl`` exactly once, and in ``deposits.jsonl`` exactly once where
   archiving is asked; nothing else was sealed or deposited.
2. Each drop is one document in the ledger, over, in the state that was expected; the counts agree.
3. Each has its sealed PDF, which begins with what was dropped, and a receipt of the present version that agrees with
   it, with the ledger and with the sandbox, and its original in the processed folder where there is one; or its
   original with the reason for people and for programs. What came with an original stands beside it as it came. What
   was kept for its time, and is over, stands nowhere.
4. No other file stands anywhere: not in the folders, inbound or spool, and no temporary or hidden name.
5. The audit trail is whole, ends where the ledger says, tells each document's story by the table of moves, and besides
   them only what the service itself has on record.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from running import is_over, sha256, stored
from sealdrop.audit.check import verify_trail
from sealdrop.audit.reading import TrailEntry, read_records
from sealdrop.config import Config
from sealdrop.errors import SealdropError
from sealdrop.events import EventName
from sealdrop.model import MOVES, CompanionKind, Document, State
from sealdrop.receipt import (
    REASON_SUFFIX,
    REASON_TEXT_SUFFIX,
    RECEIPT_SUFFIX,
    AuditRange,
    ChecksumFacts,
    File,
    NotAReceipt,
    ReasonRecord,
    Receipt,
    SidecarFacts,
    read_receipt,
)
from sealdrop.sandbox import record
from sealdrop.sandbox.record import Entry

# The states in which an event may leave its document.
STATES_AFTER: Mapping[str, frozenset[State]] = {
    EventName.DOCUMENT_RECEIVED: frozenset({State.RECEIVED}),
    EventName.DOCUMENT_VALIDATED: frozenset({State.VALIDATED}),
    EventName.DOCUMENT_REJECTED: frozenset({State.REJECTED}),
    EventName.SUBMISSION_INTENDED: frozenset({State.SUBMITTING}),
    EventName.SUBMISSION_CONFIRMED: frozenset({State.SUBMITTED}),
    EventName.SEAL_INTENDED: frozenset({State.SEALING}),
    EventName.REMOTE_STATUS_CHANGED: frozenset({State.SEALING, State.ARCHIVING}),
    EventName.DOCUMENT_SEALED: frozenset({State.SEALED}),
    EventName.DOCUMENT_VERIFIED: frozenset({State.VERIFIED}),
    EventName.DOCUMENT_DELIVERED: frozenset({State.DELIVERED}),
    EventName.DOCUMENT_FAILED: frozenset({State.FAILED}),
    EventName.ORIGINAL_RETURNED: frozenset({State.REJECTED, State.FAILED}),
    EventName.DOCUMENT_RETRIED: frozenset({State.RETRYING}),
    EventName.ORIGINAL_FETCHED: frozenset({State.SUBMITTING}),
    EventName.RETRY_REFUSED: frozenset({State.FAILED}),
    EventName.DUPLICATE_RECOGNISED: frozenset({State.SEALING}),
    EventName.ORIGINAL_KEPT: frozenset({State.DELIVERED}),
    EventName.ORIGINAL_EXPIRED: frozenset({State.DELIVERED, State.REJECTED, State.FAILED}),
}
# What is on record of no document, but of the service.
OF_THE_SERVICE = frozenset(
    {
        EventName.SERVICE_STARTED,
        EventName.SERVICE_STOPPED,
        EventName.CONFIGURATION_RELOADED,
        EventName.DAY_CLOSED,
        EventName.QUOTA_REACHED,
    }
)
# Events that may find their document in the state in which they leave it; any other must move it.
STAYING = frozenset(
    {
        EventName.SUBMISSION_INTENDED,
        EventName.SEAL_INTENDED,
        EventName.REMOTE_STATUS_CHANGED,
        EventName.ORIGINAL_RETURNED,
        EventName.ORIGINAL_KEPT,
        EventName.ORIGINAL_EXPIRED,
    }
)
# What every story holds exactly once, by its end.
ONCE: Mapping[State, frozenset[str]] = {
    State.DELIVERED: frozenset(
        {
            EventName.DOCUMENT_RECEIVED,
            EventName.DOCUMENT_VALIDATED,
            EventName.DOCUMENT_SEALED,
            EventName.DOCUMENT_VERIFIED,
            EventName.DOCUMENT_DELIVERED,
        }
    ),
    State.REJECTED: frozenset({EventName.DOCUMENT_RECEIVED, EventName.DOCUMENT_REJECTED, EventName.ORIGINAL_RETURNED}),
    State.FAILED: frozenset(
        {
            EventName.DOCUMENT_RECEIVED,
            EventName.DOCUMENT_VALIDATED,
            EventName.DOCUMENT_FAILED,
            EventName.ORIGINAL_RETURNED,
        }
    ),
}
LAST: Mapping[State, str] = {
    State.DELIVERED: EventName.DOCUMENT_DELIVERED,
    State.REJECTED: EventName.ORIGINAL_RETURNED,
    State.FAILED: EventName.ORIGINAL_RETURNED,
}


@dataclass(frozen=True, slots=True)
class Drop:
    """A file that was dropped, and how it must end: ``name`` is the path below the folder's inbound.

    ``sealed`` and ``archived`` say whether a seal and a deposit were to be made; unless told, they follow from
    ``state`` and the folder. ``sidecar`` and ``checksum`` are what was dropped with it, if anything.
    """

    folder: str
    name: str
    content: bytes
    state: State = State.DELIVERED
    sealed: bool | None = None
    archived: bool | None = None
    sidecar: bytes = b""
    checksum: bytes = b""

    @property
    def sha256(self) -> str:
        """The digest of the content."""
        return sha256(self.content)

    @property
    def companions(self) -> Mapping[CompanionKind, bytes]:
        """What came with it."""
        came = {CompanionKind.SIDECAR: self.sidecar, CompanionKind.CHECKSUM: self.checksum}
        return {kind: content for kind, content in came.items() if content}

    def is_sealed(self) -> bool:
        """Whether a seal was to be made."""
        return self.state is State.DELIVERED if self.sealed is None else self.sealed

    def is_archived(self, config: Config) -> bool:
        """Whether a deposit was to be made."""
        if self.archived is not None:
            return self.archived
        return self.is_sealed() and config.folders[self.folder].seal.archive


def check(directory: Path, config: Config, drops: Sequence[Drop]) -> None:
    """Pass if `problems` finds none.

    Raises:
        AssertionError: it does; the message lists them.
    """
    found = list(problems(directory, config, drops))
    assert not found, "\n".join(found)


def problems(directory: Path, config: Config, drops: Sequence[Drop]) -> Iterator[str]:
    """Yield what does not hold of the rules above; ``directory`` is the sandbox's. Contents must be distinct."""
    seals, deposits = record.read(directory / "seals.jsonl"), record.read(directory / "deposits.jsonl")
    yield from _miscounted("seal", seals, [drop for drop in drops if drop.is_sealed()])
    yield from _miscounted("deposit", deposits, [drop for drop in drops if drop.is_archived(config)])
    documents = _documents(config)
    yield from _ledger_problems(config, drops, documents)
    told = {drop.sha256: drop for drop in drops}
    expected: set[Path] = set()
    for document in documents:
        drop = told.get(document.sha256)
        if drop is not None and document.published_name is not None and document.state is drop.state:
            yield from _file_problems(config, document, drop, seals, deposits, expected)
    for path in sorted(_files(config) - expected):
        yield f"{path} should not be there"
    for path in sorted(expected - _files(config)):
        yield f"{path} is missing"
    yield from _trail_problems(config, documents)


def settled(config: Config, number: int) -> bool:
    """Whether ``number`` documents are over and all that follows has been done: the moment to call `problems`."""
    try:
        documents = _documents(config)
        with stored(config) as ledger:
            is_told = ledger.audit_head() == ledger.audit_flushed_head()
    except SealdropError:  # the service has not come to create it yet
        return False
    if not is_told or len(documents) < number or not all(is_over(document) for document in documents):
        return False
    spool = config.service.state_dir / "spool"
    inbound = [path for folder in config.folders.values() for path in folder.inbound.rglob("*") if not path.is_dir()]
    return not inbound and not any(spool.glob("??/*"))


def _documents(config: Config) -> list[Document]:
    path = config.service.state_dir / "ledger.sqlite"
    with stored(config) as ledger, closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        identifiers = [row[0] for row in database.execute("SELECT id FROM document ORDER BY id")]
        return [document for each in identifiers if (document := ledger.get(each)) is not None]


def _miscounted(what: str, entries: Sequence[Entry], drops: Sequence[Drop]) -> Iterator[str]:
    made, due = Counter(entry.sha256 for entry in entries), Counter(drop.sha256 for drop in drops)
    names = {drop.sha256: drop.name for drop in drops}
    for digest in made | due:
        if made[digest] != due[digest]:
            name = names.get(digest, "a content that was not to have one")
            yield f"{made[digest]} {what}s instead of {due[digest]} of {name} ({digest[:12]})"


def _ledger_problems(config: Config, drops: Sequence[Drop], documents: Sequence[Document]) -> Iterator[str]:
    known = Counter((document.folder, document.name, document.sha256) for document in documents)
    due = Counter((drop.folder, drop.name, drop.sha256) for drop in drops)
    for key in known | due:
        if known[key] != due[key]:
            yield f"{known[key]} documents instead of {due[key]} of {key[0]}/{key[1]} ({key[2][:12]})"
    wanted = {drop.sha256: drop.state for drop in drops}
    companions = {drop.sha256: _digests(drop) for drop in drops}
    for document in documents:
        where = f"{document.id} ({document.name})"
        came = {each.kind: each.sha256 for each in document.companions}
        if came != companions.get(document.sha256, {}):
            yield f"{where} has not the companions that came with it: {document.companions}"
        asked = document.wishes.sha256 if document.wishes is not None else None
        if asked != came.get(CompanionKind.SIDECAR):
            yield f"{where} has not the wishes of its sidecar: {document.wishes}"
        if document.state is not wanted.get(document.sha256):
            yield f"{where} is {document.state}: {document.reason} {document.reason_detail} {document.last_error}"
        if not is_over(document) or document.lease is not None or document.published_name is None:
            yield f"{where} is not over: due {document.due_at}, lease {document.lease}, {document.last_error}"
    counts: dict[str, Counter[State]] = defaultdict(Counter)
    for document in documents:
        counts[document.folder][document.state] += 1
    with stored(config) as ledger:
        if ledger.counts() != counts:
            yield f"the ledger counts {ledger.counts()} and holds {dict(counts)}"
        for trouble in ledger.troubles():
            yield f"a trouble is left over: {trouble}"
        if ledger.oldest_waiting():
            yield f"documents wait: {ledger.oldest_waiting()}"


def _digests(drop: Drop) -> dict[CompanionKind, str]:
    return {kind: sha256(content) for kind, content in drop.companions.items()}


def _file_problems(
    config: Config,
    document: Document,
    drop: Drop,
    seals: Sequence[Entry],
    deposits: Sequence[Entry],
    expected: set[Path],
) -> Iterator[str]:
    """Compare a document with what stands in its folder; put the paths that belong to it into ``expected``."""
    folder = config.folders[document.folder]
    place = {State.DELIVERED: folder.outbound, State.REJECTED: folder.rejected}.get(document.state, folder.failed)
    path = place / str(document.published_name)
    delivered = document.state is State.DELIVERED
    suffixes = ["", RECEIPT_SUFFIX] if delivered else ["", REASON_SUFFIX, REASON_TEXT_SUFFIX]
    if not delivered and document.sealed_sha256 is not None:
        suffixes.append(".sealed.pdf")
    pieces = [path.with_name(path.name + suffix) for suffix in suffixes]
    original = path
    if delivered and folder.processed is not None:
        original = folder.processed / (document.kept_name or document.name)
    if document.expired_at is not None:
        expected.update(pieces if delivered else ())
    else:
        expected.update(pieces)
        if not delivered or folder.processed is not None:
            yield from _original_problems(document, drop, original, expected)
    if not all(piece.is_file() for piece in pieces):
        return  # told as missing
    content = path.read_bytes()
    about = f"{document.id} ({path.name})"
    if delivered:
        yield from _receipt_problems(about, document, drop, pieces[1].read_bytes())
    else:
        yield from _reason_problems(about, document, drop, pieces[1].read_bytes())
        if not pieces[2].read_text():
            yield f"{about}: the reason says nothing to people"
    if document.sealed_sha256 is not None:
        standing = content if delivered else pieces[3].read_bytes()
        if not standing.startswith(drop.content) or (len(standing), sha256(standing)) != _sealed(document):
            yield f"{about}: the sealed PDF is not the one that was verified, or does not begin with the original"
        yield from _remote_problems(about, document, seals, deposits)


def _original_problems(document: Document, drop: Drop, original: Path, expected: set[Path]) -> Iterator[str]:
    """Compare an original that is kept, or came back, and what stands beside it, with what was dropped."""
    beside = {original.with_name(original.name + kind.suffix): content for kind, content in drop.companions.items()}
    for each, content in ({original: drop.content} | beside).items():
        expected.add(each)
        if each.is_file() and each.read_bytes() != content:
            yield f"{document.id} ({each.name}): what stands there is not what was dropped"


def _sealed(document: Document) -> tuple[int | None, str | None]:
    return document.sealed_size_bytes, document.sealed_sha256


def _receipt_problems(about: str, document: Document, drop: Drop, content: bytes) -> Iterator[str]:
    try:
        receipt = read_receipt(content)
    except NotAReceipt as error:
        yield f"{about}: {error}"
        return
    if json.loads(content)["version"] != Receipt.model_fields["version"].default:
        yield f"{about}: the receipt is not of the present version"
    if receipt.document != document.id or receipt.remote.request_id != document.request_id:
        yield f"{about}: the receipt is another document's"
    if (receipt.account, receipt.seal.level_asked) != (document.account, document.level):
        yield f"{about}: the receipt is for another account, or of another seal than was asked for"
    if (receipt.sealed.name, receipt.sealed.size_bytes, receipt.sealed.sha256) != (
        document.published_name,
        *_sealed(document),
    ):
        yield f"{about}: the receipt names another sealed PDF: {receipt.sealed}"
    yield from _facts_problems(about, document, drop, receipt.original, receipt.audit)
    yield from _companion_problems(about, drop, receipt.sidecar, receipt.checksum)


def _reason_problems(about: str, document: Document, drop: Drop, content: bytes) -> Iterator[str]:
    try:
        reason = ReasonRecord.model_validate_json(content)
    except ValueError as error:
        yield f"{about}: not a reason: {error}"
        return
    if (reason.document, reason.outcome, reason.reason) != (document.id, document.state, document.reason):
        yield f"{about}: the reason is another document's"
    sealed = (None, None) if reason.sealed is None else (reason.sealed.size_bytes, reason.sealed.sha256)
    if sealed != _sealed(document):
        yield f"{about}: the reason names another sealed PDF: {reason.sealed}"
    yield from _facts_problems(about, document, drop, reason.original, reason.audit)
    yield from _companion_problems(about, drop, reason.sidecar, reason.checksum)


def _facts_problems(about: str, document: Document, drop: Drop, original: File, said: AuditRange) -> Iterator[str]:
    if (original.name, original.size_bytes, original.sha256) != (drop.name, len(drop.content), drop.sha256):
        yield f"{about}: the record names another original: {original}"
    if not (said.first_seq == document.first_seq and said.first_seq <= said.last_seq <= (document.last_seq or 0)):
        yield f"{about}: the record's audit range {said} is not within the ledger's"


def _companion_problems(
    about: str, drop: Drop, sidecar: SidecarFacts | None, checksum: ChecksumFacts | None
) -> Iterator[str]:
    told = {CompanionKind.SIDECAR: sidecar, CompanionKind.CHECKSUM: checksum}
    if {kind: facts.sha256 for kind, facts in told.items() if facts is not None} != _digests(drop):
        yield f"{about}: the record names other companions: {sidecar} {checksum}"


def _remote_problems(
    about: str, document: Document, seals: Sequence[Entry], deposits: Sequence[Entry]
) -> Iterator[str]:
    """Compare what the ledger, and so the receipt, says of the service with what the service says of itself."""
    made = [entry for entry in seals if entry.sha256 == document.sha256]
    if [(entry.request_id, entry.external_id) for entry in made] != [(document.request_id, document.external_id)]:
        yield f"{about}: sealed as {made}, known as {document.request_id} and {document.external_id}"
    if [entry.sealed_sha256 for entry in made] != [document.sealed_sha256]:
        yield f"{about}: another sealed PDF than the service made"
    archived = {entry.archive_id for entry in deposits if entry.sha256 == document.sha256}
    if document.state is State.DELIVERED and {each.identifier for each in document.remote.archive_ids} != archived:
        yield f"{about}: archived as {archived}, known as {document.remote.archive_ids}"


def _files(config: Config) -> set[Path]:
    """Return all that is not a folder, but for what the state directory always holds; a folder counts in the spool."""
    state = config.service.state_dir
    places = [path for folder in config.folders.values() for _, path in folder.places()]
    found = {path for place in places for path in place.rglob("*") if path.is_symlink() or not path.is_dir()}
    lasting = {state / f"ledger.sqlite{suffix}" for suffix in ("", "-wal", "-shm")}
    if config.alerts.email is not None or config.alerts.webhook is not None:
        lasting.add(state / "alerts.json")
    days = set((state / "audit").glob("????-??-??.jsonl"))
    found |= {path for path in state.rglob("*") if not path.is_dir()} - lasting - days
    return found | set((state / "spool").glob("??/*"))


def _trail_problems(config: Config, documents: Sequence[Document]) -> Iterator[str]:
    audit = config.service.state_dir / "audit"
    with stored(config) as ledger:
        head, flushed = ledger.audit_head(), ledger.audit_flushed_head()
    if head != flushed:
        yield f"records {flushed.seq + 1} to {head.seq} are not in the audit trail's files"
    report = verify_trail(audit, expect=[(flushed.seq, flushed.hash)])
    yield from (f"audit trail: {problem}" for problem in report.problems)
    if report.last is None or (report.last.seq, report.last.hash) != (head.seq, head.hash):
        yield f"the audit trail ends with {report.last}, the ledger with {head}"
    stories: dict[str, list[TrailEntry]] = defaultdict(list)
    for entry in read_records(audit):
        if entry.document is not None:
            stories[entry.document].append(entry)
        elif entry.event not in OF_THE_SERVICE:
            yield f"record {entry.seq} of the audit trail is about nothing: {entry.event}"
    for document in documents:
        is_kept = config.folders[document.folder].processed is not None
        yield from story_problems(document, stories.pop(document.id, []), is_kept=is_kept)
    for stray in stories:
        yield f"the audit trail tells of {stray}, which the ledger does not know"


def story_problems(document: Document, story: Sequence[TrailEntry], *, is_kept: bool = False) -> Iterator[str]:
    """Follow the events by the table of moves, in all states in which they may have left the document.

    ``is_kept`` says whether its folder has the originals of delivered documents kept.
    """
    about = f"{document.id} ({document.name})"
    events = [entry.event for entry in story]
    if not story or (story[0].seq, story[-1].seq) != (document.first_seq, document.last_seq):
        yield f"{about}: the ledger knows of records {document.first_seq} to {document.last_seq}, the trail of {events}"
        return
    once = ONCE.get(document.state, frozenset())
    last: str | None = LAST.get(document.state)
    if is_kept and document.state is State.DELIVERED:
        once, last = once | {EventName.ORIGINAL_KEPT}, EventName.ORIGINAL_KEPT
    if document.expired_at is not None:
        once, last = once | {EventName.ORIGINAL_EXPIRED}, EventName.ORIGINAL_EXPIRED
    if events[0] != EventName.DOCUMENT_RECEIVED or events[-1] != last:
        yield f"{about}: the story begins or ends in the wrong place: {events}"
    states = STATES_AFTER[EventName.DOCUMENT_RECEIVED]
    for event in events[1:]:
        reached = STATES_AFTER.get(event, frozenset())
        if event == EventName.SUBMISSION_CONFIRMED and EventName.DOCUMENT_RETRIED in events:
            reached |= {State.SEALING}  # signing was asked for before it failed: polling says whether it may be again
        states = frozenset(
            after
            for before in states
            for after in reached
            if after in MOVES[before] or (after is before and event in STAYING)
        )
    if document.state not in states:
        yield f"{about}: the story is not one that the table of moves allows: {events}"
    told = Counter(events)
    for event in once:
        if told[event] != 1:
            yield f"{about}: {event} is told {told[event]} times: {events}"
    # A seal is only ever made by a sign call, and that only after its intent.
    sealed = document.sealed_sha256 is not None
    if sealed and not (told[EventName.SUBMISSION_INTENDED] and told[EventName.SEAL_INTENDED]):
        yield f"{about}: sealed, and no intent is on record: {events}"
    if story[0].data.get("sha256") != document.sha256 or any(e.data.get("name") != document.name for e in story):
        yield f"{about}: the story is about something else"
