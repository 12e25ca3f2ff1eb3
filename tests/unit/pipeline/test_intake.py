"""Taking a file over, and removing the original and nothing else."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sealdrop import durable
from sealdrop.model import DocumentId, FileIdentity, Reason, Sha256
from sealdrop.pipeline import intake
from sealdrop.pipeline.intake import (
    NotTaken,
    Removal,
    Taken,
    Unsettled,
    document_of,
    finish_removal,
    remove_original,
    take,
)

ID = DocumentId("20261123-00112233aabbccdd")
CONTENT = b"%PDF-1.7 some content %%EOF"


@pytest.fixture
def inbound(tmp_path: Path) -> Path:
    """An inbound folder."""
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where the durable copy goes."""
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool" / "original.pdf"


def _take(inbound: Path, path: Path, copy: Path) -> Taken | NotTaken | Unsettled:
    """Take the file over in the state that it is in, if it is there."""
    seen = FileIdentity.of(path.lstat()) if os.path.lexists(path) else FileIdentity(0, 0, 0, 0)
    return take(inbound, path, copy, seen=seen)


@pytest.mark.parametrize(
    "name",
    ["a.pdf", "sub/deeper/a.pdf", "two\nlines.pdf", 'l\'été "1".pdf', "y" * 251 + ".pdf", "-rf", "a\\b.pdf"],
)
def test_a_file_is_copied_and_left_where_it_is(inbound: Path, copy: Path, name: str) -> None:
    """The copy is the file's content, its facts are right, and the original still stands."""
    path = inbound / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    taken = _take(inbound, path, copy)
    digest = Sha256(hashlib.sha256(CONTENT).hexdigest())
    assert taken == Taken(name, FileIdentity.of(path.stat()), len(CONTENT), digest)
    assert copy.read_bytes() == path.read_bytes() == CONTENT
    assert copy.stat().st_mode & 0o777 == 0o600


def _symlink(path: Path) -> None:
    path.with_name("target").write_bytes(CONTENT)
    path.symlink_to(path.with_name("target"))


def _hard_link(path: Path) -> None:
    path.write_bytes(CONTENT)
    os.link(path, path.with_name("other"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_symlink, Reason.SYMLINK),
        (_hard_link, Reason.HARD_LINK),
        (os.mkfifo, Reason.SPECIAL_FILE),
        (Path.mkdir, Reason.SPECIAL_FILE),
    ],
    ids=["symlink", "hard link", "pipe", "folder"],
)
def test_only_a_regular_file_with_one_name_is_taken(
    inbound: Path, copy: Path, make: Callable[[Path], None], reason: Reason
) -> None:
    """Anything else is left where it is, with a reason, and nothing hangs on it."""
    make(inbound / "x.pdf")
    taken = _take(inbound, inbound / "x.pdf", copy)
    assert isinstance(taken, NotTaken)
    assert taken.reason is reason
    assert not copy.exists()
    assert os.path.lexists(inbound / "x.pdf")


@pytest.mark.usefixtures("root")
def test_a_device_is_not_even_opened(inbound: Path, copy: Path) -> None:
    """A device is left where it is, with a reason: to open some is to act on them."""
    os.mknod(inbound / "x.pdf", 0o020600, os.makedev(1, 3))
    taken = _take(inbound, inbound / "x.pdf", copy)
    assert isinstance(taken, NotTaken)
    assert taken.reason is Reason.SPECIAL_FILE
    assert not copy.exists()


