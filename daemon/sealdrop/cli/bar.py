"""A bar that shows how far long work is: on standard error, on a terminal only, gone when the work is done."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def work_bar(done: ProgressColumn) -> Progress:
    """Return a bar that shows by ``done`` how much there is and was done, with the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
