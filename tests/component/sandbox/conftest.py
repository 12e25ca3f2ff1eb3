"""Sandboxes to call, with keys that are made once for the whole run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from sandbox_caller import AT_ONCE, Caller, StartSandbox, client_context
from sealdrop.sandbox import samples
from sealdrop.sandbox.app import Answers
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``pki`` may be copied."""
    folder = tmp_path_factory.mktemp("keys")
    Pki.ensure(folder)
    return folder


@pytest.fixture
def directory(tmp_path: Path, keys: Path) -> Path:
    """A sandbox's directory with its keys in place."""
    directory = tmp_path / "sandbox"
    shutil.copytree(keys / "pki", directory / "pki")
    return directory


@pytest.fixture
def start(directory: Path, tmp_path: Path) -> Iterator[StartSandbox]:
    """Starts sandboxes; all end with the test."""
    with ExitStack() as closing:

        def start(*, delays: Delays = AT_ONCE, answers: Answers | None = None, timeout_s: float = 20) -> Caller:
            sandbox = closing.enter_context(Sandbox.start(directory, delays=delays, answers=answers))
            context = client_context(sandbox.pki, tmp_path)
            http = httpx.Client(base_url=sandbox.url, verify=context, timeout=timeout_s)
            return Caller(sandbox, closing.enter_context(http))

        yield start


@pytest.fixture(scope="session")
def invoice() -> bytes:
    """A document to seal."""
    return samples.invoice()


@pytest.fixture(scope="session")
def poppler() -> Callable[[Sequence[str | Path]], str]:
    """Runs one of poppler's programs and returns what it printed."""
    if shutil.which("pdfsig") is None:
        if os.environ.get("CI"):
            pytest.fail("poppler-utils is missing, and CI must not do without")
        pytest.skip("poppler-utils (pdfsig) is not installed")

    def run(command: Sequence[str | Path]) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run
