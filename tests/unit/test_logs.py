"""Logs: for people, and never in the way of the work."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sealdrop import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Return whether a person is looking."""
        return True


def test_a_line_is_one_json_object() -> None:
    """Elsewhere than on a terminal each line is one JSON object with event, level and time."""
    out = io.StringIO()
    logs.configure("auto", "info", out)
    logs.get().info("document_received", document="d1", name="two\nlines é.pdf")
    (line,) = out.getvalue().splitlines()
    content = json.loads(line)
    assert content.pop("at").endswith("Z")
    assert content == {"event": "document_received", "level": "info", "document": "d1", "name": "two\nlines é.pdf"}


def test_a_terminal_gets_a_readable_form() -> None:
    """On a terminal the line is for reading, not JSON."""
    out = Terminal()
    logs.configure("auto", "info", out)
    logs.get().warning("document_rejected", reason="NOT_PDF")
    assert "document_rejected" in out.getvalue()
    assert "NOT_PDF" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_less_than_the_level_is_left_out() -> None:
    """Only what is at least as grave as the level is written."""
    out = io.StringIO()
    logs.configure("json", "warning", out)
    logs.get().info("one")
    logs.get().error("two")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["two"]


def test_a_librarys_warning_takes_the_same_form() -> None:
    """What a library says through the standard library comes as one event."""
    out = io.StringIO()
    logs.configure("json", "info", out)
    logging.getLogger("some.library").warning("careful: %s", "now")
    content = json.loads(out.getvalue())
    assert (content["event"], content["library"], content["message"]) == (
        "library_said",
        "some.library",
        "careful: now",
    )


def test_what_the_stream_cannot_spell_is_escaped() -> None:
    """A name in a script that the terminal's encoding lacks is written as escapes, and raises nothing."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="iso-8859-15")
    logs.configure("json", "info", out)
    logs.get().info("document_received", name="契約.pdf é")
    out.flush()
    assert json.loads(raw.getvalue().decode("iso-8859-15"))["name"] == "契約.pdf é"


class Broken(io.StringIO):
    """A stream that nothing can be written to."""

    def write(self, text: str) -> int:
        """Fail as a closed pipe does."""
        del text
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_raises_nothing() -> None:
    """A closed pipe or a full disk under the log stops nobody."""
    logs.configure("json", "info", Broken())
    logs.get().error("service_broken", error="x")
    closed = io.StringIO()
    logs.configure("json", "info", closed)
    closed.close()
    logs.get().error("service_broken", error="x")
