"""The table of conditions, and the page that shows it."""

from pathlib import Path

from sealdrop.checks.findings import RULES, Condition, Finding, Mark

PAGE = Path(__file__).parents[3] / "docs" / "check.md"
WORDS = {Mark.OK: "ok", Mark.WARNING: "warning", Mark.FAILURE: "failure", Mark.NOT_CHECKED: "not checked"}


def test_the_page_shows_the_table() -> None:
    """docs/check.md has every condition, with its mark, whether the service starts, and what to do; and no other."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    shown = {row[0].strip("`"): (row[1], row[2], row[4]) for row in rows if len(row) == 5}
    known = {
        condition.value: (WORDS[rule.mark], "refuses" if rule.refuses else "starts", rule.advice)
        for condition, rule in RULES.items()
    }
    assert shown == known
    assert set(RULES) == set(Condition)


def test_nothing_is_refused_that_is_no_failure() -> None:
    """What the service does not start with is a failure, and each failure says what to do."""
    assert all(rule.mark is Mark.FAILURE for rule in RULES.values() if rule.refuses)
    assert all(rule.advice.endswith(".") or rule.advice.endswith(")") for rule in RULES.values())


def test_a_finding_is_as_its_condition() -> None:
    """Mark, advice and refusal come from the table, unless the advice is better known."""
    found = Finding.of(Condition.FOLDER_MISSING, "folder a", "inbound", "there is no folder")
    assert (found.mark, found.refuses, found.advice) == (Mark.FAILURE, True, RULES[Condition.FOLDER_MISSING].advice)
    assert Finding.of(Condition.OFFLINE, "a", "b", "c", advice="Do.").advice == "Do."
