"""Events that are lost, and listeners that die: the sweep finds every file, somebody is told, and it is mended."""

import ctypes
import errno
import os
import threading
from pathlib import Path

import pytest
from watchdog.observers import inotify_c

from disks import service, small_disk, troubles, unmount
from running import Running, drop, unique, until
from sealdrop.daemon.inbound import InboundWorker
from sealdrop.model import State
from sealdrop.pipeline.listen import Watch, _Queue

SUBJECT = "folder contracts events"


def _worker(running: Running) -> InboundWorker:
    return next(worker for worker in running.daemon._shifts.crew.inbound if worker.name == "contracts")


def _listener_threads(watching: Watch) -> list[threading.Thread]:
    listener = watching._listener
    assert listener is not None
    return [listener, listener._queue, *listener.emitters]


def _end(running: Running, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one of the three threads between the kernel and us end, as an error in it would make it end."""

    def end(*_: object, **__: object) -> None:
        raise SystemExit  # ends a thread without a word

    watching = _worker(running)._watch
    listener, queue, emitter = _listener_threads(watching)
    thread = {"dispatcher": listener, "reader": queue, "emitter": emitter}[which]
    method = {"dispatcher": "dispatch_events", "reader": "handle_event", "emitter": "queue_events"}[which]
    with monkeypatch.context() as dying:
        dying.setattr(thread, method, end)
        # Something must happen for each of them to come round.
        until(lambda: (_touch(running), not thread.is_alive())[1])


def _touch(running: Running) -> None:
    (running.folder("contracts").inbound / ".hidden").write_bytes(b"")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("which", ["dispatcher", "reader", "emitter"])
def test_a_listener_that_died_is_replaced_and_nothing_is_missed(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Whichever of its threads ends, the next sweep takes what came meanwhile, and events arrive again."""
    with service(directory) as (sandbox, running):
        worker = _worker(running)
        until(lambda: worker._watch.is_alive)
        _end(running, which, monkeypatch)
        drop(unique(invoice, 1), running.folder("contracts").inbound, "while deaf.pdf")
        running.wait_until_over(1)
        until(lambda: worker._watch.is_alive)
        assert len(sandbox.seals()) == 1
        until(lambda: troubles(running) == {})
    assert [document.state for document in running.over()] == [State.DELIVERED]
    events = [line["event"] for line in running.log.events("watch_unavailable", "watch_available")]
    assert events == ["watch_unavailable", "watch_available"]


def test_an_overflow_of_the_event_queue_asks_for_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel had to drop events because nobody read them, everything is looked at, and events go on."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (tmp_path / "sub").mkdir()
    reads, swept, woken = threading.Event(), threading.Event(), threading.Event()
    read_events = _Queue.read_events

    def stalled(queue: _Queue) -> list[inotify_c.InotifyEvent]:
        assert reads.wait(60)
        return read_events(queue)

    monkeypatch.setattr(_Queue, "read_events", stalled)
    watching = Watch(tmp_path, subfolders=True, wake=woken.set, sweep=swept.set)
    watching.start()
    try:
        # Each close is an event of its own while the names alternate: like ones are one.
        for number in range(limit + 10):
            os.close(os.open(tmp_path / f".{number % 2}", os.O_WRONLY | os.O_CREAT))
        (tmp_path / "unseen.pdf").write_bytes(b"x")
        assert not swept.is_set()
        reads.set()
        assert swept.wait(60), "an overflow went by unnoticed"
        assert tmp_path / "unseen.pdf" not in watching.take_hints()
        assert watching.is_alive
        woken.clear()
        (tmp_path / "sub" / "seen.pdf").write_bytes(b"x")
        assert woken.wait(60)
        assert watching.take_hints() == {tmp_path / "sub" / "seen.pdf"}
    finally:
        reads.set()
        watching.stop()


def test_an_overflow_in_the_service_delivers_what_no_event_named(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an hour between sweeps, a file whose events the kernel dropped is delivered all the same."""
    with service(directory, sweep_s="3600") as (_, running):
        worker = _worker(running)
        until(lambda: worker._watch.is_alive and not worker._sweep_due.is_set() and worker._listing is None)
        queue = _listener_threads(worker._watch)[1]
        assert isinstance(queue, _Queue)
        overflow = inotify_c.InotifyEvent(
            inotify_c.WatchDescriptor(-1), inotify_c.InotifyConstants.IN_Q_OVERFLOW, 0, b""
        )
        with monkeypatch.context() as dropping:
            dropping.setattr(worker._watch, "on_any_event", lambda _: None)
            drop(invoice, running.folder("contracts").inbound, "a.pdf")
            queue.handle_event(overflow)
            running.wait_until_over(1)


@pytest.mark.parametrize("which", ["root", "sub-folder"])
def test_without_watches_the_sweep_does_it_and_status_says_so(
    directory: Path, invoice: bytes, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """When the system has no watch left, files are found by the sweep, nothing leaks, and it ends by itself."""
    real = inotify_c.inotify_add_watch

    def exhausted(fd: int, path: bytes, mask: int) -> int:
        if path.endswith(b"contracts/inbound" if which == "root" else b"/sub"):
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return real(fd, path, mask)

    (directory / "contracts" / "inbound" / "sub").mkdir(parents=True)
    monkeypatch.setattr(inotify_c, "inotify_add_watch", exhausted)
    with service(directory) as (_, running):
        until(lambda: SUBJECT in troubles(running), lambda: running.log.lines)
        drop(unique(invoice, 1), running.folder("contracts").inbound, "sub/a.pdf")
        running.wait_until_over(1)
        before = len(_open_queues())
        drop(unique(invoice, 2), running.folder("contracts").inbound, "sub/b.pdf")
        running.wait_until_over(2)
        # A sweep has one open for the instant in which it tries.
        until(lambda: len(_open_queues()) <= before, lambda: "each sweep left an event queue behind")
        monkeypatch.setattr(inotify_c, "inotify_add_watch", real)
        until(lambda: troubles(running) == {}, lambda: troubles(running))
        assert _worker(running)._watch.is_alive
        assert not _worker(running)._watch.has_gaps
    events = [line["event"] for line in running.log.events("watch_unavailable", "watch_available")]
    assert events == ["watch_unavailable", "watch_available"]


def _open_queues() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "inotify" in str(entry.readlink()):
                found.append(entry.name)
        except FileNotFoundError:
            continue
    return found


def test_a_folder_made_anew_with_the_same_numbers_is_listened_to(tmp_path: Path) -> None:
    """A folder that was removed and made again may get the same device and inode number: nobody listens to it yet."""
    inbound = tmp_path / "in"
    inbound.mkdir()
    watching = Watch(inbound, subfolders=True, wake=lambda: None, sweep=lambda: None)
    watching.start()
    try:
        before = inbound.stat()
        inbound.rmdir()
        inbound.mkdir()
        if inbound.stat().st_ino != before.st_ino:
            watching._watched = (before.st_dev, inbound.stat().st_ino)  # some file systems do not give them again
        until(lambda: not watching.is_alive)
        watching.stop()
        watching.start()
        assert watching.is_alive
    finally:
        watching.stop()


@pytest.mark.usefixtures("root")
def test_a_share_mounted_anew_with_the_same_numbers_is_listened_to(tmp_path: Path) -> None:
    """What is mounted again may have the numbers of what was there before, but nobody listens to it yet."""
    watching = Watch(tmp_path / "in", subfolders=True, wake=lambda: None, sweep=lambda: None)
    with small_disk(tmp_path / "in"):
        watching.start()
        try:
            assert watching.is_alive
            unmount(tmp_path / "in")
            with small_disk(tmp_path / "in"):
                status = (tmp_path / "in").stat()
                watching._watched = (status.st_dev, status.st_ino)  # as it may be, or not
                until(lambda: not watching.is_alive)
        finally:
            watching.stop()
