"""``sealdrop verify FOLDER``: every sealed PDF below a folder, held against its receipt and the audit trail.

PDFs are examined in several child processes at a time. What is kept in memory is what does not agree, and a few words
of each receipt; a document's size makes no difference.
"""

import json as json_text
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.progress import MofNCompleteColumn

from sealdrop.audit.check import TrailReport
from sealdrop.audit.reading import (
    IncompleteLineError,
    NotARecordError,
    TrailEntry,
    day_files,
    lines,
    parse,
    read_records,
)
from sealdrop.cli.audit import checked
from sealdrop.cli.bar import work_bar
from sealdrop.cli.receipts import Against, disagreements
from sealdrop.cli.words import shown
from sealdrop.config import Config
from sealdrop.errors import Fatal, Retryable, SealdropError
from sealdrop.events import EventName
from sealdrop.model import Verification
from sealdrop.pdf.jail import Jail, JailLimits
from sealdrop.pdf.jobs import verify_seal
from sealdrop.receipt import RECEIPT_SUFFIX, NotAReceipt, Outcome, Receipt, read_receipt

LARGEST_RECEIPT_BYTES = 8 << 20
SHOWN = 1_000  # of what does not agree, on a terminal; --json has all of it
_WAITING = 4  # PDFs for each child process that wait for it


