"""A machine from its first boot to the removal of sealdrop, by the commands of docs/install.md."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

import sealdrop
from invariants import Drop, check, settled
from machine import Machine, NoBoot, booted_or_skipped, layered
from pages import sections
from running import unique, until
from sealdrop.checks.unit import Reach, Unit, reach
from sealdrop.config import Config, load
from sealdrop.model import State
from sealdrop.pdf.confine import Protection
from sealdrop.sandbox import certificates, samples
from sealdrop.sandbox.app import DEFAULT_ARCHIVER
from sealdrop.sandbox.pki import ORGANISATION, Pki

TREE = Path(__file__).parents[2]
PYTHON = Path("/opt/python")
PACKAGES = Path("/opt/packages/lib/site-packages")
SANDBOX = Path("/srv/sandbox")
PORT = 8443
CONFIG = Path("/etc/sealdrop/sealdrop.toml")
LOOK_S = 0.2  # between two looks, each of which costs a process
# Settings that hide or close folders, alone and together.
SETTINGS = (
    (),
    ("ProtectSystem=strict",),
    ("ProtectSystem=strict", "ReadWritePaths=/srv/a"),
    ("ProtectSystem=strict", "ReadWritePaths=/srv", "ReadOnlyPaths=/srv/a"),
    ("ProtectSystem=strict", 'ReadWritePaths="/srv/a:c d"', "ProtectHome=read-only"),
    ("ProtectHome=true", "ReadWritePaths=-/home/somebody/b"),
    ("ProtectHome=true", "BindPaths=/home/somebody/b"),
    ("ProtectHome=tmpfs", "BindPaths=/home/somebody/b", "PrivateTmp=true"),
    ("ProtectHome=tmpfs", "BindReadOnlyPaths=/home/somebody/b", "PrivateTmp=true", "BindPaths=/var/tmp/b"),
    ("InaccessiblePaths=/srv/a", "ReadWritePaths=-/srv/a/b"),
    ("TemporaryFileSystem=/srv", "BindPaths=/srv/a", r'BindReadOnlyPaths="/srv/a\:c d"'),
)
_REACHES = {Reach.INACCESSIBLE: "-", Reach.EMPTY: "-", Reach.READ: "R", Reach.WRITE: "W"}
STAFF = "claire"  # somebody of the office
NEWER = "999.0"
# What needs a network, and pipx with it.
UNTRIED = ("apt-get install",)
LISTEN = "127.0.0.1:9464"
HOOK = "127.0.0.1:9465"
TOLD = Path("/srv/told")
FIGURES = Path("/var/lib/figures")
# Somebody who is told by webhook, and notes each message on a line.
LISTENER = f"""\
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("{TOLD}", "ab") as told:
            told.write(body + b"\\n")
        self.send_response(204)
        self.end_headers()
host, port = "{HOOK}".split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""
MORE = f"""\
[metrics]
listen = "{LISTEN}"
every_s = 0.5
[alerts.webhook]
url = "http://{HOOK}/"
"""
# Impatience: a test waits for little, and a watchdog that is not petted bites soon.
IMPATIENT = """\
[Service]
WatchdogSec=5
RestartSec=100ms
"""


