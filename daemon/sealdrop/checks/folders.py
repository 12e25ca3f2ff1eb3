"""What the facts of a folder mean: for the documents that come in or go out there, and for the state directory."""

import errno
import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sealdrop.checks.eyes import User
from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.looking import Facts
from sealdrop.checks.space import lack
from sealdrop.config import Config, Folder

# Names by which the kernel knows file systems of other machines (or of a virtual machine's host).
_SHARES = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
)
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs"})  # a local disk, as ntfs-3g has it; a container's own
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_WITHOUT_LINKS = frozenset({"exfat", "msdos", "vfat"})
# Where all files have one owner and one group, those of the mount.
_ONE_GROUP = _WITHOUT_LINKS | {"cifs", "smb3", "smbfs", "vboxsf"}
_TIGHT_FILES = 1000
_LONG_NAME_BYTES = 255


STATE_DIR = "state_dir"


def is_share(kind: str) -> bool:
    """Return whether a file system of that kind is another machine's, or a program's: it sends no events."""
    return kind in _SHARES or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def places_of(config: Config) -> Iterator[tuple[str, str, Path]]:
    """Yield subject, key and path of every folder: the state directory first."""
    yield "service", STATE_DIR, config.service.state_dir
    for name, folder in config.folders.items():
        for key, path in folder.places():
            yield f"folder {name}", key, path


def judge_access(subject: str, key: str, facts: Facts | None, user: str, *, may_create: bool) -> Finding | None:
    """Return why a folder cannot be used, or None if it can."""
    if facts is None:
        text = "it does not answer: whoever looks at it hangs"
        return Finding.of(Condition.FOLDER_HANGS, subject, key, text)
    path = facts.path
    if facts.error == errno.ENOENT and may_create:
        if facts.can_make:
            return Finding.of(Condition.FOLDER_TO_BE_MADE, subject, key, f"{path} will be created by the service")
        text = f"{path} cannot be created: {user} may not write to {facts.above}"
        return Finding.of(Condition.FOLDER_CANNOT_BE_MADE, subject, key, text)
    condition, text = _access(facts, user)
    return None if condition is None else Finding.of(condition, subject, key, text)


def _access(facts: Facts, user: str) -> tuple[Condition | None, str]:
    path = facts.path
    if facts.error in (errno.ENOENT, errno.ENOTDIR):
        return Condition.FOLDER_MISSING, f"there is no folder {path}"
    if facts.error in (errno.EACCES, errno.EPERM):
        return Condition.FOLDER_CLOSED, f"{user} may not even see {path}"
    if facts.error:
        return Condition.FOLDER_BROKEN, f"{path} cannot be looked at: {os.strerror(facts.error)}"
    if not facts.is_folder:
        return Condition.NOT_A_FOLDER, f"{path} is no folder"
    if facts.write_error == errno.EROFS:
        return Condition.FOLDER_READ_ONLY, f"{path} is on a file system that is mounted read-only"
    if facts.read_error or facts.write_error in (errno.EACCES, errno.EPERM):
        lacking = (
            "read and write" if facts.read_error and facts.write_error else "read" if facts.read_error else "write"
        )
        text = f"{user} may not {lacking} it: {path} has mode {facts.mode:04o}, owner {facts.owner}"
        return Condition.FOLDER_CLOSED, text
    if facts.write_error in (errno.ENOSPC, errno.EDQUOT):
        what = "files" if facts.free_files == 0 else "bytes"
        return Condition.FOLDER_FULL, f"there is no room in {path}: no {what} are left"
    if facts.write_error:
        return Condition.FOLDER_BROKEN, f"{path} cannot be written to: {os.strerror(facts.write_error)}"
    return None, ""


def judge_folder(config: Config, name: str, key: str, facts: Facts, user: User) -> Iterator[Finding]:
    """Yield what is to be said of a folder that can be used."""
    folder = config.folders[name]
    subject = f"folder {name}"
    doubts = list(_doubts(folder, subject, key, facts, user))
    yield from doubts
    if not doubts:
        how = ""
        if key == "inbound":
            swept = f"looked at every {folder.sweep_s:g} s"
            how = f", {swept} only: a share sends no events" if is_share(facts.kind) else f", events and {swept}"
        yield Finding(subject, key, f"{facts.path} ({_room_words(facts)}{how})")


