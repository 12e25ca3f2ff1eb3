"""Running a function where it can hang, crash or eat memory without harm to the daemon.

Each cell of the jail has one child process, kept warm between calls and replaced after any trouble. Cells share
nothing, so what happens in one call is not felt in another. A child is forked from multiprocessing's fork server,
which has one thread and the heavy libraries loaded already: starting one is cheap, and safe though the daemon has
threads. A call is bounded three times:

- by wall clock, from outside: the child is killed;
- by CPU time, by the kernel (RLIMIT_CPU, set anew for each call, since it counts over a process's life);
- by address space, by the kernel (RLIMIT_AS): an allocation fails, and the function with it.

`_confine` is the one place where a child gives up what it does not need.

Residual risk: answers come back pickled, so a parser that is taken over by a document could run code in the daemon.
A child can still open files and sockets.
"""

import contextlib
import fcntl
import logging
import math
import multiprocessing
import os
import pickle
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import forkserver
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

import pebble

from sealdrop.errors import Retryable, SealdropError

P = ParamSpec("P")
T = TypeVar("T")

# Loaded once in the fork server and shared by all children; a name that does not exist is passed over.
PRELOADED = ["sealdrop.pdf.inspect", "sealdrop.pdf.seal"]
START_S = 30.0  # for a child to come up; longer means that the machine is in trouble
CLOSE_S = 5.0  # for all children to be gone when the jail is closed; they are killed, so it is mostly far less
CALLS_PER_CHILD = 500  # then it is replaced, since memory once taken is not always given back
NICENESS = 10  # the daemon's own threads go first
MESSAGE_CHARACTERS = 500  # of an exception's text
_TRIES = 2

# Meant for the daemon, though a terminal or systemd may send them to the whole group: the daemon decides what stops.
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)

# Children do not listen to SIGTERM, so pebble need not wait for them to (its default is 3 s) before it kills.
pebble.CONSTS.term_timeout = 0.0


@dataclass(frozen=True, slots=True)
class JailLimits:
    """What one call may use: wall clock and CPU in seconds, address space of the whole child in bytes."""

    wall_s: float = 20.0
    cpu_s: int = 20
    memory_bytes: int = 1 << 30


class Limit(StrEnum):
    """Which limit ended a call."""

    TIME = "time"
    CPU = "CPU time"
    MEMORY = "memory"
    DIED = "a crash"


class JailLimitExceeded(SealdropError):
    """The function was ended by one of its limits, or by the death of its process; ``limit`` says which."""

    def __init__(self, limit: Limit, detail: str) -> None:
        self.limit = limit
        super().__init__(f"ended by {limit}: {detail}")


