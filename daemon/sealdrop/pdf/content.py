"""What a document holds besides pages: everything that can be reached from its catalog is looked at once.

The walk is iterative, visits each indirect object once and stops at `MAX_NODES`, so cycles and depth cost nothing.
It takes in outlines, annotations, form fields, name trees and appearance streams alike, because an action is as
dangerous in one as in another. It leaves out the structure tree, which holds neither actions nor images.

By itself runs what a viewer executes without being asked: the catalog's open action, its additional actions and its
named scripts, a page's opening and closing, an annotation's coming into view (ISO 32000-2, 12.6.3). A script behind
a click or a form field's calculation is interactive content. Launching and importing are active wherever they are,
and so is a stream whose data is somewhere else (7.3.8.2): what is sealed must not change what it shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pypdf import PdfReader
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NullObject,
    StreamObject,
)

from sealdrop.model import Finding, Reason
from sealdrop.pdf.objects import content_of, dictionary_at, elements, entry, name_at, number_at, resolve

MAX_NODES = 5_000_000  # dictionaries, arrays and references looked at
MAX_CHAIN = 100_000  # actions that follow each other, and nodes of one name tree

PDFA_NAMESPACE = b"http://www.aiim.org/pdfa/ns/id/"

_LEFT_OUT = frozenset({"/StructTreeRoot", "/SE"})
_ACTIVE = frozenset({"/Launch", "/ImportData"})
_MEDIA_ACTIONS = frozenset({"/Rendition", "/Movie", "/Sound", "/GoTo3DView", "/RichMediaExecute"})
_MEDIA_ANNOTATIONS = frozenset({"/3D", "/RichMedia", "/Screen", "/Movie", "/Sound"})
_PAGE_TRIGGERS = frozenset({"/O", "/C"})
_ANNOTATION_TRIGGERS = frozenset({"/PO", "/PC", "/PV", "/PI"})
_CATALOG_TRIGGERS = frozenset({"/WC", "/WS", "/DS", "/WP", "/DP"})
_OPAQUE_BLENDS = frozenset({"/Normal", "/Compatible"})


class TooMuchContent(Exception):
    """The document holds more than `MAX_NODES` nodes, or a chain longer than `MAX_CHAIN`."""


@dataclass(slots=True)
class _Seen:
    """What the walk has met, counted by reason and kind, in words that complete "holds N x ..."."""

    counts: dict[Reason, dict[str, int]] = field(default_factory=dict)

    def add(self, code: Reason, kind: str) -> None:
        kinds = self.counts.setdefault(code, {})
        kinds[kind] = kinds.get(kind, 0) + 1


def survey(reader: PdfReader) -> Mapping[Reason, Finding]:
    """Return a finding for each reason that the document's content gives.

    Raises:
        TooMuchContent: there is more of it than anybody needs.
    """
    root = reader.root_object
    seen = _Seen()
    _look_at_catalog(root, seen)
    for node in _reachable(reader, root):
        _look_at_actions(node, root, seen)
        _look_at_annotation(node, seen)
        _look_at_graphics(node, seen)
    if Reason.IMAGE_TRANSPARENCY in seen.counts:  # which says it already, and more strongly
        seen.counts.pop(Reason.OTHER_TRANSPARENCY, None)
    return {
        code: Finding(code, ", ".join(f"{kind} ({count})" for kind, count in kinds.items()))
        for code, kinds in seen.counts.items()
    }


def _reachable(reader: PdfReader, root: DictionaryObject) -> Iterator[DictionaryObject]:
    """Yield every dictionary and stream that can be reached from ``root``, each once."""
    waiting: list[object] = [root]
    visited: set[tuple[int, int]] = set()
    if root.indirect_reference is not None:
        visited.add((root.indirect_reference.idnum, root.indirect_reference.generation))
    nodes = 0
    while waiting:
        node = waiting.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise TooMuchContent
        key = None
        if isinstance(node, IndirectObject):
            key = (node.idnum, node.generation)
            if key in visited:
                continue
            visited.add(key)
            node = resolve(node)
        if isinstance(node, DictionaryObject):
            yield node
            waiting += [
                value
                for name, value in dict.items(node)
                if name not in _LEFT_OUT and isinstance(value, (IndirectObject, DictionaryObject, ArrayObject))
            ]
        elif isinstance(node, ArrayObject):
            waiting += [
                value
                for value in list.__iter__(node)
                if isinstance(value, (IndirectObject, DictionaryObject, ArrayObject))
            ]
        if key is not None and isinstance(node, StreamObject):
            # pypdf keeps every object it has read; without this, memory would grow with the document.
            reader.resolved_objects.pop((key[1], key[0]), None)


def _look_at_catalog(root: DictionaryObject, seen: _Seen) -> None:
    if entry(root, "/OCProperties") is not None:
        seen.add(Reason.LAYERS, "optional content")
    if entry(root, "/Collection") is not None:
        seen.add(Reason.PORTFOLIO, "collection")
    # UTF-16 metadata becomes ASCII enough to find the namespace in.
    if PDFA_NAMESPACE in content_of(dict.get(root, "/Metadata")).replace(b"\0", b""):
        seen.add(Reason.PDFA_CLAIM, "PDF/A identification")
    if any(True for _ in _names(root, "/EmbeddedFiles")):
        seen.add(Reason.ATTACHMENTS, "embedded files")
    if _runs_script(dict.get(root, "/OpenAction")):
        seen.add(Reason.ACTIVE_CONTENT, "JavaScript in the open action")
    for action in _names(root, "/JavaScript"):
        if _runs_script(action):
            seen.add(Reason.ACTIVE_CONTENT, "JavaScript that runs when the document is opened")


def _look_at_actions(node: DictionaryObject, root: DictionaryObject, seen: _Seen) -> None:
    kind = name_at(node, "/S")
    if kind in _ACTIVE:
        seen.add(Reason.ACTIVE_CONTENT, f"{kind[1:]} action")
    elif kind == "/JavaScript":
        seen.add(Reason.INTERACTIVE_CONTENT, "JavaScript")
    elif kind in _MEDIA_ACTIONS:
        seen.add(Reason.INTERACTIVE_CONTENT, "media action")
    triggered = dictionary_at(node, "/AA")
    if triggered is None:
        return
    triggers = _ANNOTATION_TRIGGERS
    if node is root:
        triggers = _CATALOG_TRIGGERS
    elif name_at(node, "/Type") == "/Page":
        triggers = _PAGE_TRIGGERS
    for trigger in triggers:
        if _runs_script(dict.get(triggered, trigger)):
            seen.add(Reason.ACTIVE_CONTENT, "JavaScript that runs without a click")


def _look_at_annotation(node: DictionaryObject, seen: _Seen) -> None:
    kind = name_at(node, "/Subtype")
    if kind in _MEDIA_ANNOTATIONS:
        seen.add(Reason.INTERACTIVE_CONTENT, "media annotation")
    elif kind == "/FileAttachment":
        seen.add(Reason.ATTACHMENTS, "file attachment annotation")
    if dictionary_at(node, "/EF") is not None:
        seen.add(Reason.ATTACHMENTS, "file specification with content")


def _look_at_graphics(node: DictionaryObject, seen: _Seen) -> None:
    if isinstance(node, StreamObject):
        if entry(node, "/F") is not None:
            seen.add(Reason.ACTIVE_CONTENT, "stream with its data in another file")
        if name_at(node, "/Subtype") == "/Image":
            if entry(node, "/SMask") is not None or entry(node, "/Mask") is not None:
                seen.add(Reason.IMAGE_TRANSPARENCY, "image with a mask")
            elif number_at(node, "/SMaskInData"):
                seen.add(Reason.OTHER_TRANSPARENCY, "image with a mask in its data")
    states = dictionary_at(node, "/ExtGState")
    if states is not None:
        for value in dict.values(states):
            state = resolve(value)
            if isinstance(state, DictionaryObject) and _is_transparent(state):
                seen.add(Reason.OTHER_TRANSPARENCY, "transparent graphics state")


def _is_transparent(state: DictionaryObject) -> bool:
    if any((alpha := number_at(state, key)) is not None and alpha < 1 for key in ("/ca", "/CA")):
        return True
    if isinstance(entry(state, "/SMask"), DictionaryObject):
        return True
    blend = entry(state, "/BM")
    # Of several modes, the first that a reader knows (ISO 32000-2, table 57).
    mode = next(elements(blend), None) if isinstance(blend, ArrayObject) else blend
    return isinstance(mode, NameObject) and mode not in _OPAQUE_BLENDS


def _runs_script(action: object) -> bool:
    """Return whether ``action`` or one that follows it (ISO 32000-2, 12.6.2, /Next) is a script."""
    return any(
        name_at(here, "/S") == "/JavaScript" or entry(here, "/JS") is not None for here in _followed(action, "/Next")
    )


def _followed(start: object, key: str) -> Iterator[DictionaryObject]:
    """Yield the dictionary ``start`` and those that ``key`` leads to (one, or an array), each once."""
    waiting = [start]
    visited: set[int] = set()
    while waiting:
        here = resolve(waiting.pop())
        if not isinstance(here, DictionaryObject) or id(here) in visited:
            continue
        visited.add(id(here))
        if len(visited) > MAX_CHAIN:
            raise TooMuchContent
        yield here
        following = dict.get(here, key)
        waiting += list(elements(following)) or [following]


def _names(root: DictionaryObject, tree: str) -> Iterator[object]:
    """Yield the values of the name tree ``tree`` below the catalog's /Names (ISO 32000-2, 7.9.6)."""
    for node in _followed(dictionary_at(root, "/Names", tree), "/Kids"):
        pairs = entry(node, "/Names")
        if isinstance(pairs, ArrayObject):
            yield from (value for value in list(list.__iter__(pairs))[1::2] if not isinstance(value, NullObject))
