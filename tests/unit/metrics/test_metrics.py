"""Figures: counted as it happens, looked up in the background, handed out by HTTP and as a file."""

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from documents import NOW, FakeClock, document
from running import PATIENCE_S, until
from sealdrop.config import Metrics
from sealdrop.errors import Retryable
from sealdrop.ledger.store import Step
from sealdrop.metrics import exporter as exporting
from sealdrop.metrics.exporter import Exporter
from sealdrop.metrics.figures import LedgerFigures, Room, Rooms, Sources
from sealdrop.metrics.meter import Meter
from sealdrop.model import Event, Hold, Reason, State
from sealdrop.signapi.certificates import Role, Validity

EVENT = Event("something_happened")
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Figures:
    """Return every sample by its name and labels; each must be told once."""
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(figures: Figures, name: str, /, **labels: str) -> float:
    """Return one figure."""
    return figures[name, frozenset(labels.items())]


class Told:
    """What the figures come from, to be set by a test."""

    def __init__(self, tmp_path: Path) -> None:
        self.ledger: Callable[[], LedgerFigures] = lambda: LedgerFigures(
            {"invoices": {State.DELIVERED: 7, State.SEALING: 0}},
            {"invoices": NOW - timedelta(minutes=2)},
            {("invoices", Hold.QUOTA): 12},
            {"invoices": (30, 50)},
            40,
            39,
        )
        anchor = Validity(Role.ANCHOR, "CN=root", NOW + timedelta(days=9))
        self.certificates = {"main": (anchor, anchor, Validity(Role.CLIENT, "CN=client", NOW + timedelta(days=3)))}
        self.problems: list[str | None] = []
        self.clock = FakeClock()
        self.meter = Meter()
        self.place = tmp_path

    def read_ledger(self) -> LedgerFigures:
        """Return what the ledger says, or is said not to say."""
        return self.ledger()

    def exporter(self, **config: Any) -> Exporter:  # noqa: ANN401 - any key
        """Return who hands the figures out."""
        sources = Sources(
            ledger=self.read_ledger,
            unclaimed_s=lambda: {"invoices": 12.5},
            out_of_reach=lambda: {("main", "create"): True, ("main", "sign"): False},
            certificates=lambda: self.certificates,
            troubles=lambda: 2,
            places={("", "state_dir"): self.place, ("invoices", "inbound"): self.place / "gone"},
        )
        keys = {"every_s": 0.05, **config}
        config_of = Metrics.model_validate(keys)
        return Exporter(config_of, self.meter, sources, NOW, self.clock, on_trouble=self.problems.append)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Figures with some of everything."""
    return Told(tmp_path)


@contextmanager
def running(exporter: Exporter) -> Iterator[None]:
    """Hand figures out while the block runs."""
    exporter.start()
    try:
        yield
    finally:
        exporter.stop()


def fetch(port: int | None) -> str:
    """Return what a scraper gets."""
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
    return text


def test_steps_are_counted() -> None:
    """Received, moved, tried again, ended: each in its own figure, times as they stand in the ledger."""
    meter = Meter()
    later = NOW + timedelta(seconds=4)
    new = document()
    meter.recorded(Step(None, new, EVENT))
    meter.recorded(Step(new, document(attempts=1), None))
    meter.recorded(Step(new, document(due_at=later), None))  # put off, not a failed try
    meter.recorded(Step(new, document(state=State.REJECTED, updated_at=later, reason=Reason.NOT_PDF), EVENT))
    verified = document(state=State.VERIFIED, updated_at=later)
    done = document(state=State.DELIVERED, updated_at=NOW)  # the clock was set back in between
    meter.recorded(Step(verified, done, EVENT))
    failed = document(state=State.FAILED, reason=Reason.SEAL_FAILED)
    meter.recorded(Step(failed, document(state=State.RETRYING, updated_at=NOW + timedelta(days=9)), EVENT))
    meter.called("main", "sign", "refused", 0.2)
    figures = parsed(generate_latest(meter.registry).decode())
    assert value(figures, "sealdrop_documents_received_total", folder="invoices") == 1
    assert value(figures, "sealdrop_retries_total", folder="invoices", state="received") == 1
    ended = {"folder": "invoices", "outcome": "rejected"}
    assert value(figures, "sealdrop_documents_finished_total", **ended, reason="NOT_PDF") == 1
    assert value(figures, "sealdrop_document_duration_seconds_sum", **ended) == 4
    assert value(figures, "sealdrop_stage_duration_seconds_sum", state="received") == 4
    assert value(figures, "sealdrop_stage_duration_seconds_sum", state="verified") == 0
    assert ("sealdrop_stage_duration_seconds_sum", frozenset({("state", "failed")})) not in figures
    call = {"account": "main", "operation": "sign", "outcome": "refused"}
    assert value(figures, "sealdrop_remote_call_duration_seconds_count", **call) == 1


def test_the_first_failure_of_a_kind_is_an_increase() -> None:
    """Whatever a document may fail for is there at zero before it does; what was counted already stays."""
    meter = Meter()
    meter.expect(["invoices"])
    before = parsed(generate_latest(meter.registry).decode())
    for reason in (Reason.SEAL_FAILED, Reason.SEAL_LEVEL, Reason.SEALED_CONTENT_MISSING):
        labels = {"folder": "invoices", "outcome": "failed", "reason": reason.value}
        assert value(before, "sealdrop_documents_finished_total", **labels) == 0
        meter.recorded(Step(document(state=State.SEALING), document(state=State.FAILED, reason=reason), EVENT))
        meter.expect(["invoices", "contracts"])
        after = parsed(generate_latest(meter.registry).decode())
        assert value(after, "sealdrop_documents_finished_total", **labels) == 1
    assert value(before, "sealdrop_documents_received_total", folder="invoices") == 0
    assert value(after, "sealdrop_documents_received_total", folder="contracts") == 0


def test_all_figures_are_handed_out(told: Told) -> None:
    """What is looked up is there with its labels; a place that is gone is left out; nothing is told twice."""
    with running(exporter := told.exporter(listen="127.0.0.1:0")):
        until(lambda: exporter.port)
        figures = parsed(fetch(exporter.port))
    assert value(figures, "sealdrop_documents", folder="invoices", state="delivered") == 7
    assert value(figures, "sealdrop_oldest_waiting_document_seconds", folder="invoices") == 120
    assert value(figures, "sealdrop_documents_held", folder="invoices", hold="quota") == 12
    assert value(figures, "sealdrop_documents_held", folder="invoices", hold="window") == 0
    assert value(figures, "sealdrop_quota", folder="invoices") == 50
    assert value(figures, "sealdrop_quota_used", folder="invoices") == 30
    assert value(figures, "sealdrop_oldest_unclaimed_file_seconds", folder="invoices") == 12.5
    assert value(figures, "sealdrop_remote_out_of_reach", account="main", operation="create") == 1
    assert value(figures, "sealdrop_audit_records_total") == 40
    assert value(figures, "sealdrop_audit_records_in_files_total") == 39
    assert value(figures, "sealdrop_troubles") == 2
    expiry = {"account": "main", "role": "client", "name": "CN=client"}
    ends = (NOW + timedelta(days=3)).timestamp()
    assert value(figures, "sealdrop_certificate_expiry_timestamp_seconds", **expiry) == ends
    assert value(figures, "sealdrop_start_time_seconds") == NOW.timestamp()
    places = {dict(labels)["place"] for name, labels in figures if name == "sealdrop_disk_free_bytes"}
    assert places == {"state_dir"}


def test_a_ledger_that_is_busy_leaves_the_last_figures_with_their_age(told: Told) -> None:
    """The scrape gets what was known, and when that was; everything else is new."""
    exporter = told.exporter()
    exporter.gather()

    def busy() -> LedgerFigures:
        raise Retryable("busy")

    told.ledger = busy
    told.clock.go(60)
    exporter.gather()
    figures = parsed(b"".join([generate_latest(_Registered(exporter))]).decode())
    assert value(figures, "sealdrop_documents", folder="invoices", state="delivered") == 7
    read, gathered = "sealdrop_ledger_read_timestamp_seconds", "sealdrop_figures_timestamp_seconds"
    assert value(figures, gathered) - value(figures, read) == 60


class _Registered:
    """A registry of one collector."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def collect(self) -> Iterator[Any]:
        """Yield its figures."""
        return self._exporter._collector.collect()