class Kind(StrEnum):
    """What does not agree: a stable interface for programs."""

    NOT_VALID = "not_valid"
    NOT_EXAMINED = "not_examined"
    NO_RECEIPT = "no_receipt"
    NO_PDF = "no_pdf"
    BAD_RECEIPT = "bad_receipt"
    DISAGREES = "disagrees"
    SAME_DOCUMENT = "same_document"
    NOT_IN_TRAIL = "not_in_trail"
    TRAIL_DISAGREES = "trail_disagrees"
    MISSING_HERE = "missing_here"
    NOTHING_HERE = "nothing_here"
    TRAIL_BROKEN = "trail_broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree; ``file`` is its path below the folder, as far as there is one."""

    kind: Kind
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a receipt until the trail has been read."""

    file: str
    folder: str
    published_name: str
    original_sha256: str
    sealed_sha256: str
    must_be_delivered: bool


@dataclass(slots=True)
class _Tally:
    """What was found so far."""

    pdfs: int = 0
    receipts: int = 0
    valid: int = 0
    findings: list[Finding] = field(default_factory=list)
    known: dict[str, _Known] = field(default_factory=dict)

    def add(self, kind: Kind, file: str, text: str) -> None:
        """Note something that does not agree."""
        self.findings.append(Finding(kind, file, text))


def verify_folder(folder: Path, against: Against, trail: Path | None, *, as_json: bool) -> bool:
    """Check everything below ``folder``, print what does not agree, and return whether there is nothing.

    Raises:
        Fatal: the audit trail cannot be read.
        Retryable: no child process can be started.
    """
    tally = _Tally()
    # What is delivered while the folder is read may not have been there when its turn came.
    last_seq = _last_seq(trail) if trail is not None else 0
    _check_pdfs(folder, against, tally)
    report, places = None, set[tuple[str, str]]()
    if trail is not None:
        report = checked(trail, ())
        if not report.ok:
            text = f"the audit trail is not whole: {report.problem_count} problem(s), see sealdrop audit verify"
            tally.add(Kind.TRAIL_BROKEN, "", text)
        places = _places(folder, against.config, tally)
        _check_trail(trail, last_seq, places, tally)
    if not (tally.pdfs or tally.receipts or tally.findings or places):
        # Perhaps it is the wrong folder: whoever asks whether all is valid is not told so of nothing.
        tally.add(Kind.NOTHING_HERE, "", "no sealed PDF and no receipt: nothing was verified")
    tally.findings.sort(key=lambda finding: (finding.file, finding.kind))
    console = Console(highlight=False)
    if as_json:
        console.out(json_text.dumps(_as_json(folder, tally, report), ensure_ascii=False, indent=2))
    else:
        _show(folder, tally, report, against, console)
    return not tally.findings


def _check_pdfs(folder: Path, against: Against, tally: _Tally) -> None:
    """Examine every PDF, a few at a time in several children, and hold it against its receipt."""
    pdfs = list(_pdfs(folder, tally))
    workers = os.cpu_count() or 1
    readable = (folder.absolute(), *against.anchors())
    with (
        work_bar(MofNCompleteColumn()) as progress,
        Jail(workers, JailLimits(), readable=readable) as jail,
        ThreadPoolExecutor(workers) as pool,
    ):
        task = progress.add_task("Verifying", total=len(pdfs))
        under_way: deque[tuple[Path, Receipt | None, Future[Verification]]] = deque()

        def settle_next() -> None:
            path, receipt, future = under_way.popleft()
            _settle(folder, path, receipt, future, tally)
            progress.advance(task)

        for path in pdfs:
            receipt = _receipt(folder, path, tally)
            expected = against.expectation(receipt, lenient=True)
            under_way.append((path, receipt, pool.submit(jail.run, verify_seal, path.absolute(), expected)))
            if len(under_way) > workers * _WAITING:
                settle_next()
        while under_way:
            settle_next()


def _pdfs(folder: Path, tally: _Tally) -> Iterator[Path]:
    """Yield every PDF in order, and note receipts that have none; hidden files are somebody's unfinished work.

    Folders that cannot be listed are noted, too: nothing is known of what is in them.
    """

    def note(error: OSError) -> None:
        where = _below(Path(error.filename), folder)
        tally.add(Kind.NOT_EXAMINED, "" if where == "." else where, f"the folder cannot be listed: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        present = set(names)
        for name in sorted(present):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if name.endswith(RECEIPT_SUFFIX):
                tally.receipts += 1
                if name.removesuffix(RECEIPT_SUFFIX) not in present:
                    tally.add(Kind.NO_PDF, _below(path, folder), "a receipt without the PDF that it is for")
            elif name.lower().endswith(".pdf") or name + RECEIPT_SUFFIX in present:
                tally.pdfs += 1
                yield path


def _receipt(folder: Path, path: Path, tally: _Tally) -> Receipt | None:
    """Return the receipt beside a PDF, having noted what is wrong with it, or that there is none."""
    beside, file = path.with_name(path.name + RECEIPT_SUFFIX), _below(path, folder)
    try:
        if beside.stat().st_size > LARGEST_RECEIPT_BYTES:
            raise NotAReceipt("not a receipt that can be read here: it is far too large")
        receipt = read_receipt(beside.read_bytes())
    except FileNotFoundError:
        tally.add(Kind.NO_RECEIPT, file, "a PDF without a receipt")
        return None
    except (NotAReceipt, OSError) as error:
        tally.add(Kind.BAD_RECEIPT, file, str(error))
        return None
    twin = tally.known.get(receipt.document)
    if twin is not None:
        tally.add(
            Kind.SAME_DOCUMENT, file, f"the receipt is for document {receipt.document}, as that of {twin.file} is"
        )
        return receipt
    tally.known[receipt.document] = _Known(
        file,
        receipt.folder,
        receipt.sealed.name,
        receipt.original.sha256,
        receipt.sealed.sha256,
        must_be_delivered=receipt.outcome is not Outcome.SEALED_NOT_ARCHIVED,
    )
    return receipt


def _settle(folder: Path, path: Path, receipt: Receipt | None, future: Future[Verification], tally: _Tally) -> None:
    """Note what the examination of a PDF came to."""
    file = _below(path, folder)
    try:
        report = future.result()
        found = disagreements(path, receipt, report) if receipt is not None else []
    except Retryable:
        raise  # no child could be started: nothing is known of any of them
    except (SealdropError, OSError) as error:
        tally.add(Kind.NOT_EXAMINED, file, f"it cannot be examined: {error}")
        return
    failure = report.first_failure
    if failure is not None:
        tally.add(Kind.NOT_VALID, file, f"{failure.name}: {failure.detail}")
    for text in found:
        tally.add(Kind.DISAGREES, file, text)
    tally.valid += failure is None and not found


def _last_seq(trail: Path) -> int:
    """Return the number of the newest record in the trail's files, 0 if there is none.

    Raises:
        Fatal: the audit trail cannot be read.
    """
    try:
        for day in reversed(day_files(trail)[0]):
            for number, line in reversed(deque(lines(day), maxlen=2)):  # the last one may still be being written
                with suppress(IncompleteLineError, NotARecordError):
                    return parse(line, day.name, number)[0].seq
    except OSError as error:
        raise Fatal(f"the audit trail cannot be read: {error}") from error
    return 0


def _check_trail(trail: Path, last_seq: int, places: set[tuple[str, str]], tally: _Tally) -> None:
    """Hold the receipts against the trail, and the trail's deliveries into ``places`` against the receipts.

    The service works meanwhile: only what was delivered up to ``last_seq``, before the folder was read, must be there.
    """
    told = {document: _Told() for document in tally.known}
    for entry in read_records(trail):
        if entry.document in told:
            told[entry.document].hear(entry)
        elif entry.event == EventName.DOCUMENT_DELIVERED and entry.seq <= last_seq:
            name = str(entry.data.get("published_name"))
            if any(entry.data.get("folder") == folder and name.startswith(above) for folder, above in places):
                when = f"{entry.at:%Y-%m-%d %H:%M:%S} UTC"
                text = f"document {entry.document} was delivered on {when}, and is not here"
                tally.add(Kind.MISSING_HERE, name, text)
    for document, known in tally.known.items():
        for kind, text in told[document].differences(document, known):
            tally.add(kind, known.file, text)


@dataclass(slots=True)
class _Told:
    """What the trail tells of one document; of several tries the last counts."""

    original: JsonValue = None
    sealed: JsonValue = None
    delivered: bool = False

    def hear(self, entry: TrailEntry) -> None:
        """Take note of a record about it."""
        self.original = entry.data.get("sha256", self.original)
        self.sealed = entry.data.get("sealed_sha256", self.sealed)
        self.delivered |= entry.event == EventName.DOCUMENT_DELIVERED

    def differences(self, document: str, known: _Known) -> Iterator[tuple[Kind, str]]:
        """Yield what the trail says otherwise than the document's receipt."""
        if self.original is None:
            yield Kind.NOT_IN_TRAIL, f"the audit trail does not know document {document}"
            return
        if known.must_be_delivered and not self.delivered:
            yield Kind.NOT_IN_TRAIL, f"by the audit trail, document {document} was never delivered"
        if self.original != known.original_sha256:
            yield Kind.TRAIL_DISAGREES, "the audit trail has another SHA-256 of the original"
        if self.sealed is not None and self.sealed != known.sealed_sha256:
            yield Kind.TRAIL_DISAGREES, "the audit trail has another SHA-256 of the sealed PDF"


