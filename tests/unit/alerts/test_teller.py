"""What is told, to whom, and how often: hours of trouble in virtual time."""

import stat
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sealdrop.alerts.keeping import FILE_NAME
from sealdrop.config import Config
from sealdrop.errors import Fatal, Retryable, TrailBroken
from sealdrop.ledger.store import Step
from sealdrop.model import AlertKind, Event, Reason

if TYPE_CHECKING:
    from conftest import Office

OUTAGE, FOLDER = AlertKind.SIGNAPI_UNREACHABLE, AlertKind.FOLDER_UNAVAILABLE


def _with(office: "Office", **changes: object) -> None:
    """Change the configuration of alerts, and start again."""
    alerts = office.config.alerts.model_copy(update=changes)
    config: Config = office.config.model_copy(update={"alerts": alerts})
    office.config = config
    office.restart()


def test_an_outage_with_10000_documents_is_one_message_and_one_when_it_is_over(office: "Office") -> None:
    """Three operations of one account fail for three hours: told once after its minutes, and once at its end."""
    office.begins(OUTAGE, "account main", "SignAPI cannot be reached: connection refused", waiting=10_000)
    office.go(minutes=14.5)
    assert office.post.messages == []
    office.go(minutes=165, step_s=60)
    office.ends("account main")
    office.go(minutes=60)
    began, over = office.post.messages
    assert office.post.subjects == ["SignAPI out of reach (account main)", "Over: SignAPI out of reach (account main)"]
    assert "10,000 documents wait" in began.text
    assert "connection refused" in began.text
    assert "10,000 documents waited at most" in over.text
    assert "(2 hours 59 min)" in " ".join(over.text.split())


def test_a_short_outage_is_not_told(office: "Office") -> None:
    """What is over before its minutes have passed leaves nobody awake, and nothing behind."""
    for _ in range(5):
        office.begins(OUTAGE, "account main")
        office.go(minutes=14)
        office.ends("account main")
        office.go(minutes=10)
    assert office.post.messages == []
    assert office.teller._memory.matters == {}


def test_what_comes_and_goes_is_one_matter(office: "Office") -> None:
    """A share that flaps for two hours, away and back each minute: one message, and one once it stays."""
    for _ in range(60):
        office.begins(FOLDER, "folder invoices inbound")
        office.go(minutes=1)
        office.ends("folder invoices inbound")
        office.go(minutes=1)
    assert len(office.post.messages) == 1
    office.go(minutes=5)
    assert [subject[:5] for subject in office.post.subjects] == ["A fol", "Over:"]


def test_things_that_go_together_are_one_message(office: "Office") -> None:
    """Eight folders of a file server that went down one after the other: one message, one at the end."""
    for number in range(8):
        office.begins(FOLDER, f"folder {number} inbound")
        office.clock.go(0.1)
    office.go(minutes=10)
    office.wrong.clear()
    office.go(minutes=10)
    assert office.post.subjects == [
        "A folder cannot be used (0 inbound), and 7 more",
        "Over: a folder cannot be used (0 inbound), and 7 more over",
    ]


def test_a_message_is_bounded(office: "Office") -> None:
    """Five hundred folders at once: the first twenty in full, the others as a number."""
    for number in range(500):
        office.begins(FOLDER, f"folder {number} inbound")
    office.go(minutes=5)
    (message,) = office.post.messages
    assert message.subject.endswith("and 499 more")
    assert "And 480 more" in message.text
    assert len(message.text) < 20_000


def test_a_second_thing_of_a_kind_waits_for_the_interval_and_another_kind_does_not(office: "Office") -> None:
    """A folder that follows another is told when the interval has passed; a full disk is told at once."""
    office.begins(FOLDER, "folder a inbound")
    office.go(minutes=3)
    office.begins(FOLDER, "folder b inbound")
    office.go(minutes=10)
    assert len(office.post.messages) == 1
    office.go(minutes=8)
    assert len(office.post.messages) == 2
    office.begins(AlertKind.DOCUMENT_STUCK, "verification of 1")
    office.go(minutes=1)
    assert len(office.post.messages) == 3


def test_failed_documents_are_gathered(office: "Office") -> None:
    """The first is told at once; 2,000 within the next hours make one message an interval, counted, ten by name."""
    office.fail(1)
    office.go(minutes=1)
    assert office.post.subjects == ["1 document failed"]
    assert "invoices/1.pdf" in office.post.messages[0].text
    for _ in range(10):
        office.fail(200)
        office.go(minutes=4, step_s=20)
    office.go(minutes=60, step_s=20)
    assert 2 <= len(office.post.messages) - 1 <= 3
    told = [message.alerts[0]["count"] for message in office.post.messages]  # type: ignore[call-overload,index]
    assert sum(told) == 2_001
    text = office.post.messages[1].text
    assert text.count("key is locked") == 10
    assert "more" in text
    assert len(text) < 10_000