def test_a_scrape_does_not_wait_for_a_ledger_that_hangs(told: Told) -> None:
    """While figures are being gathered for ever, a scraper gets the counters and the last figures at once."""
    hangs, looked = threading.Event(), threading.Event()
    figures = told.ledger()
    answers = iter([figures])

    def ledger() -> LedgerFigures:
        for known in answers:
            return known
        looked.set()
        hangs.wait(PATIENCE_S)
        return figures

    told.ledger = ledger
    with running(exporter := told.exporter(listen="127.0.0.1:0")):
        try:
            assert looked.wait(PATIENCE_S)
            text = fetch(exporter.port)
        finally:
            hangs.set()
    assert 'sealdrop_documents{folder="invoices",state="delivered"} 7.0' in text


def test_a_share_that_hangs_is_left_out_and_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are measured; while it hangs, no second thread is spent on it; when it answers, it is back."""
    hangs, asked = threading.Event(), []
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        if path.name == "share":
            asked.append(path)
            hangs.wait(PATIENCE_S)
        return real(tmp_path)

    monkeypatch.setattr("os.statvfs", statvfs)
    rooms = Rooms({("", "state_dir"): tmp_path, ("a", "inbound"): tmp_path / "share"})
    for _ in range(3):
        assert set(rooms.look(0.05)) == {("", "state_dir")}
    assert len(asked) == 1
    hangs.set()
    rooms._asking["a", "inbound"].join(PATIENCE_S)
    found = rooms.look(PATIENCE_S)
    assert set(found) == {("", "state_dir"), ("a", "inbound")}
    assert isinstance(found["", "state_dir"], Room)


def test_a_port_that_is_taken_is_told_and_tried_again(told: Told) -> None:
    """The service goes on, somebody is told, and the figures are there once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exporter = told.exporter(listen=f"127.0.0.1:{port}")
        exporter.start()
        until(lambda: told.problems)
        assert told.problems[0] == f"127.0.0.1:{port} cannot be listened on: Address already in use"
    try:
        until(lambda: told.problems[-1] is None)
        assert "sealdrop_build_info" in fetch(port)
    finally:
        exporter.stop()


