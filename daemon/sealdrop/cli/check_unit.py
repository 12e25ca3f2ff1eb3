"""``sealdrop check --unit``: the drop-in for systemd that a configuration needs, and what the unit would block.

The drop-in alone goes to standard output, so that it can go into a file; what there is to say, to standard error.
"""

import json as json_text
from collections.abc import Sequence
from functools import partial

import typer

from sealdrop.checks.surroundings import addresses_of, followed, is_there, programs, resolvers, unit_text
from sealdrop.checks.unit import Blocked, blocked, drop_in, hosts
from sealdrop.cli.exits import Exit
from sealdrop.config import Config


def check_unit(config: Config, *, offline: bool, json: bool) -> Exit:
    """Print the drop-in; return NO if the unit, as it is now, would keep something from the service."""
    text, origin = unit_text()
    judged = partial(blocked, config, programs=programs(), is_there=is_there, resolve=followed)
    found = judged(text)
    needed = drop_in(config, addresses={} if offline else addresses_of(hosts(config)), resolvers=resolvers())
    # What no drop-in mends: a program in a closed home, for one.
    left = judged(text, needed)
    if json:
        document = {"ok": not found, "unit": origin, "blocked": _as_json(found), "left": _as_json(left)}
        typer.echo(json_text.dumps({**document, "drop_in": needed}, ensure_ascii=False, indent=2))
    else:
        typer.echo(needed, nl=False)
        _tell(origin, found, left)
    return Exit.NO if found else Exit.OK


def _tell(origin: str, found: Sequence[Blocked], left: Sequence[Blocked]) -> None:
    if not found:
        typer.echo(f"Nothing that the configuration names would be kept from the service ({origin}).", err=True)
        return
    typer.echo(f"The unit keeps from the service what it needs ({origin}):", err=True)
    for each in found:
        typer.echo(f"  {each}", err=True)
    if left:
        typer.echo("Even with the drop-in printed above:", err=True)
        for each in left:
            typer.echo(f"  {each.key}: {each.what}", err=True)
    else:
        typer.echo("With the drop-in printed above nothing would be.", err=True)


def _as_json(found: Sequence[Blocked]) -> list[dict[str, str]]:
    return [{"key": each.key, "what": each.what, "setting": each.setting, "remedy": each.remedy} for each in found]
