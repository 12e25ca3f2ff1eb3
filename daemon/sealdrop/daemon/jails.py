"""The jails in which documents are examined: one for each kind of examination and each kind of document.

- A document is first examined among the others, within limits that nearly all stay far below. One that goes beyond
  them is a suspect: it is examined once more, within the full limits, in a jail that takes suspects only. So the most
  that a hanging document holds up the others is the first limit.
- A suspect has a child of its own, which is gone with its answer. A child that answers and then hangs has its next call
  fail: among the others, the next document becomes a suspect for nothing; among suspects, it would be rejected so.
- What has been given a stranger's document never judges a seal: inspection and verification share no child.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sealdrop.pdf.jail import CALLS_PER_CHILD, Jail, JailLimits

# Of 7,367 real PDFs, 99 in 100 took less than 0.04 s, and the worst 18 s and 588 MB. What a document costs is its CPU
# time; that a busy machine gives its reader little of that is no fault of the document's, so there is more by the wall.
FIRST = JailLimits(wall_s=10.0, cpu_s=4)
LAST = JailLimits(wall_s=60.0, cpu_s=20, memory_bytes=1 << 30)


@dataclass(frozen=True, slots=True)
class TwoLimits:
    """The limits of a first and of a last examination."""

    first: JailLimits = FIRST
    last: JailLimits = LAST


class Jails:
    """All jails of the service, with ``workers`` children each for the others and one each for suspects.

    Their children can read ``readable`` and Python's code; those that verify can read ``anchors`` as well.
    """

    def __init__(self, workers: int, limits: TwoLimits, *, readable: Sequence[Path], anchors: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self._validating, self._validating_suspects, self._verifying, self._verifying_suspects = (
                opened.enter_context(Jail(number, each, readable=paths, calls_per_child=calls, name=name))
                for name, paths in (("inspect", [*readable]), ("verify", [*readable, *anchors]))
                for number, each, calls in ((workers, limits.first, CALLS_PER_CHILD), (1, limits.last, 1))
            )
            self._opened = opened.pop_all()

    def for_validating(self, *, suspects: bool) -> Jail:
        """Return the jail in which a document is inspected."""
        return self._validating_suspects if suspects else self._validating

    def for_verifying(self, *, suspects: bool) -> Jail:
        """Return the jail in which what came back is verified."""
        return self._verifying_suspects if suspects else self._verifying

    def close(self) -> None:
        """End everything that runs in them."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