def test_nothing_that_failed_is_forgotten_or_told_twice_by_a_restart(office: "Office") -> None:
    """Documents fail while nothing runs, and right before a kill: each is told of once."""
    office.fail(3)
    office.restart()
    office.teller.look()  # took note of them, and is killed before anything is sent
    office.restart()
    office.go(minutes=1)
    office.restart()
    office.go(minutes=60)
    assert office.post.subjects == ["3 documents failed"]


def test_a_kill_between_sending_and_keeping_tells_once_more(office: "Office", monkeypatch: pytest.MonkeyPatch) -> None:
    """It went out, and that could not be kept: the next start tells it again, for it cannot know."""
    office.fail(1)
    office.teller.look()
    monkeypatch.setattr("sealdrop.alerts.keeping.Keeper.keep", lambda *_: None)
    office.go(minutes=1)
    monkeypatch.undo()
    office.restart()
    office.go(minutes=20)
    assert office.post.subjects == ["1 document failed"] * 2


def test_what_failed_before_alerts_were_wanted_is_history(office: "Office") -> None:
    """The first start with alerts tells of nothing that lies in the ledger already."""
    office.fail(2)
    (office.config.service.state_dir / FILE_NAME).unlink()
    office.restart()
    office.go(minutes=30)
    assert office.post.messages == []


def test_an_older_ledger_is_taken_as_it_is(office: "Office") -> None:
    """A ledger that was put back from a copy has lower numbers: nothing is told twice, and what fails then is told."""
    office.fail(1)
    office.go(minutes=1)
    office.teller._memory.seq = 1_000_000
    office.go(minutes=20)
    office.fail(1)
    office.go(minutes=20)
    assert office.post.subjects == ["1 document failed"] * 2


def test_a_mail_server_that_is_down_for_an_hour_gets_one_message(office: "Office") -> None:
    """A folder goes and comes back, documents fail, an outage begins: all of it in one message, tried with patience."""
    office.post.down = True
    office.begins(FOLDER, "folder invoices inbound")
    office.go(minutes=10)
    office.ends("folder invoices inbound")
    office.fail(3)
    office.go(minutes=20)
    office.fail(2)
    office.begins(OUTAGE, "account main", waiting=7)
    office.go(minutes=30)
    assert office.post.tries < 15
    assert [problem is None for _, problem in office.troubles] == [False] * office.post.tries
    office.post.down = False
    office.go(minutes=20)
    (message,) = office.post.messages
    assert "5 documents failed" in message.text.splitlines()
    assert "Over: a folder cannot be used (invoices inbound)" in message.text
    assert "SignAPI out of reach (account main)" in message.text
    assert office.troubles[-1] == ("email", None)


def test_one_channel_does_not_wait_for_the_other(office: "Office") -> None:
    """The webhook is told while the mail server is down, and not again when that is back."""
    office.posts.append(type(office.post)(name="webhook"))
    office.post.down = True
    office.restart()
    office.fail(1)
    office.begins(FOLDER, "folder invoices inbound")
    office.go(minutes=30)
    office.ends("folder invoices inbound")
    office.go(minutes=30)
    mail, webhook = office.posts
    assert (len(mail.messages), len(webhook.messages)) == (0, 3)
    mail.down = False
    office.go(minutes=20)
    assert (len(mail.messages), len(webhook.messages)) == (1, 3)


def test_another_channel_is_told_what_the_one_before_it_was_not(office: "Office") -> None:
    """The mail server that did not answer was replaced by a webhook, at a start or a reload: nothing is forgotten."""
    for follow in (office.restart, office.reload):
        office.posts = [type(office.post)("email", down=True)]
        follow()
        office.fail(1)
        office.go(minutes=5)
        office.posts = [type(office.post)("webhook")]
        follow()
        office.go(minutes=16)
        assert office.post.subjects == ["1 document failed"]


def test_what_lasts_is_told_again_each_day(office: "Office") -> None:
    """Three days of trouble: one message at its beginning and one each day, across restarts."""
    office.begins(AlertKind.DISK_LOW, "state_dir")
    for _ in range(7):
        office.go(minutes=600, step_s=240)
        office.restart()
    subjects = office.post.subjects
    assert [subject.partition(":")[0] for subject in subjects[1:]] == ["Still"] * (len(subjects) - 1)
    assert len(subjects) == 1 + 70 * 60 // (24 * 60)


