"""Which folders are this process's alone."""

from pathlib import Path

import pytest

from sealdrop.config import Config
from sealdrop.daemon.locks import Locks


def _config(place: Path, *folders: str) -> Config:
    account = {"base_url": "https://a", "certificate": "c", "organisation": "D", "trust_anchors": ["r"]}
    outputs = {"outbound": place / "out", "rejected": place / "rejected", "failed": place / "failed"}
    return Config.model_validate(
        {
            "service": {"state_dir": place / "state"},
            "accounts": {"main": account},
            "folders": {name: {"account": "main", "inbound": place / name, **outputs} for name in folders},
        }
    )


def test_a_folder_that_cannot_be_opened_leaves_the_others_unlocked(tmp_path: Path) -> None:
    """What was locked before the failure is let go of: the next try may have it, and so may another service."""
    for name in ("state", "a", "b"):
        (tmp_path / name).mkdir()
    with Locks() as locks, Locks() as other:
        with pytest.raises(FileNotFoundError):
            locks.take(_config(tmp_path, "a", "b", "missing"))
        other.take(_config(tmp_path, "a", "b"))
