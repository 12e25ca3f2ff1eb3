"""What the component tests share: keys that are made once, and poppler's opinion of a seal."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sealdrop.sandbox import samples
from sealdrop.sandbox.pki import Pki


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
