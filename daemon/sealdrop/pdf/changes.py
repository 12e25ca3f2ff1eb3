"""What a revision did to the document beside sealing it, or beside adding validation data.

The bytes of the original stand unchanged at the beginning of the sealed file, but any revision after them can replace
any of its objects, and what is shown would be another document. pyHanko's difference analysis looks at what came after
a signature, not at the signature's own revision, and it fails on originals with quirks. So this looks at each revision
by itself, and asks one thing only: of the objects that were there before, none is different but those that have to be.

1. No object is removed, none gets a number under which the document already asked for something, and none that was
   said to be there stands in what was appended since.
2. The revision that holds the seal may touch the catalogue and the form for the new field, a page for the field's
   annotation, an empty signature field, the information about the document, and the store of validation data. Lists
   grow, by filled signature fields; resources grow; nothing in them is replaced.
3. A later revision may do the same for document timestamps, which must not show anything.
4. Metadata, the information about the document and the store of validation data may be changed at will, as far as
   nothing else leads to them: whatever is shown is led to in other ways. In that information the usual words may be
   changed in any case.

Objects are compared by what they say, not by how that is written: the order of a dictionary's entries, and the form of
a number or a string, are each writer's own. What is new counts only as far as something old leads to it.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyhanko.pdf_utils import generic

from sealdrop.pdf.equality import raw, same
from sealdrop.pdf.reader import Number, Reader, Revision, Unsound, entry

_CATALOGUE = frozenset({"/AcroForm", "/DSS", "/Extensions", "/Metadata", "/Version"})
_SEALED_CATALOGUE = _CATALOGUE | {"/Perms"}  # for a seal that certifies
_FORM = frozenset({"/DA", "/DR", "/Fields", "/SigFlags"})
_SEALED_FORM = _FORM | {"/NeedAppearances"}
_PAGE = frozenset({"/Annots", "/LastModified", "/Tabs", "/Type"})
_INHERITED = ("/CropBox", "/MediaBox", "/Resources", "/Rotate")  # by a page from its tree; some write it out
_PAGE_TREE = frozenset({"/ITXT"})  # the mark of iText and OpenPDF
_SIGNATURE_FIELD = frozenset({"/AP", "/AS", "/DA", "/F", "/Lock", "/M", "/MK", "/P", "/Rect", "/V"})
_LISTS = ("/Annots", "/Fields")
_RESOURCES = ("/DR", "/Perms")
_DEEPEST_TREE = 64
# Names of objects that a report may hold: any other is the document's own word.
_KINDS = frozenset({"/Annot", "/Catalog", "/Font", "/Metadata", "/Page", "/Pages", "/Sig", "/XObject"})
# ISO 32000-1, table 317.
_INFORMATION = frozenset(
    {"/Author", "/CreationDate", "/Creator", "/Keywords", "/ModDate", "/Producer", "/Subject", "/Title", "/Trapped"}
)
_WORDS = (generic.TextStringObject, generic.ByteStringObject, generic.NameObject, generic.NullObject)
_ONLY_ADDED = frozenset({"/DA", "/Type"})


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a revision may touch beside what every one may, and which fields it may add."""

    name: str
    catalogue: frozenset[str]
    form: frozenset[str]
    is_field: Callable[[generic.DictionaryObject], bool]


def check_sealing_revision(reader: Reader, revision: int) -> None:
    """Pass if ``revision`` leaves all that was there before as it was, but for what a seal has to touch.

    Raises:
        Unsound: it does not. pyHanko may raise anything else, which means the same.
    """
    _check(reader, revision, _Rules("the seal's revision", _SEALED_CATALOGUE, _SEALED_FORM, _is_signature))


def check_later_revision(reader: Reader, revision: int) -> None:
    """Pass if ``revision`` adds validation data and invisible document timestamps, and changes nothing else.

    Raises:
        Unsound: it does. pyHanko may raise anything else, which means the same.
    """
    _check(reader, revision, _Rules("a later revision", _CATALOGUE, _FORM, _is_unseen_timestamp))


def _check(reader: Reader, revision: int, rules: _Rules) -> None:
    before, after = reader.get_historical_resolver(revision - 1), reader.get_historical_resolver(revision)
    if before.root_ref.idnum != after.root_ref.idnum:
        raise Unsound(f"{rules.name} has another catalogue than the one before")
    if _number(before.trailer_view, "/Encrypt") != _number(after.trailer_view, "/Encrypt"):
        raise Unsound(f"{rules.name} changes how the document is encrypted")
    freed = after.numbers_freed()
    if any(before.has(number) for number in freed):
        raise Unsound(f"{rules.name} removes objects")
    places = _Before(before)
    for ref in after.explicit_refs_in_revision():
        number = (ref.idnum, ref.generation)
        if ref.idnum in freed:
            continue
        if reader.xrefs.get_historical_ref(ref, revision - 1) is None:
            if before.has(ref.idnum):
                raise Unsound(f"{rules.name} replaces object {ref.idnum} by another generation of it")
            if not before.is_ref_unassignable(ref):
                raise Unsound(f"{rules.name} fills in object {ref.idnum}, which was asked for and was not there")
            continue
        old, new = before(ref), after(ref)
        if not (same(old, new) or places.is_unseen(number, old, new) or _is_needed(places, number, old, new, rules)):
            kind = str(entry(old, "/Type", "")) if isinstance(old, generic.DictionaryObject) else ""
            raise Unsound(
                f"{rules.name} replaces object {ref.idnum} ({kind if kind in _KINDS else 'of no known type'})"
            )


