"""What a sender puts beside a document reaches SignAPI, the archive and the receipt, or the document comes back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from disks import prepared, service, until
from running import Running, drop, leftovers, receipt_of, running_daemon, sha256, unique
from sealdrop.audit.check import verify_trail
from sealdrop.model import State
from sealdrop.pipeline import intake

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
TAKES_BOTH = ("folders.invoices", 'sidecar = "optional"\nchecksum = "optional"\nsidecar_archivers = ["second"]')
NEEDS_SIDECAR = ("folders.contracts", 'sidecar = "required"\nchecksum = "optional"\nincomplete_s = 1.5')
KEYWORDS = ("folders.invoices.seal", 'keywords = ["invoices", "2026"]')


def _sidecar(**wishes: object) -> bytes:
    return json.dumps(wishes).encode()


def _reason(running: Running, name: str, folder: str = "contracts") -> Mapping[str, Any]:
    """Return the reason beside a rejected file; it fits its schema."""
    path = running.folder(folder).rejected / f"{name}.reason.json"
    content: Mapping[str, Any] = json.loads(path.read_text())
    jsonschema.validate(content, json.loads((SCHEMAS / "reason.schema.json").read_text()))
    return content


def test_wishes_reach_the_deposit_and_the_receipt(directory: Path, invoice: bytes) -> None:
    """Keywords and reference index the deposit, at the archiver chosen; the receipt and the record tell of them."""
    wishes = _sidecar(reference="F-2026-0042", keywords=["client 4711", "2026"], archivers=["second"])
    line = f"{sha256(invoice)}  asked.pdf\n".encode()
    with service(directory, tables=[TAKES_BOTH, KEYWORDS]) as (sandbox, running):
        inbound = running.folder().inbound
        drop(wishes, inbound, "sub/asked.pdf.json")
        drop(line, inbound, "sub/asked.pdf.sha256")
        drop(invoice, inbound, "sub/asked.pdf")
        drop(unique(invoice, 1), inbound, "plain.pdf")
        documents = running.wait_until_over(2)
        assert {document.state for document in documents} == {State.DELIVERED}
        deposits = {each.sha256: each for each in sandbox.deposits()}
    asked, plain = deposits[sha256(invoice)], deposits[sha256(unique(invoice, 1))]
    assert asked.keywords == ("invoices", "2026", "F-2026-0042", "client 4711")
    assert asked.archiver == "second"
    assert plain.keywords == ("invoices", "2026")
    assert plain.archiver != "second"
    receipt = receipt_of(running.folder().outbound / "sub" / "asked.pdf")
    jsonschema.validate(receipt, json.loads((SCHEMAS / "receipt.schema.json").read_text()))
    assert receipt["version"] == 3
    assert receipt["sidecar"] == {
        "sha256": sha256(wishes),
        "reference": "F-2026-0042",
        "keywords": ["client 4711", "2026"],
        "archivers": ["second"],
        "seal_text": [],
    }
    assert receipt["checksum"] == {"sha256": sha256(line)}
    assert receipt_of(running.folder().outbound / "plain.pdf")["sidecar"] is None
    (received,) = [event for each, event in running.events if event.name == "document_received" and "/" in each.name]
    assert received.fields["companions"] == {"sidecar": sha256(wishes), "checksum": sha256(line)}
    assert leftovers(running.config) == []


def test_what_cannot_be_granted_comes_back_with_its_sidecar_and_is_taken_once_corrected(
    directory: Path, invoice: bytes
) -> None:
    """Each fault has its reason and place; PDF and companions come back as they were; both dragged back are sealed."""
    faults: dict[str, tuple[bytes, str, str]] = {
        "unknown.pdf": (_sidecar(keyword="x"), "SIDECAR_INVALID", 'no member of the name "keyword"'),
        "archiver.pdf": (_sidecar(archivers=["elsewhere"]), "SIDECAR_INVALID", "archivers, entry 1"),
        "seal.pdf": (_sidecar(seal_text=["Hello"]), "SIDECAR_INVALID", "seal_text: this folder's seals cannot be seen"),
        "control.pdf": (_sidecar(reference="a\nb"), "SIDECAR_INVALID", "reference: begins with a space, or holds a line"),
        "twice.pdf": (b'{"reference": "a", "reference": "b"}', "SIDECAR_INVALID", "the same name twice"),
        "cut.pdf": (b'{"reference": "a', "SIDECAR_INVALID", "not JSON"),
    }
    tables = [(TAKES_BOTH[0], f"{TAKES_BOTH[1]}\nincomplete_s = 0.8")]
    with service(directory, tables=tables) as (sandbox, running):
        inbound, rejected = running.folder().inbound, running.folder().rejected
        for number, (name, (content, _, _)) in enumerate(faults.items()):
            drop(content, inbound, f"{name}.json")
            drop(unique(invoice, number), inbound, name)
        running.wait_until_over(len(faults))
        assert sandbox.seals() == ()
        for number, (name, (content, code, words)) in enumerate(faults.items()):
            reason = _reason(running, name, "invoices")
            assert reason["reason"] == code
            assert words in reason["detail"]
            assert (rejected / name).read_bytes() == unique(invoice, number)
            assert (rejected / f"{name}.json").read_bytes() == content
        text = (rejected / "cut.pdf.reason.txt").read_text()
        assert "put it back into the inbound" in " ".join(text.split())
        assert "replacez-le dans le dossier de dépôt avec les fichiers" in " ".join(text.split())
        # All that belongs to it is dragged back, its sidecar corrected.
        (rejected / "cut.pdf.json").write_bytes(_sidecar(reference="a"))
        for path in sorted(rejected.glob("cut.pdf*")):
            path.rename(inbound / path.name)
        running.wait_for(lambda: any(each.state is State.DELIVERED for each in running.over()))
        until(lambda: leftovers(running.config) == [], lambda: leftovers(running.config))
        assert not list(rejected.glob("cut.pdf*")), "reasons are removed, and nothing is said of them"
        assert len(running.log.events("own_record_removed")) == 2
    assert receipt_of(running.folder().outbound / "cut.pdf")["sidecar"]["reference"] == "a"


def test_a_required_sidecar_may_come_in_any_order_or_the_document_comes_back(directory: Path, invoice: bytes) -> None:
    """It waits for a sidecar that is required, for so long; what is no PDF is told so, and not that one is missing."""
    with service(directory, tables=[NEEDS_SIDECAR]) as (sandbox, running):
        inbound = running.folder("contracts").inbound
        drop(unique(invoice, 1), inbound, "late.pdf")
        until(lambda: inbound / "late.pdf" in running.daemon._inbound[1]._companions._waiting)
        drop(_sidecar(reference="late"), inbound, "late.pdf.json")
        drop(unique(invoice, 2), inbound, "never.pdf")
        drop(b"no PDF", inbound, "notes.txt")
        documents = {each.name: each for each in running.wait_until_over(3)}
        assert documents["late.pdf"].state is State.DELIVERED, documents["late.pdf"].reason_detail
        assert _reason(running, "never.pdf")["reason"] == "SIDECAR_MISSING"
        assert "never.pdf.json" in _reason(running, "never.pdf")["detail"]
        assert _reason(running, "notes.txt")["reason"] == "NOT_PDF"
        assert len(sandbox.seals()) == 1
    assert receipt_of(running.folder("contracts").outbound / "late.pdf")["sidecar"]["reference"] == "late"


def test_a_checksum_that_does_not_agree_waits_and_then_comes_back(directory: Path, invoice: bytes) -> None:
    """A PDF that is not what its checksum says is waited for: rewritten in time it is sealed, else it comes back."""
    first, whole, other = unique(invoice, 1), unique(invoice, 2), unique(invoice, 3)
    tables = [("folders.contracts", 'checksum = "required"\nincomplete_s = 3')]
    with service(directory, tables=tables) as (sandbox, running):
        inbound = running.folder("contracts").inbound
        drop(sha256(whole).encode(), inbound, "slow.pdf.sha256")
        drop(first, inbound, "slow.pdf")
        drop(sha256(whole).encode(), inbound, "wrong.pdf.sha256")
        drop(other, inbound, "wrong.pdf")
        waiting = running.daemon._inbound[1]._companions._waiting
        until(lambda: any(each.disagree for path, each in list(waiting.items()) if path.name == "slow.pdf"))
        drop(whole, inbound, "slow.pdf")
        documents = {each.name: each for each in running.wait_until_over(2)}
        assert documents["slow.pdf"].state is State.DELIVERED, documents["slow.pdf"].reason_detail
        assert [each.sha256 for each in sandbox.seals()] == [sha256(whole)]
        reason = _reason(running, "wrong.pdf")
    assert reason["reason"] == "CHECKSUM_MISMATCH"
    assert sha256(whole) in reason["detail"]
    assert sha256(other) in reason["detail"]
    assert (running.folder("contracts").rejected / "wrong.pdf.sha256").read_bytes() == sha256(whole).encode()
    assert leftovers(running.config) == []
