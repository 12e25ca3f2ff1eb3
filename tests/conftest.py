"""What all tests share."""

import os
from pathlib import Path

import pytest

import properties

properties.register()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only for who may give files away and become somebody else: CI is root, others are told what they skip."""
    path: Path = tmp_path_factory.mktemp("root")
    try:
        os.chown(path, 65534, 65534)
    except PermissionError:
        if os.environ.get("CI"):
            pytest.fail("CI must run as root: it is asked to act as several users")
        pytest.skip("needs root: it acts as several users")
