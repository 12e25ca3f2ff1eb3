"""``sealdrop verify``: what a sealed PDF, or a folder full of them, proves, with nothing else at hand."""

import json as json_text
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console

from sealdrop.cli.app import JsonOption, app
from sealdrop.cli.exits import Exit
from sealdrop.cli.receipts import Against, disagreements
from sealdrop.cli.verify_folder import verify_folder
from sealdrop.cli.words import shown
from sealdrop.config import Config, load
from sealdrop.daemon.startup import audit_folder
from sealdrop.model import Check, CheckName, CheckOutcome, Verification
from sealdrop.pdf.jail import Jail, JailLimits
from sealdrop.pdf.jobs import verify_seal
from sealdrop.receipt import RECEIPT_SUFFIX, Receipt, read_receipt

_MARKS = {
    CheckOutcome.PASSED: "[green]✓[/green]",
    CheckOutcome.WARNED: "[yellow]![/yellow]",
    CheckOutcome.FAILED: "[red]✗[/red]",
    CheckOutcome.NOT_ASKED: "[dim]–[/dim]",
    CheckOutcome.NOT_REACHED: "[red]·[/red]",
}
_VERIFICATION = TypeAdapter(Verification)


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, help="A sealed PDF, or a folder of them with their receipts.")
    ],
    receipt: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Its receipt, if it stands elsewhere.")
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(metavar="PEM", exists=True, dir_okay=False, help="A trust anchor; may be given again."),
    ] = None,
    organisation: Annotated[str | None, typer.Option(metavar="NAME", help="Who the seal must name.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A configuration, to take anchors and organisation from its account."
        ),
    ] = None,
    trail: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Of a folder: the audit trail's files."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a sealed PDF, and its receipt if that stands beside it; or every one below a folder.

    Without a receipt, what is in the PDF alone is checked; without --trust or --config, nobody says whose
    certificates to trust, so the chain is not judged. Of a folder, PDFs and receipts are also held against each other,
    and against the audit trail that --trail or --config names. Exits with 1 if anything is wrong, or if a folder holds
    nothing to verify and no trail says that there should be nothing.
    """
    if file.is_dir():
        if receipt is not None:
            raise typer.BadParameter("a folder's receipts stand beside its PDFs", param_hint="--receipt")
        settings = load(config) if config is not None else None
        if settings is not None:
            _refuse_originals(file, settings)
        against = Against(tuple(trust or ()), organisation, settings)
        where = trail or (audit_folder(settings) if settings is not None else None)
        raise typer.Exit(Exit.OK if verify_folder(file, against, where, as_json=json) else Exit.NO)
    if trail is not None:
        raise typer.BadParameter("is for a folder", param_hint="--trail")
    beside = file.with_name(file.name + RECEIPT_SUFFIX)
    receipt_path = receipt or (beside if beside.exists() else None)
    known = read_receipt(receipt_path.read_bytes()) if receipt_path is not None else None
    settings = load(config) if config is not None else None
    expected = Against(tuple(trust or ()), organisation, settings).expectation(known)
    with Jail(1, JailLimits(), readable=(file.absolute(), *expected.trust_anchors)) as jail:
        report = jail.run(verify_seal, file.absolute(), expected)
    found = disagreements(file, known, report) if known is not None else []
    good = report.first_failure is None and not found
    console = Console(highlight=False)
    if json:
        content = {
            "file": str(file),
            "receipt": str(receipt_path) if receipt_path else None,
            "outcome": known.outcome if known else None,
            "ok": good,
            "disagreements": found,
            "verification": _VERIFICATION.dump_python(report, mode="json"),
        }
        console.out(json_text.dumps(content, ensure_ascii=False, indent=2))
    else:
        _show(file, receipt_path, known, report, found, console)
    raise typer.Exit(Exit.OK if good else Exit.NO)


def _refuse_originals(folder: Path, settings: Config) -> None:
    """Raise if what stands there is not sealed: each of them would be told of as if something were wrong."""
    real = folder.resolve()
    for name, each in settings.folders.items():
        for place, path in each.places():
            if place in ("inbound", "rejected", "processed") and path.resolve() in (real, *real.parents):
                text = f"originals stand in the {place} folder of {name}, which bear no seal of ours: "
                text += f"verify {each.outbound}; sealdrop audit show --digest finds an original in the audit trail"
                raise typer.BadParameter(text, param_hint="FILE")


def _show(
    file: Path,
    path: Path | None,
    receipt: Receipt | None,
    report: Verification,
    disagreements: list[str],
    console: Console,
) -> None:
    for line in _seal_lines(file, path, receipt, report):
        console.print(line, soft_wrap=True)
    for check in report.checks:
        console.print(f" {_MARKS[check.outcome]} {check.name:<19}{shown(check.detail)}", soft_wrap=True)
    for line in disagreements:
        console.print(f" [red]✗[/red] {shown(line)}", soft_wrap=True)
    console.print(_conclusion(report, disagreements), soft_wrap=True)


def _seal_lines(file: Path, path: Path | None, receipt: Receipt | None, report: Verification) -> Iterator[str]:
    yield f"[bold]{shown(str(file))}[/bold]"
    yield f"receipt      {shown(str(path)) if path else 'none at hand'}"
    if receipt is not None:
        yield f"outcome      {receipt.outcome.replace('_', ' ')}"
    if report.certificate is not None:
        certificate = report.certificate
        yield f"sealed by    {shown(certificate.organisation or certificate.subject)}"
        yield f"certificate  {shown(certificate.subject)}"
        yield f"issued by    {shown(certificate.issuer)}"
    if report.level is not None:
        yield f"level        {report.level}"
    if report.signed_at is not None:
        yield f"sealed at    {report.signed_at:%Y-%m-%d %H:%M:%S} UTC"
    for stamp in report.timestamps:
        yield f"timestamp    {stamp.at:%Y-%m-%d %H:%M:%S} UTC on the {stamp.kind}, by {shown(stamp.authority)}"


def _conclusion(report: Verification, disagreements: list[str]) -> str:
    failure = report.first_failure
    if failure is not None:
        return f"[red]Not valid[/red]: {failure.name}: {shown(failure.detail)}"
    if disagreements:
        return "[red]Not valid[/red]: the file and its receipt do not agree"
    if _outcome(report, CheckName.TRUSTED_CHAIN) is CheckOutcome.NOT_ASKED:
        return "[yellow]Intact[/yellow]; whether its certificate can be trusted was not asked (--trust or --config)"
    return "[green]Valid[/green]"


def _outcome(report: Verification, name: CheckName) -> CheckOutcome:
    checks: dict[CheckName, Check] = {check.name: check for check in report.checks}
    return checks[name].outcome
