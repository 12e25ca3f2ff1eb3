"""What is done in a jail, and what it needs to know, in words that need no library for PDFs.

Those libraries are for the children alone. The daemon names a function of these and hands over its arguments; where the
function runs, it loads what does the work. So the daemon is spared 30 MB of parsers, and cannot open a PDF by mistake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealdrop.config import SealPage, Validation
from sealdrop.model import ArchiveId, Inspection, SealLevel, SealPlace, Sha256, Verification

TEXT_CHARACTERS = 1000  # of a name or a check in a report; nothing limits them in a PDF or a certificate


@dataclass(frozen=True, slots=True)
class AnchorFacts:
    """One trust anchor; times are aware. ``is_authority`` says whether it may issue certificates."""

    path: str
    subject: str
    not_before: datetime
    not_after: datetime
    is_authority: bool


@dataclass(frozen=True, slots=True)
class Looks:
    """Where a seal should be seen; ``place`` is None if it should be invisible."""

    place: SealPlace | None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a sealed PDF is held against; None, or an empty tuple, means that it is not asked.

    ``now`` is aware. ``not_before`` is when the seal was asked for, ``not_after`` when it was there, ``now`` if that
    is not known; both by our clock. ``archive_ids`` are those that the service gave. ``looks`` is where it should be
    seen.
    """

    now: datetime
    original_size_bytes: int | None = None
    original_sha256: Sha256 | None = None
    organisation: str | None = None
    level: SealLevel | None = None
    trust_anchors: tuple[Path, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    archive_asked: bool = False
    archive_ids: tuple[ArchiveId, ...] = ()
    looks: Looks | None = None


def inspect(path: Path, rules: Validation, seal_page: SealPage | None = None) -> Inspection:
    """Return whether the PDF at ``path`` may be sealed, see `sealdrop.pdf.inspect`."""
    from sealdrop.pdf import inspect as work

    return work.inspect(path, rules, seal_page)


def verify_seal(sealed: Path, expected: Expectation) -> Verification:
    """Return what the PDF at ``sealed`` proves, see `sealdrop.pdf.seal`."""
    from sealdrop.pdf import seal as work

    return work.verify_seal(sealed, expected)


def describe_anchors(paths: Sequence[Path]) -> tuple[AnchorFacts, ...]:
    """Return what the trust anchors in ``paths`` say of themselves, see `sealdrop.pdf.anchors`."""
    from sealdrop.pdf import anchors as work

    return work.describe_anchors(paths)


def shortened(text: str) -> str:
    """Return text that may quote names from a file, cut to a length that is fit for a report."""
    return text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"
