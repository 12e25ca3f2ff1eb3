"""The alerts at work: one thread looks at what is wrong and what failed, one for each channel tells of it.

A channel that does not answer holds up neither the other one nor any document; what it could not be told is kept, and
told in one message once it works again. What is kept is in `keeping`, what is told and when in `matters`.

When the configuration is read anew, another teller follows with the same book. A message that is under way then is
waited for by the follower's sender of that channel, and by nobody else: it must not be told twice, nor be forgotten.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sealdrop.alerts.keeping import Keeper
from sealdrop.alerts.mail import MailChannel
from sealdrop.alerts.matters import URGENT, Book, Happening, News, Observation, Rules, Sample
from sealdrop.alerts.message import Channel
from sealdrop.alerts.webhook import WebhookChannel
from sealdrop.alerts.words import compose
from sealdrop.backoff import Backoff
from sealdrop.clock import Clock
from sealdrop.config import Alerts, Config
from sealdrop.errors import Retryable, SealdropError, TrailBroken
from sealdrop.events import EventName
from sealdrop.ledger.reading import LedgerReader
from sealdrop.logs import Log
from sealdrop.model import AlertKind, Document
from sealdrop.threads import NamedThread
from sealdrop.wording import words_for

LOOK_S = 5.0
GATHER_S = 15.0  # between the first thing to tell and the message: what belongs together comes within that
SEND_AGAIN = Backoff(first_s=15.0, longest_s=900.0)
BATCH = 500  # failed documents that are read at a time
LAST_WORDS_S = 10.0  # that a service that stops itself takes to say so
HAND_OVER_S = 300.0  # that a message under way is waited for at a reload: then it hangs for good
STOP_S = 2.0  # that any other stop waits for a message that is under way; else it is sent once more


def channels(config: Alerts) -> Sequence[Channel]:
    """Return the channels that are configured."""
    found: list[Channel] = []
    if config.email is not None:
        found.append(MailChannel(config.email))
    if config.webhook is not None:
        found.append(WebhookChannel(config.webhook))
    return found


@dataclass(frozen=True, slots=True)
class Desk:
    """What there is once, whoever sits at it: the book, and the file that keeps it; both are used with ``lock``."""

    keeper: Keeper
    book: Book
    lock: threading.Lock


class Teller:
    """What is to be told, told; from `start` to `stop`, used once, after it ``before`` was stopped, if there was one.

    ``observe`` returns what is wrong at the moment. ``on_trouble`` is called with a channel's name and what is wrong
    with it, or None once it works. Both are called by threads of their own and must not raise. Without a ``ledger`` it
    is only good for `last_words`.
    """

    def __init__(
        self,
        config: Config,
        host: str,
        ledger: LedgerReader | None,
        observe: Callable[[], Iterable[Observation]],
        clock: Clock,
        log: Log,
        *,
        on_trouble: Callable[[str, str | None], None] = lambda *_: None,
        via: Sequence[Channel] | None = None,
        before: "Teller | None" = None,
    ) -> None:
        self._host = host
        self._folders = config.folders
        self._ledger = ledger
        self._observe = observe
        self._clock = clock
        self._log = log
        found = channels(config.alerts) if via is None else via
        names, rules = [channel.name for channel in found], Rules.of(config.alerts)
        if before is None:
            keeper = Keeper(config.service.state_dir)
            self.desk = Desk(keeper, Book(keeper.load(), names, rules, clock.now()), threading.Lock())
        else:
            self.desk = before.desk
            with self.desk.lock:
                self.desk.book.go_on(names, rules)
        self._lock, self._keeper, self._book = self.desk.lock, self.desk.keeper, self.desk.book
        self._memory = self._book.memory
        self._senders = [
            Sender(channel, self, host, clock, log, on_trouble, before=before.at_work(channel.name) if before else ())
            for channel in found
        ]
        self._stopping = threading.Event()
        self._thread = NamedThread(self._run, "alerts")

    @property
    def channels(self) -> Sequence[str]:
        """The names of those who are told."""
        return [sender.name for sender in self._senders]

    def start(self) -> None:
        """Begin, if there is anybody to tell."""
        if self._senders:
            self._thread.start()
            for sender in self._senders:
                sender.start()

    def stop(self, within_s: float = LAST_WORDS_S) -> None:
        """Tell what is urgent, and no more; what was not told is kept for the next start."""
        self._stopping.set()
        with self._lock:
            is_urgent = self._book.is_urgent
        deadline = self._clock.monotonic() + (within_s if is_urgent else min(within_s, STOP_S))
        for sender in self._senders:
            sender.stop()
        for thread in (self._thread, *(sender.thread for sender in self._senders)):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - self._clock.monotonic()))

    # What happens.

    def unclean_stop(self) -> None:
        """Say that the last run did not come to its end."""
        self._happened(AlertKind.UNCLEAN_STOP, "started again", "the last run ended without saying so")

    def broken(self, error: BaseException) -> None:
        """Say that the service stops itself, and why."""
        kind = AlertKind.AUDIT_BROKEN if isinstance(error, TrailBroken) else AlertKind.SERVICE_BROKEN
        # Another error's text may hold anything; its kind says enough, and the log has the place.
        words = str(error) if isinstance(error, SealdropError) else "an error that nobody foresaw; see the log"
        self._happened(kind, type(error).__name__, words)

    def last_words(self, error: BaseException, within_s: float = LAST_WORDS_S) -> None:
        """Say that the service cannot start, in place of `start`."""
        self.broken(error)
        for sender in self._senders:
            sender.stop()
            sender.start()
        self.stop(within_s)

    def _happened(self, kind: AlertKind, name: str, detail: str) -> None:
        if not self._senders:
            return
        now = self._clock.now()
        with self._lock:
            self._book.happened(Happening(kind, 1, now, now, samples=(Sample(name, detail),)))
            self._keep()
        for sender in self._senders:
            sender.wake()

    def look(self) -> None:
        """Look at what is wrong and what has failed since the last look, and keep it.

        Raises:
            Retryable: the ledger cannot be read now.
            Fatal: it cannot be trusted.
        """
        observations = tuple(self._observe())
        with self._lock:
            self._book.observe(observations, self._clock.now())
            try:
                self._read_failed()
            finally:
                self._keep()
        for sender in self._senders:
            sender.wake()

    def _read_failed(self) -> None:
        if self._ledger is None:
            return
        head = self._ledger.audit_head().seq
        if self._memory.seq is None or self._memory.seq > head:  # the first look, or the ledger was put back
            self._memory.seq = head
            return
        while failed := self._ledger.failed_after(self._memory.seq, limit=BATCH):
            self._book.happened(self._failed(failed))
            self._memory.seq = failed[-1].last_seq or head

    def _failed(self, documents: Sequence[Document]) -> Happening:
        shares = Counter(_share(each) for each in documents)
        samples = []
        for each in documents:
            folder = self._folders.get(each.folder)
            where = f"; it stands in {folder.failed / (each.published_name or each.name)}" if folder is not None else ""
            samples.append(Sample(f"{each.folder}/{each.name}", f"{each.reason_detail or each.reason}{where}", each.id))
        moments = [each.updated_at for each in documents]
        kind = AlertKind.DOCUMENT_FAILED
        return Happening(kind, len(documents), min(moments), max(moments), shares, tuple(samples))

    def _keep(self) -> None:
        try:
            self._keeper.keep(self._memory)
        except OSError as error:
            # What is known is in this process still, and is kept at the next look.
            self._log.warning(EventName.WORKER_TROUBLED, worker="alerts", error=str(error))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Retryable:
                pass  # those who write the ledger tell of that
            except Exception as error:  # noqa: BLE001 - alerts are no reason to stop anything
                self._log.error(EventName.WORKER_TROUBLED, worker="alerts", error=type(error).__name__, exc_info=True)
            self._stopping.wait(LOOK_S)

    def at_work(self, channel: str) -> Sequence[threading.Thread]:
        """Return the threads that may be sending by that channel still."""
        return [thread for sender in self._senders for thread in sender.at_work() if sender.name == channel]

    # For the senders.

    def owed(self, channel: str) -> tuple[News, ...]:
        """Return what the channel is to be told now."""
        with self._lock:
            owed = self._book.owed(channel, self._clock.now())
            if owed:
                self._book.sending(channel)
            return owed

    def told(self, channel: str, news: Sequence[News]) -> None:
        """Keep that the channel was told."""
        with self._lock:
            self._book.told(channel, news, self._clock.now())
            self._keep()


class Sender:
    """One channel's thread. It does not send while one of ``before`` may, which have been told to stop."""

    def __init__(
        self,
        channel: Channel,
        teller: Teller,
        host: str,
        clock: Clock,
        log: Log,
        on_trouble: Callable[[str, str | None], None],
        before: Sequence[threading.Thread] = (),
    ) -> None:
        self.name = channel.name
        self._before = before
        self._waits_until = clock.monotonic() + HAND_OVER_S
        self._channel = channel
        self._teller = teller
        self._host = host
        self._clock = clock
        self._log = log
        self._on_trouble = on_trouble
        self._rng = random.Random()  # noqa: S311 - scatters retries, guards nothing
        self._failures = 0
        self._not_before = float("-inf")
        self._owed_since: float | None = None
        self._woken = threading.Event()
        self._stopping = False
        self.thread = NamedThread(self._run, f"alerts {channel.name}")

    def start(self) -> None:
        """Begin to send."""
        self.thread.start()

    def wake(self) -> None:
        """Say that there may be something to tell."""
        self._woken.set()

    def at_work(self) -> Sequence[threading.Thread]:
        """Return the threads that may be sending by this channel still."""
        return [thread for thread in (*self._before, self.thread) if thread.is_alive()]

    def _is_waiting(self) -> bool:
        """Whether somebody before may still be sending; who hangs for good is waited for no longer."""
        return any(each.is_alive() for each in self._before) and self._clock.monotonic() < self._waits_until

    def stop(self) -> None:
        """Send what is urgent, once, and nothing else."""
        self._stopping = True
        self._woken.set()

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            self._woken.clear()
            try:
                self.turn(only_urgent=stopping)
            except Exception as error:  # noqa: BLE001 - alerts are no reason to stop anything
                worker = self.thread.name
                self._log.error(EventName.WORKER_TROUBLED, worker=worker, error=type(error).__name__, exc_info=True)
            if stopping:
                return
            self._woken.wait(LOOK_S)

    def turn(self, *, only_urgent: bool = False) -> bool:
        """Send what is to be told by now, if anything; return whether something was sent."""
        if self._is_waiting() and not only_urgent:
            return False
        news = self._teller.owed(self._channel.name)
        urgent = any(each.kind in URGENT and each.happening is not None for each in news)
        now = self._clock.monotonic()
        if not news:
            self._owed_since = None
            return False
        if only_urgent and not urgent:
            return False
        self._owed_since = now if self._owed_since is None else self._owed_since
        is_gathering = now - self._owed_since < GATHER_S or now < self._not_before
        if is_gathering and not (urgent and (only_urgent or not self._failures)):
            return False
        self._send(news)
        return self._failures == 0

    def _send(self, news: Sequence[News]) -> None:
        message = compose(news, self._host, self._clock.now())
        name = self._channel.name
        try:
            remark = self._channel.send(message)
        except Retryable as error:
            self._failures += 1
            self._not_before = self._clock.monotonic() + SEND_AGAIN.delay_s(self._failures, self._rng)
            self._log.warning(EventName.ALERT_NOT_SENT, channel=name, error=str(error), attempts=self._failures)
            self._on_trouble(name, str(error))
            return
        self._failures = 0
        self._owed_since = None
        self._teller.told(name, news)
        self._log.info(EventName.ALERT_SENT, channel=name, subject=message.subject, remark=remark)
        self._on_trouble(name, remark)


def _share(document: Document) -> str:
    reason = document.reason
    return f"in folder {document.folder}, {reason}: {words_for(reason).wrong_en}" if reason else document.folder
