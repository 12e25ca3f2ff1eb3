"""What must be so before the service works by a configuration."""

import os
import threading
from pathlib import Path

import pytest

from intakes import CONFIG
from sealdrop.checks import surroundings
from sealdrop.daemon.startup import check_folders
from sealdrop.errors import ConfigurationError


def test_a_share_that_hangs_at_the_start_is_looked_at_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file can be read while a folder hangs; that one is inside another by a link is found when it answers."""
    path, goes_on, real = tmp_path / "sealdrop.toml", threading.Event(), os.path.realpath
    path.write_text(CONFIG.format(folder="", service=""))
    for place in ("state", "in/below", "rejected", "failed"):
        (tmp_path / place).mkdir(parents=True, mode=0o700)
    (tmp_path / "out").symlink_to("in/below")

    def hangs(path: str) -> str:
        goes_on.wait()
        return real(path)

    monkeypatch.setattr(surroundings, "LOAD_S", 0.05)
    with monkeypatch.context() as hanging:
        hanging.setattr(os.path, "realpath", hangs)
        config = surroundings.load_in_time(path)
    goes_on.set()
    with pytest.raises(ConfigurationError, match=r"is inside folders\.invoices\.inbound"):
        check_folders(config)
