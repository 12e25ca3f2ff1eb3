"""Putting failed documents back to work, at a person's wish: what `sealdrop retry` does.

The wish is a step in the ledger, from ``failed`` to ``retrying``, and may be made whether the service runs or not. All
else is the service's: it fetches the original back from the failed folder, asks SignAPI by our own identifier what it
knows, and goes on from there. Only what was never sealed is sent again, under an identifier of its own.
"""

import os
import pwd
from dataclasses import dataclass, replace

from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.errors import LeaseLost
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, Event, State


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish: the document that it is about, if there is one, and what to tell the person."""

    wanted: str
    document: Document | None
    accepted: bool
    text: str


def ask_for_retry(wanted: str, config: Config, ledger: Ledger, clock: Clock) -> Answer:
    """Have the failed document called ``wanted`` (an ID, a short ID or a file name) tried again.

    Raises:
        Retryable: the ledger cannot be used now; nothing was changed.
        Fatal: it cannot be trusted.
    """
    failed = ledger.find(wanted, state=State.FAILED)
    found = failed or ledger.find(wanted)
    if not found:
        return Answer(wanted, None, accepted=False, text="no document has that ID or file name")
    if len(failed) > 1:
        named = ", ".join(document.id for document in failed)
        text = f"{len(failed)} failed documents have that name, give one by its ID: {named}"
        return Answer(wanted, None, accepted=False, text=text)
    if not failed:
        return Answer(wanted, found[0], accepted=False, text=_not_failed(found[0]))
    return _ask(wanted, failed[0], config, ledger, clock)


def _not_failed(document: Document) -> str:
    if document.state is State.REJECTED:
        return "it was rejected and never sent: drop the file again"
    return f"it has not failed, it is {document.state}"


def _ask(wanted: str, document: Document, config: Config, ledger: Ledger, clock: Clock) -> Answer:
    refusal = _refusal(document, config, ledger)
    if refusal is not None:
        return Answer(wanted, document, accepted=False, text=refusal)
    now = clock.now()
    after = replace(
        document,
        state=State.RETRYING,
        updated_at=now,
        due_at=now,
        attempts=0,
        refusals=0,
        last_error=None,
        retries=document.retries + 1,
        kept_until=None,
        expired_at=None,
    )
    fields = {"folder": document.folder, "name": document.name, "reason": document.reason, "by": _who()}
    (outcome,) = ledger.record(Step(document, after, Event(EventName.DOCUMENT_RETRIED, fields)))
    if isinstance(outcome, LeaseLost):
        return Answer(wanted, document, accepted=False, text="somebody else is at work on it: ask again")
    text = "will be tried again: SignAPI is asked first what it has, and seals only what it has not sealed"
    return Answer(wanted, outcome, accepted=True, text=text)


def _refusal(document: Document, config: Config, ledger: Ledger) -> str | None:
    """Return why the document cannot be tried again, or None."""
    folder = config.folders.get(document.folder)
    if folder is None or document.account not in config.accounts:
        return f"its folder {document.folder!r} or account {document.account!r} is no longer configured"
    if document.due_at is not None:
        return "it has only just failed and is still being given back: ask again in a moment"
    if document.lease is not None:
        return "its time in the failed folder is over, and its files are just being removed: ask again in a moment"
    twin = ledger.twin_of(document) if folder.duplicates != "seal-again" else None
    if twin is not None:
        return f"the same content was dropped again, as document {twin.id}, which is {twin.state}"
    original = folder.failed / (document.published_name or document.name)
    if document.expired_at is not None and not original.is_file():
        removed = f"its original was removed on {document.expired_at:%Y-%m-%d}, as the folder's keep_failed_days says"
        return f"{removed}: drop the document again"
    if not original.is_file():
        return f"its original does not stand at {original} any more: put it back there, or drop it again"
    return None


def _who() -> str:
    """Return who asks, as far as the system knows: for the record, not for permission."""
    asker = os.environ.get("SUDO_USER")
    if asker:
        return f"{asker} (sudo)"
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
