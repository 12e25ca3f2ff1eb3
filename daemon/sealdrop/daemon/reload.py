"""Reading the configuration anew when somebody asks for it (SIGHUP).

In a thread of its own: whether folders are there is looked at anew, too, and one on a share that hangs must keep
neither the documents of the others nor a stop waiting. What cannot be used is refused as a whole, and the old one
stays.
"""

import threading
from collections.abc import Callable

from pydantic import JsonValue

from sealdrop.clock import Clock
from sealdrop.config import Config, load
from sealdrop.daemon.notify import Notifier
from sealdrop.daemon.progress import Progress, waiting
from sealdrop.daemon.recorder import Recorder, one_line
from sealdrop.daemon.shifts import Shifts
from sealdrop.errors import ConfigurationError, Fatal, SealdropError
from sealdrop.events import EventName
from sealdrop.logs import Log
from sealdrop.threads import NamedThread

LOOK_S = 10.0  # between two looks whether something of an earlier configuration can be closed


class Reload:
    """Reads the configuration anew, one wish at a time; wishes that come meanwhile are one more."""

    def __init__(
        self,
        shifts: Shifts,
        recorder: Recorder,
        notifier: Notifier,
        clock: Clock,
        log: Log,
        *,
        status: Callable[[], str],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.progress = Progress("reload", clock)
        self.refused = ""
        """What spoke against the last configuration that was read, in a few words; empty if nothing did."""
        self._shifts = shifts
        self._recorder = recorder
        self._notifier = notifier
        self._clock = clock
        self._log = log
        self._status = status
        self._on_fatal = on_fatal
        self._on_reloaded: Callable[[Config], None] = lambda _: None
        self._wished = threading.Event()
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "reload")

    def start(self, on_reloaded: Callable[[Config], None]) -> None:
        """Begin to listen to wishes; ``on_reloaded`` is called with a configuration that has taken effect."""
        self._on_reloaded = on_reloaded
        self._thread.start()

    def ask(self) -> None:
        """Ask for the configuration to be read anew, soon."""
        self._wished.set()

    def stop(self) -> None:
        """Hear no wish any more; one that is being fulfilled ends by itself, without effect if it can."""
        self._stopping.set()
        self._wished.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread has ended; return whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def now(self) -> bool:
        """Read the configuration anew; return whether it took effect."""
        self._notifier.reloading(self._clock.monotonic())
        try:
            with waiting("the folders of the new configuration", None):  # it follows where their paths lead
                config = load(self._shifts.crew.config.source)
            has_followed = self._shifts.follow(config, lambda: self._put_on_record(config))
        except Fatal as error:
            self._on_fatal(error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the old configuration stays
            self._refuse(error)
            has_followed = False
        else:
            self.refused = ""
            if has_followed:
                self._on_reloaded(config)
        self._notifier.ready(self._status())
        return has_followed

    def _put_on_record(self, config: Config) -> None:
        self._recorder.note(EventName.CONFIGURATION_RELOADED, **on_record(config))

    def _refuse(self, error: Exception) -> None:
        problems = error.problems if isinstance(error, ConfigurationError) else (one_line(error),)
        unforeseen = not isinstance(error, SealdropError | OSError)
        self._log.error(EventName.RELOAD_REFUSED, problems=list(problems), exc_info=unforeseen)
        more = f" and {len(problems) - 1} more, see the log" if len(problems) > 1 else ""
        self.refused = f"{problems[0]}{more}"

    def _run(self) -> None:
        try:
            with self.progress.attended():
                self._listen()
        except BaseException as error:  # noqa: BLE001 - a wish must not be lost unseen
            self._on_fatal(error)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with self.progress.waiting("a wish", LOOK_S):
                is_wished = self._wished.wait(LOOK_S)
            if self._stopping.is_set():
                return
            if is_wished:
                self._wished.clear()
                self.now()
            else:
                self._shifts.clear()


def on_record(config: Config) -> dict[str, JsonValue]:
    """Return what the audit trail says of a configuration: enough to tell which one it was, and no more."""
    return {
        "config_sha256": config.sha256,
        "accounts": list[JsonValue](sorted(config.accounts)),
        "folders": list[JsonValue](sorted(config.folders)),
    }
