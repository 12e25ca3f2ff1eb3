"""Originals that were taken over and may still stand in inbound."""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from documents import FakeClock, document
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.daemon.standing import Standing
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger
from sealdrop.model import Companion, CompanionKind, Document, DocumentId, Event, FileIdentity, Sha256
from sealdrop.pipeline import intake
from sealdrop.spool import Spool

CONTENT = b"%PDF-1.7 content %%EOF"


class Place:
    """An inbound folder with its ledger and spool."""

    def __init__(self, tmp_path: Path, ledger: Ledger) -> None:
        self.inbound = tmp_path / "in"
        self.inbound.mkdir()
        self.spool = Spool(tmp_path / "spool")
        self.spool.root.mkdir()
        self.ledger = ledger
        self.log = KeptLog()
        self.troubles = Troubles("host", ledger, FakeClock(), self.log)
        self.standing = self.started()

    def started(self, name: str = "invoices", folders: Collection[str] = ("invoices",)) -> Standing:
        """Return what a new start knows, of the folder that the place is by now."""
        standing = Standing(name, self.inbound, self.spool, self.ledger, self.troubles, self.log)
        standing.load(subfolders=True, folders=folders)
        return standing

    def taken_over(
        self,
        name: str = "a.pdf",
        *,
        copied: bool = True,
        companions: tuple[Companion, ...] = (),
        folder: str = "invoices",
    ) -> Document:
        """Return a document whose original has just been copied and put on record."""
        path = self.inbound / name
        path.write_bytes(CONTENT)
        new = document(
            name=name,
            folder=folder,
            identity=FileIdentity.of(path.stat()),
            size_bytes=len(CONTENT),
            sha256=Sha256(hashlib.sha256(CONTENT).hexdigest()),
            companions=companions,
        )
        if copied:
            self.spool.make(new.id)
            self.spool.original(new.id).write_bytes(CONTENT)
        return self.ledger.add(new, Event("document_received"))

    def recognised(self, standing: Standing, name: str = "a.pdf") -> bool:
        """Return whether a file is recognised."""
        path = self.inbound / name
        return standing.recognises(path, FileIdentity.of(path.lstat()))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty place."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Place(tmp_path, ledger)


@pytest.mark.parametrize(("dropped_at", "is_known"), [("in", True), ("in/sub", True), (".", True), ("other", False)])
def test_what_another_folder_left_standing_is_recognised(place: Place, dropped_at: str, *, is_known: bool) -> None:
    """A folder that took files from here and was renamed, or has changed places with this one, took this original."""
    place.taken_over(folder="bills")
    place.ledger.keep_places({"main": "https://a"}, {"bills": place.inbound.parent / dropped_at, "letters": Path("/x")})
    place.ledger.keep_places({"main": "https://a"}, {"bills": Path("/elsewhere")})
    assert place.recognised(place.started(folders=("invoices", "bills"))) is is_known
    assert (place.inbound / "a.pdf").exists() is not is_known


def test_an_original_is_removed_and_forgotten(place: Place) -> None:
    """After the removal nothing stands, in the folder or in the ledger, and the same name is free for a new drop."""
    taken = place.taken_over()
    place.standing.remove([taken])
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()
    (place.inbound / "a.pdf").write_bytes(CONTENT)
    assert not place.recognised(place.standing)


def test_a_crash_before_the_removal_is_recognised(place: Place) -> None:
    """The next start knows the original again and removes it."""
    place.taken_over()
    assert place.recognised(place.started())
    assert list(place.inbound.iterdir()) == []


def test_a_share_that_is_mounted_late_is_recognised(place: Place) -> None:
    """At the start the folder was empty; when the file shows up it is the one that was taken over."""
    place.taken_over()
    path, away = place.inbound / "a.pdf", place.inbound.parent / "away.pdf"
    path.rename(away)
    standing = place.started()
    assert len(place.ledger.originals_standing("invoices")) == 1
    away.rename(path)
    assert place.recognised(standing)


def test_an_original_is_recognised_when_its_folder_has_another_name(place: Place) -> None:
    """The folder's name was changed in the configuration while an original stood: it is not taken over once more."""
    place.taken_over()
    standing = place.started("bills", ["bills"])
    assert place.recognised(standing)
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()


