"""Whether what a folder was on is still mounted."""

from pathlib import Path

import pytest

from sealdrop.pipeline import mounts
from sealdrop.pipeline.mounts import Mount, mount_points


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says is mounted."""
    path = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTS", path)
    return path


def _mount(table: Path, *places: str) -> None:
    lines = [f"{number} 1 8:1 / {place} rw - ext4 /dev/x rw\n" for number, place in enumerate(places)]
    table.write_text("".join(lines))


def test_places_are_read_as_they_are_escaped(table: Path) -> None:
    """Spaces, line breaks and bytes that are not UTF-8 in a mount point's name are what they were."""
    table.write_bytes(b"1 1 8:1 / / rw - ext4 x rw\n2 1 8:1 / /srv/a\\040b\\012\xe9 rw - ext4 x rw\n")
    assert mount_points() == {Path("/"), Path("/srv/a b\n\udce9")}


def test_a_mount_that_goes_is_noticed_and_one_that_comes_is_remembered(table: Path) -> None:
    """Gone is what was there at any time since the start, not what was mounted elsewhere or never."""
    folder = Mount(Path("/srv/share/invoices/out"), {})
    _mount(table, "/", "/srv/other")
    folder.check()
    _mount(table, "/")
    folder.check()
    _mount(table, "/", "/srv/share")
    folder.check()
    _mount(table, "/")
    with pytest.raises(OSError, match="not mounted any more"):
        folder.check()
    _mount(table, "/", "/srv/share", "/srv/share/invoices/out")
    folder.check()
    _mount(table, "/", "/srv/share")
    with pytest.raises(OSError, match="not mounted any more"):
        folder.check()


def test_what_others_saw_there_is_missed(table: Path) -> None:
    """Whoever looks at a folder for the first time while its share is away knows of it from those before."""
    seen: dict[Path, Path] = {}
    _mount(table, "/", "/srv/share")
    Mount(Path("/srv/share/out"), seen).check()
    _mount(table, "/")
    with pytest.raises(OSError, match="not mounted any more"):
        Mount(Path("/srv/share/out"), seen).check()
    Mount(Path("/srv/other"), seen).check()


def test_a_system_that_does_not_tell_is_no_fault(table: Path) -> None:
    """Without a table of mounts nothing is known, and nothing is held up."""
    folder = Mount(Path("/srv/share"), {})
    _mount(table, "/", "/srv/share")
    folder.check()
    table.unlink()
    folder.check()
