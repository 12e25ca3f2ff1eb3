"""Logs: one JSON object a line, or lines for a person, and never a reason to stop."""

import errno
import io
import json
import logging
from datetime import datetime

import pytest

from sealdrop import logs
from sealdrop.events import EventName

pytestmark = pytest.mark.usefixtures("log_as_before")


class Terminal(io.StringIO):
    """A stream at which a person looks."""

    def isatty(self) -> bool:
        """Return that he does."""
        return True


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_each_line_is_an_object_with_its_event(form: str) -> None:
    """A line has event, level and an aware time, beside its own fields; that is so wherever no terminal is."""
    out = io.StringIO()
    logs.configure(form, "info", out)
    logs.get().warning(EventName.LEASE_LOST, document="20261123-00112233aabbccdd", state="sealing")
    (line,) = _lines(out)
    at = datetime.fromisoformat(str(line.pop("at")))
    assert at.tzinfo is not None
    assert line == {
        "event": "lease_lost",
        "level": "warning",
        "document": "20261123-00112233aabbccdd",
        "state": "sealing",
    }


def test_names_cannot_forge_lines_and_accents_stay_readable() -> None:
    """A line break in a name is part of its line's JSON, and an accent is an accent."""
    out = io.StringIO()
    logs.configure("json", "info", out)
    name = 'l\'été\n{"event": "forged"}\x1b[2J\u202e.pdf'
    logs.get().info(EventName.DOCUMENT_RECEIVED, name=name)
    assert out.getvalue().count("\n") == 1
    assert "l'été" in out.getvalue()
    assert _lines(out)[0]["name"] == name


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", ["caf\udce9.pdf", "契約.pdf", "été.pdf"])
def test_every_name_can_be_logged_on_every_stream(encoding: str, name: str) -> None:
    """A name that is not Unicode, or that the stream's encoding lacks, still makes a line of JSON with that name."""
    raw = io.BytesIO()
    logs.configure("json", "info", io.TextIOWrapper(raw, encoding=encoding))
    logs.get().info(EventName.FILE_NOT_TAKEN, name=name)
    assert json.loads(raw.getvalue().decode(encoding))["name"] == name


def test_a_terminal_gets_lines_for_a_person() -> None:
    """On a terminal the form is readable, and what is in a name does nothing to the terminal."""
    out = Terminal()
    logs.configure("auto", "info", out)
    logs.get().info(EventName.DOCUMENT_RECEIVED, name="\x1b[2Jtwo\nlines.pdf", path="\x1b[2J.pdf")
    assert "document_received" in out.getvalue()
    assert "\\x1b[2Jtwo\\nlines.pdf" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(out.getvalue())


def test_what_is_below_the_level_is_not_written() -> None:
    """The level is a threshold."""
    out = io.StringIO()
    logs.configure("json", "warning", out)
    logs.get().info(EventName.SPOOL_CLEANED, documents=1)
    logs.get().error(EventName.WORKER_TROUBLED, worker="w", error="e")
    assert [line["event"] for line in _lines(out)] == ["worker_troubled"]


def test_an_exception_is_one_line() -> None:
    """A traceback is a field of the line."""
    out = io.StringIO()
    logs.configure("json", "info", out)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logs.get().error(EventName.WORKER_TROUBLED, worker="w", error="e", exc_info=True)
    (line,) = _lines(out)
    assert "in test_an_exception_is_one_line" in str(line["exception"])
    assert str(line["exception"]).endswith("\nValueError")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_values(form: str) -> None:
    """What a function works on (passphrases, documents), and what exceptions quote of it, is in no traceback."""

    def work(passphrase: str) -> None:
        try:
            raise KeyError(passphrase)
        except KeyError as error:
            raise ValueError(f"no {passphrase}") from error

    out = io.StringIO()
    logs.configure(form, "debug", out)
    try:
        work("correct horse " + "battery staple")
    except ValueError:
        logs.get().error(EventName.WORKER_TROUBLED, worker="w", error="e", exc_info=True)
    assert out.getvalue().index("KeyError") < out.getvalue().index("ValueError")
    assert "in work" in out.getvalue()
    assert "correct horse battery" not in out.getvalue()


@pytest.mark.parametrize(
    ("message", "arguments", "said"),
    [("pool is %s", ("full",), "pool is full"), ("%d of %d", ("a",), "%d of %d")],
)
def test_what_a_library_says_comes_in_the_same_form(message: str, arguments: tuple[str], said: str) -> None:
    """A library's warning is an event of ours with its name, even if the library slipped; its chatter is not."""
    out = io.StringIO()
    logs.configure("json", "debug", out)
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning(message, *arguments)
    (line,) = _lines(out)
    del line["at"]
    assert line == {"event": "library_said", "level": "warning", "library": "some.library", "message": said}


class Broken(io.StringIO):
    """A stream whose reader has gone, or whose disk is full."""

    def write(self, _: str, /) -> int:
        """Fail."""
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        """Fail."""
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_that_cannot_be_written_stops_nothing(form: str) -> None:
    """Whoever logs goes on working, whatever becomes of the line."""
    logs.configure(form, "info", Broken())
    logs.get().info(EventName.SERVICE_STOPPING, grace_s=1.0)
    closed = io.StringIO()
    closed.close()
    logs.configure("json", "info", _NoTerminal(closed))
    logs.get().info(EventName.SERVICE_STOPPING, grace_s=1.0)


class _NoTerminal(io.TextIOBase):
    """A stream that was closed."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        """Write to it."""
        return self._stream.write(text)
