"""Settings that are allowed and may not be meant."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sealdrop.checks.findings import Condition
from sealdrop.checks.settings import OTHER_FAULTS, judge_settings, patterns_too_wide
from sealdrop.config import Config, load
from sealdrop.signapi.policy import UNKNOWN_REQUEST

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def _with(**changes: object) -> Config:
    """Return the example's configuration with some keys of its account or folder changed; ``table__key`` names one."""
    content = tomllib.loads(EXAMPLE.read_text())
    for key, value in changes.items():
        *tables, last = key.split("__")
        table: dict[str, Any] = content
        for each in tables:
            table = table.setdefault(each, {})
        table[last] = value
    return Config.model_validate(content, context={"base": EXAMPLE.parent})


def _doubts(config: Config) -> list[str]:
    return [finding.text for finding in judge_settings(config) if finding.condition]


def test_the_example_has_no_doubtful_setting() -> None:
    """What config.example.toml proposes is not doubted."""
    assert _doubts(load(EXAMPLE)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"service__min_free_mib": 0}, "min_free_mib = 0"),
        ({"accounts__main__poll_first_s": 60}, "poll_first_s (60) is longer than poll_longest_s (30)"),
        ({"accounts__main__retry_first_s": 400}, "retry_first_s (400) is longer"),
        ({"accounts__main__connect_timeout_s": 150}, "connect_timeout_s (150) is longer than call_timeout_s (120)"),
        ({"accounts__main__read_timeout_s": 150}, "read_timeout_s (150) is longer"),
        ({"folders__invoices__settle_s": 90}, "settle_s (90) is longer than incomplete_s (60)"),
        ({"folders__invoices__seal__archive": False}, "archivers and keywords are for nothing"),
        ({"folders__invoices__seal__level": "PAdES_BASELINE_B"}, "nothing in them will show"),
    ],
)
def test_a_doubtful_setting_is_told(changes: dict[str, object], words: str) -> None:
    """Each is one line that names the keys."""
    (doubt,) = _doubts(_with(**changes))
    assert words in doubt


def test_an_account_for_nothing() -> None:
    """An account that no folder uses was perhaps meant for one."""
    config = load(EXAMPLE)
    more = config.model_copy(update={"accounts": {**config.accounts, "other": config.accounts["main"]}})
    assert _doubts(more) == ["no folder uses it"]


def test_a_folder_that_can_fill_the_spool() -> None:
    """One whose own limit is not less than that of all folders is told of, but not where it is the only one."""
    alone = _with(service__spool_mib=2048)
    assert _doubts(alone) == []
    small = alone.folders["invoices"].model_copy(update={"in_flight_mib": 2000})
    both = alone.model_copy(update={"folders": {**alone.folders, "letters": small}})
    (doubt,) = _doubts(both)
    assert "in_flight_mib (4096) is not less than service.spool_mib (2048)" in doubt


@pytest.mark.parametrize("pattern", ["unknown", "not found", "request", r"\w+ \w+"])
def test_a_pattern_that_is_too_wide(pattern: str) -> None:
    """A pattern that other faults' words match is found."""
    (finding,) = patterns_too_wide(_with(accounts__main__unknown_request_pattern=pattern))
    assert finding.condition is Condition.PATTERN_TOO_WIDE
    assert finding.refuses


def test_our_own_pattern_is_not() -> None:
    """What is used where the configuration gives none takes no other fault for an unknown request."""
    assert [text for text in OTHER_FAULTS if re.search(UNKNOWN_REQUEST, text, re.IGNORECASE)] == []
    assert list(patterns_too_wide(_with(accounts__main__unknown_request_pattern=UNKNOWN_REQUEST))) == []