def _doubts(folder: Folder, subject: str, key: str, facts: Facts, user: User) -> Iterator[Finding]:
    largest_bytes = int(folder.validation.max_mib * (1 << 20))
    if key == "inbound" and facts.mode & stat.S_ISVTX and user.uid not in (0, facts.owner):
        text = f"{facts.path} has the sticky bit and is not {user.name}'s: only who dropped a file may remove it there"
        yield Finding.of(Condition.ORIGINALS_STICK, subject, key, text)
    if facts.mode & (stat.S_IWOTH if key == "inbound" else stat.S_IROTH | stat.S_IXOTH) and not facts.is_behind:
        what = "drop documents here and have them sealed" if key == "inbound" else "see the documents here"
        text = f"everybody on this machine may {what}: {facts.path} has mode {facts.mode:04o}"
        yield Finding.of(Condition.FOLDER_FOR_ALL, subject, key, text)
    if key != "inbound":
        is_handed_down = facts.mode & stat.S_ISGID or facts.group == user.gid or facts.kind in _ONE_GROUP
        if facts.mode & stat.S_IRGRP and not is_handed_down:
            group = _group_name(facts.group)
            text = (
                f"what comes out here is not for the group {group}: {facts.path} has mode {facts.mode:04o}, without "
                "set-group-ID, and the unit lets the service give no file to a group"
            )
            yield Finding.of(Condition.GROUP_NOT_HANDED_DOWN, subject, key, text)
        if facts.free_bytes < largest_bytes:
            text = f"{_mib(facts.free_bytes)} are free in {facts.path}: not enough for the largest document, "
            yield Finding.of(Condition.FOLDER_TIGHT, subject, key, f"{text}{_mib(largest_bytes)}")
        elif 0 <= facts.free_files < _TIGHT_FILES:
            text = f"there is room for only {facts.free_files} more files in {facts.path}"
            yield Finding.of(Condition.FOLDER_TIGHT, subject, key, text)
    if facts.longest_name < _LONG_NAME_BYTES:
        text = f"names have at most {facts.longest_name} bytes in {facts.path} ({facts.kind})"
        yield Finding.of(Condition.NAMES_SHORT, subject, key, text)
    if facts.kind in _WITHOUT_LINKS:
        text = (
            f"{facts.path} is on {facts.kind}: capital and small letters are one, and a crash can leave an empty file"
        )
        yield Finding.of(Condition.NAMES_CHANGED, subject, key, text)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def judge_state(config: Config, facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said of a state directory that can be used."""
    subject, key = "service", STATE_DIR
    doubts = [finding for finding in (state_unsafe(config, facts), _state_full(config, facts)) if finding is not None]
    if facts.mode & 0o077 and not facts.is_behind:
        text = f"{facts.path} has mode {facts.mode:04o}: others may look into it"
        doubts.append(Finding.of(Condition.STATE_READABLE, subject, key, text))
    yield from doubts
    if not doubts:
        yield Finding(subject, key, f"{facts.path} ({_room_words(facts)})")


def state_unsafe(config: Config, facts: Facts) -> Finding | None:
    """Return why the state is not safe where it is, unless the configuration says that it need not be."""
    if is_share(facts.kind):
        condition, text = Condition.STATE_ON_SHARE, f"is on {facts.kind} ({facts.source}), which is no local disk"
    elif facts.kind in _IN_MEMORY:
        condition, text = Condition.STATE_IN_MEMORY, f"is on {facts.kind}, in memory"
    else:
        return None
    finding = Finding.of(condition, "service", STATE_DIR, f"{facts.path} {text}")
    if config.service.allow_unsafe_state:
        advice = "It is allowed by service.allow_unsafe_state: take that out before real documents come."
        return Finding.of(Condition.SETTING_DOUBTFUL, "service", STATE_DIR, finding.text, advice=advice)
    return finding


def _state_full(config: Config, facts: Facts) -> Finding | None:
    largest_bytes = max(config.largest_document_bytes(account) for account in config.accounts)
    lacking = lack(facts.free_bytes, facts.free_files, min_free_mib=config.service.min_free_mib, place=Path(facts.path))
    if lacking is not None:
        return Finding.of(Condition.STATE_FULL, "service", STATE_DIR, f"no file is taken over: {lacking}")
    lacking = lack(
        facts.free_bytes,
        facts.free_files,
        min_free_mib=config.service.min_free_mib,
        place=Path(facts.path),
        need_bytes=2 * largest_bytes,  # as it came, and sealed
    )
    if lacking is None and 0 <= facts.free_files < _TIGHT_FILES:
        lacking = f"there is room for only {facts.free_files} more files where {facts.path} is"
    if lacking is None:
        return None
    return Finding.of(Condition.FOLDER_TIGHT, "service", STATE_DIR, f"the largest document has no room: {lacking}")


def _room_words(facts: Facts) -> str:
    return f"{facts.kind or 'unknown file system'}, {_mib(facts.free_bytes)} free"


def _mib(size_bytes: int) -> str:
    mib = size_bytes / (1 << 20)
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"
