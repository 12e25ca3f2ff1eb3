"""The audit trail's files: idempotent, crash-proof, never rewritten."""

import errno
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sealdrop.audit import Trail, trail
from sealdrop.audit.chain import link
from sealdrop.errors import Fatal, Retryable
from sealdrop.model import GENESIS, AuditRecord, Event

from .conftest import START, Damage, expected_files, head_of, read_files

Records = tuple[AuditRecord, ...]


def test_records_stand_in_the_files_of_their_days(directory: Path, records: Records) -> None:
    """One call writes each record into its day's file, readable by the owner only, and returns the newest."""
    opened = Trail.open(directory)
    assert opened.head() == GENESIS
    assert opened.append(records) == opened.head() == head_of(records[-1])
    assert read_files(directory) == expected_files(records)
    assert sorted(read_files(directory)) == ["2026-03-01.jsonl", "2026-03-02.jsonl", "2026-03-04.jsonl"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_head_is_found_again(written: Path, records: Records) -> None:
    """A trail that is opened again knows its newest record and goes on from it."""
    again = Trail.open(written)
    assert again.head() == head_of(records[-1])
    more = link(again.head(), START, None, Event("more"), node="h")
    again.append([more])
    assert read_files(written) == expected_files((*records, more))


def test_how_the_last_run_ended_is_known(directory: Path) -> None:
    """The event of the newest record as the files were opened; what is appended since does not change that."""
    opened = Trail.open(directory)
    assert opened.ended_with() is None
    opened.append([link(GENESIS, START, None, Event("service_stopped"), node="h")])
    assert opened.ended_with() is None
    assert Trail.open(directory).ended_with() == "service_stopped"


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes flushing free, for tests of thousands of cases that are about content."""
    monkeypatch.setattr(os, "fsync", lambda _file: None)


@pytest.mark.usefixtures("no_flush")
def test_any_overlap_changes_nothing(directory: Path, records: Records) -> None:
    """Whatever part of the chain is given again, the files hold the chain as far as it was given."""
    for known in range(len(records) + 1):
        for start in range(known + 1):
            for end in range(start, len(records) + 1):
                there = directory / f"{known}-{start}-{end}"
                Trail.open(there).append(records[:known])
                head = Trail.open(there).append(records[start:end])
                longest = max(known, end)
                assert read_files(there) == expected_files(records[:longest])
                assert head == (head_of(records[longest - 1]) if longest else GENESIS)


@pytest.mark.usefixtures("no_flush")
def test_crash_at_any_byte_is_completed(directory: Path, records: Records) -> None:
    """Cut the files at any byte of any record, as a crash would, and giving the same records again completes them."""
    records = records[:4]
    whole = expected_files(records)
    for day, (name, content) in enumerate(sorted(whole.items())):
        for size in range(len(content)):
            there = directory / f"{day}-{size}"
            Trail.open(there)
            for earlier in sorted(whole)[:day]:
                (there / earlier).write_bytes(whole[earlier])
            (there / name).write_bytes(content[:size])
            opened = Trail.open(there)
            assert opened.append(records[opened.head().seq :]) == head_of(records[-1])
            assert read_files(there) == whole


def test_half_a_line_waits_for_its_record(directory: Path, records: Records) -> None:
    """What a crash left of a record is not the head, and giving only what comes before it leaves it alone."""
    Trail.open(directory).append(records[:3])
    (path,) = directory.iterdir()
    torn = path.read_bytes()[:-1]
    path.write_bytes(torn)
    opened = Trail.open(directory)
    assert opened.head() == head_of(records[1])
    assert opened.append(records[:2]) == head_of(records[1])
    assert path.read_bytes() == torn
    assert opened.append(records[2:3]) == head_of(records[2])
    assert read_files(directory) == expected_files(records[:3])


def edit_last_byte(directory: Path) -> None:
    """Leave half a line that is not the beginning of the next record."""
    path = max(directory.iterdir())
    path.write_bytes(path.read_bytes() + b'{"at":"1999')


def zeros(directory: Path) -> None:
    """Leave the zeros that some file systems leave after a power cut."""
    path = max(directory.iterdir())
    path.write_bytes(path.read_bytes() + bytes(64))


def other_tail(directory: Path) -> None:
    """Leave a line that is no record."""
    path = max(directory.iterdir())
    path.write_bytes(path.read_bytes() + b"done\n")


def edited_head(directory: Path) -> None:
    """Change the newest record."""
    path = max(directory.iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])


def endless_line(directory: Path) -> None:
    """Leave a line that is longer than any record."""
    path = max(directory.iterdir())
    path.write_bytes(path.read_bytes() + b"x" * ((1 << 20) + (1 << 17)))


def future_day(directory: Path) -> None:
    """Put a file there whose day has not come."""
    path = max(directory.iterdir())
    (directory / "2031-01-01.jsonl").write_bytes(path.read_bytes())


def two_empty_days(directory: Path) -> None:
    """Put two files there that hold nothing."""
    for name in ("2031-01-01.jsonl", "2031-01-02.jsonl"):
        (directory / name).touch()


def lost_record(directory: Path) -> None:
    """Lose the newest record."""
    path = max(directory.iterdir())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def link_elsewhere(directory: Path) -> None:
    """Put a symbolic link in the place of the newest file."""
    path = max(directory.iterdir())
    path.rename(directory.parent / "moved")
    path.symlink_to(directory.parent / "moved")


DAMAGES = (
    edit_last_byte,
    zeros,
    other_tail,
    edited_head,
    endless_line,
    future_day,
    two_empty_days,
    lost_record,
    link_elsewhere,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_crash_cannot_have_left_stops_the_daemon(directory: Path, records: Records, damage: Damage) -> None:
    """A trail that ends in anything but a beginning of what comes next is not continued, and not changed."""
    Trail.open(directory).append(records[:5])
    damage(directory)
    before = read_files(directory)
    with pytest.raises(Fatal, match="cannot be continued"):
        Trail.open(directory).append(records[5:])
    assert read_files(directory) == before


def test_earlier_day_is_never_completed(written: Path, records: Records) -> None:
    """A record that is missing at the end of an earlier day was not lost in a crash, and is not put back."""
    first = min(written.iterdir())
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-1]))
    before = read_files(written)
    with pytest.raises(Fatal, match="does not hold record 2"):
        Trail.open(written).append(records[1:])
    assert read_files(written) == before


def remove(path: Path) -> None:
    """Remove the newest file."""
    path.unlink()


def shorten(path: Path) -> None:
    """Cut the newest file's end off."""
    os.truncate(path, path.stat().st_size - 10)


def empty(path: Path) -> None:
    """Empty the newest file."""
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    """Write something behind its end."""
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("damage", [remove, shorten, empty, lengthen])
@pytest.mark.parametrize("known", [5, 6], ids=["same day", "next day"])
def test_change_under_a_running_daemon_stops_it(directory: Path, records: Records, damage: Damage, known: int) -> None:
    """If the newest file is changed while the trail is open, the next record is not written beside the gap."""
    opened = Trail.open(directory)
    opened.append(records[:known])
    damage(max(directory.iterdir()))
    before = read_files(directory)
    with pytest.raises(Fatal):
        opened.append(records[known:])
    assert read_files(directory) == before


def test_gaps_and_forks_are_not_written(directory: Path, records: Records) -> None:
    """A record that does not follow the one before it is refused before anything is written."""
    opened = Trail.open(directory)
    opened.append(records[:2])
    fork = link(head_of(records[0]), START, None, Event("fork"), node="h")
    after_fork = link(head_of(fork), START, None, Event("fork"), node="h")
    for wrong in ([records[3]], [after_fork], [fork], [records[2], records[4]], [records[3], records[2]]):
        with pytest.raises(Fatal):
            opened.append(wrong)
        assert read_files(directory) == expected_files(records[:2])
    assert opened.append(records) == head_of(records[-1])


def test_other_files_are_left_alone(directory: Path, records: Records) -> None:
    """Files that are no day's files are neither read nor changed."""
    Trail.open(directory).append(records[:2])
    for name in ("notes.txt", "2026-03-09.jsonl.bak", "٢٠٢٦-٠٣-٠٩.jsonl"):
        (directory / name).write_text("x")
    Trail.open(directory).append(records[2:])
    assert expected_files(records).items() <= read_files(directory).items()


class Calls:
    """Watches the calls that matter to durability, and can make one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.fail: dict[str, OSError] = {}
        for name in ("open", "fsync", "pwrite"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(trail, "fsync_folder", self._watched("fsync_folder", trail.fsync_folder))

    def _watched(self, name: str, real: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: object, **named: object) -> int:
            self.made.append(name)
            if name in self.fail:
                if name == "pwrite":  # a full disk takes what still fits
                    file, content, offset = arguments
                    real(file, bytes(content)[:7], offset)  # type: ignore[call-overload]
                raise self.fail.pop(name)
            return real(*arguments, **named)

        return call

    def take(self) -> list[str]:
        """The calls since the last time."""
        made, self.made = [name for name in self.made if name != "open"], []
        return made


def test_one_flush_a_call_and_a_day(directory: Path, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appending flushes each day's file once, in order, and a new file's name with it, before the next day's."""
    opened = Trail.open(directory)
    calls = Calls(monkeypatch)
    opened.append(records[:2])
    assert calls.take() == ["pwrite", "fsync", "fsync_folder", "fsync"]  # the folder's flush is one too
    opened.append(records[2:3])
    assert calls.take() == ["pwrite", "fsync"]
    opened.append(())
    assert calls.take() == []


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("known", [1, 3], ids=["same day", "next day"])
def test_failed_write_is_made_again_in_full(
    directory: Path, records: Records, monkeypatch: pytest.MonkeyPatch, call: str, reopened: bool, known: int
) -> None:
    """After a failed write or flush the same records are written again, for the flush of the first may be lost."""
    opened = Trail.open(directory)
    opened.append(records[:known])
    calls = Calls(monkeypatch)
    calls.fail[call] = OSError(errno.EIO, "I/O error")
    more = records[known : known + 2]
    with pytest.raises(Retryable):
        opened.append(more)
    calls.take()
    opened = Trail.open(directory) if reopened else opened
    assert opened.append(more) == head_of(more[-1])
    assert calls.take()[-2:] == ["pwrite", "fsync"]
    assert read_files(directory) == expected_files(records[: known + 2])


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, Retryable), (errno.EMFILE, Retryable), (errno.EACCES, Fatal)]
)
def test_errors_of_the_system_are_ours(
    directory: Path, records: Records, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    """Lack of room or descriptors is tried again later, a refused access stops the daemon."""
    opened = Trail.open(directory)
    Calls(monkeypatch).fail["open"] = OSError(code, os.strerror(code))
    with pytest.raises(error):
        opened.append(records)
    assert read_files(directory) == {}


def test_unreadable_directory_is_ours(tmp_path: Path) -> None:
    """A file in the place of the directory is an error of ours."""
    (tmp_path / "audit").touch()
    with pytest.raises(Fatal):
        Trail.open(tmp_path / "audit")


def test_long_lines_are_found_from_the_end(directory: Path) -> None:
    """Records of any allowed length are found again, also where they span the pieces in which files are read."""
    head, records = GENESIS, []
    for number, size in enumerate((10, 65_000, 65_536, 131_072, 200, 900_000)):
        at = START + timedelta(seconds=number)
        records.append(link(head, at, None, Event("long", {"text": "x" * size}), node="h"))
        head = head_of(records[-1])
    for end in range(1, len(records) + 1):
        there = directory / str(end)
        Trail.open(there).append(records[:end])
        assert Trail.open(there).head() == head_of(records[end - 1])
        assert Trail.open(there).append(records) == head
    assert all(before.at < after.at for before, after in pairwise(records))
