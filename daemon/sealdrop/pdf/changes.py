"""What the revision that holds the seal did to the document beside sealing it.

The bytes of the original stand unchanged at the beginning of the sealed file, but the revision after them could
replace any of its objects, and the seal would be a good one of another document. pyHanko's difference analysis looks
at what came after a signature, not at the signature's own revision, and would refuse much that other signing software
does there. So this asks one thing only: of the objects that were there before, none is different but those that a
seal has to touch. Those are the catalogue and the form for the new field, a page for its annotation, an empty
signature field, the information about the document, and the store of validation data; and lists grow by signature
fields only.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from io import BytesIO

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import HistoricalResolver

from sealdrop.pdf.reader import Reader, Unsound, entry

_CATALOGUE = frozenset({"/AcroForm", "/DSS", "/Extensions", "/Metadata", "/Perms", "/Version"})
_FORM = frozenset({"/DA", "/DR", "/Fields", "/NeedAppearances", "/SigFlags"})
_PAGE = frozenset({"/Annots", "/LastModified", "/Tabs"})
_SIGNATURE_FIELD = frozenset({"/AP", "/AS", "/DA", "/F", "/Lock", "/M", "/MK", "/P", "/Rect", "/V"})
_LISTS = ("/Annots", "/Fields")


def check_sealing_revision(reader: Reader, revision: int) -> None:
    """Pass if ``revision`` leaves all that was there before as it was, but for what a seal has to touch.

    Raises:
        Unsound: it does not. pyHanko may raise anything else, which means the same.
    """
    before, after = reader.get_historical_resolver(revision - 1), reader.get_historical_resolver(revision)
    if after.refs_freed_in_revision():
        raise Unsound("the seal's revision removes objects of the original")
    if before.root_ref.idnum != after.root_ref.idnum:
        raise Unsound("the seal's revision has another catalogue than the original")
    free = _free_objects(before)
    for ref in after.explicit_refs_in_revision():
        number = (ref.idnum, ref.generation)
        if number in free or reader.xrefs.get_historical_ref(ref, revision - 1) is None:
            continue
        old, new = before(ref), after(ref)
        if _dump(old) != _dump(new) and not _is_needed(before, number, old, new):
            kind = str(old.get("/Type", "untyped")) if isinstance(old, generic.DictionaryObject) else "untyped"
            raise Unsound(f"the seal's revision replaces object {ref.idnum} ({kind}) of the original")


def _number(holder: generic.DictionaryObject, key: str) -> tuple[int, int] | None:
    """Return the number of the object that ``key`` refers to, None if it refers to none."""
    value = holder.raw_get(key) if key in holder else None
    return (value.idnum, value.generation) if isinstance(value, generic.IndirectObject) else None


def _free_objects(before: HistoricalResolver) -> set[tuple[int, int] | None]:
    """Return the objects that show nothing: information about the document, and the store of validation data."""
    root, trailer = before.root, before.trailer_view
    free = {_number(trailer, "/Info"), _number(root, "/Metadata"), _number(root, "/DSS")}
    store = entry(root, "/DSS")
    if isinstance(store, generic.DictionaryObject):
        free |= {_number(store, key) for key in store}
    return free


def _is_needed(
    before: HistoricalResolver, number: tuple[int, int], old: generic.PdfObject, new: generic.PdfObject
) -> bool:
    """Return whether a seal has to change ``old`` into ``new``."""
    if isinstance(old, generic.ArrayObject) and isinstance(new, generic.ArrayObject):
        return _grew_by_signatures(old, new)
    if type(old) is not generic.DictionaryObject or type(new) is not generic.DictionaryObject:
        return False  # a stream, above all
    if number == (before.root_ref.idnum, before.root_ref.generation):
        none = generic.DictionaryObject()
        form, new_form = entry(old, "/AcroForm", none), entry(new, "/AcroForm", none)
        return _differs_only_in(old, new, _CATALOGUE) and _differs_only_in(form, new_form, _FORM)
    if number == _number(before.root, "/AcroForm"):
        return _differs_only_in(old, new, _FORM)
    if entry(old, "/Type") == "/Page":
        return _differs_only_in(old, new, _PAGE)
    return _is_empty_signature_field(old) and _differs_only_in(old, new, _SIGNATURE_FIELD)


def _differs_only_in(old: object, new: object, keys: frozenset[str]) -> bool:
    if not (isinstance(old, generic.DictionaryObject) and isinstance(new, generic.DictionaryObject)):
        return False
    for key in (old.keys() | new.keys()) - keys:
        if key not in old or key not in new or _dump(old.raw_get(key)) != _dump(new.raw_get(key)):
            return False
    none = generic.ArrayObject()
    return all(_grew_by_signatures(entry(old, key, none), entry(new, key, none)) for key in _LISTS if key in keys)


def _grew_by_signatures(old: generic.ArrayObject, new: generic.ArrayObject) -> bool:
    """Return whether ``new`` is ``old`` and then signature fields, or their annotations, only."""
    kept, items = [_dump(item) for item in old], list(new)
    grown = items[len(kept) :]
    return kept == [_dump(item) for item in items[: len(kept)]] and all(
        _is_signature_field(item.get_object()) for item in grown
    )


def _is_signature_field(item: object) -> bool:
    if not isinstance(item, generic.DictionaryObject):
        return False
    return "/Sig" in (entry(item, "/FT"), entry(entry(item, "/Parent", {}), "/FT"))


def _is_empty_signature_field(item: generic.DictionaryObject) -> bool:
    return _is_signature_field(item) and "/V" not in item and "/V" not in entry(item, "/Parent", {})


def _dump(item: generic.PdfObject) -> bytes:
    out = BytesIO()
    item.write_to_stream(out, None)
    return out.getvalue()
