"""What the service lists as still being worked on: one question where there would be one for each document.

Where many documents have waited for their seals for long, asking for each of them again and again is mostly answered
with "not yet". A list can only spare questions: whoever stands on it waits on, and whoever does not is
asked for by itself, and only that answer counts. So a list that is cut short does no harm; and as one that never
changes would, one document in `ASKED_ANYWAY` is asked for all the same.

Nothing depends on lists. Where the service answers with none, nobody asks for one for a while, and all else goes on.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence

from sealdrop.clock import Clock
from sealdrop.model import Document, DocumentId, RemoteStatus, RequestId
from sealdrop.signapi.wire import RequestStatus

LATE_S = 10.0  # how long a document has waited, at least, for which a list will do
LISTED_S = 1.0  # for which a list is as good as a new one
LISTED_FROM = 8  # documents of one status that would be asked for within that time
PAUSE_S = 300.0  # after a question for a list that was answered with none
ASKED_ANYWAY = 10
LISTABLE = frozenset({RemoteStatus.SIGN_IN_PROGRESS, RemoteStatus.ARCHIVE_IN_PROGRESS})

_NEVER = float("-inf")


class Listing:
    """One account's lists, by status. Used by all of its threads; one of them asks, and the others go on without."""

    def __init__(
        self, search: Callable[[RemoteStatus], Sequence[RequestStatus]], clock: Clock, rng: random.Random
    ) -> None:
        self._search = search
        self._clock = clock
        self._rng = rng
        self._asking = threading.Lock()
        self._wanted: dict[RemoteStatus, deque[float]] = {}
        self._lists: dict[RemoteStatus, tuple[float, frozenset[RequestId]]] = {}
        self._paused_until = _NEVER

    def still_waiting(self, documents: Sequence[Document]) -> frozenset[DocumentId]:
        """Return which of the documents, all of which are waiting for long, need not be asked for now."""
        return frozenset(document.id for document in documents if self._is_still_waiting(document))

    def _is_still_waiting(self, document: Document) -> bool:
        status = document.remote.steps[-1].status if document.remote.steps and document.attempts == 0 else None
        if status not in LISTABLE or self._rng.random() * ASKED_ANYWAY < 1:
            return False
        return document.request_id in self._listed(status)

    def _listed(self, status: RemoteStatus) -> frozenset[RequestId]:
        """Return the requests of a status as the service lists them; none if it does not, or if few are wanted."""
        if not self._asking.acquire(blocking=False):
            return frozenset()
        try:
            now = self._clock.monotonic()
            wanted = self._wanted.setdefault(status, deque(maxlen=LISTED_FROM))
            wanted.append(now)
            if len(wanted) < LISTED_FROM or now - wanted[0] > LISTED_S:
                return frozenset()
            asked_at, listed = self._lists.get(status, (_NEVER, frozenset()))
            if now - asked_at < LISTED_S:
                return listed
            if now < self._paused_until:
                return frozenset()
            listed = frozenset(each.request_id for each in self._search(status) if each.status is status)
            self._lists[status] = self._clock.monotonic(), listed  # it may have had to wait for its turn
            return listed
        except Exception:  # noqa: BLE001 - whatever it is, polling goes on without a list
            self._paused_until = self._clock.monotonic() + PAUSE_S
            return frozenset()
        finally:
            self._asking.release()
