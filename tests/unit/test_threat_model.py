"""docs/threat-model.md names a test for each line, and each of them is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "threat-model.md"
_NAMED = re.compile(r"`([\w/]+\.py)::([\w:]+)`")


def _rows() -> list[str]:
    """The lines of all tables, without their heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("| ---", "| what "))]


@cache
def _defined(path: str) -> frozenset[str]:
    """The tests in a file: functions, ``Class::method``, and classes that a state machine gave."""
    found = set()
    for node in ast.parse((TESTS / path).read_text()).body:
        match node:
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                found |= {f"{name}::{each.name}" for each in body if isinstance(each, ast.FunctionDef)}
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
    return frozenset(name for name in found if name.lower().startswith("test"))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_line_names_tests_that_exist(row: str) -> None:
    """Three cells: what is tried, what happens, and at least one test, each of which is defined where it is said."""
    tried, happens, shown = (cell.strip() for cell in row.strip("|").split(" | "))
    assert tried
    assert happens
    named = _NAMED.findall(shown)
    assert named
    assert _NAMED.sub("", shown).strip(" ,") == ""
    missing = [f"{path}::{name}" for path, name in named if name not in _defined(path)]
    assert missing == []


def test_every_side_is_looked_at() -> None:
    """The page has a table for each of those who could do something, and says of most what is not defended."""
    sections = PAGE.read_text().split("\n## ")[1:]
    assert len(sections) == 8
    assert all("\n| --- |" in section and "\nNot defended: " in section for section in sections)
