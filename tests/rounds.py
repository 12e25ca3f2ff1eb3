"""Rounds of a service's life and death: it dies at a durable step, is started again, and all that must hold is checked.

One sandbox and one state directory serve many rounds, each with documents of its own; `invariants` judges all of them
after each. A round's documents lie in a sub-folder of their own, so that making it is a step, too.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from invariants import Drop, check, settled
from running import unique
from sealdrop.audit.chain import link
from sealdrop.clock import SystemClock
from sealdrop.config import Config, load
from sealdrop.daemon.retry import ask_for_retry
from sealdrop.daemon.startup import ledger_path
from sealdrop.ledger.store import Ledger
from sealdrop.model import AuditRecord, State
from sealdrop.sandbox import samples
from sealdrop.sandbox.app import DEFAULT_ARCHIVER
from sealdrop.sandbox.pki import ORGANISATION
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays
from steps import Nursery, Service

# Long enough for each status to be seen by a poll, which comes every 50 ms.
DELAYS = Delays(sign_s=0.25, archive_start_s=0.25, archive_s=0.25)
PATIENCE_S = 60.0  # shorter than any lease: a document that must wait for the end of one is found
LOOK_S = 0.02
LATE_S = 1.0  # how long after all is settled a last step may come
TRIES = 8  # a step that depends on chance (a status that is seen in time, a new sub-folder of the spool) may be missed

STARTED = "daemon.service.Daemon.start: commit service_started"
RELOADED = "daemon.reload.Reload._put_on_record: commit configuration_reloaded"

_CONFIG = """
[service]
state_dir = "state/daemon"
min_free_mib = 1
create_folders = true

[accounts.sandbox]
base_url = "{url}"
certificate = "{pki}/client.p12"
passphrase = {{ file = "{pki}/client.passphrase" }}
ca_file = "{pki}/root.pem"
organisation = "{organisation}"
trust_anchors = ["{pki}/root.pem"]
connect_timeout_s = 2
read_timeout_s = 2
call_timeout_s = 2
sign_again_after_s = 2.1
poll_first_s = 0.05
poll_longest_s = 0.2
retry_first_s = 0.1
retry_longest_s = 0.5
ask_after_s = 0.1

[folders.only]
account = "sandbox"
inbound = "in/dropped"
outbound = "out/sealed"
rejected = "out/rejected"
failed = "out/failed"
processed = "out/processed"
sweep_s = 0.5
settle_s = 0.2
sidecar = "optional"

