"""Sandboxes to call, with keys that are made once for the whole run."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from sandbox_caller import AT_ONCE, Caller, StartSandbox, client_context
from sealdrop.sandbox.app import Answers
from sealdrop.sandbox.server import Sandbox
from sealdrop.sandbox.service import Delays


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
