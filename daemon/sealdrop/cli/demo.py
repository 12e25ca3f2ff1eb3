"""``sealdrop demo``: the whole of it on one machine, live, in less than a minute."""

import json as json_text
import queue
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from sealdrop import logs
from sealdrop.audit.check import TrailReport, verify_trail
from sealdrop.cli.app import JsonOption, app
from sealdrop.cli.exits import Exit
from sealdrop.cli.sandbox import need_sandbox
from sealdrop.cli.stopping import Wishes, stop_signals
from sealdrop.cli.words import shown, size
from sealdrop.config import Config, load
from sealdrop.daemon import Daemon
from sealdrop.daemon.startup import audit_folder
from sealdrop.events import EventName
from sealdrop.model import END_STATES, Document, Event, Reason, State
from sealdrop.pipeline.deliver import SEALED_SUFFIX
from sealdrop.receipt import REASON_TEXT_SUFFIX, RECEIPT_SUFFIX

if TYPE_CHECKING:
    from sealdrop.sandbox.server import Sandbox

PATIENCE_S = 180.0  # for all samples together, on a slow machine
DEFAULT_DIR = Path("sealdrop-demo")
# What a new directory's configuration has beyond the sandbox's: something to see in the sealed invoices.
_VISIBLE = """
# The seal is seen in the lower right corner of the first page.
[folders.invoices.seal.visible]
width_mm = 62
height_mm = 14

[[folders.invoices.seal.visible.lines]]
text = "Sealed by {organisation}"
font = "Helvetica_bold"
x_px = 6
y_px = 24

[[folders.invoices.seal.visible.lines]]
text = "{date:%d/%m/%Y} {time:%H:%M}, document {id}"
font_size = 6
x_px = 6
y_px = 10
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file that the demonstration drops, and what should become of it."""

    folder: str
    name: str
    content: bytes
    about: str
    state: State
    reason: Reason | None = None


class Story:
    """What happens to the documents, as it happens. Filled by worker threads, read by the main one."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[Document, Event]] = queue.SimpleQueue()
        self.documents: dict[tuple[str, str], Document] = {}

    def hear(self, document: Document, event: Event) -> None:
        """Note a document's move."""
        self._events.put((document, event))

    def next(self, timeout_s: float) -> tuple[Document, Event] | None:
        """Return the next move, or None if there is none in time."""
        try:
            document, event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self.documents[document.folder, document.name] = document
        return document, event


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where everything goes.")] = DEFAULT_DIR,
    once: Annotated[bool, typer.Option("--once", help="Stop when the samples are done.")] = False,
    json: JsonOption = False,
) -> None:
    """Start a local SignAPI and the service, drop sample PDFs, and show what becomes of them.

    With --once it ends there: with 0 if all went as it should, else with 1. Without, it goes on until Ctrl-C, and
    whatever PDF you drop into the folders it names is sealed. The seals are real PAdES seals by a made-up authority.
    """
    need_sandbox()
    from sealdrop.sandbox.configuration import FILE_NAME
    from sealdrop.sandbox.server import Sandbox

    console = Console(highlight=False, quiet=json)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    is_new = not (directory / FILE_NAME).exists()
    with (
        (directory / "sealdrop.log").open("a", encoding="utf-8") as log_file,
        stop_signals() as stop,
        Sandbox.start(directory) as service,
    ):
        if is_new:
            with service.config_path.open("a", encoding="utf-8") as config_file:
                config_file.write(_VISIBLE)
        logs.configure("json", "info", log_file)
        settings = load(service.config_path)
        story = Story()
        daemon = Daemon(settings, logs.get())
        daemon.listen(story.hear)
        daemon.start(on_broken=stop.ask)
        try:
            _introduce(service, settings, console)
            samples = _samples(service)
            drops = _drop(samples, settings)
            _watch_until_done(story, drops, stop, console)
            good = _conclude(drops, story, settings, console)
            _show_trail(verify_trail(audit_folder(settings)), settings, console)
            _suggest(service.config_path, drops, story, settings, console)
            if not once and not json:
                _keep_on(settings, directory, console)
                while not stop.wait(timeout_s=0):
                    _tell_next(story, console)
        finally:
            daemon.stop()
        report = verify_trail(audit_folder(settings))
    if json:
        Console().out(json_text.dumps(_as_json(drops, story, report), ensure_ascii=False, indent=2))
    if not (good and report.ok and daemon.stopped_by is None):
        raise typer.Exit(Exit.NO)


