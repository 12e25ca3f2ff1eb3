"""A small installation without a sandbox, to be spoilt in one way, and what `sealdrop check` says of it then."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from command import Ended, sealdrop
from documents import FakeClock, document
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.audit.trail import Trail
from sealdrop.checks.findings import Condition
from sealdrop.config import Config, load
from sealdrop.daemon import Daemon
from sealdrop.errors import SealdropError
from sealdrop.ledger.store import Ledger
from sealdrop.model import Event
from signapi_peer import Pki

SECRET = "Correct-Horse-Battery"
FOLDERS = ("inbound", "outbound", "rejected", "failed")


@dataclass(frozen=True, slots=True)
class Checked:
    """What `sealdrop check --json` said."""

    ended: Ended
    findings: Sequence[Mapping[str, Any]]

    def has(self, condition: Condition) -> Mapping[str, Any]:
        """Return the one finding of a condition."""
        found = [each for each in self.findings if each["condition"] == condition]
        assert len(found) == 1, self.ended.out
        assert found[0]["advice"]
        return found[0]

    def bad(self) -> set[str]:
        """Return the conditions that were found, less those that depend on the machine and on who runs the tests."""
        whoever = {Condition.RUNS_AS_ROOT, Condition.CLOCK_NOT_KEPT, Condition.CLOCK_UNKNOWN, Condition.OFFLINE}
        return {each["condition"] for each in self.findings if each["condition"]} - whoever


@dataclass
class Scene:
    """Folders, certificates and a configuration, all well until a test changes them."""

    root: Path
    pki: Pki
    port: int = 1
    values: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "state"

    @property
    def config_path(self) -> Path:
        """The configuration, written anew."""
        path = self.root / "sealdrop.toml"
        text = self._text()
        for old, new in self.renamed.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return path

    def config(self) -> Config:
        """Return the configuration."""
        return load(self.config_path)

    def folder(self, key: str) -> Path:
        """Return one of the folders."""
        return self.root / key

    def set(self, table: str, line: str) -> None:
        """Add a line to a table of the configuration."""
        self.more[table] = self.more.get(table, "") + line + "\n"

    def check(self, *arguments: str, offline: bool = True) -> Checked:
        """Run `sealdrop check --json`; nothing on disk may be changed by it, and no secret shown."""
        config = self.config_path
        before = snapshot(self.root)
        ended = sealdrop("check", "--json", "--config", config, *(["--offline"] if offline else []), *arguments)
        assert snapshot(self.root) == before
        assert SECRET not in ended.out + ended.err
        return Checked(ended, ended.json()["findings"])

    def refusal(self) -> str:
        """Return why the service does not start; fail if it does."""
        with pytest.raises(SealdropError) as caught:
            Daemon(self.config(), KeptLog())
        return str(caught.value)

    def starts(self) -> None:
        """Pass if the service can be started."""
        daemon = Daemon(self.config(), KeptLog())
        daemon.start()
        daemon.stop()

    def run_once(self, *, documents: int = 1) -> None:
        """Leave what a run leaves: a ledger with documents that wait, and their trail in the files."""
        clock = FakeClock()
        path = self.config().service.ledger_path
        ledger = Ledger.open(path, link=lambda *parts: link(*parts, node="host"), clock=clock)
        with ledger:
            for number in range(documents):
                new = document(id=f"20261123-{number:016x}", due_at=clock.now())
                ledger.add(new, Event("document_received"))
                ledger.note(Event("service_started", {"number": number}))
            trail = Trail.open(self.config().service.audit_folder)
            ledger.audit_written(trail.append(ledger.audit_pending(1000)))

    def _text(self) -> str:
        account = {
            "base_url": f'"https://localhost:{self.port}"',
            "certificate": f'"{self.pki.folder / "client.pem"}"',
            "ca_file": f'"{self.pki.folder / "ca.pem"}"',
            "organisation": '"Example"',
            "trust_anchors": f'["{self.pki.folder / "ca.pem"}"]',
        }
        tables = {
            "service": {"state_dir": '"state"', "min_free_mib": "1.0"},
            "accounts.main": account,
            "folders.invoices": {"account": '"main"', **{key: f'"{key}"' for key in FOLDERS}},
            "folders.invoices.seal": {"archivers": '["one"]'},
            "folders.invoices.validation": {"max_mib": "1.0"},
        }
        text = ""
        for table, keys in tables.items():
            lines = (f"{key} = {self.values.get(key, value)}\n" for key, value in keys.items())
            text += f"[{table}]\n{''.join(lines)}{self.more.get(table, '')}\n"
        return text


def make_scene(root: Path, pki: Pki) -> Scene:
    """Make the folders, and a copy of our certificates that may be spoilt, below ``root``."""
    copied = root / "pki"
    shutil.copytree(pki.folder, copied)
    (copied / "client.pem").chmod(0o600)
    scene = Scene(root, Pki(copied, pki.server_ca, pki.client_ca, pki.server, pki.client))
    for folder in (scene.state, *map(scene.folder, FOLDERS)):
        folder.mkdir(mode=0o700)
    return scene


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return names, times and content of everything below ``root``; what cannot be read is left out."""
    return {os.fspath(path): _state(path) for path in _all(root)}


def _all(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        yield from (Path(parent, name) for name in (*folders, *names))


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    known = (status.st_ino, status.st_mode, status.st_uid, status.st_mtime_ns, status.st_size)
    return (*known, path.read_bytes() if path.is_file() and status.st_size < 1 << 16 else None)
