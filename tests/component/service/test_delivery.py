"""A PDF that is dropped comes back sealed, archived, receipted and on record."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from pypdf import PdfReader
from pypdf.generic import RectangleObject

from running import QUICK, drop, leftovers, quicken, receipt_of, running_daemon, running_service, sha256, unique
from sealdrop.model import CheckName, State
from sealdrop.pipeline.deliver import NAME_MAX_BYTES
from sealdrop.receipt import RECEIPT_SUFFIX
from sealdrop.sandbox import samples
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def _schema(name: str) -> object:
    return json.loads((SCHEMAS / name).read_text())


def test_a_dropped_pdf_comes_back_sealed_archived_and_receipted(
    directory: Path, invoice: bytes, poppler: Callable[[Sequence[str | Path]], str]
) -> None:
    """One drop gives one seal, one deposit, a PDF that poppler calls valid, and a receipt that agrees with it all."""
    with running_service(directory) as (sandbox, running):
        drop(invoice, running.folder().inbound, "2026/Facture no 7.pdf")
        (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED, document.reason_detail
        assert [each.sha256 for each in sandbox.seals()] == [sha256(invoice)]
        assert [each.sha256 for each in sandbox.deposits()] == [sha256(invoice)]
        (deposit,) = sandbox.deposits()
    sealed = running.folder().outbound / "2026" / "Facture no 7.pdf"
    content = sealed.read_bytes()
    assert content.startswith(invoice)
    assert "Signature is Valid" in poppler(["pdfsig", "-nocert", sealed])
    receipt = receipt_of(sealed)
    jsonschema.validate(receipt, _schema("receipt.schema.json"))
    assert receipt["original"] == {
        "name": "2026/Facture no 7.pdf",
        "size_bytes": len(invoice),
        "sha256": sha256(invoice),
    }
    assert receipt["sealed"]["sha256"] == sha256(content)
    assert receipt["remote"]["external_id"] == deposit.external_id
    assert [each["identifier"] for each in receipt["remote"]["archive_ids"]] == [deposit.archive_id]
    assert receipt["remote"]["statuses"][0]["status"] == "SIGN_CREATED"
    assert receipt["remote"]["statuses"][-1]["status"] == "ARCHIVED"
    assert "signedContent" not in json.dumps(receipt["remote"]["last_answer"])
    assert receipt["seal"]["level_found"] == "PAdES_BASELINE_LTA"
    assert receipt["seal"]["certificate"]["organisation"] == "Demo Organisation SAS"
    assert [check["name"] for check in receipt["verification"]["checks"]] == list(CheckName)
    assert {check["outcome"] for check in receipt["verification"]["checks"]} == {"passed"}
    assert receipt["audit"]["first_seq"] < receipt["audit"]["last_seq"]
    assert leftovers(running.config) == []


def test_a_folder_without_archiving_gets_a_plain_seal(directory: Path, invoice: bytes) -> None:
    """The contracts folder asks for level B and no archive: no deposit is made, and the receipt says so."""
    with running_service(directory) as (sandbox, running):
        drop(invoice, running.folder("contracts").inbound, "contract.pdf")
        (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED, document.reason_detail
        assert len(sandbox.seals()) == 1
        assert sandbox.deposits() == ()
    receipt = receipt_of(running.folder("contracts").outbound / "contract.pdf")
    assert receipt["seal"]["level_found"] == "PAdES_BASELINE_B"
    assert receipt["remote"]["archive_ids"] == []
    outcomes = {check["name"]: check["outcome"] for check in receipt["verification"]["checks"]}
    assert outcomes.pop("archive_id") == "not_asked"
    assert set(outcomes.values()) == {"passed"}


def test_unfit_files_come_back_with_their_reason_and_are_never_sent(directory: Path) -> None:
    """An encrypted PDF and a text file come back with a reason for people and one for programs; no seal is made."""
    with running_service(directory) as (sandbox, running):
        drop(samples.encrypted(), running.folder().inbound, "Fiche de paie.pdf")
        drop(samples.not_a_pdf(), running.folder().inbound, "notes.pdf")
        running.wait_until_over(2)
        assert sandbox.seals() == ()
    rejected = running.folder().rejected
    for name, code in (("Fiche de paie.pdf", "ENCRYPTED_USER"), ("notes.pdf", "NOT_PDF")):
        assert (rejected / name).is_file()
        text = (rejected / f"{name}.reason.txt").read_text()
        assert "What you can do" in text
        assert "Ce que vous pouvez faire" in text
        reason = json.loads((rejected / f"{name}.reason.json").read_text())
        jsonschema.validate(reason, _schema("reason.schema.json"))
        assert reason["reason"] == code
        assert reason["outcome"] == "rejected"
    assert leftovers(running.config) == []


def test_an_already_signed_pdf_keeps_its_signature(
    directory: Path, keys: Path, poppler: Callable[[Sequence[str | Path]], str]
) -> None:
    """A signed PDF is sealed on top: both signatures are valid, and the receipt warns of the first."""
    content = samples.already_signed(Pki.ensure(keys))
    with running_service(directory) as (_, running):
        drop(content, running.folder().inbound, "signed.pdf")
        (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED, document.reason_detail
    sealed = running.folder().outbound / "signed.pdf"
    assert poppler(["pdfsig", "-nocert", sealed]).count("Signature is Valid") == 2
    receipt = receipt_of(sealed)
    assert [warning["code"] for warning in receipt["validation"]["warnings"]] == ["ALREADY_SIGNED"]


def _names() -> list[str]:
    """Two hundred names, in sub-folders, with all that people and programs put into names."""
    odd = [
        "facture 1.pdf",
        "facture  avec  espaces .pdf",
        "été à la plage.pdf",
        unicodedata.normalize("NFD", "été décomposé.pdf"),
        'l\'avoir "n° 3".pdf',
        "two\nlines.pdf",
        "tab\tand\rreturn.pdf",
        "back\\slash.pdf",
        "契約書.pdf",
        "PDF",
        "UPPER.PDF",
        "no extension",
        "-rf.pdf",
        "%s%n{}.pdf",
        "$(reboot).pdf",
        "[bold]x[/bold].pdf",
        "x" * (NAME_MAX_BYTES - 9) + ".pdf",
        "é" * 123 + ".pdf",
        "y" * 246 + ".pdf",
    ]
    names = [f"{folder}{name}" for folder in ("", "2026/", "2026/clients ÀÉ/'quoted'/") for name in odd]
    return names + [f"lot {number // 20}/scan {number}.pdf" for number in range(200 - len(names))]


@pytest.mark.timeout(600)
def test_two_hundred_pdfs_at_once_under_all_kinds_of_names(directory: Path, invoice: bytes) -> None:
    """200 PDFs dropped at once are all delivered, each sealed once, each under a name that a person finds again."""
    drops = {name: unique(invoice, number) for number, name in enumerate(_names())}
    assert len({sha256(content) for content in drops.values()}) == 200
    with running_service(directory) as (sandbox, running):
        inbound = running.folder("contracts").inbound
        for name, content in drops.items():
            drop(content, inbound, name)
        documents = running.wait_until_over(200)
        seals = sandbox.seals()
    assert {document.name: document.state for document in documents} == dict.fromkeys(drops, State.DELIVERED)
    assert sorted(each.sha256 for each in seals) == sorted(sha256(content) for content in drops.values())
    outbound = running.folder("contracts").outbound
    for document in documents:
        assert document.published_name is not None
        sealed = outbound / document.published_name
        assert sealed.read_bytes().startswith(drops[document.name])
        assert receipt_of(sealed)["original"]["name"] == document.name
        assert sealed.parent == (outbound / document.name).parent
        if len((sealed.name + RECEIPT_SUFFIX).encode()) < NAME_MAX_BYTES - 10:
            assert document.published_name == document.name
    assert leftovers(running.config) == []


MM = 72 / 25.4
VISIBLE = """
[folders.contracts.seal.visible]
image = "mark.png"
page = 2
corner = "bottom-left"
x_mm = 20
y_mm = 30

