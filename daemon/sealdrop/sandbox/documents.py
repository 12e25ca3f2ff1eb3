"""Reads the document of a create call (signapi.md, "A document in a request"), and keeps nothing it does not know.

Every refusal names the key that is wrong, as the service's ``errorMsg``. Keys that are not described are let pass: the
service is not known to refuse them.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sealdrop.sandbox.appearance import TextLine, VisibleSeal
from sealdrop.sandbox.errors import BadRequest
from sealdrop.sandbox.sealing import Level, SealOptions

_DIGESTS = {"SHA256": "sha256", "SHA224": "sha224"}
_WHITE = 0xFFFFFF

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document as it came in. ``description`` is the JSON it came as, less the content."""

    external_id: str | None
    content: bytes
    archivers: tuple[str, ...]
    description: str


def read_documents(body: bytes, default_archiver: str) -> tuple[NewDocument, ...]:
    """Return the documents in the body of a create call, in order.

    A document that asks for archiving and names no archiver goes to ``default_archiver``.

    Raises:
        BadRequest: the body is not a list of documents as described.
    """
    items = parse_json(body)
    if not isinstance(items, list) or not items:
        raise BadRequest("a list of documents is expected")
    return tuple(_document(item, default_archiver) for item in items)


def read_identifiers(body: bytes) -> tuple[str, ...]:
    """Return the identifiers in the body of a sign call for several requests; numbers are taken as strings.

    Raises:
        BadRequest: the body is not a list of objects with a ``signatureRequestId`` each.
    """
    items = parse_json(body)
    if not isinstance(items, list) or not items:
        raise BadRequest("id, externalId or a list of signature requests is expected")
    identifiers = []
    for item in items:
        identifier = item.get("signatureRequestId") if isinstance(item, dict) else None
        if not isinstance(identifier, str | int) or isinstance(identifier, bool):
            raise BadRequest("signatureRequestId: missing")
        identifiers.append(str(identifier))
    return tuple(dict.fromkeys(identifiers))


def read_options(description: str) -> SealOptions:
    """Return what kind of seal a kept `NewDocument.description` asks for.

    Raises:
        BadRequest: it was never a description that `read_documents` let pass.
    """
    return _options(json.loads(description))


def read_keywords(description: str) -> tuple[str, ...]:
    """Return the words that index the deposits of a kept `NewDocument.description`."""
    return _strings(json.loads(description), "keywords")


def parse_json(body: bytes) -> object:
    """Return the JSON in ``body``.

    Raises:
        BadRequest: it is not JSON.
    """
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    return parsed


def _document(item: object, default_archiver: str) -> NewDocument:
    if not isinstance(item, dict):
        raise BadRequest("a document must be an object")
    content = _base64(item, "toSignContent", required=True) or b""
    expected = _optional(item, "hash", str)
    # The description says SHA-1; it guards against damage on the way, not against malice.
    if expected is not None and expected.lower() != hashlib.sha1(content, usedforsecurity=False).hexdigest():
        raise BadRequest("hash: is not the SHA-1 of toSignContent")
    options = _options(item)
    if options.visible is not None:
        options.visible.check()
    archive = _optional(item, "enableArchive", bool)
    if archive is None:
        raise BadRequest("enableArchive: missing")
    archivers = _strings(item, "archiverNames") or (default_archiver,)
    _strings(item, "keywords")
    description = {key: value for key, value in item.items() if key != "toSignContent"}
    return NewDocument(
        external_id=_optional(item, "externalSignatureRequestId", str),
        content=content,
        archivers=archivers if archive else (),
        description=json.dumps(description),
    )


def _options(item: Mapping[str, object]) -> SealOptions:
    options = item.get("signatureOptions")
    if not isinstance(options, dict):
        raise BadRequest("signatureOptions: missing")
    kind, digest = options.get("signatureType"), options.get("digestAlgorithmName", "SHA256")
    if not isinstance(kind, str) or kind not in list(Level):
        raise BadRequest(f"signatureOptions.signatureType: {kind!r} is none of {', '.join(Level)}")
    if not isinstance(digest, str) or digest not in _DIGESTS:
        raise BadRequest(f"signatureOptions.digestAlgorithmName: {digest!r} is none of {', '.join(_DIGESTS)}")
    for key, only in (("signaturePackagingType", "ENVELOPED"), ("documentType", "INLINE")):
        if options.get(key, only) != only:
            raise BadRequest(f"signatureOptions.{key}: must be {only}")
    visible = item.get("pdfSignatureOptions")
    return SealOptions(Level(kind), _DIGESTS[digest], None if visible is None else _visible(visible))


def _visible(item: object) -> VisibleSeal:
    if not isinstance(item, dict):
        raise BadRequest("pdfSignatureOptions: must be an object")
    page = _number(item, "signaturePage", 1)
    if page < 1 or page != int(page):
        raise BadRequest("pdfSignatureOptions.signaturePage: must be a whole number from 1")
    lines = item.get("linesOptions")
    if not isinstance(lines, list | None):
        raise BadRequest("pdfSignatureOptions.linesOptions: must be a list")
    return VisibleSeal(
        page=int(page),
        x=_number(item, "signaturePosX", 0),
        y=_number(item, "signaturePosY", 0),
        image=_base64(item, "signatureImageContent", required=False),
        lines=tuple(_line(line) for line in lines or ()),
    )


def _line(item: object) -> TextLine:
    text = item.get("lineContent") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(text, str):
        raise BadRequest("linesOptions.lineContent: missing")
    color = _number(item, "lineColor", 0)
    if not 0 <= color <= _WHITE or color != int(color):
        raise BadRequest("linesOptions.lineColor: must be a number from 0 to 16777215")
    size = _number(item, "lineFontSize", 10)
    if size <= 0:
        raise BadRequest("linesOptions.lineFontSize: must be more than 0")
    return TextLine(
        text=text,
        color=int(color),
        font=_optional(item, "lineFont", str) or "Times_roman",
        font_size=size,
        x=_number(item, "linePosXInImage", 0),
        y=_number(item, "linePosYInImage", 0),
    )


def _base64(item: Mapping[str, object], key: str, *, required: bool) -> bytes | None:
    value = item.get(key)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key}: missing")
    try:
        # Line breaks are allowed inside, and nothing else that is foreign.
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{key}: is not base64") from error


def _number(item: Mapping[str, object], key: str, default: float) -> float:
    value = item.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadRequest(f"{key}: must be a number")
    return value


def _optional(item: Mapping[str, object], key: str, kind: type[T]) -> T | None:
    value = item.get(key)
    if value is not None and not isinstance(value, kind):
        raise BadRequest(f"{key}: must be a {kind.__name__}")
    return value


def _strings(item: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = item.get(key)
    if not isinstance(value, list | None) or not all(isinstance(entry, str) for entry in value or ()):
        raise BadRequest(f"{key}: must be a list of strings")
    return tuple(value or ())
