"""Hours and quotas: held on time, sent on time, counted exactly, whatever dies, hurries or sets the clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from account_stage import LEASE_S, FakeService, Stage
from documents import NOW
from sealdrop.errors import OutcomeUnknown, Retryable
from sealdrop.ledger.reading import Held
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, DocumentId, Earlier, Event, Hold, State

PARIS = ZoneInfo("Europe/Paris")  # 18:44 there when the stage begins
TONIGHT = datetime(2026, 11, 23, 22, tzinfo=PARIS).astimezone(UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=PARIS).astimezone(UTC)
DAY_S = 86_400.0
SENT = frozenset({State.SUBMITTED, State.SEALING, State.ARCHIVING, State.SEALED})


class Killed(BaseException):
    """The daemon's process is gone."""


@contextmanager
def staged(place: Path, *, service: FakeService | None = None, **folder: object) -> Iterator[Stage]:
    """A stage in Paris."""
    place.mkdir(exist_ok=True)
    stage = Stage(place, zone="Europe/Paris", service=service, **folder)
    try:
        yield stage
    finally:
        stage.ledger.close()


def sent(stage: Stage, number: int) -> list[int]:
    """Which of so many documents were sent."""
    return [each for each in range(number) if stage.get(each).state in SENT]


def held(stage: Stage) -> tuple[Held, ...]:
    """What `sealdrop status` says."""
    return stage.ledger.held(stage.clock.now())


def skip(stage: Stage, seconds: float) -> None:
    """Have what was sent be sealed, and let time pass at once: nobody asks for it meanwhile."""
    stage.archive()
    stage.run(60.0)
    stage.clock.go(seconds - 60.0)
    stage.run(1.0)


def told(stage: Stage) -> list[dict[str, object]]:
    """What the log was told of it."""
    return stage.log.events("hours_closed", "quota_reached")


class TestHours:
    """A folder with hours."""

    def test_what_comes_outside_waits_for_them_and_goes_then(self, tmp_path: Path) -> None:
        """Nothing is sent before ten in the evening; it is told once, held with its reason, and goes on in time."""
        with staged(tmp_path, hours=["22:00-06:00"]) as stage:
            for number in range(40):
                stage.add(number)
            stage.run(60.0)
            assert stage.service.calls == []
            assert held(stage) == (Held("invoices", Hold.WINDOW, 40, TONIGHT),)
            assert told(stage) == [
                {"level": "info", "event": "hours_closed", "folder": "invoices", "until": TONIGHT.isoformat()}
            ]
            assert {(stage.get(each).state, stage.get(each).attempts) for each in range(40)} == {(State.VALIDATED, 0)}
            stage.run((TONIGHT - stage.clock.now()).total_seconds() - 1)
            assert stage.service.calls == []
            stage.run(2.0)
            assert sent(stage, 40) == list(range(40))
            assert held(stage) == ()
            assert {stage.get(each).hold for each in range(40)} == {None}

    def test_each_waiting_document_costs_two_commits_and_no_record(self, tmp_path: Path) -> None:
        """Sixteen are claimed and held at a time; the audit trail does not hear of it, however long it lasts."""
        with staged(tmp_path, hours=["22:00-06:00"]) as stage:
            for number in range(100):
                stage.add(number)
            before = stage.ledger.audit_head()
            stage.run(3_600.0)
            assert stage.ledger.audit_head() == before

    def test_what_signapi_has_goes_on_after_them(self, tmp_path: Path) -> None:
        """Sent just before the end, it is signed and asked for after it."""
        with staged(tmp_path, hours=["18:00-18:45"]) as stage:
            stage.add()
            stage.service.before = lambda call: stage.clock.go(60.0) if call == "create" else None
            stage.run(5.0)
            assert stage.get().state is State.SEALING
            assert len(stage.service.accepted) == 1

    def test_a_start_and_a_clock_set_back_hold_anew(self, tmp_path: Path) -> None:
        """Everything is made due by both; what is outside its hours is held again and not sent, for any setting."""
        with staged(tmp_path, hours=["22:00-06:00"]) as stage:
            stage.add()
            stage.run(1.0)
            for set_by_s in (0.0, -7_200.0, 3_600.0):
                stage.clock.set_by_s = set_by_s
                stage.ledger.hasten(stage.clock.now())
                stage.run(1.0)
                assert stage.service.calls == []
                assert [each.until for each in held(stage)] == [TONIGHT]

    def test_what_turns_out_unknown_outside_them_waits_too(self, tmp_path: Path) -> None:
        """The intent is on record, nothing was created, and the hours have ended: it waits until they begin."""
        with staged(tmp_path, hours=["18:00-18:45"], daily_quota=1) as stage:
            stage.add()

            def lose(call: str) -> None:
                if call == "create":
                    stage.clock.go(120.0)
                    raise OutcomeUnknown("no answer")

            stage.service.before = lose
            stage.run(300.0)
            stage.service.before = lambda _: None
            tomorrow = datetime(2026, 11, 24, 18, tzinfo=PARIS).astimezone(UTC)
            assert (stage.get().state, stage.get().hold, stage.get().due_at) == (
                State.SUBMITTING,
                Hold.WINDOW,
                tomorrow,
            )
            skip(stage, (tomorrow - stage.clock.now()).total_seconds())
            assert stage.get().state is State.SEALING
            assert stage.ledger.sent_on("invoices", NOW.date()) == 1
            # It was counted on the day of its intent: tomorrow's quota is still whole.
            assert stage.ledger.sent_on("invoices", NOW.date() + timedelta(days=1)) == 0

    def test_a_copy_that_gets_an_earlier_seal_does_not_wait(self, tmp_path: Path) -> None:
        """Nothing is sent for it, so neither hours nor quota are for it."""
        with staged(tmp_path, hours=["22:00-06:00"], daily_quota=1) as stage:
            document = stage.add()
            earlier = Earlier(DocumentId("20261122-0000000000000000"), NOW)
            after = replace(document, duplicate_of=earlier, request_id="r-x")
            stage.ledger.record(Step(document, after, None))
            (claimed,) = stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=1, lease_s=LEASE_S).documents
            stage.worker.submit([claimed])
            assert stage.get().state is State.SEALING
            assert stage.ledger.sent_on("invoices", NOW.date()) == 0


