"""A sandbox's life: starting, stopping, being killed, and starting again where it was."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox_caller import AT_ONCE, SIGNATURES, StartSandbox, client_context, document, until
from sealdrop import config
from sealdrop.model import SealLevel
from sealdrop.sandbox import record
from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays

SERVE = """
import sys
from pathlib import Path
from sealdrop.sandbox.server import serve
from sealdrop.sandbox.service import Delays
serve(Path(sys.argv[1]), int(sys.argv[2]), delays=Delays(0.01, 0.01, 0.01))
"""


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(directory: Path, *, crash_at: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a sandbox as a process of its own; yield it with its one line. ``crash_at`` is run in it first."""
    port = 0 if (directory / "sealdrop.toml").exists() else free_port()
    command = [sys.executable, "-c", crash_at + SERVE, str(directory), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


@contextlib.contextmanager
def calling(directory: Path, folder: Path) -> Iterator[httpx.Client]:
    """Yield a client of the sandbox that runs in ``directory``, found by its configuration."""
    settings = config.load(directory / "sealdrop.toml").accounts["sandbox"]
    context = client_context(Pki.ensure(directory), folder)
    with httpx.Client(base_url=settings.base_url, verify=context, timeout=10) as client:
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_served_sandbox_says_one_line_and_ends_well(directory: Path, tmp_path: Path, number: signal.Signals) -> None:
    """It says where it is and where the configuration is, answers, and ends with code 0 on either signal, silently."""
    with served(directory) as (process, line):
        settings = config.load(directory / "sealdrop.toml")
        url = settings.accounts["sandbox"].base_url
        assert line == f"sealdrop sandbox ready: {url} (configuration: {directory / 'sealdrop.toml'})\n"
        with calling(directory, tmp_path) as client:
            assert client.get(f"{SIGNATURES}/search/").json() == []
            process.send_signal(number)
            rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_two_sandboxes_cannot_share_a_directory(start: StartSandbox, directory: Path) -> None:
    """A second one is refused while the first runs, in this process or another, and may start after it."""
    caller = start()
    with pytest.raises(SandboxError, match="another sandbox is running"):
        Sandbox.start(directory)
    with served(directory) as (process, line):
        assert line == ""
        assert process.wait(30) != 0
    caller.sandbox.stop()
    start()


def test_a_port_in_use_is_an_error(directory: Path) -> None:
    """A port that somebody else has is named in the error, and the directory is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} cannot be used"):
            Sandbox.start(directory, port)
    with Sandbox.start(directory, delays=AT_ONCE):
        pass


def test_a_preferred_port_is_taken_where_it_is_free(tmp_path: Path, directory: Path) -> None:
    """A new directory gets the preferred port, a second one another, and the first keeps its own without asking."""
    preferred = free_port()
    other = tmp_path / "other"
    with Sandbox.start(directory, preferred_port=preferred) as first:
        assert first.port == preferred
        with Sandbox.start(other, preferred_port=preferred) as second:
            assert second.port != preferred
    with Sandbox.start(directory, preferred_port=free_port()) as again:
        assert again.port == preferred


def test_damaged_keys_are_an_error(directory: Path) -> None:
    """Certificates that cannot be read keep the sandbox from starting, and are not replaced."""
    (directory / "pki" / "seal.key").write_text("nonsense")
    with pytest.raises(SandboxError, match="certificates"):
        Sandbox.start(directory)
    assert (directory / "pki" / "seal.key").read_text() == "nonsense"


def test_keys_are_made_once(tmp_path: Path) -> None:
    """An empty directory gets keys, what a killed sandbox half made is thrown away, and the next start keeps them."""
    half_made = tmp_path / ".pki-half"
    half_made.mkdir()
    first = Pki.ensure(tmp_path)
    assert not half_made.exists()
    again = Pki.ensure(tmp_path)
    assert again.seal.certificate == first.seal.certificate
    crl = (again.folder / "root.crl").read_bytes()
    assert crl != Pki.ensure(tmp_path).folder.joinpath("root.crl").read_bytes()


def test_a_restart_keeps_address_and_requests(start: StartSandbox, invoice: bytes) -> None:
    """The port, every request and its content are as they were, and what was under way goes on."""
    caller = start()
    done = caller.seal(document(invoice, "done", enableArchive=True), "ARCHIVED")
    created = caller.create(document(invoice, "created"))[0]["signatureRequestId"]
    caller.sandbox.stop()
    slow = start(delays=Delays(sign_s=3600))
    assert slow.sandbox.url == caller.sandbox.url
    assert slow.status(str(done["signatureRequestId"])) == done
    assert slow.sign(str(created)).json()[0]["status"] == "SIGN_IN_PROGRESS"
    slow.sandbox.stop()
    again = start()
    again.until_status(str(created), "SIGNED")
    assert [entry.external_id for entry in again.sandbox.seals()] == ["done", "created"]
    assert [entry.external_id for entry in again.sandbox.deposits()] == ["done"]


# Where to kill a sandbox: right before or right after each step of putting a seal or a deposit on record.
CRASH = """
import os, signal
from sealdrop.sandbox import {module}
step = {module}.{owner}.{name}
def dying(*args, **kwargs):
    if {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = step(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
    return result
{module}.{owner}.{name} = dying
"""
STEPS = [
    ("flaws", "FlawedSealer", "seal"),
    ("store", "Store", "keep_sealed"),
    ("record", "Record", "append_once"),
    ("store", "Store", "finish_seal"),
    ("store", "Store", "start_archive"),
    ("store", "Store", "deposit"),
    ("store", "Store", "finish_archive"),
]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("module", "owner", "name"), STEPS)
def test_killed_at_any_step_it_seals_and_deposits_once(
    directory: Path, tmp_path: Path, invoice: bytes, module: str, owner: str, name: str, before: bool
) -> None:
    """Killed by SIGKILL around each step, then started again: one seal, one deposit, and the content on record."""
    crash = CRASH.format(module=module, owner=owner, name=name, before=before)
    with served(directory, crash_at=crash) as (process, _), calling(directory, tmp_path) as client:
        created = client.post(SIGNATURES, json=[document(invoice, "once", "LTA", enableArchive=True)]).json()
        identifier = created[0]["signatureRequestId"]
        with contextlib.suppress(httpx.TransportError):  # it may be gone before it answers
            client.post(f"{SIGNATURES}/sign", params={"id": identifier})
        assert process.wait(30) == -signal.SIGKILL
    made = [entry.sealed_sha256 for entry in record.read(directory / "seals.jsonl")]
    with Sandbox.start(directory, delays=AT_ONCE) as sandbox, calling(directory, tmp_path) as client:

        def archived() -> bool:
            found = client.get(f"{SIGNATURES}/", params={"externalId": "once"}).json()
            return bool(found["status"] == "ARCHIVED")

        until(archived, "the request is archived")
        (seal,) = sandbox.seals()
        (deposit,) = sandbox.deposits()
    assert made in ([], [seal.sealed_sha256])
    assert deposit.sealed_sha256 == seal.sealed_sha256
    assert [path.name for path in (directory / "archive").iterdir()] == [f"{deposit.archive_id}.pdf"]


def test_killed_at_random_it_never_seals_twice(directory: Path, tmp_path: Path, invoice: bytes) -> None:
    """A batch under way when the sandbox is killed, three times over, ends with one seal and one deposit for each."""
    count = 12
    with served(directory), calling(directory, tmp_path) as client:
        documents = [document(invoice, f"N{number}", enableArchive=True) for number in range(count)]
        client.post(SIGNATURES, json=documents).raise_for_status()

    def sealed() -> int:
        return len(record.read(directory / "seals.jsonl"))

    for _ in range(3):
        with served(directory) as (process, _), calling(directory, tmp_path) as client:
            before = sealed()
            waiting = client.get(f"{SIGNATURES}/search/?status=SIGN_CREATED").json()
            if waiting:
                client.post(f"{SIGNATURES}/sign", json=waiting).raise_for_status()
            until(lambda: sealed() > before, "a seal is made")  # noqa: B023 - called in the same round
            process.kill()
            process.wait()
    with Sandbox.start(directory, delays=AT_ONCE) as sandbox:
        until(lambda: len(sandbox.deposits()) >= count, "all are archived")
        assert len({entry.request_id for entry in sandbox.seals()}) == len(sandbox.seals()) == count
        assert len({entry.request_id for entry in sandbox.deposits()}) == len(sandbox.deposits()) == count


def test_the_configuration_works_as_it_is(start: StartSandbox) -> None:
    """The daemon's own reader accepts the file, and finds in it what the sandbox is."""
    sandbox = start().sandbox
    settings = config.load(sandbox.config_path)
    account = settings.accounts["sandbox"]
    assert account.base_url == sandbox.url
    assert account.organisation == "Demo Organisation SAS"
    assert account.certificate == sandbox.pki.client_file
    assert account.passphrase is not None
    assert account.passphrase.read() == sandbox.pki.passphrase_file.read_text().strip()
    assert account.ca_file == sandbox.pki.ca_file
    assert account.trust_anchors == (sandbox.pki.ca_file,)
    invoices, contracts = settings.folders["invoices"], settings.folders["contracts"]
    assert (invoices.seal.level, invoices.seal.archive) == (SealLevel.LTA, True)
    assert invoices.seal.archivers == ("sandbox-archive",)
    assert (contracts.seal.level, contracts.seal.archive) == (SealLevel.B, False)
    assert invoices.inbound == sandbox.directory / "invoices" / "inbound"
    assert settings.service.create_folders


def test_the_configuration_follows_the_port_and_keeps_its_edits(directory: Path) -> None:
    """On another port only the address's line changes; one that the user wrote is left alone."""
    with Sandbox.start(directory) as sandbox:
        path = sandbox.config_path
        edited = path.read_text() + "\n# mine\n"
        old_url = sandbox.url
    path.write_text(edited)
    with Sandbox.start(directory, free_port()) as sandbox:
        assert path.read_text() == edited.replace(old_url, sandbox.url)
    foreign = edited.replace(old_url, "https://elsewhere:1")
    path.write_text(foreign)
    with Sandbox.start(directory, free_port()):
        assert path.read_text() == foreign


def test_stopping_twice_is_harmless(start: StartSandbox) -> None:
    """A second stop does nothing."""
    sandbox = start().sandbox
    sandbox.stop()
    sandbox.stop()
    assert not sandbox.is_alive
