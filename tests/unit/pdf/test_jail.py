"""`sealdrop.pdf.jail`: nothing that happens in it reaches the daemon or another call.

What is jailed here are functions of the standard library, since a child must be able to import them.
"""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import jailed
import pdfs
from documents import FakeClock
from sealdrop.config import Validation
from sealdrop.errors import Retryable
from sealdrop.model import Reason, Verdict
from sealdrop.pdf import child as child_module
from sealdrop.pdf import jail as jail_module
from sealdrop.pdf.child import MESSAGE_CHARACTERS, NICENESS
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.jail import Jail, JailedError, JailLimitExceeded, JailLimits, JailUnavailable, Limit

TESTS = Path(jailed.__file__).parent
MIB = 1 << 20
FOREVER_S = 3600.0
DEADLINE_S = 60.0
AMPLE = JailLimits(wall_s=DEADLINE_S, cpu_s=60, memory_bytes=512 * MIB)
BUSY = range(10**15)  # summing it takes weeks, in one call into C that no signal handler of Python's interrupts


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    """A jail of two children with limits that nothing but a fault reaches."""
    with Jail(2, AMPLE) as jail:
        yield jail


def wait_until_gone(pid: int) -> None:
    """Return when there is no process ``pid``, or it is a zombie; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        os.sched_yield()
    pytest.fail(f"process {pid} is still there")


def wait_until_busy(pid: int) -> None:
    """Return when process ``pid`` has begun to work hard; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    before = _cpu_ticks(pid)
    while _cpu_ticks(pid) < before + 5:
        if time.monotonic() > deadline:
            pytest.fail(f"process {pid} does nothing")
        os.sched_yield()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_results_come_back(jail: Jail) -> None:
    """A jailed function returns to its caller what it would have returned there, from another process."""
    assert jail.run(divmod, 17, 5) == [3, 2]  # it says no type, so this is what JSON has
    assert jail.run(os.getpid) != os.getpid()


def test_children_are_named_by_what_they_do() -> None:
    """`top` shows which child is busy with what."""
    with Jail(1, AMPLE, name="inspect") as jail:
        assert Path(f"/proc/{jail.run(os.getpid)}/comm").read_text() == "inspect\n"


def test_children_are_kept_warm(jail: Jail) -> None:
    """Calls one after another are served by the same child."""
    assert len({jail.run(os.getpid) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("limits", "limit", "function", "arguments"),
    [
        (JailLimits(wall_s=0.5, cpu_s=60), Limit.TIME, time.sleep, (FOREVER_S,)),
        (JailLimits(wall_s=0.5, cpu_s=60), Limit.TIME, sum, (BUSY,)),
        (JailLimits(wall_s=250.0, cpu_s=1), Limit.CPU, sum, (BUSY,)),  # others may have the processor for long
        (AMPLE, Limit.MEMORY, bytes, (AMPLE.memory_bytes,)),
        (AMPLE, Limit.DIED, signal.raise_signal, (signal.SIGKILL,)),
        (AMPLE, Limit.DIED, signal.raise_signal, (signal.SIGSEGV,)),
        (AMPLE, Limit.DIED, os._exit, (3,)),
    ],
    ids=["sleeps", "loops in C", "burns CPU", "eats memory", "kills itself", "crashes", "exits"],
)
def test_limits_end_a_call_and_the_next_one_works(
    limits: JailLimits, limit: Limit, function: object, arguments: tuple[object, ...]
) -> None:
    """A call that hangs, burns, eats or dies ends with the limit's name, in a jail that goes on working."""
    with Jail(1, limits) as jail:
        with pytest.raises(JailLimitExceeded, match=limit) as caught:
            jail.run(function, *arguments)  # type: ignore[arg-type]
        assert caught.value.limit is limit
        assert jail.run(abs, -3) == 3


def test_cpu_time_is_counted_for_each_call() -> None:
    """A warm child's earlier work does not count against a later call."""
    with Jail(1, JailLimits(wall_s=DEADLINE_S, cpu_s=1)) as jail:
        child = jail.run(os.getpid)
        used = 0.0
        while used < 2.5:  # well over the limit in all, well under it in each call
            jail.run(sum, range(5_000_000))
            used = jail.run(time.process_time)
        assert jail.run(os.getpid) == child


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [
        (json.loads, ("[" * 100_000,), "RecursionError"),
        (json.loads, ("no",), "JSONDecodeError"),
        (sys.exit, (3,), "SystemExit"),
        (Path("/nonexistent/file").read_bytes, (), "FileNotFoundError"),
        (memoryview, (b"x",), "PydanticSerializationError"),
    ],
    ids=["recurses", "raises", "exits", "misses a file", "returns what cannot be sent"],
)
def test_exceptions_come_back_by_name(jail: Jail, function: object, arguments: tuple[object, ...], kind: str) -> None:
    """Whatever a function raises becomes one error that names it, and the child stays."""
    child = jail.run(os.getpid)
    with pytest.raises(JailedError, match=kind) as caught:
        jail.run(function, *arguments)  # type: ignore[arg-type]
    assert caught.value.kind == kind
    assert not caught.value.text or caught.value.text not in str(caught.value)
    assert jail.run(os.getpid) == child


