"""The names of everything that goes on record or into the log: a stable interface, described in docs/events.md."""

from enum import StrEnum


class EventName(StrEnum):
    """One name for each thing that happens."""

    # On record in the audit trail, and logged.
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    DOCUMENT_RECEIVED = "document_received"
    DOCUMENT_VALIDATED = "document_validated"
    DOCUMENT_REJECTED = "document_rejected"
    SUBMISSION_INTENDED = "submission_intended"
    SUBMISSION_CONFIRMED = "submission_confirmed"
    SEAL_INTENDED = "seal_intended"
    REMOTE_STATUS_CHANGED = "remote_status_changed"
    DOCUMENT_SEALED = "document_sealed"
    DOCUMENT_VERIFIED = "document_verified"
    DOCUMENT_DELIVERED = "document_delivered"
    DOCUMENT_FAILED = "document_failed"
    ORIGINAL_RETURNED = "original_returned"
    # Logged only: nothing about a document has changed.
    ORIGINAL_NOT_REMOVED = "original_not_removed"
    ORIGINAL_RECOGNISED = "original_recognised"
    FILE_NOT_TAKEN = "file_not_taken"
    JAIL_CONFINED = "jail_confined"
    DOCUMENT_SET_APART = "document_set_apart"
    VERIFICATION_BROKEN = "verification_broken"
    VERIFICATION_MENDED = "verification_mended"
    RETRY_SCHEDULED = "retry_scheduled"
    LEASE_LOST = "lease_lost"
    ACCOUNT_UNREACHABLE = "account_unreachable"
    ACCOUNT_REACHABLE = "account_reachable"
    FOLDER_UNREACHABLE = "folder_unreachable"
    FOLDER_REACHABLE = "folder_reachable"
    WATCH_UNAVAILABLE = "watch_unavailable"
    WORKER_TROUBLED = "worker_troubled"
    SPOOL_CLEANED = "spool_cleaned"
    SPOOL_UNCLAIMED = "spool_unclaimed"
    LIBRARY_SAID = "library_said"
    SERVICE_STOPPING = "service_stopping"
    SERVICE_BROKEN = "service_broken"
