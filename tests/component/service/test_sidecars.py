"""What a sender puts beside a document reaches SignAPI, the archive and the receipt, or the document comes back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from disks import prepared, service
from running import Running, drop, leftovers, receipt_of, running_daemon, sha256, unique, until
from sealdrop.audit.check import verify_trail
from sealdrop.daemon import companions
from sealdrop.model import State
from sealdrop.pipeline import intake

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
TAKES_BOTH = ("folders.invoices", 'sidecar = "optional"\nchecksum = "optional"\nsidecar_archivers = ["second"]')
NEEDS_SIDECAR = ("folders.contracts", 'sidecar = "required"\nchecksum = "optional"\nincomplete_s = 1.5')
KEYWORDS = ("folders.invoices.seal", 'keywords = ["invoices", "2026"]')


def _sidecar(**wishes: object) -> bytes:
    return json.dumps(wishes).encode()


def _waits(running: Running, name: str) -> companions._Wait | None:
    """Return since when a document of the contracts folder has waited for what goes with it, None if it does not."""
    (worker,) = [worker for worker in running.daemon._shifts.crew.inbound if worker.name == "contracts"]
    return worker._companions._waiting.get(running.folder("contracts").inbound / name)


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
        "seal.pdf": (
            _sidecar(seal_text=["Hello"]),
            "SIDECAR_INVALID",
            "seal_text: the folder's seal has no place",
        ),
        "control.pdf": (_sidecar(reference="a\nb"), "SIDECAR_INVALID", "reference: begins with a space, or"),
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
        until(lambda: _waits(running, "late.pdf") is not None)
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
        until(lambda: (wait := _waits(running, "slow.pdf")) is not None and wait.disagree)
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


def test_dying_between_the_record_and_the_removals_leaves_no_sidecar_to_another_document(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Originals that still stand after a crash are removed; a sidecar is not applied to a new PDF of that name."""

    def refuse(*_: object) -> intake.Removal:
        raise PermissionError("not now")

    first, second = unique(invoice, 1), unique(invoice, 2)
    with prepared(directory, tables=[NEEDS_SIDECAR]) as sandbox:
        with monkeypatch.context() as broken:
            broken.setattr(intake, "remove_original", refuse)
            with running_daemon(sandbox.config_path) as running:
                inbound = running.folder("contracts").inbound
                drop(_sidecar(reference="first"), inbound, "same.pdf.json")
                drop(first, inbound, "same.pdf")
                (document,) = running.wait_until_over(1)
                assert document.state is State.DELIVERED, document.reason_detail
        assert (inbound / "same.pdf.json").exists()
        drop(second, inbound, "same.pdf")
        with running_daemon(sandbox.config_path) as again:
            (late,) = again.wait_until_over(1)
            until(lambda: leftovers(again.config) == [], lambda: leftovers(again.config))
        assert (late.state, late.reason) == (State.REJECTED, "SIDECAR_MISSING")
        assert late.wishes is None
        assert [each.sha256 for each in sandbox.seals()] == [sha256(first)]
    assert verify_trail(again.config.service.state_dir / "audit").ok


