"""A sidecar: what the sender of a document asks for, in a JSON file beside it (docs/sidecar.md).

It is written by anybody who can write into the inbound folder, and what it says goes to SignAPI, into the archive's
index and onto the page. So it is read strictly: nothing is guessed, repaired or passed over. What is wrong is said by
its place and kind, and never quoted: only the name of a member that there is not is shown, cut short.
"""

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sealdrop.errors import MalformedAnswer
from sealdrop.model import CompanionFault, Sha256, Wishes
from sealdrop.signapi.strict_json import parse_json

SIDECAR_MAX_BYTES = 64 << 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some programs begin every text with it; it says nothing in UTF-8
_NAME_CHARACTERS = 40  # as much of a name that there is not as is shown

# No control characters, no line breaks, nothing that changes the direction of what follows or cannot be seen; and it
# begins with something that can.
_UNSEEN = (
    r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    r"\ufffe\uffff"
)
_SPACES = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
TEXT_PATTERN = rf"^[^{_SPACES}{_UNSEEN}][^{_UNSEEN}]*$"

Text = Annotated[str, Field(min_length=1, max_length=100, pattern=TEXT_PATTERN)]


class Sidecar(BaseModel):
    """What a document's sender asks for; each member may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Annotated[int, Field(ge=1, le=1, description="The version of this format.")] = 1
    reference: Annotated[
        Text | None,
        Field(description="The sender's own name for the document; it also indexes it in the archive."),
    ] = None
    keywords: Annotated[
        tuple[Text, ...],
        Field(max_length=32, description="Words that index the document in the archive, besides the folder's own."),
    ] = ()
    archivers: Annotated[
        tuple[Text, ...] | None,
        Field(
            min_length=1,
            max_length=8,
            description="Where to archive it, in place of the folder's archivers; each must be allowed there.",
        ),
    ] = None
    seal_text: Annotated[
        tuple[Text, ...],
        Field(max_length=4, description="Lines for the visible seal, where the folder has one."),
    ] = ()


def read_sidecar(content: bytes) -> Wishes | CompanionFault:
    """Return what the sidecar asks for, or what is wrong with it. Whether it may ask for that is the folder's word."""
    if len(content) > SIDECAR_MAX_BYTES:
        return CompanionFault(f"it is larger than {SIDECAR_MAX_BYTES:,} bytes")
    text = content.removeprefix(BYTE_ORDER_MARK)
    try:
        parse_json(text, "it")
        sidecar = Sidecar.model_validate_json(text)
    except MalformedAnswer as error:
        return CompanionFault(str(error), may_be_unfinished=True)
    except ValidationError as error:
        return CompanionFault(_in_words(error.errors(include_url=False, include_input=False)[0]))
    return Wishes(
        sha256=Sha256(hashlib.sha256(content).hexdigest()),
        reference=sidecar.reference,
        keywords=tuple(dict.fromkeys(sidecar.keywords)),
        archivers=None if sidecar.archivers is None else tuple(dict.fromkeys(sidecar.archivers)),
        seal_text=sidecar.seal_text,
    )


def sidecar_schema() -> str:
    """Return the JSON Schema of a sidecar, as the text that stands in ``docs/schemas``."""
    content = Sidecar.model_json_schema()
    content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _in_words(fault: ErrorDetails) -> str:
    """Return what is wrong and where, without any value."""
    place = [part for part in fault["loc"] if isinstance(part, str)][:1]
    name = place[0] if place else ""
    entries = [part + 1 for part in fault["loc"] if isinstance(part, int)]
    if fault["type"] == "extra_forbidden":
        shown = "".join(character if character.isprintable() else "?" for character in name[:_NAME_CHARACTERS])
        return f'there is no member of the name "{shown}"'
    where = ", entry ".join([name, *map(str, entries)])
    return f"{where}: {_kind_in_words(fault)}" if name else _kind_in_words(fault)


def _kind_in_words(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "string_type":
            return "must be a text"
        case "string_too_short":
            return "is empty"
        case "string_too_long":
            return f"has more than {fault['ctx']['max_length']} characters"
        case "string_pattern_mismatch":
            return "begins with a space, or holds a line break or another character that cannot be seen"
        case "tuple_type":
            return "must be a list"
        case "too_short":
            return "is an empty list"
        case "too_long":
            return f"has more than {fault['ctx']['max_length']} entries"
        case "int_type" | "greater_than_equal" | "less_than_equal":
            return "must be 1"
        case "model_type":
            return "it is JSON, but no object"
        case other:
            return other.replace("_", " ")
