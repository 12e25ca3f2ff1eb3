"""Why files are left in inbound: told once for each state, also across restarts and cut-off writes."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import FakeClock
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.daemon import complaints as module
from sealdrop.daemon.complaints import PAUSE_S, Complaints
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger
from sealdrop.model import FileIdentity, Reason
from sealdrop.receipt import Notice


class Place:
    """An inbound folder whose complaints can be started anew."""

    def __init__(self, directory: Path, ledger: Ledger) -> None:
        self.inbound, self.rejected, self.state = (directory / name for name in ("in", "rejected", "state"))
        for folder in (self.inbound, self.rejected, self.state):
            folder.mkdir()
        self.clock, self.log = FakeClock(), KeptLog()
        self.troubles = Troubles("host", ledger, self.clock, self.log)

    def start(self) -> Complaints:
        """Return what a new run knows."""
        place = Complaints("invoices", self.inbound, self.rejected, self.state, self.troubles, self.clock, self.log)
        place.load()
        return place

    def link(self, name: str = "a.pdf") -> Path:
        """Return a link in inbound."""
        path = self.inbound / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("nowhere")
        return path

    def notices(self) -> list[str]:
        """Return the names of the notices that are complete."""
        return sorted(path.name for path in self.rejected.rglob("*.reason.json"))

    def told(self) -> int:
        """Return how often the log said that a file is not taken."""
        return len(self.log.events("file_not_taken"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place on a real ledger."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Place(tmp_path, ledger)


def _tell(complaints: Complaints, path: Path, reason: Reason = Reason.SYMLINK) -> None:
    complaints.tell(path, reason, "x", FileIdentity.of(os.lstat(path)))


def _settle(complaints: Complaints) -> None:
    while complaints.settle():
        pass


def test_each_state_is_told_once_across_restarts(place: Place) -> None:
    """The same state again says nothing; a changed one is logged anew; another reason replaces the notice."""
    path, complaints = place.link(), place.start()
    for _ in range(2):
        for _ in range(3):
            _tell(complaints, path)
            _settle(complaints)
        assert (place.told(), place.notices()) == (1, ["a.pdf.reason.json"])
        complaints = place.start()
    path.unlink()
    path.symlink_to("somewhere else")
    _tell(complaints, path)
    assert place.told() == 2
    _tell(complaints, path, Reason.HARD_LINK)
    _settle(complaints)
    assert place.told() == 3
    assert place.notices() == ["a.pdf.reason.json"]


@pytest.mark.parametrize("end", ["taken", "gone", "gone while stopped", "gone with its folder"])
def test_a_notice_goes_with_its_file(place: Place, end: str) -> None:
    """When the file was taken or is not there any more, also since a restart, its notice goes."""
    path, complaints = place.link("sub/a.pdf"), place.start()
    _tell(complaints, path)
    _settle(complaints)
    assert place.notices() == ["a.pdf.reason.json"]
    complaints.sweep_begins()
    if end == "taken":
        complaints.taken("sub/a.pdf")
    else:
        path.unlink()
        if end == "gone with its folder":
            path.parent.rmdir()
        if end == "gone while stopped":
            complaints = place.start()
            complaints.sweep_begins()
        complaints.sweep_ended()
    _settle(complaints)
    assert place.notices() == []
    assert place.start()._told == {}


def test_what_a_crash_cut_off_is_done_by_the_next_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before a notice was written, or while the line about it was, the next run writes or removes it."""
    first, second = place.link("a.pdf"), place.link("b.pdf")
    complaints = place.start()
    _tell(complaints, first)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(module.notice, "put", crash)
        with pytest.raises(KeyboardInterrupt):
            complaints.settle()
    kept = place.state / "notices" / "invoices.jsonl"
    with kept.open("ab") as file:
        file.write(b'{"name": "b.p')
    complaints = place.start()
    _settle(complaints)
    assert place.notices() == ["a.pdf.reason.json"]
    _tell(complaints, second)
    _settle(complaints)
    assert len(place.start()._told) == 2, "a line was added to the one that was cut off"


