"""What is sent to SignAPI and what it answers, as typed values: pure, no network and no files (signapi.md).

Rules:
- Answers are parsed strictly, field by field; the first fault is a `MalformedAnswer` that names its place. Fields
  that we do not know are kept as evidence and otherwise ignored.
- Messages of faults hold names, positions, types and IDs; never the value of a field that may hold content.
- What is kept as evidence holds no content, under whatever name it comes, and is bounded.
- Identifiers are strings or whole numbers there, always strings here, and short enough to be written anywhere.

What cannot be told from a message: the service's own words may quote a few words of a document in plain text.
(Long, because what is kept of an answer and what is cut out of it belong together.)
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from pathlib import Path

from pydantic import JsonValue

from sealdrop.config import Seal
from sealdrop.errors import MalformedAnswer
from sealdrop.model import ArchiveId, ExternalId, RemoteStatus, RequestId, Stamp
from sealdrop.signapi.strict_json import kind

TEXT_CHARACTERS = 500  # as much of the service's own words as goes into an error or a reason
IDENTIFIER_CHARACTERS = 256  # of an identifier or an archiver's name: they go into addresses, records and logs
ARCHIVES = 100  # deposits of one document
EVIDENCE_CHARACTERS = 64 << 10  # of an answer less its content, as JSON
_MOST_ENTRIES = EVIDENCE_CHARACTERS // 3  # of a list or an object; more have no room, whatever they are
_CONTENT_FIELDS = frozenset({"signedContent", "toSignContent"})
_CUT = "[...]"
# Base64 or hexadecimal in the service's words would be somebody's content: one run that is longer than a SHA-256, or
# lines of the same length. A slash or a line break may be escaped, as where one JSON text quotes another. Where what
# is lost (an identifier, a path) and what is let through (a document) collide, we rather lose.
_DIGIT = r"(?:[A-Za-z0-9+/]|\\/)"
_URL_DIGIT = r"(?:[A-Za-z0-9+/_-]|\\/)"
_BREAK = r"(?:\s|\\[nrt])++"
_CONTENT_RUN = re.compile(
    rf"(?:{_URL_DIGIT}{{65,}}+|(?P<line>{_DIGIT}{{16,64}}+){_BREAK}{_DIGIT}{{16,}}+)={{0,2}}"
    rf"(?:{_BREAK}{_DIGIT}{{16,}}+={{0,2}})*+(?:{_BREAK}{_DIGIT}{{1,15}}+={{1,2}})?"
)
_SHORTEST_RUN = 33  # two lines of 16, and a break
_PDF = re.compile(r"(?:%(?:25)?|\\+u0025|\\+x25)PDF-.*", re.DOTALL)
_LONGER_DIGEST = re.compile(r"(?:[0-9a-fA-F]{96}|[0-9a-fA-F]{128})")  # SHA-384 and SHA-512
_WORD_OF_PATH = re.compile(r"(?=.{1,24}$)(?:\d{0,4}(?:[a-z_-]+|[A-Z]?[a-z_-]*|[A-Z_-]*)\d{0,4})")
_LONGEST_PATH = 128
_EVEN_LINES = 3  # two may be identifiers that meet
_TWO_LINES = 128  # of two lines no more than two SHA-256
# Pieces between separators of any kind: pairs of hexadecimal digits, base64 between commas, bytes as numbers.
_PIECE = re.compile(r"(?:[A-Za-z0-9+/=_-]|\\/)++")
_LONGEST_SEPARATOR = 8
_PIECES_DIGITS = 64  # of them all, as many as a SHA-256 has
_KINDS = 8  # pieces that are few kinds, repeated, say nothing
_NUMBER_DIGITS = 3  # of a byte
_MANY_TEXTS = 16  # that are joined without a separator
_LONGEST_TEXT = 4_000  # of a field; no words of a service's are longer
_LONGEST_NUMBERS = 64  # a list of more numbers is how some programs write bytes


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A document to be sealed: our ID for the request, where the PDF is, what is asked for.

    ``stamp`` is the visible seal, with its final texts, and ``image`` its picture; None: the seal is invisible.
    """

    external_id: ExternalId
    path: Path
    seal: Seal
    stamp: Stamp | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """Where a signature request stands.

    ``external_id`` is None where the answer names none, which is allowed unless it was asked for by that ID.
    ``answer`` is the whole answer less any content, kept as evidence.
    """

    request_id: RequestId
    external_id: ExternalId | None
    status: RemoteStatus
    reason: str | None
    signing_date: datetime | None
    archive_ids: tuple[ArchiveId, ...]
    answer: JsonValue


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error in the service's own words: ``errorMsg``, and ``errorLabel`` or an empty text."""

    message: str
    label: str

    def __str__(self) -> str:
        return clean(f"{self.message} ({self.label})" if self.label else self.message)