def _places(folder: Path, config: Config | None, tally: _Tally) -> set[tuple[str, str]]:
    """Return whose deliveries should all be here: the service's folders, and what of their outbound stands above this.

    The receipts say so by the names under which they were written, and the configuration by the path.
    """
    found = {place for known in tally.known.values() if (place := _place(known)) is not None}
    real = folder.resolve()
    for name, configured in config.folders.items() if config is not None else ():
        outbound = configured.outbound.resolve()
        if real == outbound or outbound in real.parents:
            below = real.relative_to(outbound).as_posix()
            found.add((name, "" if below == "." else f"{below}/"))
    return found


def _place(known: _Known) -> tuple[str, str] | None:
    """Return the service's folder, and what of its outbound folder stands above the one that is verified."""
    if not known.published_name.endswith(known.file):
        return None  # it was moved since: nothing can be said of what else should be here
    above = known.published_name.removesuffix(known.file)
    return (known.folder, above) if not above or above.endswith("/") else None


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _as_json(folder: Path, tally: _Tally, report: TrailReport | None) -> dict[str, object]:
    return {
        "folder": str(folder),
        "ok": not tally.findings,
        "pdfs": tally.pdfs,
        "receipts": tally.receipts,
        "valid": tally.valid,
        "trail": None if report is None else {"ok": report.ok, "records": report.records},
        "findings": [{"kind": each.kind, "file": each.file, "text": each.text} for each in tally.findings],
    }


def _show(folder: Path, tally: _Tally, report: TrailReport | None, against: Against, console: Console) -> None:
    for line in _lines(tally.findings):
        console.print(line, soft_wrap=True)
    counted = f"{tally.pdfs} PDF(s) and {tally.receipts} receipt(s) below {shown(str(folder))}"
    if report is None:
        counted += "; the audit trail was not asked (--trail or --config)"
    else:
        counted += f", against {report.records} records"
    if not against.anchors():
        counted += "; whether the certificates can be trusted was not asked (--trust or --config)"
    if tally.findings:
        console.print(f"[red]{len(tally.findings)} thing(s) do not agree[/red]: {counted}.", soft_wrap=True)
    elif tally.pdfs:
        console.print(f"[green]✓[/green] All valid, and all agree: {counted}.", soft_wrap=True)
    else:
        text = "No sealed PDF is here, and by the audit trail none was delivered"
        console.print(f"[green]✓[/green] {text}: {counted}.", soft_wrap=True)


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for number, finding in enumerate(findings):
        if number == SHOWN:
            yield "… and more: --json lists all of them"
            return
        where = f"{finding.file}: " if finding.file else ""
        yield f"[red]✗[/red] {shown(where)}[bold]{finding.kind}[/bold] {shown(finding.text)}"