def test_companions_are_recognised_when_their_folder_has_another_name(place: Place) -> None:
    """A sidecar that stands beside such an original is removed with it, and becomes that of no other document."""
    beside = place.inbound / "a.pdf.json"
    beside.write_bytes(b"{}")
    digest = Sha256(hashlib.sha256(b"{}").hexdigest())
    place.taken_over(companions=(Companion(CompanionKind.SIDECAR, FileIdentity.of(beside.stat()), digest),))
    standing = place.started("bills", ["bills"])
    assert place.recognised(standing, "a.pdf.json")
    assert place.recognised(standing)
    assert list(place.inbound.iterdir()) == []


def test_another_folders_original_is_not_mistaken_for_a_copy(place: Place) -> None:
    """The same file, dropped into two folders, is two drops: while the first is there, and when it is gone."""
    taken = place.taken_over()
    path = place.inbound / "a.pdf"
    shutil.copy2(path, place.inbound / "copy.pdf")
    both, renamed = place.started("bills", ["bills", "invoices"]), place.started("bills", ["bills"])
    assert not place.recognised(both)
    assert not place.recognised(renamed, "copy.pdf")
    place.ledger.original_removed([taken.id])
    assert not place.recognised(renamed)


@pytest.mark.parametrize("change", [{"device": 999}, {"inode": 999}, {"device": 999, "inode": 999}])
def test_new_numbers_after_a_mount_do_not_hide_it(place: Place, change: dict[str, int]) -> None:
    """Device and inode numbers that changed over a reboot: size, time and content tell that it is the same."""
    taken = place.taken_over()
    known = replace(taken, identity=replace(taken.identity, **change))
    path, away = place.inbound / "a.pdf", place.inbound.parent / "away.pdf"
    path.rename(away)
    place.standing.remove([known])  # not mounted: it is not there
    away.rename(path)
    assert place.recognised(place.standing)
    assert list(place.inbound.iterdir()) == []


def test_a_rename_does_not_hide_it(place: Place) -> None:
    """Under another name, or in a sub-folder, it is still the same file."""
    place.taken_over()
    (place.inbound / "sub").mkdir()
    (place.inbound / "a.pdf").rename(place.inbound / "sub" / "b.pdf")
    assert place.recognised(place.started(), "sub/b.pdf")


def test_another_file_is_another_drop(place: Place) -> None:
    """Same name, size, time and inode, other content: somebody's new document, which stays."""
    taken = place.taken_over()
    path = place.inbound / "a.pdf"
    path.write_bytes(CONTENT.upper())  # even the inode is the old one's
    os.utime(path, ns=(taken.identity.mtime_ns, taken.identity.mtime_ns))
    assert FileIdentity.of(path.stat()) == taken.identity
    assert not place.recognised(place.started())
    assert path.read_bytes() == CONTENT.upper()


def test_without_a_copy_the_original_is_all_there_is(place: Place) -> None:
    """A document under way whose copy is missing or short keeps its original; it is recognised, not removed."""
    taken = place.taken_over(copied=False)
    assert place.recognised(place.started())
    assert (place.inbound / "a.pdf").read_bytes() == CONTENT
    place.spool.make(taken.id)
    place.spool.original(taken.id).write_bytes(CONTENT[:5])
    assert place.recognised(place.started())
    assert (place.inbound / "a.pdf").exists()


