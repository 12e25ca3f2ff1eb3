"""Whether somebody has a file open for writing, as far as the kernel tells; watch and intake both ask.

A read lease is refused with EAGAIN while anybody has the file open for writing (fcntl(2), F_SETLEASE). Only a file's
owner and processes with CAP_LEASE may ask. NFS and SMB refuse in the same way when the server has granted this
machine nothing: there, a refusal says nothing about writers.
"""

import fcntl
import os
import signal
from enum import Enum
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # proc(5)
_REFUSE_UNASKED = frozenset({"nfs", "nfs4", "cifs", "smb3"})


class Writer(Enum):
    """Whether somebody has a file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


def writer_of(fd: int) -> Writer:
    """Return whether somebody has the file open for writing that ``fd`` has open for reading."""
    try:
        # Whoever opens the file in the instant of the lease has the kernel signal us, by default with SIGIO, which
        # would end the process; SIGURG is ignored unless someone asks for it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Writer.UNKNOWN if file_system(os.fstat(fd).st_dev) in _REFUSE_UNASKED else Writer.SOME
    except OSError:
        return Writer.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def file_system(device: int) -> str:
    """Return the type of the file system on ``device``, empty if it is not among the mounts (proc(5), mountinfo)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for mount in _mounts().splitlines():
        place, separator, kind = mount.partition(" - ")
        if separator and place.split(" ", 3)[2:3] == [number]:
            return kind.partition(" ")[0]
    return ""


def _mounts() -> str:
    try:
        return MOUNTS.read_text(errors="replace")
    except OSError:
        return ""
