"""The event names."""

import re
from pathlib import Path

from sealdrop.events import EventName

EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_every_event_is_documented_and_no_other() -> None:
    """docs/events.md lists exactly the events that the program knows."""
    documented = re.findall(r"^\| `([a-z_]+)` \|", EVENTS_PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(documented) == sorted(EventName)
