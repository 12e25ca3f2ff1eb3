"""When a file is complete, and what a sweep sees."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.events import FileClosedEvent, FileMovedEvent

from disks import leased
from documents import FakeClock
from sealdrop.model import FileIdentity
from sealdrop.pipeline import listen, watch
from sealdrop.pipeline.listen import Watch
from sealdrop.pipeline.watch import (
    MAX_DEPTH,
    Beginning,
    LeftOut,
    Look,
    Sightings,
    Verdict,
    is_ignored,
    judge,
    list_files,
    list_leftovers,
    look_at,
)
from sealdrop.pipeline.writers import Writer

PDF = b"%PDF-1.7\nsome content\n%%EOF\n"
SETTLE_S, INCOMPLETE_S = 2.0, 60.0

# Holds a file open for writing in another process until its standard input ends.
HOLDER = "import sys; f = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """Another process has the file open for writing while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"open\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(30)


class Watcher:
    """Looks at one file at chosen moments."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.sightings = Sightings(path.parent, settle_s=SETTLE_S, incomplete_s=INCOMPLETE_S)

    def look(self, *, after_s: float = 0.0, at: float = 0.0, hinted: bool = False) -> bool:
        """Return whether the file may be taken ``after_s`` seconds from the last look, ``at`` the epoch."""
        self.clock.go(after_s)
        taken = self.sightings.complete(self.path, now=self.clock.monotonic(), at=at, hinted=hinted) is not None
        if taken:
            self.sightings.forget(self.path)
        return taken


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    """A watcher of a file that is not there yet."""
    return Watcher(tmp_path / "a.pdf")


def test_a_finished_file_that_an_event_named_is_taken_at_once(watcher: Watcher) -> None:
    """Moved in or closed, with a PDF's end, and nobody writing: no waiting."""
    watcher.path.write_bytes(PDF)
    assert watcher.look(hinted=True)


def test_a_file_that_was_just_found_settles_first(watcher: Watcher) -> None:
    """Without an event the settle time counts from the first look."""
    watcher.path.write_bytes(PDF)
    assert not watcher.look()
    assert not watcher.look(after_s=SETTLE_S * 0.9)
    assert watcher.look(after_s=SETTLE_S * 0.2)


@pytest.mark.parametrize(
    ("kind", "unchanged_s", "taken"),
    [
        ("ext4", SETTLE_S, True),
        ("xfs", SETTLE_S, True),
        ("ext4", SETTLE_S * 0.9, False),
        ("ext4", -3600.0, False),  # the clock was set back
        ("cifs", 3600.0, False),
        ("", 3600.0, False),
    ],
)
def test_a_file_that_has_not_changed_for_long_is_not_waited_for(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch, kind: str, unchanged_s: float, taken: bool
) -> None:
    """What its inode says of its last change counts where this machine wrote that, and nowhere else."""
    monkeypatch.setattr(watch, "file_system", lambda _: kind)
    watcher.path.write_bytes(PDF)
    assert watcher.look(at=watcher.path.stat().st_ctime + unchanged_s) is taken


