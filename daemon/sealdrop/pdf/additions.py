"""Later revisions so plain that pyHanko need not be asked.

To say what a revision may do, pyHanko looks for all the ways that lead to each object it touches, and for that reads
every object of the document. Yet what nearly every service appends to a seal is of one shape: a store of validation
data, and the invisible field of a document timestamp. So this asks, of a revision that has passed
`changes.check_later_revision`, whether it has that shape and no other. It is narrow on purpose: what can be told only
from the ways to an object is left to pyHanko, and so is all else that is not said here.

1. Nothing is freed, and no object is hidden in a hybrid file.
2. What was there before is as it was, save that the catalogue has a store and names extensions in words of its own, the
   form has more fields and says that there are signatures, pages have more annotations, and the information about the
   document has another date and producer, in words. Wherever else such an object stands, that shows nothing there.
3. The store was not there when the document was sealed, neither the entry for it nor the object, and only a store's own
   entries are others in it.
4. No two fields of the form have one name. Each field that is added is new, and consists of words and numbers, but for
   its page, which was there, and its value: a new dictionary of words and numbers. The annotations that are added are
   these fields.
5. The trailer leads where it led.

So of what is new nothing but the store and the fields is led to, and the store shows nothing.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from pyhanko.pdf_utils import generic

from sealdrop.pdf.equality import raw, same
from sealdrop.pdf.reader import NOT_THE_DOCUMENT, Reader, Revision, entry

_CATALOGUE = frozenset({"/AcroForm", "/DSS", "/Extensions"})
_STORE = frozenset({"/CRLs", "/Certs", "/OCSPs", "/VRI"})
_FORM = frozenset({"/Fields", "/SigFlags"})
_INFORMATION = frozenset({"/ModDate", "/Producer"})
_PAGE = frozenset({"/Annots"})
_FIELD = frozenset({"/F", "/FT", "/Ff", "/P", "/Rect", "/Subtype", "/T", "/TU", "/Type", "/V"})
_TRAILER = frozenset(  # how it is written
    {"/DecodeParms", "/Filter", "/ID", "/Index", "/Length", "/Prev", "/Size", "/Type", "/W", "/XRefStm"}
)
_STRINGS = (generic.TextStringObject, generic.ByteStringObject)
_WORDS = (*_STRINGS, generic.NameObject, generic.BooleanObject, generic.NullObject)
_NUMBERS = (generic.NumberObject, generic.FloatObject)
_DEEPEST = 8


def is_plain(reader: Reader, sealed: int, revision: int) -> bool:
    """Return whether ``revision``, which passed `changes.check_later_revision`, is of that shape.

    ``sealed`` is the revision of the seal. pyHanko's analysis is to be asked if not.

    Raises:
        MemoryError, OSError: there is not enough, or the disk failed; this says nothing about the document.
    """
    try:
        return _is_plain(reader, sealed, revision)
    except NOT_THE_DOCUMENT:
        raise
    except Exception:  # noqa: BLE001 - pyHanko may raise anything
        return False


def _is_plain(reader: Reader, sealed: int, revision: int) -> bool:
    before, after = reader.get_historical_resolver(revision - 1), reader.get_historical_resolver(revision)
    if after.numbers_freed() - {0} or reader.xrefs.get_xref_data(revision).hybrid is not None:
        return False
    store = entry(after.root, "/DSS") if "/DSS" in after.root else generic.DictionaryObject()
    original = reader.get_historical_resolver(sealed)
    if "/DSS" in original.root or type(store) is not generic.DictionaryObject:
        return False
    if not _differ_in(before.trailer_view, after.trailer_view, _TRAILER):
        return False
    old_form, new_form = entry(before.root, "/AcroForm"), entry(after.root, "/AcroForm")
    if not _differ_in(old_form, new_form, _FORM) or not _only_more_flags(old_form, new_form):
        return False
    added = _added_fields(before, old_form, new_form)
    return added is not None and all(
        _is_as_it_was(original, before, after, ref, added)
        for ref in after.explicit_refs_in_revision()
        if _was_there(before, ref)
    )


def _was_there(before: Revision, ref: generic.Reference | generic.IndirectObject) -> bool:
    place = generic.Reference(ref.idnum, ref.generation)
    return before.reader.xrefs.get_historical_ref(place, before.revision) is not None


def _is_as_it_was(
    original: Revision, before: Revision, after: Revision, ref: generic.Reference, added: set[int]
) -> bool:
    """Return whether an object has changed in nothing but what the module's text names."""
    old, new = before(ref), after(ref)
    if same(old, new):
        return True
    if type(old) is not generic.DictionaryObject or type(new) is not generic.DictionaryObject:
        return False
    if ref.idnum == before.root_ref.idnum:
        extensions = raw(new, "/Extensions")
        are_words = _refers_to_nothing(extensions) or same(raw(old, "/Extensions"), extensions)
        return are_words and _differ_in(old, new, _CATALOGUE)
    if ref.idnum == _number(before.root, "/AcroForm"):
        return _differ_in(old, new, _FORM)
    if ref.idnum == _number(before.root, "/DSS"):
        return not _was_there(original, ref) and _differ_in(old, new, _STORE)
    if ref.idnum == _number(before.trailer_view, "/Info"):
        changed = [raw(item, key) for key in _INFORMATION for item in (old, new) if key in item]
        return _differ_in(old, new, _INFORMATION) and all(isinstance(value, _STRINGS) for value in changed)
    if entry(old, "/Type") != "/Page" or not _differ_in(old, new, _PAGE):
        return False
    more = _more(raw(old, "/Annots") if "/Annots" in old else generic.ArrayObject(), raw(new, "/Annots"))
    return more is not None and all(isinstance(item, generic.IndirectObject) and item.idnum in added for item in more)


