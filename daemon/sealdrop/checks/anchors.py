"""The authorities that seals must lead back to."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Config
from sealdrop.errors import ConfigurationError
from sealdrop.pdf.jobs import AnchorFacts, describe_anchors

SOON = timedelta(days=90)  # a new authority takes a while to be had, and seals are checked for years
_WHAT = "trust_anchors"


def anchors_unusable(account: str, why: str) -> Finding:
    """Return that the trust anchors of an account cannot be used."""
    return Finding.of(Condition.ANCHORS_UNUSABLE, f"account {account}", _WHAT, why)


def judge_anchors(config: Config, name: str, now: datetime) -> Iterator[Finding]:
    """Yield what is to be said of the trust anchors of account ``name``."""
    try:
        found = describe_anchors(config.accounts[name].trust_anchors)
    except ConfigurationError as error:
        yield anchors_unusable(name, f"{error.source}: {'; '.join(error.problems)}")
        return
    except OSError as error:
        yield anchors_unusable(name, f"cannot be read: {error}")
        return
    subject, what = f"account {name}", _WHAT
    good = [anchor for anchor in found if anchor.not_before <= now <= anchor.not_after]
    if not good:
        latest = max(anchor.not_after for anchor in found)
        text = f"all of them have expired, the last one on {latest:%Y-%m-%d}"
        yield Finding.of(Condition.ANCHORS_EXPIRED, subject, what, text)
        return
    doubts = [*_doubts(subject, what, found, now)]
    yield from doubts
    if not doubts:
        first = min(good, key=lambda anchor: anchor.not_after)
        count = "1 certificate" if len(found) == 1 else f"{len(found)} certificates"
        yield Finding(subject, what, f"{count}, good until {first.not_after:%Y-%m-%d} ({first.subject})")


def _doubts(subject: str, what: str, found: tuple[AnchorFacts, ...], now: datetime) -> Iterator[Finding]:
    for anchor in found:
        named = f"{anchor.subject} in {anchor.path}"
        if now > anchor.not_after:
            text = f"{named} expired on {anchor.not_after:%Y-%m-%d}"
            yield Finding.of(Condition.ANCHOR_EXPIRED, subject, what, text)
        elif now + SOON > anchor.not_after:
            text = f"{named} expires in {(anchor.not_after - now).days} days, on {anchor.not_after:%Y-%m-%d}"
            yield Finding.of(Condition.ANCHOR_EXPIRING, subject, what, text)
        if not anchor.is_authority:
            text = f"{named} is no authority: nothing leads back to it but itself"
            yield Finding.of(Condition.ANCHOR_NO_AUTHORITY, subject, what, text)
