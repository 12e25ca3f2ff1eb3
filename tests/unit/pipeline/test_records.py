"""Our own reasons and receipts, where somebody put them into inbound."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from documents import DIGEST, document, verified
from sealdrop.model import Document, DocumentId, FileIdentity, Reason, State
from sealdrop.pipeline.records import OwnRecord, recognise, remove
from sealdrop.receipt import reason_for, receipt_for, to_bytes
from sealdrop.wording import reason_text

REJECTED = document(
    state=State.REJECTED, reason=Reason.NOT_PDF, reason_detail="no header", published_name="invoice.pdf"
)
FAILED = replace(
    verified(), state=State.FAILED, reason=Reason.SEAL_LEVEL, reason_detail="level: B", published_name="i.pdf"
)


def _known(each: Document) -> Callable[[str], Document | None]:
    return lambda document_id: each if document_id == each.id else None


def _recognised(inbound: Path, name: str, content: bytes, known: Document) -> OwnRecord | None:
    path = inbound / name
    path.write_bytes(content)
    found = recognise(inbound, path, FileIdentity.of(path.stat()), _known(known))
    return None if found is None else found[0]


def test_what_was_written_is_recognised(tmp_path: Path) -> None:
    """A reason for people and for programs, with a sealed PDF beside it or not, and a receipt."""
    text, record = reason_text(REJECTED, None).encode(), to_bytes(reason_for(REJECTED, None))
    assert _recognised(tmp_path, "invoice.pdf.reason.txt", text, REJECTED) is OwnRecord.REASON
    assert _recognised(tmp_path, "invoice.pdf.reason.json", record, REJECTED) is OwnRecord.REASON
    with_sealed = reason_text(FAILED, "i.pdf.sealed.pdf").encode()
    assert _recognised(tmp_path, "i.pdf.reason.txt", with_sealed, FAILED) is OwnRecord.REASON
    receipt = to_bytes(receipt_for(verified(), "i.pdf"))
    assert _recognised(tmp_path, "i.pdf.receipt.json", receipt, verified()) is OwnRecord.RECEIPT


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf.reason.txt", reason_text(REJECTED, None).encode() + b"Called them on Monday."),
        ("a.pdf.reason.txt", b"Document 20261123-00112233aabbccdd, 2026"),
        ("a.pdf.reason.txt", b"\xff\xfe"),
        ("a.pdf.txt", reason_text(REJECTED, None).encode()),
        ("a.pdf.reason.json", to_bytes(reason_for(REJECTED, None)).replace(DIGEST.encode(), b"0" * 64)),
        ("a.pdf.reason.json", json.dumps({"kind": "sealdrop-reason", "document": REJECTED.id}).encode()),
        ("a.pdf.reason.json", b"[" * 50_000),
        ("a.pdf.reason.json", b"%PDF-1.7"),
        ("a.pdf.receipt.json", to_bytes(reason_for(REJECTED, None))),
        ("a.pdf.receipt.json", b"{}"),
    ],
)
def test_only_what_was_written_is_recognised(tmp_path: Path, name: str, content: bytes) -> None:
    """Notes of somebody's, half a text, another content's reason, another file altogether: none of them is ours."""
    assert _recognised(tmp_path, name, content, REJECTED) is None


def test_another_documents_record_is_not_ours(tmp_path: Path) -> None:
    """Of a document that the ledger does not know nothing is believed."""
    other = replace(REJECTED, id=DocumentId("20261123-ffffffffffffffff"))
    for name, content in (
        ("a.reason.txt", reason_text(REJECTED, None).encode()),
        ("a.reason.json", to_bytes(reason_for(REJECTED, None))),
        ("a.receipt.json", to_bytes(receipt_for(verified(), "a.pdf"))),
    ):
        assert _recognised(tmp_path, name, content, other) is None


def test_only_the_file_that_was_seen_is_removed(tmp_path: Path) -> None:
    """What took its place meanwhile stays."""
    path = tmp_path / "a.pdf.reason.txt"
    path.write_bytes(b"a")
    seen = FileIdentity.of(path.stat())
    path.write_bytes(b"another")
    assert not remove(tmp_path, path, seen)
    assert recognise(tmp_path, path, seen, _known(REJECTED)) is None
    assert remove(tmp_path, path, FileIdentity.of(path.stat()))
    assert not path.exists()
