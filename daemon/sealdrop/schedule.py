"""What happens by the clock: sweeps of the folders, housekeeping. The only home of APScheduler."""

from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from sealdrop.threads import show_name


class Schedule:
    """Calls functions at intervals, each at most once at a time; a run that is late is made up for once, not often."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": _threads(2), "alone": _threads(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    def every(self, seconds: float, call: Callable[[], None], *, name: str, alone: bool = False) -> None:
        """Have ``call`` called every ``seconds``, the first time at once. It must be quick: there are two threads.

        ``alone`` is for one that none of the others may hold up: it has a third.
        """
        self._scheduler.add_job(
            call,
            "interval",
            seconds=seconds,
            id=name,
            name=name,
            next_run_time=datetime.now(UTC),
            executor="alone" if alone else "default",
        )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def make_up(self) -> None:
        """Call everything now, and then at its intervals: they are counted by a clock that was set back."""
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Call nothing any more; a call under way goes on by itself."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, {"initializer": show_name, "initargs": ("schedule",)})
