"""What becomes of a document's visible seal on its way to the service: the place, the date, a change of settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from account_stage import FakeService, Stage
from documents import NOW
from sealdrop.config import SealLine, VisibleSeal
from sealdrop.daemon.line import Operation
from sealdrop.errors import OutcomeUnknown
from sealdrop.ledger.store import Step
from sealdrop.model import (
    Document,
    Event,
    ExternalId,
    Inspection,
    PageArea,
    Reason,
    SealPlace,
    Stamp,
    StampLine,
    State,
    Verdict,
)
from sealdrop.signapi.wire import NewRequest, RequestStatus
from sealdrop.visible.picture import blank

A4 = PageArea(1, 0, 0, 595, 842)
MOMENT = "{date:%Y-%m-%d} {time:%H:%M}"
WHITE = VisibleSeal(width_mm=50.8, height_mm=25.4, x_mm=0, y_mm=0, lines=(SealLine(text=MOMENT),))
OLD = Stamp(SealPlace(1, 1, 2, 31, 22), 1, 2, None, 30, 20, lines=(StampLine("old", 0, "Helvetica", 5, 1, 2),))


@dataclass
class Attentive(FakeService):
    """A service that remembers the visible seals it was asked for."""

    stamps: list[Stamp | None] = field(default_factory=list)

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create requests."""
        self.stamps += [new.stamp for new in documents]
        return super().create(documents)


class SeenStage(Stage):
    """An account whose folder has a visible seal, or none."""

    def __init__(self, tmp_path: Path, visible: VisibleSeal | None) -> None:
        self.attentive = Attentive()
        super().__init__(tmp_path, service=self.attentive)
        config = self.worker._config
        folder = config.folders["invoices"]
        seal = folder.seal.model_copy(update={"visible": visible})
        folders = {"invoices": folder.model_copy(update={"seal": seal})}
        self.worker._config = config.model_copy(update={"folders": folders})

    def add_seen(self, area: PageArea | None = A4, stamp: Stamp | None = OLD) -> Document:
        """Put a document on record that was validated with these."""
        document = self.add()
        inspection = Inspection(Verdict.ACCEPT, pages=1, seal_page=area)
        (stored,) = self.ledger.record(Step(document, replace(document, inspection=inspection, stamp=stamp), None))
        assert isinstance(stored, Document)
        return stored


def _sent(stage: SeenStage) -> Stamp:
    (stamp,) = stage.attentive.stamps
    assert stamp is not None
    return stamp


def test_what_is_sent_is_on_record_and_says_when(tmp_path: Path) -> None:
    """The seal is settled with the intent to send, and its date is the intent's; the ledger keeps its place."""
    stage = SeenStage(tmp_path, WHITE)
    stage.add_seen()
    stage.run()
    sent = _sent(stage)
    assert sent.place == SealPlace(1, 595 - 144, 0, 595, 72)
    assert [line.text for line in sent.lines] == [f"{NOW.astimezone():%Y-%m-%d %H:%M}"]
    kept = stage.get().stamp
    assert kept is not None
    assert kept == replace(sent, lines=kept.lines)


def test_the_date_is_that_of_the_services_time_zone(tmp_path: Path) -> None:
    """Two hours before midnight in UTC it is tomorrow in Auckland, whatever zone the computer is in."""
    stage = SeenStage(tmp_path, WHITE)
    config = stage.worker._config
    service = config.service.model_copy(update={"time_zone": "Pacific/Auckland"})
    stage.worker._config = config.model_copy(update={"service": service})
    stage.add_seen()
    stage.run()
    assert [line.text for line in _sent(stage).lines] == [
        f"{NOW.astimezone(ZoneInfo('Pacific/Auckland')):%Y-%m-%d %H:%M}"
    ]


def test_the_date_stays_however_often_it_is_sent(tmp_path: Path) -> None:
    """A call that was lost is made again a day later: the date is that of the first intent, for it names that."""
    stage = SeenStage(tmp_path, WHITE)
    stage.add_seen()

    def lose(call: str) -> None:
        if call == "create":
            raise OutcomeUnknown("no answer")

    stage.service.after = lose
    stage.service.begins_at_once = False
    stage.run()
    stage.service.external.clear()  # it was not applied, after all
    stage.service.after = lambda _: None
    stage.clock.go(86_400)
    stage.run()
    assert len(stage.attentive.stamps) == 2
    first, second = stage.attentive.stamps
    assert first == second
    assert second is not None
    assert second.lines[0].text == f"{NOW.astimezone():%Y-%m-%d %H:%M}"


def test_the_settings_of_the_moment_count(tmp_path: Path) -> None:
    """A folder whose seal was changed, or taken away, while a document waited has it sealed as it is now."""
    stage = SeenStage(tmp_path, None)
    stage.add_seen()
    stage.run()
    assert stage.attentive.stamps == [None]
    assert stage.get().stamp is None


@pytest.mark.parametrize("area", [None, replace(A4, width=40.0)])
def test_a_page_that_was_not_measured_for_them_keeps_its_seal(tmp_path: Path, area: PageArea | None) -> None:
    """Where the new settings cannot be settled, what was found fit for the document is asked for."""
    stage = SeenStage(tmp_path, WHITE)
    stage.add_seen(area)
    stage.run()
    assert _sent(stage) == OLD


def test_an_image_that_is_gone_is_its_folders_trouble(tmp_path: Path) -> None:
    """Its document waits, and the folder is told of; others of the batch are sent, and the service is not blamed."""
    stage = SeenStage(tmp_path, VisibleSeal(image=tmp_path / "gone.png"))
    lacks = stage.add_seen(stamp=replace(OLD, image=str(tmp_path / "gone.png")))
    other = stage.add(1)
    stage.run(400)
    assert stage.service.external.keys() == {f"{other.id}-1"}
    assert stage.line.out_of_reach() == dict.fromkeys(Operation, False)
    assert "gone.png" in (stage.get().last_error or "")
    assert [trouble.subject for trouble in stage.ledger.troubles()] == ["folder invoices image"]
    assert len(stage.log.events("seal_image_unusable")) == 1

    (tmp_path / "gone.png").write_bytes(blank(30, 20).content)
    stage.run(400)
    assert stage.service.external.keys() == {f"{other.id}-1", f"{lacks.id}-1"}
    assert stage.ledger.troubles() == ()


def test_an_image_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    """What was settled for the document stays; its own image is asked for when it is sent."""
    stage = SeenStage(tmp_path, VisibleSeal(image=tmp_path / "gone.png"))
    stage.add_seen()
    stage.run()
    assert _sent(stage) == OLD


@pytest.mark.parametrize("visible", [WHITE, None])
def test_what_an_older_sealdrop_was_about_to_send_gets_no_other_seal_than_its_folder_wants(
    tmp_path: Path, visible: VisibleSeal | None
) -> None:
    """Unknown to the service, never measured: it fails before anything is sent, unless an invisible seal will do."""
    stage = SeenStage(tmp_path, visible)
    document = stage.add_seen(area=None, stamp=None)
    external_id = ExternalId(f"{document.id}-1")
    after = replace(document, state=State.SUBMITTING, external_id=external_id, stamp_known=False)
    stage.ledger.record(Step(document, after, Event("submission_intended")))
    stage.run()
    left = stage.get()
    if visible is None:
        assert stage.attentive.stamps == [None]
        assert left.stamp_known
    else:
        assert stage.attentive.stamps == []
        assert (left.state, left.reason) == (State.FAILED, Reason.SEAL_FAILED)
