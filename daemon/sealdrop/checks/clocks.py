"""Whether this computer's clock is kept right, and how far it is from the service's."""

import ctypes
import os
from collections.abc import Iterator
from datetime import datetime, timedelta

from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Config

TOLERATED = timedelta(seconds=30)
# Half of what the check of a seal's time allows two honest clocks to be apart (sealdrop.pdf.evidence.CLOCK_SKEW): the
# timestamp authority's is a third one.
WRONG = timedelta(minutes=5)
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC in <linux/timex.h>


class _Timex(ctypes.Structure):
    """The beginning of adjtimex(2)'s structure, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error", ctypes.c_long),
        ("error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def judge_keeping() -> Iterator[Finding]:
    """Yield whether the kernel says that somebody keeps its clock right."""
    state = _Timex()  # modes = 0: only asks
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state)) < 0:
        text = f"the kernel does not say whether its clock is kept right: {os.strerror(ctypes.get_errno())}"
        yield Finding.of(Condition.CLOCK_UNKNOWN, "clock", "synchronised", text)
    elif state.status & _UNSYNCHRONISED:
        text = "nobody tells the kernel that its clock is kept right"
        yield Finding.of(Condition.CLOCK_NOT_KEPT, "clock", "synchronised", text)
    else:
        yield Finding("clock", "synchronised", "the kernel's clock is kept right")


def judge_zone(config: Config, now: datetime) -> Finding:
    """Return by which clock on the wall hours, quotas and dates in names are counted."""
    local = now.astimezone(config.service.zone())
    whose = config.service.time_zone or f"the system's own, {local:%Z}"
    return Finding("clock", "time zone", f"{whose}: it is {local:%H:%M} there now")


def judge_difference(account: str, ahead: timedelta) -> Finding:
    """Return what it means that our clock is ``ahead`` of the service's."""
    what = f"against {account}"
    seconds = round(ahead.total_seconds())
    text = f"{_span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} SignAPI's"
    if abs(ahead) > WRONG:
        return Finding.of(Condition.CLOCK_WRONG, "clock", what, text)
    if abs(ahead) > TOLERATED:
        return Finding.of(Condition.CLOCK_OFF, "clock", what, text)
    return Finding("clock", what, "the same as SignAPI's" if abs(seconds) <= 1 else text)


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
