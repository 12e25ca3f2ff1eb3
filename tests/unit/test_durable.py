"""Files that are there, or not at all."""

import errno
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealdrop import durable
from sealdrop.durable import (
    hash_file,
    is_temporary,
    make_folder,
    make_subfolder,
    publish,
    publish_new,
    replace_file,
    tagged_name,
    temporary_file,
    temporary_name,
)
from sealdrop.errors import Retryable
from sealdrop.model import Sha256

NOBODY = 65534


def test_a_published_file_never_overwrites(tmp_path: Path) -> None:
    """A name that is taken stays as it is, and no temporary file is left."""
    final = tmp_path / "a.pdf"
    final.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        publish_new(b"ours", final, tag="d1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]
    assert final.read_bytes() == b"theirs"


@pytest.mark.parametrize("taken", ["folder", "link", "dangling"])
def test_whatever_has_the_name_stays(tmp_path: Path, taken: str) -> None:
    """A folder or a symbolic link of that name is as good as a file: nothing is written through it."""
    final, other = tmp_path / "a.pdf", tmp_path / "other"
    if taken == "folder":
        final.mkdir()
    else:
        final.symlink_to(other)
        if taken == "link":
            other.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        publish_new(b"ours", final, tag="d1")
    assert not other.exists() or other.read_bytes() == b"theirs"


def test_a_file_system_without_hard_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where link() is refused, the name is taken exclusively first; still nothing is overwritten."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    final = tmp_path / "a.pdf"
    publish_new(b"ours", final, tag="d1")
    assert final.read_bytes() == b"ours"
    with pytest.raises(FileExistsError):
        publish_new(b"again", final, tag="d2")
    assert final.read_bytes() == b"ours"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]


def test_another_error_of_link_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while linking is an error, not a reason to try another way."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        publish_new(b"ours", tmp_path / "a.pdf", tag="d1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_under_the_tag_is_replaced(tmp_path: Path) -> None:
    """A temporary file of the same tag, left by a crash, does not stand in the way and does not stay."""
    (tmp_path / ".sealdrop-d1.tmp").write_bytes(b"half")
    publish_new(b"ours", tmp_path / "a.pdf", tag="d1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]


def test_temporary_names_are_recognised(tmp_path: Path) -> None:
    """Our temporary names are known as ours, and others are not."""
    with temporary_file(tmp_path, mode=0o600) as (_, path):
        assert is_temporary(path.name)
    assert not is_temporary("invoice.tmp")
    assert not is_temporary(".sealdrop-notes.txt")


def test_a_file_that_was_not_finished_is_removed(tmp_path: Path) -> None:
    """An error while writing leaves nothing behind."""
    with pytest.raises(AttributeError), temporary_file(tmp_path, mode=0o600) as (file, _):
        file.no_such_method()
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_file_is_old_or_new(tmp_path: Path) -> None:
    """Replacing gives the new content under the old name, and keeps others out."""
    path = tmp_path / "state"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_flushed_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of a durable write: fsync the file, give it the name, fsync the folder."""
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(fd: int) -> None:
        calls.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "fsync file")  # noqa: PTH112
        fsync(fd)

    def noted_link(*arguments: str, **options: bool) -> None:
        calls.append("link")
        link(*arguments, **options)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    publish_new(b"x", tmp_path / "a", tag="d1")
    assert calls == ["fsync file", "link", "fsync folder"]


def test_a_copy_is_the_same_and_its_digest_right(tmp_path: Path) -> None:
    """A file of several chunks is copied whole."""
    content = os.urandom(durable.CHUNK_BYTES * 2 + 17)
    (tmp_path / "from").write_bytes(content)
    publish_new(tmp_path / "from", tmp_path / "to", tag="d1")
    assert hash_file(tmp_path / "to") == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o770, 0o660), (0o750, 0o640), (0o755, 0o640), (0o777, 0o660), (0o700, 0o600)]
)
def test_a_delivered_file_is_for_those_who_share_the_folder(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    """The folder's group may do with the file what it may do with the folder, and others nothing."""
    before = os.umask(0o077)
    try:
        tmp_path.chmod(folder_mode)
        os.chown(tmp_path, -1, 1234)
        publish_new(b"x", tmp_path / "a", tag="d1")
        sub = make_subfolder(tmp_path, Path("b/c"))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == file_mode
    assert (tmp_path / "a").stat().st_gid == 1234
    assert sub.stat().st_mode & 0o777 == folder_mode & 0o770
    assert sub.stat().st_gid == 1234


@pytest.mark.usefixtures("root")
def test_a_group_that_cannot_be_given_is_not_replaced_by_ours(tmp_path: Path) -> None:
    """Somebody who is not in the folder's group may not grant the file to his own group instead."""
    tmp_path.chmod(0o777)
    os.chown(tmp_path, -1, 1234)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & 0o005 != 0o005 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o005)
    code = (
        "import os, sys; from pathlib import Path\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "from sealdrop.durable import publish_new\n"
        "publish_new(b'x', Path(sys.argv[1]) / 'a', tag='d1')\n"
    )
    subprocess.run([sys.executable, "-c", "import sealdrop.durable\n" + code, str(tmp_path)], check=True)
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY)
    assert status.st_mode & 0o777 == 0o600


def test_a_set_group_id_folder_is_shared_even_where_that_bit_is_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd's RestrictSUIDSGID=, a sub-folder still gets the permissions of its parent."""
    fchmod = os.fchmod

    def restricted(fd: int, mode: int) -> None:
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        fchmod(fd, mode)

    monkeypatch.setattr(os, "fchmod", restricted)
    tmp_path.chmod(0o2770)
    assert make_subfolder(tmp_path, Path("sub")).stat().st_mode & 0o777 == 0o770