def test_a_restart_does_not_end_what_lasts(office: "Office") -> None:
    """A trouble that the new run meets only after minutes is neither over nor new; one that it never meets is over."""
    office.begins(OUTAGE, "account main")
    office.begins(FOLDER, "folder invoices inbound")
    office.go(minutes=20)
    before = len(office.post.messages)
    known = dict(office.wrong)
    office.wrong.clear()
    office.restart()
    office.go(minutes=10)
    office.wrong["account main"] = known["account main"]
    office.go(minutes=60)
    assert office.post.subjects[before:] == ["Over: a folder cannot be used (invoices inbound)"]


def test_certificates_are_told_at_each_stage_and_daily_once_expired(office: "Office") -> None:
    """Thirty days and fourteen are one message each; the end is told, and then each day."""
    key = "client certificate of account main"
    for text in ("in less than 30 days", "in less than 14 days"):
        office.begins(AlertKind.CERTIFICATE_EXPIRING, key, text, repeats=False)
        office.go(minutes=3 * 1_440, step_s=600)
    assert len(office.post.messages) == 2
    assert "14 days" in office.post.messages[1].text
    office.begins(AlertKind.CERTIFICATE_EXPIRING, key, "it has expired", repeats=True)
    office.go(minutes=3 * 1_440 + 30, step_s=600)
    assert len(office.post.messages) == 5
    office.ends(key)
    office.go(minutes=30)
    assert office.post.subjects[-1] == f"Over: a certificate ends ({key})"


def test_kinds_can_be_switched_off(office: "Office") -> None:
    """What is switched off is not told, be it a matter or a happening, and not told later either."""
    _with(office, switched_off=(FOLDER, AlertKind.DOCUMENT_FAILED))
    office.begins(FOLDER, "folder invoices inbound")
    office.begins(AlertKind.DISK_LOW, "state_dir")
    office.fail(2)
    office.go(minutes=60)
    assert office.post.subjects == ["The disk is nearly full (state_dir)"]


def test_an_unclean_stop_is_told_and_a_crash_loop_is_counted(office: "Office") -> None:
    """The first is told at once; a service that dies each minute is one message an interval, with the number."""
    for _ in range(20):
        office.restart()
        office.teller.unclean_stop()
        office.go(minutes=1)
    first, second, *rest = office.post.subjects
    assert first == "sealdrop did not stop properly"
    assert second.startswith("sealdrop did not stop properly, 1")
    assert second.endswith(" times")
    assert rest == []


@pytest.mark.parametrize(
    ("error", "subject"),
    [
        (Fatal("the ledger is damaged"), "sealdrop has stopped by itself"),
        (TrailBroken("they do not belong together"), "The audit trail is in trouble"),
    ],
)
def test_a_service_that_stops_itself_says_so_before_it_ends(office: "Office", error: Fatal, subject: str) -> None:
    """Real threads: no gathering, no waiting; and a start that fails again and again says it once."""
    office.teller.start()
    office.teller.broken(error)
    office.teller.stop()
    assert office.post.subjects == [subject]
    assert str(error) in office.post.messages[0].text
    for _ in range(3):
        office.restart()
        office.teller.last_words(error)
    assert len(office.post.messages) == 1
    office.clock.go(16 * 60)
    office.restart()
    office.teller.last_words(error)
    assert len(office.post.messages) == 2


def test_another_errors_text_is_not_sent(office: "Office") -> None:
    """Only sealdrop's own errors are known to hold neither secrets nor content."""
    office.teller.broken(ValueError("s3cret"))
    office.go(minutes=1)
    assert "s3cret" not in office.post.messages[0].text


def test_without_a_channel_nothing_is_done(office: "Office") -> None:
    """Nobody to tell: no thread, no file."""
    path = office.config.service.state_dir / FILE_NAME
    path.unlink()
    office.posts.clear()
    office.restart()
    office.teller.start()
    office.teller.unclean_stop()
    office.teller.last_words(Fatal("x"))
    assert not path.exists()


def test_the_file_is_the_services_own_and_written_only_when_something_changed(office: "Office") -> None:
    """Mode 600; an hour in which nothing happens, or a trouble goes on, does not touch it."""
    path = office.config.service.state_dir / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    office.begins(AlertKind.DISK_LOW, "state_dir")
    office.go(minutes=5)
    before = path.stat().st_ino
    office.go(minutes=60)
    assert path.stat().st_ino == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2, "memory": {}}', b"\xff"])