def test_a_call_that_dies_does_not_disturb_another(tmp_path: Path) -> None:
    """While calls in one cell are killed again and again, a call in another cell runs on and returns."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Jail(2, AMPLE, readable=[gate]) as jail, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(jail.run, gate.read_text)
        with gate.open("w") as opened:  # returns once the child reads, so its call is under way from here on
            for _ in range(3):
                with pytest.raises(JailLimitExceeded):
                    jail.run(signal.raise_signal, signal.SIGKILL)
            assert not waiting.done()
            opened.write("let go")
        assert waiting.result(DEADLINE_S) == "let go"


@pytest.fixture(scope="module")
def hostile() -> Iterator[Jail]:
    """A jail whose children can be told to turn against the daemon."""
    with Jail(1, JailLimits(wall_s=10.0, cpu_s=60), readable=[TESTS]) as jail:
        yield jail


@pytest.fixture(scope="module")
def impatient() -> Iterator[Jail]:
    """The same, for what is to run into its time."""
    with Jail(1, JailLimits(wall_s=1.0, cpu_s=60), readable=[TESTS]) as jail:
        yield jail


LINE = b'{"returned": 4711, "raised": "", "text": "", "system": false, "out_of_memory": false}'


@pytest.mark.parametrize(
    ("content", "then", "limit"),
    [
        (pickle.dumps(Path("/etc/passwd")), "end", Limit.DIED),
        (b"cos\nsystem\n(S'touch taken-over'\ntR.\n", "hang", Limit.DIED),
        (b"\x7f\xff\xff\xff", "hang", Limit.TIME),
        (LINE, "hang", Limit.TIME),
        (LINE, "end", Limit.DIED),
        (LINE + b"\n", "hang", Limit.DIED),
        (LINE + b"\n" + LINE + b"\n", "hang", Limit.DIED),
        (b"[" * 100_000 + b"\n", "hang", Limit.DIED),
        (b'{"returned": ' + b"9" * 100_000 + b"}\n", "hang", Limit.DIED),
        (b'{"returned": "\xff"}\n', "hang", Limit.DIED),
        (b'{"returned": {"verdict": "accept", "pages": "1"}}\n', "hang", Limit.DIED),
        (b'{"raised": "not a name"}\n', "hang", Limit.DIED),
        (b'{"raised": "' + b"E" * 100_000 + b'"}\n', "hang", Limit.DIED),
    ],
)
def test_a_child_that_turns_against_the_daemon_is_ended(
    hostile: Jail,
    impatient: Jail,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    then: str,
    limit: Limit,
) -> None:
    """Pickles, half lines, lines too many, numbers without end, answers of another form: none is an answer."""
    monkeypatch.chdir(tmp_path)
    jail = impatient if limit is Limit.TIME else hostile
    with pytest.raises(JailLimitExceeded) as caught:
        jail.run(jailed.write_to_the_daemon, content, then)
    assert caught.value.limit is limit
    assert list(tmp_path.iterdir()) == []
    assert jail.run(abs, -3) == 3


def test_a_child_that_never_stops_talking_is_ended(hostile: Jail) -> None:
    """What the daemon holds of an answer is bounded."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(JailLimitExceeded, match="not an answer"):
        hostile.run(jailed.flood_the_daemon)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert hostile.run(abs, -3) == 3


def test_what_a_child_says_of_an_exception_is_cut_short() -> None:
    """However long the text that a child gives to an exception, the daemon keeps little of it."""
    line = b'{"raised": "KeyError", "text": "' + b"x" * 100_000 + b'"}\n'
    with Jail(1, AMPLE, readable=[TESTS]) as jail, pytest.raises(JailedError) as caught:
        jail.run(jailed.write_to_the_daemon, line, "hang")
    assert (caught.value.kind, caught.value.text) == ("KeyError", "x" * MESSAGE_CHARACTERS)