def test_a_subfolder_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off between making a sub-folder and sharing it, whatever the umask, it grants no more than its parent."""

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "_share", cut_off)
    tmp_path.chmod(0o750)
    before = os.umask(0)
    try:
        with pytest.raises(KeyboardInterrupt):
            make_subfolder(tmp_path, Path("sub"))
    finally:
        os.umask(before)
    assert (tmp_path / "sub").stat().st_mode & 0o777 == 0o750


def test_a_subfolder_is_never_a_link(tmp_path: Path) -> None:
    """A symbolic link in the way of a sub-folder is refused: nothing is written where it leads."""
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(FileExistsError):
        make_subfolder(root, Path("sub/deeper"))
    assert list(outside.iterdir()) == []


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    """Missing parents are created; a folder that is there is left alone; a file in the way is an error."""
    make_folder(tmp_path / "a" / "b", mode=0o700)
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_publishing_takes_the_temporary_name_away(tmp_path: Path) -> None:
    """After publishing the file has its final name only."""
    with temporary_file(tmp_path, mode=0o600) as (file, temporary):
        publish(file, temporary, tmp_path / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").stat().st_nlink == 1


@pytest.mark.parametrize("links", [True, False])
def test_half_of_another_writers_file_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """A second writer under the same tag takes the first one's name away: then neither's file is published for it."""
    final, flush = tmp_path / "a.pdf", durable.flush
    if not links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)

    def interrupted(file: BinaryIO) -> None:
        flush(file)
        (tmp_path / temporary_name("d1")).unlink()
        (tmp_path / temporary_name("d1")).write_bytes(b"wh")

    monkeypatch.setattr(durable, "flush", interrupted)
    with pytest.raises(Retryable, match="somebody else"):
        publish_new(b"whole", final, tag="d1")
    assert not final.exists()


@pytest.mark.parametrize(
    ("name", "tagged"),
    [
        ("a.pdf", "a-tag.pdf"),
        ("a.tar.gz", "a.tar-tag.gz"),
        ("noending", "noending-tag"),
        (".hidden", ".hidden-tag"),
        ("two\nlines.pdf", "two\nlines-tag.pdf"),
        ("a." + "b" * 17, "a." + "b" * 17 + "-tag"),
        ("ends with a dot.", "ends with a dot-tag."),
    ],
)
def test_a_tag_stands_before_the_ending(name: str, tagged: str) -> None:
    """The ending, by which programs know a file, stays; what is too long for one is part of the name."""
    assert tagged_name(name, "tag", limit_bytes=255) == tagged


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), st.integers(60, 255))
def test_a_tagged_name_is_never_too_long_and_always_text(name: str, limit_bytes: int) -> None:
    """Whatever the name, the tag is in it, it fits, and no character was cut in two."""
    tagged = tagged_name(name, "00112233", limit_bytes=limit_bytes)
    assert len(tagged.encode()) <= limit_bytes
    assert "-00112233" in tagged
    assert "/" not in tagged


def test_a_copy_of_something_else_gets_no_name(tmp_path: Path) -> None:
    """A file whose digest is not the one that was promised is not published, and leaves nothing."""
    (tmp_path / "from").write_bytes(b"changed")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Retryable, match="not what it was"):
        publish_new(tmp_path / "from", tmp_path / "folder" / "to", tag="d1", sha256=Sha256("00" * 32))
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_folder_that_is_there_is_made_durable_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made a folder may have been cut off before it was durable, so its parent is flushed again."""
    flushed: list[Path] = []
    monkeypatch.setattr(durable, "fsync_folder", flushed.append)
    make_folder(tmp_path)
    assert flushed.pop() == tmp_path.parent
    make_subfolder(tmp_path, Path("a/b"))
    make_subfolder(tmp_path, Path("a/b"))
    assert flushed == [tmp_path, tmp_path / "a"] * 2


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * durable.CHUNK_BYTES // 2)), max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_copy_with_holes_is_the_same_file(parts: list[tuple[bool, int]]) -> None:
    """Whatever of a file is zeros, its copy has the same bytes and digest, also where it ends in zeros."""
    content = b"".join(bytes(size) if zeros else b"\1" * size for zeros, size in parts)
    with tempfile.TemporaryFile() as target:
        size, digest = durable.copy_hashed(io.BytesIO(content), target)
        target.seek(0)
        assert target.read() == content
    assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())


def test_zeros_take_no_room_in_a_copy(tmp_path: Path) -> None:
    """A file that claims 256 MiB and holds nothing is copied without a block for it, and without asking for room."""
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 1 << 28)
    with source.open("rb") as original, (tmp_path / "copy").open("wb") as target:
        durable.copy_hashed(original, target, check=pytest.fail)
    status = (tmp_path / "copy").stat()
    assert status.st_size == 1 << 28
    assert status.st_blocks * 512 < durable.CHUNK_BYTES


def test_a_copy_asks_for_room_as_it_goes(tmp_path: Path) -> None:
    """What is said against going on ends the copy within a few megabytes."""

    def no_room() -> None:
        raise OSError(errno.ENOSPC, "no room")

    with (tmp_path / "copy").open("wb") as target, pytest.raises(OSError, match="no room"):
        durable.copy_hashed(io.BytesIO(b"x" * (durable.CHECK_BYTES * 2)), target, check=no_room)
    assert (tmp_path / "copy").stat().st_size <= durable.CHECK_BYTES + durable.CHUNK_BYTES
