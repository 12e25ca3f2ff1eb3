"""``sealdrop check``: whether all is well, and what to do where it is not."""

import json as json_text
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from sealdrop.checks import eyes
from sealdrop.checks.findings import Condition, Finding, Mark
from sealdrop.checks.surroundings import load_in_time
from sealdrop.checks.survey import Survey, Tell, Wanted
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, JsonOption, app
from sealdrop.cli.check_alerts import check_alerts
from sealdrop.cli.check_unit import check_unit
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import shown
from sealdrop.clock import SystemClock
from sealdrop.errors import ConfigurationError

_MARKS = {
    Mark.OK: "[green]✓[/green]",
    Mark.WARNING: "[bold yellow]![/bold yellow]",
    Mark.FAILURE: "[bold red]✗[/bold red]",
    Mark.NOT_CHECKED: "[dim]–[/dim]",
}
_WORDS = {
    Mark.FAILURE: ("failure", "failures"),
    Mark.WARNING: ("warning", "warnings"),
    Mark.NOT_CHECKED: ("not checked", "not checked"),
    Mark.OK: ("ok", "ok"),
}


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The service's user, as root only; else whoever owns the state directory."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out the network.")] = False,
    audit: Annotated[bool, typer.Option("--audit/--no-audit", help="Read the whole audit trail.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Have warnings count as failures in the exit code.")] = False,
    unit: Annotated[
        bool,
        typer.Option("--unit", help="Instead: print the systemd drop-in for this configuration; say what is blocked."),
    ] = False,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Instead: send a test message through every channel of [alerts].")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Look at everything that the service needs, say what is wrong, and what to do about it.

    Changes nothing, and may be used while the service runs. As root it looks with the rights of the service's user.
    Exits with 0 if all is well or there are only warnings, with 1 after a failure, with 78 if the configuration cannot
    be used. With --unit, 1 means that the unit as it is would keep something from the service; with --alerts, that a
    message could not be sent.
    """
    if unit and alerts:
        raise typer.BadParameter("give one of --unit and --alerts")
    if unit:
        raise typer.Exit(check_unit(load_in_time(config), offline=offline, json=json))
    if alerts:
        raise typer.Exit(check_alerts(load_in_time(config), json=json))
    wanted = Wanted(offline=offline, audit=audit, user=_user(user))
    try:
        settings = load_in_time(config)
    except ConfigurationError as error:
        findings = [
            Finding.of(Condition.CONFIGURATION_FAULTY, "configuration", config.name, problem)
            for problem in error.problems
        ]
    else:
        with _progress(shown=not json) as tell:
            findings = list(Survey(settings, SystemClock(), wanted, tell).findings())
    console = Console(highlight=False)
    ended = _exit(findings, strict=strict)
    if json:
        console.out(json_text.dumps(_as_json(findings, ended), ensure_ascii=False, indent=2))
    else:
        _show(findings, console)
    raise typer.Exit(ended)


def _user(name: str | None) -> eyes.User | None:
    if name is None:
        return None
    try:
        user = eyes.user_named(name)
    except KeyError as error:
        raise typer.BadParameter(f"there is no user {name!r}", param_hint="--user") from error
    if os.geteuid() not in (0, user.uid):
        raise typer.BadParameter("only root can look with another user's rights", param_hint="--user")
    return user


@contextmanager
def _progress(*, shown: bool) -> Iterator[Tell]:
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=None)

        def tell(what: str, done: float | None) -> None:
            progress.update(task, description=what, total=None if done is None else 1.0, completed=done or 0.0)

        yield tell


def _exit(findings: Sequence[Finding], *, strict: bool) -> Exit:
    if any(finding.condition is Condition.CONFIGURATION_FAULTY for finding in findings):
        return Exit.CONFIGURATION
    bad = {Mark.FAILURE, Mark.WARNING} if strict else {Mark.FAILURE}
    return Exit.NO if any(finding.mark in bad for finding in findings) else Exit.OK


def _as_json(findings: Sequence[Finding], ended: Exit) -> JsonValue:
    return {
        "ok": ended is Exit.OK,
        "counts": {mark.value: number for mark, number in _counts(findings).items()},
        "run_refuses": any(finding.refuses for finding in findings),
        "findings": [
            {
                "subject": finding.subject,
                "what": finding.what,
                "mark": finding.mark.value,
                "condition": finding.condition.value if finding.condition else None,
                "text": finding.text,
                "advice": finding.advice,
                "run_refuses": finding.refuses,
            }
            for finding in findings
        ],
    }


def _counts(findings: Sequence[Finding]) -> dict[Mark, int]:
    counted = Counter(finding.mark for finding in findings)
    return {mark: counted[mark] for mark in _WORDS}


def _show(findings: Sequence[Finding], console: Console) -> None:
    subjects = dict.fromkeys(finding.subject for finding in findings)
    for subject in subjects:
        console.print(f"[bold]{shown(subject)}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), expand=True)
        table.add_column(width=1)
        table.add_column(width=18)
        table.add_column(ratio=1, overflow="fold")
        for finding in (each for each in findings if each.subject == subject):
            table.add_row(_MARKS[finding.mark], shown(finding.what), _cell(finding))
        console.print(table)
    console.print()
    console.print(_conclusion(findings))


def _cell(finding: Finding) -> Group:
    lines = [_shown_lines(finding.text)]
    if finding.advice and finding.mark is not Mark.OK:
        lines.append(f"[dim]→ {_shown_lines(finding.advice)}[/dim]")
    return Group(*lines)


def _shown_lines(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def _conclusion(findings: Sequence[Finding]) -> str:
    counted = ", ".join(f"{number} {_WORDS[mark][number != 1]}" for mark, number in _counts(findings).items() if number)
    if any(finding.refuses for finding in findings):
        return f"[bold red]The service would not start like this[/bold red]: {counted}."
    if any(finding.mark is Mark.FAILURE for finding in findings):
        return f"[bold red]Not all is well[/bold red]: {counted}."
    return f"[bold green]All is well[/bold green]: {counted}."
