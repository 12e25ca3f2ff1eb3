"""Where the durable copies stand."""

import os
from pathlib import Path

import pytest

from documents import DIGEST
from sealdrop import spool as module
from sealdrop.model import DocumentId
from sealdrop.spool import Spool

ID = DocumentId("20261123-00112233aabbccdd")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path)


def test_every_path_follows_from_the_id(spool: Spool, tmp_path: Path) -> None:
    """A document's files stand in a folder of its own, in one of 256."""
    assert spool.original(ID) == tmp_path / "dd" / ID / "original.pdf"
    assert spool.sealed(ID, DIGEST) == tmp_path / "dd" / ID / "sealed-abababababababab.pdf"
    assert spool.sealed(ID, None).parent == spool.folder(ID)


def test_two_answers_never_share_a_file(spool: Spool) -> None:
    """What is on its way from the service has a path of its own, whoever else is asking."""
    assert spool.answer(ID) != spool.answer(ID)
    assert spool.answer(ID).parent == spool.folder(ID)


def test_a_folder_is_for_the_service_alone_and_durable(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may look into it, whatever the umask; all the names on the way to it are flushed."""
    flushed: list[int] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        flushed.append(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    before = os.umask(0)
    try:
        folder = spool.make(ID)
        spool.make_durable([ID])
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert flushed == [each.stat().st_ino for each in (folder, folder.parent, tmp_path)]


def test_the_folder_above_is_flushed_even_if_it_was_there(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may have come between making it and making it durable."""
    (tmp_path / "dd").mkdir()
    flushed: list[Path] = []
    monkeypatch.setattr(module, "fsync_folder", flushed.append)
    spool.make(ID)
    spool.make_durable([ID])
    assert tmp_path in flushed


def test_what_several_documents_share_is_flushed_once(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of documents that are taken together, each has its own folder flushed, and what is above them is only once."""
    flushed: list[Path] = []
    monkeypatch.setattr(module, "fsync_folder", flushed.append)
    together = [ID, DocumentId("20261123-99112233aabbccdd")]
    for document in together:
        spool.make(document)
    spool.make_durable(together)
    assert flushed == [*map(spool.folder, together), tmp_path / "dd", tmp_path]
    flushed.clear()
    spool.make_durable([ID])
    assert flushed == [spool.folder(ID), tmp_path / "dd"]  # nobody ever removes what is above


def test_what_is_removed_is_gone_and_may_be_gone_before(spool: Spool) -> None:
    """Removing takes all of a document's files, and no other's; doing it again is no fault."""
    other = DocumentId("20261123-99112233aabbccdd")
    for document in (ID, other):
        spool.make(document)
        spool.original(document).write_bytes(b"x")
    spool.remove(ID)
    spool.remove(ID)
    assert list(spool.documents()) == [other]
    assert spool.original(other).exists()


def test_only_documents_are_listed(spool: Spool, tmp_path: Path) -> None:
    """What else lies there, like a file system's own folder, is not taken for a document, nor for one of ours."""
    spool.make(ID)
    (tmp_path / "lost+found" / "#123").mkdir(parents=True)
    (tmp_path / "dd" / "notes").mkdir()
    (tmp_path / "ab" / ID).mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    assert list(spool.documents()) == [ID]