class TestQuota:
    """A folder with a daily quota."""

    def test_no_more_than_it_are_sent_a_day(self, tmp_path: Path) -> None:
        """Of forty, ten go today, though sixteen are sent at a time, ten tomorrow; oldest first; told once a day."""
        with staged(tmp_path, daily_quota=10) as stage:
            for number in range(40):
                stage.add(number)
            stage.run(60.0)
            assert sent(stage, 40) == list(range(10))
            assert held(stage) == (Held("invoices", Hold.QUOTA, 30, MIDNIGHT),)
            (line,) = told(stage)
            assert (line["quota"], line["until"]) == (10, MIDNIGHT.isoformat())
            skip(stage, (MIDNIGHT - stage.clock.now()).total_seconds() - 2)
            assert len(sent(stage, 40)) == 10
            skip(stage, 60.0)
            assert sent(stage, 40) == list(range(20))
            skip(stage, DAY_S)
            skip(stage, DAY_S)
            assert len(sent(stage, 40)) == 40
            assert len(told(stage)) == 3
            assert len(stage.service.accepted) == 40

    def test_several_workers_do_not_overshoot(self, tmp_path: Path) -> None:
        """Eight workers with documents in hand at the same moment: ten intents go on record, and no more."""
        with staged(tmp_path, daily_quota=10) as stage:
            for number in range(64):
                stage.add(number)
            claims = [
                stage.ledger.claim(State.VALIDATED, now=stage.clock.now(), limit=8, lease_s=LEASE_S).documents
                for _ in range(8)
            ]
            begin = threading.Barrier(8)

            def work(documents: tuple[Document, ...]) -> None:
                begin.wait()
                stage.worker.submit(documents)

            threads = [threading.Thread(target=work, args=(documents,)) for documents in claims]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(sent(stage, 64)) == 10
            assert stage.ledger.sent_on("invoices", NOW.date()) == 10
            assert len(told(stage)) == 1

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_death_at_the_intent_counts_what_is_on_record(self, tmp_path: Path, when: str) -> None:
        """Killed before the commit nothing is counted, after it each is once; sent again it is not counted again."""

        class Dying(Ledger):
            dies = False

            def record(self, *steps: Step) -> tuple[object, ...]:  # type: ignore[override]
                if self.dies and any(step.ration for step in steps):
                    self.dies = False
                    if when == "after":
                        super().record(*steps)
                    raise Killed
                return super().record(*steps)

        stage = Stage(tmp_path, zone="Europe/Paris", ledger=Dying, daily_quota=3)
        for number in range(5):
            stage.add(number)
        stage.ledger.dies = True  # type: ignore[attr-defined]
        with pytest.raises(Killed):
            stage.run()
        assert stage.ledger.sent_on("invoices", NOW.date()) == (3 if when == "after" else 0)
        stage.ledger.release_leases("host")
        stage.run(60.0)
        assert len(sent(stage, 5)) == 3
        assert stage.ledger.sent_on("invoices", NOW.date()) == 3
        stage.ledger.close()

    def test_an_outage_over_midnight_does_not_count_twice(self, tmp_path: Path) -> None:
        """What has its intent on record today and is created tomorrow takes nothing of tomorrow's quota."""
        with staged(tmp_path, daily_quota=2) as stage:
            for number in range(6):
                stage.add(number)

            def fail(_: str) -> None:
                raise Retryable("away")

            stage.service.before = fail
            stage.run(60.0)
            stage.clock.go(DAY_S / 2)
            stage.service.before = lambda _: None
            stage.run(600.0)
            assert sent(stage, 6) == [0, 1, 2, 3]
            day = NOW.date()
            assert [stage.ledger.sent_on("invoices", day + timedelta(days=each)) for each in range(2)] == [2, 2]

    def test_what_is_sent_anew_at_a_persons_wish_counts_again_and_waits(self, tmp_path: Path) -> None:
        """A second try under an identifier of its own is another seal: over the quota it is asked for, and held."""
        with staged(tmp_path, daily_quota=1) as stage:
            document = stage.add()

            def fail(call: str) -> None:
                if call == "create":
                    raise Retryable("away")

            stage.service.before = fail
            stage.run(1.0)
            stage.service.before = lambda _: None
            submitting = stage.get()
            assert submitting.external_id == f"{document.id}-1"
            anew = replace(submitting, retries=1, due_at=stage.clock.now())
            (anew,) = stage.ledger.record(Step(submitting, anew, None))  # type: ignore[assignment]
            stage.run(10.0)
            waiting = stage.get()
            assert (waiting.state, waiting.hold, waiting.due_at) == (State.SUBMITTING, Hold.QUOTA, MIDNIGHT)
            assert waiting.external_id == f"{document.id}-1"
            assert stage.service.external == {}
            skip(stage, DAY_S)
            assert list(stage.service.external) == [f"{document.id}-2"]

    def test_one_folders_backlog_is_nobody_elses(self, tmp_path: Path) -> None:
        """A hundred that wait cost one look each, and what may be sent goes in the same round."""
        with staged(tmp_path, daily_quota=1) as stage:
            for number in range(100):
                stage.add(number)
            config = stage.worker._config
            free = config.folders["invoices"].model_copy(update={"daily_quota": None, "inbound": tmp_path / "other"})
            folders = {**config.folders, "other": free}
            stage.worker._config = config.model_copy(update={"folders": folders})
            stage.worker._gate._folders = folders
            other = replace(stage.get(99), id=DocumentId("20261123-ffffffffffffffff"), folder="other")
            stage.ledger.add(replace(other, due_at=stage.clock.now() + timedelta(seconds=1)), Event("x"))
            stage.run(5.0)
            found = stage.ledger.get(other.id)
            assert found is not None
            assert found.state is State.SEALING
            assert len(sent(stage, 99)) == 1

    def test_a_clock_that_is_set_back_a_day_opens_no_second_quota(self, tmp_path: Path) -> None:
        """The day that comes twice has one quota."""
        with staged(tmp_path, daily_quota=2) as stage:
            for number in range(6):
                stage.add(number)
            stage.run(1.0)
            skip(stage, DAY_S)
            assert len(sent(stage, 6)) == 4
            stage.clock.set_by_s = -DAY_S
            stage.ledger.hasten(stage.clock.now())
            stage.run(10.0)
            assert len(sent(stage, 6)) == 4