def test_a_child_that_speaks_nonsense_of_itself_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a list of protections means that no child could be had, which is tried again later."""
    monkeypatch.setattr(child_module, "_serve", jailed.serve_nonsense)
    with Jail(1, AMPLE) as jail, pytest.raises(JailUnavailable):
        jail.run(abs, -3)


def test_a_child_that_answers_and_then_hangs_harms_no_other_call() -> None:
    """Where each call has a child of its own, it is gone with its answer, and the next call does not feel it."""
    answer = b'{"raised": "KeyError"}\n'
    with Jail(1, AMPLE, readable=[TESTS], calls_per_child=1) as jail:
        with pytest.raises(JailedError):
            jail.run(jailed.write_to_the_daemon, answer, "hang")
        assert jail.run(abs, -3) == 3
        wait_until_gone(jail.run(os.getpid))


def test_a_function_returns_what_it_says(hostile: Jail) -> None:
    """A result of another type is the child's fault, and text that cannot be written down is put right."""
    with pytest.raises(JailLimitExceeded, match="not an answer"):
        hostile.run(jailed.says_a_verdict_that_there_is_not)
    assert hostile.run(jailed.surrogate) == "before ? after"


def test_many_threads_share_few_children() -> None:
    """More callers than children wait for their turn, and each gets its own answer."""
    with Jail(2, AMPLE) as jail, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: (jail.run(divmod, number, 7), jail.run(os.getpid)), range(64)))
    assert [answer for answer, _ in answers] == [list(divmod(number, 7)) for number in range(64)]
    assert len({child for _, child in answers}) <= 2


def test_a_child_that_somebody_else_killed_is_no_fault_of_the_call(jail: Jail) -> None:
    """A child that was killed between two calls is replaced, and the next call does not notice."""
    child = jail.run(os.getpid)
    os.kill(child, signal.SIGKILL)
    wait_until_gone(child)
    assert jail.run(abs, -3) == 3


def test_a_call_whose_child_is_killed_is_not_tried_again(tmp_path: Path) -> None:
    """One death may be the work of somebody outside: what it means is for the caller to say. The next call works."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Jail(1, AMPLE, readable=[gate]) as jail, ThreadPoolExecutor(1) as threads:
        child = jail.run(os.getpid)
        answer = threads.submit(jail.run, gate.read_text)
        with gate.open("w"):
            os.kill(child, signal.SIGKILL)
            wait_until_gone(child)
        error = answer.exception(DEADLINE_S)
        assert isinstance(error, JailLimitExceeded)
        assert error.limit is Limit.DIED
        assert jail.run(abs, -3) == 3


def test_a_child_gives_up_what_it_does_not_need(jail: Jail) -> None:
    """Limits, niceness and streams of a child are those of a jail: no core, nothing to say."""
    assert jail.run(resource.getrlimit, resource.RLIMIT_AS) == [AMPLE.memory_bytes] * 2
    assert jail.run(resource.getrlimit, resource.RLIMIT_CORE) == [0, 0]
    assert jail.run(os.getpriority, os.PRIO_PROCESS, 0) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert {jail.run(os.readlink, f"/proc/self/fd/{stream}") for stream in (0, 1, 2)} == {"/dev/null"}


def test_signals_to_the_group_pass_by(tmp_path: Path) -> None:
    """What a terminal or systemd sends to all processes ends neither a call nor its child, nor the fork server."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = """
        import os, signal, sys, threading, time
        from pathlib import Path
        from sealdrop.pdf.jail import Jail
        if __name__ == "__main__":
            gate = Path(sys.argv[1])
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: None)
            with Jail(1, readable=[gate]) as jail:
                child, fork_server = jail.run(os.getpid), jail.run(os.getppid)
                answers = []
                caller = threading.Thread(target=lambda: answers.append(jail.run(gate.read_text)))
                caller.start()
                with gate.open("w") as opened:
                    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                        os.killpg(0, number)
                    opened.write("heard nothing")
                caller.join()
                print(*answers, jail.run(os.getpid) == child, jail.run(os.getppid) == fork_server)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(gate)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        start_new_session=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("heard nothing True True\n", "", 0)


