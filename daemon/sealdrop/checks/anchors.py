"""The authorities that seals must lead back to."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sealdrop.checks.findings import Condition, Finding
from sealdrop.config import Config
from sealdrop.pdf.anchors import AnchorFacts, describe_anchors
from sealdrop.pdf.jail import Jail, JailedError

SOON = timedelta(days=90)  # a new authority takes a while to be had, and seals are checked for years


def anchors_unusable(config: Config, jail: Jail) -> Iterator[Finding]:
    """Yield the accounts whose trust anchors cannot be used; read in a child, which is warm then for the first seal."""
    for name in config.accounts:
        found = _read(config, name, jail)
        if isinstance(found, Finding):
            yield found


def judge_anchors(config: Config, name: str, jail: Jail, now: datetime) -> Iterator[Finding]:
    """Yield what is to be said of the trust anchors of account ``name``."""
    found = _read(config, name, jail)
    if isinstance(found, Finding):
        yield found
        return
    subject, what = f"account {name}", "trust anchors"
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
        yield Finding(subject, what, f"{count}, good until {first.not_after:%Y-%m-%d}: {first.subject}")


def _read(config: Config, name: str, jail: Jail) -> tuple[AnchorFacts, ...] | Finding:
    try:
        return jail.run(describe_anchors, config.accounts[name].trust_anchors)
    except JailedError as error:
        return Finding.of(Condition.ANCHORS_UNUSABLE, f"account {name}", "trust anchors", error.text)


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
