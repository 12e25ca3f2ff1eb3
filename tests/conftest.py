"""What all tests share."""

import ctypes
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


@pytest.fixture(scope="session")
def landlock() -> None:
    """Only on a kernel that has Landlock: CI's must have it, others are told what they skip."""
    libc = ctypes.CDLL(None, use_errno=True)
    # landlock_create_ruleset(2), asked for its version.
    if libc.syscall(444, None, ctypes.c_size_t(0), 1) < 1:
        if os.environ.get("CI"):
            pytest.fail("CI must run on a kernel with Landlock: it is asked to confine children wholly")
        pytest.skip("needs Landlock: without it a child may read what it likes")