def test_a_clock_that_is_set_forward_makes_no_half_file_whole(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a machine was suspended its writers go on where they were: half a file is waited for by our own looking."""
    monkeypatch.setattr(watch, "file_system", lambda _: "ext4")
    watcher.path.write_bytes(PDF[:12])
    later = watcher.path.stat().st_ctime + 3600
    assert not watcher.look(at=later)
    assert not watcher.look(after_s=INCOMPLETE_S * 0.9, at=later)
    assert watcher.look(after_s=INCOMPLETE_S * 0.2, at=later)


def test_what_is_mounted_may_be_another_thing_by_the_next_sweep(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device's number may come back as a share's, whose times are not this machine's."""
    kinds = iter(["ext4", "nfs4"])
    monkeypatch.setattr(watch, "file_system", lambda _: next(kinds))
    watcher.path.write_bytes(PDF)
    at = watcher.path.stat().st_ctime + SETTLE_S
    assert watcher.look(at=at)
    assert watcher.look(at=at)
    watcher.sightings.sweep_begins()
    assert not watcher.look(at=at)


def test_an_old_modification_time_is_no_proof(watcher: Watcher) -> None:
    """Copying programs set it."""
    watcher.path.write_bytes(PDF)
    os.utime(watcher.path, (0, 0))
    assert not watcher.look(at=time.time())


def test_a_file_that_grows_starts_over(watcher: Watcher) -> None:
    """Each change of size or time restarts the settle time, and forgets the event."""
    watcher.path.write_bytes(PDF)
    assert not watcher.look()
    watcher.path.write_bytes(PDF + PDF)
    assert not watcher.look(after_s=SETTLE_S)
    assert watcher.look(after_s=SETTLE_S)


def test_a_writer_in_another_process_is_waited_for(watcher: Watcher) -> None:
    """While somebody has it open for writing, neither an event nor the settle time is enough."""
    watcher.path.write_bytes(PDF)
    with held_open(watcher.path):
        assert look_at(watcher.path).writer is Writer.SOME
        assert not watcher.look(hinted=True)
        assert not watcher.look(after_s=SETTLE_S * 2)
    assert watcher.look()


def test_a_writer_who_never_closes_does_not_hold_a_whole_file_for_ever(watcher: Watcher) -> None:
    """A PDF with its end in place is taken after the longer time, even if some viewer keeps it open for writing."""
    watcher.path.write_bytes(PDF)
    with held_open(watcher.path):
        assert not watcher.look()
        assert watcher.look(after_s=INCOMPLETE_S)


def test_half_a_file_is_never_taken_from_its_writer(watcher: Watcher) -> None:
    """Without a PDF's end, and somebody at it, no time is long enough."""
    watcher.path.write_bytes(PDF[:12])
    with held_open(watcher.path):
        assert not watcher.look()
        assert not watcher.look(after_s=INCOMPLETE_S * 100)


def test_closed_half_way_is_not_closed(watcher: Watcher) -> None:
    """A program that writes in two openings is waited for: the first close leaves no PDF's end."""
    watcher.path.write_bytes(PDF[:12])
    assert not watcher.look(hinted=True)
    assert not watcher.look(after_s=SETTLE_S * 3)
    with watcher.path.open("ab") as file:
        file.write(PDF[12:])
    assert watcher.look(after_s=1, hinted=True)


def test_a_truncated_file_is_taken_in_the_end(watcher: Watcher) -> None:
    """A file without an end that nobody works on is taken after the longer time, to be rejected with a reason."""
    watcher.path.write_bytes(PDF[:12])
    assert not watcher.look()
    assert not watcher.look(after_s=INCOMPLETE_S * 0.9)
    assert watcher.look(after_s=INCOMPLETE_S * 0.2)


def test_what_can_never_become_a_pdf_needs_only_settle(watcher: Watcher) -> None:
    """A text file is not waited for as if its end were missing."""
    watcher.path.write_bytes(b"Dear all, please find attached")
    assert not watcher.look()
    assert watcher.look(after_s=SETTLE_S)


@pytest.mark.parametrize("beginning", [b"", b"\0" * 4096, b"%P"])
def test_what_may_still_become_a_pdf_waits(watcher: Watcher, beginning: bytes) -> None:
    """An empty file, room that was set aside with zeros, and a first few bytes wait for the longer time."""
    watcher.path.write_bytes(beginning)
    assert not watcher.look(hinted=True)
    assert not watcher.look(after_s=SETTLE_S * 2)
    assert watcher.look(after_s=INCOMPLETE_S)


def test_without_leases_stillness_decides() -> None:
    """Where the kernel will not say who writes, an event plus the end, or settle plus the end, is what there is."""
    look = Look(FileIdentity(1, 2, 3, 4), 0.0, Beginning.PDF, has_end=True, writer=Writer.UNKNOWN)
    assert judge(look, unchanged_s=0.0, still_s=0, hinted=True, settle_s=2, incomplete_s=60) is Verdict.TAKE
    assert judge(look, unchanged_s=0.0, still_s=1, hinted=False, settle_s=2, incomplete_s=60) is Verdict.WAIT
    assert judge(look, unchanged_s=0.0, still_s=2, hinted=False, settle_s=2, incomplete_s=60) is Verdict.TAKE


def test_a_look_is_planned_for_each_file_that_waits(watcher: Watcher) -> None:
    """The next look is when the settle time is over, then when the longer time is."""
    watcher.path.write_bytes(PDF[:12])
    start = watcher.clock.monotonic()
    watcher.look()
    assert watcher.sightings.next_due() == start + SETTLE_S
    assert watcher.sightings.due(start + SETTLE_S - 0.1) == []
    assert watcher.sightings.due(start + SETTLE_S) == [watcher.path]
    watcher.look(after_s=SETTLE_S)
    assert watcher.sightings.next_due() == start + INCOMPLETE_S
    watcher.sightings.forget(watcher.path)
    assert watcher.sightings.next_due() is None


def test_a_writer_who_never_closes_costs_a_look_now_and_then(watcher: Watcher) -> None:
    """Past every deadline the next look still lies ahead: no busy loop."""
    watcher.path.write_bytes(PDF[:12])
    with held_open(watcher.path):
        watcher.look()
        watcher.look(after_s=INCOMPLETE_S * 10)
        due = watcher.sightings.next_due()
        assert due is not None
        assert due > watcher.clock.monotonic()


def _dropped(folder: Path, number: int) -> Path:
    path = folder / f"{number}.pdf"
    path.write_bytes(PDF)
    return path


def test_newcomers_have_half_of_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past half of the bound newcomers are not remembered and nobody need look for more; they wait on disk."""
    monkeypatch.setattr(watch, "MAX_SIGHTINGS", 6)
    sightings = Sightings(tmp_path, settle_s=1, incomplete_s=2)
    for number in range(5):
        assert sightings.room == max(0, 3 - number)
        assert sightings.complete(_dropped(tmp_path, number), now=0.0, at=0.0, hinted=False) is None
    assert len(sightings.paths()) == 3
    sightings.forget(tmp_path / "0.pdf")
    assert sightings.room == 1
    assert sightings.has_turned_away
    assert sightings.complete(tmp_path / "4.pdf", now=0.0, at=0.0, hinted=False) is None
    assert tmp_path / "4.pdf" in sightings.paths()
    assert sightings.complete(tmp_path / "0.pdf", now=0.0, at=0.0, hinted=True), (
        "a finished file needs no place in memory"
    )


def test_files_that_never_become_complete_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait for long, newcomers find room; and of those that wait for long, one that goes makes room."""
    monkeypatch.setattr(watch, "MAX_SIGHTINGS", 4)
    sightings = Sightings(tmp_path, settle_s=1, incomplete_s=60)
    for number in range(8):
        path = tmp_path / f"half {number}.pdf"
        path.write_bytes(PDF[:12])
        sightings.complete(path, now=0.0, at=0.0, hinted=False)
        sightings.complete(path, now=1.0, at=0.0, hinted=False)
    assert len(sightings.paths()) == 2
    assert sightings.room == 2
    assert sightings.complete(_dropped(tmp_path, 1), now=2.0, at=0.0, hinted=False) is None
    assert tmp_path / "1.pdf" in sightings.paths()
    assert sightings.due(3.0) == [tmp_path / "1.pdf"]
    for path in sightings.due(60.0):
        assert sightings.complete(path, now=60.0, at=0.0, hinted=False)
        sightings.forget(path)
    sightings.complete(tmp_path / "half 7.pdf", now=61.0, at=0.0, hinted=False)
    sightings.complete(tmp_path / "half 7.pdf", now=62.0, at=0.0, hinted=False)
    assert tmp_path / "half 7.pdf" in sightings.paths()


def test_what_is_due_is_handed_out_once_and_soonest_first(tmp_path: Path) -> None:
    """A file that changed is due when its new settle time is over, even if it was to be looked at much later."""
    sightings = Sightings(tmp_path, settle_s=1, incomplete_s=60)
    half, late = tmp_path / "half.pdf", _dropped(tmp_path, 2)
    half.write_bytes(PDF[:12])
    sightings.complete(half, now=0.0, at=0.0, hinted=False)
    sightings.complete(half, now=1.0, at=0.0, hinted=False)
    assert sightings.next_due() == 60.0
    half.write_bytes(PDF)
    sightings.complete(half, now=5.0, at=0.0, hinted=False)
    sightings.complete(late, now=5.5, at=0.0, hinted=False)
    assert sightings.next_due() == 6.0
    assert sightings.due(7.0, 1) == [half]
    assert sightings.due(7.0) == [late]
    assert sightings.due(7.0) == []
    sightings.wait(late, now=7.0, delay_s=3.0)
    assert sightings.due(9.9) == []
    assert sightings.due(10.0) == [late]


def test_a_file_that_never_stops_changing_is_overdue_in_the_end(watcher: Watcher) -> None:
    """Each change restarts the settle time, but not the time after which somebody is told."""
    for number in range(11):
        watcher.path.write_bytes(PDF * (number + 1))
        assert not watcher.look(after_s=INCOMPLETE_S)
        overdue = watcher.sightings.is_overdue(watcher.path, watcher.clock.monotonic())
        assert overdue is (number >= watch.OVERDUE)


def test_what_is_taken_is_what_was_looked_at(watcher: Watcher) -> None:
    """The answer is the identity of the state that was judged, for intake to insist on."""
    watcher.path.write_bytes(PDF)
    seen = watcher.sightings.complete(watcher.path, now=0.0, at=0.0, hinted=True)
    assert seen == FileIdentity.of(watcher.path.stat())
    watcher.path.write_bytes(PDF * 2)
    assert seen != FileIdentity.of(watcher.path.stat())


def test_two_openings_with_a_pause_between_them(watcher: Watcher) -> None:
    """Closed half-way, opened again, and closed whole: taken after the second close, and not while it is open."""
    watcher.path.write_bytes(PDF[:12])
    assert not watcher.look(hinted=True)
    assert not watcher.look(after_s=INCOMPLETE_S * 0.9)
    with held_open(watcher.path):
        with watcher.path.open("ab") as file:
            file.write(PDF[12:])
        assert not watcher.look(after_s=1, hinted=True)
        assert not watcher.look(after_s=SETTLE_S * 5)
    assert watcher.look(hinted=True)


def test_a_file_renamed_while_it_is_written_is_waited_for(watcher: Watcher) -> None:
    """A new name says nothing about the writer, who still has the same file open."""
    first = watcher.path.with_name("first.pdf")
    first.write_bytes(PDF)
    with held_open(first):
        first.rename(watcher.path)
        assert not watcher.look(hinted=True)
    assert watcher.look(hinted=True)


def test_an_end_before_its_beginning_waits(watcher: Watcher) -> None:
    """A program that sets room aside and writes the end first has not finished, whatever an event says."""
    watcher.path.write_bytes(b"\0" * 4096 + PDF)
    assert not watcher.look(hinted=True)
    assert not watcher.look(after_s=SETTLE_S * 2)
    watcher.path.write_bytes(PDF)
    assert watcher.look(hinted=True)


def test_a_file_on_which_a_server_holds_a_lease_is_waited_for(watcher: Watcher) -> None:
    """A lease for writing, which a file server takes for its clients, makes us wait and is no fault of the file."""
    watcher.path.write_bytes(PDF)
    with leased(watcher.path):
        assert not watcher.look(hinted=True)
        due = watcher.sightings.next_due()
        assert due is not None
        assert due > watcher.clock.monotonic()
    assert not watcher.look(after_s=SETTLE_S)
    assert watcher.look(after_s=SETTLE_S)


def test_what_is_no_file_is_handed_on_at_once(watcher: Watcher) -> None:
    """A link, a pipe: there is nothing to wait for, and it is not opened."""
    os.mkfifo(watcher.path)
    assert watcher.look()
    watcher.path.unlink()
    watcher.path.symlink_to("nowhere")
    assert watcher.look()


@pytest.mark.parametrize(
    "name", [".hidden.pdf", "~$letter.pdf", "a.part", "a.TMP", "a.filepart", "a.crdownload", "a.swp"]
)
def test_what_is_not_meant_for_us_is_ignored(name: str) -> None:
    """Hidden files and those of programs at work are none of our business."""
    assert is_ignored(name)


@pytest.mark.parametrize("name", ["a.pdf", "party.pdf", "tmp", "no extension", "a.part.pdf", "$~.pdf"])
def test_what_a_person_drops_is_not_ignored(name: str) -> None:
    """Ordinary names are seen, whatever their extension."""
    assert not is_ignored(name)


def test_a_sweep_lists_files_and_follows_nothing(tmp_path: Path) -> None:
    """Files in sub-folders are listed; links are shown as such and not entered; ignored folders are left out."""
    inbound, outside = tmp_path / "in", tmp_path / "out"
    for path in (inbound / "a.pdf", inbound / "sub" / "deep" / "b.pdf", inbound / ".git" / "c.pdf", outside / "d.pdf"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PDF)
    (inbound / "link").symlink_to(outside)
    os.mkfifo(inbound / "pipe")
    (inbound / "x.pdf").mkdir()
    found = {str(path.relative_to(inbound)) for path in list_files(inbound, subfolders=True)}
    assert found == {"a.pdf", "sub/deep/b.pdf", "link", "pipe"}
    flat = {str(path.relative_to(inbound)) for path in list_files(inbound, subfolders=False)}
    assert flat == {"a.pdf", "link", "pipe"}


def test_folders_that_are_not_looked_into_are_told(tmp_path: Path) -> None:
    """A folder where sub-folders are not looked into, one that lies too deep, and an empty one named like a PDF."""
    told: list[tuple[str, LeftOut]] = []

    def tell(path: Path, why: LeftOut) -> None:
        told.append((path.name, why))

    (tmp_path / "plain").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "x.PDF").mkdir()
    assert list(list_files(tmp_path, subfolders=False, left_out=tell)) == []
    assert sorted(told) == [("plain", LeftOut.NOT_ENTERED), ("x.PDF", LeftOut.NOT_ENTERED)]
    told.clear()
    deep = tmp_path.joinpath("plain", *["d"] * MAX_DEPTH)
    deep.mkdir(parents=True)
    assert list(list_files(tmp_path, subfolders=True, left_out=tell)) == []
    assert told == [("x.PDF", LeftOut.EMPTY), ("d", LeftOut.TOO_DEEP)]


