"""Listening for what happens in an inbound folder, so that the sweep need not be waited for.

Nothing depends on it: network shares send no events, queues overflow, watches run out. What is lost here is found by
the next sweep, and what is known to be lost asks for one.
"""

import errno
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from watchdog.events import DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileMovedEvent, FileSystemEvent
from watchdog.events import FileSystemEventHandler as EventHandler
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchCallback, WatchDescriptor

from sealdrop.pipeline.watch import is_ignored

MAX_HINTS = 10_000
STOP_S = 5.0
NO_WATCH = -1


class _Queue(InotifyFD):
    """The kernel's queue of events; it tells what the library keeps to itself: that events or watches were lost."""

    def __init__(self, root: Path, on_overflow: Callable[[], None]) -> None:
        super().__init__()
        self._root = os.fsencode(root)
        self._on_overflow = on_overflow
        self._watch_of_root: WatchDescriptor | None = None
        self.has_lost_root = False
        self.has_gaps = False

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watch a folder, and take note if that cannot be: the library passes over sub-folders that it cannot watch."""
        try:
            watch = super().add_callback(path, mask, callback, id_)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError:
            self.has_gaps = True
            raise
        if watch == NO_WATCH:  # the library's answer if it may not read the folder
            self.has_gaps = True
            if path == self._root:
                raise PermissionError(errno.EACCES, "it may not be watched")
        if path == self._root:
            self._watch_of_root = watch
        return watch

    def handle_event(self, event: InotifyEvent) -> None:
        """Hand the event on; after an overflow (inotify(7), IN_Q_OVERFLOW) nobody knows what happened meanwhile."""
        super().handle_event(event)
        if event.is_queue_overflow:
            self._on_overflow()
        elif event.is_ignored and event.wd == self._watch_of_root:
            self.has_lost_root = True  # removed, or what was mounted there is not any more


class _Listener(BaseObserver):
    """The library's observer on a queue of our own."""

    def __init__(self, queue: _Queue) -> None:
        super().__init__(InotifyFullEmitter, inotify_fd=queue)
        self._queue = queue

    @property
    def hears(self) -> bool:
        """Whether every thread between the kernel and us is alive, and the folder is still watched."""
        threads = (self, self._queue, *self.emitters)
        return all(thread.is_alive() for thread in threads) and not self._queue.has_lost_root

    @property
    def has_gaps(self) -> bool:
        """Whether some folders could not be watched."""
        return self._queue.has_gaps

    def on_thread_start(self) -> None:
        """Start the queue's thread, then those that are fed by it."""
        self._queue.start()
        super().on_thread_start()

    def on_thread_stop(self) -> None:
        """Stop all of them."""
        super().on_thread_stop()
        self._queue.stop()
        if self._queue.ident is not None:
            self._queue.join(STOP_S)


class Watch(EventHandler):
    """Wakes somebody when a file is moved into a folder or closed after writing; holds the paths as hints.

    A new folder may hold files from before anybody listened to it: ``sweep`` is called, which asks for a look at
    everything; so it is when events were lost.
    """

    def __init__(self, inbound: Path, *, subfolders: bool, wake: Callable[[], None], sweep: Callable[[], None]) -> None:
        self._inbound = inbound
        self._subfolders = subfolders
        self._wake = wake
        self._sweep = sweep
        self._lock = threading.Lock()
        self._hints: set[Path] = set()
        self._listener: _Listener | None = None
        self._watched = (0, 0)

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the folder cannot be watched: it is gone, or the system's watches are used up.
        """
        watched = self._folder_identity()
        # Of a folder that was just made the library hears twice, from its parent and from its own look, and says so.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        listener = _Listener(_Queue(self._inbound, self._sweep))
        try:
            listener.schedule(
                self,
                str(self._inbound),
                recursive=self._subfolders,
                event_filter=[FileClosedEvent, FileMovedEvent, DirMovedEvent, DirCreatedEvent],
            )
            listener.start()
        except BaseException:
            listener.stop()  # or its queue would be one of the few that the system has, for ever
            raise
        self._listener, self._watched = listener, watched

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()
            self._listener.join(STOP_S)
            self._listener = None

    @property
    def is_started(self) -> bool:
        """Whether somebody was told to listen, and not to stop."""
        return self._listener is not None

    @property
    def is_alive(self) -> bool:
        """Whether events can still arrive: somebody listens, to the folder that is there now."""
        try:
            watched = self._folder_identity()
        except OSError:
            return False  # gone, or not mounted
        return self._listener is not None and self._listener.hears and watched == self._watched

    @property
    def has_gaps(self) -> bool:
        """Whether some sub-folders could not be watched: what is dropped there is found by the sweep."""
        return self._listener is not None and self._listener.has_gaps

    def _folder_identity(self) -> tuple[int, int]:
        status = self._inbound.stat()
        return status.st_dev, status.st_ino

    @property
    def has_hints(self) -> bool:
        """Whether events have named paths since they were last taken."""
        return bool(self._hints)

    def take_hints(self) -> set[Path]:
        """Return the paths that events named since the last call."""
        with self._lock:
            hints, self._hints = self._hints, set()
        return hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note which file an event is about, and wake the folder's worker. Called by watchdog's thread."""
        named = event.dest_path if isinstance(event, FileMovedEvent | DirMovedEvent) else event.src_path
        path = Path(os.fsdecode(named))
        if not path.is_relative_to(self._inbound):  # moved out
            return
        if any(is_ignored(part) for part in path.relative_to(self._inbound).parts):
            return
        if event.is_directory:
            self._sweep()
            return
        with self._lock:
            has_room = len(self._hints) < MAX_HINTS
            if has_room:
                self._hints.add(path)
        if has_room:
            self._wake()
        else:
            self._sweep()