def _wheel(tree: Path, folder: Path) -> Path:
    """Build the wheel of a tree."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return _wheel(TREE, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def newer_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree that says it is of a version to come."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("daemon", "docs", "systemd"):
        shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "config.example.toml"):
        shutil.copy(TREE / name, tree)
    version = tree / "daemon/sealdrop/__init__.py"
    version.write_text(version.read_text().replace(f'"{sealdrop.__version__}"', f'"{NEWER}"'))
    return _wheel(tree, tmp_path_factory.mktemp("newer"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with the Python that runs the tests, and with the packages that pip would fetch from the network."""
    with ExitStack() as stack:
        try:
            packages = layered(Path(pytest.__file__).parents[1], tmp_path / "packages", stack)
        except NoBoot as reason:
            pytest.skip(f"no systemd can be booted here: {reason}")
        # These are for the page's own commands to bring.
        for name in ("sealdrop", "pip"):
            for brought in packages.glob(f"{name}-*.dist-info"):
                shutil.rmtree(brought)
        shown = {str(PYTHON): Path(sys.base_prefix), str(PACKAGES): packages}
        machine = stack.enter_context(booted_or_skipped(tmp_path / "machine", shown=shown))
        machine.environment |= {
            "PATH": f"{PYTHON}/bin:{machine.environment['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        found = machine.path(f"/opt/sealdrop/lib/{name}/site-packages/found.pth")
        found.parent.mkdir(parents=True)
        found.write_text(f"{PACKAGES}\n")
        # Some Pythons look for their own library in the folder that they were built for, which services may not see.
        machine.path("/etc/ld.so.conf.d/000-python.conf").write_text(f"{PYTHON}/lib\n")
        machine.run("ldconfig")
        yield machine


@dataclass
class Server:
    """The machine with sealdrop on it, and what was dropped there so far."""

    machine: Machine
    config: Config
    drops: list[Drop] = field(default_factory=list)

    def drop(self, name: str, content: bytes, state: State = State.DELIVERED) -> None:
        """Drop a file as somebody of the office does, whose files are not for others unless the folder says so."""
        path = Path("/srv/sealdrop/invoices/inbound", name)
        source = self.machine.path("/srv/dropped.pdf")
        source.write_bytes(content)
        self.by_staff(f"mkdir --parents '{path.parent}' && cp /srv/dropped.pdf '{path}'")
        self.drops.append(Drop("invoices", name, content, state))

    def drop_some(self, prefix: str, number: int = 3) -> None:
        """Drop some invoices."""
        for each in range(number):
            self.drop(f"{prefix}-{each}.pdf", unique(samples.invoice(), len(self.drops)))

    def by_staff(self, script: str) -> str:
        """Have somebody of the office do something."""
        return self.machine.run("runuser", f"--user={STAFF}", "--", "bash", "-c", f"umask 077; {script}")

    def said(self, event: str) -> list[dict[str, object]]:
        """Return what the service's log says of an event."""
        log = self.machine.run("journalctl", "--unit=sealdrop", "--output=cat").splitlines()
        lines = [json.loads(line) for line in log if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def shown(self, name: str) -> str:
        """Return what systemd knows of the unit."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", "sealdrop").strip()

    def finish(self) -> None:
        """Wait until nothing is left to do, and check everything."""
        until(lambda: settled(self.config, len(self.drops)), self.journal, look_s=LOOK_S)
        check(self.machine.path(SANDBOX), self.config, self.drops)

    def restarts_after(self, signal: str) -> None:
        """Send a signal to the service while documents are under way, and wait until it works again."""
        before, started = int(self.shown("NRestarts")), len(self.said("service_started"))
        self.drop_some(signal.lower())
        self.machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", "sealdrop")
        until(lambda: int(self.shown("NRestarts")) > before, self.journal, look_s=LOOK_S)
        until(lambda: self.shown("ActiveState") == "active", self.journal, look_s=LOOK_S)
        assert len(self.said("service_started")) > started

    def journal(self) -> str:
        """Return the end of all that was logged."""
        return self.machine.run("journalctl", "--no-pager", "--lines=60")


@pytest.mark.timeout(900)  # a minute on an idle machine
def test_a_machine_from_its_first_boot_to_the_removal(
    machine: Machine, wheel: Path, newer_wheel: Path, keys: Path, tmp_path: Path
) -> None:
    """By the words of docs/install.md: installed, used, stopped in all ways, upgraded, removed; nothing is lost."""
    page = {section.title: section.blocks for section in sections("install.md")}
    home = machine.path("/root")
    shutil.copy(wheel, home)
    follow(machine, page.pop("The program")[:2])
    follow(machine, page.pop("The user and the folders"))
    sandbox = start_sandbox(machine, keys)
    shutil.copy(sandbox / "pki/client.p12", home)
    shutil.copy(sandbox / "pki/root.pem", home / "certeurope-root.pem")
    follow(machine, page.pop("What CertEurope gave you"), stdin=(sandbox / "pki/client.passphrase").read_text())
    install, *checks = page.pop("The configuration")
    follow(machine, [install])
    server = Server(machine, configure(machine, tmp_path))
    have_a_listener(machine)
    looked, unit = follow(machine, checks)
    assert "All is well" in looked
    assert "no service runs on it now" in looked
    assert "Nothing that" not in unit  # that goes beside the drop-in
    assert "[Service]" in unit
    machine.run("useradd", "--groups=sealdrop-office", STAFF)
    impatience = machine.path("/etc/systemd/system/sealdrop.service.d/test.conf")
    impatience.parent.mkdir()
    impatience.write_text(IMPATIENT)
    machine.run("systemctl", "daemon-reload")
    follow(machine, page.pop("Starting it"))

    first, looks = page.pop("The first document")
    server.drops.append(Drop("invoices", "first.pdf", samples.invoice()))
    (home / "first.pdf").write_bytes(samples.invoice())
    follow(machine, [first])
    server.finish()
    follow(machine, [looks])
    machine.run("systemd-analyze", "verify", "sealdrop.service")
    systemd_reads_settings_as_we_do(machine)
    (told,) = server.said("jail_confined")
    assert told["missing"] == []
    assert told["in_force"] == sorted(Protection)
    people_get_what_is_theirs(server)
    a_group_that_is_not_handed_down_is_told_of(server)
    until(lambda: "3 delivered, 1 rejected" in server.shown("StatusText"), server.journal, look_s=LOOK_S)

    server.restarts_after("KILL")
    server.restarts_after("STOP")
    assert "watchdog" in machine.run("journalctl", "--unit=sealdrop", "--grep=atchdog")
    server.finish()
    reload = page.pop("Changes later")
    a_reload_takes_what_can_be_used(server, reload)
    a_new_client_certificate_is_used(server, reload, keys)
    what_is_elsewhere_needs_the_drop_in(server)
    people_are_told(server)

    server.drop_some("stop")
    machine.run("systemctl", "stop", "sealdrop")
    assert server.shown("Result") == "success"
    assert server.shown("ExecMainStatus") == "0"
    systemd_tries_again_unless_a_person_must_look(server)
    server.finish()

    (home / wheel.name).unlink()
    shutil.copy(newer_wheel, home)
    server.drop_some("upgrade")
    follow(machine, page.pop("Upgrading"))
    assert NEWER in machine.run("sealdrop", "--version")
    server.finish()
    assert server.said("service_started")[-1]["version"] == NEWER

    follow(machine, page.pop("Removing it"))
    assert machine.ask("systemctl", "cat", "sealdrop").returncode != 0
    assert not page
    check(sandbox, server.config, server.drops)


def a_reload_takes_what_can_be_used(server: Server, reload: Sequence[str]) -> None:
    """What has faults is refused and told of; what can be used is on record; work goes on, in the same process."""
    path, main = server.machine.path(CONFIG), server.shown("MainPID")
    good = path.read_text()
    path.write_text(f"{good}\nnonsense = 1\n")
    server.drop_some("refused", 1)
    follow(server.machine, reload)
    until(lambda: server.said("reload_refused"), server.journal, look_s=LOOK_S)
    path.write_text(good.replace("# sweep_s = 30.0", "sweep_s = 20.0"))
    server.drop_some("reloaded", 1)
    follow(server.machine, reload)
    until(lambda: server.said("configuration_reloaded"), server.journal, look_s=LOOK_S)
    server.finish()
    assert server.shown("MainPID") == main


def a_new_client_certificate_is_used(server: Server, reload: Sequence[str], keys: Path) -> None:
    """Put over the old one and reloaded, it is the one whose end is watched; work goes on, in the same process."""
    machine, main = server.machine, server.shown("MainPID")
    renewed = certificates.client(Pki(keys / "pki").root, ORGANISATION)
    ends = renewed.certificate.not_valid_after_utc.timestamp()
    assert client_ends(machine) not in (None, ends)
    passphrase = (keys / "pki/client.passphrase").read_bytes().strip()
    bundle = pkcs12.serialize_key_and_certificates(
        b"renewed", renewed.key, renewed.certificate, None, BestAvailableEncryption(passphrase)
    )
    machine.path("/root/client.p12").write_bytes(bundle)
    machine.run("install", "--mode=640", "--group=sealdrop", "client.p12", "/etc/sealdrop/")
    follow(machine, reload)
    until(lambda: client_ends(machine) == ends, server.journal, look_s=LOOK_S)
    server.drop_some("renewed", 1)
    server.finish()
    assert server.shown("MainPID") == main


def what_is_elsewhere_needs_the_drop_in(server: Server) -> None:
    """A file where the unit lets nobody write: check says so beforehand, prints what mends it, and it does."""
    machine, path = server.machine, server.machine.path(CONFIG)
    machine.run("install", "--directory", "--owner=sealdrop", FIGURES)
    path.write_text(path.read_text().replace("[metrics]\n", f'[metrics]\ntextfile = "{FIGURES}/sealdrop.prom"\n'))
    asked = machine.ask("sealdrop", "check", "--unit")
    assert asked.returncode == 1
    assert f"metrics.textfile: {FIGURES} would be read-only for the service" in asked.stderr
    assert "With the drop-in printed above nothing would be." in asked.stderr
    machine.path("/etc/systemd/system/sealdrop.service.d/local.conf").write_text(asked.stdout)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "sealdrop")
    machine.run("sealdrop", "check", "--unit")
    written = machine.path(FIGURES) / "sealdrop.prom"
    until(lambda: written.exists() and "sealdrop_documents" in written.read_text(), server.journal, look_s=LOOK_S)


def people_are_told(server: Server) -> None:
    """Of the ends that the service did not come to, and that a test is a test."""
    assert server.machine.run("sealdrop", "check", "--alerts") == "webhook: the test was sent\n"
    told = server.machine.path(TOLD)
    until(lambda: "unclean_stop" in told.read_text(), server.journal, look_s=LOOK_S)
    assert "test of the alerts" in told.read_text()


def a_group_that_is_not_handed_down_is_told_of(server: Server) -> None:
    """Under the unit, results in a folder without set-group-ID are closed to the office: the check says so before."""
    machine, outbound = server.machine, "/srv/sealdrop/invoices/outbound"
    machine.run("chmod", "g-s", outbound)
    looked = machine.run("sealdrop", "check", "--json", "--no-audit", "--offline")
    found = {each["condition"]: each for each in json.loads(looked)["findings"]}
    assert "not for the group sealdrop-office" in found["group_not_handed_down"]["text"]
    server.drop("closed.pdf", unique(samples.invoice(), 2000))
    server.finish()
    assert machine.ask("runuser", f"--user={STAFF}", "--", "cat", f"{outbound}/closed.pdf").returncode != 0
    machine.run("chmod", "g+s", outbound)


def client_ends(machine: Machine) -> float | None:
    """Return when the client certificate ends, as Prometheus hears it; None while nobody answers it, in a reload."""
    fetch = f"import urllib.request as r; print(r.urlopen('http://{LISTEN}/metrics').read().decode())"
    name = "sealdrop_certificate_expiry_timestamp_seconds"
    figures = machine.ask("python3", "-c", fetch).stdout.splitlines()
    ends = [float(line.split()[-1]) for line in figures if line.startswith(name) and 'role="client"' in line]
    return ends[0] if ends else None


def systemd_tries_again_unless_a_person_must_look(server: Server) -> None:
    """A folder that is not there at a start is waited for; a ledger that this version cannot trust is left alone."""
    machine, ledger = server.machine, server.config.service.state_dir / "ledger.sqlite"
    with closing(sqlite3.connect(ledger)) as database:
        database.execute("UPDATE schema_version SET version = version + 1")
        database.commit()
    assert machine.ask("systemctl", "start", "sealdrop").returncode != 0
    assert server.shown("ExecMainStatus") == "70"
    assert server.shown("ActiveState") == "failed"
    assert "run the newer sealdrop" in server.journal()
    with closing(sqlite3.connect(ledger)) as database:
        database.execute("UPDATE schema_version SET version = version - 1")
        database.commit()

    failed = machine.path("/srv/sealdrop/invoices/failed")
    away = failed.rename(failed.with_name("away"))
    assert machine.ask("systemctl", "start", "sealdrop").returncode != 0
    until(lambda: int(server.shown("NRestarts")) > 0, server.journal, look_s=LOOK_S)
    assert "there is no folder" in server.journal()
    away.rename(failed)
    until(lambda: server.shown("ActiveState") == "active", server.journal, look_s=LOOK_S)


def systemd_reads_settings_as_we_do(machine: Machine) -> None:
    """What `checks.unit` says that settings do to a path, systemd does."""
    places = ("/srv/a/b", "/srv/a:c d/b", "/home/somebody/b", "/var/tmp/b")  # noqa: S108 - of that machine
    for place in places:
        machine.path(place).mkdir(parents=True)
    probe = "".join(
        f"test -w '{place}' && echo W || {{ test -e '{place}' && echo R || echo -; }}; " for place in places
    )
    for settings in SETTINGS:
        rules = list(Unit("\n".join(settings)).rules())
        said = [_REACHES[reach(Path(place), rules)[0]] for place in places]
        properties = [f"--property={setting}" for setting in settings]
        done = machine.run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *properties, "sh", "-c", probe)
        assert done.split() == said, settings


def people_get_what_is_theirs(server: Server) -> None:
    """The office can use what comes out, in sub-folders too; nobody else can read it."""
    server.drop("june/from claire/sealed.pdf", unique(samples.invoice(), 1000))
    server.drop("june/unfit.pdf", samples.not_a_pdf(), State.REJECTED)
    server.finish()
    documents = "/srv/sealdrop/invoices"
    sealed = f"{documents}/outbound/june/from claire/sealed.pdf"
    server.by_staff(f"cat '{sealed}' '{sealed}.receipt.json' {documents}/rejected/june/unfit.pdf.reason.txt >/dev/null")
    server.by_staff(f"cp '{sealed}' /tmp/ && touch '{sealed}.read' && rm '{sealed}.read'")
    for place in (sealed, f"{documents}/outbound", "/etc/sealdrop/sealdrop.toml", "/var/lib/sealdrop/ledger.sqlite"):
        assert server.machine.ask("runuser", "--user=nobody", "--", "ls", place).returncode != 0, place
        assert server.machine.ask("runuser", "--user=nobody", "--", "cat", place).returncode != 0, place


def follow(machine: Machine, blocks: Sequence[str], stdin: str = "") -> list[str]:
    """Do what the page says, but for what cannot be done here; return what each block printed."""
    return [machine.shell(block, stdin) for block in blocks if not any(words in block for words in UNTRIED)]


def have_a_listener(machine: Machine) -> None:
    """Run who is told by webhook."""
    machine.path("/srv/listener.py").write_text(LISTENER)
    machine.path(TOLD).touch()
    machine.run("systemd-run", "--quiet", "--unit=listener", f"{PYTHON}/bin/python3", "/srv/listener.py")


def start_sandbox(machine: Machine, keys: Path) -> Path:
    """Run a sandbox beside the service, with keys that were made before; return its folder as seen from here."""
    folder = machine.path(SANDBOX)
    shutil.copytree(keys / "pki", folder / "pki")
    command = ["/opt/sealdrop/bin/sealdrop", "sandbox", f"--dir={SANDBOX}", f"--port={PORT}"]
    machine.run("systemd-run", "--quiet", "--unit=sandbox", *command)
    until(lambda: "ready" in machine.run("journalctl", "--unit=sandbox", "--output=cat"))
    return folder


def configure(machine: Machine, tmp_path: Path) -> Config:
    """Edit the example as an administrator does, and return the configuration as it is seen from here."""
    machine.shell(
        "install --directory --owner=sealdrop --group=sealdrop-office --mode=2770 /srv/sealdrop/invoices/processed"
    )
    path = machine.path(CONFIG)
    text = path.read_text()
    for before, after in (
        ('base_url = "https://sign-sandbox.certeurope.fr"', f'base_url = "https://localhost:{PORT}"'),
        ('organisation = "Example SAS"', f'organisation = "{ORGANISATION}"'),
        ('archivers = ["example-archive"]', f'archivers = ["{DEFAULT_ARCHIVER}"]'),
        ('# ca_file = "ca.pem"  # example', 'ca_file = "certeurope-root.pem"'),
        ("# poll_first_s = 0.5", "poll_first_s = 0.3"),
        # After a death between the intent to have something signed and the call, that long is waited before the call.
        ("# read_timeout_s = 60.0", "read_timeout_s = 10.0"),
        ("# call_timeout_s = 120.0", "call_timeout_s = 10.0"),
        ("# sign_again_after_s = 180.0", "sign_again_after_s = 12.0"),
        ("\n[metrics]\n", f"\n{MORE}"),
        ('# processed = "/srv', 'processed = "/srv'),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    for place in ("/srv/sealdrop", "/var/lib/sealdrop"):
        text = text.replace(f'"{place}', f'"{machine.path(place)}')
    seen = tmp_path / "sealdrop.toml"
    seen.write_text(text)
    return load(seen)
