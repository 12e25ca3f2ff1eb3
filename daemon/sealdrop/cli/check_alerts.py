"""``sealdrop check --alerts``: a test message through every channel, and what became of it."""

import json as json_text
import socket

import typer

from sealdrop.alerts.trial import try_channels
from sealdrop.checks.files import credentials_elsewhere
from sealdrop.cli.exits import Exit
from sealdrop.clock import SystemClock
from sealdrop.config import Config


def check_alerts(config: Config, *, json: bool) -> Exit:
    """Send the test and say how each channel did; return NO if one failed, or if there is none."""
    tried = []
    for each in try_channels(config.alerts, socket.gethostname(), SystemClock()):
        tried.append(each)
        if not json:
            typer.echo(f"{each.channel}: {'the test was sent' if each.problem is None else each.problem}")
    failed = not tried or any(each.problem is not None for each in tried)
    if json:
        channels = [{"channel": each.channel, "problem": each.problem} for each in tried]
        typer.echo(json_text.dumps({"ok": not failed, "channels": channels}, ensure_ascii=False, indent=2))
    elif not tried:
        text = (
            "There is no channel: the configuration has neither [alerts.email] nor [alerts.webhook]. Nothing was sent."
        )
        typer.echo(text)
    elif failed:
        for advice in credentials_elsewhere(config, "--alerts"):
            typer.echo(advice, err=True)
    return Exit.NO if failed else Exit.OK
