"""A jailed child process and the two pipes to it, as the daemon sees them and as the child does.

A child is forked from multiprocessing's fork server, which has one thread and the heavy libraries loaded already:
starting one is cheap, and safe though the daemon has threads. Then it confines itself, says so, and serves calls one
after the other until it is killed.

What comes from a child is not trusted: a document may have taken it over. Calls go to it pickled, but answers come
back as one line of JSON, which the daemon reads up to a limit, within the call's time, and takes for nothing but the
type that the function says it returns. A child that says more than it was asked, or says it wrongly, is killed.
"""

import fcntl
import json
import logging
import math
import multiprocessing
import os
import pickle
import resource
import select
import signal
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sealdrop.clock import SystemClock
from sealdrop.pdf.confine import Protection, confine, die_with_the_parent, lower
from sealdrop.threads import show_name

# Loaded once in the fork server and shared by all children; a name that does not exist is passed over. Some the
# libraries load only when a document needs them.
PRELOADED = [
    "sealdrop.pdf.child",
    "sealdrop.pdf.inspect",
    "sealdrop.pdf.seal",
    "pypdf.filters",
    "pyhanko.pdf_utils.filters",
    "pyhanko.pdf_utils.metadata.xmp_xml",
    "cryptography.hazmat.backends.openssl.backend",
    "encodings.utf_16_be",
    "encodings.ascii",
    "sealdrop.pdf.shared",  # the last
]
START_S = 30.0  # for a child to come up; longer means that the machine is in trouble
END_S = 5.0  # for a killed child to be gone; it is mostly far less
NICENESS = 10  # the daemon's own threads go first
MESSAGE_CHARACTERS = 500  # of an exception's text
NAME_CHARACTERS = 100  # of an exception's class
LONGEST_ANSWER_BYTES = 4 << 20  # a report is a few kilobytes; a form with 100,000 signatures stays below
_CHUNK_BYTES = 64 << 10

# Meant for the daemon, though a terminal or systemd may send them to the whole group: the daemon decides what stops.
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)

_CLOCK = SystemClock()
# multiprocessing's own record of its processes is not made for several threads.
_PROCESSES = threading.Lock()


@dataclass(frozen=True, slots=True)
class JailLimits:
    """What one call may use: wall clock and CPU in seconds, address space of the whole child in bytes."""

    wall_s: float = 20.0
    cpu_s: int = 20
    memory_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended in the child: one of these is set. ``returned`` is the value as JSON has it.

    ``raised`` is the name of the exception's class, ``text`` its (shortened) message, ``system`` whether the system
    failed (a disk, a missing file) rather than the function.
    """

    returned: Any = None
    raised: str = ""
    text: str = ""
    system: bool = False
    out_of_memory: bool = False


class Gone(Exception):
    """The child has ended, by whatever cause; ``code`` is its exit code, negative for a signal, None if not known."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__(f"the child ended with code {code}")


class Babble(Exception):
    """The child said something that it was not asked, or more than anybody needs."""


_ENDED = TypeAdapter(Ended)
_PROTECTIONS = TypeAdapter(frozenset[Protection])


@lru_cache(maxsize=64)
def adapter(function: Callable[..., object]) -> TypeAdapter[Any]:
    """Return what reads and writes the values that ``function`` says it returns; anything JSON has if it does not."""
    try:
        returned = get_type_hints(function).get("return", Any)
    except (TypeError, NameError):  # a class, a function of the standard library
        returned = Any
    return TypeAdapter(returned)


