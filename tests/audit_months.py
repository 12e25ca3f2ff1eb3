"""Audit trails of whole months, as the daemon would have written them, for tests of what is made from them.

Everything follows from a seed. The documents' steps are mixed in time as in life, and chained by the real code.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sealdrop.audit.chain import link
from sealdrop.events import EventName
from sealdrop.model import GENESIS, AuditHead, AuditRecord, Event, Reason, end_of_day

Happening = tuple[datetime, str | None, Event]

CERTIFICATES = (
    {
        "subject": "CN=Cachet Dupont & Fils, OU=Comptabilité, O=Dupont & Fils SA, C=FR",
        "issuer": "CN=CertEurope eID Corp, O=CertEurope, C=FR",
        "serial": "198237481234987123498712349871234987",
        "sha256": "ab" * 32,
        "not_before": "2025-11-15T00:00:00+00:00",
        "not_after": "2026-11-14T23:59:59+00:00",
    },
    {
        "subject": "CN=Cachet Dupont & Fils, OU=Comptabilité, O=Dupont & Fils SA, C=FR",
        "issuer": "CN=CertEurope eID Corp, O=CertEurope, C=FR",
        "serial": "298237481234987123498712349871234999",
        "sha256": "cd" * 32,
        "not_before": "2026-11-10T00:00:00+00:00",
        "not_after": "2027-11-09T23:59:59+00:00",
    },
)
NAMES = (
    "facture {n}.pdf",
    "2026/FA-{n}.pdf",
    "Relevé n° {n} – Société Générale d'Équipements Industriels et de Maintenance du Grand Sud-Ouest (avenant).pdf",
    "請求書-{n}.pdf",
    "فاتورة-{n}.pdf",
    "<b>offre</b> & devis {n}.pdf",
    "Umlaute_äöü_Žluťoučký_{n}.pdf",
    "=HYPERLINK(0)-{n}.pdf",
    "scan" + "_tres_long_nom_sans_espace" * 6 + "_{n}.pdf",
)
REJECTIONS = (
    (Reason.ENCRYPTED_USER, "the PDF needs a password"),
    (Reason.TRUNCATED, "no end-of-file mark in the last 1024 bytes"),
    (Reason.DUPLICATE, "document 20261102-00ff00ff00ff00ff of the same content was delivered on 2026-11-02"),
    (Reason.ACTIVE_CONTENT, "/OpenAction runs /JavaScript"),
    (Reason.PDFA_CLAIM, "PDF/A-1b"),
)
FAILURES = (
    (Reason.SEAL_REFUSED, "SIGN-412: document refused by the signature service"),
    (Reason.ARCHIVE_FAILED, "ARCHIVE_FAILED"),
    (Reason.SEAL_LEVEL, "level: found PAdES_BASELINE_T, asked for PAdES_BASELINE_LTA"),
)


def document_happenings(rng: random.Random, at: datetime, number: int, folder: str, fate: str) -> Iterator[Happening]:
    """Yield what happens to one document: ``delivered``, ``rejected``, ``failed``, ``retried`` or ``in_work``."""
    identity = f"{at:%Y%m%d}-{rng.getrandbits(64):016x}"
    name = NAMES[number % 12 % len(NAMES)] if number % 4 == 0 else NAMES[number % 2]
    named: dict[str, Any] = {"folder": folder, "name": name.format(n=number)}
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    sealed = hashlib.sha256(f"sealed {number}".encode()).hexdigest()
    archive_ids: list[Any] = [f"ARC-{rng.getrandbits(48):012X}"]
    seal = CERTIFICATES[at.day > 12]

    def happen(event: EventName, after_s: float, **fields: Any) -> Happening:  # noqa: ANN401 - any JSON
        nonlocal at
        at += timedelta(seconds=after_s)
        return at, identity, Event(event, named | fields)

    yield happen(
        EventName.DOCUMENT_RECEIVED,
        0,
        account="main",
        size_bytes=rng.randrange(20_000, 4_000_000),
        sha256=digest,
        level="PAdES_BASELINE_LTA",
        archive=True,
    )
    if fate == "rejected":
        reason, detail = rng.choice(REJECTIONS)
        yield happen(EventName.DOCUMENT_REJECTED, rng.uniform(0.05, 1), reason=reason, detail=detail)
        yield happen(EventName.ORIGINAL_RETURNED, 0.1, published_name=named["name"], place="rejected")
        return
    yield happen(EventName.DOCUMENT_VALIDATED, rng.uniform(0.05, 2), pages=rng.randrange(1, 12), warnings=[])
    external_id = f"{identity}-1"
    request_id = f"{rng.getrandbits(128):032x}"
    yield happen(EventName.SUBMISSION_INTENDED, 0.02, external_id=external_id)
    if fate == "in_work":
        return
    yield happen(
        EventName.SUBMISSION_CONFIRMED, rng.expovariate(1), request_id=request_id, remote_status="SIGN_CREATED"
    )
    yield happen(EventName.SEAL_INTENDED, 0.02, request_id=request_id)
    yield happen(EventName.REMOTE_STATUS_CHANGED, rng.expovariate(0.1), remote_status="ARCHIVE_IN_PROGRESS")
    if fate in ("failed", "retried"):
        reason, detail = rng.choice(FAILURES)
        yield happen(EventName.DOCUMENT_FAILED, rng.uniform(1, 60), reason=reason, detail=detail)
        yield happen(EventName.ORIGINAL_RETURNED, 0.1, published_name=named["name"], place="failed")
        if fate == "failed":
            return
        yield happen(EventName.DOCUMENT_RETRIED, 86_400, reason=reason, by="dupond (sudo)")
        yield happen(EventName.ORIGINAL_FETCHED, 2, external_id=external_id)
        yield happen(EventName.SUBMISSION_INTENDED, 1, external_id=f"{identity}-2")
        yield happen(EventName.SUBMISSION_CONFIRMED, 1, request_id=request_id, remote_status="SIGN_CREATED")
    yield happen(
        EventName.DOCUMENT_SEALED,
        rng.expovariate(0.05),
        sealed_size_bytes=60_000,
        sealed_sha256=sealed,
        archive_ids=archive_ids,
    )
    yield happen(
        EventName.DOCUMENT_VERIFIED,
        rng.uniform(0.3, 2),
        level="PAdES_BASELINE_LTA",
        checks=14,
        sealed_sha256=sealed,
        signed_at=at.isoformat(),
        certificate=seal,
    )
    yield happen(EventName.DOCUMENT_DELIVERED, 0.05, published_name=named["name"], archive_ids=archive_ids)


def month_happenings(
    documents: int,
    *,
    seed: int = 1,
    first: datetime,
    days: int = 30,
    folders: tuple[str, ...] = ("invoices", "contracts"),
) -> list[Happening]:
    """Return what happens in a month, in its order: few documents on weekends, a kill, some failures."""
    rng = random.Random(seed)
    weights = [0.06 if (first + timedelta(days=day)).weekday() >= 5 else 1 + rng.random() for day in range(days)]
    happenings: list[Happening] = [(first, None, Event(EventName.SERVICE_STARTED, {"version": "1.0.0"}))]
    happenings.append((first + timedelta(days=9, hours=3), None, Event(EventName.SERVICE_STOPPED, {"abandoned": []})))
    for hours in (9 * 24 + 4, 17 * 24 + 5):
        at = first + timedelta(hours=min(hours, days * 24 - 1))
        happenings.append((at, None, Event(EventName.SERVICE_STARTED, {"version": "1.0.1"})))
    for number, day in enumerate(rng.choices(range(days), weights, k=documents)):
        at = first + timedelta(days=day, seconds=min(86_000, max(0, rng.gauss(50_000, 9_000))))
        chance = rng.random()
        fate = (
            "rejected"
            if chance < 0.02
            else "failed"
            if chance < 0.026
            else "retried"
            if chance < 0.03
            else "in_work"
            if chance > 0.9985
            else "delivered"
        )
        happenings += document_happenings(rng, at, number, folders[rng.random() < 0.2 if len(folders) > 1 else 0], fate)
    return sorted(happenings, key=lambda each: each[0])


def write_trail(
    directory: Path, happenings: Iterable[Happening], *, node: str = "seal-1", closes: bool = True
) -> AuditHead:
    """Write the chained records of what happened into day files, each closed when the next begins; return the head."""
    directory.mkdir(parents=True, exist_ok=True)
    head, day, first_seq = GENESIS, list[str](), 1
    for at, document, event in happenings:
        if head.at is not None and at.date() > head.at.date():
            said: dict[str, Any] = {"day": f"{head.at:%Y-%m-%d}", "first_seq": first_seq, "records": len(day)}
            said["closed_at"] = at.isoformat()
            if closes:
                closing = link(head, end_of_day(head.at), None, Event(EventName.DAY_CLOSED, said), node=node)
                day.append(closing.line)
                head = AuditHead(closing.seq, closing.hash, closing.at)
            _write_day(directory, head, day)
            first_seq = head.seq + 1
        record: AuditRecord = link(head, at, document, event, node=node)
        day.append(record.line)
        head = AuditHead(record.seq, record.hash, record.at)
    _write_day(directory, head, day)
    return head


def _write_day(directory: Path, head: AuditHead, day: list[str]) -> None:
    if head.at is not None:
        (directory / f"{head.at:%Y-%m-%d}.jsonl").write_text("\n".join(day) + "\n")
    day.clear()
