"""A `sealdrop run` that tells of every durable step, and dies by SIGKILL at the one it is told to.

A durable step is a call after which something may be found that was not there before: a commit of the ledger, a file or
folder that is created, renamed, linked, removed or flushed, a request to the remote service. Each is named by the place
in the code that asks for it, what it does and to what; names of documents, digests and days are left out, so that they
are the same in every run. A step is met in two forms: ``before``, when nothing of it has happened, and ``after``, when
all of it has and nobody was told. Of a write to the audit trail the form ``before`` has written half.

Run as a program this module is a `Nursery`'s other side: a process with one thread, in which everything is imported
and the jail's fork server runs, and which forks a service for every line that it reads. So starting one is cheap.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Self

BEFORE, AFTER = "before", "after"
HIT = "died "  # begins the line of a trace that tells of the step that was met

# Not the places that ask for a step, but how they have it done.
_MEANS = ("durable.", "spool.", "ledger.", "signapi.", "daemon.recorder.Recorder.")
# What they call the file that is being made.
_FINAL = {"durable.put_new": "final", "durable.publish_new": "final", "durable.replace_file": "path"}
# What differs from run to run, and what stands for it.
_VARYING = (
    (re.compile(r"[0-9]{8}-[0-9a-f]{16}"), "ID"),
    (re.compile(r"[0-9a-f]{16}"), "HEX"),
    (re.compile(r"spool/[0-9a-f]{2}(?=/|$)"), "spool/XX"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl"), "DAY.jsonl"),
    (re.compile(r"round-[0-9]+"), "SUB"),
    # What is tried again is given back like any that fails, and delivered like any that is good.
    (re.compile(r"(?<=out/failed/)(.*)retried\.pdf"), r"\1failing.pdf"),
    (re.compile(r"(?<=out/sealed/)(.*)retried\.pdf"), r"\1good.pdf"),
    (re.compile(r"(?<=out/processed/)(.*)retried\.pdf"), r"\1good.pdf"),
)


def _named(path: str) -> str:
    """Return a path as it stands in a step's name."""
    for pattern, stand_in in _VARYING:
        path = pattern.sub(stand_in, path)
    return path


