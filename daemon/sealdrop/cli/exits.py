"""The exit codes."""

from enum import IntEnum


class Exit(IntEnum):
    """What a command's end says to a script (70 and 78 as in sysexits.h)."""

    OK = 0
    NO = 1
    USAGE = 2
    BROKEN = 70
    CONFIGURATION = 78
