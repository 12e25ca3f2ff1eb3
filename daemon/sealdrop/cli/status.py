"""``sealdrop status``: where the documents stand, or one document's whole story."""

import json as json_text
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import product
from typing import Annotated

import typer
from pydantic import JsonValue, TypeAdapter
from rich.console import Console
from rich.table import Table

from sealdrop.audit.reading import TrailEntry, read_records
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, JsonOption, app
from sealdrop.cli.audit import entry_as_json, show_entries
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import age, shown, size, state_words
from sealdrop.config import Config, load
from sealdrop.daemon.figures import without_held
from sealdrop.daemon.line import NEEDED_BY, Operation, subject
from sealdrop.daemon.startup import audit_folder, ledger_path
from sealdrop.ledger.reading import Held, LedgerReader
from sealdrop.model import END_STATES, PRESSURE, Document, Hold, State, Trouble

# What each call is for.
_CALL_WORDS: Mapping[Operation, str] = {
    Operation.CREATE: "sending documents to SignAPI",
    Operation.SIGN: "asking SignAPI for seals",
    Operation.STATUS: "asking SignAPI how far documents are",
}

_WIDE = 10_000  # columns: wider than any table
_DOCUMENT = TypeAdapter(Document)
_TROUBLE = TypeAdapter(Trouble)


