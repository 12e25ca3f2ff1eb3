"""Each thing that can be wrong with a folder, made real: what `check` says, and whether the service starts."""

import grp
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image

from checking import FOLDERS, Scene, make_scene
from command import sealdrop
from disks import fill, read_only, share, small_disk, unmount
from sealdrop.checks.findings import Condition, Mark
from sealdrop.checks.survey import Survey, Wanted
from sealdrop.clock import SystemClock
from signapi_peer import Pki

NOBODY = 65534


def test_all_is_well(scene: Scene) -> None:
    """An installation in which all is well has no failure, and the exit code 0; nothing on disk is changed."""
    checked = scene.check()
    assert checked.bad() == set(), checked.ended.out
    assert checked.ended.code == 0
    found = {each["what"]: each["text"] for each in checked.findings}
    assert f"{scene.folder('inbound')} (" in found["inbound"]
    assert "events and looked at every 30 s" in found["inbound"]


def test_a_missing_folder(scene: Scene) -> None:
    """It is named, and the service refuses to start."""
    scene.folder("rejected").rmdir()
    checked = scene.check()
    assert checked.ended.code == 1
    found = checked.has(Condition.FOLDER_MISSING)
    assert (found["what"], found["run_refuses"]) == ("rejected", True)
    assert str(scene.folder("rejected")) in found["text"]
    assert f"folders.invoices.rejected: there is no folder {scene.folder('rejected')}" in scene.refusal()


def test_a_missing_folder_that_the_service_makes(scene: Scene) -> None:
    """With create_folders it is no fault, and it is not made by looking."""
    scene.set("service", "create_folders = true")
    scene.folder("rejected").rmdir()
    assert scene.check().bad() == {Condition.FOLDER_TO_BE_MADE}
    assert not scene.folder("rejected").exists()
    scene.starts()


def test_a_folder_for_originals(scene: Scene) -> None:
    """The fifth folder, if the configuration has one, is looked at like the others."""
    scene.set("folders.invoices", 'processed = "processed"')
    assert scene.check().has(Condition.FOLDER_MISSING)["what"] == "processed"
    assert "folders.invoices.processed" in scene.refusal()
    scene.folder("processed").mkdir(mode=0o700)
    assert scene.check().bad() == set()


def test_something_else_in_a_folders_place(scene: Scene) -> None:
    """A file is no folder."""
    scene.folder("failed").rmdir()
    scene.folder("failed").write_text("")
    assert scene.check().has(Condition.NOT_A_FOLDER)["run_refuses"]
    assert "is no folder" in scene.refusal()


