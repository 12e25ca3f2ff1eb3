"""What a failed call to SignAPI asks for: pure, from how it failed to one of our errors.

| how the call ended                                              | reading              | changing            |
| --------------------------------------------------------------- | -------------------- | ------------------- |
| no connection; name lookup; TLS handshake broken off            | Retryable            | Retryable           |
| a certificate, theirs or ours, or the terms of TLS refused      | AccountRefused       | AccountRefused      |
| out of time, reset or garbled after the request began to leave  | Retryable            | OutcomeUnknown      |
| 3xx (never followed), 401, 403, 405; a proxy's certificate page | AccountRefused       | AccountRefused      |
| 404, 410                                                        | AccountRefused [1]   | AccountRefused [2]  |
| 400, 413, 415, 422                                              | Retryable            | Refused             |
| 2xx with errorMsg                                               | Retryable [1]        | Refused             |
| 408, 425, 429, 5xx, any other status                            | Retryable            | OutcomeUnknown      |
| 2xx that is not what its description allows                     | MalformedAnswer [3]  | MalformedAnswer     |

Reading are ``status`` and ``search``; changing are ``create``, ``sign`` and ``sign_many``. Retryable and
OutcomeUnknown carry the service's Retry-After.

[1] For ``status``, 404 and 2xx with an ``errorMsg`` that matches the account's pattern are no failures: the request
    is unknown there. Nothing less is believed, for "unknown" is what makes it safe to send again.
[2] For ``sign`` and ``sign_many``, with an ``errorMsg``: OutcomeUnknown. A request of that ID may be what is not
    there, which is its document's affair and not the account's; asking for each tells.
[3] It changed nothing, and says so: an answer for a person to look at.

A refused certificate counts as refused even after the request left: in TLS 1.3 the client is done first and the
server's alert comes as the first thing it says (RFC 8446, 4.4.2.4 and 6.2), but a server that has not accepted the
handshake has read no request. On a connection that had already answered, it counts as any other break.

A refused call of several documents concerns all of them together (`Refused.documents`): split it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from sealdrop.errors import AccountRefused, OutcomeUnknown, Refused, Retryable, SealdropError
from sealdrop.signapi.wire import ServiceError, clean

RETRY_AFTER_LONGEST_S = 3600.0  # a wish for more is a mistake, or an outage that is over before
_NAMED_SUBJECTS = 3
_REFUSING = frozenset({401, 403, 405})
_ABSENT = frozenset({404, 410})
_DOCUMENTS_FAULT = frozenset({400, 413, 415, 422})
_DELAY = re.compile(r"[0-9]{1,9}")

# The words by which the service says, with HTTP 200, that it has no request of an ID (signapi.md, [A]). The whole text
# must say this and nothing else: "unknown error" and "archiver not found" do not match.
_REQUEST = (
    r"(?:(?:(?:external|signature|sign|seal|centralized)[\s_-]*)*(?:request|id|identifier)(?:[\s_-]*(?:id|identifier))?"
    r"|(?:demande|requ[eê]te|identifiant)(?:\sde\s(?:signature|cachet|scellement))?(?:\sexterne)?)"
)
_ITS_ID = r"""(?:\s*[:=]?\s*(?:["'«<\[(]\s*[\w.-]{1,80}\s*["'»>\])]|(?=[\w.-]*\d)[\w.-]{1,80}))?"""
_BY = rf"(?:\s+(?:with|for|having|avec)\s+(?:the\s+|this\s+|l')?{_REQUEST})"
_NAMED = rf"{_REQUEST}{_BY}?{_ITS_ID}"
_NOT_THERE = (
    r"(?:(?:(?:is|was|est)[\s_]+)?(?:unknown|not[\s_]+(?:found|known)|inconnue?|introuvable)"
    r"|(?:does[\s_]+not|doesn't)[\s_]+exist|n'existe\spas|(?:cannot|could[\s_]+not)[\s_]+be[\s_]+found)"
)
UNKNOWN_REQUEST = (
    rf"^(?:error:\s*)?(?:(?:the\s+|la\s+|l')?{_NAMED}[\s:,_-]*{_NOT_THERE}(?:{_BY}?{_ITS_ID})"
    rf"|(?:unknown|(?:there\s+is\s+)?no[\s_]+such|inconnue?)[\s_]+{_NAMED}"
    rf"|(?:there\s+is\s+)?no\s+{_REQUEST}(?:\s+(?:was\s+)?(?:found|exists){_BY}?|{_BY}){_ITS_ID}"
    rf"|aucune?\s+{_REQUEST}\s+(?:n'a\s+été\s+)?trouvée?)\s*[.!]?$"
)


class Operation(Enum):
    """The calls there are; see signapi.md, "The centralized family"."""

    CREATE = "create"
    SIGN = "sign"
    SIGN_MANY = "sign_many"
    STATUS = "status"
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as errors name it: what is asked of whom, about which IDs."""

    operation: Operation
    host: str
    subjects: Sequence[str]

    @property
    def changes(self) -> bool:
        """Whether the service does something because of it."""
        return self.operation not in (Operation.STATUS, Operation.SEARCH)

    def __str__(self) -> str:
        named = ", ".join(self.subjects[:_NAMED_SUBJECTS])
        more = len(self.subjects) - _NAMED_SUBJECTS
        about = f"{named} and {more} more" if more > 0 else named
        return f"{self.operation.value} at {self.host} ({about})"


def broken_off(call: Call, what: str, *, began_sending: bool) -> SealdropError:
    """Return the error for a call that ended without an answer; ``what`` says how."""
    if not began_sending:
        return Retryable(f"{call}: nothing was sent: {what}")
    text = f"{call}: no answer: {what}"
    return OutcomeUnknown(text) if call.changes else Retryable(text)


def answered(
    call: Call, http_status: int, error: ServiceError | None, *, retry_after_s: float | None
) -> SealdropError | None:
    """Return the error that an answer amounts to, or None if it is to be read as what was asked for.

    ``error`` is None where the answer's body is not an error of the service's own.
    """
    text = f"{call}: HTTP {http_status}" + (f": {error}" if error is not None else "")
    if 200 <= http_status < 300:
        if error is None:
            return None
        return _refused(call, text) if call.changes else Retryable(text)
    if 300 <= http_status < 400 or http_status in _REFUSING:
        return AccountRefused(text)
    if http_status in _ABSENT:
        by_id = call.operation in (Operation.SIGN, Operation.SIGN_MANY)
        return OutcomeUnknown(text) if by_id and error is not None else AccountRefused(text)
    if http_status in _DOCUMENTS_FAULT and call.changes:
        return _refused(call, text)
    if call.changes:
        return OutcomeUnknown(text, retry_after_s=retry_after_s)
    return Retryable(text, retry_after_s=retry_after_s)


def _refused(call: Call, text: str) -> Refused:
    count = len(call.subjects)
    return Refused(f"{text} (the whole batch of {count} documents)" if count > 1 else text, documents=count)


def certificate_refused(call: Call, why: str) -> AccountRefused:
    """Return the error for a call that failed over a certificate or the terms of TLS."""
    return AccountRefused(f"{call}: TLS refused: {clean(why)}")


def is_certificate_page(http_status: int, body: bytes) -> bool:
    """Return whether a proxy says that it wants another client certificate: nginx does so with 400, in HTML."""
    return http_status in {400, 495, 496} and b"SSL certificate" in body


def says_unknown(http_status: int, error: ServiceError | None, pattern: re.Pattern[str]) -> bool:
    """Return whether a status answer says, unmistakably, that the service has no such request.

    The status alone does not: a wrong path answers 404 too, and "unknown" is what makes sending again safe.
    """
    if error is None or not (200 <= http_status < 300 or http_status == 404):
        return False
    return any(pattern.search(text) for text in (error.message.strip(), error.label.strip()) if text)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return a Retry-After header (RFC 9110, 10.2.3) as seconds from ``now``, between 0 and `RETRY_AFTER_LONGEST_S`.

    None where there is none, or none that can be read.
    """
    if value is None:
        return None
    if _DELAY.fullmatch(value.strip()):
        return min(float(value.strip()), RETRY_AFTER_LONGEST_S)
    moment = http_date(value)
    return None if moment is None else min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_LONGEST_S)


def http_date(value: str | None) -> datetime | None:
    """Return a date of HTTP (RFC 9110, 5.6.7), aware; None where there is none, or none that can be read."""
    try:
        moment = parsedate_to_datetime(value or "")
        # Its zone can put it outside of what a datetime can hold, which shows when it is compared.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
