"""Disks that can lose their power: ext4 on images, of which only what has reached the image is left after a cut.

What a program wrote and did not flush stands in the kernel's memory, not in the image. So a copy of the image, taken
while it is mounted, is what a machine finds after a power cut. State, inbound and the folders for results are a disk
each, because flushing one file of an ext4 file system makes all of its names durable, and hides what was forgotten.
"""

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

IMAGE_BYTES = 64 << 20  # sparse: what is used of it is a fraction
NAMES = ("state", "in", "out")
PATIENCE_S = 60.0
LOOK_S = 0.02
# The journal is committed when a program asks, not every 5 s; and a file that replaces another is not flushed unasked.
OPTIONS = "loop,commit=300,noauto_da_alloc"


class NoLoop(Exception):
    """This machine mounts no images."""


@dataclass
class Disks:
    """Three disks, mounted below ``mounts`` while the context lasts; ``images`` is a folder for what is on them."""

    mounts: Path
    images: Path
    _number: int = 0
    _mounted: list[Path] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Make and mount the disks.

        Raises:
            NoLoop: it cannot be done here.
        """
        self.images.mkdir()
        try:
            for name in NAMES:
                image = self.images / f"{name}-0"
                with image.open("wb") as file:
                    file.truncate(IMAGE_BYTES)
                _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
                (self.mounts / name).mkdir(parents=True)
                self._mount(name)
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise NoLoop(f"no disks can be made here: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Take the disks away, whatever is going on."""
        for name in reversed(NAMES):
            if self.mounts / name in self._mounted:
                self._unmount(name)

    def cut(self) -> None:
        """Cut the power and give it back: nothing may be running on the disks."""
        # All are copied before any is unmounted, which would flush it.
        for name in NAMES:
            before, after = self._image(name), self.images / f"{name}-{self._number + 1}"
            _run("cp", "--sparse=always", before, after)
        for name in NAMES:
            self._unmount(name)
            self._image(name).unlink()
        self._number += 1
        for name in NAMES:
            self._mount(name)

    def _image(self, name: str) -> Path:
        return self.images / f"{name}-{self._number}"

    def _mount(self, name: str) -> None:
        place = self.mounts / name
        _run("mount", "-o", OPTIONS, self._image(name), place)
        self._mounted.append(place)
        shutil.rmtree(place / "lost+found", ignore_errors=True)

    def _unmount(self, name: str) -> None:
        """Unmount a disk, once the last process has let go of it."""
        place = self.mounts / name
        deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while True:
            try:
                _run("umount", place)
                break
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    _run("umount", "--lazy", place)
                    break
            pause.wait(LOOK_S)
        self._mounted.remove(place)


def _run(*command: str | os.PathLike[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