def _number(holder: object, key: str) -> Number | None:
    """Return the number of the object that ``key`` refers to, None if it refers to none."""
    value = raw(holder, key) if isinstance(holder, generic.DictionaryObject) else None
    return (value.idnum, value.generation) if isinstance(value, generic.IndirectObject) else None


class _Before:
    """A revision, and where those objects stand in it that the one after may change; found once."""

    def __init__(self, revision: Revision) -> None:
        root = revision.root
        self.root_number = (revision.root_ref.idnum, revision.root_ref.generation)
        self.pages_number, self.form_number = _number(root, "/Pages"), _number(root, "/AcroForm")
        self.form = entry(root, "/AcroForm")
        resources = entry(self.form, "/DR") if isinstance(self.form, generic.DictionaryObject) else None
        self.resources = {_number(self.form, "/DR")}
        if isinstance(resources, generic.DictionaryObject):
            self.resources |= {_number(resources, key) for key in resources}
        self._revision = revision
        self._information = _number(revision.trailer_view, "/Info")
        self._beside = {self._information, *_beside(root)}

    def is_unseen(self, number: Number, old: generic.PdfObject, new: generic.PdfObject) -> bool:
        """Return whether the object shows nothing: metadata, the document's information, a part of the store."""
        if number == self._information and _is_information(old, new):
            return True
        # Where there are too many objects to look into each, it has to do that it is one of these.
        return number in self._beside and (self._revision.reader.is_vast or number not in self._elsewhere)

    @cached_property
    def _elsewhere(self) -> set[Number]:
        """What something else leads to than the trailer (to information) and the catalogue (to metadata and store)."""
        root, trailer = self._revision.root, self._revision.trailer_view
        seen = {self.root_number}
        start = [raw(trailer, key) for key in trailer.keys() - {"/Info", "/Root"}]
        self._revision.led_to([*start, *(raw(root, key) for key in root.keys() - {"/DSS", "/Metadata"})], seen)
        return seen


def check_places(reader: Reader, ends: Sequence[int]) -> None:
    """Pass if no object is said to stand behind the end of what its revision belongs to, and something is there.

    Whoever appends something could fill it in. ``ends`` (bytes, ascending) are where the original and what was sealed
    end; whatever table begins before one speaks of what stands before it.

    Raises:
        Unsound: one is.
    """
    for revision in range(reader.xrefs.total_revisions):
        begins = reader.xrefs.get_xref_container_info(revision).start_location
        end = next((end for end in ends if begins < end), reader.size_bytes)
        data = reader.xrefs.get_xref_data(revision)
        parts = [data] if data.hybrid is None else [data, data.hybrid.xref_data]
        if any(end <= at < reader.size_bytes for part in parts for _, at in part.standard_xrefs.values()):
            raise Unsound("an object is said to stand where something was appended later")


def _beside(root: generic.DictionaryObject) -> set[Number | None]:
    """Return the metadata, and the parts of the store of validation data."""
    found = {_number(root, "/DSS")}
    metadata, store = entry(root, "/Metadata"), entry(root, "/DSS")
    if isinstance(metadata, generic.StreamObject) and entry(metadata, "/Type") == "/Metadata":
        found.add(_number(root, "/Metadata"))
    if isinstance(store, generic.DictionaryObject):
        found |= {_number(store, key) for key in store}
        by_signature = entry(store, "/VRI")
        if isinstance(by_signature, generic.DictionaryObject):
            found |= {_number(by_signature, key) for key in by_signature}
    return found


def _is_information(old: generic.PdfObject, new: generic.PdfObject) -> bool:
    """Return whether the information about the document has other words in its own entries, and is the same else."""
    if type(old) is not generic.DictionaryObject or type(new) is not generic.DictionaryObject:
        return False
    changed = {key for key in old.keys() | new.keys() if not same(raw(old, key), raw(new, key))}
    return changed <= _INFORMATION and all(_is_word(raw(item, key)) for item in (old, new) for key in changed)


def _is_word(item: generic.PdfObject) -> bool:
    return isinstance(item.get_object() if isinstance(item, generic.IndirectObject) else item, _WORDS)


