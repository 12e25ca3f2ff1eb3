"""The audit trail: what happened to every document, hash-chained, in files that outlive the program.

`chain` makes records and holds their format, `trail` writes the files; `reading` reads and `check` judges them without
a line of code in common with the other two, so that a fault in those cannot hide itself.
"""

from sealdrop.audit.chain import link
from sealdrop.audit.check import Problem, ProblemKind, TrailReport, verify_trail
from sealdrop.audit.reading import TrailEntry, read_records
from sealdrop.audit.trail import Trail

__all__ = [
    "Problem",
    "ProblemKind",
    "Trail",
    "TrailEntry",
    "TrailReport",
    "link",
    "read_records",
    "verify_trail",
]
