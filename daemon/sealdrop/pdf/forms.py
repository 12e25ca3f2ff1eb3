"""What a document's form and permissions say: signatures, certification, usage rights, XFA.

Signatures are the filled signature fields of the interactive form (ISO 32000-2, 12.7.5.5). What a certification
permits is in the transform parameters of its signature (12.8.2.2); a field's lock may forbid all changes too
(12.7.5.5, table 236).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pypdf.generic import ArrayObject, BooleanObject, DictionaryObject, IndirectObject

from sealdrop.pdf.objects import content_of, dictionary_at, elements, entry, name_at, number_at, resolve

MAX_FIELDS = 100_000
NO_CHANGES = 1  # DocMDP's /P: nothing may be changed any more
DEFAULT_PERMISSION = 2  # DocMDP without /P (ISO 32000-2, table 257)

# Within one tag, which a "<" ends as well: a search through to the end from each tag would take for ever.
_DYNAMIC_XFA = re.compile(rb"<(?:\w{1,64}:)?dynamicRender\b[^<>]*>\s*required", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Form:
    """What was found; ``certified`` is the strictest permission of a certification, None where there is none.

    ``locked`` says that a signature field's lock forbids all changes.
    """

    signatures: int
    certified: int | None
    locked: bool
    usage_rights: bool
    xfa: bool
    xfa_dynamic: bool


class TooManyFields(Exception):
    """The form has more fields than anybody needs."""


def read_form(root: DictionaryObject) -> Form:
    """Return what the form and the permissions below the catalog ``root`` say.

    Raises:
        TooManyFields: there are more than `MAX_FIELDS`.
    """
    signatures = 0
    permissions: list[int] = []
    locked = False
    for field, value in _signature_fields(root):
        lock = dictionary_at(field, "/Lock")
        locked = locked or (lock is not None and number_at(lock, "/P") == NO_CHANGES)
        if value is not None:
            signatures += 1
            permissions += _permissions(value)
    certification = dictionary_at(root, "/Perms", "/DocMDP")
    if certification is not None:
        permissions += _permissions(certification) or [DEFAULT_PERMISSION]
    rights = dictionary_at(root, "/Perms")
    form = dictionary_at(root, "/AcroForm")
    xfa = entry(form, "/XFA") if form is not None else None
    return Form(
        signatures=signatures,
        certified=min(permissions, default=None),
        locked=locked,
        usage_rights=rights is not None and any(dictionary_at(rights, key) is not None for key in ("/UR", "/UR3")),
        xfa=xfa is not None,
        xfa_dynamic=_needs_rendering(root) or any(_DYNAMIC_XFA.search(packet) for packet in _packets(xfa)),
    )


def _signature_fields(root: DictionaryObject) -> Iterator[tuple[DictionaryObject, DictionaryObject | None]]:
    """Yield each signature field with its signature, None where it is not signed."""
    form = dictionary_at(root, "/AcroForm")
    if form is None:
        return
    waiting: list[tuple[object, str, object]] = [(field, "", None) for field in _raw(form, "/Fields")]
    seen: set[tuple[int, int]] = set()
    while waiting:
        reference, field_type, value = waiting.pop()
        if isinstance(reference, IndirectObject):
            key = (reference.idnum, reference.generation)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > MAX_FIELDS:
                raise TooManyFields
        field = resolve(reference)
        if not isinstance(field, DictionaryObject):
            continue
        field_type = name_at(field, "/FT") or field_type
        value = entry(field, "/V") or value
        # Kids without a name of their own are the field's widgets, not fields.
        kids = [kid for kid in _raw(field, "/Kids") if _is_field(kid)]
        if kids:
            waiting += [(kid, field_type, value) for kid in kids]
        elif field_type == "/Sig":
            yield field, value if isinstance(value, DictionaryObject) else None


def _raw(dictionary: DictionaryObject, key: str) -> list[object]:
    array = entry(dictionary, key)
    return list(list.__iter__(array)) if isinstance(array, ArrayObject) else []


def _is_field(kid: object) -> bool:
    field = resolve(kid)
    return isinstance(field, DictionaryObject) and "/T" in field


def _permissions(signature: DictionaryObject) -> list[int]:
    """Return what each reference of ``signature`` permits, for those that restrict the whole document."""
    found = []
    for reference in elements(dict.get(signature, "/Reference")):
        if not isinstance(reference, DictionaryObject):
            continue
        method = name_at(reference, "/TransformMethod")
        parameters = dictionary_at(reference, "/TransformParams")
        permission = number_at(parameters, "/P") if parameters is not None else None
        if method == "/DocMDP":
            found.append(int(permission) if permission is not None else DEFAULT_PERMISSION)
        elif method == "/FieldMDP" and permission == NO_CHANGES:  # how Acrobat writes down a lock's /P
            found.append(NO_CHANGES)
    return found


def _needs_rendering(root: DictionaryObject) -> bool:
    value = entry(root, "/NeedsRendering")
    return isinstance(value, BooleanObject) and value.value


def _packets(xfa: object) -> Iterator[bytes]:
    """Yield the decoded packets of an XFA form, each once: one stream, or an array of names and streams."""
    if isinstance(xfa, ArrayObject):
        for packet in {id(element): element for element in elements(xfa)}.values():
            yield content_of(packet)
    else:
        yield content_of(xfa)