def test_one_bad_leftover_does_not_stop_the_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that was cut off and cannot be finished is told of; the start goes on."""
    taken = place.taken_over()
    (place.inbound / "a.pdf").rename(place.inbound / f".sealdrop-{taken.id}.tmp")

    def refuse(*_: object) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr("sealdrop.pipeline.intake.finish_removal", refuse)
    place.started()
    assert len(place.log.events("original_not_removed")) == 1


@pytest.mark.parametrize("name", [b"\xff", b"x", b"20261123-00112233445566zz", b"../a", b""])
def test_a_planted_leftover_does_not_stop_the_start(place: Place, name: bytes) -> None:
    """A file that somebody gave the name of a removal that was cut off, of no document, stays; the start goes on."""
    planted = place.inbound / os.fsdecode(b".sealdrop-" + name.replace(b"/", b"_") + b".tmp")
    planted.write_bytes(CONTENT)
    place.taken_over()
    assert place.recognised(place.started())
    assert list(place.inbound.iterdir()) == [planted]


def test_a_removal_that_is_finished_after_a_crash_is_forgotten(place: Place) -> None:
    """The same file, with the same time, is another drop once the start has finished the removal."""
    taken = place.taken_over()
    path, aside = place.inbound / "a.pdf", place.inbound / f".sealdrop-{taken.id}.tmp"
    path.rename(aside)
    standing = place.started()
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()
    path.write_bytes(CONTENT)
    os.utime(path, ns=(taken.identity.mtime_ns, taken.identity.mtime_ns))
    assert not place.recognised(standing)


@pytest.mark.parametrize("fate", ["stands", "went"])
def test_nothing_is_forgotten_before_its_removal_is_durable(
    place: Place, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """The folder is flushed, or the one above if it went, before the ledger is told; if that fails, it is not told."""
    (place.inbound / "sub").mkdir()
    document = place.taken_over("sub/a.pdf")
    told: list[int | str] = []
    fsync, forget, remove = os.fsync, place.ledger.original_removed, intake.remove_original
    folders = {(place.inbound / "sub").stat().st_ino, place.inbound.stat().st_ino}

    def noted(fd: int) -> None:
        if os.fstat(fd).st_ino in folders:
            told.append(os.fstat(fd).st_ino)
        fsync(fd)

    def removed(*arguments: object) -> intake.Removal:
        removal = remove(*arguments)  # type: ignore[arg-type]
        if fate == "went":
            (place.inbound / "sub").rmdir()
        return removal

    def forgotten(documents: Collection[DocumentId]) -> None:
        told.append("forgotten")
        forget(documents)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(intake, "remove_original", removed)
    monkeypatch.setattr(place.ledger, "original_removed", forgotten)
    expected = (place.inbound / "sub" if fate == "stands" else place.inbound).stat().st_ino
    place.standing.remove([document])
    assert told == [expected, "forgotten"]


def _with_sidecar(place: Place, name: str = "a.pdf", content: bytes = b"{}", device: int | None = None) -> Document:
    """Return a document that has just been put on record with its sidecar; both stand in inbound (on ``device``)."""
    sidecar = place.inbound / f"{name}.json"
    sidecar.write_bytes(content)
    digest = Sha256(hashlib.sha256(content).hexdigest())
    seen = FileIdentity.of(sidecar.stat())
    seen = seen if device is None else replace(seen, device=device)
    came = (Companion(CompanionKind.SIDECAR, seen, digest),)
    return place.taken_over(name, companions=came)


def test_a_companion_goes_before_its_document(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are removed and forgotten, and at no moment does the companion stand alone."""
    taken, alone = _with_sidecar(place), []
    rename = os.rename

    def watching(*args: str, **kwargs: int) -> None:
        rename(*args, **kwargs)
        names = {path.name for path in place.inbound.iterdir()}
        alone.append("a.pdf.json" in names and "a.pdf" not in names)

    monkeypatch.setattr(os, "rename", watching)
    place.standing.remove([taken])
    assert alone == [False, False]
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()


@pytest.mark.parametrize("stands", ["both", "the document", "both, renamed"])
def test_a_crash_before_the_removals_leaves_no_companion(place: Place, stands: str) -> None:
    """The next start removes what still stands, whichever it meets first; what is dropped then is a new file."""
    _with_sidecar(place)
    document_name = "a.pdf"
    if stands == "the document":
        (place.inbound / "a.pdf.json").unlink()
    elif stands == "both, renamed":
        document_name = "b.pdf"
        (place.inbound / "a.pdf").rename(place.inbound / document_name)
    standing = place.started()
    assert place.recognised(standing, document_name)
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()
    (place.inbound / "a.pdf.json").write_bytes(b"{}")
    assert not place.recognised(standing, "a.pdf.json")


@pytest.mark.parametrize("stands", ["both", "the document"])
def test_a_crash_before_the_removals_and_a_new_mount_leave_nothing(place: Place, stands: str) -> None:
    """The device has another number: what is beside an original that stands there is on the same one, or is gone."""
    _with_sidecar(place, device=999)
    if stands == "the document":
        (place.inbound / "a.pdf.json").unlink()
    assert place.recognised(place.started())
    assert list(place.inbound.iterdir()) == []
    assert place.ledger.originals_standing("invoices") == ()
    assert place.log.events("original_not_removed") == []


def test_a_companion_alone_is_known_while_its_document_is_not_known_to_be_gone(place: Place) -> None:
    """Somebody took the document away in that instant: its sidecar is removed, and its document is still recognised."""
    _with_sidecar(place)
    away = place.inbound.parent / "away.pdf"
    (place.inbound / "a.pdf").rename(away)
    standing = place.started()
    assert place.recognised(standing, "a.pdf.json")
    assert list(place.inbound.iterdir()) == []
    away.rename(place.inbound / "a.pdf")
    assert place.recognised(standing)
    assert place.ledger.originals_standing("invoices") == ()


