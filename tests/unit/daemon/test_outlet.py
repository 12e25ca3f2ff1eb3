"""Folders that documents are written into: a trouble while they cannot be, few tries, and on by themselves."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents import FakeClock
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.daemon.outlet import FIRST_PAUSE_S, LONGEST_PAUSE_S, LOOK_S, Outlet, Unwritable
from sealdrop.daemon.troubles import Troubles
from sealdrop.ledger.store import Ledger
from sealdrop.model import DocumentId

SMALL, LARGE = DocumentId("20261123-00000000000000aa"), DocumentId("20261123-00000000000000bb")


class Place:
    """An outbound folder, and a clock."""

    def __init__(self, directory: Path, ledger: Ledger) -> None:
        self.path, self.state = directory / "out", directory / "state"
        self.path.mkdir()
        self.clock, self.log = FakeClock(), KeptLog()
        self.troubles = Troubles("host", ledger, self.clock, self.log)
        self.outlet = Outlet("invoices", "outbound", self.path, self.state, self.troubles, self.clock, {})

    def told(self) -> list[str]:
        """What is in trouble."""
        return [trouble.subject for trouble in self.troubles.present()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place on a real ledger."""
    clock = FakeClock()
    with Ledger.open(tmp_path / "ledger.sqlite", link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        yield Place(tmp_path, ledger)


def _full(filename: Path | None = None) -> Callable[[], str]:
    def write() -> str:
        raise OSError(errno.ENOSPC, "No space left on device", None if filename is None else str(filename))

    return write


def test_a_full_folder_is_tried_less_and_less_and_goes_on_when_it_can(place: Place) -> None:
    """Each failure makes the pause longer, up to seconds; in a pause nothing is tried; a success ends it all."""
    pauses = []
    for _ in range(8):
        with pytest.raises(Unwritable) as caught:
            place.outlet.write(SMALL, _full(place.path / "a.pdf"))
        assert caught.value.tried
        pauses.append(place.outlet.closed_s())
        with pytest.raises(Unwritable) as caught:
            place.outlet.write(LARGE, lambda: pytest.fail("it was tried in a pause"))
        assert not caught.value.tried
        place.clock.go(pauses[-1])
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert pauses[-1] == LONGEST_PAUSE_S
    assert place.told() == ["folder invoices outbound"]
    assert place.outlet.write(SMALL, lambda: "a.pdf") == "a.pdf"
    assert place.outlet.closed_s() == 0.0
    assert place.told() == []
    assert [line["event"] for line in place.log.lines] == ["folder_unwritable", "folder_writable"]


def test_a_small_one_that_fits_says_nothing_of_a_large_one(place: Place) -> None:
    """While a document does not fit, that is told, though others do; when it fits it is over."""
    with pytest.raises(Unwritable):
        place.outlet.write(LARGE, _full())
    place.clock.go(LONGEST_PAUSE_S)
    assert place.outlet.write(SMALL, lambda: "a.pdf") == "a.pdf"
    assert place.told() == ["folder invoices outbound"]
    assert place.outlet.write(LARGE, lambda: "b.pdf") == "b.pdf"
    assert place.told() == []


def test_several_that_find_a_folder_full_together_count_as_one_try(place: Place) -> None:
    """Each is told of, and the pause is as long as after one failure; what was written is given back as it is."""
    full = OSError(errno.ENOSPC, "No space left on device", str(place.path / "a.pdf"))
    wrong = ValueError("not the folder's")
    others = [DocumentId(f"20261123-{number:016x}") for number in range(3)]
    outcomes = place.outlet.write_together([SMALL, *others, LARGE], lambda: ["a.pdf", wrong, full, full, full])
    assert outcomes[:2] == ["a.pdf", wrong]
    assert [isinstance(each, Unwritable) and each.tried for each in outcomes[2:]] == [True] * 3
    assert place.outlet.closed_s() == 2 * FIRST_PAUSE_S
    assert place.told() == ["folder invoices outbound"]


def test_a_folder_that_is_gone_is_tried_with_one_document_of_several(place: Place) -> None:
    """The others are not tried, so that it is no failure of theirs."""
    place.path.rmdir()
    outcomes = place.outlet.write_together([SMALL, LARGE], lambda: pytest.fail("it was made anew"))
    assert [isinstance(each, Unwritable) and each.tried for each in outcomes] == [True, False]


def test_a_document_that_leaves_unwritten_leaves_no_trouble(place: Place) -> None:
    """One that could not be written and need not be any more says nothing of the folder from then on."""
    with pytest.raises(Unwritable):
        place.outlet.write(LARGE, _full())
    place.outlet.forget(LARGE)
    assert place.told() == ["folder invoices outbound"]
    place.clock.go(LOOK_S)
    place.outlet.closed_s()
    assert place.told() == []


def test_trouble_with_the_state_directory_is_not_the_folders(place: Place) -> None:
    """A copy in the spool that cannot be read is no reason to call the folder unwritable."""
    with pytest.raises(OSError, match="No space"):
        place.outlet.write(SMALL, _full(place.state / "spool" / "original.pdf"))
    assert place.told() == []
    assert place.outlet.closed_s() == 0.0


def test_a_folder_that_goes_is_noticed_though_nothing_is_written(place: Place) -> None:
    """It is looked at now and then, so that status says so before the first document has to wait."""
    assert place.outlet.closed_s() == 0.0
    place.path.rmdir()
    place.clock.go(LOOK_S / 2)
    place.outlet.closed_s()
    assert place.told() == []
    place.clock.go(LOOK_S / 2)
    place.outlet.closed_s()
    assert place.told() == ["folder invoices outbound"]
    with pytest.raises(Unwritable):
        place.outlet.write(SMALL, lambda: pytest.fail("it was made anew"))
    place.path.mkdir()
    place.clock.go(LONGEST_PAUSE_S)
    place.outlet.write(SMALL, lambda: "a.pdf")
    assert place.told() == []