@pytest.mark.parametrize(
    "call",
    ["sum, range(10**15)", "time.sleep, 3600", "jailed.close_all_and_stay"],
    ids=["busy in C", "asleep", "without descriptors"],
)
def test_children_die_with_the_daemon(call: str) -> None:
    """A daemon that is killed outright takes its children along, stuck or not, and the fork server too."""
    script = f"""
        import os, threading, time
        from pathlib import Path
        import jailed
        from sealdrop.pdf.jail import Jail
        if __name__ == "__main__":
            jail = Jail(1, readable=[Path(jailed.__file__).parent])
            print(jail.run(os.getpid), jail.run(os.getppid), flush=True)
            jail.run({call})
    """
    search = os.pathsep.join([str(Path(jailed.__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search},
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        child, fork_server = (int(pid) for pid in daemon.stdout.readline().split())
        if "time" not in call:
            wait_until_busy(child)
        daemon.kill()
    wait_until_gone(child)
    wait_until_gone(fork_server)


def test_closing_does_not_wait_for_a_stuck_call() -> None:
    """Closing ends the calls that run and those that wait with an error that lets them be tried again."""
    jail = Jail(1, JailLimits(wall_s=FOREVER_S, cpu_s=3600))
    child = jail.run(os.getpid)
    with ThreadPoolExecutor(2) as threads:
        calls: list[Future[int]] = [threads.submit(jail.run, sum, BUSY) for _ in range(2)]
        wait_until_busy(child)
        jail.close()
        for call in calls:
            error = call.exception(DEADLINE_S)
            assert isinstance(error, JailUnavailable)
            assert isinstance(error, Retryable)
    wait_until_gone(child)
    with pytest.raises(JailUnavailable):
        jail.run(abs, -3)
    jail.close()


def test_closing_leaves_no_threads() -> None:
    """A closed jail, used or not, leaves no thread behind."""
    before = set(threading.enumerate())
    with Jail(3, AMPLE) as jail:
        jail.run(abs, -3)
    assert set(threading.enumerate()) <= before


def test_closing_waits_for_all_children_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many children do not go, closing waits for the time that it has once."""
    waits: list[float] = []
    clock = FakeClock()

    class Closer:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            pass

        def join(self, timeout: float) -> None:
            waits.append(timeout)
            clock.elapsed_s += timeout

    monkeypatch.setattr(jail_module, "_CLOCK", clock)
    monkeypatch.setattr(jail_module.threading, "Thread", Closer)
    Jail(3, AMPLE).close()
    assert waits == [jail_module.CLOSE_S, 0.0, 0.0]


def test_children_that_are_gone_leave_nothing_open() -> None:
    """However many children are killed, the daemon has no more files open than before."""
    with Jail(1, AMPLE) as jail:
        counts = []
        for _ in range(6):
            with pytest.raises(JailLimitExceeded):
                jail.run(signal.raise_signal, signal.SIGKILL)
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[-1] <= counts[0]


def test_inspection_in_the_jail(tmp_path: Path) -> None:
    """Inspection, its rules and its report go through the jail."""
    path = tmp_path / "document.pdf"
    path.write_bytes(pdfs.signed())
    with Jail(1, AMPLE, readable=[tmp_path]) as jail:
        inspection = jail.run(inspect, path, Validation.model_validate({"rules": {Reason.ALREADY_SIGNED: "allow"}}))
    assert inspection == inspect(path, Validation.model_validate({"rules": {Reason.ALREADY_SIGNED: "allow"}}))
    assert inspection.verdict is Verdict.ACCEPT


def test_inspection_out_of_memory_is_a_verdict(jail: Jail, tmp_path: Path) -> None:
    """A document that needs more memory than there is gets its verdict from the inspection itself."""
    path = tmp_path / "document.pdf"
    metadata = pdfs.stream(b"x" * (40 * MIB))  # which are read whole, unlike most
    path.write_bytes(pdfs.document(catalog="/Metadata 10 0 R", objects={10: metadata}))
    child = jail.run(os.getpid)
    at_rest_bytes = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * resource.getpagesize()
    limits = JailLimits(wall_s=DEADLINE_S, cpu_s=60, memory_bytes=at_rest_bytes + 36 * MIB)
    with Jail(1, limits, readable=[path]) as narrow:
        inspection = narrow.run(inspect, path, Validation())
    assert inspection.cause is not None
    assert inspection.cause.code is Reason.PARSER_LIMIT
