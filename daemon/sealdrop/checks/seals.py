"""The visible seals of the folders: an image that can be used, and lines that have room on it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sealdrop.checks.files import files_of, judge_file
from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.looking import Facts
from sealdrop.config import Config
from sealdrop.visible.settle import visible_faults


def judge_seals(config: Config, facts: Mapping[Path, Facts | None], user: str) -> Iterator[Finding]:
    """Yield what is wrong with visible seals; where nothing is, nothing.

    A file that was found to be unusable is not opened: it may be a pipe, or hang.
    """
    unusable = set()
    for file in files_of(config):
        if file.is_image:
            for finding in judge_file(file, facts[file.path], user):
                unusable.add(file.subject)
                yield finding
    for folder, key, fault in visible_faults(config):
        if f"folder {folder}" not in unusable:
            yield Finding.of(Condition.VISIBLE_SEAL_UNUSABLE, f"folder {folder}", f"seal.visible.{key}", fault)
