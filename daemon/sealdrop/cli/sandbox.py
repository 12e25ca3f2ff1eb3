"""``sealdrop sandbox``: a SignAPI of one's own."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sealdrop.cli.app import JsonOption, app
from sealdrop.errors import ConfigurationError


@app.command()
def sandbox(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its keys, state and records live.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on the loopback interface; 0 keeps or picks one.")
    ] = 0,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A fault plan, read anew whenever it changes.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a local SignAPI that really seals, for trying and testing. Its seals and archive are worth nothing.

    Creates its PKI in DIR once, writes DIR/sealdrop.toml (a configuration that works as it is), prints one line when
    it is ready, and appends a line to DIR/seals.jsonl and DIR/deposits.jsonl for each seal and deposit it makes. Exits
    with 0 after SIGTERM or SIGINT, 78 if it cannot start.
    """
    need_sandbox()
    from sealdrop.sandbox.errors import SandboxError
    from sealdrop.sandbox.server import serve

    try:
        serve(directory, port or None, faults_file=faults, as_json=json)
    except SandboxError as error:
        raise ConfigurationError("sealdrop sandbox", [str(error)]) from error


def need_sandbox() -> None:
    """Pass if the sandbox's extra is installed.

    Raises:
        ConfigurationError: it is not.
    """
    missing = [name for name in ("PIL", "reportlab", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        problem = f"the sandbox needs {', '.join(missing)}: install them with pip install 'sealdrop[sandbox]'"
        raise ConfigurationError("sealdrop", [problem])
