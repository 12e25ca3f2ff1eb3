"""``sealdrop audit export`` and ``sealdrop audit report``: tables and pages made from the audit trail's files."""

import hashlib
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sealdrop import __version__
from sealdrop.audit.reading import read_records
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, audit_app, complain
from sealdrop.cli.audit import DirOption, ZoneOption, checked, time_zone, trail_to_check, utc
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import shown
from sealdrop.config import NAME_PATTERN, load
from sealdrop.daemon.startup import audit_folder
from sealdrop.durable import flush, fsync_folder, publish, temporary_file
from sealdrop.report.export import (
    DOCUMENT_COLUMNS,
    RECORD_COLUMNS,
    Format,
    Sorted,
    encoded,
    record_row,
)
from sealdrop.report.figures import Counts, ServiceTurns
from sealdrop.report.period import Period, month_days
from sealdrop.report.report import Annex, Report
from sealdrop.report.walk import last_service_events, stories_of
from sealdrop.report.words import Language

FolderOption = Annotated[
    list[str] | None, typer.Option("--folder", metavar="NAME", help="Only this folder; may be given again.")
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace files of these names that are there.")]


@audit_app.command("export")
def export(
    config: ConfigOption = DEFAULT_CONFIG,
    directory: DirOption = None,
    since: Annotated[datetime | None, typer.Option(help="Taken over from this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Taken over before this time, UTC.")] = None,
    folder: FolderOption = None,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.CSV,  # noqa: A002 - the option's name
    records: Annotated[bool, typer.Option("--records", help="A row for each record, not for each document.")] = False,
    excel: Annotated[
        bool, typer.Option("--excel", help="Begin a CSV file with the mark by which Excel knows UTF-8.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output if not given.")
    ] = None,
    replace: ReplaceOption = False,
) -> None:
    """Write documents, or records, as a table: one row for each, in the order of the trail.

    A document is one that was taken over in the time that is given; its row says what became of it until now. Times
    are UTC. docs/audit.md says what the columns hold.
    """
    if directory is None:
        directory = audit_folder(load(config))
    folders = set(folder or ())
    since, until = utc(since), utc(until)
    if records:
        entries = read_records(directory, since=since, until=until)
        rows = (record_row(entry) for entry in entries if not folders or entry.data.get("folder") in folders)
        _write(encoded(rows, RECORD_COLUMNS, format, kind="records", mark=excel), output, replace=replace)
        return
    with Sorted() as found:
        for story in stories_of(directory, since=since, until=until):
            if story.complete and (not folders or story.folder in folders):
                found.add(story)
        _write(encoded(found.rows(), DOCUMENT_COLUMNS, format, kind="documents", mark=excel), output, replace=replace)


@audit_app.command("report")
def report(
    config: ConfigOption = DEFAULT_CONFIG,
    directory: DirOption = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="The month that it is about.")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Or: its first day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="And its last day.")] = None,
    folder: FolderOption = None,
    language: Annotated[Language, typer.Option(help="What it is written in.")] = Language.EN,
    zone: ZoneOption = "UTC",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to put it.", file_okay=False, exists=True)
    ] = Path(),
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:HASH", help="A head noted from an earlier verification; may be given again."),
    ] = None,
    replace: ReplaceOption = False,
) -> None:
    """Make a report about a month, or about some days: a page in HTML, the same as PDF, and a table of all documents.

    It says what became of every document, how long it took, which certificates made the seals, and whether the audit
    trail is whole. Needs nothing but the trail's files. Exits with 1 if the trail is not whole; the report is made all
    the same, and says so at its top.
    """
    # Their libraries take long to load, and no other command needs them.
    from sealdrop.report.html import to_html
    from sealdrop.report.pdf import to_pdf

    period = _period(month, first, last, zone)
    folders = tuple(dict.fromkeys(folder or ()))
    for name in folders:
        if not re.fullmatch(NAME_PATTERN, name):
            raise typer.BadParameter(f"no folder can be called {name!r}", param_hint="--folder")
    paths = _paths(output, period, folders)
    taken = [path for path in paths if path.exists() and not replace]
    if taken:
        raise typer.BadParameter(f"{taken[0]} is there already: nothing was written (--replace replaces it)")
    directory, expected = trail_to_check(config, directory, expect)
    verdict = checked(directory, expected)
    counts, turns = Counts(period, folders), ServiceTurns(last_service_events(directory, period.since))
    # A daemon may be writing: what came after the verdict is no part of the report.
    up_to_seq = verdict.last.seq if verdict.last else None
    with Sorted() as found:
        walk = stories_of(directory, since=period.since, until=period.until, up_to_seq=up_to_seq, look=turns.take)
        for story in walk:
            if counts.count(story):
                found.add(story)
        page_path, pdf_path, table_path = paths

        def table() -> Iterator[bytes]:
            return encoded(found.rows(), DOCUMENT_COLUMNS, Format.CSV, kind="documents", mark=True)

        made = Report(
            figures=counts.figures(turns),
            trail=verdict,
            compared=bool(expected),
            annex=Annex(table_path.name, _sha256(table()), len(found)),
            made_at=datetime.now(UTC),
            host=socket.gethostname(),
            version=__version__,
            language=language,
        )
        # All that can fail before anything is written: what is there would be in the way of the next try.
        page, pdf = to_html(made), to_pdf(made)
        _place(table(), table_path, replace=replace)
        _place([page], page_path, replace=replace)
        _place([pdf], pdf_path, replace=replace)
    console = Console(highlight=False)
    if not verdict.ok:
        console.print("[red]The audit trail is NOT whole[/red]: run `sealdrop audit verify`.", soft_wrap=True)
    for path in paths:
        console.print(shown(str(path)), soft_wrap=True)
    raise typer.Exit(Exit.OK if verdict.ok else Exit.NO)


