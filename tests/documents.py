"""Documents and clocks for tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sealdrop.model import (
    ArchiveId,
    Check,
    CheckName,
    CheckOutcome,
    Document,
    DocumentId,
    ExternalId,
    FileIdentity,
    Inspection,
    Remote,
    RemoteStatus,
    RemoteStep,
    RequestId,
    SealCertificate,
    SealLevel,
    Sha256,
    State,
    Timestamp,
    Verdict,
    Verification,
)

NOW = datetime(2026, 11, 23, 17, 44, 1, 250_000, tzinfo=UTC)
DIGEST = Sha256("ab" * 32)


class FakeClock:
    """A clock that goes only when told to."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.set_by_s = 0.0

    def now(self) -> datetime:
        """Return the moment."""
        return NOW + timedelta(seconds=self.elapsed_s + self.set_by_s)

    def monotonic(self) -> float:
        """Return the seconds."""
        return 1_000.0 + self.elapsed_s

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed_s += seconds


def document(**changes: object) -> Document:
    """Return a document that was just received, with ``changes``."""
    received = Document(
        id=DocumentId("20261123-00112233aabbccdd"),
        node="host",
        account="main",
        folder="invoices",
        name="invoice.pdf",
        identity=FileIdentity(1, 2, 3, 4),
        size_bytes=3,
        sha256=DIGEST,
        state=State.RECEIVED,
        received_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        first_seq=7,
        last_seq=9,
    )
    return replace(received, **changes)  # type: ignore[arg-type]


def verified(**changes: object) -> Document:
    """Return a document that passed every check, with ``changes``."""
    certificate = SealCertificate(
        "CN=Seal, O=Demo", "Demo", "CN=Root", "1", DIGEST, NOW - timedelta(days=1), NOW + timedelta(days=1)
    )
    return document(
        **{
            "state": State.VERIFIED,
            "external_id": ExternalId("20261123-00112233aabbccdd-1"),
            "request_id": RequestId("r1"),
            "inspection": Inspection(Verdict.ACCEPT, pages=1),
            "remote": Remote(
                steps=(RemoteStep(RemoteStatus.SIGN_CREATED, NOW), RemoteStep(RemoteStatus.ARCHIVED, NOW)),
                signing_date=NOW,
                archive_ids=(ArchiveId("archiver", "A-1"),),
                answer={"signatureRequestId": "r1"},
            ),
            "verification": Verification(
                checks=tuple(Check(name, CheckOutcome.PASSED, "fine") for name in CheckName),
                level=SealLevel.LTA,
                signed_at=NOW,
                certificate=certificate,
                timestamps=(Timestamp("signature", NOW, "CN=TSA"),),
            ),
            "sealed_size_bytes": 6,
            "sealed_sha256": DIGEST,
            **changes,
        }
    )