[folders.only.seal]
level = "PAdES_BASELINE_B"
archive = true
archivers = ["{archiver}"]
"""


@dataclass(frozen=True, slots=True)
class Death:
    """A durable step and the form in which it is met; ``run`` is what is going on then.

    ``first start`` of a new state directory, ``start``, ``reload``, ``stop``; ``good``, ``unfit`` or ``failing``
    document, or a ``retried`` one, which failed unsealed before; or ``recovery``, from the death ``after``.
    """

    run: str
    step: str
    when: str
    after: "Death | None" = None

    def __str__(self) -> str:
        begun = f" after ({self.after})" if self.after else ""
        return f"{self.run}, {self.when} {self.step}{begun}"


class NotReached(Exception):
    """The step at which the service was to die did not come."""


@dataclass
class Rounds:
    """A sandbox, a service that dies now and then, and what was dropped so far.

    ``on_death`` is called after the last death, before the next start; ``told`` are the steps that were told of;
    ``forgets`` is what the service forgets to flush: ``files``, ``folders`` or ``ledger``.
    """

    base: Path
    keys: Path
    nursery: Nursery
    on_death: Callable[[], None] = lambda: None
    forgets: str = ""
    drops: list[Drop] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    sandbox: Sandbox = field(init=False)
    config: Config = field(init=False)
    _service: Service | None = None
    _number: int = 0
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Start the sandbox and write the service's configuration; nothing of the service is there yet."""
        self.base.mkdir(exist_ok=True)
        shutil.copytree(self.keys / "pki", self.base / "sandbox" / "pki")
        self.sandbox = self._open.enter_context(Sandbox.start(self.base / "sandbox", delays=DELAYS))
        for name in ("state", "in", "out"):
            (self.base / name).mkdir(exist_ok=True)
        path = self.base / "sealdrop.toml"
        pki = self.base / "sandbox" / "pki"
        told = {"url": self.sandbox.url, "pki": pki, "organisation": ORGANISATION, "archiver": DEFAULT_ARCHIVER}
        path.write_text(_CONFIG.format(**told))
        self.config = load(path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._service is not None:
            self.nursery.end(signal.SIGKILL)
        self._open.close()

    # What is asked of a round.

    def round(self, death: Death) -> None:
        """Let the service die, start it again, and pass if all that must hold does.

        Raises:
            NotReached: the step never came.
            AssertionError: something does not hold, or the service does not come to an end of its work.
        """
        self.die(death)
        if death.run in ("first start", "start", "reload"):
            self.drop("good")  # what was left must not be in its way
        self.recover(str(death))

    def die(self, death: Death) -> None:
        """Let the service die at a step, and have ``on_death`` happen."""
        self._reach(death)
        self.on_death()

    def recover(self, why: str) -> None:
        """Start the service if it does not run, wait until it has nothing left to do, and check everything."""
        self.start()
        try:
            self._wait_for(lambda: self._has_started() and self._is_settled())
        except TimeoutError:
            try:
                self.check()
            except AssertionError as error:
                raise AssertionError(f"{why}: it does not come to an end:\n{error}") from error
        self.check(why)

    def check(self, why: str = "") -> None:
        """Pass if all that must hold does."""
        self._note_steps()
        try:
            check(self.base / "sandbox", self.config, self.drops)
        except AssertionError as error:
            log = "" if self._service is None else self._service.log.read_text()
            raise AssertionError(f"{why}:\n{error}\n{log[-3000:]}") from error

    # What rounds are made of.

    def start(self, step: str = "", when: str = "") -> None:
        """Start the service, unless it runs; it dies at a step if one is given."""
        if self._service is None:
            path = self.base / "sealdrop.toml"
            self._service = self.nursery.start(path, step, when, forgets=self.forgets)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the service by a signal."""
        self._ended(self.nursery.end(number))

    def reload(self) -> None:
        """Have the running service read its configuration anew."""
        assert self._service is not None
        service = self._service
        self.nursery.send(signal.SIGHUP)
        self._wait_for(lambda: RELOADED in service.steps())

    def drop(self, kind: str) -> None:
        """Drop a document durably, as a careful program does: it must not be gone after a power cut."""
        self._number += 1
        number = self._number
        name = f"round-{number}/{kind}.pdf"
        if kind == "good":
            new = Drop("only", name, unique(samples.invoice(), number))
        elif kind == "unfit":
            new = Drop("only", name, samples.encrypted() + b"%% %d\n" % number, State.REJECTED)
        elif kind == "retried":
            self.sandbox.faults.add("sign_failed", "sign")
            new = Drop("only", name, unique(samples.invoice(), number), State.FAILED)
        else:
            self.sandbox.faults.add("other_organisation", "sign")
            content = unique(samples.invoice(), number)
            new = Drop("only", name, content, State.FAILED, sealed=True, archived=True)
        inbound = self.config.folders["only"].inbound
        if not inbound.is_dir():  # the service has died before it came to that
            self.start()
            self._wait_for(inbound.is_dir)
        new = replace(new, sidecar=b'{"reference": "round %d"}' % number)
        path = inbound / name
        path.parent.mkdir()
        _flush(inbound)
        # The sidecar first: the folder does not require one.
        for each, content in ((path.with_name(path.name + ".json"), new.sidecar), (path, new.content)):
            with each.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _flush(path.parent)
        self.drops.append(new)

    def try_again(self) -> None:
        """Have the newest document, which has failed unsealed, tried again: now it is to be delivered."""
        failed, clock = self.drops[-1], SystemClock()

        def linked(*parts: Any) -> AuditRecord:  # noqa: ANN401
            return link(*parts, node="tests")

        with Ledger.open(ledger_path(self.config), link=linked, clock=clock) as ledger:
            answer = ask_for_retry(failed.name, self.config, ledger, clock)
        assert answer.accepted, answer.text
        self.drops[-1] = Drop(failed.folder, failed.name, failed.content, sidecar=failed.sidecar)

    def _reach(self, death: Death) -> None:
        """Let the service die at a step; some that depend on chance are tried again."""
        for _ in range(TRIES):
            if self._died(death):
                return
        raise NotReached(f"{death}: the step never came")

    def _died(self, death: Death) -> bool:
        """Whether the service died at the step; if it did not, it goes on."""
        if death.run == "recovery":
            assert death.after is not None
            self._reach(death.after)
            self.start(death.step, death.when)
        elif death.run in ("first start", "start"):
            if self._service is not None:
                self.stop(signal.SIGKILL)
            self.start(death.step, death.when)
        else:
            self.start()
            self._wait_for(lambda: self._has_started() and self._is_settled())
            if death.run == "retried":
                self.drop(death.run)
                self._wait_for(self._is_settled)
            self.nursery.arm(death.step, death.when)
            if death.run == "stop":
                self._ended(self.nursery.end(signal.SIGTERM))
                return self._last_death == (death.step, death.when)
            if death.run == "retried":
                self.try_again()
            elif death.run == "reload":
                self.nursery.send(signal.SIGHUP)
            else:
                self.drop(death.run)
        late = time.monotonic() + PATIENCE_S
        while time.monotonic() < late:
            try:
                code = self.nursery.wait(LOOK_S)
            except TimeoutError:
                if self._has_started() and self._is_settled():
                    late = min(late, time.monotonic() + LATE_S)
                continue
            self._ended(code)
            assert self._last_death == (death.step, death.when), f"{death}: it ended by itself with {code}"
            return True
        self.stop(signal.SIGKILL)
        return False

    _last_death: tuple[str, str] | None = None

    def _ended(self, code: int) -> None:
        assert self._service is not None
        self._last_death = self._service.died_at()
        self._note_steps()
        log, self._service = self._service.log, None
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"the service ended by itself with {code}:\n{log.read_text()[-3000:]}")

    def _is_settled(self) -> bool:
        return settled(self.config, len(self.drops))

    def _has_started(self) -> bool:
        return self._service is not None and STARTED in self._service.steps()

    def _note_steps(self) -> None:
        if self._service is not None:
            self.told.update(self._service.steps())

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            with contextlib.suppress(TimeoutError):
                code = self.nursery.wait(LOOK_S)
                self._ended(code)
                raise AssertionError(f"the service ended by itself with {code}")


def _flush(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
