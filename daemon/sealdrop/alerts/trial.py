"""A message for trying: `sealdrop check --alerts` sends one through every channel."""

from collections.abc import Iterator
from dataclasses import dataclass

from sealdrop import __version__
from sealdrop.alerts.message import Message
from sealdrop.alerts.teller import channels
from sealdrop.clock import Clock
from sealdrop.config import Alerts
from sealdrop.errors import Retryable


@dataclass(frozen=True, slots=True)
class Tried:
    """How a channel did; ``problem`` says what was wrong, None if it took the message for everybody."""

    channel: str
    problem: str | None


def try_channels(config: Alerts, host: str, clock: Clock) -> Iterator[Tried]:
    """Send a test message through every channel that is configured, and yield how each did."""
    now = clock.now()
    text = (
        f"This is a test of sealdrop's alerts, sent at {now:%Y-%m-%d %H:%M:%S} UTC because somebody asked for it.\n"
        "Nothing is wrong, and nothing is to be done.\n\n"
        f"-- \nsealdrop {__version__} on {host}\n"
    )
    message = Message(host, now, f"[sealdrop {host}] test of the alerts", text, ())
    for channel in channels(config):
        try:
            yield Tried(channel.name, channel.send(message))
        except Retryable as error:
            yield Tried(channel.name, str(error))
