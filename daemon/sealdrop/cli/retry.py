"""``sealdrop retry``: failed documents are put back to work."""

import json as json_text
import socket
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sealdrop.audit.chain import link
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, JsonOption, app
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import shown
from sealdrop.clock import SystemClock
from sealdrop.config import load
from sealdrop.daemon.retry import Answer, ask_for_retry
from sealdrop.daemon.startup import ledger_path
from sealdrop.errors import Fatal
from sealdrop.ledger.reading import LedgerReader
from sealdrop.ledger.store import Ledger
from sealdrop.model import AuditHead, AuditRecord, Event


@app.command()
def retry(
    documents: Annotated[
        list[str], typer.Argument(metavar="DOCUMENT...", help="Failed documents: ID, short form or file name of each.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Have failed documents tried again. SignAPI is asked first what it has; only what was not sealed is sent again.

    May be used while the service runs, which takes it up within seconds, or before it starts; as the service's user
    or as root. Exits with 1 if any of the documents cannot be tried again; the others are.
    """
    settings = load(config)
    clock = SystemClock()
    with _open(ledger_path(settings), clock) as ledger:
        answers = [ask_for_retry(each, settings, ledger, clock) for each in documents]
    console = Console(highlight=False)
    if json:
        console.out(json_text.dumps({"documents": [_as_json(answer) for answer in answers]}, ensure_ascii=False))
    else:
        _show(answers, console)
    raise typer.Exit(Exit.OK if all(answer.accepted for answer in answers) else Exit.NO)


def _open(path: Path, clock: SystemClock) -> Ledger:
    if not path.is_file():
        raise Fatal(f"there is no ledger at {path}: has the service been started with this configuration?")

    def linked(head: AuditHead, at: datetime, document: str | None, event: Event) -> AuditRecord:
        return link(head, at, document, event, node=socket.gethostname())

    # An older ledger is the service's to bring forward, and a service of an older version may be running on it.
    LedgerReader.open_read_only(path).close()
    return Ledger.open(path, link=linked, clock=clock)


def _show(answers: Sequence[Answer], console: Console) -> None:
    for answer in answers:
        mark = "[green]✓[/green]" if answer.accepted else "[red]✗[/red]"
        about = f"{answer.document.name!r} ({answer.document.id})" if answer.document is not None else answer.wanted
        console.print(f"{mark} {shown(about)}: {shown(answer.text)}", soft_wrap=True)


def _as_json(answer: Answer) -> dict[str, object]:
    return {
        "wanted": answer.wanted,
        "document": answer.document.id if answer.document is not None else None,
        "accepted": answer.accepted,
        "text": answer.text,
    }