def _is_needed(before: _Before, number: Number, old: generic.PdfObject, new: generic.PdfObject, rules: _Rules) -> bool:
    """Return whether a seal, or a document timestamp, has to change ``old`` into ``new``."""
    if isinstance(old, generic.ArrayObject) and isinstance(new, generic.ArrayObject):
        return _grew_by_fields(old, new, rules)
    if type(old) is not generic.DictionaryObject or type(new) is not generic.DictionaryObject:
        return False  # a stream, above all
    if number == before.root_number:
        none = generic.DictionaryObject()
        new_form = entry(new, "/AcroForm", none)
        return _differs_only_in(old, new, rules.catalogue, rules) and _is_form(before.form or none, new_form, rules)
    if number == before.form_number:
        return _is_form(old, new, rules)
    if number in before.resources:
        return _grew(old, new)
    if number == before.pages_number:
        return _differs_only_in(old, new, _PAGE_TREE, rules)
    if entry(old, "/Type") == "/Page" or ("/Type" not in old and "/Kids" in _parent(old)):
        written = [key for key in _INHERITED if key in new and key not in old]
        written_out = {key for key in written if same(_inherited(old, key), raw(new, key))}
        return _differs_only_in(old, new, _PAGE | written_out, rules)
    is_empty = _is_signature_field(old) and "/V" not in old and "/V" not in _parent(old)
    return is_empty and rules.is_field(new) and _differs_only_in(old, new, _SIGNATURE_FIELD, rules)


def _inherited(page: generic.DictionaryObject, key: str) -> generic.PdfObject:
    """Return what a page without that entry has from the tree above it (ISO 32000-1, 7.7.3.4)."""
    node = page
    for _ in range(_DEEPEST_TREE):
        node = _parent(node)
        if key in node or "/Parent" not in node:
            break
    return raw(node, key)


def _is_form(old: object, new: object, rules: _Rules) -> bool:
    """Return whether the form has become that of the sealed document; its appearances must not be made anew."""
    if not _differs_only_in(old, new, rules.form, rules):
        return False
    return not _asks_for_appearances(new) or _asks_for_appearances(old)


def _asks_for_appearances(form: object) -> bool:
    return isinstance(form, generic.DictionaryObject) and bool(entry(form, "/NeedAppearances"))


def _differs_only_in(old: object, new: object, keys: frozenset[str], rules: _Rules) -> bool:
    if not (isinstance(old, generic.DictionaryObject) and isinstance(new, generic.DictionaryObject)):
        return False
    for key in old.keys() | new.keys():
        if key in keys and not (key in old and key in _ONLY_ADDED):
            continue
        if not same(raw(old, key), raw(new, key)):
            return False
    nothing, nobody = generic.ArrayObject(), generic.DictionaryObject()
    return all(
        _grew_by_fields(entry(old, key, nothing), entry(new, key, nothing), rules) for key in _LISTS if key in keys
    ) and all(_grew(entry(old, key, nobody), entry(new, key, nobody)) for key in _RESOURCES if key in keys)


def _grew(old: object, new: object, depth: int = 0) -> bool:
    """Return whether ``new`` is ``old`` with more in it: resources by kind and name, each as it was."""
    if not (isinstance(old, generic.DictionaryObject) and isinstance(new, generic.DictionaryObject)):
        return False
    return all(
        key in new and (same(raw(old, key), raw(new, key)) or (depth == 0 and _grew(old[key], new[key], 1)))
        for key in old
    )


def _grew_by_fields(old: object, new: object, rules: _Rules) -> bool:
    """Return whether ``new`` is ``old`` and then fields that may be added, or their annotations, only."""
    if not (isinstance(old, generic.ArrayObject) and isinstance(new, generic.ArrayObject)):
        return False
    if len(new) < len(old):
        return False
    return all(same(raw(old, at), raw(new, at)) for at in range(len(old))) and all(
        isinstance(item, generic.DictionaryObject) and rules.is_field(item)
        for item in (new[at] for at in range(len(old), len(new)))
    )


def _is_signature_field(item: generic.DictionaryObject) -> bool:
    return "/Sig" in (entry(item, "/FT"), entry(_parent(item), "/FT"))


def _parent(item: generic.DictionaryObject) -> generic.DictionaryObject:
    found = entry(item, "/Parent")
    return found if isinstance(found, generic.DictionaryObject) else generic.DictionaryObject()


def _is_signature(item: generic.DictionaryObject) -> bool:
    """Return whether it is a filled signature field, or its annotation, that does nothing and is nothing else."""
    value = entry(item, "/V", entry(_parent(item), "/V"))
    is_widget = entry(item, "/Subtype", "/Widget") == "/Widget" and "/A" not in item and "/AA" not in item
    return _is_signature_field(item) and isinstance(value, generic.DictionaryObject) and is_widget


def _is_unseen_timestamp(item: generic.DictionaryObject) -> bool:
    """Return whether it is the field of a document timestamp, or its annotation, without any extent on the page."""
    value = entry(item, "/V", entry(_parent(item), "/V"))
    shown = [item, *(kid.get_object() for kid in entry(item, "/Kids", ()))]
    return (
        _is_signature(item)
        and entry(value, "/Type") == "/DocTimeStamp"
        and all(_has_no_extent(entry(widget, "/Rect", ())) for widget in shown)
    )


def _has_no_extent(box: generic.ArrayObject | tuple[()]) -> bool:
    return len(box) != 4 or box[0] == box[2] or box[1] == box[3]
