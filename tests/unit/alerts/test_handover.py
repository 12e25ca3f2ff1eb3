"""The configuration is read anew while alerts are sent: nothing is told twice, nothing forgotten, nobody held up."""

import threading
from dataclasses import dataclass, field

import pytest

from running import PATIENCE_S, until
from sealdrop.alerts import teller as telling
from sealdrop.alerts.message import Message
from sealdrop.errors import Fatal
from sealdrop.model import AlertKind

from .conftest import Office, Post


@dataclass
class Hanging(Post):
    """A mail server that takes a message and does not say so until it is ``free``."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)

    def send(self, message: Message) -> str | None:
        """Keep the message, in the end."""
        self.has_begun.set()
        self.free.wait(PATIENCE_S)
        return super().send(message)


@pytest.fixture
def hanging(office: Office, monkeypatch: pytest.MonkeyPatch) -> Hanging:
    """An office whose service says that it is broken to a mail server that hangs, and then reads its configuration."""
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    monkeypatch.setattr(telling, "GATHER_S", 0.0)
    post = Hanging()
    office.posts = [post]
    office.restart()
    office.teller.start()
    office.teller.broken(Fatal("the ledger is damaged"))
    assert post.has_begun.wait(PATIENCE_S)
    office.teller.stop(0.0)
    return post


def test_a_message_under_way_is_told_once_and_what_happens_meanwhile_later(office: Office, hanging: Hanging) -> None:
    """The follower does not send what may be sent already, keeps what fails meanwhile, and tells of it then."""
    first, office.posts = office.teller, [Post()]
    office.reload()
    office.fail(3)
    office.go(minutes=4)
    assert office.post.messages == []
    hanging.free.set()
    until(lambda: not first.at_work("email"))
    office.go(minutes=1)
    assert hanging.subjects == ["sealdrop has stopped by itself"]
    assert office.post.subjects == ["3 documents failed"]
    office.restart()
    office.go(minutes=30)
    assert len(office.post.messages) == 1


def test_who_hangs_for_good_is_waited_for_no_longer(office: Office, hanging: Hanging) -> None:
    """After five minutes what was under way is told once more: twice is better than never."""
    first, office.posts = office.teller, [Post()]
    office.reload()
    office.go(minutes=6)
    assert office.post.subjects == ["sealdrop has stopped by itself"]
    hanging.free.set()
    until(lambda: not first.at_work("email"))
    office.restart()
    office.go(minutes=30)
    assert len(office.post.messages) == 1


def test_what_lasts_goes_on_and_a_channel_that_is_gone_is_nobodys(office: Office, hanging: Hanging) -> None:
    """A trouble that was told is neither told again nor over after a reload; a new channel hears what was under way."""
    first, office.posts = office.teller, [Post("webhook")]
    office.reload()
    office.begins(AlertKind.DISK_LOW, "disk")
    office.go(minutes=5)
    assert office.post.subjects == ["sealdrop has stopped by itself", "The disk is nearly full (disk)"]
    hanging.free.set()
    until(lambda: not first.at_work("email"))
    office.reload()
    office.go(minutes=5)
    assert len(office.post.messages) == 2
    office.ends("disk")
    office.go(minutes=3)
    assert office.post.subjects[2:] == ["Over: the disk is nearly full (disk)"]
