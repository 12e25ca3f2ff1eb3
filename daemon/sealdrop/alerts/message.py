"""A message, as every channel takes it: a subject, a text for people, and the same for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

CALL_TIMEOUTS = 4  # of a channel's ``timeout_s``, which is for one wait, that a whole message may take
LONGEST_LINE = 400  # characters of a text that others have a hand in: names of files, answers of servers


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. ``subject`` is one line; ``text`` is wrapped; ``alerts`` has an object for each piece of news."""

    host: str
    at: datetime
    subject: str
    text: str
    alerts: Sequence[JsonValue]


class Channel(Protocol):
    """A way to send messages. Used by one thread."""

    @property
    def name(self) -> str:
        """What it is called in the configuration and in the log."""

    def send(self, message: Message) -> str | None:
        """Hand the message over; return what was not quite right all the same, if anything.

        Raises:
            Retryable: it was not handed over; it may be tried again.
        """


def shown(text: str) -> str:
    """Return ``text`` on one line, printable and not too long, whoever has chosen it."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."