@pytest.mark.usefixtures("root")
class TestDisks:
    """What only root can bring about: file systems that are full, read-only, shares."""

    def test_no_room(self, scene: Scene) -> None:
        """A file system without a free byte: a failure, though the service starts and waits for room."""
        with small_disk(scene.folder("outbound")):
            fill(scene.folder("outbound"))
            checked = scene.check()
            assert "no bytes are left" in checked.has(Condition.FOLDER_FULL)["text"]
            assert checked.ended.code == 1
            scene.starts()

    def test_no_inodes(self, scene: Scene) -> None:
        """A file system without a free inode, too."""
        with small_disk(scene.folder("outbound"), files=20):
            with suppress(OSError):
                for number in range(30):
                    (scene.folder("outbound") / str(number)).touch()
            assert "no files are left" in scene.check().has(Condition.FOLDER_FULL)["text"]

    def test_room_for_less_than_the_largest_document(self, scene: Scene) -> None:
        """It is a warning, which --strict has count."""
        with small_disk(scene.folder("failed"), size="512k"):
            checked = scene.check()
            assert "not enough for the largest document, 1.0 MiB" in checked.has(Condition.FOLDER_TIGHT)["text"]
            assert checked.ended.code == 0
            assert scene.check("--strict").ended.code == 1

    def test_read_only(self, scene: Scene) -> None:
        """A file system that is mounted read-only: root is not told by access rights alone."""
        with small_disk(scene.folder("failed")):
            read_only(scene.folder("failed"), on=True)
            assert scene.check().has(Condition.FOLDER_READ_ONLY)["what"] == "failed"
            assert "read-only" in scene.refusal()

    def test_a_share(self, scene: Scene) -> None:
        """An inbound folder on a share works, by looking only, and the check says so."""
        with share(scene.root / "back", scene.folder("inbound")):
            checked = scene.check()
            (inbound,) = (each for each in checked.findings if each["what"] == "inbound")
            assert "fuse" in inbound["text"]
            assert "looked at every 30 s only" in inbound["text"]
            assert checked.bad() == set()

    def test_the_state_on_a_share(self, scene: Scene) -> None:
        """The state directory on a share is refused, unless it is allowed for a trial."""
        with share(scene.root / "back", scene.state):
            scene.state.chmod(0o700)
            assert scene.check().has(Condition.STATE_ON_SHARE)["run_refuses"]
            assert "no local disk" in scene.refusal()
            scene.set("service", "allow_unsafe_state = true")
            assert scene.check().has(Condition.SETTING_DOUBTFUL)["mark"] == Mark.WARNING
            scene.starts()

    def test_the_state_in_memory(self, scene: Scene) -> None:
        """The state directory in memory is gone with the power: refused."""
        with small_disk(scene.state):
            assert scene.check().has(Condition.STATE_IN_MEMORY)["run_refuses"]
            assert "in memory" in scene.refusal()

    def test_the_state_without_room(self, scene: Scene) -> None:
        """Less than min_free_mib: no file would be taken over, and the check says what is missing."""
        scene.set("service", "allow_unsafe_state = true")
        scene.values["min_free_mib"] = "64.0"
        with small_disk(scene.state):
            found = scene.check().has(Condition.STATE_FULL)
            assert "64 MiB are needed" in found["text"]
            assert not found["run_refuses"]

    def test_a_share_that_hangs(self, scene: Scene) -> None:
        """Folders whose server does not answer are named, and all else is looked at within the deadline."""
        with stopped_share(scene.root / "back", scene.folder("outbound")):
            survey = Survey(scene.config(), SystemClock(), Wanted(offline=True, look_s=1.0))
            findings = list(survey.findings())
        hanging = [finding.what for finding in findings if finding.condition is Condition.FOLDER_HANGS]
        assert hanging == ["outbound"]
        assert {finding.what for finding in findings if finding.subject == "folder invoices"} == set(FOLDERS)


@contextmanager
def stopped_share(back: Path, place: Path) -> Iterator[None]:
    """A share at ``place`` whose file server is stopped: whoever looks at it hangs until the end of the block."""
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    back.mkdir()
    with subprocess.Popen(["bindfs", "-f", back, place]) as server:
        while not os.path.ismount(place):
            assert server.poll() is None
        server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            server.send_signal(signal.SIGCONT)
            unmount(place)


