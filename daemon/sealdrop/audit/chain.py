"""Records of the audit trail, each tied to the one before. Pure: values in, values out.

A record is one JSON object in RFC 8785's canonical form, so it has exactly one spelling and takes one line, whatever
its strings hold. Its members:

- ``v``: the version of this format, 1.
- ``seq``: 1 for the first record, then one more for each.
- ``at``: UTC to the microsecond, as ``2026-01-31T09:00:00.000000Z``; never earlier than the record before, even when
  the system clock was set back. The last microsecond of a day is that of the record ``day_closed``, and of no other.
- ``event``: what happened, a stable snake_case name; ``data``: the event's own fields, an object.
- ``document``: the document's ID, or null; ``node``: the host that made the record.
- ``prev``: the hash of the record before; 64 zeros before the first.
- ``hash``: SHA-256, in lower-case hexadecimal, over the canonical form of the record without ``hash``.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import rfc8785
from pydantic import JsonValue

from sealdrop.errors import Fatal, Unrecordable
from sealdrop.events import EventName
from sealdrop.model import AuditHead, AuditRecord, Event, moment_after

SCHEMA_VERSION = 1
# Nobody reads a longer line; whoever reads the files can do so in bounded memory.
LONGEST_LINE_BYTES = 1 << 20
_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def link(head: AuditHead, at: datetime, document: str | None, event: Event, *, node: str) -> AuditRecord:
    """Return the record that follows ``head``: for the same arguments, always the same bytes.

    Whole numbers beyond 2^53 (inodes, times in nanoseconds) have no exact form in JSON: give them as strings.

    Raises:
        Unrecordable: a string is not valid Unicode, a field is not JSON, or the line would be too long.
    """
    if at.tzinfo is None:
        raise Unrecordable(f"event {event.name}: its time has no zone")
    moment = at.astimezone(UTC) if event.name == EventName.DAY_CLOSED else moment_after(head, at)
    before_hash: dict[str, JsonValue] = {
        "at": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": dict(event.fields),
        "document": document,
        "event": event.name,
    }
    after_hash: dict[str, JsonValue] = {"node": node, "prev": head.hash, "seq": head.seq + 1, "v": SCHEMA_VERSION}
    try:
        # The canonical form has its members in the order of their names: written once, it makes both the line and what
        # the hash is of.
        beginning, rest = _spelled(before_hash)[:-1], _spelled(after_hash)[1:]
        digest = hashlib.sha256(beginning + b"," + rest).hexdigest()
        line = b'%b,"hash":"%b",%b' % (beginning, digest.encode(), rest)
    except (ValueError, RecursionError) as error:
        # The library's own error is a ValueError, and so is what a lone surrogate in a key makes of its sorting.
        raise Unrecordable(f"event {event.name} cannot be written as canonical JSON: {error}") from error
    if len(line) > LONGEST_LINE_BYTES:
        raise Unrecordable(f"event {event.name} takes {len(line)} bytes, more than {LONGEST_LINE_BYTES}")
    return AuditRecord(seq=head.seq + 1, at=moment, hash=digest, line=line.decode())


def read(line: str) -> AuditRecord:
    """Return the record in ``line``, whose hash is its own.

    Raises:
        Fatal: it is not a record, or it was changed.
    """
    try:
        content = json.loads(line, parse_int=_number)
        claimed = content.pop("hash")
        if _digest(content) != claimed:
            raise Fatal("its hash is not that of its content: it was changed")
        return AuditRecord(content["seq"], datetime.fromisoformat(content["at"]), claimed, line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Fatal("it is not a record") from error


def previous_hash(record: AuditRecord) -> str:
    """Return the hash that ``record``, as `link` made it, names as that of the record before it."""
    # Nothing but numbers stands behind it, and in a text its quotes would be escaped.
    return record.line.rpartition('"prev":"')[2][:64]


def event_of(record: AuditRecord) -> str:
    """Return the name of the event that ``record`` is of, empty if it names none."""
    return str(json.loads(record.line).get("event", ""))


def _spelled(value: JsonValue) -> bytes:
    """Return the canonical form of a value."""
    return _PLAIN.encode(value).encode() if _is_plain(value) else rfc8785.dumps(value)


def _is_plain(value: object) -> bool:
    """Return whether the standard library spells a value as RFC 8785 does; it takes a fifth of the time.

    Numbers with a fraction are spelled otherwise, large ones are refused there, and names beyond the basic plane have
    another order.
    """
    match value:
        case dict():
            return all(isinstance(name, str) and name.isascii() and _is_plain(each) for name, each in value.items())
        case list() | tuple():
            return all(map(_is_plain, value))
        case int():
            return abs(value) < 2**53
        case _:
            return value is None or isinstance(value, str)


def _number(text: str) -> int | float:
    """A whole number beyond what JSON holds exactly is how RFC 8785 spells a float of that size."""
    value = int(text)
    return value if abs(value) < 2**53 else float(text)


def _digest(record: Mapping[str, JsonValue]) -> str:
    return hashlib.sha256(rfc8785.dumps(dict(record))).hexdigest()