def test_the_port_is_free_after_a_stop_and_the_counters_go_on(told: Told) -> None:
    """As at a reload: the next exporter has the same port, and what was counted stays counted."""
    told.meter.recorded(Step(None, document(), EVENT))
    with running(first := told.exporter(listen="127.0.0.1:0")):
        until(lambda: first.port)
        port = first.port
    with running(second := told.exporter(listen=f"127.0.0.1:{port}")):
        until(lambda: second.port)
        figures = parsed(fetch(port))
    assert value(figures, "sealdrop_documents_received_total", folder="invoices") == 1


def test_whoever_is_still_gathering_at_a_stop_does_not_take_the_port_afterwards(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that does not wait for a ledger that hangs has ended all handing out: the port is the next one's."""
    monkeypatch.setattr(exporting, "STOP_S", 0.05)
    hangs, looked, figures = threading.Event(), threading.Event(), told.ledger()

    def ledger() -> LedgerFigures:
        looked.set()
        hangs.wait(PATIENCE_S)
        return figures

    told.ledger = ledger
    first = told.exporter(listen="127.0.0.1:0")
    first.start()
    assert looked.wait(PATIENCE_S)
    first.stop()
    hangs.set()
    first._thread.join(PATIENCE_S)
    assert first.port is None
    assert told.problems == []


def test_who_says_nothing_is_sent_away(
    told: Told, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A connection without a request does not keep a thread, nor does it fill the journal."""
    monkeypatch.setattr(exporting, "REQUEST_TIMEOUT_S", 0.05)
    with running(exporter := told.exporter(listen="127.0.0.1:0")):
        until(lambda: exporter.port)
        with socket.create_connection(("127.0.0.1", exporter.port or 0), PATIENCE_S) as silent:
            assert silent.recv(1) == b""
        assert "sealdrop_build_info" in fetch(exporter.port)
    assert capfd.readouterr().err == ""


def test_the_file_is_whole_readable_and_replaced(told: Told, tmp_path: Path) -> None:
    """node-exporter's user can read it under any mask; a leftover of a crash is no obstacle; a wrong place is told."""
    path = tmp_path / "sealdrop.prom"
    (tmp_path / ".sealdrop.prom.tmp").write_bytes(b"half")
    mask = os.umask(0o077)
    try:
        exporter = told.exporter(textfile=path)
        exporter.round()
        first = path.stat().st_ino
        exporter.round()
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_ino != first
    assert [each.name for each in tmp_path.iterdir()] == ["sealdrop.prom"]
    told.exporter(textfile=tmp_path / "gone" / "x.prom").round()
    assert told.problems == [None, None, f"{tmp_path}/gone/x.prom cannot be written: No such file or directory"]


def test_by_default_nothing_is_done(told: Told) -> None:
    """Nobody asked: no thread, no port, no file."""
    before = threading.active_count()
    with running(exporter := told.exporter()):
        assert threading.active_count() == before
        assert exporter.port is None