def _period(month: str | None, first: datetime | None, last: datetime | None, zone: str) -> Period:
    try:
        days: tuple[date, date] | None = month_days(month) if month is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--month") from error
    if days is None and first is not None and last is not None:
        days = first.date(), last.date()
    elif days is None or first is not None or last is not None:
        raise typer.BadParameter("give --month, or --from and --to")
    if days[1] < days[0]:
        raise typer.BadParameter("--to lies before --from")
    return Period(*days, time_zone(zone), zone)


def _paths(output: Path, period: Period, folders: tuple[str, ...]) -> tuple[Path, Path, Path]:
    """Return where the page, the PDF and the table go."""
    days = f"{period.first:%Y-%m}" if period.is_month else f"{period.first}-to-{period.last}"
    stem = "-".join(["sealdrop-report", days, *folders])
    return output / f"{stem}.html", output / f"{stem}.pdf", output / f"{stem}.csv"


def _write(chunks: Iterator[bytes], output: Path | None, *, replace: bool) -> None:
    if output is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    else:
        _place(chunks, output, replace=replace)


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _place(chunks: Iterable[bytes], final: Path, *, replace: bool) -> None:
    """Write a file, durably and as a whole or not at all.

    Raises:
        BadParameter: its name is taken, and it is not to be replaced.
        Exit: it cannot be written there, and that has been said.
    """
    try:
        _put(chunks, final, replace=replace)
    except OSError as error:
        complain(OSError(f"{final} cannot be written: {error.strerror}; --output says where else"))
        raise typer.Exit(Exit.NO) from error


def _put(chunks: Iterable[bytes], final: Path, *, replace: bool) -> None:
    with temporary_file(final.parent, mode=0o666) as (file, temporary):
        for chunk in chunks:
            file.write(chunk)
        flush(file)
        if replace:
            temporary.replace(final)
        else:
            try:
                publish(file, temporary, final)
            except FileExistsError as error:
                raise typer.BadParameter(f"{final} is there already (--replace replaces it)") from error
    fsync_folder(final.parent)
