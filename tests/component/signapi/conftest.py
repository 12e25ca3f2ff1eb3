"""The certificates that the tests of the SignAPI client share."""

import pytest

from signapi_peer import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Give the certificates of both sides."""
    return Pki.make(tmp_path_factory.mktemp("pki"))