def document_fields(new: NewRequest, *, sha1: str) -> dict[str, JsonValue]:
    """Return a document of a create call, less its ``toSignContent``."""
    seal = new.seal
    fields: dict[str, JsonValue] = {
        "externalSignatureRequestId": new.external_id,
        "signatureOptions": {
            "signatureType": seal.level.value,
            "digestAlgorithmName": seal.digest,
            "signaturePackagingType": "ENVELOPED",
            "documentType": "INLINE",
        },
        "enableArchive": seal.archive,
        "hash": sha1,
    }
    if new.stamp is not None:
        if new.image is None:
            raise ValueError(f"the visible seal of {new.external_id} has no image")
        fields["pdfSignatureOptions"] = {
            "signatureImageContent": base64.b64encode(new.image).decode("ascii"),
            "signaturePosX": new.stamp.x,
            "signaturePosY": new.stamp.y,
            "signaturePage": new.stamp.place.page,
            "linesOptions": [
                {
                    "lineContent": line.text,
                    "lineColor": line.color,
                    "lineFontSize": line.font_size,
                    "lineFont": line.font,
                    "linePosXInImage": line.x,
                    "linePosYInImage": line.y,
                }
                for line in new.stamp.lines
            ],
        }
    if seal.archive and seal.archivers:
        fields["archiverNames"] = list(seal.archivers)
    if seal.keywords:
        fields["keywords"] = list(seal.keywords)
    return fields


def sign_body(request_ids: Sequence[RequestId]) -> bytes:
    """Return the body of a call that signs several requests."""
    return json.dumps([{"signatureRequestId": request_id} for request_id in request_ids]).encode("ascii")


