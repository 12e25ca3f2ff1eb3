"""What every benchmark needs: PDFs, seals made beforehand, the stand-in and the service as processes, what they use."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sealdrop.config import Config, load
from sealdrop.sandbox.pki import ORGANISATION, Pki
from sealdrop.sandbox.sealing import Level, Sealer, SealOptions

SEALDROP = Path(sys.executable).with_name("sealdrop")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LARGEST_MIB = 600
PATIENCE_S = 900.0
_numbers = itertools.count(1)  # of the files that are dropped

_CONFIGURATION = """\
[service]
state_dir = "state"
create_folders = true
min_free_mib = 16
log_level = "warning"

[accounts.bench]
base_url = "https://localhost:{port}"
certificate = "pki/client.p12"
passphrase = {{ file = "pki/client.passphrase" }}
ca_file = "pki/root.pem"
organisation = "{organisation}"
trust_anchors = ["pki/root.pem"]
"""

_FOLDER = """
[folders.{name}]
account = "bench"
inbound = "{name}/inbound"
outbound = "{name}/outbound"
rejected = "{name}/rejected"
failed = "{name}/failed"
duplicates = "seal-again"

[folders.{name}.seal]
level = "{level}"

[folders.{name}.validation]
max_mib = {largest_mib}
"""


def pdf(size_bytes: int, number: int = 0) -> bytes:
    """Return a PDF of one page and about ``size_bytes``: a picture's worth of bytes that do not compress."""
    noise = random.Random(f"{size_bytes} {number}").randbytes(max(size_bytes - 900, 0))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            b"/Resources << /XObject << /I 5 0 R >> >> >>"
        ),
        b"<< /Length 7 >>\nstream\nq /I Do\nendstream",
        b"<< /Type /XObject /Subtype /Image /Width %d /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray "
        b"/Length %d >>\nstream\n%b\nendstream" % (len(noise), len(noise), noise),
    ]
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for index, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (index, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


@dataclass
class Stage:
    """A directory with certificates, seals and configuration, in which a stand-in answers."""

    directory: Path
    port: int
    stand_in: "subprocess.Popen[bytes]"
    names: Sequence[str] = ("one",)
    level: Level = Level.LTA
    _config: Config | None = field(default=None, repr=False)

    @property
    def config_path(self) -> Path:
        """The service's configuration."""
        return self.directory / "sealdrop.toml"

    @property
    def config(self) -> Config:
        """The same, as it was read."""
        self._config = self._config or load(self.config_path)
        return self._config

    def inbound(self, name: str = "one") -> Path:
        """Where files are dropped."""
        folder = self.config.folders[name].inbound
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def receipts(self, name: str = "one") -> int:
        """Return how many documents are delivered."""
        with suppress(FileNotFoundError), os.scandir(self.config.folders[name].outbound) as entries:
            return sum(1 for entry in entries if entry.name.endswith(".receipt.json") and entry.name[0] != ".")
        return 0

    def newest_receipt(self, name: str = "one") -> float:
        """Return when (wall clock) the newest receipt was published: a look afterwards costs the service nothing."""
        with os.scandir(self.config.folders[name].outbound) as entries:
            return max(entry.stat().st_ctime for entry in entries if entry.name.endswith(".receipt.json"))

    def made_ready(self, contents: Sequence[bytes], number: int, name: str = "one") -> list[tuple[Path, Path]]:
        """Write files beside an inbound folder, so that dropping one is a rename; return from where and to where."""
        aside, inbound = self.directory / "aside", self.inbound(name)
        aside.mkdir(exist_ok=True)
        moves = []
        for content in itertools.islice(itertools.cycle(contents), number):
            path = aside / f"{next(_numbers):07}.pdf"
            path.write_bytes(content)
            moves.append((path, inbound / path.name))
        return moves

    def settings(self) -> str:
        """Return the configuration's text."""
        text = _CONFIGURATION.format(port=self.port, organisation=ORGANISATION)
        for name in self.names:
            text += _FOLDER.format(name=name, level=self.level.value, largest_mib=LARGEST_MIB)
        return text


@contextmanager
def stage(
    directory: Path,
    contents: Sequence[bytes],
    *,
    level: Level = Level.LTA,
    names: Sequence[str] = ("one",),
    service_s: float = 0.0,
) -> Iterator[Stage]:
    """Seal ``contents`` now (a seal must not be much older than its drop), and have a stand-in answer with them."""
    sealed = directory / "sealed"
    sealed.mkdir(parents=True)
    pki = Pki.ensure(directory.parent)  # one for all stages: making it takes half a second
    (directory / "pki").symlink_to(directory.parent / "pki", target_is_directory=True)
    sealer = Sealer(pki)
    for content in contents:
        name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        (sealed / f"{name}.pdf").write_bytes(sealer.seal(content, SealOptions(level)))
    program = [sys.executable, str(Path(__file__).with_name("stand_in.py")), str(directory)]
    program += ["--service-s", str(service_s)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as stand_in:
        try:
            assert stand_in.stdout is not None
            made = Stage(directory, int(stand_in.stdout.readline()), stand_in, names, level)
            made.config_path.write_text(made.settings())
            yield made
        finally:
            stand_in.kill()


@contextmanager
def service(of: Stage) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``sealdrop run``; what it has to say goes to ``log`` in the stage's directory."""
    with (of.directory / "log").open("ab") as log:
        process = subprocess.Popen([SEALDROP, "run", "--config", of.config_path], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def drop(moves: Sequence[tuple[Path, Path]]) -> None:
    """Have files that were made ready appear in their inbound folders."""
    for path, target in moves:
        path.rename(target)


def moment(condition: Callable[[], bool], *, every_s: float = 0.005) -> float:
    """Return when (monotonic seconds) the condition came to hold."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to that: see the log in the benchmark's directory")
        time.sleep(every_s)
    return time.monotonic()


def is_ready(of: Stage, process: "subprocess.Popen[bytes]") -> bool:
    """Whether the service works: its folders are locked and its children warm."""
    if process.poll() is not None:
        raise RuntimeError(f"the service has ended: see {of.directory / 'log'}")
    return any(path.stat().st_size for path in (of.directory / "state" / "audit").glob("*.jsonl"))


def family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def cpu_s(process: int) -> tuple[float, float]:
    """Return the user and system CPU seconds of a process and its children, the ended ones included."""
    user = system = 0.0
    for each in family(process):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            user += (int(fields[11]) + int(fields[13])) * TICK_S
            system += (int(fields[12]) + int(fields[14])) * TICK_S
    return user, system
