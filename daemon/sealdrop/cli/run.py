"""``sealdrop run``: the service itself."""

import os
import sys
from functools import partial
from typing import Annotated

import typer

from sealdrop import logs
from sealdrop.checks.surroundings import load_in_time
from sealdrop.cli.app import DEFAULT_CONFIG, ConfigOption, app, complain
from sealdrop.cli.exits import Exit
from sealdrop.cli.stopping import stop_signals
from sealdrop.config import Config
from sealdrop.daemon import Daemon
from sealdrop.daemon.notify import Notifier

STDIN_FD = 0


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    json: Annotated[bool, typer.Option("--json", help="Log JSON lines even on a terminal.")] = False,
) -> None:
    """Watch the folders and have every PDF dropped there sealed, until SIGTERM or SIGINT.

    SIGHUP has it read its configuration, certificates and images anew: what can be used takes effect without dropping
    work; what cannot is refused as a whole, with its faults in the log, and the old one stays. On a terminal it stops.

    Stops within service.grace_s seconds of the signal; what was not finished goes on at the next start. Exits with 0
    after a stop that was asked for, 78 if the configuration cannot be used, 70 if what is on disk cannot be trusted.
    """
    # Heard from the very start, so that none is the end of it. On a terminal SIGHUP says that it was closed.
    with stop_signals(hangup="stop" if os.isatty(STDIN_FD) else "reload") as wishes:
        settings = load_in_time(config)  # whatever hangs, systemd is told what is waited for
        _configure_logs(settings, json=json)
        daemon = Daemon(settings, logs.get(), notifier=Notifier.from_environment())
        try:
            daemon.start(on_broken=wishes.ask, on_reloaded=partial(_configure_logs, json=json))
            while wishes.wait_for_either():
                daemon.reload_soon()
        finally:
            daemon.stop()
    if daemon.stopped_by is not None:
        complain(daemon.stopped_by)
    sys.stdout.flush()
    # All that matters is on disk. What is left is the interpreter's own clearing up, which could wait for threads that
    # were abandoned in a system call, and for child processes that ignore signals: they end with this process.
    os._exit(Exit.OK if daemon.stopped_by is None else Exit.BROKEN)


def _configure_logs(settings: Config, *, json: bool) -> None:
    logs.configure("json" if json else settings.service.log_format, settings.service.log_level)
