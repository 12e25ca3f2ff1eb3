"""The service at midnight: the day that is over is closed by itself, though nothing happens."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from running import running_service, until
from sealdrop.audit.check import verify_trail
from sealdrop.clock import SystemClock
from sealdrop.daemon import crew, service
from sealdrop.model import end_of_day


class JumpingClock(SystemClock):
    """The computer's clock, which a test sets."""

    by = timedelta()

    def now(self) -> datetime:
        """Return the moment that the test has made of the present one."""
        return super().now() + JumpingClock.by


def test_an_idle_service_closes_the_day(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day later, with nothing to do, the old file ends with its close; the next start goes on in a new one."""
    monkeypatch.setattr(service, "SystemClock", JumpingClock)
    monkeypatch.setattr(crew, "DAY_S", 0.1)
    monkeypatch.setattr(JumpingClock, "by", timedelta())
    with running_service(directory) as (_, running):
        folder = running.config.service.state_dir / "audit"
        (path,) = folder.iterdir()
        JumpingClock.by = timedelta(days=1)
        until(lambda: b"day_closed" in path.read_bytes())
        last = json.loads(path.read_text().splitlines()[-1])
        assert last["event"] == "day_closed"
        assert datetime.fromisoformat(last["at"]) == end_of_day(datetime.fromisoformat(last["at"]))
        assert last["data"]["records"] == last["seq"] - 1 == len(path.read_text().splitlines()) - 1
        closed = path.read_bytes()
    assert path.read_bytes() == closed
    assert len(list(folder.iterdir())) == 2, "the stop is of the next day"
    assert verify_trail(folder).problems == ()