@pytest.fixture
def public(peers: Pki) -> Iterator[Scene]:
    """Give an installation below a folder that everybody may enter, owned by nobody in particular."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        scene = make_scene(Path(folder), peers)
        for each in (scene.state, *map(scene.folder, FOLDERS), scene.pki.folder, *scene.pki.folder.iterdir()):
            os.chown(each, NOBODY, NOBODY)
        yield scene


@pytest.mark.usefixtures("root")
class TestAnotherUser:
    """Root looks with the eyes of the service's user: of whoever owns the state directory, or is named."""

    def test_all_is_well(self, public: Scene) -> None:
        """The owner of the state directory is taken for the service's user."""
        checked = public.check()
        assert checked.bad() == set()
        assert any(each["text"] == "looked at as nobody, who owns the state directory" for each in checked.findings)

    def test_a_folder_of_somebody_else(self, public: Scene) -> None:
        """Root could write there, the service could not."""
        os.chown(public.folder("outbound"), 0, 0)
        public.folder("outbound").chmod(0o750)
        found = public.check().has(Condition.FOLDER_CLOSED)
        assert found["what"] == "outbound"
        assert "nobody may not read and write it" in found["text"]

    def test_a_folder_behind_a_closed_one(self, public: Scene) -> None:
        """A folder above that the user may not search hides it."""
        closed = public.root / "closed"
        closed.mkdir(mode=0o700)
        public.folder("failed").rename(closed / "failed")
        public.values["failed"] = f'"{closed / "failed"}"'
        assert "may not even see" in public.check().has(Condition.FOLDER_CLOSED)["text"]

    def test_a_named_user(self, public: Scene) -> None:
        """--user looks as somebody else, here as one who may not use anything."""
        checked = public.check("--user", "daemon")
        assert Condition.FOLDER_CLOSED in checked.bad()
        assert Condition.FILE_UNREADABLE in checked.bad()
        assert any("daemon cannot read" in each["text"] for each in checked.findings)

    def test_a_sticky_bit(self, public: Scene) -> None:
        """In a sticky folder of somebody else, originals could not be removed."""
        os.chown(public.folder("inbound"), 0, NOBODY)
        public.folder("inbound").chmod(0o1770)
        found = public.check().has(Condition.ORIGINALS_STICK)
        assert (found["mark"], found["run_refuses"]) == (Mark.FAILURE, False)

    @pytest.mark.parametrize(("key", "mode"), [("inbound", 0o733), ("outbound", 0o755)])
    def test_a_folder_for_all(self, public: Scene, key: str, mode: int) -> None:
        """Everybody could have documents sealed, or read them."""
        public.folder(key).chmod(mode)
        assert public.check().has(Condition.FOLDER_FOR_ALL)["what"] == key

    def test_a_group_that_is_not_handed_down(self, public: Scene) -> None:
        """The office's group may look into the folder, and what the service makes there would not be the group's."""
        outbound = public.folder("outbound")
        os.chown(outbound, NOBODY, 1)
        outbound.chmod(0o770)
        found = public.check().has(Condition.GROUP_NOT_HANDED_DOWN)
        assert (found["what"], found["mark"]) == ("outbound", Mark.WARNING)
        assert f"not for the group {grp.getgrgid(1).gr_name}" in found["text"]
        outbound.chmod(0o2770)
        assert public.check().bad() == set()

    def test_a_state_directory_for_all(self, public: Scene) -> None:
        """Documents under way could be seen."""
        public.state.chmod(0o755)
        assert public.check().bad() == {Condition.STATE_READABLE}

    def test_secrets_for_all(self, public: Scene) -> None:
        """A key, a passphrase that everybody may read, and a configuration that everybody may change."""
        (public.pki.folder / "client.pem").chmod(0o644)
        path = public.config_path
        assert public.check().bad() == set()  # a folder above keeps everybody out
        public.pki.folder.chmod(0o755)
        path.chmod(0o666)
        assert public.check().bad() == {Condition.SECRET_READABLE, Condition.CONFIGURATION_WRITABLE}

    def test_folders_that_cannot_be_made(self, public: Scene) -> None:
        """create_folders is of no use where the user may not write above."""
        public.set("service", "create_folders = true")
        public.folder("failed").rmdir()
        found = public.check().has(Condition.FOLDER_CANNOT_BE_MADE)
        assert f"nobody may not write to {public.root}" in found["text"]


def test_another_user_is_roots_to_name(scene: Scene) -> None:
    """A user that is not there is a mistake in the command."""
    assert sealdrop("check", "--config", scene.config_path, "--user", "nobody-of-that-name").code == 2


def test_an_image(scene: Scene) -> None:
    """A visible seal's image must be a picture that can be read."""
    scene.set("folders.invoices.seal", '[folders.invoices.seal.visible]\nimage = "seal.png"')
    assert "there is no file" in scene.check().has(Condition.FILE_UNREADABLE)["text"]
    (scene.root / "seal.png").write_text("no picture")
    assert scene.check().has(Condition.IMAGE_UNUSABLE)["subject"] == "folder invoices"
    assert "neither PNG nor JPEG" in scene.refusal()
    (scene.root / "seal.png").write_bytes(b"\x89PNG\r\n\x1a\n rest")
    assert scene.check().has(Condition.VISIBLE_SEAL_UNUSABLE)["what"] == "seal.visible.image"
    assert "folders.invoices.seal.visible.image" in scene.refusal()
    Image.new("RGB", (80, 40), "white").save(scene.root / "seal.png")
    assert scene.check().bad() == set()
