"""Receipts and reasons, for programs."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from documents import DIGEST, document, verified
from sealdrop.model import CheckName, Companion, CompanionKind, FileIdentity, Reason, State, Wishes
from sealdrop.receipt import (
    NotAReceipt,
    Notice,
    ReasonRecord,
    Receipt,
    read_receipt,
    reason_for,
    receipt_for,
    schema,
    to_bytes,
)

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Receipt, "receipt.schema.json"), (ReasonRecord, "reason.schema.json"), (Notice, "notice.schema.json")],
)
def test_the_schemas_in_docs_are_up_to_date(kind: type[Receipt] | type[ReasonRecord] | type[Notice], name: str) -> None:
    """docs/schemas holds what the program writes by."""
    assert (SCHEMAS / name).read_text() == schema(kind)
    jsonschema.Draft202012Validator.check_schema(json.loads(schema(kind)))


def test_a_receipt_fits_its_schema_and_can_be_read_back() -> None:
    """What is written is valid by the published schema, and reads back as the same value."""
    receipt = receipt_for(verified(), "invoice.pdf")
    content = json.loads(to_bytes(receipt))
    jsonschema.validate(content, json.loads((SCHEMAS / "receipt.schema.json").read_text()))
    assert read_receipt(to_bytes(receipt)) == receipt
    assert content["audit"] == {"first_seq": 7, "last_seq": 9}
    assert content["remote"]["archive_ids"] == [{"archiver": "archiver", "identifier": "A-1"}]


def test_the_same_document_gives_the_same_receipt() -> None:
    """Writing a receipt again after a crash writes the same bytes."""
    one, two = (to_bytes(receipt_for(verified(), "invoice.pdf")) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("missing", ["inspection", "verification", "sealed_sha256", "first_seq"])
def test_a_receipt_is_only_for_what_was_verified(missing: str) -> None:
    """Without one of its parts there is no receipt."""
    with pytest.raises(ValueError, match="20261123-00112233aabbccdd"):
        receipt_for(verified(**{missing: None}), "invoice.pdf")


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED])
def test_a_reason_fits_its_schema(state: State) -> None:
    """A rejected and a failed document give a reason that is valid by the published schema."""
    given = replace(verified(), state=state, reason=Reason.SEAL_LEVEL, reason_detail="level: found B")
    content = json.loads(to_bytes(reason_for(given, "invoice.pdf.sealed.pdf")))
    jsonschema.validate(content, json.loads((SCHEMAS / "reason.schema.json").read_text()))
    assert content["outcome"] == state
    assert content["sealed"] == {"name": "invoice.pdf.sealed.pdf", "size_bytes": 6, "sha256": DIGEST}


def test_there_is_no_reason_for_a_document_that_goes_its_way() -> None:
    """A document that was neither rejected nor failed has none."""
    with pytest.raises(ValueError, match="neither rejected"):
        reason_for(document(), None)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"kind": "sealdrop-receipt", "version": 2}', b"%PDF-1.7"],
)
def test_what_is_no_receipt_is_said_so(content: bytes) -> None:
    """Anything else is an error of ours that names the place."""
    with pytest.raises(NotAReceipt, match="not a receipt"):
        read_receipt(content)


def test_a_receipt_with_something_more_is_refused() -> None:
    """A member that this version does not know makes it unreadable here, rather than half understood."""
    content = json.loads(to_bytes(receipt_for(verified(), "invoice.pdf")))
    content["signed_by_hand"] = True
    with pytest.raises(NotAReceipt, match="signed_by_hand"):
        read_receipt(json.dumps(content).encode())


def test_a_receipt_of_the_version_before_is_read() -> None:
    """Version 2 had nothing of what comes with a document, and no place of a seal; it reads as one without."""
    found = verified().verification
    assert found is not None
    checks = tuple(check for check in found.checks if check.name is not CheckName.APPEARANCE)
    receipt = receipt_for(verified(verification=replace(found, checks=checks)), "invoice.pdf")
    older = {
        name: value for name, value in json.loads(to_bytes(receipt)).items() if name not in ("sidecar", "checksum")
    }
    older["version"] = 2
    del older["seal"]["place"], older["validation"]["seal_page"]
    jsonschema.validate(older, json.loads((SCHEMAS / "receipt-2.schema.json").read_text()))
    assert read_receipt(json.dumps(older).encode()) == receipt
    with pytest.raises(NotAReceipt):
        read_receipt(json.dumps({**older, "sidecar": None}).encode())
    with pytest.raises(NotAReceipt):
        read_receipt(json.dumps({**older, "seal": {**older["seal"], "place": None}}).encode())
    with pytest.raises(NotAReceipt):
        read_receipt(json.dumps({**older, "version": 1}).encode())


def test_a_receipt_tells_what_came_with_the_document() -> None:
    """The sender's wishes with the sidecar's digest, and that a checksum agreed."""
    companions = tuple(Companion(kind, FileIdentity(1, 2, 3, 4), DIGEST) for kind in CompanionKind)
    wishes = Wishes(DIGEST, reference="R-1", keywords=("a",), archivers=("x",), seal_text=("line",))
    receipt = receipt_for(verified(companions=companions, wishes=wishes), "invoice.pdf")
    content = json.loads(to_bytes(receipt))
    jsonschema.validate(content, json.loads((SCHEMAS / "receipt.schema.json").read_text()))
    assert content["sidecar"] == {
        "sha256": DIGEST,
        "reference": "R-1",
        "keywords": ["a"],
        "archivers": ["x"],
        "seal_text": ["line"],
    }
    assert content["checksum"] == {"sha256": DIGEST}
    assert read_receipt(to_bytes(receipt)) == receipt
