"""Looking into pypdf's objects without tripping over one that is broken.

A reference to an object that cannot be read counts as null, as ISO 32000-2 (7.3.10) has it for one that is missing:
what is broken somewhere in a document does not keep the rest of it from being looked at.
"""

from collections.abc import Iterator

from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
    StreamObject,
)

from sealdrop.pdf.lean import LeanReader


def resolve(value: object) -> PdfObject | None:
    """Return the object that ``value`` is or refers to; None where that is null or cannot be read.

    Raises:
        MemoryError: there is no memory left.
        RecursionError: the object is nested too deep.
    """
    if isinstance(value, IndirectObject):
        try:
            value = value.get_object()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - pypdf raises anything on broken input
            return None
    return value if isinstance(value, PdfObject) and not isinstance(value, (NullObject, IndirectObject)) else None


def entry(dictionary: DictionaryObject, key: str) -> PdfObject | None:
    """Return the value of ``key``, resolved; None where there is none."""
    return resolve(dict.get(dictionary, key))


def dictionary_at(dictionary: DictionaryObject, *keys: str) -> DictionaryObject | None:
    """Return the dictionary found by following ``keys``; None where the way ends."""
    here: PdfObject | None = dictionary
    for key in keys:
        if not isinstance(here, DictionaryObject):
            return None
        here = entry(here, key)
    return here if isinstance(here, DictionaryObject) else None


def elements(value: object) -> Iterator[PdfObject]:
    """Yield the elements of the array ``value``, resolved, without the null ones; nothing where it is no array."""
    array = resolve(value)
    if isinstance(array, ArrayObject):
        for element in list.__iter__(array):
            resolved = resolve(element)
            if resolved is not None:
                yield resolved


def name_at(dictionary: DictionaryObject, key: str) -> str:
    """Return the name at ``key`` with its slash; empty where there is none."""
    value = entry(dictionary, key)
    return str(value) if isinstance(value, NameObject) else ""


def number_at(dictionary: DictionaryObject, key: str) -> float | None:
    """Return the number at ``key``, or None."""
    value = entry(dictionary, key)
    return float(value) if isinstance(value, (NumberObject, FloatObject)) else None


def content_of(value: object) -> bytes:
    """Return the decoded content of the stream ``value``; empty where it is none or cannot be decoded.

    Raises:
        MemoryError: there is no memory left.
        RecursionError: the object is nested too deep.
    """
    stream = resolve(value)
    if not isinstance(stream, StreamObject):
        return b""
    try:
        reader = stream.indirect_reference.pdf if stream.indirect_reference is not None else None
        return (reader.whole(stream) if isinstance(reader, LeanReader) else stream).get_data()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - as above
        return b""