@app.command()
def status(
    document: Annotated[
        str | None, typer.Argument(metavar="[DOCUMENT]", help="A document's ID, its short form, or a file name.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Show how many documents are where, what waits longest and why; or, for one DOCUMENT, everything known of it.

    Reads the ledger only, and may be used while the service runs. Exits with 1 if no document fits.
    """
    settings = load(config)
    console = Console(highlight=False)
    with LedgerReader.open_read_only(ledger_path(settings)) as ledger:
        if document is None:
            _overview(settings, ledger, console, as_json=json)
            return
        found = ledger.find(document)
        if not found:
            raise typer.Exit(_nothing_found(console, document, as_json=json))
        if json:
            stories = [_as_json(settings, each) for each in found]
            console.out(json_text.dumps({"documents": stories}, ensure_ascii=False, indent=2))
            return
        for each in found:
            _story(settings, each, console)


def _nothing_found(console: Console, wanted: str, *, as_json: bool) -> Exit:
    if as_json:
        console.out(json_text.dumps({"documents": []}))
    else:
        console.print(f"No document has the ID or file name {wanted!r}.", markup=False)
    return Exit.NO


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What waits for a call of an account: how many documents, and for how long at most until it is tried again."""

    account: str
    operation: Operation
    documents: int
    tried_within_s: float


def _waits_for_accounts(settings: Config, counts: Mapping[str, Mapping[State, int]]) -> dict[str, _Waiting]:
    """Return what waits for each account's calls, by the names that their troubles have."""
    found = {}
    for (name, account), operation in product(settings.accounts.items(), Operation):
        folders = [counts.get(key, {}) for key, folder in settings.folders.items() if folder.account == name]
        documents = sum(states.get(state, 0) for states in folders for state in NEEDED_BY[operation])
        found[subject(name, operation)] = _Waiting(name, operation, documents, account.retry_longest_s)
    return found


def _overview(settings: Config, ledger: LedgerReader, console: Console, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    counts = ledger.counts()
    # What is held on purpose must not hide what is not.
    oldest = {**ledger.oldest_waiting(), **ledger.oldest_waiting(unheld_at=now)}
    head = ledger.audit_head()
    told = ledger.troubles()
    troubles = [each for each in told if not each.is_pressure]
    pressure = [each for each in told if each.is_pressure]
    held = ledger.held(now)
    waits = _waits_for_accounts(settings, without_held(counts, held))
    if as_json:
        content = {
            "folders": {
                folder: {
                    "states": {state.value: number for state, number in states.items()},
                    "oldest_waiting": _DOCUMENT.dump_python(oldest[folder], mode="json") if folder in oldest else None,
                    "held": [_held_as_json(each) for each in held if each.folder == folder],
                }
                for folder, states in counts.items()
            },
            "troubles": [_trouble_as_json(trouble, waits.get(trouble.subject)) for trouble in troubles],
            "pressure": [_TROUBLE.dump_python(each, mode="json") for each in pressure],
            "audit": {"seq": head.seq, "hash": head.hash},
        }
        console.out(json_text.dumps(content, ensure_ascii=False, indent=2))
        return
    for trouble in troubles:
        for line in _trouble_words(trouble, waits.get(trouble.subject)):
            _say(console, line)
    if not counts:
        console.print("No document has been dropped yet.")
        return
    console.print(_table(counts, console))
    for each in held:
        _say(console, _held_words(each, settings))
    for pressed in pressure:
        _say(console, _pressure_words(pressed))
    for folder, waiting in sorted(oldest.items()):
        _say(console, f"[bold]{shown(folder)}[/bold]: {_waits(waiting, settings.service.zone())}")
    if not oldest:
        console.print("Nothing waits.")
    console.print(f"Audit trail: {head.seq} records, head {head.seq}:{head.hash}", soft_wrap=True)


def _say(console: Console, line: str) -> None:
    """Print a line: whole where a program reads it, broken between words where a person does."""
    console.print(line, soft_wrap=not console.is_terminal)


def _table(counts: Mapping[str, Mapping[State, int]], console: Console) -> Table:
    """Return how many documents are where: a column for each state, or a line where there is no room for columns."""
    present = [state for state in State if any(states.get(state) for states in counts.values())]
    table = Table(title="Documents", title_justify="left", title_style="bold")
    table.add_column("folder")
    for state in present:
        table.add_column(state.value, justify="right")
    for folder, states in sorted(counts.items()):
        table.add_row(shown(folder), *(str(states.get(state) or "") for state in present))
    if console.measure(table, options=console.options.update(max_width=_WIDE)).maximum <= console.width:
        return table
    table = Table(title="Documents", title_justify="left", title_style="bold")
    table.add_column("folder", overflow="fold")
    table.add_column("state")
    table.add_column("", justify="right")
    for folder, states in sorted(counts.items()):
        for first, state in enumerate(each for each in present if states.get(each)):
            table.add_row("" if first else shown(folder), state.value, str(states[state]))
        table.add_section()
    return table


def _trouble_words(trouble: Trouble, waiting: _Waiting | None) -> Iterator[str]:
    since = f"since {trouble.since:%Y-%m-%d %H:%M:%S} UTC ({age(datetime.now(UTC) - trouble.since)})"
    if waiting is None:
        yield f"[bold red]Trouble[/bold red] with {shown(trouble.subject)}, {since}: {shown(trouble.text)}"
        return
    what = f"account {shown(waiting.account)}: {_CALL_WORDS[waiting.operation]} does not work"
    yield f"[bold red]Trouble[/bold red] with {what}, {since}"
    yield f"  {shown(trouble.text)}"
    documents = "1 document waits" if waiting.documents == 1 else f"{waiting.documents} documents wait"
    within = age(timedelta(seconds=waiting.tried_within_s))
    yield (
        f"  {documents} for it. It is tried again by itself, at least every {within} unless SignAPI asked to be left "
        "alone for longer, and all goes on when it works: nothing is lost, and nothing needs to be dropped again."
    )


def _trouble_as_json(trouble: Trouble, waiting: _Waiting | None) -> dict[str, JsonValue]:
    known: dict[str, JsonValue] = _TROUBLE.dump_python(trouble, mode="json")
    if waiting is not None:
        known |= {
            "account": waiting.account,
            "operation": waiting.operation,
            "documents_waiting": waiting.documents,
            "tried_again_within_s": waiting.tried_within_s,
        }
    return known


def _pressure_words(pressed: Trouble) -> str:
    folder = pressed.subject.removeprefix(PRESSURE).partition(" ")[2]
    since = f"since {pressed.since:%Y-%m-%d %H:%M:%S} UTC ({age(datetime.now(UTC) - pressed.since)})"
    return (
        f"[bold]{shown(folder)}[/bold]: {shown(pressed.text)}, {since}. "
        "Files wait in inbound, and are taken as these get through."
    )


def _held_words(held: Held, settings: Config) -> str:
    one = held.documents == 1
    documents = "1 document waits" if one else f"{held.documents} documents wait"
    until = _local(held.until, settings.service.zone())
    if held.hold is Hold.QUOTA:
        folder = settings.folders.get(held.folder)
        quota = folder.daily_quota if folder is not None else None
        why = f"the daily quota{'' if quota is None else f' of {quota}'} is used up"
    else:
        why = "it is outside the folder's hours"
    return (
        f"[bold]{shown(held.folder)}[/bold]: {why}, {documents} until {until}. "
        f"{'It goes' if one else 'They go'} on by {'itself' if one else 'themselves'}."
    )


def _held_as_json(held: Held) -> dict[str, JsonValue]:
    return {"hold": held.hold, "documents": held.documents, "until": held.until.isoformat()}


def _local(moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _hold_words(document: Document, zone: tzinfo | None) -> str | None:
    if document.hold is None or document.due_at is None or document.due_at <= datetime.now(UTC):
        return None
    why = "the folder's hours" if document.hold is Hold.WINDOW else "the next day's quota"
    return f"held for {why}, until {_local(document.due_at, zone)}"


def _waits(document: Document, zone: tzinfo | None) -> str:
    waited = age(datetime.now(UTC) - document.received_at)
    line = f"{shown(repr(document.name))} ({document.id}) waits longest, {waited}: {state_words(document.state)}"
    if document.state in END_STATES:
        line += ", and its original still to be put into its folder"
    hold = _hold_words(document, zone)
    if hold is not None:
        line += f"; {hold}"
    if document.last_error:
        line += f"; {document.attempts} failed tries, the last: [yellow]{shown(document.last_error)}[/yellow]"
    return line


def _as_json(settings: Config, document: Document) -> JsonValue:
    known: JsonValue = _DOCUMENT.dump_python(document, mode="json")
    return {"document": known, "events": [entry_as_json(entry) for entry in _events(settings, document)]}


def _events(settings: Config, document: Document) -> Iterator[TrailEntry]:
    # A record is never older than the document's copy, but the folder may hold ten years of days.
    return read_records(audit_folder(settings), document=document.id, since=document.received_at)


def _facts(document: Document, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield "document", document.id
    yield "file", f"{document.name} ({size(document.size_bytes)})"
    yield "folder", f"{document.folder}, account {document.account}"
    yield "SHA-256", document.sha256
    yield "state", state_words(document.state)
    if document.reason is not None:
        yield "reason", f"{document.reason}: {document.reason_detail or ''}"
    if document.last_error:
        yield "last error", f"{document.last_error} ({document.attempts} failed tries)"
    if document.inspection is not None and document.inspection.warnings:
        yield "warnings", ", ".join(finding.code for finding in document.inspection.warnings)
    if document.external_id is not None:
        yield "our request ID", document.external_id
    if document.request_id is not None:
        yield "SignAPI's ID", document.request_id
    for archived in document.remote.archive_ids:
        yield "archive ID", f"{archived.identifier} {archived.archiver}".strip()
    if document.verification is not None and document.verification.level is not None:
        yield "seal", document.verification.level
    if document.sealed_sha256 is not None:
        yield "sealed SHA-256", document.sealed_sha256
    if document.retries:
        yield "tried again", f"{document.retries} times" if document.retries > 1 else "once"
    if document.duplicate_of is not None:
        yield "seal of", f"{document.duplicate_of.document}, dropped earlier with the same content"
    if document.published_name is not None and document.due_at is None:
        yield "published as", document.published_name
    yield from _times(document, zone)


def _times(document: Document, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    hold = _hold_words(document, zone)
    if hold is not None:
        yield "waits", hold
    if document.kept_name is not None:
        yield "original kept", document.kept_name
    if document.expired_at is not None:
        yield "removed", f"{_local(document.expired_at, zone)}, as its folder keeps such files no longer"
    elif document.kept_until is not None:
        yield "kept until", _local(document.kept_until, zone)


def _story(settings: Config, document: Document, console: Console) -> None:
    for key, value in _facts(document, settings.service.zone()):
        console.print(f"[bold]{key:<16}[/bold]{shown(value)}", soft_wrap=True)
    show_entries(_events(settings, document), console, UTC, about_one=True)
    console.print()
