"""What the system tests share: keys that are made once, and a process that services are forked from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealdrop.sandbox.pki import Pki
from steps import Nursery


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``pki`` may be copied."""
    folder = tmp_path_factory.mktemp("keys")
    Pki.ensure(folder)
    return folder


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where services come from that die at durable steps."""
    with Nursery(tmp_path_factory.mktemp("notes")) as running:
        yield running
