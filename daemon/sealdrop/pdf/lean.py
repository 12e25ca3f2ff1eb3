"""pypdf's reader for documents of any length.

Of a large document the data of long streams stays in the file (see `large`), save where pypdf needs it itself: streams
of objects and of cross-references. What else is needed is had by `LeanReader.whole`. An object that the table does not
know is looked for in the file piece by piece, where pypdf reads the file whole. It still does so to rebuild a table,
and the streams of an encrypted document are read one by one: both are rejected as a rule.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pypdf import PdfReader
from pypdf.generic import IndirectObject, PdfObject, StreamObject

from sealdrop.pdf.large import LargeFile


class LeanReader(PdfReader):
    """A reader, never strict; sparing if it is given a `LargeFile`."""

    def __init__(self, file: BinaryIO) -> None:
        self._large = file if isinstance(file, LargeFile) else None
        self._needs_data = False
        super().__init__(file, strict=False)

    def get_object(self, indirect_reference: int | IndirectObject) -> PdfObject | None:
        """Return an object, as pypdf does."""
        if self._large is None or isinstance(indirect_reference, int):
            return super().get_object(indirect_reference)
        key = indirect_reference.generation, indirect_reference.idnum
        if key not in self.resolved_objects and not (self._is_listed(*key) or self._find(self._large, *key)):
            return self.cache_indirect_object(*key, None)
        with self._large.leaving(not (self._needs_data or self.is_encrypted)):
            return super().get_object(indirect_reference)

    def whole(self, stream: StreamObject) -> StreamObject:
        """Return the stream with its data, which is not kept if the document is large."""
        reference = stream.indirect_reference
        if self._large is None or reference is None:
            return stream
        key = reference.generation, reference.idnum
        before = self.resolved_objects.pop(key, None)
        with self._with_data():
            found = self.get_object(reference)
        self.resolved_objects[key] = before
        return found if isinstance(found, StreamObject) else stream

    def _get_object_from_stream(self, indirect_reference: IndirectObject) -> PdfObject:
        with self._with_data():
            return super()._get_object_from_stream(indirect_reference)

    @contextmanager
    def _with_data(self) -> Iterator[None]:
        before, self._needs_data = self._needs_data, True
        try:
            yield
        finally:
            self._needs_data = before

    def _is_listed(self, generation: int, number: int) -> bool:
        return number in self.xref.get(generation, ()) or (generation == 0 and number in self.xref_objStm)

    def _find(self, file: LargeFile, generation: int, number: int) -> bool:
        """Take an object into the table that is in the file, and return whether it is."""
        place = file.look_for(re.compile(rb"\s%d\s+%d\s+obj" % (number, generation)))
        if place is None:
            return False
        self.xref.setdefault(generation, {})[number] = place + 1
        return True
