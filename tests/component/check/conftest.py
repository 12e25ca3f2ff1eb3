"""What the tests of `sealdrop check` share."""

from pathlib import Path

import pytest

from checking import Scene, make_scene
from signapi_peer import Pki


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Give the certificates of both sides."""
    return Pki.make(tmp_path_factory.mktemp("peers"))


@pytest.fixture
def scene(tmp_path: Path, peers: Pki) -> Scene:
    """Give an installation in which all is well."""
    return make_scene(tmp_path, peers)
