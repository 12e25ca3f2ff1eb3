"""Logs, for people: one JSON object a line on standard output, or a readable form on a terminal.

The audit trail is the evidence; these lines may be filtered, sampled or lost. Each has an ``event`` from events.py
and, where it is about a document, its ID as ``document``.
"""

import codecs
import logging
import sys
import traceback
from contextlib import suppress
from typing import Literal, Protocol, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger

from sealdrop.events import EventName


class Log(Protocol):
    """What the daemon logs to."""

    def info(self, event: str, **fields: object) -> None:
        """Log something that is as it should be."""

    def warning(self, event: str, **fields: object) -> None:
        """Log something that a person may want to look at."""

    def error(self, event: str, **fields: object) -> None:
        """Log something that a person must look at."""

    def debug(self, event: str, **fields: object) -> None:
        """Log something for whoever looks for a fault."""


def configure(
    form: Literal["auto", "json", "console"],
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
) -> None:
    """Set up logging for the whole process. ``auto`` is readable on a terminal and JSON elsewhere."""
    out = _Sink(stream if stream is not None else sys.stdout)
    threshold = getattr(logging, level.upper())
    readable = form == "console" or (form == "auto" and out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if readable:
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), timestamp_key="at", exception_formatter=_write_where
        )
        shared += [_show_control_characters, renderer]
    else:
        # An escape of the sink's own is no JSON, save that of half a surrogate pair.
        to_json = structlog.processors.JSONRenderer(ensure_ascii=not out.takes_all_characters)
        shared += [structlog.processors.ExceptionRenderer(_where), to_json]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(out),  # type: ignore[arg-type] # it writes and flushes, no more
        cache_logger_on_first_use=False,
    )
    # Libraries speak through the standard library; only their warnings are of interest, in the same form.
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def _where(exc_info: ExcInfo) -> str:
    """Return where an exception was raised, and what led to it: lines of code and kinds of exceptions, no values.

    Local variables are passphrases, keys and documents, and the texts of exceptions may quote them.
    """
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.insert(0, f"Traceback (most recent call last):\n{frames}{type(error).__name__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(parts)


def _write_where(stream: TextIO, exc_info: ExcInfo) -> None:
    stream.write("\n" + _where(exc_info))


def _show_control_characters(_: object, __: str, fields: EventDict) -> EventDict:
    """Escape what a terminal would obey: file names and answers of the service are other people's text."""
    return {key: _printable(value) if isinstance(value, str) else value for key, value in fields.items()}


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class _Sink:
    """A stream that takes every line and never raises: a log that cannot be written must not stop the work.

    What the stream's encoding cannot hold is written as an escape. A line that does not get out (a closed pipe, a
    full disk) is lost; the audit trail is not.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.takes_all_characters = codecs.lookup(self._encoding).name.startswith("utf")

    def isatty(self) -> bool:
        """Return whether a person is looking."""
        return self._stream.isatty()

    def write(self, text: str) -> None:
        """Write ``text`` as well as can be."""
        with suppress(OSError, ValueError):
            self._stream.write(text.encode(self._encoding, errors="backslashreplace").decode(self._encoding))

    def flush(self) -> None:
        """Hand on what was written."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = logging.getLevelName(record.levelno).lower()
        method = getattr(get(), level, get().warning)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a library's own slip; its text is better than nothing
            message = str(record.msg)
        method(EventName.LIBRARY_SAID, library=record.name, message=message)


def get() -> FilteringBoundLogger:
    """Return the log."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log
