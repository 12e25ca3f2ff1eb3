"""The benchmark runs: its stand-in, its bare client and its reading of who spends what fit the service as it is."""

from pathlib import Path

import pytest
from speed import STAGES, Wish, speed


def test_speed_is_measured(tmp_path: Path) -> None:
    """A few documents go through the service and the bare client; every stage is found by its threads' names."""
    latency, found = speed(tmp_path / "speed", [Wish("few", 50_000, 12, 1)], lone=1)
    few = found["few"]
    assert latency is not None
    assert 0 < latency.median_s <= latency.p95_s
    assert few.documents == 12
    assert 0 < few.ratio == pytest.approx(few.per_s / few.bare_per_s)
    assert few.each.total_s > few.stand_in_each_s > 0
    spent_s = {name: few.stages[name].total_s for name in STAGES}
    assert all(s > 0 for s in spent_s.values())
    assert few.each.total_s / 2 < sum(spent_s.values()) < few.each.total_s * 2