def _only_more_flags(old_form: generic.DictionaryObject, new_form: generic.DictionaryObject) -> bool:
    """Return whether the form has the flags that it had, and perhaps those of a form with signatures (table 225)."""
    old, new = entry(old_form, "/SigFlags", generic.NumberObject(0)), entry(new_form, "/SigFlags", 0)
    are_numbers = type(old) is generic.NumberObject and type(new) is generic.NumberObject
    return new == old or (are_numbers and new in (old | 1, old | 2, old | 3))


def _added_fields(
    before: Revision, old_form: generic.DictionaryObject, new_form: generic.DictionaryObject
) -> set[int] | None:
    """Return the numbers of the fields that are added, None unless they are as the module's text says."""
    more = _more(raw(old_form, "/Fields"), raw(new_form, "/Fields"))
    fields = entry(new_form, "/Fields")
    if more is None:
        return None
    names = [str(entry(fields[at], "/T")) for at in range(len(fields))]
    if len(set(names)) != len(names) or not all(_is_field(before, _made(before, item)) for item in more):
        return None
    return {item.idnum for item in more if isinstance(item, generic.IndirectObject)}


def _made(before: Revision, item: generic.PdfObject) -> generic.PdfObject | None:
    """Return the object that ``item`` refers to, None unless it is new."""
    if not isinstance(item, generic.IndirectObject) or _was_there(before, item):
        return None
    found: generic.PdfObject = item.get_object()
    return found


def _is_field(before: Revision, field: generic.PdfObject | None) -> bool:
    if type(field) is not generic.DictionaryObject or not field.keys() <= _FIELD or entry(field, "/FT") != "/Sig":
        return False
    value, page, name = _made(before, raw(field, "/V")), raw(field, "/P"), raw(field, "/T")
    return (
        isinstance(name, generic.TextStringObject)
        and "." not in name
        and isinstance(page, generic.IndirectObject)
        and _was_there(before, page)
        and type(value) is generic.DictionaryObject
        and _refers_to_nothing(value)
        and all(_refers_to_nothing(raw(field, key)) for key in field.keys() - {"/P", "/V"})
    )


def _more(old: generic.PdfObject, new: generic.PdfObject) -> list[generic.PdfObject] | None:
    """Return what ``new`` has behind all that ``old`` has; None unless both are lists written in their places."""
    if type(old) is not generic.ArrayObject or type(new) is not generic.ArrayObject or len(new) < len(old):
        return None
    if not all(same(raw(old, at), raw(new, at)) for at in range(len(old))):
        return None
    return [raw(new, at) for at in range(len(old), len(new))]


def _differ_in(old: object, new: object, keys: frozenset[str]) -> bool:
    """Return whether both are dictionaries, and the same but for these keys."""
    return (
        type(old) is generic.DictionaryObject
        and type(new) is generic.DictionaryObject
        and all(same(raw(old, key), raw(new, key)) for key in (old.keys() | new.keys()) - keys)
    )


def _refers_to_nothing(item: generic.PdfObject, depth: int = 0) -> bool:
    """Return whether it consists of words and numbers, no reference and no stream among them."""
    if depth > _DEEPEST:
        return False
    if type(item) is generic.DictionaryObject:
        return all(_refers_to_nothing(raw(item, key), depth + 1) for key in item)
    if isinstance(item, generic.ArrayObject):
        return all(_refers_to_nothing(raw(item, at), depth + 1) for at in range(len(item)))
    return isinstance(item, (*_WORDS, *_NUMBERS))


def _number(holder: generic.DictionaryObject, key: str) -> int | None:
    value = raw(holder, key) if key in holder else None
    return value.idnum if isinstance(value, generic.IndirectObject) else None