def _introduce(service: "Sandbox", settings: Config, console: Console) -> None:
    console.rule("[bold]sealdrop[/bold]: drop a PDF, get it back sealed, archived, on record", align="left")
    console.print(
        f"A local SignAPI runs on [cyan]{service.url}[/cyan], with mutual TLS, real PAdES seals and an archive."
    )
    console.print("sealdrop watches these folders:")
    for folder in settings.folders.values():
        archive = "archived" if folder.seal.archive else "not archived"
        archive += ", a visible seal" if folder.seal.visible is not None else ""
        console.print(f"  [cyan]{shown(_near(folder.inbound))}[/cyan]  {folder.seal.level}, {archive}", soft_wrap=True)
    console.print()


def _samples(service: "Sandbox") -> Sequence[Sample]:
    from sealdrop.sandbox import samples

    today = datetime.now(UTC).date()
    number = f"F-{date.today():%Y}-{datetime.now(UTC):%H%M%S}"  # noqa: DTZ011 - an invoice bears the local date
    delivered, rejected = State.DELIVERED, State.REJECTED
    return (
        Sample("invoices", "Invoice.pdf", samples.invoice(number, today), "a good invoice", delivered),
        Sample("invoices", "Report.pdf", samples.long_report(40, today, number), "a report of 40 pages", delivered),
        Sample("invoices", "Payslip.pdf", samples.encrypted(), "needs a password", rejected, Reason.ENCRYPTED_USER),
        Sample("invoices", "Notes.pdf", samples.not_a_pdf(), "a text file", rejected, Reason.NOT_PDF),
        Sample("contracts", "Contract.pdf", samples.already_signed(service.pki), "signed before", delivered),
    )


def _drop(samples: Sequence[Sample], settings: Config) -> Mapping[tuple[str, str], Sample]:
    """Write the samples as a careful program would: under a name that is ignored, then renamed."""
    drops = {}
    for sample in samples:
        inbound = settings.folders[sample.folder].inbound
        hidden = inbound / f".{sample.name}.part"
        hidden.write_bytes(sample.content)
        hidden.rename(inbound / sample.name)
        drops[sample.folder, sample.name] = sample
    return drops


def _watch_until_done(story: Story, drops: Mapping[tuple[str, str], Sample], stop: Wishes, console: Console) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not all(_is_done(story, key) for key in drops):
        if time.monotonic() > deadline or stop.wait(timeout_s=0):
            return
        _tell_next(story, console)


def _tell_next(story: Story, console: Console) -> None:
    move = story.next(timeout_s=0.3)
    if move is not None:
        _tell(*move, console)


def _is_done(story: Story, key: tuple[str, str]) -> bool:
    document = story.documents.get(key)
    return document is not None and document.state in END_STATES and document.due_at is None


def _tell(document: Document, event: Event, console: Console) -> None:
    words = _words(document, EventName(event.name), event.fields)
    if words is None:
        return
    at = datetime.now().astimezone()
    name = shown(f"{document.folder}/{document.name}")
    console.print(f"[dim]{at:%H:%M:%S}.{at.microsecond // 100_000}[/dim]  {name:<24} {words}", soft_wrap=True)


def _words(document: Document, event: EventName, fields: Mapping[str, JsonValue]) -> str | None:
    """Return what an event means to somebody who watches; None for what would only be noise."""
    match event:
        case EventName.DOCUMENT_RECEIVED:
            return f"taken over, {size(document.size_bytes)}"
        case EventName.DOCUMENT_VALIDATED:
            warnings = document.inspection.warnings if document.inspection else ()
            noticed = f", noticed {', '.join(finding.code for finding in warnings)}" if warnings else ""
            pages = document.inspection.pages if document.inspection else 0
            return f"examined: {pages} page{'s' if pages != 1 else ''}, fit to be sealed{noticed}"
        case EventName.DOCUMENT_REJECTED:
            return f"[yellow]rejected: {document.reason}[/yellow], nothing was sent"
        case EventName.SUBMISSION_CONFIRMED:
            return "sent to SignAPI"
        case EventName.REMOTE_STATUS_CHANGED:
            return f"[dim]SignAPI: {shown(str(fields.get('remote_status')))}[/dim]"
        case EventName.DOCUMENT_SEALED:
            return "sealed" + _archived(document, ", archived as ")
        case EventName.DOCUMENT_VERIFIED:
            level = document.verification.level if document.verification else ""
            return f"the seal stands up to {fields.get('checks')} checks, {level}"
        case EventName.DOCUMENT_DELIVERED:
            return "[green]delivered[/green] with its receipt"
        case EventName.DOCUMENT_FAILED:
            return f"[red]failed: {document.reason}[/red] {shown(document.reason_detail or '')}"
        case EventName.ORIGINAL_RETURNED:
            return "given back with its reason"
        case _:
            return None


def _archived(document: Document, lead: str) -> str:
    identifiers = ", ".join(archived.identifier for archived in document.remote.archive_ids)
    return f"{lead}{shown(identifiers)}" if identifiers else ""


