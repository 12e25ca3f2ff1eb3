"""A whole report, before it is written as a page: figures, the verdict on the trail, and where they come from."""

from dataclasses import dataclass
from datetime import datetime

from sealdrop.audit.check import TrailReport
from sealdrop.report.figures import Figures
from sealdrop.report.words import Language, Speech

PROBLEMS_SHOWN = 20
ARCHIVE_IDS_SHOWN = 300  # a few pages; more are looked for in the annex


@dataclass(frozen=True, slots=True)
class Annex:
    """The file with one line for each document: its name, digest, and number of documents."""

    file: str
    sha256: str
    documents: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that both pages say. ``compared`` says whether the trail's end was compared with a head from elsewhere."""

    figures: Figures
    trail: TrailReport
    compared: bool
    annex: Annex
    made_at: datetime
    host: str
    version: str
    language: Language

    @property
    def speech(self) -> Speech:
        """How this report speaks."""
        return Speech(self.language, self.figures.period.zone)

    @property
    def period_words(self) -> str:
        """The period's name: a month, or its first and last day."""
        period = self.figures.period
        if period.is_month:
            return self.speech.month(period.first)
        if period.first == period.last:
            return f"{period.first}"
        return f"{period.first} – {period.last}"

    @property
    def folder_words(self) -> str:
        """Which folders it is about."""
        folders, texts = self.figures.folders, self.speech.texts
        if not folders:
            return texts.all_folders
        return f"{texts.folder if len(folders) == 1 else texts.folders} {', '.join(folders)}"

    @property
    def made_words(self) -> str:
        """When, where and by which program it was made."""
        speech = self.speech
        at = f"{speech.moment(self.made_at)} ({self.figures.period.zone_name})"
        return speech.texts.made.format(at=at, host=self.host, version=self.version)

    @property
    def head_words(self) -> str:
        """The trail's head as `sealdrop audit verify --expect` takes it."""
        last = self.trail.last
        return f"{last.seq}:{last.hash}" if last is not None else "–"

    @property
    def verdict_words(self) -> tuple[str, str]:
        """The verdict on the trail, and what it means."""
        speech, texts, trail = self.speech, self.speech.texts, self.trail
        records, files = speech.number(trail.records), speech.number(trail.files)
        if trail.ok:
            return texts.trail_whole, texts.trail_whole_text.format(records=records, files=files)
        problems = speech.number(trail.problem_count)
        return texts.trail_broken, texts.trail_broken_text.format(records=records, problems=problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the trail, as far as it is listed."""
        trail = self.trail
        lines = [
            f"{problem.file or ''}{f', {problem.line}' if problem.line else ''}: {problem.text}".removeprefix(": ")
            for problem in trail.problems[:PROBLEMS_SHOWN]
        ]
        more = trail.problem_count - len(lines)
        if more > 0:
            lines.append(self.speech.texts.trail_more.format(count=self.speech.number(more)))
        return tuple(lines)

    @property
    def method_lines(self) -> tuple[str, ...]:
        """How everything was counted."""
        last = self.trail.last
        seq = self.speech.number(last.seq) if last else "–"
        at = self.speech.moment(last.at) if last else "–"
        zone = self.figures.period.zone_name
        return tuple(line.format(zone=zone, seq=seq, at=at) for line in self.speech.texts.method_lines)

    @property
    def annex_words(self) -> str:
        """What the annex is."""
        annex = self.annex
        count = self.speech.number(annex.documents)
        return self.speech.texts.annex_text.format(file=annex.file, count=count, sha256=annex.sha256)

    @property
    def lists_archive_ids(self) -> bool:
        """Whether the archive identifiers are few enough to be printed."""
        return 0 < self.figures.archive_ids <= ARCHIVE_IDS_SHOWN

    @property
    def level_words(self) -> str:
        """How many seals were found to have which level."""
        return ", ".join(f"{level} {self.speech.number(count)}" for level, count in self.figures.levels.items())

    @property
    def repeat_rows(self) -> tuple[tuple[str, int], ...]:
        """Duplicates, retries and what was carried over, each with its number."""
        figures, texts, speech = self.figures, self.speech.texts, self.speech
        carried = tuple(
            (f"{texts.carried_over}: {speech.outcome(outcome)}", count)
            for outcome, count in figures.carried_over.items()
            if count
        )
        return (
            (texts.duplicates_rejected, figures.duplicates_rejected),
            (texts.duplicates_delivered, figures.duplicates_delivered),
            (texts.retried.format(times=speech.number(figures.retries)), figures.retried_documents),
            (texts.sent_again, figures.sent_again),
            *carried,
        )

    @property
    def service_words(self) -> str:
        """How often the service was started and stopped."""
        figures, speech = self.figures, self.speech
        return speech.texts.service_text.format(
            starts=speech.number(len(figures.starts)),
            stops=speech.number(figures.stops),
            unclean=speech.number(figures.unclean_stops),
        )
