"""What the tests of single parts share."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """What a test configures of the log ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
