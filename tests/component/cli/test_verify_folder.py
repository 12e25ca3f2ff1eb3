"""`sealdrop verify FOLDER`: what does not agree between PDFs, receipts and the audit trail."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command import Ended, sealdrop
from running import Running, drop, running_service, unique
from sealdrop.cli import verify_folder as verify_module
from sealdrop.cli.receipts import Against
from sealdrop.cli.verify_folder import verify_folder
from sealdrop.receipt import Receipt, read_receipt
from sealdrop.sandbox import samples

NAMES = ("a.pdf", "b.pdf", "sub/c.pdf", "sub/d.pdf")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Running:
    """What a run left behind: four documents delivered."""
    directory = tmp_path_factory.mktemp("left") / "sandbox"
    shutil.copytree(keys / "pki", directory / "pki")
    with running_service(directory) as (_, running):
        for number, name in enumerate(NAMES):
            drop(unique(samples.invoice(), number), running.folder().inbound, name)
        running.wait_until_over(len(NAMES))
    return running


@pytest.fixture
def outbound(left: Running, tmp_path: Path) -> Path:
    """A copy of what was delivered, to tamper with."""
    return shutil.copytree(left.folder().outbound, tmp_path / "copy")


def _verify(left: Running, folder: Path, *more: str | Path) -> Ended:
    trail = left.config.service.state_dir / "audit"
    trust = left.config.accounts["sandbox"].trust_anchors[0]
    return sealdrop("verify", folder, "--trail", trail, "--trust", trust, "--json", *more)


def _found(ended: Ended) -> set[tuple[str, str]]:
    return {(finding["kind"], finding["file"]) for finding in ended.json()["findings"]}


def test_what_was_delivered_agrees_with_everything(left: Running) -> None:
    """All that a run left is valid and on record; the configuration says where the trail and the anchors are."""
    ended = sealdrop("verify", left.folder().outbound, "--config", left.config.source, "--json")
    assert ended.code == 0, ended
    found = ended.json()
    assert (found["ok"], found["pdfs"], found["receipts"], found["valid"]) == (True, 4, 4, 4)
    assert found["trail"]["ok"]
    text = sealdrop("verify", left.folder().outbound, "--config", left.config.source)
    assert "All valid, and all agree: 4 PDF(s) and 4 receipt(s)" in text.out


def test_a_folder_below_is_asked_for_its_own_only(left: Running, outbound: Path) -> None:
    """Of a sub-folder, the deliveries of its neighbours are not missing."""
    assert _verify(left, outbound / "sub").code == 0
    (outbound / "sub" / "c.pdf").unlink()
    (outbound / "sub" / "c.pdf.receipt.json").unlink()
    assert _found(_verify(left, outbound / "sub")) == {("missing_here", "sub/c.pdf")}


def _remove_pdf(folder: Path) -> None:
    (folder / "a.pdf").unlink()


def _remove_receipt(folder: Path) -> None:
    (folder / "a.pdf.receipt.json").unlink()


def _remove_both(folder: Path) -> None:
    _remove_pdf(folder)
    _remove_receipt(folder)


def _change_pdf(folder: Path) -> None:
    content = bytearray((folder / "a.pdf").read_bytes())
    content[100] ^= 1
    (folder / "a.pdf").write_bytes(content)


def _change_receipt(folder: Path) -> None:
    path = folder / "a.pdf.receipt.json"
    content = json.loads(path.read_text())
    content["sealed"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))


def _break_receipt(folder: Path) -> None:
    (folder / "a.pdf.receipt.json").write_text("{}")


def _invent_document(folder: Path) -> None:
    path = folder / "a.pdf.receipt.json"
    content = json.loads(path.read_text())
    content["document"] = "20200101-0000000000000000"
    path.write_text(json.dumps(content))


def _copy(folder: Path) -> None:
    shutil.copy(folder / "a.pdf", folder / "z.pdf")
    shutil.copy(folder / "a.pdf.receipt.json", folder / "z.pdf.receipt.json")


def _add_stranger(folder: Path) -> None:
    (folder / "z.pdf").write_bytes(samples.invoice())


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (_remove_pdf, {("no_pdf", "a.pdf.receipt.json"), ("missing_here", "a.pdf")}),
        (_remove_receipt, {("no_receipt", "a.pdf"), ("missing_here", "a.pdf")}),
        (_remove_both, {("missing_here", "a.pdf")}),
        (_change_pdf, {("not_valid", "a.pdf"), ("disagrees", "a.pdf")}),
        (_change_receipt, {("disagrees", "a.pdf"), ("trail_disagrees", "a.pdf")}),
        (_break_receipt, {("bad_receipt", "a.pdf"), ("missing_here", "a.pdf")}),
        (_invent_document, {("not_in_trail", "a.pdf"), ("missing_here", "a.pdf")}),
        (_copy, {("same_document", "z.pdf")}),
        (_add_stranger, {("no_receipt", "z.pdf"), ("not_valid", "z.pdf")}),
    ],
)
def test_what_does_not_agree_is_listed(
    left: Running, outbound: Path, tamper: Callable[[Path], None], expected: set[tuple[str, str]]
) -> None:
    """Each way in which a PDF, a receipt and the trail can differ is found, by its kind and file, and nothing else."""
    tamper(outbound)
    ended = _verify(left, outbound)
    assert ended.code == 1
    assert _found(ended) == expected, ended.out


def test_a_trail_that_is_not_whole_is_told(left: Running, outbound: Path, tmp_path: Path) -> None:
    """Documents are held against a trail whose own chain was checked."""
    trail = shutil.copytree(left.config.service.state_dir / "audit", tmp_path / "audit")
    (path,) = trail.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    ended = sealdrop("verify", outbound, "--trail", trail, "--json")
    assert ended.code == 1
    assert ("trail_broken", "") in _found(ended)


def test_people_read_what_does_not_agree(left: Running, outbound: Path) -> None:
    """Without --json there is a line for each, and a sum."""
    _remove_both(outbound)
    ended = sealdrop("verify", outbound, "--trail", left.config.service.state_dir / "audit")
    assert ended.code == 1
    assert "✗ a.pdf: missing_here document " in ended.out
    assert "1 thing(s) do not agree: 3 PDF(s) and 3 receipt(s)" in " ".join(ended.out.split())


def test_a_folder_with_nothing_to_verify_is_not_called_valid(left: Running, tmp_path: Path) -> None:
    """It may be the wrong one. Only of an outbound folder that the trail has no delivery for is that the answer."""
    (tmp_path / "notes.txt").write_text("no PDF")
    for more in ((), ("--config", left.config.source)):
        assert _found(_verify(left, tmp_path, *more)) == {("nothing_here", "")}
    ended = sealdrop("verify", tmp_path)
    assert ended.code == 1
    assert "nothing_here no sealed PDF and no receipt: nothing was verified" in ended.out
    ended = sealdrop("verify", left.folder("contracts").outbound, "--config", left.config.source)
    assert ended.code == 0
    assert "No sealed PDF is here, and by the audit trail none was delivered: 0 PDF(s)" in ended.out


@pytest.mark.parametrize("option", ["--receipt", "--trail"])
def test_what_makes_no_sense_is_said(left: Running, outbound: Path, option: str) -> None:
    """A receipt is a file's, a trail a folder's."""
    what, value = (
        (outbound, outbound / "a.pdf.receipt.json") if option == "--receipt" else (outbound / "a.pdf", outbound)
    )
    assert sealdrop("verify", what, option, value).code == 2
    assert left.folder().outbound.exists()


def _in_process(capsys: pytest.CaptureFixture[str], folder: Path, trail: Path | None) -> set[tuple[str, str]]:
    """Verify here, where a test can come in between; return what was found."""
    whole = verify_folder(folder, Against((), None, None), trail, as_json=True)
    found = {(each["kind"], each["file"]) for each in json.loads(capsys.readouterr().out)["findings"]}
    assert whole == (not found)
    return found


@pytest.mark.parametrize("denied", ["sub", ""])
def test_a_folder_that_cannot_be_listed_is_told(
    outbound: Path, denied: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody could look at does not count as well, be it a folder below or the whole."""
    scan = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path) == outbound / denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)  # permissions say nothing to root
    assert _in_process(capsys, outbound, None) == {("not_examined", denied)}


def test_what_is_delivered_meanwhile_is_not_missing(
    left: Running, outbound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service goes on while thousands of PDFs are read: what came after the folder was listed need not be there."""
    trail = shutil.copytree(left.config.service.state_dir / "audit", tmp_path / "audit")
    (path,) = trail.iterdir()
    whole = path.read_bytes()
    newest = whole.rindex(b"\n", 0, whole.rindex(b'"event":"document_delivered"')) + 1
    name = json.loads(whole[newest:].splitlines()[0])["data"]["published_name"]
    for each in (name, f"{name}.receipt.json"):
        (outbound / each).unlink()
    assert _in_process(capsys, outbound, trail) == {("missing_here", name)}
    path.write_bytes(whole[:newest])

    def read(content: bytes) -> Receipt:
        path.write_bytes(whole)
        return read_receipt(content)

    monkeypatch.setattr(verify_module, "read_receipt", read)
    assert _in_process(capsys, outbound, trail) == set()