[[folders.contracts.seal.visible.lines]]
text = "Sealed by Demo Organisation"
font_size = 9
"""


def test_a_visible_seal_stands_on_the_page_asked_for(directory: Path) -> None:
    """A folder's visible seal reaches the service whole, on page 2, where it was asked for; the receipt says where."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        Image.new("RGB", (120, 50), "navy").save(directory / "mark.png")
        sandbox.config_path.write_text(sandbox.config_path.read_text() + VISIBLE)
        with running_daemon(sandbox.config_path) as running:
            drop(samples.long_report(3), running.folder("contracts").inbound, "seen.pdf")
            (document,) = running.wait_until_over(1)
            assert document.state is State.DELIVERED, document.reason_detail
    reader = PdfReader(running.folder("contracts").outbound / "seen.pdf")
    widgets = [page.get("/Annots") or [] for page in reader.pages]
    assert [len(each) for each in widgets] == [0, 1, 0]
    rectangle = RectangleObject(widgets[1][0].get_object()["/Rect"])
    assert (float(rectangle.left), float(rectangle.bottom)) == pytest.approx((20 * MM, 30 * MM), abs=0.01)
    assert (rectangle.width, rectangle.height) == pytest.approx((120, 50), abs=0.01)
    receipt = receipt_of(running.folder("contracts").outbound / "seen.pdf")
    assert receipt["seal"]["place"]["page"] == 2
    (check,) = (each for each in receipt["verification"]["checks"] if each["name"] == "appearance")
    assert check["outcome"] == "passed"
    assert check["detail"] == "42.3 x 17.6 mm, 20.0 mm from the left and 30.0 mm from the bottom of page 2"


def test_a_service_that_seals_while_we_wait(directory: Path, invoice: bytes) -> None:
    """With mode SYNC the sign call answers SIGNED, and everything else goes as always."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        text = sandbox.config_path.read_text()
        sandbox.config_path.write_text(text.replace("poll_first_s", 'mode = "SYNC"\npoll_first_s'))
        with running_daemon(sandbox.config_path) as running:
            drop(invoice, running.folder().inbound, "now.pdf")
            (document,) = running.wait_until_over(1)
        assert document.state is State.DELIVERED, document.reason_detail
        assert len(sandbox.seals()) == len(sandbox.deposits()) == 1
    statuses = [step.status for step in document.remote.steps]
    assert statuses[:2] == ["SIGN_CREATED", "SIGNED"]


def test_what_the_service_writes_is_not_for_others(directory: Path, invoice: bytes) -> None:
    """State is the service's alone; what it delivers may be read by those who share the folder, and by nobody else."""
    with running_service(directory) as (_, running):
        outbound = running.folder("contracts").outbound
        outbound.chmod(0o2770)
        drop(invoice, running.folder("contracts").inbound, "sub/shared.pdf")
        running.wait_until_over(1)
    for path in (outbound / "sub" / "shared.pdf", outbound / "sub" / "shared.pdf.receipt.json"):
        assert path.stat().st_mode & 0o777 == 0o660
    assert (outbound / "sub").stat().st_mode & 0o777 == 0o770
    state = running.config.service.state_dir
    assert [path for path in state.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []
