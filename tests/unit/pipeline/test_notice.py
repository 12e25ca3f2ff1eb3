"""Notices of files that are left in inbound: written once, never over anything else, and only our own are removed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from documents import NOW
from sealdrop.durable import publish_new
from sealdrop.model import Reason
from sealdrop.pipeline import notice as module
from sealdrop.pipeline.notice import put, readable, remove, token_of
from sealdrop.receipt import Notice


def _notice(name: str = "sub/a.pdf", reason: Reason = Reason.SYMLINK) -> Notice:
    token = token_of("invoices", name)
    return Notice(folder="invoices", name=readable(name), token=token, reason=reason, detail="x", seen_at=NOW)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_notice_is_written_once(tmp_path: Path) -> None:
    """The same reason again changes nothing; another reason takes its place, under the same name."""
    assert put(tmp_path, _notice())
    before = _files(tmp_path)
    assert sorted(before) == ["sub/a.pdf.reason.json", "sub/a.pdf.reason.txt"]
    assert not put(tmp_path, _notice())
    assert _files(tmp_path) == before
    assert put(tmp_path, _notice(reason=Reason.HARD_LINK))
    assert sorted(_files(tmp_path)) == sorted(before)
    assert json.loads((tmp_path / "sub" / "a.pdf.reason.json").read_text())["reason"] == "HARD_LINK"
    remove(tmp_path, "sub/a.pdf", _notice().token)
    remove(tmp_path, "sub/a.pdf", _notice().token)
    assert _files(tmp_path) == {}


def _file(path: Path) -> None:
    path.write_bytes(b"theirs")


def _link(path: Path) -> None:
    path.symlink_to("nowhere")


def _notice_of_another(path: Path) -> None:
    path.write_bytes(module.to_bytes(_notice("sub/b.pdf")))


@pytest.mark.parametrize("suffix", [".reason.txt", ".reason.json"])
@pytest.mark.parametrize("theirs", [_file, _link, Path.mkdir, os.mkfifo, _notice_of_another])
def test_what_is_not_ours_stays(tmp_path: Path, theirs: Callable[[Path], None], suffix: str) -> None:
    """Whatever stands under either name stays; the notice gets a digest, and is found under it again."""
    (tmp_path / "sub").mkdir()
    taken = tmp_path / "sub" / f"a.pdf{suffix}"
    theirs(taken)
    before = os.lstat(taken)
    assert put(tmp_path, _notice())
    assert not put(tmp_path, _notice())
    names = {path.name for path in (tmp_path / "sub").iterdir()} - {taken.name}
    tagged = f"a-{_notice().token[:8]}.pdf"
    assert names == {f"{tagged}.reason.txt", f"{tagged}.reason.json"}
    remove(tmp_path, "sub/a.pdf", _notice().token)
    assert list((tmp_path / "sub").iterdir()) == [taken]
    after = os.lstat(taken)
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize(
    "name",
    ["é" * 127, "x" * 251 + ".pdf", "/".join(["d" * 200] * 30) + "/a.pdf", os.fsdecode(b"\xe9" * 255), "a\nb\x1b.pdf"],
    ids=["255 bytes", "255 with ending", "too deep", "not UTF-8", "control characters"],
)
def test_every_name_gets_a_notice(tmp_path: Path, name: str) -> None:
    """However long, deep or odd a file's name is, its notice can be written, found and removed."""
    assert put(tmp_path, _notice(name))
    assert not put(tmp_path, _notice(name))
    (path,) = tmp_path.rglob("*.reason.json")
    assert json.loads(path.read_text())["name"] == readable(name)
    assert "\x1b" not in path.with_name(path.name.removesuffix("json") + "txt").read_text()
    remove(tmp_path, name, token_of("invoices", name))
    assert _files(tmp_path) == {}


def test_a_sub_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    """Where a file or a link stands in the sub-folder's place, the notice stands at the top; nothing is followed."""
    (tmp_path / "rejected").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "rejected" / "sub").symlink_to(tmp_path / "outside")
    assert put(tmp_path / "rejected", _notice())
    assert not put(tmp_path / "rejected", _notice())
    assert list((tmp_path / "outside").iterdir()) == []
    assert len(_files(tmp_path / "rejected")) == 2


def test_a_notice_that_was_cut_off_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If we crash between its two files, the next time both stand, under the same name."""
    written = []

    def cut_off(content: bytes, final: Path, *, tag: str) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(final)
        publish_new(content, final, tag=tag)

    with monkeypatch.context() as crashing:
        crashing.setattr(module, "publish_new", cut_off)
        with pytest.raises(KeyboardInterrupt):
            put(tmp_path, _notice())
    assert sorted(_files(tmp_path)) == ["sub/a.pdf.reason.txt"]
    assert put(tmp_path, _notice())
    assert sorted(_files(tmp_path)) == ["sub/a.pdf.reason.json", "sub/a.pdf.reason.txt"]


def test_when_every_name_is_taken_that_is_said(tmp_path: Path) -> None:
    """Nothing is overwritten even then."""
    for name in ("sub/a.pdf", f"sub/a-{_notice().token[:8]}.pdf", f"a-{_notice().token[:8]}.pdf"):
        path = tmp_path / f"{name}.reason.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        put(tmp_path, _notice())
    assert set(_files(tmp_path).values()) == {b"theirs"}
