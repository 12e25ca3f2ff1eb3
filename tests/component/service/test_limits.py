"""No more is under way than may be: intake waits, says so, and goes on by itself."""

from pathlib import Path

from command import sealdrop
from running import QUICK, drop, leftovers, quicken, running_daemon, unique, until
from sealdrop.model import State
from sealdrop.sandbox.server import Sandbox

ACCOUNT = "[accounts.sandbox]"


def _configured(directory: Path, table: str, limit: str) -> Path:
    """Return the configuration for a sandbox that does not run, with a limit in a table."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path, retry_first_s="0.1", retry_longest_s="1")
        config = sandbox.config_path
    config.write_text(config.read_text().replace(table, f"{table}\n{limit}"))
    return config


def test_a_folder_at_its_limit_waits_says_so_and_goes_on_by_itself(directory: Path, invoice: bytes) -> None:
    """While SignAPI is away, files wait in inbound; that is no trouble of its own. A restart keeps to the limit."""
    config = _configured(directory, "[folders.invoices]", "in_flight_documents = 2")
    with running_daemon(config) as running:  # and nobody listens
        inbound = running.folder().inbound
        for number in range(5):
            drop(unique(invoice, number), inbound, f"{number}.pdf")
        until(lambda: bool(running.log.events("taking_over_waits")))
        until(lambda: len(list(inbound.iterdir())) == 3)
        # Another folder is not held up by this one.
        drop(unique(invoice, 9), running.folder("contracts").inbound, "9.pdf")
        running.wait_for(lambda: len(running.documents) == 3)
        said = sealdrop("status", "--config", config).out
        assert "invoices: taking over waits: 2 documents are under way (limit 2), since 20" in said
        told = sealdrop("status", "--config", config, "--json").json()
        assert [each["text"] for each in told["pressure"]] == ["taking over waits: 2 documents are under way (limit 2)"]
        assert not [each for each in told["troubles"] if each["subject"].startswith("pressure")]
        assert "folder invoices waits since " in running.daemon._status()
    with running_daemon(config) as running:
        until(lambda: bool(running.log.events("taking_over_waits")))
        assert len(list(inbound.iterdir())) == 3
        with Sandbox.start(directory, delays=QUICK) as sandbox:
            running.wait_until_over(6)
            assert len(sandbox.seals()) == 6
        assert {each.state for each in running.over()} == {State.DELIVERED}
        until(lambda: bool(running.log.events("taking_over_goes_on")))
        assert "taking over waits" not in sealdrop("status", "--config", config).out
        assert leftovers(running.config) == []


def test_a_full_spool_keeps_files_in_inbound_until_there_is_room(directory: Path, invoice: bytes) -> None:
    """Over all folders: each has one document under way, and no more; also after a restart. All of it is sealed."""
    config = _configured(directory, "[service]", "spool_mib = 0.1")
    with running_daemon(config) as running:  # and nobody listens
        for number, name in enumerate(["invoices", "invoices", "contracts", "contracts"]):
            drop(unique(invoice, number), running.folder(name).inbound, f"{number}.pdf")
        until(lambda: len(running.log.events("taking_over_waits")) == 2)
        running.wait_for(lambda: len(running.documents) == 2)
        inbounds = [running.folder(name).inbound for name in ("invoices", "contracts")]
        until(lambda: [len(list(inbound.iterdir())) for inbound in inbounds] == [1, 1])
        told = sealdrop("status", "--config", config, "--json").json()
        assert len(told["pressure"]) == 2
        assert all("the spool would hold" in each["text"] for each in told["pressure"])
    with running_daemon(config) as running:
        until(lambda: len(running.log.events("taking_over_waits")) == 2)
        with Sandbox.start(directory, delays=QUICK) as sandbox:
            running.wait_until_over(4)
            assert len(sandbox.seals()) == 4
        until(lambda: len(running.log.events("taking_over_goes_on")) == 2)


def test_a_stop_waits_for_nobody_who_waits_for_his_turn_to_call(directory: Path, invoice: bytes) -> None:
    """With one call in ten seconds, the service ends in its grace time, and the next start goes on with what waited."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path)
        plain = sandbox.config_path.read_text()
        slow = plain.replace("[service]", "[service]\ngrace_s = 3").replace(ACCOUNT, ACCOUNT + "\ncalls_per_s = 0.1")
        sandbox.config_path.write_text(slow)
        with running_daemon(sandbox.config_path) as running:
            drop(unique(invoice, 1), running.folder().inbound, "1.pdf")
            running.wait_for(lambda: [each.state for each in running.documents.values()] == [State.SUBMITTED])
        (stopped,) = running.log.events("service_stopped")
        assert stopped["abandoned"] == []
        sandbox.config_path.write_text(plain)
        with running_daemon(sandbox.config_path) as running:
            running.wait_until_over(1)
            assert len(sandbox.seals()) == 1
        assert running.log.events("retry_scheduled") == []
