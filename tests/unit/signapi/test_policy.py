"""The parts of the policy that need no wire; its table is proved row by row in test_client."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealdrop.signapi.policy import RETRY_AFTER_LONGEST_S, UNKNOWN_REQUEST, Call, Operation, retry_after_s, says_unknown
from sealdrop.signapi.wire import ServiceError

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATTERN = re.compile(UNKNOWN_REQUEST, re.IGNORECASE)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 30 ", 30.0),
        ("999999999", RETRY_AFTER_LONGEST_S),
        ("9" * 5000, None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 2026 12:01:40 GMT", 100.0),
        ("Thu, 01 Jan 2026 13:01:40 +0100", 100.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 11:00:00 GMT", RETRY_AFTER_LONGEST_S),
        ("Thu, 01 Jan 2026 12:01:40 -0000", 100.0),
        ("Thu, 99 Jan 2026 12:01:40 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood, the past is now, and no wish is longer than an hour."""
    assert retry_after_s(value, NOW) == seconds


@example("0\x1f")  # which Python strips from a text, and not from a number
@given(st.text())
def test_any_retry_after_is_harmless(value: str) -> None:
    """Whatever the header holds, the wish is bounded or none."""
    seconds = retry_after_s(value, NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_LONGEST_S


@pytest.mark.parametrize(
    "text",
    [
        "Signature request not found",
        "SignatureRequest with id 123-ab not found.",
        "signatureRequest 'drop-1' does not exist",
        "Signature request with externalId=20260101-ab12 doesn't exist",
        "The signature request is unknown",
        "Unknown signature request",
        "Unknown signature request: 20260101-ab12",
        "unknown request",
        "No such request 42",
        "No signature request found for id 42",
        "No request exists with external id 'x'",
        "external id not found",
        "externalSignatureRequestId: 12 not found",
        "SIGNATURE_REQUEST_NOT_FOUND",
        "REQUEST_NOT_FOUND",
        "Error: signature request could not be found",
        "Demande de signature inconnue",
        "La requête 12 est introuvable",
        "identifiant externe inconnu",
        "La demande n'existe pas",
        "There is no signature request with this id",
        "There is no such signature request",
        "no such signature request",
        "No signature request with externalId x1",
        "SignatureRequest not found: 20260101-ab",
        "Signature request not found for id 42",
        "Aucune demande de signature trouvée",
    ],
)
def test_words_for_an_unknown_request(text: str) -> None:
    """The default pattern knows the usual ways to say that there is no such request."""
    assert says_unknown(200, ServiceError(text, ""), PATTERN)
    assert says_unknown(200, ServiceError("x", text), PATTERN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "not found",
        "Unknown error",
        "unknown request error",
        "Request failed: unknown error",
        "Request failed: unknown",
        "Unknown request parameter",
        "Signature request 12: archiver not found",
        "Signature request not found in cache, retrying",
        "Archiver not found",
        "Signature certificate not found",
        "Request timed out; identifier generator not found",
        "The service is unknown",
        "The requested page does not exist",
        "database of request 12 does not exist",
        "Unknown host id-server",
        "Customer not found",
        "erreur inconnue",
        "serveur introuvable",
        "There is no such call",
        "No request",
        "No request could be handled",
        "Signature request not found: database unavailable",
    ],
)
def test_words_for_something_else(text: str) -> None:
    """What might mean anything else is not taken for an unknown request: believing it would seal twice."""
    assert not says_unknown(200, ServiceError(text, text), PATTERN)


@pytest.mark.parametrize("status", [201, 299])
def test_any_success_may_say_unknown(status: int) -> None:
    """It is the words that count, with any status of success."""
    assert says_unknown(status, ServiceError("request not found", ""), PATTERN)


@given(st.text(max_size=500))
def test_the_pattern_is_quick(text: str) -> None:
    """No text makes the pattern run for ever: this would time out."""
    PATTERN.search(text)


def test_the_pattern_is_quick_on_its_own_words() -> None:
    """Repeating the pattern's own words does not make it run for ever either."""
    for words in ("external signature ", "request ", "id ", "signature_", "unknown ", "la "):
        PATTERN.search(words * 100)


def test_a_call_names_some_of_its_subjects() -> None:
    """A long batch is named by its first three IDs."""
    assert str(Call(Operation.SIGN, "h", ("a",))) == "sign at h (a)"
    assert str(Call(Operation.CREATE, "h", ("a", "b", "c", "d"))) == "create at h (a, b, c and 1 more)"
