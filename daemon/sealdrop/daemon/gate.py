"""When a folder's documents may be sent: within its hours, and as many a day as its quota allows.

What may not be sent yet waits where it is, held until the hours begin or the day is over, and holds up no other
folder's. Only what is about to be created at SignAPI is held; what SignAPI has already is signed, waited for and
delivered whenever that may be, so a seal can bear a time some minutes after the hours have ended, or longer after an
outage.

A document counts for the quota of the local day on which the intent to create its request goes on record, in the same
transaction: neither a crash nor several workers can have more of them sent. What is sent again under the same
identifier, since SignAPI turned out not to know it, was counted; what `sealdrop retry` has sent under a new one counts
again.

A start, or a clock that was set back, makes everything due (`Ledger.hasten`): it comes by here again and is held again.
"""

import threading
from dataclasses import replace
from datetime import date, datetime

from sealdrop.clock import Clock
from sealdrop.config import Config
from sealdrop.daemon.recorder import Recorder
from sealdrop.events import EventName
from sealdrop.hours import day_after, local_day
from sealdrop.ledger.store import Ration, Step
from sealdrop.logs import Log
from sealdrop.model import Document, Hold


class Gate:
    """The gate of all folders of one account. Used by several threads."""

    def __init__(self, config: Config, recorder: Recorder, clock: Clock, log: Log) -> None:
        self._folders = config.folders
        self._zone = config.service.zone()
        self._recorder = recorder
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._told: dict[tuple[str, Hold], date | datetime] = {}

    def shut_until(self, document: Document) -> datetime | None:
        """Return when the hours of the document's folder begin, None if it is within them."""
        hours, now = self._folders[document.folder].hours, self._clock.now()
        return None if hours.are_open(now, self._zone) else hours.next_open(now, self._zone)

    def wait(self, document: Document, until: datetime) -> Step:
        """Return the step that has a document wait until the hours begin; tell of it once for each time they end."""
        if self._is_new(document.folder, Hold.WINDOW, until):
            self._log.info(EventName.HOURS_CLOSED, folder=document.folder, until=until.isoformat())
        step = self._recorder.later(document, 0.0, hold=Hold.WINDOW)
        return replace(step, after=replace(step.after, due_at=until))

    def counted(self, step: Step, seen: Document) -> Step:
        """Return the step that sends ``seen`` as one that counts; with the quota used up, it waits for the next day."""
        quota = self._folders[seen.folder].daily_quota
        if quota is None:
            return step
        now = self._clock.now()
        waiting = self._recorder.later(seen, 0.0, hold=Hold.QUOTA).after
        waiting = replace(waiting, due_at=day_after(now, self._zone))
        return replace(step, ration=Ration(local_day(now, self._zone), quota, waiting))

    def tell_of_quota(self, stored: Document) -> None:
        """Put it on record, once a day, that a folder's quota is used up."""
        if stored.hold is not Hold.QUOTA or stored.due_at is None:
            return
        day = local_day(self._clock.now(), self._zone)
        if self._is_new(stored.folder, Hold.QUOTA, day):
            quota, until = self._folders[stored.folder].daily_quota, stored.due_at.isoformat()
            self._recorder.note(
                EventName.QUOTA_REACHED, folder=stored.folder, quota=quota, day=day.isoformat(), until=until
            )

    def _is_new(self, folder: str, hold: Hold, when: date | datetime) -> bool:
        with self._lock:
            is_new = self._told.get((folder, hold)) != when
            self._told[folder, hold] = when
        return is_new
