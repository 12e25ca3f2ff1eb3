"""What is counted as it happens. It begins at zero with each start of the service, as Prometheus expects."""

from collections.abc import Iterable

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.registry import CollectorRegistry

from sealdrop.ledger.recording import Step
from sealdrop.model import CHECK_REASONS, END_STATES, Reason, State

# From a step that takes a moment to a document that waits for the end of an outage.
STAGE_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200, 172_800)
# What a document fails for, once it was sent.
FAILURES = (
    Reason.SEAL_REFUSED,
    Reason.SEAL_FAILED,
    Reason.SEAL_DISCARDED,
    Reason.ARCHIVE_FAILED,
    Reason.SEALED_CONTENT_MISSING,
    *CHECK_REASONS.values(),
)
CALL_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Meter:
    """The counters of one process. Used by all worker threads; nothing here waits or raises."""

    def __init__(self) -> None:
        # Else there is a second series for each one, which says when the service first met its labels.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._stages = Histogram(
            "sealdrop_stage_duration_seconds",
            "Time that documents spent in a state before they left it.",
            ["state"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._documents = Histogram(
            "sealdrop_document_duration_seconds",
            "Time from taking a document over until it was delivered, rejected or failed.",
            ["folder", "outcome"],
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._received = Counter(
            "sealdrop_documents_received", "Documents taken over.", ["folder"], registry=self.registry
        )
        self._finished = Counter(
            "sealdrop_documents_finished",
            "Documents delivered, rejected or failed; reason is empty for those delivered.",
            ["folder", "outcome", "reason"],
            registry=self.registry,
        )
        self._retries = Counter(
            "sealdrop_retries", "Tries that failed and will be made again.", ["folder", "state"], registry=self.registry
        )
        self._calls = Histogram(
            "sealdrop_remote_call_duration_seconds",
            "Duration of calls to SignAPI, by how they ended.",
            ["account", "operation", "outcome"],
            buckets=CALL_BUCKETS_S,
            registry=self.registry,
        )

    def expect(self, folders: Iterable[str]) -> None:
        """Begin at zero, and tell so, for what is to be counted of these folders.

        The first document that fails would else begin a figure at one, in which no rule sees an increase.
        """
        for folder in folders:
            self._received.labels(folder)
            self._finished.labels(folder, State.DELIVERED.value, "")
            for reason in FAILURES:
                self._finished.labels(folder, State.FAILED.value, reason.value)

    def recorded(self, step: Step) -> None:
        """Count a step that a document made."""
        before, after = step.before, step.after
        if before is None:
            self._received.labels(after.folder).inc()
        elif before.state != after.state:
            self._left(before.state, (after.updated_at - before.updated_at).total_seconds())
            if after.state in END_STATES:
                reason = "" if after.state is State.DELIVERED or after.reason is None else after.reason.value
                self._finished.labels(after.folder, after.state.value, reason).inc()
                took_s = (after.updated_at - after.received_at).total_seconds()
                self._documents.labels(after.folder, after.state.value).observe(max(took_s, 0.0))
        elif after.attempts > before.attempts:
            self._retries.labels(after.folder, after.state.value).inc()

    def _left(self, state: State, after_s: float) -> None:
        if state not in END_STATES:  # how long a failed document stood there until somebody retried it says nothing
            self._stages.labels(state.value).observe(max(after_s, 0.0))  # the clock may have been set back

    def called(self, account: str, operation: str, outcome: str, took_s: float) -> None:
        """Count a call to SignAPI."""
        self._calls.labels(account, operation, outcome).observe(took_s)
