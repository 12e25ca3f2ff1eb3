"""``sealdrop audit``: the audit trail, shown and checked. Needs nothing but its files."""

import json as json_text
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.progress import TaskProgressColumn

from sealdrop.audit.check import TrailReport, verify_trail
from sealdrop.audit.reading import TrailEntry, read_records
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, JsonOption, audit_app
from sealdrop.cli.bar import work_bar
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import shown
from sealdrop.config import load
from sealdrop.daemon.startup import audit_folder, ledger_path
from sealdrop.ledger.reading import LedgerReader
from sealdrop.report.questions import Question, answer
from sealdrop.report.stories import Outcome, Story
from sealdrop.report.telling import plain, sentence

DirOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The folder with the trail's files; no configuration is read then."),
]

ZoneOption = Annotated[
    str, typer.Option("--time-zone", metavar="ZONE", help="Of the times that are shown, as Europe/Paris.")
]


def entry_as_json(entry: TrailEntry) -> JsonValue:
    """Return a record as the object that stands in the files."""
    return {
        "seq": entry.seq,
        "at": f"{entry.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "event": entry.event,
        "document": entry.document,
        "node": entry.node,
        "data": dict(entry.data),
        "prev": entry.previous_hash,
        "hash": entry.hash,
    }


def show_entries(entries: Iterable[TrailEntry], console: Console, zone: tzinfo, *, about_one: bool = False) -> int:
    """Print records for people, a line each, times in ``zone``; return how many there were.

    ``about_one`` leaves out which document each is about.
    """
    count = 0
    for entry in entries:
        about = "" if about_one or entry.document is None else f"  [cyan]{shown(entry.document)}[/cyan]"
        named = "" if not about else f" {shown(plain(entry.data.get('name')))}:"
        at = entry.at.astimezone(zone)
        console.print(
            f"[dim]{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}[/dim]{about}{named}"
            f"  {shown(sentence(entry))}  [dim]{shown(entry.event)} {entry.seq}[/dim]",
            soft_wrap=True,
        )
        count += 1
    return count


def _show_stories(stories: Iterable[Story], console: Console, zone: tzinfo) -> int:
    """Print documents for people, each with what happened to it; return how many there were."""
    count = 0
    for story in stories:
        if count:
            console.print()
        outcome = story.outcome.replace("_", " ")
        name, folder = shown(story.name or "-"), shown(story.folder or "-")
        console.print(
            f"[bold]{name}[/bold]  {folder}  [cyan]{shown(story.id)}[/cyan]  [bold]{outcome}[/bold]",
            soft_wrap=True,
        )
        show_entries(story.entries, console, zone, about_one=True)
        count += 1
    return count


def expectation(text: str) -> tuple[int, str]:
    """Return the record that ``SEQ:HASH`` names.

    Raises:
        BadParameter: it is not of that form.
    """
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != len("0" * 64) or set(digest) - set("0123456789abcdef"):
        raise typer.BadParameter(f"{text!r} is not SEQ:HASH, as a verification prints it")
    return int(seq), digest


def trail_to_check(
    config: Path, directory: Path | None, expect: Sequence[str] | None
) -> tuple[Path, list[tuple[int, str]]]:
    """Return where the trail is, and the records that it must hold: those given, and what the ledger knows of it.

    Raises:
        BadParameter: one given is not ``SEQ:HASH``.
        ConfigurationError: no directory was given, and the configuration cannot be read.
    """
    expected = [expectation(text) for text in expect or ()]
    if directory is not None:
        return directory, expected
    settings = load(config)
    if ledger_path(settings).exists():
        with LedgerReader.open_read_only(ledger_path(settings)) as ledger:
            flushed = ledger.audit_flushed_head()
        expected.append((flushed.seq, flushed.hash))
    return audit_folder(settings), expected


def checked(directory: Path, expected: Sequence[tuple[int, str]]) -> TrailReport:
    """Return the verdict on a trail; on a terminal, a bar on standard error shows how far the work is."""
    sizes = {path: path.stat().st_size for path in directory.glob("*.jsonl")}
    with work_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("checking the audit trail", total=sum(sizes.values()))
        return verify_trail(directory, expect=expected, on_file=lambda path: bar.advance(task, sizes.get(path, 0)))


