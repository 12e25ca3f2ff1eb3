"""A state directory that another version of sealdrop has worked with, at the command line."""

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from command import sealdrop
from programs import program
from running import QUICK, drop, quicken, running_daemon
from sealdrop.config import Config, load
from sealdrop.ledger.schema import SCHEMA_VERSION
from sealdrop.sandbox import samples
from sealdrop.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Config:
    """The configuration of a service that has sealed a document; each test says which version its ledger has."""
    directory = tmp_path_factory.mktemp("left") / "sandbox"
    shutil.copytree(keys / "pki", directory / "pki")
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        with running_daemon(sandbox.config_path) as running:
            drop(samples.invoice(), running.folder().inbound, "invoice.pdf")
            running.wait_until_over(1)
    return load(directory / "sealdrop.toml")


def _change(config: Config, *statements: str) -> None:
    with closing(sqlite3.connect(config.service.state_dir / "ledger.sqlite")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def _content(config: Config) -> dict[str, bytes]:
    """Everything in the state directory."""
    found = (Path(parent, name) for parent, _, names in os.walk(config.service.state_dir) for name in names)
    return {str(path): path.read_bytes() for path in found}


@pytest.mark.parametrize("command", ["run", "status", "audit verify", "retry invoice.pdf"])
def test_an_older_program_refuses_a_newer_ledger(config: Config, command: str) -> None:
    """Exit code 70, words that say which version to run, and nothing in the state directory is changed."""
    _change(config, f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}")  # noqa: S608 - a number
    before = _content(config)
    ended = sealdrop(*command.split(), "--config", config.source)
    assert ended.code == 70, ended
    assert f"the ledger has version {SCHEMA_VERSION + 1}, this sealdrop knows up to {SCHEMA_VERSION}" in ended.err
    assert "run the newer sealdrop that wrote it" in ended.err
    assert _content(config) == before


def test_a_newer_program_brings_an_older_ledger_forward(config: Config) -> None:
    """The service starts with the ledger of the first version, and knows the documents in it."""
    indexes = ("kept", "hold", "sealed_content", "failed", "due_folder", "due_suspect")
    columns = ("retries", "suspect", "duplicate_of", "wishes", "hold", "kept_until", "kept_name", "expired_at")
    _change(
        config,
        *(f"DROP INDEX document_{index}" for index in indexes),
        *(f"ALTER TABLE document DROP COLUMN {column}" for column in columns),
        *(f"ALTER TABLE document DROP COLUMN {column}" for column in ("companions", "stamp", "stamp_known")),
        "ALTER TABLE audit_chain DROP COLUMN day_first_seq",
        *(f"DROP TABLE {table}" for table in ("sent", "address", "inbound")),
        "DROP TABLE trouble",
        "UPDATE schema_version SET version = 1",
    )
    with program("run", "--config", config.source) as service:
        service.wait_for("service_started")
        assert service.end(signal.SIGTERM) == 0
    told = sealdrop("status", "invoice.pdf", "--config", config.source)
    assert (told.code, told.err) == (0, "")
    assert "delivered" in told.out
