"""A client of the sandbox for tests: it speaks plain HTTP and shares no code with sealdrop's own client."""

import base64
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from sealdrop.sandbox.app import Answers
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

AT_ONCE = Delays(sign_s=0, archive_start_s=0, archive_s=0)
DEADLINE_S = 30.0
SIGNATURES = "/centralized/signatures"
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str) -> T:
    """Return what ``look`` finds, as soon as it finds something; fail after a while."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    pytest.fail(f"in vain: {what}")


def document(content: bytes, external_id: str | None = "X1", level: str = "B", **more: object) -> dict[str, object]:
    """Return the document of a create call."""
    return {
        "externalSignatureRequestId": external_id,
        "signatureOptions": {"signatureType": f"PAdES_BASELINE_{level}", "digestAlgorithmName": "SHA256"},
        "enableArchive": False,
        "toSignContent": base64.b64encode(content).decode(),
        **more,
    }


def client_context(pki: Pki, folder: Path, *, certificate: bool = True) -> ssl.SSLContext:
    """Return the TLS settings of a client of ``pki``, with its certificate or without any."""
    context = ssl.create_default_context(cafile=str(pki.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if certificate:
        passphrase = pki.passphrase_file.read_text().strip().encode()
        key, own, _ = pkcs12.load_key_and_certificates(pki.client_file.read_bytes(), passphrase)
        pem = folder / "client.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + own.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(pem)
    return context


@dataclass(frozen=True)
class Caller:
    """A client of one sandbox, in the terms of its calls."""

    sandbox: Sandbox
    http: httpx.Client

    def create(self, *documents: Mapping[str, object]) -> list[dict[str, object]]:
        """Create requests; return the statuses."""
        return self.http.post(SIGNATURES, json=documents).raise_for_status().json()

    def sign(self, identifier: str, mode: str = "ASYNC") -> httpx.Response:
        """Sign one request."""
        return self.http.post(f"{SIGNATURES}/sign", params={"id": identifier, "mode": mode})

    def status(self, identifier: str) -> dict[str, object]:
        """Return the status of one request."""
        return self.http.get(f"{SIGNATURES}/", params={"id": identifier}).raise_for_status().json()

    def until_status(self, identifier: str, *statuses: str) -> dict[str, object]:
        """Return the status object once it is one of ``statuses``."""

        def look() -> dict[str, object] | None:
            answer = self.status(identifier)
            return answer if answer["status"] in statuses else None

        return until(look, f"{identifier} becomes {' or '.join(statuses)}")

    def seal(self, document: Mapping[str, object], *statuses: str) -> dict[str, object]:
        """Create and sign one request; return its status once it is one of ``statuses`` (SIGNED unless told)."""
        identifier = str(self.create(document)[0]["signatureRequestId"])
        self.sign(identifier).raise_for_status()
        return self.until_status(identifier, *(statuses or ("SIGNED",)))


def sealed_content(status: Mapping[str, object]) -> bytes:
    """Return the sealed document in a status."""
    return base64.b64decode(str(status["signedContent"]))


class StartSandbox(Protocol):
    """Starts a sandbox in the test's folder and returns a client of it."""

    def __call__(self, *, delays: Delays = AT_ONCE, answers: Answers | None = None, timeout_s: float = 20) -> Caller:
        """Start one with these settings."""
