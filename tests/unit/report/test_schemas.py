"""The published schemas are those that the program's table gives, and records are held against them."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from audit_months import month_happenings, write_trail
from sealdrop.report.schemas import FILES, RECORDED, record_schema, text_of

from .conftest import FIRST

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", FILES)
def test_the_schemas_in_docs_are_up_to_date(name: str) -> None:
    """docs/schemas holds what the table gives; `python -m sealdrop.report.schemas docs/schemas` writes it."""
    assert (DOCS / "schemas" / name).read_text() == text_of(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(text_of(name)))


def test_every_event_on_record_has_its_fields_in_the_schema() -> None:
    """The table has the events that docs/events.md lists as on record, with the fields named there, and no other."""
    section = (DOCS / "events.md").read_text().split("## On record")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| .*? \| (.*?) \|$", section, flags=re.MULTILINE))
    assert set(rows) == {str(name) for name in RECORDED}
    for name, (always, sometimes) in RECORDED.items():
        missing = {field for field in {**always, **sometimes} if f"`{field}`" not in rows[name]}
        assert not missing, name


def test_a_month_of_records_fits(trail: Path) -> None:
    """Records of all kinds are valid, and one of a wrong form is not."""
    write_trail(trail, month_happenings(30, first=FIRST, days=5))
    validator = jsonschema.Draft202012Validator(record_schema())
    lines = [json.loads(line) for path in trail.iterdir() for line in path.read_text().splitlines()]
    lines = [line for line in lines if line["event"] != "service_started"]
    for line in lines:
        validator.validate(line)
    received = next(line for line in lines if line["event"] == "document_received")
    for wrong in ({"sha256": "x"}, {"size_bytes": "9"}, {"name": None}):
        assert not validator.is_valid({**received, "data": {**received["data"], **wrong}})
    assert not validator.is_valid({**received, "more": 1})
    assert not validator.is_valid({**received, "data": {}})
