"""What a connection that breaks means, where no real peer can be made to break it so."""

import ssl

import httpx
import pytest

from sealdrop.clock import SystemClock
from sealdrop.errors import AccountRefused, OutcomeUnknown, Retryable, SealdropError
from sealdrop.signapi.deadline import Progress
from sealdrop.signapi.policy import Call, Operation
from sealdrop.signapi.transport import _broken_off


@pytest.mark.parametrize(
    ("reason", "connected", "sent", "answered", "expected"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", True, False, False, AccountRefused),
        ("TLSV1_ALERT_UNKNOWN_CA", True, True, False, AccountRefused),
        ("TLSV1_ALERT_UNKNOWN_CA", True, True, True, OutcomeUnknown),
        ("TLSV1_ALERT_UNKNOWN_CA", False, True, False, OutcomeUnknown),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", True, True, False, AccountRefused),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", True, True, False, AccountRefused),
        ("TLSV1_ALERT_INTERNAL_ERROR", True, False, False, Retryable),
        ("TLSV1_ALERT_INTERNAL_ERROR", True, True, False, OutcomeUnknown),
        ("UNEXPECTED_EOF_WHILE_READING", True, True, False, OutcomeUnknown),
        (None, True, False, False, Retryable),
    ],
)
def test_a_tls_failure(
    reason: str | None, *, connected: bool, sent: bool, answered: bool, expected: type[SealdropError]
) -> None:
    """An alert about a certificate proves that nothing was applied only as the first word on a new connection."""
    progress = Progress(10.0, SystemClock())
    progress.connected, progress.began_sending, progress.answered = connected, sent, answered
    failure = ssl.SSLError()
    failure.reason = reason  # type: ignore[assignment]
    progress.failures.append(failure)
    fault = _broken_off(Call(Operation.CREATE, "host", ("x",)), progress, failure)
    assert type(fault) is expected


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"illegal status line: {bytearray(b'Attendu que' + bytes([233]))!r}", "illegal status line: [...]"),
        (f"illegal header line: {b'le solde: 7'!r}", "illegal header line: [...]"),
        ("Server disconnected without sending a response.", "Server disconnected without sending a response."),
    ],
)
def test_a_garbled_answer_is_not_quoted(said: str, kept: str) -> None:
    """Where an answer is none of HTTP's, its bytes may be any part of a document: they stay out of the error."""
    fault = _broken_off(
        Call(Operation.STATUS, "host", ("x",)), Progress(10.0, SystemClock()), httpx.RemoteProtocolError(said)
    )
    assert str(fault) == f"status at host (x): nothing was sent: RemoteProtocolError: {kept}"