def _conclude(drops: Mapping[tuple[str, str], Sample], story: Story, settings: Config, console: Console) -> bool:
    """Show what became of each sample; return whether that is what should have become of it."""
    console.print()
    table = Table(title="What became of them", title_justify="left", title_style="bold", show_lines=True)
    table.add_column("dropped")
    table.add_column("became")
    good = True
    for key, sample in drops.items():
        document = story.documents.get(key)
        as_expected = document is not None and _is_done(story, key) and _fits(document, sample)
        good = good and as_expected
        outcome = _outcome(document) + ("" if as_expected else "\n[red]not what should have happened[/red]")
        table.add_row(f"{shown(sample.folder)}/{shown(sample.name)}\n[dim]{sample.about}[/dim]", outcome)
    console.print(table)
    console.print("[bold]Open them[/bold]")
    for key in drops:
        document = story.documents.get(key)
        for path in _files(document, settings) if document else ():
            console.print(f"  {shown(_near(path))}", soft_wrap=True)
    return good


def _fits(document: Document, sample: Sample) -> bool:
    return document.state is sample.state and document.reason == sample.reason


def _outcome(document: Document | None) -> str:
    if document is None:
        return "[red]never taken over[/red]"
    if document.state is State.DELIVERED:
        level = document.verification.level if document.verification else ""
        return f"[green]sealed[/green] {level}" + _archived(document, "\narchive ")
    if document.state is State.REJECTED:
        return f"[yellow]rejected[/yellow] {document.reason}"
    return f"[red]{document.state}[/red] {shown(document.reason or document.last_error or '')}"


def _files(document: Document, settings: Config) -> Sequence[Path]:
    """Return the files that were written for a document."""
    folder = settings.folders[document.folder]
    if document.published_name is None:
        return ()
    if document.state is State.DELIVERED:
        path = folder.outbound / document.published_name
        return path, path.with_name(path.name + RECEIPT_SUFFIX)
    path = (folder.rejected if document.state is State.REJECTED else folder.failed) / document.published_name
    companions = (SEALED_SUFFIX, REASON_TEXT_SUFFIX)
    return path, *(each for suffix in companions if (each := path.with_name(path.name + suffix)).exists())


def _suggest(
    config: Path, drops: Mapping[tuple[str, str], Sample], story: Story, settings: Config, console: Console
) -> None:
    """Name commands that show more of what just happened."""
    document = next((story.documents[key] for key in drops if key in story.documents), None)
    if document is None or not _files(document, settings):
        return
    command = shown(_near(Path(sys.argv[0]).absolute()))
    options = f"--config {shown(_near(config))}"
    console.print("[bold]Ask for more[/bold]")
    console.print(f"  {command} status {options} {shown(document.short_id)}", soft_wrap=True)
    console.print(f"  {command} verify {options} {shown(_near(_files(document, settings)[0]))}", soft_wrap=True)
    console.print(f"  {command} audit show {options} --document {document.id}", soft_wrap=True)


def _keep_on(settings: Config, directory: Path, console: Console) -> None:
    console.print()
    console.print("[bold]Now drop PDFs of your own[/bold] into one of these folders (Ctrl-C ends the demonstration):")
    for folder in settings.folders.values():
        console.print(f"  [cyan]{shown(_near(folder.inbound))}[/cyan]  →  {shown(_near(folder.outbound))}")
    console.print(f"What the service logs is in {shown(_near(directory / 'sealdrop.log'))}.")


def _show_trail(report: TrailReport, settings: Config, console: Console) -> None:
    console.print()
    folder = shown(_near(audit_folder(settings)))
    if report.ok:
        console.print(
            f"[green]✓[/green] Audit trail: {report.records} records, hash-chained, unbroken ({folder})", soft_wrap=True
        )
        if report.last is not None:
            console.print(f"  [dim]head {report.last.seq}:{report.last.hash}[/dim]", soft_wrap=True)
        return
    console.print(f"[red]✗ Audit trail: {report.problem_count} problem(s)[/red] ({folder})")
    for problem in report.problems:
        console.print(f"  {shown(problem.text)}")


def _near(path: Path) -> str:
    """Return the path as seen from here, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _as_json(drops: Mapping[tuple[str, str], Sample], story: Story, report: TrailReport) -> JsonValue:
    documents: list[JsonValue] = []
    for key, sample in drops.items():
        document = story.documents.get(key)
        documents.append(
            {
                "folder": sample.folder,
                "name": sample.name,
                "state": document.state.value if document else None,
                "reason": document.reason.value if document and document.reason else None,
                "as_expected": document is not None and _is_done(story, key) and _fits(document, sample),
            }
        )
    return {"documents": documents, "audit": {"ok": report.ok, "records": report.records}}
