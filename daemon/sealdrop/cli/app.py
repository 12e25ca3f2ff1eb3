"""The commands, and how an error becomes an exit code."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from sealdrop import __version__
from sealdrop.cli.exits import Exit
from sealdrop.cli.words import printable
from sealdrop.errors import ConfigurationError, Fatal, SealdropError

# In the order in which one comes to need them, and in which the README has them.
COMMANDS = ("run", "check", "status", "retry", "verify", "audit", "sandbox", "demo")


class _InOrder(TyperGroup):
    """Lists the commands in the order of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - of a type that typer keeps to itself
        """Return their names."""
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    name="sealdrop",
    cls=_InOrder,
    help="Drop a PDF into a folder; get it back sealed by your organisation, archived, with proof of what happened.",
    epilog=(
        "Exit codes: 0 all is well; 1 the answer is no (a check failed, nothing was found); 2 the command was not "
        "understood; 70 the service stopped itself because what is on disk cannot be trusted; 78 the configuration "
        "cannot be used."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
audit_app = typer.Typer(help="Look at the audit trail, and check that nobody changed it.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", envvar="SEALDROP_CONFIG")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text for people.")]
DEFAULT_CONFIG = Path("/etc/sealdrop/sealdrop.toml")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sealdrop {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; end the process with the exit code that fits."""
    from sealdrop.cli import audit, check, demo, report, retry, run, sandbox, status, verify  # noqa: F401 - each adds its commands to `app`

    # Whoever becomes another user (runuser, sudo) may leave us in a folder that this one may not enter: no child could
    # be started there.
    if not os.access(Path.cwd(), os.X_OK):
        os.chdir("/")
    try:
        app()
    except ConfigurationError as error:
        complain(error)
        sys.exit(Exit.CONFIGURATION)
    except Fatal as error:
        complain(error)
        sys.exit(Exit.BROKEN)
    except SealdropError as error:
        complain(error)
        sys.exit(Exit.NO)


def complain(error: BaseException) -> None:
    """Say on standard error what went wrong."""
    text = "\n".join(map(printable, f"sealdrop: {error}".split("\n")))
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
