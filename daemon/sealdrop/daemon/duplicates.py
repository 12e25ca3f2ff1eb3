"""What becomes of a file whose content was dropped into the same folder before: the folder's ``duplicates`` rule.

Only a document that was put on record earlier counts, and only if it was sealed or may yet be: what was rejected, or
failed without a seal, may be dropped again as often as one likes. Two copies of one instant have an order too, that of
their records. While the earlier one is under way, the later one waits for it: what is said of it, or delivered, is then
final.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sealdrop.model import END_STATES, Document, Earlier, SealLevel, State

LEVELS = tuple(SealLevel)  # each has all that the one before it has


@dataclass(frozen=True, slots=True)
class Wait:
    """The earlier document is still under way; ``because`` says so."""

    because: str


@dataclass(frozen=True, slots=True)
class Reject:
    """The later document is not sealed; ``detail`` names the earlier one."""

    detail: str


@dataclass(frozen=True, slots=True)
class DeliverAgain:
    """The later document gets the seal of the ``earlier`` one."""

    earlier: Document

    def taken_from(self) -> dict[str, Any]:
        """Return the changes that make the later document share the earlier one's signature request."""
        return {
            "duplicate_of": Earlier(self.earlier.id, self.earlier.received_at),
            "external_id": self.earlier.external_id,
            "request_id": self.earlier.request_id,
            "sign_called_at": self.earlier.sign_called_at,
            "sign_accepted": self.earlier.sign_accepted,
            "stamp": self.earlier.stamp,
            "stamp_known": self.earlier.stamp_known,
        }


Verdict = Wait | Reject | DeliverAgain


def judge(document: Document, earlier: Document, rule: Literal["reject", "deliver-again"]) -> Verdict:
    """Return what becomes of a document that has an ``earlier`` one of its content."""
    if earlier.state not in END_STATES:
        return Wait(f"the same content was dropped before, as document {earlier.id}, which is still {earlier.state}")
    if rule == "reject" or earlier.state is not State.DELIVERED:
        return Reject(_told(earlier))
    if LEVELS.index(earlier.level) < LEVELS.index(document.level) or (document.archive and not earlier.archive):
        return Reject(f"{_told(earlier)}; it has not all that this folder asks for now, so it is not delivered again")
    return DeliverAgain(earlier)


def told_of_seal(earlier: Document) -> str:
    """Return what to tell of a file that is the sealed PDF of an ``earlier`` document: it is not sealed again."""
    return _told(earlier, "this is the sealed PDF of what was dropped")


def _told(earlier: Document, what: str = "the same content was dropped") -> str:
    dropped = f"{what} on {earlier.received_at:%Y-%m-%d %H:%M:%S} UTC as {earlier.name!r}"
    archived = ", ".join(each.identifier for each in earlier.remote.archive_ids)
    kept = f", archive identifier {archived}" if archived else ""
    if earlier.state is State.DELIVERED:
        return f"{dropped} (document {earlier.id}), sealed, and delivered as {earlier.published_name!r}{kept}"
    return (
        f"{dropped} (document {earlier.id}), sealed, but not handed out ({earlier.reason}){kept}; "
        f"an administrator can have it tried again: sealdrop retry {earlier.id}"
    )