class Child:
    """One child process. Used by one thread at a time, but for `kill`."""

    def __init__(self, limits: JailLimits, readable: Sequence[Path], name: str) -> None:
        """Start it and wait until it is confined; the kernel knows it by ``name``.

        Raises:
            OSError, EOFError, Gone, Babble, TimeoutError: it cannot be had.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        calls, self._calls = context.Pipe(duplex=False)
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_serve, args=(calls, answers, limits, tuple(readable), name), name=name, daemon=True
        )
        # A signal mask is inherited: the fork server and its children never see what is sent to the whole group.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
        try:
            with _PROCESSES:
                # Python 3.11 starts its tracker with the fork server, and lets SIGINT and SIGTERM through after that.
                resource_tracker.ensure_running()
                signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
                forkserver.ensure_running()
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            # Only the child holds the other ends now: its death is seen as the end of its pipe.
            calls.close()
            answers.close()
        os.set_blocking(self._calls.fileno(), False)
        self.calls = 0
        try:
            self.protections = self._what_it_says_of_itself()
        except BaseException:
            self.discard()
            raise

    @property
    def is_fit(self) -> bool:
        """Whether it lives and is silent, as it must be between two calls."""
        return not connection.wait([self._answers], 0)

    def call(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any], limits: JailLimits
    ) -> Ended:
        """Return how the call ended, its value being what the function says it returns.

        Raises:
            TimeoutError: not within the time.
            Gone: the child ended.
            Babble: what it said is not an answer.
            pickle.PicklingError, AttributeError, TypeError: the call cannot be sent.
        """
        self.calls += 1
        deadline = _CLOCK.monotonic() + limits.wall_s
        message = pickle.dumps((limits.cpu_s, function, args, kwargs))
        self._send(struct.pack("=Q", len(message)) + message, deadline)
        try:
            ended = _ENDED.validate_json(self._line(deadline), strict=True)
            if ended.raised and not (len(ended.raised) <= NAME_CHARACTERS and ended.raised.isidentifier()):
                raise Babble
            if ended.raised or ended.out_of_memory:
                return replace(ended, text=ended.text[:MESSAGE_CHARACTERS])
            return Ended(returned=adapter(function).validate_json(json.dumps(ended.returned), strict=True))
        except ValidationError as error:
            raise Babble from error

    def kill(self) -> None:
        """Have it killed, from whatever thread; who waits for it sees it gone."""
        with suppress(OSError, ValueError), _PROCESSES:
            if self._process.exitcode is None:
                self._process.kill()

    def discard(self) -> None:
        """Kill it and let go of it."""
        self.kill()
        self._await_end()
        self._calls.close()
        self._answers.close()
        with suppress(ValueError), _PROCESSES:  # one that does not go; its descriptors are let go of when it does
            self._process.close()

    def _what_it_says_of_itself(self) -> frozenset[Protection]:
        try:
            return _PROTECTIONS.validate_json(self._line(_CLOCK.monotonic() + START_S))
        except ValidationError as error:
            raise Babble from error

    def _send(self, message: bytes, deadline: float) -> None:
        waiting = select.poll()
        waiting.register(self._calls.fileno(), select.POLLOUT)
        left = memoryview(message)
        while left:
            if not waiting.poll(max(deadline - _CLOCK.monotonic(), 0.0) * 1000):
                raise TimeoutError
            try:
                left = left[os.write(self._calls.fileno(), left) :]
            except BrokenPipeError as error:
                raise Gone(self._await_end()) from error

    def _line(self, deadline: float) -> bytes:
        """Return the line that the child says next, and it alone."""
        received = bytearray()
        while not received.endswith(b"\n"):
            if not connection.wait([self._answers], max(deadline - _CLOCK.monotonic(), 0.0)):
                raise TimeoutError
            chunk = os.read(self._answers.fileno(), _CHUNK_BYTES)
            if not chunk:
                raise Gone(self._await_end())
            received += chunk
            if len(received) > LONGEST_ANSWER_BYTES or b"\n" in chunk[:-1]:
                raise Babble
        return bytes(received)

    def _await_end(self) -> int | None:
        """Return the exit code once the child is gone, or None if it does not go."""
        connection.wait([self._process.sentinel], END_S)
        with _PROCESSES:
            return self._process.exitcode


def _serve(
    calls: connection.Connection,
    answers: connection.Connection,
    limits: JailLimits,
    readable: Sequence[Path],
    name: str,
) -> None:
    """In the child: confine it, then serve calls until the daemon is gone."""
    show_name(name)
    _give_up(limits, keep=(calls.fileno(), answers.fileno()))
    _say(answers.fileno(), _PROTECTIONS.dump_python(confine(readable), mode="json"))
    while True:
        (size_bytes,) = struct.unpack("=Q", _read(calls.fileno(), 8))
        cpu_s, function, args, kwargs = pickle.loads(_read(calls.fileno(), size_bytes))  # noqa: S301 - from the daemon
        _say(answers.fileno(), _ENDED.dump_python(_call(cpu_s, function, args, kwargs), mode="json"))


def _give_up(limits: JailLimits, keep: Sequence[int]) -> None:
    """In the child: let go of what it has from the daemon and the fork server, and set its limits."""
    daemon = _die_with_the_daemon()
    signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    # Whatever a library wants to say about a document stays unsaid.
    logging.disable(logging.CRITICAL)
    with Path(os.devnull).open("r+b") as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    # Such as the way to multiprocessing's tracker of resources, which would remove things for whoever asks.
    highest = os.sysconf("SC_OPEN_MAX")
    for kept, next_kept in pairwise([2, *sorted((*keep, daemon)), highest]):
        os.closerange(kept + 1, next_kept)
    with suppress(OSError):  # a strict unit's system call filter forbids it, and it is a courtesy only
        os.nice(NICENESS)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, 0)  # pipes are not files
    lower(resource.RLIMIT_AS, limits.memory_bytes)


def _die_with_the_daemon() -> int:
    """Have the kernel kill this process when the daemon is gone, whatever this process is doing then.

    The daemon holds the other end of a pipe: that it is closed becomes a signal here. Returns the descriptor of this
    end, which must stay open. Whoever has taken over this process can close it: so it dies with its parent as well,
    the fork server, which ends itself once the daemon is gone, and which nobody here can reach.
    """
    parent = os.getppid()
    die_with_the_parent()
    daemon = multiprocessing.parent_process()
    if daemon is None:
        sys.exit("a jail's child has no parent")
    pipe = daemon.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent or select.select([pipe], [], [], 0)[0]:  # gone before the signals were asked for
        os.kill(os.getpid(), signal.SIGKILL)
    return pipe


def _call(cpu_s: int, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ended:
    """In the child: run ``function`` and return how it ended."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(used.ru_utime + used.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        return Ended(returned=adapter(function).dump_python(function(*args, **kwargs), mode="json"))
    except MemoryError:
        return Ended(out_of_memory=True)
    except BaseException as error:  # noqa: BLE001 - SystemExit too must come back as an answer
        text = str(error)[:MESSAGE_CHARACTERS]
        return Ended(raised=type(error).__name__, text=text, system=isinstance(error, OSError))


def _say(answers: int, content: object) -> None:
    """In the child: write one line. A lone surrogate, which no JSON can hold, becomes a question mark."""
    left = memoryview(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    while left:
        left = left[os.write(answers, left) :]


def _read(calls: int, size_bytes: int) -> bytes:
    """In the child: return that many bytes, or end it with the daemon's end of the pipe."""
    received = bytearray()
    while len(received) < size_bytes:
        chunk = os.read(calls, size_bytes - len(received))
        if not chunk:
            os._exit(0)
        received += chunk
    return bytes(received)
