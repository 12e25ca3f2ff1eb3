"""The same content dropped again is dealt with by the folder's rule, whenever the second copy comes."""

import json
import threading
from pathlib import Path

import pytest

from command import sealdrop
from running import Running, drop, leftovers, quicken, receipt_of, running_daemon, running_service, sha256, unique
from sealdrop.model import Document, Reason, State
from sealdrop.sandbox.faults import Operation, SealFault
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays


def _set_rule(directory: Path, rule: str) -> None:
    """Give both folders of the sandbox's configuration a rule."""
    config = directory / "sealdrop.toml"
    config.write_text(config.read_text().replace("settle_s = ", f'duplicates = "{rule}"\nsettle_s = '))


def _by_name(running: Running, name: str) -> Document:
    (found,) = (document for document in running.over() if document.name == name)
    return found


def _reason(running: Running, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((running.folder().rejected / f"{name}.reason.json").read_text())
    return content


def test_a_copy_is_rejected_and_told_of_the_earlier_document(directory: Path, invoice: bytes) -> None:
    """By default the second drop is rejected with the earlier one's name, date, ID and archive identifier; one seal."""
    with running_service(directory) as (sandbox, running):
        drop(invoice, running.folder().inbound, "first.pdf")
        running.wait_until_over(1)
        drop(invoice, running.folder().inbound, "sub/second.pdf")
        running.wait_until_over(2)
        first, second = _by_name(running, "first.pdf"), _by_name(running, "sub/second.pdf")
        assert (second.state, second.reason) == (State.REJECTED, Reason.DUPLICATE)
        (archived,) = first.remote.archive_ids
        for told in ("'first.pdf'", first.id, archived.identifier, f"{first.received_at:%Y-%m-%d}"):
            assert told in str(_reason(running, "sub/second.pdf")["detail"])
        text = (running.folder().rejected / "sub" / "second.pdf.reason.txt").read_text()
        assert "The same document was dropped here before" in text
        assert "Le même document a déjà été déposé ici" in text
        assert len(sandbox.seals()) == len(sandbox.deposits()) == 1
    assert leftovers(running.config) == []


def test_copies_of_one_instant_give_one_seal(directory: Path, invoice: bytes) -> None:
    """Twenty copies that arrive together, while none is sealed yet: one is sealed, the others name it."""
    with running_service(directory, delays=Delays(sign_s=0.5)) as (sandbox, running):
        inbound = running.folder().inbound
        together = threading.Barrier(20)

        def copy(number: int) -> None:
            together.wait()
            drop(invoice, inbound, f"{number}.pdf")

        copiers = [threading.Thread(target=copy, args=(number,)) for number in range(20)]
        for copier in copiers:
            copier.start()
        for copier in copiers:
            copier.join()
        running.wait_until_over(20)
        states = sorted(document.state for document in running.over())
        assert states == [State.DELIVERED] + [State.REJECTED] * 19
        (sealed,) = (document for document in running.over() if document.state is State.DELIVERED)
        rejected = [document for document in running.over() if document.state is State.REJECTED]
        assert all(document.reason is Reason.DUPLICATE for document in rejected)
        assert all(sealed.id in (document.reason_detail or "") for document in rejected)
        assert len(sandbox.seals()) == len(sandbox.deposits()) == 1
    assert leftovers(running.config) == []


def test_the_earlier_seal_is_delivered_again(directory: Path, invoice: bytes) -> None:
    """With `deliver-again` the second drop gets the same sealed PDF and a receipt that names the earlier document."""
    with Sandbox.start(directory) as sandbox:
        quicken(sandbox.config_path)
        _set_rule(directory, "deliver-again")
        with running_daemon(sandbox.config_path) as running:
            for number in (1, 2, 3):
                drop(invoice, running.folder().inbound, f"{number}.pdf")
                running.wait_until_over(number)
            assert {document.state for document in running.over()} == {State.DELIVERED}
            first = _by_name(running, "1.pdf")
            assert len(sandbox.seals()) == len(sandbox.deposits()) == 1
        outbound = running.folder().outbound
        contents = {(outbound / f"{number}.pdf").read_bytes() for number in (1, 2, 3)}
        assert len(contents) == 1
        receipt = receipt_of(outbound / "3.pdf")
        assert receipt["duplicate_of"]["document"] == first.id
        assert receipt["remote"]["archive_ids"] == receipt_of(outbound / "1.pdf")["remote"]["archive_ids"]
        assert receipt_of(outbound / "1.pdf")["duplicate_of"] is None
        checked = sealdrop("verify", "--config", sandbox.config_path, outbound / "3.pdf")
        assert checked.code == 0, checked.out
    assert leftovers(running.config) == []


def test_a_seal_that_is_being_made_is_delivered_to_both(directory: Path, invoice: bytes) -> None:
    """With `deliver-again` a copy that comes while the first is being sealed waits for that seal."""
    with Sandbox.start(directory, delays=Delays(sign_s=1.0)) as sandbox:
        quicken(sandbox.config_path)
        _set_rule(directory, "deliver-again")
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder().inbound, "first.pdf")
            running.wait_for(lambda: any(each.state is State.SEALING for each in running.documents.values()))
            drop(invoice, running.folder().inbound, "second.pdf")
            running.wait_until_over(2)
        assert {document.state for document in running.over()} == {State.DELIVERED}
        assert len(sandbox.seals()) == 1


