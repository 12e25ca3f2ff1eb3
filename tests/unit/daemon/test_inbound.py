"""Taking files over from one folder: many of them, bad ones among them, and when nothing can be written."""

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import pytest

from disks import leased
from intakes import Intake, intake
from running import until
from sealdrop.daemon import inbound as module
from sealdrop.daemon.inbound import BATCH, InboundWorker
from sealdrop.daemon.underway import RECEIVED_EACH, Turn
from sealdrop.durable import copy_hashed
from sealdrop.errors import Retryable
from sealdrop.model import CompanionKind, Document, FileIdentity, Reason, Sha256
from sealdrop.pipeline import companions, watch
from sealdrop.pipeline import intake as intake_module
from sealdrop.pipeline.watch import GONE, Look

QUICK = "settle_s = 0.05\nincomplete_s = 0.4\nsweep_s = 3600"


def _pdf(number: int) -> bytes:
    return b"%%PDF-1.7\nnumber %d\n%%%%EOF\n" % number


def _started(running: Intake) -> None:
    running.worker.sweep()
    running.worker.start()


def test_what_events_name_while_others_wait_for_their_turn_is_taken_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is woken for it again: not to look at it then would leave it to the next sweep."""
    monkeypatch.setattr(module, "LONGEST_SLEEP_S", 3600.0)
    with intake(tmp_path, folder=QUICK) as running:
        listening = running.worker._watch
        listening.start()

        def drop_two(first: int) -> None:
            for each in (first, first + 1):
                (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
            until(lambda: len(listening._hints) == 2)

        rounds = iter([lambda: drop_two(3)])

        def one_at_a_time(_: Turn) -> int:
            next(rounds, lambda: None)()
            return 1

        monkeypatch.setattr(Turn, "number", one_at_a_time)
        drop_two(1)
        running.worker.start()
        until(lambda: len(running.taken) == 4)


def _spooled(running: Intake) -> int:
    return sum(1 for path in running.spool.root.rglob("*") if path.is_file())


def test_a_backlog_is_taken_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many files that were there before, the first are taken before the last are seen, and each is seen twice.

    Once when it is found, which opens nothing, once when it has settled: no number of files that wait makes a file be
    looked at more often.
    """
    number, most, looks, seen_at_first = 300, [0], Counter[str](), list[int]()
    monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setattr(watch, "MAX_SIGHTINGS", 40)
    look_at = watch.look_at

    def counting(name: str, *, folder: int) -> Look:
        looks[name] += 1
        most[0] = max(most[0], len(running.worker._sightings.paths()))
        if running.taken and not seen_at_first:
            seen_at_first.append(len(looks))
        return look_at(name, folder=folder)

    monkeypatch.setattr(watch, "look_at", counting)
    with intake(tmp_path, folder=QUICK) as running:
        for each in range(number):
            (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
        _started(running)
        until(lambda: len(running.taken) == number)
        until(lambda: list(running.inbound.iterdir()) == [])
    assert len({document.sha256 for document in running.taken}) == number
    assert max(looks.values()) <= 3  # once more where rounding made a look come a tick too early
    assert sum(looks.values()) <= 2.2 * number
    assert seen_at_first[0] < number / 2
    assert most[0] <= 40


def _seen_to_settle(running: Intake) -> None:
    """Have the worker, which is not started, see all that lies there, and wait until it has stood still for long."""
    running.worker.sweep()
    running.worker._round()
    seen = time.monotonic()
    until(lambda: time.monotonic() - seen > running.config.folders["invoices"].settle_s)
    running.worker.sweep()


def test_a_sweep_takes_no_more_than_is_soon_examined(tmp_path: Path) -> None:
    """What a round takes is bounded, whoever finds the files: also when it sweeps and finds them complete."""
    number = RECEIVED_EACH + 10
    with intake(tmp_path, folder=QUICK, service="inspectors = 1") as running:
        for each in range(number):
            (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
        _seen_to_settle(running)
        running.worker._round()
        assert len(running.taken) == RECEIVED_EACH
        running.worker.start()
        until(lambda: len(running.taken) == number)


def test_what_has_lain_there_for_long_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog costs each file one look, however long it takes: the sweep goes no further than may be taken."""
    number, considered = RECEIVED_EACH * 3, Counter[Path]()
    monkeypatch.setattr(watch, "file_system", lambda _: "ext4")
    consider = InboundWorker._consider

    def counting(worker: InboundWorker, path: Path, batch: Sequence[Document], *, hinted: bool) -> Document | None:
        considered[path] += 1
        return consider(worker, path, batch, hinted=hinted)

    monkeypatch.setattr(InboundWorker, "_consider", counting)
    with intake(tmp_path, folder=QUICK, service="inspectors = 1") as running:
        for each in range(number):
            (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
        dropped = time.time()
        until(lambda: time.time() - dropped > running.config.folders["invoices"].settle_s)
        _started(running)
        until(lambda: len(running.taken) == number)
    assert set(considered.values()) == {1}


def test_what_is_taken_over_together_shares_a_folder_of_the_spool(tmp_path: Path) -> None:
    """So that one flush is enough for all of it; the next ones stand anywhere."""
    with intake(tmp_path, folder=QUICK) as running:
        for each in range(2 * BATCH):
            (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
        _seen_to_settle(running)
        while len(running.taken) < 2 * BATCH:
            running.worker._round()
        above = [running.spool.folder(document.id).parent for document in running.taken]
        assert [len(set(above[:BATCH])), len(set(above[BATCH:]))] == [1, 1]
        for number in range(4):  # one time in 256 each is where the last one was
            (running.inbound / "lone.pdf").write_bytes(_pdf(1_000 + number))
            _seen_to_settle(running)
            running.worker._round()
            above.append(running.spool.folder(running.taken[-1].id).parent)
        assert len(set(above[2 * BATCH :])) > 1


def test_a_file_that_is_dropped_during_a_long_sweep_does_not_wait_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an event names comes before the rest of the sweep."""
    monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setattr(watch, "MAX_SIGHTINGS", 40)
    with intake(tmp_path, folder=QUICK) as running:
        for each in range(400):
            (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
        _started(running)
        until(lambda: len(running.taken) >= 8)
        (running.inbound / "urgent.pdf").write_bytes(_pdf(1_000))
        until(lambda: any(document.name == "urgent.pdf" for document in running.taken))
        assert len(running.taken) < 401
        until(lambda: len(running.taken) == 401)


def test_halves_without_number_keep_no_whole_file_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files without an end than can be remembered let a whole one pass, and are all taken in the end."""
    monkeypatch.setattr(watch, "MAX_SIGHTINGS", 8)
    with intake(tmp_path, folder=QUICK.replace("3600", "0.2")) as running:
        for each in range(30):
            (running.inbound / f"half {each}.pdf").write_bytes(b"%%PDF-1.7 %d" % each)
        _started(running)
        until(lambda: len(running.worker._sightings._slow) == 4)
        (running.inbound / "whole.pdf").write_bytes(_pdf(1))
        until(lambda: any(document.name == "whole.pdf" for document in running.taken))
        assert len(running.taken) < 31

        def taken() -> bool:
            running.worker.sweep()
            return len(running.taken) == 31

        until(taken)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_copy_for_which_there_is_no_room_lets_others_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A disk or a quota that ends in the middle of one file costs no other file anything, and leaves nothing behind."""
    monkeypatch.setattr(module, "ROOM_SLEEP_S", 0.1)

    def full(source: BinaryIO, target: BinaryIO, **_: object) -> tuple[int, Sha256]:
        size, digest = copy_hashed(source, target)
        if size > 1_000:
            raise OSError(error, os.strerror(error))
        return size, digest

    with intake(tmp_path, folder=QUICK) as running:
        with monkeypatch.context() as filling:
            filling.setattr(intake_module, "copy_hashed", full)
            (running.inbound / "a large one.pdf").write_bytes(_pdf(1) + b"%" * 2_000 + b"%%EOF")
            for each in range(40):
                (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
            _started(running)
            until(lambda: len(running.taken) == 40)
            until(lambda: [trouble.subject for trouble in running.ledger.troubles()] == ["state_dir"])
            until(lambda: _spooled(running) == 40)
        until(lambda: len(running.taken) == 41)
        until(lambda: running.ledger.troubles() == ())
    told = [line["event"] for line in running.log.events("disk_low", "disk_ok")]
    assert told == ["disk_low", "disk_ok"]


def test_a_large_file_that_is_taken_back_no_longer_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file for which there was no room has gone, nobody waits any more, and the trouble is over."""
    monkeypatch.setattr(module, "ROOM_SLEEP_S", 0.1)
    with intake(tmp_path, folder=QUICK) as running:
        monkeypatch.setattr(running.worker._room, "lacks", lambda need=0: "no room for that" if need > 4096 else None)
        (running.inbound / "large.pdf").write_bytes(_pdf(1) + bytes(8192) + b"%%EOF")
        _started(running)
        until(lambda: [trouble.subject for trouble in running.ledger.troubles()] == ["state_dir"])
        (running.inbound / "large.pdf").unlink()
        until(lambda: running.ledger.troubles() == ())
    assert running.taken == []


def test_when_nothing_can_be_recorded_nothing_is_taken_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that cannot be written leaves every original, no copy, and a trouble; then all are taken, once."""
    monkeypatch.setattr(module, "TROUBLED_SLEEP_S", 0.1)
    failed = threading.Semaphore(0)

    def refuse(_: Sequence[Document]) -> None:
        failed.release()
        raise Retryable("the disk is full")

    with intake(tmp_path, folder=QUICK) as running:
        with monkeypatch.context() as full:
            full.setattr(running.worker._recorder, "received", refuse)
            for each in range(5):
                (running.inbound / f"{each}.pdf").write_bytes(_pdf(each))
            _started(running)
            for _ in range(3):
                assert failed.acquire(timeout=60)
            until(lambda: "folder invoices inbound" in [each.subject for each in running.ledger.troubles()])
            assert len(list(running.inbound.iterdir())) == 5
        until(lambda: len(running.taken) == 5)
        until(lambda: _spooled(running) == 5)
        until(lambda: running.ledger.troubles() == ())
    assert len({document.sha256 for document in running.taken}) == 5


def test_a_folder_that_is_away_is_no_files_doing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While inbound is away no file in it is called unreadable or gone: its notice stays, and the folder is told of."""
    monkeypatch.setattr(module, "TROUBLED_SLEEP_S", 0.1)
    notice = tmp_path / "rejected" / "a.pdf.reason.json"
    with intake(tmp_path, folder=QUICK) as running:
        (running.inbound / "a.pdf").symlink_to("nowhere")
        _started(running)
        until(notice.exists)
        worker = running.worker
        running.inbound.rename(tmp_path / "away")
        with pytest.raises(FileNotFoundError):
            worker._tell_of(running.inbound / "a.pdf", FileNotFoundError(errno.ENOENT, "gone"))
        with pytest.raises(FileNotFoundError):
            worker._tell_of(running.inbound / "b.pdf", OSError(errno.EIO, "Input/output error"))
        worker.sweep()
        until(lambda: [each.subject for each in running.ledger.troubles()] == ["folder invoices inbound"])
        assert notice.exists()
        (tmp_path / "away").rename(running.inbound)
        (running.inbound / "a.pdf").unlink()
        until(lambda: not notice.exists())
        until(lambda: running.ledger.troubles() == ())
    assert len(running.log.events("file_not_taken")) == 1


def test_a_worker_that_fails_unforeseen_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of is a trouble of the folder while it lasts, and the folder goes on after it."""
    monkeypatch.setattr(module, "TROUBLED_SLEEP_S", 0.05)
    with intake(tmp_path, folder=QUICK) as running:
        with monkeypatch.context() as breaking:

            def broken(*_: object, **__: object) -> None:
                raise ValueError("nobody thought of this")

            breaking.setattr(running.worker._standing, "load", broken)
            (running.inbound / "a.pdf").write_bytes(_pdf(1))
            _started(running)
            until(lambda: [each.subject for each in running.ledger.troubles()] == ["folder invoices inbound"])
            assert running.taken == []
        until(lambda: len(running.taken) == 1)
        until(lambda: running.ledger.troubles() == ())


def test_a_sub_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of a sub-folder leads nobody to a file outside, whichever of listing and events names it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.pdf").write_bytes(_pdf(1))
    with intake(tmp_path, folder=QUICK) as running:
        (running.inbound / "sub").symlink_to(outside)
        _started(running)
        until((tmp_path / "rejected" / "sub.reason.json").exists)
        running.worker._watch._hints.add(running.inbound / "sub" / "secret.pdf")
        running.worker._watch._hints.add(running.inbound / ".." / "outside" / "secret.pdf")
        running.worker._wake_up()
        until(lambda: not running.worker._watch._hints and not running.worker._hinted)
        (running.inbound / "good.pdf").write_bytes(_pdf(2))
        until(lambda: len(running.taken) == 1)
    assert (outside / "secret.pdf").exists()
    assert [document.name for document in running.taken] == ["good.pdf"]


def test_a_file_that_no_folder_accepts_does_not_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large is called so at once, though there would be no room for it, and nobody waits for any."""
    monkeypatch.setattr(intake_module, "LARGEST_BYTES", 4096)
    monkeypatch.setattr(module, "ROOM_SLEEP_S", 0.1)
    with intake(tmp_path, folder=QUICK) as running:
        monkeypatch.setattr(running.worker._room, "lacks", lambda need=0: "no room for that" if need > 4096 else None)
        (running.inbound / "large.pdf").write_bytes(_pdf(1) + b"%" * 8192 + b"%%EOF")
        _started(running)
        until(lambda: len(running.log.events("file_not_taken", "disk_low")) > 0)
        until((tmp_path / "rejected" / "large.pdf.reason.json").exists)
    assert [line["reason"] for line in running.log.events("file_not_taken")] == [Reason.TOO_LARGE]
    assert running.log.events("disk_low") == []


@pytest.mark.parametrize("how", ["recognised", "renamed in the batch"])
def test_what_was_taken_over_before_does_not_count_among_those_that_wait(tmp_path: Path, how: str) -> None:
    """A file that waited and turns out to be one that was taken over leaves its place to a newcomer."""
    with intake(tmp_path, folder=QUICK) as running:
        worker, path = running.worker, running.inbound / "a.pdf"
        path.write_bytes(_pdf(1))
        first = worker._consider(path, [], hinted=True)
        assert first is not None
        if how == "recognised":
            worker._standing._keep(first)
        worker._sightings.wait(path, now=0.0)
        assert worker._consider(path, [first], hinted=True) is None
        assert worker._sightings.paths() == frozenset()


@pytest.mark.parametrize("put", ["pipe", "folder link", "lease"])
def test_what_is_recognised_is_read_without_following_or_waiting(tmp_path: Path, put: str) -> None:
    """What takes the place of a file that looks like one taken over, between look and opening, is not waited on."""
    with intake(tmp_path, folder=QUICK) as running:
        path = running.inbound / "sub" / "a.pdf"
        path.parent.mkdir()
        path.write_bytes(_pdf(1))
        _started(running)
        until(lambda: len(running.taken) == 1)
    standing, document = running.worker._standing, running.taken[0]
    standing._keep(document)
    held: AbstractContextManager[None] = nullcontext()
    if put == "pipe":
        os.mkfifo(path)
    elif put == "folder link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "a.pdf").write_bytes(_pdf(1))
        path.parent.rmdir()
        path.parent.symlink_to(elsewhere)
    else:
        path.write_bytes(_pdf(1))
        held = leased(path)
    errors: list[OSError] = []

    def ask() -> None:
        try:
            standing.recognises(path, FileIdentity(0, 0, document.size_bytes, document.identity.mtime_ns))
        except OSError as error:
            errors.append(error)

    with held:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(20)
        assert not asking.is_alive(), "it waits for somebody"
    (error,) = errors
    assert isinstance(error, BlockingIOError) is (put == "lease")
    assert (error.errno in GONE or isinstance(error, FileNotFoundError)) is (put != "lease")


SIDECARS = 'settle_s = 0.05\nincomplete_s = 600\nsweep_s = 3600\nsidecar = "required"'


def test_a_sidecar_that_comes_later_wakes_its_document(tmp_path: Path) -> None:
    """An event for the sidecar has the document taken with it at once, with neither a sweep nor the end of a wait."""
    with intake(tmp_path, folder=SIDECARS) as running:
        _started(running)
        until(lambda: not running.worker._sweep_due.is_set() and running.worker._listing is None)
        (running.inbound / "a.pdf").write_bytes(_pdf(1))
        until(lambda: running.worker._companions._waiting)
        (running.inbound / "a.pdf.json").write_bytes(b'{"reference": "R-1"}')
        until(lambda: len(running.taken) == 1)
        until(lambda: list(running.inbound.iterdir()) == [])
    (document,) = running.taken
    assert document.wishes is not None
    assert document.wishes.reference == "R-1"
    assert running.spool.companion(document.id, CompanionKind.SIDECAR).read_bytes() == b'{"reference": "R-1"}'


def test_a_sidecar_with_a_second_name_is_told_of_and_a_folder_is_none(tmp_path: Path) -> None:
    """A hard link in a sidecar's place keeps its document waiting and gets a notice, as long as it stands."""
    with intake(tmp_path, folder=SIDECARS.replace("required", "optional")) as running:
        (tmp_path / "elsewhere.json").write_bytes(b"{}")
        os.link(tmp_path / "elsewhere.json", running.inbound / "linked.pdf.json")
        (running.inbound / "linked.pdf").write_bytes(_pdf(1))
        (running.inbound / "folder.pdf.json").mkdir()
        (running.inbound / "folder.pdf").write_bytes(_pdf(2))
        _started(running)
        notice = tmp_path / "rejected" / "linked.pdf.json.reason.json"
        until(notice.exists)
        until(lambda: [document.name for document in running.taken] == ["folder.pdf"])
        (tmp_path / "elsewhere.json").unlink()
        running.worker.sweep()
        until(lambda: len(running.taken) == 2)
        until(lambda: not notice.exists())
    assert [line["reason"] for line in running.log.events("file_not_taken")] == [Reason.HARD_LINK]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (errno.EACCES, Reason.FILE_UNREADABLE),
        (errno.EIO, Reason.FILE_UNREADABLE),
        ("lease", Reason.FILE_CHANGED),
        ("large", Reason.SIDECAR_INVALID),
    ],
)
def test_a_companion_that_cannot_be_taken_is_told_of_and_keeps_its_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: int | str, reason: Reason
) -> None:
    """One that cannot be opened or is far too large gets a notice, once; nothing is copied before it is right."""
    keys = SIDECARS.replace("required", "optional").replace("= 600", "= 0.05")
    open_file = companions.open_file

    def refusing(name: str, *, folder: int) -> int:
        if name.endswith(".json"):
            raise OSError(how, "refused")
        return open_file(name, folder=folder)

    with intake(tmp_path, folder=keys) as running, monkeypatch.context() as refused:
        sidecar = running.inbound / "a.pdf.json"
        sidecar.write_bytes(b" " * (64 << 10) + b"{}" if how == "large" else b"{}")
        (running.inbound / "a.pdf").write_bytes(_pdf(1))
        if isinstance(how, int):
            refused.setattr(companions, "open_file", refusing)
        notice = tmp_path / "rejected" / "a.pdf.json.reason.json"
        with leased(sidecar) if how == "lease" else nullcontext():
            _started(running)
            until(notice.exists)
            for _ in range(2):
                running.worker.sweep()
                until(lambda: not running.worker._sweep_due.is_set() and running.worker._listing is None)
            assert notice.exists()
            assert running.taken == []
            assert _spooled(running) == 0
        refused.undo()
        if how == "large":
            sidecar.write_bytes(b"{}")
        running.worker.sweep()
        until(lambda: len(running.taken) == 1)
        until(lambda: not notice.exists())
    assert running.taken[0].wishes is not None
    assert [line["reason"] for line in running.log.events("file_not_taken")] == [reason]


def test_room_is_asked_for_with_what_goes_with_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied with a document counts: a sidecar for which there is no room keeps both in inbound."""
    asked = list[int]()

    def lacks(need_bytes: int = 0) -> None:
        asked.append(need_bytes)

    with intake(tmp_path, folder=SIDECARS) as running:
        monkeypatch.setattr(running.worker._room, "lacks", lacks)
        (running.inbound / "a.pdf").write_bytes(_pdf(1))
        (running.inbound / "a.pdf.json").write_bytes(b"{}" + b" " * 5_000)
        _started(running)
        until(lambda: len(running.taken) == 1)
    assert max(asked) == len(_pdf(1)) + 5_002
