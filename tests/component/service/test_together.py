"""What folders' settings make of each other: each is tested by itself elsewhere."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command import sealdrop
from disks import prepared, service
from running import drop, leftovers, receipt_of, running_daemon, sha256, until
from sealdrop.daemon import clocktrust
from sealdrop.model import State
from sealdrop.sandbox.faults import Operation, SealFault

ALL = (
    "folders.contracts",
    """\
duplicates = "deliver-again"
processed = "contracts/processed"
sidecar = "optional"
checksum = "optional"
outbound_name = "{date:%Y}/{stem} {short_id}"
keep_failed_days = 0.00002""",
)
VISIBLE = (
    "folders.contracts.seal",
    'visible = { width_mm = 60, height_mm = 20, lines = [{ text = "{reference}" }] }',
)


def test_a_copy_that_is_delivered_again_has_its_own_original_kept(directory: Path, invoice: bytes) -> None:
    """Two drops, one seal: each has a receipt, its sidecar's words and its original; and a check of it all agrees."""
    with service(directory, tables=[ALL, VISIBLE]) as (sandbox, running):
        folder = running.folder("contracts")
        for number, name in enumerate(("first", "sub/second"), 1):
            drop(json.dumps({"reference": name}).encode(), folder.inbound, f"{name}.pdf.json")
            drop(sha256(invoice).encode(), folder.inbound, f"{name}.pdf.sha256")
            drop(invoice, folder.inbound, f"{name}.pdf")
            running.wait_until_over(number)
        assert {each.state for each in running.over()} == {State.DELIVERED}
        assert len(sandbox.seals()) == 1
        assert folder.processed is not None
        for name in ("first", "sub/second"):
            assert (folder.processed / f"{name}.pdf").read_bytes() == invoice
            assert (folder.processed / f"{name}.pdf.json").is_file()
        for document in running.over():
            receipt = receipt_of(folder.outbound / str(document.published_name))
            assert receipt["version"] == 3
            assert receipt["sidecar"]["reference"] == document.name.removesuffix(".pdf")
            assert receipt["checksum"]["sha256"] == sha256(sha256(invoice).encode()), (
                "that of the file that came with it"
            )
            assert receipt["seal"]["place"]["page"] == 1
    for place in (folder.outbound, folder.outbound / f"{datetime.now(UTC):%Y}"):
        checked = sealdrop("verify", place, "--config", running.config.source)
        assert checked.code == 0, checked.out
    for place in (folder.processed, folder.processed / "sub"):
        refused = sealdrop("verify", place, "--config", running.config.source)
        assert refused.code == 2
        assert "originals stand in the processed folder of contracts" in " ".join(refused.err.replace("│", " ").split())
    original = sealdrop("audit", "show", "--config", running.config.source, "--digest", sha256(invoice))
    assert "processed folder" in original.out
    assert leftovers(running.config) == []


def test_a_failed_document_that_expired_is_dropped_again_and_sealed(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its retry is refused with what to do; the same file dropped again is no duplicate, for nothing was sealed."""
    monkeypatch.setattr(clocktrust, "SETTLE_S", 0.0)  # a clock is trusted at once
    with prepared(directory, tables=[ALL]) as sandbox:
        with running_daemon(sandbox.config_path) as running:
            folder = running.folder("contracts")
            sandbox.faults.add(SealFault.SIGN_FAILED, Operation.ANY)
            drop(b'{"reference": "kept"}', folder.inbound, "again.pdf.json")
            drop(invoice, folder.inbound, "again.pdf")
            (failed,) = running.wait_until_over(1)
            assert failed.state is State.FAILED
            assert failed.kept_until is not None
        with running_daemon(sandbox.config_path) as running:
            until(lambda: not list(folder.failed.iterdir()))
            refused = sealdrop("retry", failed.id, "--config", sandbox.config_path)
            assert refused.code == 1
            assert "drop the document again" in refused.out + refused.err
            drop(invoice, folder.inbound, "again.pdf")
            running.wait_for(lambda: any(each.state is State.DELIVERED for each in running.over()))
            assert len(sandbox.seals()) == 1
    shown = sealdrop("audit", "show", "--config", running.config.source).out
    for event in ("original_kept", "original_expired"):
        assert event in shown
