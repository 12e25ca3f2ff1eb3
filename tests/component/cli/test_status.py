"""What `sealdrop status` says while SignAPI is away, and after it."""

from pathlib import Path

from command import sealdrop
from running import QUICK, drop, quicken, running_daemon, unique, until
from sealdrop.sandbox.server import Sandbox


def test_an_outage_is_said_plainly(directory: Path, invoice: bytes) -> None:
    """What does not work, since when, in which words, how many wait, that nothing is to be done; and then no more."""
    names = [f"{number}.pdf" for number in range(3)]
    patience = {"retry_first_s": "0.1", "retry_longest_s": "1"}
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path, **patience)
        config = sandbox.config_path
    with running_daemon(config) as running:  # and nobody listens
        for number, name in enumerate(names):
            drop(unique(invoice, number), running.folder().inbound, name)
        running.wait_for(lambda: len(running.documents) == 3)
        until(lambda: bool(running.log.events("account_unreachable")))
        ended = sealdrop("status", "--config", config)
        assert ended.code == 0, ended
        assert "Trouble with account sandbox: " in ended.out
        assert "does not work, since 20" in ended.out
        assert "SignAPI cannot be reached or does not work: " in ended.out
        assert "refused" in ended.out
        assert " for it. It is tried again by itself, at least every 1 s" in ended.out
        assert "Trace" not in ended.out + ended.err
        told = sealdrop("status", "--config", config, "--json").json()["troubles"]
        (trouble, *_) = told
        assert trouble["subject"] == f"account sandbox {trouble['operation']}"
        assert trouble["account"] == "sandbox"
        assert trouble["since"].startswith("20")
        assert trouble["tried_again_within_s"] == 1
        assert 1 <= max(each["documents_waiting"] for each in told) <= 3
        with Sandbox.start(directory, delays=QUICK):
            running.wait_until_over(3)
        ended = sealdrop("status", "--config", config)
        assert "Trouble" not in ended.out
        assert "Nothing waits." in ended.out
        assert sealdrop("status", "--config", config, "--json").json()["troubles"] == []