def test_a_name_with_no_room_for_its_companions_ending_keeps_no_original(place: Place) -> None:
    """An original that was renamed so that no sidecar can stand beside it any more is removed all the same."""
    _with_sidecar(place)
    renamed = "b" * 249 + ".pdf"
    (place.inbound / "a.pdf").rename(place.inbound / renamed)
    assert place.recognised(place.started(), renamed)
    assert list(place.inbound.iterdir()) == []


@pytest.mark.parametrize("beside", ["another document", "a copy of the document", "nothing"])
def test_a_sidecar_of_the_same_template_stays_with_its_own_document(place: Place, beside: str) -> None:
    """Same size, time and content as a stuck document's, beside another one: it is neither recognised nor removed."""
    taken = _with_sidecar(place)
    own, other = place.inbound / "a.pdf.json", place.inbound / "b.pdf.json"
    other.write_bytes(own.read_bytes())
    os.utime(other, ns=(own.stat().st_mtime_ns, own.stat().st_mtime_ns))
    if beside != "nothing":
        (place.inbound / "b.pdf").write_bytes(CONTENT.upper() if beside == "another document" else CONTENT)
        modified_ns = taken.identity.mtime_ns + (beside != "another document")
        os.utime(place.inbound / "b.pdf", ns=(modified_ns, modified_ns))
    standing = place.started()
    assert not place.recognised(standing, "b.pdf.json")
    assert place.recognised(standing, "a.pdf.json")
    assert other.exists()


@pytest.mark.parametrize("place_for_it", ["b.pdf", "sub/a.pdf"])
def test_a_companion_that_was_moved_with_its_document_is_still_its_own(place: Place, place_for_it: str) -> None:
    """Under another name, or in a sub-folder, beside what is recognised as the original: removed with it."""
    _with_sidecar(place)
    (place.inbound / "sub").mkdir()
    (place.inbound / "a.pdf").rename(place.inbound / place_for_it)
    (place.inbound / "a.pdf.json").rename(place.inbound / f"{place_for_it}.json")
    standing = place.started()
    assert place.recognised(standing, f"{place_for_it}.json")
    assert place.recognised(standing, place_for_it)
    assert [path.name for path in place.inbound.rglob("*")] == ["sub"]


def test_another_file_of_a_companions_name_stays(place: Place) -> None:
    """A sidecar that was put there since is another's: it is neither recognised nor removed."""
    taken = _with_sidecar(place)
    (place.inbound / "a.pdf.json").write_bytes(b'{"reference": "another"}')
    place.standing.remove([taken])
    assert [path.name for path in place.inbound.iterdir()] == ["a.pdf.json"]
    assert not place.recognised(place.standing, "a.pdf.json")


@pytest.mark.parametrize("is_the_one", [True, False])
def test_a_companions_removal_that_was_cut_off_is_finished(place: Place, is_the_one: bool) -> None:
    """A hidden name with the document's ID and the kind: the companion goes, anything else gets its name back."""
    taken = _with_sidecar(place)
    if not is_the_one:
        (place.inbound / "a.pdf.json").write_bytes(b'{"reference": "another"}')
    (place.inbound / "a.pdf.json").rename(place.inbound / f".sealdrop-{taken.id}.sidecar.tmp")
    place.started()
    left = {"a.pdf"} if is_the_one else {"a.pdf", "a.pdf.json"}
    assert {path.name for path in place.inbound.iterdir()} == left


def test_an_original_that_stays_is_a_trouble_until_it_is_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, also after a restart, however often it is met, and over once a person has removed it."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("sealdrop.pipeline.intake.remove_original", refuse)
    place.standing.remove([place.taken_over()])
    (told,) = place.troubles.present()
    assert told.subject == "folder invoices originals"
    assert "'a.pdf'" in told.text
    assert "Operation not permitted" in told.text
    place.troubles = Troubles("host", place.ledger, FakeClock(), place.log)
    standing = place.started()
    for _ in range(2):
        standing.sweep_begins()
        assert place.recognised(standing)
        standing.sweep_ended()
        assert [each.subject for each in place.troubles.present()] == ["folder invoices originals"]
    (place.inbound / "a.pdf").unlink()
    standing.sweep_begins()
    standing.sweep_ended()
    assert place.troubles.present() == ()
    assert len(place.log.events("originals_gone")) == 1


def test_an_original_that_can_be_removed_at_last_is_no_trouble(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the folder allows it, the original is removed and the trouble is over."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as sticky:
        sticky.setattr("sealdrop.pipeline.intake.remove_original", refuse)
        place.standing.remove([place.taken_over()])
    assert place.troubles.present() != ()
    assert place.recognised(place.standing)
    assert place.troubles.present() == ()
