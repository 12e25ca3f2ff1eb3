"""How sizes, durations and states are said to people, and how other people's text is shown on a terminal."""

from datetime import timedelta

from rich.markup import escape

from sealdrop.model import State

_STATES = {
    State.RECEIVED: "taken over, waits to be examined",
    State.VALIDATED: "fit to be sealed, waits to be sent",
    State.SUBMITTING: "being sent",
    State.SUBMITTED: "at SignAPI, waits for the seal to be asked for",
    State.SEALING: "being sealed",
    State.ARCHIVING: "sealed, being archived",
    State.SEALED: "sealed, waits to be checked",
    State.VERIFIED: "checked, waits to be delivered",
    State.DELIVERED: "delivered",
    State.REJECTED: "rejected, nothing was sent",
    State.FAILED: "failed",
    State.RETRYING: "to be tried again",
}


def state_words(state: State) -> str:
    """Return the state in a few words."""
    return f"{state} ({_STATES[state]})" if _STATES[state] != state else state.value


def size(size_bytes: int) -> str:
    """Return a size with a unit: B, KB or MB of a thousand each."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.1f} KB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def age(duration: timedelta) -> str:
    """Return a duration in its two largest units."""
    seconds = max(0, int(duration.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {seconds} s"
    return f"{seconds} s"


def printable(text: str) -> str:
    """Return a text with what a terminal would obey made visible: names of files are other people's text."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown(text: str) -> str:
    """Return a text, of one line, as it can be printed amid markup: neither obeyed by the terminal nor taken for it."""
    return escape(printable(text))