def test_what_failed_may_be_dragged_back_unless_it_was_sealed(directory: Path, invoice: bytes) -> None:
    """Refused, and dragged back with all that stood beside it: sealed. Failed with a seal: told, and not sealed twice.

    The sealed PDF that came back with it is not sealed either, and its reasons vanish.
    """
    refused, failing = unique(invoice, 1), unique(invoice, 2)
    with service(directory, tables=[("folders.contracts", 'sidecar = "optional"')]) as (sandbox, running):
        inbound, failed = running.folder("contracts").inbound, running.folder("contracts").failed
        sandbox.faults.add("sign_failed", "sign")
        drop(_sidecar(reference="kept"), inbound, "refused.pdf.json")
        drop(refused, inbound, "refused.pdf")
        (first,) = running.wait_until_over(1)
        assert (first.state, first.reason) == (State.FAILED, "SEAL_FAILED")
        text = " ".join((failed / "refused.pdf.reason.txt").read_text().split())
        assert "you may put it back into the inbound folder with the files that came with it" in text
        for path in sorted(failed.iterdir()):
            path.rename(inbound / path.name)
        running.wait_for(lambda: any(each.state is State.DELIVERED for each in running.over()))
        assert receipt_of(running.folder("contracts").outbound / "refused.pdf")["sidecar"]["reference"] == "kept"

        sandbox.faults.add("other_organisation", "sign")
        drop(failing, inbound, "failing.pdf")
        second = next(each for each in running.wait_until_over(3) if each.name == "failing.pdf")
        assert (second.state, second.reason) == (State.FAILED, "SEAL_WRONG_ORGANISATION")
        for path in sorted(failed.iterdir()):
            path.rename(inbound / path.name)
        running.wait_until_over(5)
        until(lambda: leftovers(running.config) == [], lambda: leftovers(running.config))
        rejected = running.folder("contracts").rejected
        for name in ("failing.pdf", "failing.pdf.sealed.pdf"):
            reason = _reason(running, name)
            assert reason["reason"] == "DUPLICATE"
            assert f"sealdrop retry {second.id}" in reason["detail"]
        assert "this is the sealed PDF of what was dropped" in _reason(running, "failing.pdf.sealed.pdf")["detail"]
        assert len(list(rejected.iterdir())) == 6, "two PDFs with their reasons, and nothing else"
        assert sorted(each.sha256 for each in sandbox.seals()) == sorted(map(sha256, (refused, failing)))


def test_what_came_out_and_is_dropped_where_it_went_in_is_not_sealed_again(directory: Path, invoice: bytes) -> None:
    """A sealed PDF comes back as a duplicate; its receipt is left where it is, with a notice that goes with it."""
    with service(directory) as (sandbox, running):
        inbound, outbound = running.folder("contracts").inbound, running.folder("contracts").outbound
        drop(invoice, inbound, "a.pdf")
        running.wait_until_over(1)
        for path in sorted(outbound.iterdir()):
            path.rename(inbound / path.name)
        running.wait_until_over(2)
        notice = running.folder("contracts").rejected / "a.pdf.receipt.json.reason.json"
        until(notice.exists)
        assert json.loads(notice.read_text())["reason"] == "OWN_RECORD"
        assert _reason(running, "a.pdf")["reason"] == "DUPLICATE"
        (inbound / "a.pdf.receipt.json").rename(outbound / "a.pdf.receipt.json")
        until(lambda: not notice.exists())
        assert len(sandbox.seals()) == 1


def test_a_sidecar_alone_is_told_of_and_a_linked_one_keeps_its_document_waiting(
    directory: Path, invoice: bytes, tmp_path: Path
) -> None:
    """Without its PDF a sidecar gets a notice in the end; a link in a sidecar's place is not followed, or passed by."""
    tables = [("folders.contracts", 'sidecar = "optional"\nincomplete_s = 0.3')]
    (tmp_path / "outside.json").write_bytes(_sidecar(reference="stolen"))
    with service(directory, tables=tables) as (sandbox, running):
        inbound, rejected = running.folder("contracts").inbound, running.folder("contracts").rejected
        drop(_sidecar(reference="alone"), inbound, "alone.pdf.json")
        (inbound / "linked.pdf.json").symlink_to(tmp_path / "outside.json")
        drop(unique(invoice, 1), inbound, "linked.pdf")
        alone, linked = (rejected / f"{name}.pdf.json.reason.json" for name in ("alone", "linked"))
        until(lambda: alone.exists() and linked.exists())
        assert json.loads(alone.read_text())["reason"] == "COMPANION_ALONE"
        assert json.loads(linked.read_text())["reason"] == "SYMLINK"
        assert running.documents == {}
        drop(unique(invoice, 2), inbound, "alone.pdf")
        (inbound / "linked.pdf.json").unlink()
        documents = {each.name: each for each in running.wait_until_over(2)}
        until(lambda: not alone.exists() and not linked.exists())
        assert len(sandbox.seals()) == 2
    assert documents["linked.pdf"].wishes is None
    assert documents["alone.pdf"].wishes is not None
    assert documents["alone.pdf"].wishes.reference == "alone"
