"""Facts about folders, and what they mean where the real thing cannot be had."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sealdrop.checks.eyes import Eyes, User, user_numbered
from sealdrop.checks.findings import Condition
from sealdrop.checks.folders import is_share, judge_access, judge_folder
from sealdrop.checks.looking import Facts, look
from sealdrop.config import load

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
GOOD = Facts("/srv/in", is_folder=True, mode=0o770, kind="ext4", free_bytes=1 << 40, free_files=1 << 20)


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    """Whether a folder can be written to is tried, and neither a name nor a time tells of it."""
    before = tmp_path.stat()
    facts = look(tmp_path)
    assert (facts.error, facts.read_error, facts.write_error, facts.is_folder) == (0, 0, 0, True)
    assert facts.free_bytes > 0
    assert facts.kind
    assert list(tmp_path.iterdir()) == []
    assert (tmp_path.stat().st_mtime_ns, tmp_path.stat().st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    """A pipe in a file's place is no file, and reading it does not wait for a writer."""
    os.mkfifo(tmp_path / "client.p12")
    assert not look(tmp_path / "client.p12").is_file


def test_what_is_not_there(tmp_path: Path) -> None:
    """The nearest folder that is there is named, and whether something may be made in it."""
    facts = look(tmp_path / "a" / "b")
    assert (facts.error, facts.above, facts.can_make) == (errno.ENOENT, str(tmp_path), True)


def test_a_child_looks_the_same(tmp_path: Path) -> None:
    """What a child process sees as ourselves is what we see."""
    paths = [tmp_path, tmp_path / "none"]
    seen = Eyes(None).look_at([paths])
    assert [_less_room(seen[path]) for path in paths] == [_less_room(look(path)) for path in paths]


def _less_room(facts: Facts | None) -> Facts:
    """Return the facts without what is free on the disk, which others use meanwhile."""
    assert facts is not None
    return replace(facts, free_bytes=0, free_files=0)


def test_a_user_without_a_name() -> None:
    """A number that no user has is a user all the same, in one group."""
    user = user_numbered(4_000_000, 4_000_001)
    assert (user.name, user.uid, user.groups) == ("4000000", 4_000_000, (4_000_001,))


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        *((kind, True) for kind in ("nfs4", "cifs", "fuse.sshfs", "fuse", "9p")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "fuseblk", "tmpfs", "")),
    ],
)
def test_shares_are_known_by_their_kind(kind: str, share: bool) -> None:
    """Other machines' file systems, and programs' own, send no events."""
    assert is_share(kind) is share


@pytest.mark.parametrize(
    ("change", "condition"),
    [
        ({"longest_name": 143}, Condition.NAMES_SHORT),
        ({"kind": "vfat"}, Condition.NAMES_CHANGED),
        ({"free_files": 999}, Condition.FOLDER_TIGHT),
        ({"free_files": -1}, None),
        ({"group": 7}, Condition.GROUP_NOT_HANDED_DOWN),
        ({"group": 7, "mode": 0o2770}, None),
        ({"group": 7, "mode": 0o700}, None),
        ({"group": 7, "kind": "cifs"}, None),
        ({}, None),
    ],
)
def test_file_systems_that_are_hard_to_come_by(change: dict[str, object], condition: Condition | None) -> None:
    """Short names, FAT, few inodes; a group that may read and gets nothing handed down."""
    facts = replace(GOOD, **change)
    (finding,) = judge_folder(load(EXAMPLE), "invoices", "outbound", facts, User("sealdrop", 999, GOOD.group, ()))
    assert finding.condition is condition


@pytest.mark.parametrize(
    ("facts", "condition"),
    [
        (replace(GOOD, error=errno.ESTALE), Condition.FOLDER_BROKEN),
        (replace(GOOD, write_error=errno.EIO), Condition.FOLDER_BROKEN),
        (replace(GOOD, write_error=errno.EDQUOT), Condition.FOLDER_FULL),
        (replace(GOOD, read_error=errno.EACCES), Condition.FOLDER_CLOSED),
        (Facts("/srv/in", errno.ECHILD), Condition.FOLDER_BROKEN),
        (None, Condition.FOLDER_HANGS),
    ],
)
def test_faults_that_are_hard_to_come_by(facts: Facts | None, condition: Condition) -> None:
    """A stale handle, a failing disk, a quota, a folder that can be written and not read, a child that died."""
    finding = judge_access("folder invoices", "inbound", facts, "sealdrop", may_create=False)
    assert finding is not None
    assert finding.condition is condition
