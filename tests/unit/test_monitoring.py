"""The pages about figures and alerts, the rules and the dashboard say what the program does."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client.registry import CollectorRegistry

from documents import NOW
from sealdrop import __version__
from sealdrop.alerts.matters import News, Phase
from sealdrop.alerts.words import WORDS, compose
from sealdrop.metrics.collector import FiguresCollector
from sealdrop.metrics.figures import Figures, LedgerFigures, Room
from sealdrop.metrics.meter import Meter
from sealdrop.model import AlertKind, State
from sealdrop.signapi.certificates import Role, Validity

DOCS = Path(__file__).parents[2] / "docs"
_NAME = re.compile(r"\bsealdrop_[a-z_]+\b")


def _labels() -> dict[str, set[str]]:
    """Return every figure with its labels, by the name that it is documented under."""
    figures = Figures(
        NOW,
        LedgerFigures({"invoices": {State.SEALED: 1}}, {}, {}, {"invoices": (1, 2)}, 2, 1),
        NOW,
        {"invoices": 0.0},
        {("main", "create"): False},
        {"main": (Validity(Role.CLIENT, "CN=x", NOW),)},
        0,
        {("", "state_dir"): Room(1, 2, 3)},
    )
    meter = Meter()
    registry: CollectorRegistry = meter.registry
    registry.register(FiguresCollector(lambda: figures, NOW))
    found = {}
    for family in registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        found[family.name + suffix] = {label for sample in family.samples for label in sample.labels}
    for counter in (meter._received, meter._finished, meter._retries, meter._stages, meter._documents, meter._calls):
        (family,) = counter.describe()
        found[family.name + ("_total" if family.type == "counter" else "")] = set(counter._labelnames)
    return found


def _plain(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_each_figure_is_documented_with_its_labels_and_no_other() -> None:
    """docs/metrics.md lists exactly the figures that there are, and their labels."""
    rows = re.findall(r"^\| `(sealdrop_\w+)` \|([^|]*)\|", (DOCS / "metrics.md").read_text(), flags=re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == _labels()


def test_rules_and_dashboard_use_figures_that_there_are() -> None:
    """Every figure that is named in them exists."""
    known = set(_labels())
    for page in ("alerts.yaml", "grafana.json"):
        text = (DOCS / "monitoring" / page).read_text()
        named = {_plain(name) for name in _NAME.findall(text)}
        assert named - known == set(), page
        assert len(named) > 10


def test_every_rule_is_whole() -> None:
    """Each has an expression, a severity and two texts; every text is quoted, so that any parser reads it alike."""
    text = (DOCS / "monitoring" / "alerts.yaml").read_text()
    head, *rules = text.split("      - alert: ")
    assert head.endswith("groups:\n  - name: sealdrop\n    rules:\n")
    assert len(rules) > 10
    quoted = r"'(?:[^'\n]|'')*'"
    rule = re.compile(
        rf"Sealdrop\w+\n        expr: {quoted}\n(?:        for: \d+[mh]\n)?"
        r"        labels:\n          severity: (?:warning|critical)\n        annotations:\n"
        rf"          summary: {quoted}\n          description: {quoted}\n\n?"
    )
    assert [each for each in rules if not rule.fullmatch(each)] == []


def test_the_dashboard_is_one() -> None:
    """It parses, every panel asks something and has a place of its own."""
    board = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert all(target["expr"] for target in panel["targets"])
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_each_kind_of_alert_is_documented_and_has_words() -> None:
    """docs/alerts.md explains every kind that there is; a message has words for each."""
    documented = re.findall(r"^\| `([a-z_]+)` \|", (DOCS / "alerts.md").read_text(), flags=re.MULTILINE)
    kinds = [kind.value for kind in AlertKind]
    assert documented[: len(kinds)] == kinds
    assert set(WORDS) == set(AlertKind)


def test_the_message_on_the_page_is_a_real_one() -> None:
    """The example in docs/alerts.md is what a person gets."""
    now = datetime(2026, 11, 24, 14, 20, 10, tzinfo=UTC)
    text = (
        "SignAPI cannot be reached or does not work: create at sign.certeurope.fr: ConnectError: [Errno 111] "
        "Connection refused"
    )
    since = now - timedelta(minutes=15)
    news = News(AlertKind.SIGNAPI_UNREACHABLE, Phase.BEGAN, "account main", since, None, text, 10_000)
    message = compose([news], "seal-01", now)
    example = f"Subject: {message.subject}\n\n{message.text}".replace(__version__, "1.0.0")
    assert f"```\n{example}```\n" in (DOCS / "alerts.md").read_text()