@audit_app.command("verify")
def verify(
    config: ConfigOption = DEFAULT_CONFIG,
    directory: DirOption = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:HASH", help="A head noted from an earlier verification; may be given again."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check that the audit trail is whole: no record changed, removed, moved, inserted or cut off.

    With a configuration, the end of the files is compared with what the ledger knows to be in them. With --dir alone,
    a tail that was cut off shows only against --expect: note the head that is printed here, somewhere else. Exits
    with 1 if anything is wrong.
    """
    directory, expected = trail_to_check(config, directory, expect)
    report = checked(directory, expected)
    console = Console(highlight=False)
    if json:
        console.out(json_text.dumps(_report_as_json(report), ensure_ascii=False, indent=2))
    else:
        _show_report(report, console, checked_tail=bool(expected))
    raise typer.Exit(Exit.OK if report.ok else Exit.NO)


def _report_as_json(report: TrailReport) -> JsonValue:
    return {
        "ok": report.ok,
        "files": report.files,
        "records": report.records,
        "first_seq": report.first.seq if report.first else None,
        "head": {"seq": report.last.seq, "hash": report.last.hash} if report.last else None,
        "problem_count": report.problem_count,
        "problems": [
            {"kind": problem.kind, "file": problem.file, "line": problem.line, "text": problem.text}
            for problem in report.problems
        ],
    }


def _show_report(report: TrailReport, console: Console, *, checked_tail: bool) -> None:
    for problem in report.problems:
        place = f"{problem.file or ''}{f' line {problem.line}' if problem.line else ''}"
        console.print(f"[red]✗[/red] {shown(f'{place}: ' if place else '')}{shown(problem.text)}", soft_wrap=True)
    if report.problem_count > len(report.problems):
        console.print(f"… and {report.problem_count - len(report.problems)} more")
    period = ""
    if report.first is not None and report.last is not None:
        period = f", {report.first.at:%Y-%m-%d %H:%M} to {report.last.at:%Y-%m-%d %H:%M} UTC"
    counted = f"{report.records} records in {report.files} files{period}"
    if report.ok:
        console.print(f"[green]✓[/green] The audit trail is whole: {counted}.", soft_wrap=True)
    else:
        console.print(
            f"[red]The audit trail is NOT whole[/red]: {report.problem_count} problem(s) in {counted}.", soft_wrap=True
        )
    if report.last is not None:
        console.print(f"Head: {report.last.seq}:{report.last.hash}", soft_wrap=True)
    if not checked_tail:
        console.print("Nothing to compare the end with: give --expect with a head that was noted earlier.")


@audit_app.command("show")
def show(
    config: ConfigOption = DEFAULT_CONFIG,
    directory: DirOption = None,
    document: Annotated[str | None, typer.Option(metavar="ID", help="A document's ID, or its short form.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Documents whose file had this name; * and ? stand for others.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Documents whose original or sealed PDF has this digest.")
    ] = None,
    folder: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Documents of this folder.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Documents that ended so.")] = None,
    archive_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Documents that were archived under this identifier.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Documents that were given this reason.")] = None,
    event: Annotated[str | None, typer.Option(metavar="NAME", help="Only records of this event.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only records from this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only records before this time, UTC.")] = None,
    zone: ZoneOption = "UTC",
    json: JsonOption = False,
) -> None:
    """Show what is on record. Exits with 1 if there is nothing that fits.

    Asked for documents, it tells the story of each, with what became of it. Asked for a time or an event alone, it
    shows the records of all documents, oldest first. Needs nothing but the trail's files.
    """
    if directory is None:
        directory = audit_folder(load(config))
    question = Question(
        document=document.strip().lower() if document else None,
        name=name,
        digest=digest.strip().lower() if digest else None,
        folders=tuple(folder or ()),
        outcome=outcome,
        archive_id=archive_id,
        reason=reason,
        event=event,
        since=utc(since),
        until=utc(until),
    )
    console = Console(highlight=False)
    times_in = time_zone(zone)
    if question.is_about_documents:
        stories = answer(directory, question)
        if json:
            count = _print_json((entry for story in stories for entry in story.entries), console)
        else:
            count = _show_stories(stories, console, times_in)
    else:
        entries = read_records(directory, event=event, since=question.since, until=question.until)
        count = _print_json(entries, console) if json else show_entries(entries, console, times_in)
    if count and not json:
        console.print(f"[dim]Times are {shown(zone)}.[/dim]")
    elif not count:
        typer.echo(f"Nothing on record in {directory} fits.", err=True)
    raise typer.Exit(Exit.OK if count else Exit.NO)


def time_zone(name: str) -> tzinfo:
    """Return the time zone of that name.

    Raises:
        BadParameter: this system knows none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise typer.BadParameter(f"there is no time zone {name!r} here", param_hint="--time-zone") from error


def _print_json(entries: Iterable[TrailEntry], console: Console) -> int:
    """One JSON object with all records; written as they are read, so that ten years of them fit."""
    count = 0
    console.out('{"records": [', end="")
    for entry in entries:
        console.out(
            "," if count else "", "\n  ", json_text.dumps(entry_as_json(entry), ensure_ascii=False), sep="", end=""
        )
        count += 1
    console.out("\n]}")
    return count


def utc(moment: datetime | None) -> datetime | None:
    """Return a moment that was given without a zone as one of UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