def test_a_linked_folder_is_not_entered(inbound: Path, copy: Path, tmp_path: Path) -> None:
    """A file reached through a symbolic link to a folder is not taken, even if the path names it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.pdf").write_bytes(CONTENT)
    (inbound / "sub").symlink_to(tmp_path / "outside")
    assert isinstance(_take(inbound, inbound / "sub" / "secret.pdf", copy), Unsettled | NotTaken)
    assert not copy.exists()
    identity = FileIdentity.of((tmp_path / "outside" / "secret.pdf").stat())
    assert remove_original(inbound, "sub/secret.pdf", identity, ID) is Removal.GONE
    assert (tmp_path / "outside" / "secret.pdf").exists()


def test_a_name_that_is_not_utf8_is_told(inbound: Path, copy: Path) -> None:
    """A name that cannot be written down is left."""
    name = os.fsdecode(b"caf\xe9.pdf")
    (inbound / name).write_bytes(CONTENT)
    taken = _take(inbound, inbound / name, copy)
    assert taken == NotTaken(name, Reason.NAME_INVALID, "the name is not valid UTF-8")


def test_a_file_that_vanishes_is_no_fault(inbound: Path, copy: Path) -> None:
    """Somebody who takes his file back is not an error."""
    assert _take(inbound, inbound / "gone.pdf", copy) == Unsettled("gone.pdf")


@pytest.mark.parametrize("change", ["append", "rewrite", "truncate", "touch"])
def test_a_file_that_changes_while_it_is_copied_is_not_taken(
    inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A writer between the first byte and the last makes the copy void, and it is removed."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)
    copy_hashed = durable.copy_hashed

    def interrupted(source: BinaryIO, target: BinaryIO, **rest: Callable[[], None]) -> tuple[int, Sha256]:
        result = copy_hashed(source, target, **rest)
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "rewrite":
            path.write_bytes(CONTENT.upper())
        elif change == "truncate":
            os.truncate(path, 3)
        else:
            os.utime(path)
        return result

    monkeypatch.setattr(intake, "copy_hashed", interrupted)
    assert _take(inbound, path, copy) == Unsettled("a.pdf")
    assert not copy.exists()
    assert path.exists()


@pytest.mark.parametrize("change", ["emptied", "replaced"])
def test_only_the_state_that_was_judged_complete_is_taken(inbound: Path, copy: Path, change: str) -> None:
    """A writer who begins anew between the judgement and the copy keeps his file, however still it stands then."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)
    seen = FileIdentity.of(path.stat())
    if change == "emptied":
        os.truncate(path, 0)
    else:
        path.rename(inbound / "b.pdf")
        path.write_bytes(CONTENT)
    assert take(inbound, path, copy, seen=seen) == Unsettled("a.pdf")
    assert not copy.exists()
    assert path.exists()