class JailedError(SealdropError):
    """The function raised; ``kind`` is the name of the exception's class, ``text`` its (shortened) message.

    The text may quote what the function worked on, so it is not part of what this error says of itself.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        super().__init__(f"the jailed function raised {kind}")


class JailUnavailable(Retryable):
    """No child could be had: the jail is closing, or the system starts no processes. Nothing is known of the call."""


@dataclass(frozen=True, slots=True)
class _Returned:
    value: object


@dataclass(frozen=True, slots=True)
class _Raised:
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class _OutOfMemory:
    pass


class Jail:
    """Runs functions in ``workers`` children, each call within ``limits``. Safe to use from many threads."""

    def __init__(self, workers: int, limits: JailLimits | None = None) -> None:
        limits = limits or JailLimits()
        self._cells = [_Cell(limits) for _ in range(workers)]
        self._free = list(self._cells)
        self._changed = threading.Condition()
        self._closed = False

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns; blocks until a child is free and the call has ended.

        The function must be importable by name, its arguments and its result picklable. A child that dies for no
        stated reason gets the call once more, in case somebody outside killed it: so the function must bear being
        run twice.

        Raises:
            JailLimitExceeded: a limit ended the call, or it took its child down.
            JailedError: the function raised.
            JailUnavailable: the jail is closing, or no child could be started.
        """
        cell = self._take()
        try:
            return cast(T, cell.run(function, args, kwargs))
        finally:
            with self._changed:
                self._free.append(cell)  # taken from the same end: few calls keep few children warm
                self._changed.notify()

    def close(self) -> None:
        """End all calls and kill all children, stuck or not; what waits in `run` gets `JailUnavailable`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # All at once and within a time: whatever a pool's own threads wait for, nobody else is to wait for it.
        closers = [threading.Thread(target=cell.close, daemon=True) for cell in self._cells]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> "_Cell":
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free)
            if self._closed:
                raise JailUnavailable("the jail is closed")
            return self._free.pop()


class _Cell:
    """One child at a time, started when first needed. Only `close` may be called while `run` is under way."""

    def __init__(self, limits: JailLimits) -> None:
        self._limits = limits
        self._pool: pebble.ProcessPool | None = None
        self._future: pebble.ProcessFuture[Any] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def run(self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._try(function, args, kwargs)
            except JailLimitExceeded as error:
                if error.limit is not Limit.DIED or attempt == _TRIES:
                    raise
            except JailUnavailable:
                if self._closed or attempt == _TRIES:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            future, self._future = self._future, None
        if future is not None:
            future.cancel()  # type: ignore[no-untyped-call]
        self._discard()

    def _try(self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        limits = self._limits
        try:
            self._make_ready()
            answer = self._schedule(_call, limits.cpu_s, function, args, kwargs).result(timeout=limits.wall_s)
        except TimeoutError as error:
            self._discard()
            raise JailLimitExceeded(Limit.TIME, f"more than {limits.wall_s:g} s") from error
        except pebble.ProcessExpired as error:
            self._discard()
            if error.exitcode == -signal.SIGXCPU:
                raise JailLimitExceeded(Limit.CPU, f"more than {limits.cpu_s} s of CPU") from error
            raise JailLimitExceeded(Limit.DIED, f"the child ended with code {error.exitcode}") from error
        except (CancelledError, BrokenProcessPool, RuntimeError, OSError) as error:
            self._discard()
            raise JailUnavailable("the jail is closed" if self._closed else "no child could be started") from error
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise JailedError(type(error).__name__, str(error)[:MESSAGE_CHARACTERS]) from error
        if isinstance(answer, _OutOfMemory):
            # Its memory may be in shreds: the next call gets a new child.
            self._discard()
            raise JailLimitExceeded(Limit.MEMORY, f"more than {limits.memory_bytes >> 20} MiB")
        if isinstance(answer, _Raised):
            raise JailedError(answer.kind, answer.text)
        return cast(_Returned, answer).value

    def _make_ready(self) -> None:
        """Have a child that has answered once, so that its start is not counted as the call's time."""
        if self._pool is None:
            try:
                self._schedule(_be_ready).result(timeout=START_S)
            except (TimeoutError, pebble.ProcessExpired) as error:
                self._discard()
                raise JailUnavailable("no child could be started") from error

    def _schedule(self, function: Callable[..., object], *args: object) -> "pebble.ProcessFuture[Any]":
        with self._lock:
            if self._closed:
                raise CancelledError
            if self._pool is None:
                self._pool = _new_pool(self._limits)
            # No time-out of pebble's: it measures with a clock that can be set. Waiting for the result does not.
            self._future = self._pool.schedule(function, args=args)
            return self._future

    def _discard(self) -> None:
        """Kill the child and forget the pool it was in."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _new_pool(limits: JailLimits) -> pebble.ProcessPool:
    """Return a pool of one child; its fork server is started if there is none yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # A signal mask is inherited: the fork server and its children never see what is sent to the whole group.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pebble.ProcessPool(
        max_workers=1, max_tasks=CALLS_PER_CHILD, initializer=_confine, initargs=(limits,), context=context
    )


def _confine(limits: JailLimits) -> None:
    """Take from this process, a new child, what it does not need."""
    _die_with_the_daemon()
    signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    # Whatever a library wants to say about a document stays unsaid.
    logging.disable(logging.CRITICAL)
    with Path(os.devnull).open("r+b") as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    with contextlib.suppress(OSError):  # a strict unit's system call filter forbids it, and it is a courtesy only
        os.nice(NICENESS)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)  # pipes are not files
    _lower(resource.RLIMIT_AS, limits.memory_bytes)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _die_with_the_daemon() -> None:
    """Have the kernel kill this process when the daemon is gone, whatever this process is doing then.

    The parent is the fork server, which lives as long as its children do, so its death (PR_SET_PDEATHSIG) would tell
    nothing. The daemon holds the other end of a pipe: that it is closed becomes a signal here.
    """
    daemon = multiprocessing.parent_process()
    if daemon is None:
        sys.exit("a jail's child has no parent")
    pipe = daemon.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:  # it went before the signal was asked for
        os.kill(os.getpid(), signal.SIGKILL)


def _be_ready() -> None:
    """In the child: do nothing, which shows that it is there."""


def _call(cpu_s: int, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """In the child: run ``function`` and return how it ended, in types that always come through."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(used.ru_utime + used.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        return _Returned(function(*args, **kwargs))
    except MemoryError:
        return _OutOfMemory()
    except BaseException as error:  # noqa: BLE001 - SystemExit too must come back as an answer
        return _Raised(type(error).__name__, str(error)[:MESSAGE_CHARACTERS])
