"""What the service is doing, in one line."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from documents import NOW, document
from sealdrop.config import Config
from sealdrop.daemon.figures import SinceStart, words
from sealdrop.ledger.reading import Held
from sealdrop.model import Event, Hold, State, Trouble

SINCE = NOW - timedelta(minutes=5)
CLOCK = f"{SINCE.astimezone():%H:%M}"
FOLDERS = {
    name: {"account": account, **{place: f"/{name}/{place}" for place in ("inbound", "outbound", "rejected", "failed")}}
    for name, account in (("invoices", "main"), ("letters", "other"))
}
ACCOUNT = {
    "base_url": "https://signapi.example",
    "certificate": "c.p12",
    "organisation": "Demo",
    "trust_anchors": ["root.pem"],
}
CONFIG = Config.model_validate(
    {"service": {"state_dir": "/state"}, "accounts": {"main": ACCOUNT, "other": ACCOUNT}, "folders": FOLDERS}
)
COUNTS: Mapping[str, Mapping[State, int]] = {
    "invoices": {State.SUBMITTED: 3, State.SEALING: 2, State.VERIFIED: 1, State.DELIVERED: 500, State.FAILED: 2},
    "letters": {State.SUBMITTED: 4, State.VERIFIED: 7},
    "gone": {State.DELIVERED: 9},
}


@pytest.mark.parametrize(
    ("subjects", "told"),
    [
        ([], "17 in work, 0 delivered since start"),
        (
            ["account main sign"],
            f"14 in work, 3 wait for account main sign, in trouble since {CLOCK}, 0 delivered since start",
        ),
        (
            ["folder letters outbound", "folder invoices inbound"],
            f"10 in work, 7 wait for folder letters outbound, in trouble since {CLOCK}, folder invoices inbound in",
        ),
    ],
)
def test_what_waits_is_told_with_what_it_waits_for(subjects: list[str], told: str) -> None:
    """Documents that cannot go on for a trouble are not in work; a trouble that holds up none is told all the same."""
    troubles = [Trouble(subject, SINCE, "why") for subject in subjects]
    assert words(CONFIG, COUNTS, (), troubles, SinceStart(), NOW).startswith(told)


def test_nothing_is_counted_twice() -> None:
    """A document that two troubles hold up waits for the older one."""
    troubles = [Trouble("account main create", SINCE, ""), Trouble("account main status", SINCE, "")]
    told = words(CONFIG, {"invoices": {State.SUBMITTING: 5}}, (), troubles, SinceStart(), NOW)
    assert told.startswith(
        f"0 in work, 5 wait for account main create, in trouble since {CLOCK}, account main status in"
    )


def test_an_old_trouble_is_told_with_its_day() -> None:
    """A time of day alone would mislead."""
    since = NOW - timedelta(days=3)
    told = words(CONFIG, {}, (), [Trouble("state_dir", since, "")], SinceStart(), NOW)
    assert f"since {since.astimezone():%Y-%m-%d %H:%M}" in told


def test_what_is_held_on_purpose_is_neither_in_work_nor_in_trouble() -> None:
    """It is counted by itself, with the first moment at which it goes on; an outage does not hold it up as well."""
    tonight, tomorrow = NOW + timedelta(minutes=1), NOW + timedelta(days=1)
    held = [Held("invoices", Hold.WINDOW, 3, tonight), Held("letters", Hold.QUOTA, 4, tomorrow)]
    counts = {"invoices": {State.VALIDATED: 3, State.SEALING: 2}, "letters": {State.VALIDATED: 3, State.SUBMITTING: 2}}
    told = words(CONFIG, counts, held, [Trouble("account main create", SINCE, "")], SinceStart(), NOW)
    assert told.startswith(f"3 in work, 7 held for hours or quotas, the first until {tonight.astimezone():%H:%M}, ")
    assert "account main create in trouble" in told


def test_ends_are_counted_since_the_start() -> None:
    """Delivered documents are always told, others when there are any; what is on its way is no end."""
    since_start = SinceStart()
    for name in ("document_delivered", "document_sealed", "document_delivered", "document_failed"):
        since_start.hear(document(), Event(name))
    assert since_start.words() == "2 delivered, 1 failed since start"
