"""What a sealed PDF is called: a template with fields, checked when the configuration is read.

The same document always gets the same name, whenever it is asked for: after a crash its files are found again by it.
So only what is on record of the document goes into a name, never the present moment.

A template gives the name less its ending, which stays as it was dropped, and may put folders before it. The
sub-folder that a document was dropped in stays in front of it all.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import PurePosixPath
from string import Formatter
from types import MappingProxyType

from sealdrop.durable import split_ending
from sealdrop.model import Document

FOLDER_MAX_BYTES = 200  # what is longer is cut, for file systems take 255; a name is cut where it gets its short ID
FIXED_MAX_BYTES = 120  # of a part without what is taken from the document's name or reference
MAX_PARTS = 8
DEFAULT_DATE = "%Y-%m-%d"

_MOMENTS = ("date", "received")
_TEXTS = ("stem", "id", "short_id", "folder", "reference")
_SAMPLES: Mapping[str, str] = MappingProxyType(
    {"stem": "", "reference": "", "id": "20261123-0123456789abcdef", "short_id": "01234567", "folder": "f" * 20}
)
_SAMPLE_MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
# Directives of strftime(3) that say the same on every machine, whatever language it speaks, and hold no separator.
_DATE_SPEC = re.compile(r"(?:%[YymdjHMSVGu]|[A-Za-z0-9 ._-])+")
# What a file system, a network share or a terminal takes for something else.
_UNFIT = re.compile(r'[/\\:*?"<>|]')
_EDGES = " ."


@dataclass(frozen=True, slots=True)
class _Piece:
    literal: str
    field: str | None
    spec: str


@dataclass(frozen=True, slots=True)
class Template:
    """How sealed PDFs are named; `read_template` makes one that is known to be usable."""

    text: str = "{stem}"

    def name(self, document: Document, zone: tzinfo | None) -> str:
        """Return the path below outbound that the document should have, with ``/``: never leading out of it."""
        dropped = PurePosixPath(document.name)
        stem, ending = split_ending(dropped.name)
        values = {
            "stem": stem,
            "id": document.id,
            "short_id": document.short_id,
            "folder": document.folder,
            "reference": _fit(_reference(document) or "") or stem,
        }
        moments = {"date": _sealed_at(document), "received": document.received_at}
        *folders, last = (_rendered(part, values, moments, zone) for part in self.text.split("/"))
        cut = (folder.encode()[:FOLDER_MAX_BYTES].decode(errors="ignore") for folder in folders)
        return str(dropped.parent.joinpath(*cut, last + ending))


def _reference(document: Document) -> str | None:
    return document.wishes.reference if document.wishes is not None else None


def _sealed_at(document: Document) -> datetime:
    """Return when the seal was made, as its PDF says, or else when it was checked: both are on record by then."""
    verification = document.verification
    if verification is not None and verification.signed_at is not None:
        return verification.signed_at
    return document.updated_at


def _rendered(part: str, values: Mapping[str, str], moments: Mapping[str, datetime], zone: tzinfo | None) -> str:
    made = []
    for piece in _pieces(part):
        made.append(piece.literal)
        if piece.field is None:
            continue
        moment = moments.get(piece.field)
        if moment is None:
            made.append(values[piece.field])
        else:
            made.append(moment.astimezone(zone).strftime(piece.spec or DEFAULT_DATE))
    text = "".join(made)
    # A name that begins with a dot is hidden, and one of dots alone is another folder.
    return "_" + text[1:] if text.startswith(".") or not text else text


def _fit(text: str) -> str:
    """Return a sender's text as part of a file name, without what means something to a file system."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(_UNFIT.sub("-", shown).split()).strip(_EDGES)


def _pieces(part: str) -> Iterator[_Piece]:
    for literal, field, spec, conversion in Formatter().parse(part):
        if conversion:
            raise ValueError(f"!{conversion} is not for names")
        yield _Piece(literal, field, spec or "")


def read_template(written: object) -> Template:
    """Return the template that a text gives.

    Raises:
        ValueError: names made by it could not be used; each fault is on a line of its own.
    """
    if isinstance(written, Template):
        return written
    if not isinstance(written, str):
        raise ValueError("must be a text")
    problems = list(_problems(written))
    if problems:
        raise ValueError("\n".join(problems))
    return Template(written)


def _problems(text: str) -> Iterator[str]:
    if not text.isprintable() or "\\" in text:
        yield "must hold neither control characters nor \\"
    parts = text.split("/")
    if len(parts) > MAX_PARTS:
        yield f"has more than {MAX_PARTS} folders"
    for part in parts:
        try:
            pieces = list(_pieces(part))
        except ValueError as error:
            yield f"{part!r} cannot be read: {error}"
            continue
        yield from _part_problems(part, pieces)
    if parts[-1].lower().endswith(".pdf"):
        yield "must not end with .pdf: the ending stays as it was dropped"


def _part_problems(part: str, pieces: list[_Piece]) -> Iterator[str]:
    if not part:
        yield "is empty, or has an empty folder in it"
        return
    usable = True
    for piece in pieces:
        if piece.field is None:
            continue
        if piece.field not in (*_MOMENTS, *_TEXTS):
            usable = False
            known = ", ".join(f"{{{each}}}" for each in (*_TEXTS, *_MOMENTS))
            yield f"{{{piece.field}}} is no field (there are: {known})"
        elif piece.spec and piece.field not in _MOMENTS:
            usable = False
            yield f"{{{piece.field}}} takes no format"
        elif piece.spec and not _DATE_SPEC.fullmatch(piece.spec):
            usable = False
            yield f"{piece.spec!r} is no format of a date: use %Y %y %m %d %j %H %M %S %G %V %u, letters and . _ -"
    if any(each in piece.literal for piece in pieces for each in ':*?"<>|'):
        yield 'must hold none of : * ? " < > |, which not every file system takes'
    if part.startswith(_EDGES[1]) or part != part.strip():
        yield f"{part!r} must not begin with a dot, nor begin or end with a space"
    if not usable:
        return
    fixed = _rendered(part, _SAMPLES, dict.fromkeys(_MOMENTS, _SAMPLE_MOMENT), UTC)
    if len(fixed.encode()) > FIXED_MAX_BYTES:
        yield f"{part!r} leaves too little room for the rest of the name"