def test_a_file_that_grows_without_end_cannot_fill_the_spool(
    inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is copied than was there when the file was judged, however fast somebody appends."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)
    read, written = os.read, []

    def growing(fd: int, size: int) -> bytes:
        chunk = read(fd, size)
        written.append(len(chunk))
        with path.open("ab") as file:
            file.write(CONTENT)
        return chunk

    monkeypatch.setattr(os, "read", growing)
    assert _take(inbound, path, copy) == Unsettled("a.pdf")
    assert sum(written) <= len(CONTENT)


def test_a_file_larger_than_any_folder_accepts_is_left(inbound: Path, copy: Path) -> None:
    """A terabyte, even one of nothing, is not copied first and rejected then."""
    path = inbound / "a.pdf"
    path.touch()
    os.truncate(path, intake.LARGEST_BYTES + 1)
    taken = _take(inbound, path, copy)
    assert isinstance(taken, NotTaken)
    assert taken.reason is Reason.TOO_LARGE
    assert not copy.exists()


def test_a_file_that_cannot_be_read_is_its_own_trouble(
    inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk error in one file is said of that file; it is no error that would stop the look at the others."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", broken)
    taken = _take(inbound, path, copy)
    assert taken == NotTaken("a.pdf", Reason.FILE_UNREADABLE, "it cannot be read: Input/output error")
    assert not copy.exists()


def test_a_file_on_which_a_server_holds_a_lease_is_left_for_now(
    inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal for the moment is not a file that cannot be read."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)
    seen, real_open = FileIdentity.of(path.stat()), os.open

    def leased(name: str, flags: int, *rest: int, **options: int) -> int:
        if Path(name).name == "a.pdf":
            raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")
        return real_open(name, flags, *rest, **options)

    monkeypatch.setattr(os, "open", leased)
    assert take(inbound, path, copy, seen=seen) == Unsettled("a.pdf")


def test_a_pipe_that_takes_the_files_place_does_not_hang(
    inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named pipe put there between the look and the opening is opened without waiting for a writer, and dropped."""
    path = inbound / "a.pdf"
    path.write_bytes(CONTENT)
    seen, real_open = FileIdentity.of(path.stat()), os.open

    def overtaken(name: str, flags: int, *rest: int, **options: int) -> int:
        if Path(name).name == "a.pdf":
            path.unlink()
            os.mkfifo(path)
        return real_open(name, flags, *rest, **options)

    monkeypatch.setattr(os, "open", overtaken)
    assert take(inbound, path, copy, seen=seen) == Unsettled("a.pdf")
    assert not copy.exists()


def test_a_full_disk_takes_nothing(inbound: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the copy cannot be written that is an error, and the original is untouched."""
    (inbound / "a.pdf").write_bytes(CONTENT)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(intake, "flush", full)
    with pytest.raises(OSError, match="No space"):
        _take(inbound, inbound / "a.pdf", copy)
    assert (inbound / "a.pdf").read_bytes() == CONTENT


def _dropped(inbound: Path, name: str = "a.pdf") -> tuple[Path, FileIdentity]:
    path = inbound / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    return path, FileIdentity.of(path.stat())


def test_the_original_is_removed(inbound: Path) -> None:
    """What was copied goes, and no trace of the removal stays."""
    path, identity = _dropped(inbound, "sub/a.pdf")
    assert remove_original(inbound, "sub/a.pdf", identity, ID) is Removal.REMOVED
    assert list(path.parent.iterdir()) == []
    assert remove_original(inbound, "sub/a.pdf", identity, ID) is Removal.GONE


def test_a_file_that_took_its_place_stays(inbound: Path) -> None:
    """A new file under the old name is not the one that was copied."""
    path, identity = _dropped(inbound)
    path.unlink()
    path.write_bytes(b"something new that nobody has copied")
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REPLACED
    assert path.read_bytes() == b"something new that nobody has copied"


def test_a_file_that_takes_its_place_in_that_instant_stays(inbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that is put there between the comparison and the removal is not lost: it gets its name back."""
    path, identity = _dropped(inbound)
    rename = os.rename

    def overtaken(source: str, target: str, **options: int) -> None:
        newcomer = inbound / ".newcomer"
        newcomer.write_bytes(b"newcomer")
        rename(newcomer, path)
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", overtaken)
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REPLACED
    assert path.read_bytes() == b"newcomer"
    assert list(inbound.iterdir()) == [path]


def test_a_removal_that_was_cut_off_is_finished(inbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash after the original was set aside leaves a hidden name with the document's ID; it can be finished."""
    _, identity = _dropped(inbound)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(os, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            remove_original(inbound, "a.pdf", identity, ID)
    (aside,) = inbound.iterdir()
    assert document_of(aside.name) == (ID, None)
    assert finish_removal(aside, "a.pdf", identity) is Removal.REMOVED
    assert list(inbound.iterdir()) == []


def test_a_stranger_that_was_set_aside_gets_its_name_back(inbound: Path) -> None:
    """If what was set aside is not what was copied, it goes back under its name."""
    aside = inbound / f".sealdrop-{ID}.tmp"
    aside.write_bytes(b"stranger")
    assert finish_removal(aside, "sub/a.pdf", FileIdentity(1, 2, 3, 4)) is Removal.REPLACED
    assert (inbound / "a.pdf").read_bytes() == b"stranger"
    assert not aside.exists()


def test_an_original_that_somebody_has_open_for_writing_stays(inbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the writer still adds would be lost with the name: the original stands, and does not even move.

    A name that goes and comes back would be an event, upon which we would look again, and so on.
    """
    path, identity = _dropped(inbound)
    with path.open("ab"), monkeypatch.context() as still:
        still.setattr(os, "rename", pytest.fail)
        with pytest.raises(OSError, match="open for writing"):
            remove_original(inbound, "a.pdf", identity, ID)
        assert list(inbound.iterdir()) == [path]
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REMOVED


def test_an_original_that_is_opened_in_that_instant_gets_its_name_back(
    inbound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer who opens the file before it is set aside is noticed before it is removed."""
    path, identity = _dropped(inbound)
    rename = os.rename
    opened: list[BinaryIO] = []

    def overtaken(source: str, target: str, **options: int) -> None:
        opened.append(path.open("ab"))
        rename(source, target, **options)

    with monkeypatch.context() as racing:
        racing.setattr(os, "rename", overtaken)
        with pytest.raises(OSError, match="open for writing"):
            remove_original(inbound, "a.pdf", identity, ID)
    opened[0].close()
    assert list(inbound.iterdir()) == [path]
    assert FileIdentity.of(path.stat()) == identity


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_two_newcomers_in_that_instant_both_stay(inbound: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """If the name is taken again before the first newcomer got it back, that one gets a name with the ID."""
    path, identity = _dropped(inbound)
    rename, link = os.rename, os.link

    def overtaken(source: str, target: str, **options: int) -> None:
        if source == "a.pdf":
            path.write_bytes(b"first newcomer")
        rename(source, target, **options)
        if source == "a.pdf":
            path.write_bytes(b"second newcomer")

    def refused(*arguments: str, **options: int) -> None:
        if not links:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        link(*arguments, **options)

    monkeypatch.setattr(os, "rename", overtaken)
    monkeypatch.setattr(os, "link", refused)
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REPLACED
    assert {path.name: path.read_bytes() for path in inbound.iterdir()} == {
        "a.pdf": b"second newcomer",
        f"a-{ID}.pdf": b"first newcomer",
    }


def test_a_folder_that_takes_its_place_in_that_instant_stays(inbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name, which no hard link can bring back, keeps its files and gets a visible name."""
    path, identity = _dropped(inbound)
    rename = os.rename

    def overtaken(source: str, target: str, **options: int) -> None:
        if source == "a.pdf":
            path.unlink()
            path.mkdir()
            (path / "inside.pdf").write_bytes(CONTENT)
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", overtaken)
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REPLACED
    assert (inbound / f"a-{ID}.pdf" / "inside.pdf").read_bytes() == CONTENT


def test_what_an_earlier_try_set_aside_is_not_renamed_over(inbound: Path) -> None:
    """A stranger that a crash left under the temporary name is given back before that name is used again."""
    _, identity = _dropped(inbound)
    (inbound / f".sealdrop-{ID}.tmp").write_bytes(b"stranger")
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.REMOVED
    (left,) = inbound.iterdir()
    assert left.name == f"a-{ID}.pdf"
    assert left.read_bytes() == b"stranger"


def test_giving_back_that_was_cut_off_is_finished(inbound: Path) -> None:
    """A crash between the two names leaves one file with both; only the hidden one goes."""
    stranger = inbound / "a.pdf"
    stranger.write_bytes(b"stranger")
    aside = inbound / f".sealdrop-{ID}.tmp"
    os.link(stranger, aside)
    assert finish_removal(aside, "a.pdf", FileIdentity(1, 2, 3, 4)) is Removal.REPLACED
    assert list(inbound.iterdir()) == [stranger]
    assert stranger.stat().st_nlink == 1


def test_a_name_too_long_for_an_id_is_cut(inbound: Path) -> None:
    """A stranger whose name has 255 bytes is given back under one that the file system takes."""
    name = "é" * 125 + "a.pdf"
    (inbound / name).write_bytes(b"second")
    aside = inbound / f".sealdrop-{ID}.tmp"
    aside.write_bytes(b"first")
    assert finish_removal(aside, name, FileIdentity(1, 2, 3, 4)) is Removal.REPLACED
    assert sorted(path.read_bytes() for path in inbound.iterdir()) == [b"first", b"second"]


def test_an_original_is_not_gone_because_its_share_is(inbound: Path) -> None:
    """A folder that is not there, or an empty one where something else was mounted, is an error: nobody knows."""
    path, identity = _dropped(inbound)
    with pytest.raises(FileNotFoundError):
        remove_original(inbound / "not mounted", "a.pdf", identity, ID)
    path.unlink()
    elsewhere = FileIdentity(identity.device + 1, identity.inode, identity.size_bytes, identity.mtime_ns)
    with pytest.raises(OSError, match="another file system"):
        remove_original(inbound, "a.pdf", elsewhere, ID)
    assert remove_original(inbound, "a.pdf", identity, ID) is Removal.GONE


def test_an_original_is_known_again_after_its_share_was_mounted_anew(inbound: Path) -> None:
    """The device's number may have changed since; the file is the same one and goes."""
    _, identity = _dropped(inbound)
    earlier = FileIdentity(identity.device + 1, identity.inode, identity.size_bytes, identity.mtime_ns)
    assert remove_original(inbound, "a.pdf", earlier, ID) is Removal.REMOVED
    assert list(inbound.iterdir()) == []
