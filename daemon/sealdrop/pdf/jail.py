"""Running a function where it can hang, crash or eat memory, or be taken over, without harm to the daemon.

Each cell of the jail has one child process, kept warm between calls and replaced after any trouble. Cells share
nothing, so what happens in one call is not felt in another. A call is bounded three times:

- by wall clock, from outside: the child is killed;
- by CPU time, by the kernel (RLIMIT_CPU, set anew for each call, since it counts over a process's life);
- by address space, by the kernel (RLIMIT_AS): an allocation fails, and the function with it.

What else a child may do, which is to read what it is for and to answer, is for `confine`; what its answers may be, for
`child`.

Residual risk: a document that takes over a child without being noticed can lie about itself and about those that the
same child is given after it, and can read what the child may read: other documents in the spool. It cannot reach a
judgement about a seal through an inspection, as long as the two are given jails of their own.
"""

import atexit
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from sealdrop.clock import SystemClock
from sealdrop.errors import Retryable, SealdropError
from sealdrop.pdf.child import MESSAGE_CHARACTERS, Babble, Child, Ended, Gone, JailLimits
from sealdrop.pdf.confine import Protection

__all__ = ["Jail", "JailLimitExceeded", "JailLimits", "JailUnavailable", "JailedError", "Limit", "Protection"]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_S = 5.0  # for all children to be gone when the jail is closed; they are killed, so it is mostly far less
CALLS_PER_CHILD = 500  # then it is replaced, since memory once taken is not always given back
_STARTS = 2
_CLOCK = SystemClock()


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

    ``system`` says that it was an `OSError`: a disk or a missing file, and not what the function worked on. The text
    may quote what the function worked on, so it is not part of what this error says of itself.
    """

    def __init__(self, kind: str, text: str, *, system: bool = False) -> None:
        self.kind = kind
        self.text = text
        self.system = system
        super().__init__(f"the jailed function raised {kind}")


class JailUnavailable(Retryable):
    """No child could be had: the jail is closing, or the system starts no processes. Nothing is known of the call."""


class Jail:
    """Runs functions in ``workers`` children, each call within ``limits``. Safe to use from many threads.

    Beside Python and its libraries, the children can read the files ``readable`` and what is in folders among them,
    nothing else. A child that has served ``calls_per_child`` is ended and replaced. The kernel knows them by ``name``.
    """

    def __init__(
        self,
        workers: int,
        limits: JailLimits | None = None,
        *,
        readable: Sequence[Path] = (),
        calls_per_child: int = CALLS_PER_CHILD,
        name: str = "jail",
    ) -> None:
        self._cells = [_Cell(limits or JailLimits(), readable, calls_per_child, name) for _ in range(workers)]
        self._free = list(self._cells)
        self._changed = threading.Condition()
        self._closed = False
        atexit.register(self.close)  # multiprocessing would ask the children to end, and wait for those that hang

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns; blocks until a child is free and the call has ended.

        The function must be importable by name and say what type it returns, one that pydantic can turn into JSON and
        back; without that, its result comes back as JSON has it, a tuple as a list. Its arguments must be picklable.

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

    def confinement(self) -> frozenset[Protection]:
        """Return what a child is protected by here, as one that is started for the answer says of itself.

        Raises:
            JailUnavailable: no child could be started.
        """
        cell = self._take()
        try:
            return cell.confinement()
        finally:
            with self._changed:
                self._free.append(cell)
                self._changed.notify()

    def close(self) -> None:
        """End all calls and kill all children, stuck or not; what waits in `run` gets `JailUnavailable`."""
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # All at once and within a time: whatever one of them waits for, nobody else is to wait for it.
        closers = [threading.Thread(target=cell.close, daemon=True) for cell in self._cells]
        for closer in closers:
            closer.start()
        deadline = _CLOCK.monotonic() + CLOSE_S
        for closer in closers:
            closer.join(max(deadline - _CLOCK.monotonic(), 0.0))

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

    def __init__(self, limits: JailLimits, readable: Sequence[Path], calls_per_child: int, name: str) -> None:
        self._limits = limits
        self._calls_per_child = calls_per_child
        self._readable = tuple(readable)
        self._name = name
        self._child: Child | None = None
        self._may_read: tuple[tuple[int, int] | None, ...] = ()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        limits = self._limits
        child = self._ready()
        try:
            ended = child.call(function, args, kwargs, limits)
        except TimeoutError as error:
            self._discard()
            raise JailLimitExceeded(Limit.TIME, f"more than {limits.wall_s:g} s") from error
        except Gone as error:
            self._discard()
            if self._closed:
                raise JailUnavailable("the jail is closed") from error
            if error.code == -signal.SIGXCPU:
                raise JailLimitExceeded(Limit.CPU, f"more than {limits.cpu_s} s of CPU") from error
            raise JailLimitExceeded(Limit.DIED, str(error)) from error
        except Babble as error:
            self._discard()
            raise JailLimitExceeded(Limit.DIED, "the child said what is not an answer") from error
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise JailedError(type(error).__name__, str(error)[:MESSAGE_CHARACTERS]) from error
        if child.calls >= self._calls_per_child:
            self._discard()
        return self._value(ended)

    def confinement(self) -> frozenset[Protection]:
        return self._ready().protections

    def close(self) -> None:
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.kill()

    def _value(self, ended: Ended) -> object:
        if ended.out_of_memory:
            # Its memory may be in shreds: the next call gets a new child.
            self._discard()
            raise JailLimitExceeded(Limit.MEMORY, f"more than {self._limits.memory_bytes >> 20} MiB")
        if ended.raised:
            raise JailedError(ended.raised, ended.text, system=ended.system)
        return ended.returned

    def _ready(self) -> Child:
        """Return a child that is confined and waits, so that its start is not counted as the call's time."""
        child = self._child
        if child is not None:
            # What it may read was settled by device and inode when it began; a file may have been replaced since.
            if child.is_fit and self._may_read == self._readable_now():
                return child
            self._discard()
        for attempt in range(1, _STARTS + 1):
            try:
                return self._start()
            except (OSError, EOFError, RuntimeError, Gone, Babble) as error:
                if self._closed or attempt == _STARTS:
                    problem = "the jail is closed" if self._closed else "no child could be started"
                    raise JailUnavailable(problem) from error
        raise AssertionError("unreachable")

    def _start(self) -> Child:
        may_read = self._readable_now()
        child = Child(self._limits, self._readable, self._name)
        with self._lock:
            if not self._closed:
                self._child, self._may_read = child, may_read
                return child
        child.discard()
        raise JailUnavailable("the jail is closed")

    def _readable_now(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_identity(path) for path in self._readable)

    def _discard(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.discard()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
