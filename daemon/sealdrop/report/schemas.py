"""What programs may count on in the audit trail and the log, as JSON Schemas (draft 2020-12).

One table says which fields each event has on record; docs/schemas is made from it (`python -m sealdrop.report.schemas
docs/schemas`). Fields may be added, so unknown ones are allowed; none of those named here is ever taken away or given
another meaning under the same version. What older versions did not write is optional.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import JsonValue

from sealdrop.events import EventName

RECORD_VERSION = 1
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: JsonValue = {"type": "string"}
_TEXT_OR_NOT: JsonValue = {"type": ["string", "null"]}
_TEXTS: JsonValue = {"type": "array", "items": {"type": "string"}}
_COUNT: JsonValue = {"type": "integer", "minimum": 0}
_FLAG: JsonValue = {"type": "boolean"}
_DIGEST: JsonValue = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_MOMENT: JsonValue = {"type": "string", "format": "date-time"}
_AT: JsonValue = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$",
    "description": "UTC, to the microsecond",
}
_DAY: JsonValue = {"type": "string", "format": "date"}
_CERTIFICATE: JsonValue = {
    "type": "object",
    "description": "the certificate that made the seal; the serial number is decimal",
    "properties": {
        "subject": _TEXT,
        "issuer": _TEXT,
        "serial": {"type": "string", "pattern": "^-?[0-9]+$"},
        "sha256": _DIGEST,
        "not_before": _MOMENT,
        "not_after": _MOMENT,
    },
    "required": ["subject", "issuer", "serial", "sha256", "not_before", "not_after"],
}

Fields = dict[str, JsonValue]
_COMPANIONS: JsonValue = {"type": "object", "properties": {"sidecar": _DIGEST, "checksum": _DIGEST}}
_PLACE: JsonValue = {"enum": ["processed", "rejected", "failed"]}
_TABLES: Fields = {"accounts": _TEXTS, "folders": _TEXTS}
_NAMED: Fields = {"folder": _TEXT, "name": _TEXT}
_REASON: Fields = _NAMED | {"reason": _TEXT, "detail": _TEXT}
_SEAL: Fields = {"signed_at": {"type": ["string", "null"], "format": "date-time"}, "certificate": _CERTIFICATE}

# What is always there, and what need not be.
RECORDED: Mapping[EventName, tuple[Fields, Fields]] = MappingProxyType(
    {
        EventName.SERVICE_STARTED: ({"version": _TEXT} | _TABLES, {"config_sha256": _DIGEST}),
        EventName.CONFIGURATION_RELOADED: (_TABLES | {"config_sha256": _DIGEST}, {}),
        EventName.SERVICE_STOPPED: ({"abandoned": _TEXTS}, {}),
        EventName.DAY_CLOSED: ({"day": _DAY, "first_seq": _COUNT, "records": _COUNT, "closed_at": _MOMENT}, {}),
        EventName.DOCUMENT_RECEIVED: (
            _NAMED | {"account": _TEXT, "size_bytes": _COUNT, "sha256": _DIGEST},
            {"level": _TEXT, "archive": _FLAG, "companions": _COMPANIONS},
        ),
        EventName.DOCUMENT_VALIDATED: (_NAMED | {"pages": _COUNT, "warnings": _TEXTS}, {}),
        EventName.DOCUMENT_REJECTED: (_REASON, {}),
        EventName.SUBMISSION_INTENDED: (_NAMED | {"external_id": _TEXT}, {}),
        EventName.SUBMISSION_CONFIRMED: (_NAMED | {"request_id": _TEXT, "remote_status": _TEXT}, {}),
        EventName.SEAL_INTENDED: (_NAMED | {"request_id": _TEXT_OR_NOT}, {}),
        EventName.REMOTE_STATUS_CHANGED: (_NAMED | {"remote_status": _TEXT}, {"request_id": _TEXT}),
        EventName.DOCUMENT_SEALED: (
            _NAMED | {"sealed_sha256": _DIGEST, "archive_ids": _TEXTS},
            {"sealed_size_bytes": _COUNT},
        ),
        EventName.DOCUMENT_VERIFIED: (_NAMED | {"level": _TEXT, "checks": _COUNT, "sealed_sha256": _DIGEST}, _SEAL),
        EventName.DOCUMENT_DELIVERED: (_NAMED | {"published_name": _TEXT, "archive_ids": _TEXTS}, {}),
        EventName.DOCUMENT_FAILED: (_REASON, _SEAL),
        EventName.ORIGINAL_RETURNED: (
            _NAMED | {"published_name": _TEXT, "place": {"enum": ["rejected", "failed"]}},
            {},
        ),
        EventName.DUPLICATE_RECOGNISED: (_NAMED | {"earlier": _TEXT, "request_id": _TEXT_OR_NOT}, {}),
        EventName.DOCUMENT_RETRIED: (_NAMED | {"reason": _TEXT_OR_NOT, "by": _TEXT}, {}),
        EventName.ORIGINAL_FETCHED: (_NAMED | {"external_id": _TEXT_OR_NOT}, {}),
        EventName.RETRY_REFUSED: (_NAMED | {"detail": _TEXT}, {}),
        EventName.ORIGINAL_KEPT: (_NAMED | {"kept_name": _TEXT}, {}),
        EventName.ORIGINAL_EXPIRED: (_NAMED | {"place": _PLACE, "files": _TEXTS}, {}),
        EventName.QUOTA_REACHED: ({"folder": _TEXT, "quota": _COUNT, "day": _DAY, "until": _MOMENT}, {}),
    }
)


def event_schemas() -> dict[str, JsonValue]:
    """Return the schema of the ``data`` of each event that goes on record, by its name."""
    schemas: dict[str, JsonValue] = {}
    for name, (always, sometimes) in RECORDED.items():
        schemas[name] = {"type": "object", "properties": {**always, **sometimes}, "required": [*always]}
    return schemas


def record_schema() -> dict[str, JsonValue]:
    """Return the schema of a line of the audit trail: the record, and its fields by its event."""
    rules: list[JsonValue] = [
        {
            "if": {"properties": {"event": {"const": name}}},
            "then": {"properties": {"data": {"$ref": f"#/$defs/{name}"}}},
        }
        for name in event_schemas()
    ]
    properties: dict[str, JsonValue] = {
        "v": {"const": RECORD_VERSION, "description": "the version of this format"},
        "seq": {"type": "integer", "minimum": 1, "description": "1 for the first record ever, then one more each"},
        "at": _AT,
        "event": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "description": "see docs/events.md"},
        "document": {"type": ["string", "null"], "description": "the document's ID, where it is about one"},
        "node": {"type": "string", "description": "the host that made the record"},
        "data": {"type": "object", "description": "the event's own fields"},
        "prev": {**_object(_DIGEST), "description": "the hash of the record before; 64 zeros before the first"},
        "hash": {**_object(_DIGEST), "description": "SHA-256 of the record without this, in RFC 8785's form"},
    }
    return {
        "$schema": _DIALECT,
        "title": "sealdrop audit record",
        "description": "One line of the audit trail's files, YYYY-MM-DD.jsonl",
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
        "allOf": rules,
        "$defs": event_schemas(),
    }


def log_schema() -> dict[str, JsonValue]:
    """Return the schema of a line of the log in JSON form; an event's own fields stand beside these."""
    return {
        "$schema": _DIALECT,
        "title": "sealdrop log line",
        "description": "One line of the log in JSON form (service.log_format), as it goes to standard output",
        "type": "object",
        "properties": {
            "at": _MOMENT,
            "level": {"enum": ["debug", "info", "warning", "error"]},
            "event": {"enum": [str(name) for name in EventName]},
            "document": {"type": "string", "description": "the document's ID, where it is about one"},
            "folder": _TEXT,
            "account": _TEXT,
            "name": _TEXT,
            "error": _TEXT,
        },
        "required": ["at", "level", "event"],
    }


def _object(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


FILES = MappingProxyType({"audit-record.schema.json": record_schema, "log-line.schema.json": log_schema})


def text_of(name: str) -> str:
    """Return what stands in the file of that name."""
    return json.dumps(FILES[name](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file_name in FILES:
        (Path(sys.argv[1]) / file_name).write_text(text_of(file_name))