class Steps:
    """The steps of one service: writes each down in the file ``trace`` once it has happened, and dies when armed."""

    def __init__(self, root: Path, trace: Path) -> None:
        self._root = root
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._armed: tuple[str, str] | None = None

    def arm(self, step: str, when: str) -> None:
        """Have the next ``step`` be the last."""
        self._armed = step, when

    def meets(self, step: str, when: str) -> bool:
        """Whether this is the moment to die."""
        return self._armed == (step, when)

    def die(self, step: str, when: str) -> None:
        """Die, and leave the word that it was on purpose."""
        os.write(self._trace, f"{HIT}{when} {step}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def before(self, step: str) -> None:
        """Say that a step is about to happen."""
        if self.meets(step, BEFORE):
            self.die(step, BEFORE)

    def after(self, step: str) -> None:
        """Say that it has."""
        if self.meets(step, AFTER):
            self.die(step, AFTER)
        os.write(self._trace, f"{step}\n".encode())

    def path(self, path: str | bytes | os.PathLike[str], folder: int | None = None) -> str | None:
        """Return how a path below the root is called in a step's name, None for any other."""
        text = os.fsdecode(path)
        if folder is not None:
            text = str(_path_of(folder) / text)
        if not Path(text).is_relative_to(self._root):
            return None
        return _named(str(Path(text).relative_to(self._root)))

    # The system's calls.

    def wrap_system_calls(self) -> None:
        """From now on, tell of what the package has the system do."""
        self._wrap("fsync", lambda fd: self.path(_path_of(fd)))
        for name in ("unlink", "rmdir"):
            self._wrap(name, lambda path, *, dir_fd=None: _if(_exists(path, dir_fd), self.path(path, dir_fd)))
        self._wrap("mkdir", lambda path, *_, dir_fd=None: _if(not _exists(path, dir_fd), self.path(path, dir_fd)))
        for name in ("rename", "replace"):
            self._wrap(name, lambda _, to, *, dst_dir_fd=None, **__: self.path(to, dst_dir_fd))
        self._wrap("link", lambda _, to, *, dst_dir_fd=None, **__: self.path(to, dst_dir_fd))
        self._wrap("open", self._created, verb="create")
        self._wrap("pwrite", lambda fd, *_: self.path(_path_of(fd)), half=True)

    def _created(self, path: Any, flags: int, *_: object, dir_fd: int | None = None) -> str | None:  # noqa: ANN401
        return _if(flags & os.O_CREAT and not _exists(path, dir_fd), self.path(path, dir_fd))

    def _wrap(self, name: str, what: Callable[..., str | None], *, verb: str = "", half: bool = False) -> None:
        original = getattr(os, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the system's call takes and gives
            place = _place(sys._getframe(1))
            subject = what(*args, **kwargs) if place is not None else None
            if subject is None:
                return original(*args, **kwargs)
            aim = "" if name in ("link", "replace") else _aim(sys._getframe(1))
            step = f"{place}: {verb or name} {subject}{aim}"
            if half and self.meets(step, BEFORE):
                fd, content, offset = args
                original(fd, content[: len(content) // 2], offset)
            self.before(step)
            result = original(*args, **kwargs)
            self.after(step)
            return result

        setattr(os, name, wrapper)

    # The ledger's commits and the remote calls.

    def wrap_ledger(self) -> None:
        """From now on, tell of the ledger's writing transactions."""
        from sealdrop.ledger.database import Database

        original = Database.writing

        @contextmanager
        def writing(database: Database, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - as the original
            with original(database, **kwargs) as connection:
                yield connection
                frame = sys._getframe(0)
                step = f"{_place(frame)}: commit {_commit(frame)}"
                self.before(step)
            self.after(step)

        Database.writing = writing  # type: ignore[method-assign]

    def wrap_remote_calls(self) -> None:
        """From now on, tell of what is sent to the remote service; ``after`` is when its answer has begun to come."""
        import httpx

        original = httpx.Client.send

        def send(client: httpx.Client, request: httpx.Request, **kwargs: Any) -> httpx.Response:  # noqa: ANN401
            step = f"{_place(sys._getframe(1))}: send {request.method}"
            self.before(step)
            response = original(client, request, **kwargs)
            self.after(step)
            return response

        httpx.Client.send = send  # type: ignore[method-assign]


def _if(condition: object, name: str | None) -> str | None:
    return name if condition else None


def _path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


def _exists(path: str, folder: int | None) -> bool:
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _frames(frame: FrameType | None) -> Iterator[tuple[str, FrameType]]:
    """Yield the package's frames with their names, the innermost first."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        name = frame.f_code.co_qualname.replace(".<locals>", "")
        if module.startswith("sealdrop.") and "<" not in name:
            yield f"{module.removeprefix('sealdrop.')}.{name}", frame
        frame = frame.f_back


def _place(frame: FrameType) -> str | None:
    """Return the place that asked for what is being done, None if nobody of the package did."""
    names = [name for name, _ in _frames(frame)]
    if not names:
        return None
    return next((name for name in names if not name.startswith(_MEANS)), names[-1])


def _aim(frame: FrameType) -> str:
    """Return which file is being made, where a temporary name or a folder does not tell."""
    for name, each in _frames(frame):
        if name == "durable.names_durable":
            finals = each.f_locals["paths"]
        elif name in _FINAL:
            finals = (each.f_locals[_FINAL[name]],)
        else:
            continue
        return " for " + " ".join(Path(_named(str(final))).name for final in finals)
    return ""


def _commit(frame: FrameType) -> str:
    """Return what a transaction is for: the ledger's method, and the events or states that it is about."""
    prefix = "ledger.store.Ledger."
    for name, each in _frames(frame):
        method = name.removeprefix(prefix)
        if name.startswith(prefix) and not method.startswith("_"):
            if method == "record":
                told = {
                    step.event.name if step.event else f"later, {step.after.state}" for step in each.f_locals["steps"]
                }
                return " ".join(sorted(told))
            if method == "claim":
                return f"claim {' '.join(each.f_locals['states'])}"
            return each.f_locals["event"].name if method == "note" else method
    return "something"


# The process that services are forked from.


def _line() -> dict[str, Any] | None:
    """Return the next order from standard input, None at its end. Unbuffered: whoever is forked reads on from there."""
    content = b""
    while not content.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        content += byte
    order: dict[str, Any] = json.loads(content)
    return order


def _say(**words: object) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def _serve(order: dict[str, Any]) -> None:
    """Be the service, in a process just forked, and never return."""
    from multiprocessing import forkserver

    from sealdrop.cli.run import run

    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]
    forkserver.ensure_running = lambda: None
    answers = os.dup(1)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    steps = Steps(Path(order["root"]), Path(order["trace"]))
    steps.wrap_system_calls()
    steps.wrap_ledger()
    steps.wrap_remote_calls()
    if order["forgets"]:
        _forget_to_flush(order["forgets"])
    if order["step"]:
        steps.arm(order["step"], order["when"])

    def obey() -> None:
        while (later := _line()) is not None:
            if later["do"] == "arm":
                steps.arm(later["step"], later["when"])
                os.write(answers, b'{"armed": true}\n')
            elif later["do"] == "signal":
                os.kill(os.getpid(), later["signal"])
            else:
                os.kill(os.getpid(), later["signal"])
                return
        os.kill(os.getpid(), signal.SIGKILL)  # whoever gave the orders is gone

    threading.Thread(target=obey, daemon=True).start()
    run(config=Path(order["config"]), json=True)


def _forget_to_flush(kind: str) -> None:
    """Have the service not flush its ``files``, the ``folders`` with their names, or its ``ledger``."""
    import stat

    from sealdrop.ledger import database

    if kind == "ledger":
        database.FLUSHED = database.WRITTEN = "OFF"
        return

    flush = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode) != (kind == "folders"):
            flush(fd)

    os.fsync = fsync


def ensure_fork_server() -> None:
    """Have the fork server run that the jails of all services use, one after the other."""
    import multiprocessing
    from multiprocessing import forkserver

    from sealdrop.pdf.child import PRELOADED

    # What it loads first it looks for where any Python does.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["lasting_server", *PRELOADED])
    forkserver.ensure_running()
    del os.environ["PYTHONPATH"]
    if before is not None:
        os.environ["PYTHONPATH"] = before


def main() -> None:
    """Fork a service for each order, one at a time, and say how it ended."""
    import sealdrop.cli.run
    import sealdrop.pdf.child

    del sealdrop
    ensure_fork_server()
    if threading.active_count() != 1:
        sys.exit("a process with threads must not be forked")
    _say(ready=True)
    while (order := _line()) is not None:
        if "do" in order:  # for a service that has ended by itself meanwhile
            continue
        pid = os.fork()
        if pid == 0:
            try:
                _serve(order)
            except BaseException:  # noqa: BLE001 - whatever it is, it must be told, and this process not go on
                traceback.print_exc()
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        _say(ended=os.waitstatus_to_exitcode(status))


# The tests' side.


@dataclass
class Service:
    """What one service was told, and where it tells what it does."""

    trace: Path
    log: Path

    def steps(self) -> list[str]:
        """Return the steps that have happened, in their order."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [line for line in lines if not line.startswith(HIT)]

    def died_at(self) -> tuple[str, str] | None:
        """Return the step that was met and its form, if one was."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        # Another thread may get a step of its own in before the process is gone.
        hit = next((line for line in reversed(lines) if line.startswith(HIT)), None)
        if hit is None:
            return None
        when, step = hit.removeprefix(HIT).split(" ", 1)
        return step, when


class Nursery:
    """Starts services, one at a time."""

    def __init__(self, notes: Path) -> None:
        """Start the process that they are forked from; ``notes`` is a folder for what they tell."""
        self._notes = notes
        self._number = 0
        self._process = subprocess.Popen(
            # The warnings would be about what killed services did not clear away.
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._words: SimpleQueue[dict[str, Any]] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._hear("ready", 60.0)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._words.put(json.loads(line))

    def _hear(self, word: str, patience_s: float) -> Any:  # noqa: ANN401 - what is said of it
        try:
            said = self._words.get(timeout=patience_s)
        except Empty:
            raise TimeoutError(word) from None
        assert word in said, said
        return said[word]

    def _tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")

    def start(self, config: Path, step: str = "", when: str = "", forgets: str = "") -> Service:
        """Start a service, to die at a step if one is given; it tells of steps below its configuration's folder."""
        self._number += 1
        service = Service(self._notes / f"{self._number}.trace", self._notes / f"{self._number}.log")
        self._tell(
            config=str(config),
            root=str(config.parent),
            trace=str(service.trace),
            log=str(service.log),
            step=step,
            when=when,
            forgets=forgets,
        )
        return service

    def arm(self, step: str, when: str) -> None:
        """Have the running service die at the next ``step``."""
        self._tell(do="arm", step=step, when=when)
        self._hear("armed", 60.0)

    def send(self, number: signal.Signals) -> None:
        """Send the running service a signal that does not end it."""
        self._tell(do="signal", signal=number)

    def end(self, number: signal.Signals) -> int:
        """Send the running service a signal and return how it ended."""
        self._tell(do="end", signal=number)
        return self.wait(60.0)

    def wait(self, patience_s: float) -> int:
        """Return how the service ended, once it has.

        Raises:
            TimeoutError: it goes on and on.
        """
        code: int = self._hear("ended", patience_s)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    main()
