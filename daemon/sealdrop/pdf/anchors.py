"""What the certificates say that seals and timestamps must lead back to.

An anchor is trusted as it is, whatever it says of itself: its end, and whether it may issue certificates, are for
people to know (RFC 5280, 6.1.1 (d): an anchor is an input of validation, not its subject).
"""

# mypy: disable-error-code="import-untyped"
# asn1crypto has no types.

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealdrop.pdf.evidence import load_anchors
from sealdrop.pdf.reader import shortened


@dataclass(frozen=True, slots=True)
class AnchorFacts:
    """One trust anchor; times are aware. ``is_authority`` says whether it may issue certificates."""

    path: str
    subject: str
    not_before: datetime
    not_after: datetime
    is_authority: bool


def describe_anchors(paths: Sequence[Path]) -> tuple[AnchorFacts, ...]:
    """Return what the anchors in ``paths`` say of themselves; raises what `load_anchors` raises."""
    return tuple(
        AnchorFacts(
            str(path),
            shortened(certificate.subject.human_friendly),
            certificate.not_valid_before,
            certificate.not_valid_after,
            bool(certificate.ca),
        )
        for path in paths
        for certificate in load_anchors([path])
    )
