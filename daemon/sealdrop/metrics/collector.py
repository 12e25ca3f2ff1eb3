"""Figures in the words of Prometheus: https://prometheus.io/docs/practices/naming/."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sealdrop import __version__
from sealdrop.metrics.figures import Figures, LedgerFigures
from sealdrop.model import Hold


class FiguresCollector(Collector):
    """Tells what was gathered last. ``figures`` returns it at once, None before the first time."""

    def __init__(self, figures: Callable[[], Figures | None], started_at: datetime) -> None:
        self._figures = figures
        self._started_at = started_at

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: names are told when they are collected."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every figure that is known."""
        yield InfoMetricFamily("sealdrop_build", "The version that runs.", value={"version": __version__})
        started = "When the service started."
        yield GaugeMetricFamily("sealdrop_start_time_seconds", started, value=self._started_at.timestamp())
        figures = self._figures()
        if figures is None:
            return
        gathered = "When these figures were gathered."
        yield GaugeMetricFamily("sealdrop_figures_timestamp_seconds", gathered, value=figures.at.timestamp())
        if figures.ledger is not None and figures.ledger_at is not None:
            read = "When the ledger was last read for these figures."
            yield GaugeMetricFamily("sealdrop_ledger_read_timestamp_seconds", read, value=figures.ledger_at.timestamp())
            yield from _of_ledger(figures.ledger, figures.at)
        yield from _of_surroundings(figures)
        yield from _of_rooms(figures)


def _of_ledger(ledger: LedgerFigures, at: datetime) -> Iterator[Metric]:
    documents = GaugeMetricFamily("sealdrop_documents", "Documents by folder and state.", labels=["folder", "state"])
    for folder, states in ledger.documents.items():
        for state, number in states.items():
            documents.add_metric([folder, state.value], number)
    yield documents
    oldest = GaugeMetricFamily(
        "sealdrop_oldest_waiting_document_seconds",
        "Age of the document that has waited longest for its end, hours and quotas aside; 0 if none waits.",
        labels=["folder"],
    )
    for folder in ledger.documents:
        since = ledger.oldest_waiting.get(folder, at)
        oldest.add_metric([folder], max((at - since).total_seconds(), 0.0))
    yield oldest
    yield from _of_holds(ledger)
    head = "Newest record of the audit trail, in the ledger."
    yield CounterMetricFamily("sealdrop_audit_records", head, value=ledger.head_seq)
    flushed = "Newest record of the audit trail that is in its files."
    yield CounterMetricFamily("sealdrop_audit_records_in_files", flushed, value=ledger.flushed_seq)


def _of_holds(ledger: LedgerFigures) -> Iterator[Metric]:
    why = "Documents that wait on purpose: for their folder's hours (window), or for the next day's quota (quota)."
    held = GaugeMetricFamily("sealdrop_documents_held", why, labels=["folder", "hold"])
    for folder, hold in product(ledger.documents, Hold):
        held.add_metric([folder, hold.value], ledger.held.get((folder, hold), 0))
    yield held
    today = "Documents sent today of a folder with a daily quota."
    sent = GaugeMetricFamily("sealdrop_quota_used", today, labels=["folder"])
    limit = GaugeMetricFamily("sealdrop_quota", "Documents that may be sent a day.", labels=["folder"])
    for folder, (used, quota) in ledger.quotas.items():
        sent.add_metric([folder], used)
        limit.add_metric([folder], quota)
    yield from (sent, limit)


def _of_surroundings(figures: Figures) -> Iterator[Metric]:
    unclaimed = GaugeMetricFamily(
        "sealdrop_oldest_unclaimed_file_seconds",
        "Age of the file that has waited longest in an inbound folder to be taken over; 0 if none waits.",
        labels=["folder"],
    )
    for folder, age_s in figures.unclaimed_s.items():
        unclaimed.add_metric([folder], age_s)
    yield unclaimed
    reach = GaugeMetricFamily(
        "sealdrop_remote_out_of_reach",
        "1 while calls of that operation are held back because they failed in a row, else 0.",
        labels=["account", "operation"],
    )
    for (account, operation), is_out in figures.out_of_reach.items():
        reach.add_metric([account, operation], float(is_out))
    yield reach
    ends = GaugeMetricFamily(
        "sealdrop_certificate_expiry_timestamp_seconds",
        "When a certificate ends: of the client, of SignAPI's server, of a trust anchor.",
        labels=["account", "role", "name"],
    )
    for account, validities in figures.certificates.items():
        # An anchor may stand in several files; a label set must be told once.
        for (role, name), until in {(each.role, each.name): each.until for each in validities}.items():
            ends.add_metric([account, role.value, name], until.timestamp())
    yield ends
    yield GaugeMetricFamily(
        "sealdrop_troubles", "Troubles of this moment, as `sealdrop status` shows them.", value=figures.troubles
    )


def _of_rooms(figures: Figures) -> Iterator[Metric]:
    free = GaugeMetricFamily("sealdrop_disk_free_bytes", "Room left for the service.", labels=["folder", "place"])
    size = GaugeMetricFamily("sealdrop_disk_size_bytes", "Size of the file system.", labels=["folder", "place"])
    files = GaugeMetricFamily("sealdrop_disk_free_inodes", "Files that there is room for.", labels=["folder", "place"])
    for where, room in figures.rooms.items():
        free.add_metric([*where], room.free_bytes)
        size.add_metric([*where], room.size_bytes)
        if room.files is not None:
            files.add_metric([*where], room.files)
    yield from (free, size, files)
