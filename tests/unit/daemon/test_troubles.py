"""What is wrong with the surroundings is told once, kept while it lasts, and over at its end."""

from pathlib import Path

import pytest

from documents import FakeClock
from intakes import CONFIG
from running import KeptLog
from sealdrop.config import load
from sealdrop.daemon.troubles import Troubles
from sealdrop.errors import Retryable
from sealdrop.events import EventName
from sealdrop.ledger.store import Ledger


def test_a_trouble_is_told_once_and_kept_until_it_is_over(ledger: Ledger) -> None:
    """However often it is told, the log has it once, with its end; the ledger has it from its beginning to its end."""
    clock, log = FakeClock(), KeptLog()
    troubles = Troubles("host", ledger, clock, log)
    began = clock.now()
    for _ in range(3):
        troubles.tell("account main", "it is down", EventName.ACCOUNT_UNREACHABLE, account="main")
        clock.go(60)
    assert [(each.subject, each.since, each.text) for each in ledger.troubles()] == [
        ("account main", began, "it is down")
    ]
    assert troubles.present() == ledger.troubles()
    for _ in range(2):
        troubles.over("account main", EventName.ACCOUNT_REACHABLE, account="main")
    assert ledger.troubles() == troubles.present() == ()
    assert [line["event"] for line in log.lines] == ["account_unreachable", "account_reachable"]


def test_a_trouble_that_cannot_be_written_is_written_later(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk keeps a trouble out of the ledger, not out of the log, and only until something can be written."""

    def full(*_: object) -> None:
        raise Retryable("the disk is full")

    log = KeptLog()
    troubles = Troubles("host", ledger, FakeClock(), log)
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "troubled", full)
        troubles.tell("disk", "no room", EventName.FOLDER_UNREACHABLE)
    assert ledger.troubles() == ()
    assert len(log.lines) == 1
    troubles.over("account main", EventName.ACCOUNT_REACHABLE)
    assert [each.subject for each in ledger.troubles()] == ["disk"]


def test_a_new_run_forgets_the_troubles_of_the_last(ledger: Ledger) -> None:
    """What a killed run left is gone at the next start; another host's troubles stay."""
    for node in ("host", "other"):
        Troubles(node, ledger, FakeClock(), KeptLog()).tell("disk", "no room", EventName.FOLDER_UNREACHABLE)
    Troubles("host", ledger, FakeClock(), KeptLog()).clear()
    assert len(ledger.troubles()) == 1


def test_what_nobody_looks_at_any_more_is_forgotten(ledger: Ledger) -> None:
    """It is neither present nor in the ledger, and nothing says that it is well; what is not there is no matter."""
    log = KeptLog()
    troubles = Troubles("host", ledger, FakeClock(), log)
    for subject in ("metrics", "disk"):
        troubles.tell(subject, "no", EventName.METRICS_UNAVAILABLE)
    troubles.forget(["metrics", "alerts by email"])
    assert [each.subject for each in ledger.troubles()] == ["disk"] == [each.subject for each in troubles.present()]
    assert [line["event"] for line in log.lines] == ["metrics_unavailable"] * 2


def test_what_becomes_worse_is_told_anew(ledger: Ledger) -> None:
    """Another text is logged and kept, since the same moment; the same text is not told again."""
    clock, log = FakeClock(), KeptLog()
    troubles = Troubles("host", ledger, clock, log)
    began = clock.now()
    for text in ("30 days", "30 days", "14 days"):
        troubles.tell_anew("certificate", text, EventName.CERTIFICATE_EXPIRING, days=text)
        clock.go(60)
    assert [(each.since, each.text) for each in ledger.troubles()] == [(began, "14 days")]
    assert [line["days"] for line in log.lines] == ["30 days", "14 days"]
    (told,) = troubles.told()
    assert (told.event, told.fields) == (EventName.CERTIFICATE_EXPIRING, {"days": "14 days"})


def test_what_a_reload_took_away_is_no_trouble_any_more(ledger: Ledger, tmp_path: Path) -> None:
    """Of accounts and folders that are gone, and of visible seals where there are none, nobody would tell the end."""
    visible, plain = tmp_path / "visible.toml", tmp_path / "plain.toml"
    visible.write_text(CONFIG.format(service="", folder="seal = {visible = {width_mm = 40, height_mm = 20}}"))
    plain.write_text(CONFIG.format(service="", folder=""))
    troubles = Troubles("host", ledger, FakeClock(), KeptLog())
    subjects = ("account main create", "account gone create", "folder gone inbound", "visible seals of folder gone")
    for subject in (*subjects, "visible seals of folder invoices", "audit trail"):
        troubles.tell(subject, "it is bad", EventName.SEAL_MISPLACED)
    troubles.forget_others(load(visible))
    kept = {"account main create", "audit trail"}
    assert {each.subject for each in troubles.present()} == {*kept, "visible seals of folder invoices"}
    troubles.forget_others(load(plain))
    assert {each.subject for each in troubles.present()} == kept
