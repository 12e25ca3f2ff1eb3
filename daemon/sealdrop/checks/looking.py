"""The facts of one file or folder, gathered without changing anything: nothing is judged here.

Whether a folder can be written to is found out by a file without a name (O_TMPFILE, open(2)), where the file system has
such: it needs what a real file needs, a right, an inode and a block, gives nobody an event, and is gone by itself.
Elsewhere access(2) must do.

Run as a program (see `eyes`), it first becomes the user that it is told to, since root may do what the service may not;
then it answers each path with a line of JSON, at once, so that whoever waits knows which path it hangs on. It must
start quickly and as anybody, so it imports next to nothing.
"""

import errno
import json
import os
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from sealdrop.pipeline.mounts import mount_of

_MAGIC_BYTES = 8
_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a path; the numbers are 0 and the texts empty where it could not be looked at.

    ``error`` is the errno of looking, ``read_error`` and ``write_error`` those of trying; 0 means that all went well.
    ``above`` is the nearest folder above that is there, for a path that is not, and ``can_make`` whether it may be made
    in there. ``kind`` is the file system's, ``source`` what is mounted. ``free_files`` is -1 where there is no limit.
    ``is_behind`` says that a folder above keeps others out, whatever this one grants. ``beginning`` is a file's, in
    hexadecimal.
    """

    path: str
    error: int = 0
    is_folder: bool = False
    is_file: bool = False
    mode: int = 0
    owner: int = 0
    group: int = 0
    read_error: int = 0
    write_error: int = 0
    above: str = ""
    can_make: bool = False
    kind: str = ""
    source: str = ""
    free_bytes: int = 0
    free_files: int = -1
    longest_name: int = 255
    is_behind: bool = False
    beginning: str = ""


def look(path: Path) -> Facts:
    """Return the facts of ``path``, for the user that this process is."""
    try:
        status = path.stat()
    except OSError as error:
        above = _nearest_above(path)
        can_make = error.errno == errno.ENOENT and os.access(above, os.W_OK | os.X_OK)
        return Facts(str(path), error.errno or errno.EIO, above=str(above), can_make=can_make)
    try:
        room = os.statvfs(path)
        mount = mount_of(path)
    except OSError as error:
        return Facts(str(path), error.errno or errno.EIO, mode=status.st_mode, owner=status.st_uid, group=status.st_gid)
    is_folder = stat.S_ISDIR(status.st_mode)
    beginning, read_error = _read(path, is_folder=is_folder)
    return Facts(
        str(path),
        is_folder=is_folder,
        is_file=stat.S_ISREG(status.st_mode),
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        group=status.st_gid,
        read_error=read_error,
        write_error=_try_to_write(path, room) if is_folder else 0,
        kind=mount.kind,
        source=mount.source,
        free_bytes=room.f_bavail * room.f_frsize,
        # Some file systems make room for names as they need it, and say that they have none.
        free_files=room.f_favail if room.f_files else -1,
        longest_name=room.f_namemax,
        is_behind=_is_behind(path),
        beginning=beginning.hex(),
    )


def _nearest_above(path: Path) -> Path:
    for folder in path.parents:
        if os.path.lexists(folder):
            return folder
    return Path("/")


def _is_behind(path: Path) -> bool:
    try:
        return not all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(os.path.realpath(path)).parents)
    except OSError:
        return True


def _read(path: Path, *, is_folder: bool) -> tuple[bytes, int]:
    """Read a name or the first bytes; return them, or the errno."""
    try:
        if is_folder:
            with os.scandir(path) as entries:
                next(entries, None)
            return b"", 0 if os.access(path, os.X_OK) else errno.EACCES
        # A pipe in the file's place must not hold us up.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - of a descriptor
            return file.read(_MAGIC_BYTES) or b"", 0
    except OSError as error:
        return b"", error.errno or errno.EIO


def _try_to_write(folder: Path, room: os.statvfs_result) -> int:
    if room.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not os.access(folder, os.W_OK | os.X_OK):
        return errno.EACCES
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return 0 if error.errno in _NO_NAMELESS_FILES else error.errno or errno.EIO
    try:
        os.write(fd, b"\0")
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        os.close(fd)
    return 0


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Give up all that this process may do as root, for good."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def main() -> None:
    """Answer one line for each path that comes in, as the user that the first line names, if it does."""
    user = json.loads(sys.stdin.readline())
    if user is not None:
        become(user["uid"], user["gid"], user["groups"])
    for line in sys.stdin:
        print(json.dumps(asdict(look(Path(json.loads(line))))), flush=True)  # noqa: T201 - a program's answer


if __name__ == "__main__":
    main()