@pytest.mark.parametrize("replace", ["at its turn", "after its turn"])
def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path: Path, replace: str) -> None:
    """A sub-folder in whose place a link is put between the listing and the opening leads nowhere."""
    inbound, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inbound / "sub", outside):
        folder.mkdir(parents=True)
        (folder / "secret.pdf").write_bytes(PDF)
    (inbound / "first.pdf").write_bytes(PDF)
    sweep = list_files(inbound, subfolders=True)
    assert next(sweep).name == "first.pdf"
    found = list(sweep) if replace == "after its turn" else []
    shutil.rmtree(inbound / "sub")
    (inbound / "sub").symlink_to(outside)
    found = found or list(sweep)
    if replace == "at its turn":
        assert found == []
    sightings = Sightings(inbound, settle_s=1, incomplete_s=2)
    with pytest.raises(OSError, match="Not a directory"):
        sightings.complete(inbound / "sub" / "secret.pdf", now=0.0, at=0.0, hinted=True)


def test_a_sweep_of_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """An inbound folder that cannot be listed is not an empty one."""
    with pytest.raises(FileNotFoundError):
        list(list_files(tmp_path / "gone", subfolders=True))


def test_leftovers_are_found_wherever_they_are(tmp_path: Path) -> None:
    """What was set aside to be removed is found in every folder that is looked at, whatever it is, and nothing else."""
    for name in ("a.pdf", ".sealdrop-1.tmp", "sub/.sealdrop-2.tmp", "sub/.hidden", "sub/b.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PDF)
    (tmp_path / "sub" / ".sealdrop-3.tmp").mkdir()
    found = {str(path.relative_to(tmp_path)) for path in list_leftovers(tmp_path, subfolders=True)}
    assert found == {".sealdrop-1.tmp", "sub/.sealdrop-2.tmp", "sub/.sealdrop-3.tmp"}
    assert [path.name for path in list_leftovers(tmp_path, subfolders=False)] == [".sealdrop-1.tmp"]


def test_folders_without_end_do_not_stop_a_sweep(tmp_path: Path) -> None:
    """However deep somebody nests his folders, the files near the top are found."""
    folder = tmp_path
    for number in range(MAX_DEPTH + 5):
        (folder / f"{number}.pdf").write_bytes(PDF)
        folder /= "d"
        folder.mkdir()
    found = {path.name for path in list_files(tmp_path, subfolders=True)}
    assert found == {f"{number}.pdf" for number in range(MAX_DEPTH + 1)}


def test_a_folder_that_goes_during_a_sweep_is_passed_over(tmp_path: Path) -> None:
    """A sub-folder that vanishes between its listing and its own turn costs nothing but its own files."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.pdf").write_bytes(PDF)
    (tmp_path / "first.pdf").write_bytes(PDF)
    sweep = list_files(tmp_path, subfolders=True)
    assert next(sweep).name == "first.pdf"
    shutil.rmtree(tmp_path / "one")
    assert [str(path.relative_to(tmp_path)) for path in sweep] == ["two/a.pdf"]


def test_hints_are_bounded_and_handed_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound events ask for a sweep, which finds their files."""
    monkeypatch.setattr(listen, "MAX_HINTS", 3)
    woken, swept = [], []
    watching = Watch(tmp_path, subfolders=True, wake=lambda: woken.append(1), sweep=lambda: swept.append(1))
    for number in range(5):
        watching.on_any_event(FileClosedEvent(str(tmp_path / f"{number}.pdf")))
    assert (len(woken), len(swept)) == (3, 2)
    assert watching.take_hints() == {tmp_path / f"{number}.pdf" for number in range(3)}
    assert watching.take_hints() == set()


def test_what_leaves_the_folder_names_nothing(tmp_path: Path) -> None:
    """A file that is moved out, or within the part that is ignored, is none of our business."""
    watching = Watch(tmp_path, subfolders=True, wake=pytest.fail, sweep=pytest.fail)
    watching.on_any_event(FileMovedEvent(str(tmp_path / "a.pdf"), ""))
    watching.on_any_event(FileMovedEvent(str(tmp_path / "a.pdf"), "/elsewhere/a.pdf"))
    watching.on_any_event(FileMovedEvent(str(tmp_path / "a.pdf"), str(tmp_path / ".trash" / "a.pdf")))
    assert watching.take_hints() == set()


def test_a_folder_that_is_moved_in_asks_for_a_sweep(tmp_path: Path) -> None:
    """Its files were there before anybody listened, so no event names them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "a.pdf").write_bytes(PDF)
    asked = threading.Event()
    watching = Watch(tmp_path / "in", subfolders=True, wake=lambda: None, sweep=asked.set)
    watching.start()
    try:
        (tmp_path / "batch").rename(tmp_path / "in" / "batch")
        assert asked.wait(30)
    finally:
        watching.stop()


def test_a_folder_that_was_replaced_is_no_longer_watched(tmp_path: Path) -> None:
    """After a share was mounted anew, or the folder made again, somebody has to listen to the new one."""
    inbound = tmp_path / "in"
    inbound.mkdir()
    watching = Watch(inbound, subfolders=True, wake=lambda: None, sweep=lambda: None)
    watching.start()
    try:
        assert watching.is_alive
        inbound.rename(tmp_path / "old")
        assert not watching.is_alive
        inbound.mkdir()
        assert not watching.is_alive
    finally:
        watching.stop()


def test_events_wake_and_name_the_file(tmp_path: Path) -> None:
    """Closing a file and moving one in wake the worker and name it; reading a file does not."""
    inbound = tmp_path / "in"
    inbound.mkdir()
    (inbound / "there.pdf").write_bytes(PDF)
    woken = threading.Condition()
    hints: set[Path] = set()

    def wake() -> None:
        with woken:
            hints.update(watching.take_hints())
            woken.notify_all()

    watching = Watch(inbound, subfolders=True, wake=wake, sweep=lambda: None)
    watching.start()
    assert watching.is_alive
    try:
        (inbound / "there.pdf").read_bytes()
        (inbound / "closed.pdf").write_bytes(PDF)
        (inbound / ".hidden.pdf").write_bytes(PDF)
        (tmp_path / "moved.pdf").write_bytes(PDF)
        (tmp_path / "moved.pdf").rename(inbound / "moved.pdf")
        (inbound / "a.part").write_bytes(PDF)
        (inbound / "a.part").rename(inbound / "renamed.pdf")
        expected = {inbound / "closed.pdf", inbound / "moved.pdf", inbound / "renamed.pdf"}
        with woken:
            assert woken.wait_for(lambda: hints >= expected, 30), hints
    finally:
        watching.stop()
    assert hints == expected
    assert not watching.is_alive