def test_a_file_that_makes_no_sense_is_begun_anew(office: "Office", content: bytes) -> None:
    """Whatever stands there, alerts go on: at worst what lasts is told once more."""
    office.begins(AlertKind.DISK_LOW, "state_dir")
    office.go(minutes=5)
    (office.config.service.state_dir / FILE_NAME).write_bytes(content)
    office.restart()
    office.go(minutes=5)
    assert office.post.subjects == ["The disk is nearly full (state_dir)"] * 2


def test_a_full_disk_does_not_silence_the_alerts(office: "Office", monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is told all the same, and kept once it can be."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("sealdrop.alerts.keeping.flush", full)
        office.begins(AlertKind.DISK_LOW, "state_dir")
        office.go(minutes=5)
        assert len(office.post.messages) == 1
    office.go(minutes=1)
    office.restart()
    office.go(minutes=60)
    assert len(office.post.messages) == 1


def test_a_ledger_that_cannot_be_read_does_not_hide_what_is_wrong(
    office: "Office", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Troubles are known without the ledger; what failed is read when it can be."""

    def busy(*_: object, **__: object) -> None:
        raise Retryable("busy")

    look: Callable[[], None] = office.teller.look

    def bravely() -> None:
        try:
            look()
        except Retryable:
            return

    with monkeypatch.context() as broken:
        broken.setattr(office.ledger, "audit_head", busy)
        broken.setattr(office.teller, "look", bravely)
        office.begins(AlertKind.DISK_LOW, "state_dir")
        office.go(minutes=5)
    assert len(office.post.messages) == 1
    office.fail(1, reason=Reason.SEAL_REFUSED)
    office.go(minutes=1)
    assert office.post.subjects[1:] == ["1 document failed"]


def test_names_reach_no_further_than_their_line(office: "Office") -> None:
    """A file's name with line breaks, markup and control characters fakes neither a header nor another line."""
    name = "a\nBcc: x@y\r\n\r\n<!channel> \u202e \x1b[31m.pdf"
    office.fail(1, name=name)
    office.go(minutes=1)
    (message,) = office.post.messages
    assert all(line.isprintable() for line in message.text.splitlines())
    assert not any(line.startswith("Bcc") for line in message.text.splitlines())
    assert message.subject.isprintable()


def test_the_clock_set_back_does_not_silence_a_kind(office: "Office") -> None:
    """A message that was sent in what is now the future holds nothing back."""
    office.fail(1)
    office.go(minutes=1)
    office.clock.set_by_s = -86_400
    office.fail(1)
    office.go(minutes=1)
    assert len(office.post.messages) == 2


def test_a_clock_that_was_ahead_holds_back_nothing_that_lasts(office: "Office") -> None:
    """What began and was told a year from now begins, is told again and ends like anything else once that is mended."""
    office.clock.set_by_s = 365 * 86_400.0
    office.begins(AlertKind.ORIGINALS_STAY, "folder invoices originals")
    office.go(minutes=5)
    office.begins(AlertKind.DISK_LOW, "disk")
    office.go(minutes=1)
    office.clock.set_by_s = 0.0
    office.go(minutes=5)
    assert office.post.subjects == [
        "Originals cannot be removed from inbound (invoices originals)",
        "The disk is nearly full (disk)",
    ]
    office.go(minutes=24 * 60, step_s=300)
    assert len(office.post.messages) == 3
    assert office.post.subjects[2].startswith("Still: ")
    office.ends("disk")
    office.ends("folder invoices originals")
    office.go(minutes=5)
    assert office.post.subjects[3].startswith("Over: ")


def test_what_failed_long_ago_is_not_told_again_when_its_files_go(office: "Office") -> None:
    """The record of that is a newer one of the document, and no news of its failure."""
    office.fail(1)
    office.go(minutes=1)
    (failed,) = office.ledger.failed_after(0, limit=9)
    office.ledger.record(Step(failed, replace(failed, expired_at=office.now()), Event("original_expired")))
    office.go(minutes=60)
    assert len(office.post.messages) == 1


def test_what_a_server_remarks_is_shown(office: "Office") -> None:
    """A recipient that is refused beside others does not have the mail sent again and again."""
    office.post.remark = "the mail server refuses b@example.com"
    office.fail(1)
    office.go(minutes=30)
    assert len(office.post.messages) == 1
    assert office.troubles == [("email", office.post.remark)]