def test_another_seal_is_made_where_that_is_wanted(directory: Path, invoice: bytes) -> None:
    """With `seal-again` each drop is sealed and deposited for itself."""
    with Sandbox.start(directory) as sandbox:
        quicken(sandbox.config_path)
        _set_rule(directory, "seal-again")
        with running_daemon(sandbox.config_path) as running:
            for number in (1, 2):
                drop(invoice, running.folder().inbound, f"{number}.pdf")
            running.wait_until_over(2)
        assert [seal.sha256 for seal in sandbox.seals()] == [sha256(invoice)] * 2
        assert len(sandbox.deposits()) == 2


def test_another_folder_has_its_own_documents(directory: Path, invoice: bytes) -> None:
    """The same content in two folders is two documents."""
    with running_service(directory) as (sandbox, running):
        drop(invoice, running.folder("invoices").inbound, "one.pdf")
        drop(invoice, running.folder("contracts").inbound, "one.pdf")
        assert {document.state for document in running.wait_until_over(2)} == {State.DELIVERED}
        assert len(sandbox.seals()) == 2


@pytest.fixture(params=[SealFault.SIGN_FAILED, SealFault.WRONG_DOCUMENT])
def failure(request: pytest.FixtureRequest) -> SealFault:
    """A failure without a seal, and one with a seal that cannot be handed out."""
    fault: SealFault = request.param
    return fault


def test_what_failed_may_be_dropped_again_unless_it_was_sealed(
    directory: Path, invoice: bytes, failure: SealFault
) -> None:
    """After a failure without a seal the same file is tried again; after one with a seal it is not billed twice."""
    with running_service(directory) as (sandbox, running):
        sandbox.faults.add(failure, Operation.ANY)
        drop(invoice, running.folder().inbound, "first.pdf")
        running.wait_until_over(1)
        drop(invoice, running.folder().inbound, "again.pdf")
        running.wait_until_over(2)
        first, again = _by_name(running, "first.pdf"), _by_name(running, "again.pdf")
        assert first.state is State.FAILED
        if failure is SealFault.SIGN_FAILED:
            assert again.state is State.DELIVERED
        else:
            assert (again.state, again.reason) == (State.REJECTED, Reason.DUPLICATE)
            assert f"sealdrop retry {first.id}" in (again.reason_detail or "")
        assert len(sandbox.seals()) == 1


def test_what_was_rejected_may_be_dropped_again(directory: Path, invoice: bytes) -> None:
    """A rejected file that comes again is judged again, for its own fault."""
    with running_service(directory) as (_, running):
        for number in (1, 2):
            drop(b"no PDF at all", running.folder().inbound, f"{number}.pdf")
            running.wait_until_over(number)
        assert {document.reason for document in running.over()} == {Reason.NOT_PDF}
        drop(unique(invoice, 1), running.folder().inbound, "good.pdf")
        running.wait_until_over(3)