def clean(text: str) -> str:
    """Return ``text`` on one line, printable, without what may be content, of at most `TEXT_CHARACTERS`."""
    line = " ".join(_without_content(text[:_LONGEST_TEXT]).split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= TEXT_CHARACTERS else line[: TEXT_CHARACTERS - 3] + "..."


def service_error(answer: JsonValue) -> ServiceError | None:
    """Return the error that ``answer`` is, or None: an object with ``errorMsg`` is one, whatever the HTTP status.

    Raises:
        MalformedAnswer: ``errorMsg`` or ``errorLabel`` is no text.
    """
    if not isinstance(answer, dict):
        return None
    message = _text(answer, "errorMsg", "the answer")
    label = _text(answer, "errorLabel", "the answer")
    return ServiceError(message, label or "") if message else None


def parse_status(
    answer: JsonValue,
    archive_places: Sequence[str],
    *,
    request_id: RequestId | None = None,
    external_id: ExternalId | None = None,
) -> RequestStatus:
    """Return the status that ``answer`` gives for the request that was asked for.

    Raises:
        MalformedAnswer: it is no status, or that of another request.
    """
    return _status(answer, "the answer", archive_places, request_id, external_id)


def parse_statuses(
    answer: JsonValue,
    archive_places: Sequence[str],
    *,
    request_ids: Sequence[RequestId] | None = None,
    external_ids: Sequence[ExternalId] | None = None,
) -> tuple[RequestStatus, ...]:
    """Return the statuses that ``answer`` lists: for exactly the requests that were sent, in the order sent, if given.

    Raises:
        MalformedAnswer: it is no such list.
    """
    if not isinstance(answer, list):
        raise MalformedAnswer(f"the answer is {kind(answer)} where a list belongs")
    sent = request_ids if request_ids is not None else external_ids
    if sent is not None and len(answer) != len(sent):
        raise MalformedAnswer(f"the answer has {len(answer)} entries for the {len(sent)} that were sent")
    return tuple(
        _status(
            entry,
            f"entry {index + 1} of the answer",
            archive_places,
            request_ids[index] if request_ids is not None else None,
            external_ids[index] if external_ids is not None else None,
        )
        for index, entry in enumerate(answer)
    )


def _status(
    answer: JsonValue,
    place: str,
    archive_places: Sequence[str],
    request_id: RequestId | None,
    external_id: ExternalId | None,
) -> RequestStatus:
    if not isinstance(answer, dict):
        raise MalformedAnswer(f"{place} is {kind(answer)} where an object belongs")
    error = service_error(answer)
    if error is not None:
        raise MalformedAnswer(f"{place} is an error where a status belongs: {error}")
    their_id = _identifier(answer, "signatureRequestId", place, required=True, expected=request_id)
    our_id = _identifier(
        answer, "externalSignatureRequestId", place, required=external_id is not None, expected=external_id
    )
    _text(answer, "signedContent", place)
    reason = _text(answer, "reason", place)
    archive_ids = _archive_ids(answer, archive_places, place)
    known = {their_id, our_id, *(text for each in archive_ids for text in (each.archiver, each.identifier))}
    return RequestStatus(
        request_id=RequestId(their_id),
        external_id=ExternalId(our_id) if our_id else None,
        status=_remote_status(answer, place),
        reason=clean(reason) if reason else None,
        signing_date=_time(answer, "signingDate", place),
        archive_ids=archive_ids,
        answer=_evidence(answer, known),
    )


def _identifier(answer: Mapping[str, JsonValue], name: str, place: str, *, required: bool, expected: str | None) -> str:
    """Return the identifier called ``name``; an empty text where there is none and none is required."""
    value = answer.get(name)
    if value is None or value == "":
        if required:
            raise MalformedAnswer(f"{place}: {name} is missing")
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedAnswer(f"{place}: {name} is {kind(value)}, not an identifier")
    identifier = str(value)
    if len(identifier) > IDENTIFIER_CHARACTERS:
        raise MalformedAnswer(f"{place}: {name} has {len(identifier)} characters, too many for an identifier")
    if expected is not None and identifier != expected:
        raise MalformedAnswer(f"{place} is about {name} {clean(identifier)!r}, not {expected!r}")
    return identifier


def _text(answer: Mapping[str, JsonValue], name: str, place: str) -> str | None:
    value = answer.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedAnswer(f"{place}: {name} is {kind(value)}, not a text")
    return value


def _remote_status(answer: Mapping[str, JsonValue], place: str) -> RemoteStatus:
    value = _text(answer, "status", place)
    if value is None:
        raise MalformedAnswer(f"{place}: status is missing")
    try:
        return RemoteStatus(value)
    except ValueError as error:
        raise MalformedAnswer(f"{place}: unknown status {clean(value)!r}") from error


def _time(answer: Mapping[str, JsonValue], name: str, place: str) -> datetime | None:
    """Return a time in UTC, from ISO 8601 with a zone."""
    value = _text(answer, name, place)
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise MalformedAnswer(f"{place}: {name} has no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"{place}: {name} is not a time in ISO 8601") from error


def _archive_ids(answer: Mapping[str, JsonValue], archive_places: Sequence[str], place: str) -> tuple[ArchiveId, ...]:
    """Return each archive identifier once; if it stands in several places, as the one that names its archiver."""
    archivers: dict[str, dict[str, None]] = {}
    for path in archive_places:
        for owner, name in _owners(answer, path.split("."), place):
            identifier = _identifier(owner, name, f"{place}, at {path}", required=False, expected=None)
            archiver = _text(owner, "archiverName", f"{place}, at {path}") or ""
            if len(archiver) > IDENTIFIER_CHARACTERS:
                raise MalformedAnswer(f"{place}, at {path}: archiverName has {len(archiver)} characters, too many")
            if identifier:
                found = archivers.setdefault(identifier, {})
                found.setdefault(archiver)
    named = tuple(
        ArchiveId(archiver, identifier)
        for identifier, names in archivers.items()
        for archiver in ([name for name in names if name] or [""])
    )
    if len(named) > ARCHIVES:
        raise MalformedAnswer(f"{place} names {len(named)} deposits of one document")
    return named


def _owners(
    answer: Mapping[str, JsonValue], steps: Sequence[str], place: str
) -> Iterator[tuple[Mapping[str, JsonValue], str]]:
    """Yield each object that a path leads to, with the name of the field to read there; what is absent is skipped."""
    step, rest = steps[0], steps[1:]
    name = step.removesuffix("[]")
    if name == step and not rest:
        yield answer, name
        return
    value = answer.get(name)
    if value is None:
        return
    if name != step and not isinstance(value, list):
        raise MalformedAnswer(f"{place}: {name} is {kind(value)} where a list belongs")
    for entry in value if isinstance(value, list) and name != step else [value]:
        if rest:
            if not isinstance(entry, dict):
                raise MalformedAnswer(f"{place}: {name} holds {kind(entry)} where an object belongs")
            yield from _owners(entry, rest, place)
        else:
            yield {name: entry}, name


def _evidence(answer: Mapping[str, JsonValue], identifiers: AbstractSet[str]) -> JsonValue:
    """Return the answer less its content, and less what has no room; each place where something was is marked.

    ``identifiers`` are what was understood of it, bounded already, and so they stay.
    """
    fields: dict[str, JsonValue] = {}
    room = EVIDENCE_CHARACTERS
    for name, value in _fields_without_documents(answer, identifiers):
        room -= len(json.dumps([name, value]))
        if room < 0:
            fields[_CUT] = _CUT
            break
        fields[name] = value
    if _is_in_pieces(fields, identifiers):
        fields = {name: value for name, value in fields.items() if str(value) in identifiers} | {_CUT: _CUT}
    return {_without_content(name): _without_runs(value, identifiers) for name, value in fields.items()}


def _fields_without_documents(
    fields: Mapping[str, JsonValue], identifiers: AbstractSet[str]
) -> Iterator[tuple[str, JsonValue]]:
    for name, value in fields.items():
        if name not in _CONTENT_FIELDS:
            yield name[:TEXT_CHARACTERS], _without_documents(value, identifiers)


def _without_documents(value: JsonValue, identifiers: AbstractSet[str]) -> JsonValue:
    """Return ``value`` less what is a document by its name, its sheer size or its many pieces, at any depth."""
    if isinstance(value, dict | list) and len(value) > _MOST_ENTRIES:
        return _CUT
    if isinstance(value, dict):
        value = dict(_fields_without_documents(value, identifiers))
    elif isinstance(value, list):
        value = [_without_documents(each, identifiers) for each in value]
    else:
        return _CUT if isinstance(value, str) and len(value) > _LONGEST_TEXT else value
    return _CUT if _is_large(value) or _is_in_pieces(value, identifiers) else value


def _is_large(value: JsonValue) -> bool:
    """Return whether a list or an object would have no room in the evidence, without looking at all of it."""
    room = EVIDENCE_CHARACTERS
    for leaf in chain(_leaves(value), _names(value)):
        room -= len(str(leaf))
        if room < 0:
            return True
    return False


def _is_in_pieces(value: JsonValue, identifiers: AbstractSet[str]) -> bool:
    """Return whether what stands in a list or an object would be content if it stood in one text."""
    numbers = sum(1 for leaf in _leaves(value) if isinstance(leaf, int | float) and str(leaf) not in identifiers)
    if numbers > _LONGEST_NUMBERS:
        return True
    values = [leaf for leaf in _leaves(value) if isinstance(leaf, str) and leaf not in identifiers]
    names = list(_names(value))
    return any(
        _without_content(joined) != joined
        for texts in (values, names)
        for separator in ("\n", "")[: 2 if texts is values and len(texts) > _MANY_TEXTS else 1]
        for joined in (separator.join(map(_without_content, texts)),)
    )


def _leaves(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _names(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)


def _without_runs(value: JsonValue, identifiers: AbstractSet[str]) -> JsonValue:
    """Return ``value`` less what may be content in its texts, at any depth."""
    if isinstance(value, dict):
        return {_without_content(name): _without_runs(inner, identifiers) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_runs(inner, identifiers) for inner in value]
    return _without_content(value) if isinstance(value, str) and value not in identifiers else value


def _without_content(text: str) -> str:
    """Return ``text`` less what may be a document: long runs, even pieces, and all that follows a PDF's header."""
    if len(text) < _SHORTEST_RUN and "PDF-" not in text:
        return text  # as nearly all that is in an answer; no pattern below matches so little
    return _without_pieces(_CONTENT_RUN.sub(_cut_run, _PDF.sub(_CUT, text)))


def _cut_run(match: re.Match[str]) -> str:
    """Lines are content only if they are of one length; digests, paths and two long words that meet are not."""
    run = match[0]
    if match["line"] is None:
        return run if _LONGER_DIGEST.fullmatch(run) or _is_path(run) else _CUT
    lines = re.split(_BREAK, run.replace("\\/", "/"))
    pairs = sum(1 for one, other in pairwise(lines) if len(one) == len(other))
    return _CUT if pairs >= _EVEN_LINES - 1 or (pairs and len(run) > _TWO_LINES) else run


def _is_path(run: str) -> bool:
    """Return whether a run is a path: several words of one letter case; base64 and hexadecimal hold none such."""
    parts = run.strip("/").split("/")
    return len(run) <= _LONGEST_PATH and len(parts) > 2 and all(map(_WORD_OF_PATH.fullmatch, parts))


def _without_pieces(text: str) -> str:
    """Return ``text`` less many pieces of one length in a row, and less many small numbers."""
    kept, at = [], 0
    pieces = list(_PIECE.finditer(text))
    first = 0
    while first < len(pieces):
        row = max(_row(pieces, first, _is_even), _row(pieces, first, _is_number))
        size = sum(len(piece[0]) for piece in pieces[first : first + row])
        kinds = len({piece[0] for piece in pieces[first : first + row]})
        numbers = row > _LONGEST_NUMBERS and size <= row * _NUMBER_DIGITS
        if row >= _EVEN_LINES and (size > _PIECES_DIGITS or numbers) and kinds > min(_KINDS, row / 2):
            last = min(first + row, len(pieces) - 1)  # with what follows: the rest of it, perhaps
            kept += [text[at : pieces[first].start()], _CUT]
            at, first = pieces[last].end(), last + 1
        else:
            first += max(row - 1, 1)
    return "".join([*kept, text[at:]])


def _row(pieces: Sequence[re.Match[str]], first: int, alike: Callable[[str, str], bool]) -> int:
    """Return how many pieces in a row, from ``first`` on, are alike and not far from each other."""
    last = first
    while (
        last + 1 < len(pieces)
        and pieces[last + 1].start() - pieces[last].end() <= _LONGEST_SEPARATOR
        and alike(pieces[last][0], pieces[last + 1][0])
    ):
        last += 1
    return last - first + 1


def _is_even(one: str, other: str) -> bool:
    return len(one.replace("\\/", "/")) == len(other.replace("\\/", "/"))


def _is_number(one: str, other: str) -> bool:
    return all(each.isdecimal() and len(each) <= _NUMBER_DIGITS for each in (one, other))
