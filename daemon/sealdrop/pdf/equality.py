"""Whether two objects of a PDF, from two of its revisions, say the same.

Software that appends a revision writes an object anew to change one entry of it, and writes the rest in its own way.
So objects are compared by what they say: the order of a dictionary's entries does not count, nor how a number or a
string is spelt, nor whether something stands in its place or is referred to. An entry that is null, or leads nowhere,
is no entry (ISO 32000-1, 7.3.7 and 7.3.10).
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

from pyhanko.pdf_utils import generic

_NUMBERS = (generic.NumberObject, generic.FloatObject)
_STRINGS = (generic.TextStringObject, generic.ByteStringObject)

_Pair = tuple[int, int, int, int]  # two objects under comparison: number and generation of each


def same(old: generic.PdfObject, new: generic.PdfObject) -> bool:
    """Return whether ``old``, of one revision, and ``new``, of a later one, say the same.

    Two references to the same number do: whether the object under that number has changed is another question.
    """
    return _same(old, new, set())


def raw(holder: generic.DictionaryObject | generic.ArrayObject, key: str | int) -> generic.PdfObject:
    """Return what stands there, be it a reference, and null if nothing does."""
    try:
        found: generic.PdfObject = holder.raw_get(key)  # type: ignore[arg-type]
    except (KeyError, IndexError):
        return generic.NullObject()
    return found


def _same(old: generic.PdfObject, new: generic.PdfObject, assumed: set[_Pair]) -> bool:
    if isinstance(old, generic.IndirectObject) and isinstance(new, generic.IndirectObject):
        pair = (old.idnum, old.generation, new.idnum, new.generation)
        if pair[:2] == pair[2:] or pair in assumed:
            return True
        assumed.add(pair)  # in a circle it is the rest that tells them apart
    if isinstance(old, generic.IndirectObject):
        old = old.get_object()
    if isinstance(new, generic.IndirectObject):
        new = new.get_object()
    if isinstance(old, generic.TextStringObject) and isinstance(new, generic.TextStringObject):
        return str(old) == str(new)
    if isinstance(old, _STRINGS) and isinstance(new, _STRINGS):
        return bool(old.original_bytes == new.original_bytes)
    if isinstance(old, _NUMBERS) and isinstance(new, _NUMBERS):
        return old == new
    if type(old) is not type(new):
        return False
    if isinstance(old, generic.ArrayObject) and isinstance(new, generic.ArrayObject):
        return len(old) == len(new) and all(_same(raw(old, at), raw(new, at), assumed) for at in range(len(old)))
    if isinstance(old, generic.DictionaryObject) and isinstance(new, generic.DictionaryObject):
        return _content(old) == _content(new) and all(
            _same(raw(old, key), raw(new, key), assumed) for key in old.keys() | new.keys()
        )
    return isinstance(old, generic.NullObject) or old == new


def _content(stream: generic.DictionaryObject) -> bytes | None:
    return stream.encoded_data if isinstance(stream, generic.StreamObject) else None