def test_a_rejected_folder_that_is_gone_is_told_and_written_to_later(place: Place) -> None:
    """Notices wait while they cannot be written, and nothing else does."""
    complaints = place.start()
    place.rejected.rmdir()
    _tell(complaints, place.link())
    _settle(complaints)
    assert [trouble.subject for trouble in place.troubles.present()] == ["folder invoices notices"]
    place.rejected.mkdir()
    assert not complaints.settle()
    assert place.notices() == [], "tried again at once"
    place.clock.go(PAUSE_S)
    _settle(complaints)
    assert place.notices() == ["a.pdf.reason.json"]
    assert place.troubles.present() == ()


def test_a_notice_that_cannot_be_written_keeps_no_other_waiting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails is told of and tried again in a while, behind the others; so is one that cannot be removed."""
    put, remove, refused = module.notice.put, module.notice.remove, {"bad.pdf"}

    def picky_put(rejected: Path, new: Notice) -> bool:
        if new.name in refused:
            raise PermissionError(errno.EACCES, "Permission denied")
        return put(rejected, new)

    def picky_remove(rejected: Path, name: str, token: str) -> None:
        if name in refused:
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(rejected, name, token)

    monkeypatch.setattr(module.notice, "put", picky_put)
    monkeypatch.setattr(module.notice, "remove", picky_remove)
    monkeypatch.setattr(module, "BATCH", 1)
    complaints = place.start()
    for name in ("a.pdf", "bad.pdf", "c.pdf"):
        _tell(complaints, place.link(name))
    _settle(complaints)
    place.clock.go(PAUSE_S)
    _settle(complaints)
    assert place.notices() == ["a.pdf.reason.json", "c.pdf.reason.json"]
    assert [trouble.subject for trouble in place.troubles.present()] == ["folder invoices notices"]
    refused.clear()
    place.clock.go(PAUSE_S)
    _settle(complaints)
    assert len(place.notices()) == 3
    assert place.troubles.present() == ()
    refused.add("a.pdf")
    complaints.taken("a.pdf")
    complaints.taken("c.pdf")
    for _ in range(2):
        _settle(complaints)
        place.clock.go(PAUSE_S)
    assert place.notices() == ["a.pdf.reason.json", "bad.pdf.reason.json"]
    refused.clear()
    _settle(complaints)
    assert place.notices() == ["bad.pdf.reason.json"]
    assert place.troubles.present() == ()
    assert complaints._try_name_at == {}


def test_their_number_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the log has one line a sweep, and no notice is written; what is kept on disk stays short."""
    monkeypatch.setattr(module, "MAX_TOLD", 5)
    monkeypatch.setattr(module, "MAX_LINES", 10)
    complaints = place.start()
    paths = [place.link(f"{number}.pdf") for number in range(9)]
    for sweep in range(3):
        complaints.sweep_begins()
        for path in paths:
            _tell(complaints, path)
        complaints.sweep_ended()
        _settle(complaints)
        assert place.told() == 6 + sweep
    assert len(place.notices()) == 5
    for _ in range(10):
        complaints = place.start()
        _settle(complaints)
    assert len((place.state / "notices" / "invoices.jsonl").read_text().splitlines()) <= 20


def test_a_name_that_is_not_utf8_is_kept_as_it_is(place: Place) -> None:
    """It is found again after a restart, byte for byte."""
    path, complaints = place.link(os.fsdecode(b"caf\xe9.pdf")), place.start()
    _tell(complaints, path, Reason.NAME_INVALID)
    _settle(complaints)
    assert place.notices() == ["caf%E9.pdf.reason.json"]
    complaints = place.start()
    complaints.sweep_begins()
    complaints.sweep_ended()
    _settle(complaints)
    assert place.notices() == ["caf%E9.pdf.reason.json"]
    path.unlink()
    complaints.sweep_begins()
    complaints.sweep_ended()
    _settle(complaints)
    assert place.notices() == []
