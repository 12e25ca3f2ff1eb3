"""What a record of the audit trail says, in a sentence for people.

A record that this version does not know is told by its name and its fields: nothing on record is passed over.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydantic import JsonValue

from sealdrop.audit.reading import TrailEntry
from sealdrop.events import EventName
from sealdrop.model import Reason
from sealdrop.report.stories import certificate_of
from sealdrop.wording import words_for

Data = Mapping[str, JsonValue]
_KNOWN_ELSEWHERE = frozenset({"folder", "name"})


def sentence(entry: TrailEntry) -> str:
    """Return what the record says."""
    tell = _SENTENCES.get(entry.event)
    if tell is not None:
        return tell(entry.data)
    fields = [f"{key} {plain(value)}" for key, value in entry.data.items() if key not in _KNOWN_ELSEWHERE]
    return f"{entry.event}: {', '.join(fields)}" if fields else entry.event


def plain(value: JsonValue) -> str:
    """Return a field's value as text; what is not on record is a dash."""
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return "-" if value is None else str(value)


def _of(data: Data, key: str) -> str:
    return plain(data.get(key))


def _archived(data: Data) -> str:
    return f"; archived as {_of(data, 'archive_ids')}" if data.get("archive_ids") else ""


def _received(data: Data) -> str:
    return f"Taken over from {_of(data, 'folder')}: {_of(data, 'size_bytes')} bytes, SHA-256 {_of(data, 'sha256')}"


def _validated(data: Data) -> str:
    noted = f"; noted: {_of(data, 'warnings')}" if data.get("warnings") else ""
    return f"Found fit to be sealed, pages: {_of(data, 'pages')}{noted}"


def _because(data: Data) -> str:
    code, detail = _of(data, "reason"), _of(data, "detail")
    try:
        return f"{words_for(Reason(code)).wrong_en} ({code}: {detail})"
    except (ValueError, KeyError):
        return f"{code}: {detail}"


def _sealed(data: Data) -> str:
    size = f"{_of(data, 'sealed_size_bytes')} bytes, " if data.get("sealed_size_bytes") is not None else ""
    return f"The sealed PDF has come: {size}SHA-256 {_of(data, 'sealed_sha256')}{_archived(data)}"


def _verified(data: Data) -> str:
    certificate = certificate_of(data)
    by = f", made by {plain(certificate.subject)}, serial number {certificate.serial}" if certificate else ""
    return f"The seal passed all {_of(data, 'checks')} checks: {_of(data, 'level')}{by}"


_SENTENCES: Mapping[str, Callable[[Data], str]] = MappingProxyType(
    {
        EventName.SERVICE_STARTED: lambda data: f"The service started, version {_of(data, 'version')}",
        EventName.SERVICE_STOPPED: lambda _: "The service stopped, as it was asked to",
        EventName.CONFIGURATION_RELOADED: lambda _: "The configuration was read anew",
        EventName.QUOTA_REACHED: lambda data: (
            f"Folder {_of(data, 'folder')} has sent its {_of(data, 'quota')} documents of {_of(data, 'day')}"
        ),
        EventName.DAY_CLOSED: lambda data: f"The day was closed, with {_of(data, 'records')} records before this one",
        EventName.DOCUMENT_RECEIVED: _received,
        EventName.DOCUMENT_VALIDATED: _validated,
        EventName.DOCUMENT_REJECTED: lambda data: f"Rejected, nothing was sent. {_because(data)}",
        EventName.SUBMISSION_INTENDED: lambda data: f"To be sent to SignAPI as {_of(data, 'external_id')}",
        EventName.SUBMISSION_CONFIRMED: lambda data: f"SignAPI has it, as request {_of(data, 'request_id')}",
        EventName.SEAL_INTENDED: lambda _: "Its seal is to be asked for",
        EventName.REMOTE_STATUS_CHANGED: lambda data: f"SignAPI says {_of(data, 'remote_status')}",
        EventName.DOCUMENT_SEALED: _sealed,
        EventName.DOCUMENT_VERIFIED: _verified,
        EventName.DOCUMENT_DELIVERED: lambda data: f"Delivered as {_of(data, 'published_name')}{_archived(data)}",
        EventName.DOCUMENT_FAILED: lambda data: f"Failed. {_because(data)}",
        EventName.ORIGINAL_RETURNED: lambda data: (
            f"Given back in the {_of(data, 'place')} folder as {_of(data, 'published_name')}, the reason beside it"
        ),
        EventName.DUPLICATE_RECOGNISED: lambda data: (
            f"The same as document {_of(data, 'earlier')}, whose seal is delivered once more; nothing is sent"
        ),
        EventName.DOCUMENT_RETRIED: lambda data: (
            f"Another try was asked for by {_of(data, 'by')}; it had failed for {_of(data, 'reason')}"
        ),
        EventName.ORIGINAL_FETCHED: lambda _: "Its original was fetched back from the failed folder",
        EventName.ORIGINAL_KEPT: lambda data: (
            f"Its original is kept in the processed folder as {_of(data, 'kept_name')}"
        ),
        EventName.ORIGINAL_EXPIRED: lambda data: f"Its time in the {_of(data, 'place')} folder is over: it is removed",
        EventName.RETRY_REFUSED: lambda data: f"It cannot be tried again: {_of(data, 'detail')}",
    }
)
