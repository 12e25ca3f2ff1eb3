"""The commands on a page of docs/, so that a test does what the page says."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page: its title, and the blocks of commands in it."""

    title: str
    blocks: tuple[str, ...]


def sections(page: str) -> list[Section]:
    """Return the sections of a page that have commands, in order."""
    _, *parts = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)
    found = [Section(part.partition("\n")[0], tuple(_BLOCK.findall(part))) for part in parts]
    return [section for section in found if section.blocks]
