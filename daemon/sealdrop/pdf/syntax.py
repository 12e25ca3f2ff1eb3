"""Objects of a PDF that are written plainly, read in one go into pyHanko's own.

pyHanko reads a PDF one byte at a time, through a file that it moves back and forth. In a verification that was the
largest part, and the value of a signature, some ten thousand hexadecimal digits, the largest part of it. Nearly every
object is written plainly: no comments, no odd escapes, no words that have to be guessed. Such a one is read here,
token by token, and becomes exactly what pyHanko makes of it. Whatever else stands there, this reads nothing: pyHanko
reads the object in its own way, and says what is wrong with it.

One thing is other than pyHanko has it: a long value of a signature is bytes, though it may happen to be text as well.
"""

# mypy: disable-error-code="no-untyped-call"
# pyHanko says that it is typed, and leaves many of its functions without types.

import re
from collections.abc import Callable

from pyhanko.pdf_utils import generic

_SPACE = rb"[\0\t\n\f\r ]"
_ENDS = rb"(?=[\0\t\n\f\r ()<>\[\]/%])"  # a token that does not end itself
_HEADER = re.compile(rb"(\d{1,10}) (\d{1,5}) obj" + _ENDS)
_ESCAPE = rb"\\(?:[0-3][0-7]{2}|[()\\])"
_TOKEN = re.compile(
    _SPACE + rb"*(?:"
    rb"/(?P<name>[!\"$&'*-.0-;=?-Z\\^-z|~]*)" + _ENDS + rb"|"
    rb"(?P<reference>(?P<number>[1-9]\d{0,6}) (?P<generation>\d{1,2}) R)" + _ENDS + rb"|"
    rb"(?P<integer>[+-]?\d{1,15})" + _ENDS + rb"|"
    rb"(?P<real>[+-]?(?:\d{1,15}\.\d{0,15}|\.\d{1,15}))" + _ENDS + rb"|"
    rb"(?P<dictionary><<)|(?P<end>>>)|(?P<array>\[)|(?P<close>\])|"
    rb"\((?P<text>[^()\\]*+(?:" + _ESCAPE + rb"[^()\\]*+)*+)\)|"
    rb"<(?P<hexadecimal>[0-9A-Fa-f]*)>|"
    rb"(?P<word>true|false|null)" + _ENDS + rb")"
)
_ESCAPED = re.compile(_ESCAPE)
_STREAM = re.compile(_SPACE + rb"*stream\r?\n")
_END = re.compile(_SPACE + rb"*endobj")
_STREAM_END = re.compile(_SPACE + rb"*endstream" + _SPACE + rb"*endobj")
_WORDS: dict[bytes, Callable[[], generic.PdfObject]] = {
    b"true": lambda: generic.BooleanObject(value=True),
    b"false": lambda: generic.BooleanObject(value=False),
    b"null": generic.NullObject,
}
_DEEPEST = 32
_LONG_DIGITS = 512
_LOOKED_AT_BYTES = 32 << 10  # objects are short, but for what a stream holds
_LONGEST_BYTES = 1 << 20  # pyHanko reserves 16 KiB for a signature's value, others up to some 100 KiB
_TAIL_BYTES = 64

ReadAt = Callable[[int, int], bytes]


class _NotPlain(Exception):
    """What stands there is for pyHanko to read, as far as it has been looked at."""


class _ForPyhanko(_NotPlain):
    """What stands there is for pyHanko to read, whatever follows."""


def read_plain(
    read_at: ReadAt, place: int, ref: generic.Reference, *, read_data: ReadAt | None = None
) -> generic.PdfObject | None:
    """Return the object that stands at ``place``, None unless it is ``ref`` and written plainly.

    ``read_at`` returns up to so many bytes (second) from a place (first), ``read_data`` what a stream holds.
    """
    data = read_data or read_at
    for size_bytes in (_LOOKED_AT_BYTES, _LONGEST_BYTES):
        content = read_at(place, size_bytes)
        try:
            return _Object(content, ref).read(
                lambda at, size_bytes: read_at(place + at, size_bytes),
                lambda at, size_bytes: data(place + at, size_bytes),
            )
        except _ForPyhanko:
            break
        except _NotPlain:
            if len(content) < size_bytes:
                break
    return None


class _Object:
    """The bytes that begin with an object, and how far they have been read."""

    def __init__(self, content: bytes, ref: generic.Reference) -> None:
        self._content = content
        self._ref = ref
        self._at = 0

    def read(self, read_at: ReadAt, read_data: ReadAt) -> generic.PdfObject:
        header = _HEADER.match(self._content)
        if header is None or (int(header[1]), int(header[2])) != (self._ref.idnum, self._ref.generation):
            raise _ForPyhanko
        self._at = header.end()
        found = self._made(self._token(), 0)
        if _END.match(self._content, self._at):
            return found
        stream = _STREAM.match(self._content, self._at)
        if stream is None or type(found) is not generic.DictionaryObject:
            raise _NotPlain
        return self._stream(found, stream.end(), read_at, read_data)

    def _token(self) -> "re.Match[bytes]":
        found = _TOKEN.match(self._content, self._at)
        if found is None:
            # A string may be longer than what was read; nothing else may.
            left = self._content[self._at : self._at + _TAIL_BYTES].lstrip(b"\0\t\n\f\r ")
            raise _NotPlain if len(left) < _TAIL_BYTES // 2 or left[:1] in b"<(" else _ForPyhanko
        self._at = found.end()
        return found

    def _made(self, token: "re.Match[bytes]", depth: int, key: str = "") -> generic.PdfObject:
        kind = token.lastgroup
        made: generic.PdfObject
        if kind == "name":
            made = _name(token)
        elif kind == "reference":
            made = generic.IndirectObject(int(token["number"]), int(token["generation"]), self._ref.pdf)
        elif kind == "integer":
            made = generic.NumberObject(token["integer"])
        elif kind == "dictionary":
            made = self._dictionary(depth + 1)
        elif kind == "array":
            made = self._array(depth + 1)
        elif kind == "text":
            made = generic.pdf_string(_ESCAPED.sub(_unescaped, token["text"]))
        elif kind == "hexadecimal":
            made = _string(token["hexadecimal"], key)
        elif kind == "real":
            made = generic.FloatObject(token["real"].decode("ascii"))
        elif kind == "word":
            made = _WORDS[token["word"]]()
        else:
            raise _NotPlain  # the end of something that did not begin
        made.container_ref = self._ref
        return made

    def _dictionary(self, depth: int) -> generic.DictionaryObject:
        made = generic.DictionaryObject()
        while (token := self._token()).lastgroup != "end":
            if token.lastgroup != "name" or depth > _DEEPEST:
                raise _NotPlain
            key = _name(token)
            if key in made:
                raise _ForPyhanko
            # Not through pyHanko's own, which would set again whose part the value is.
            dict.__setitem__(made, key, self._made(self._token(), depth, key))
        return made

    def _array(self, depth: int) -> generic.ArrayObject:
        made = generic.ArrayObject()
        while (token := self._token()).lastgroup != "close":
            if depth > _DEEPEST:
                raise _NotPlain
            made.append(self._made(token, depth))
        return made

    def _stream(
        self, entries: generic.DictionaryObject, begins: int, read_at: ReadAt, read_data: ReadAt
    ) -> generic.StreamObject:
        size_bytes = dict.get(entries, "/Length")
        if type(size_bytes) is not generic.NumberObject or size_bytes < 0:
            raise _ForPyhanko
        content = read_data(begins, size_bytes)
        if len(content) != size_bytes or not _STREAM_END.match(read_at(begins + size_bytes, _TAIL_BYTES)):
            raise _ForPyhanko
        made = generic.StreamObject(entries, encoded_data=content)
        made.container_ref = self._ref
        return made


def _name(token: "re.Match[bytes]") -> generic.NameObject:
    return generic.NameObject("/" + token["name"].decode("ascii"))


def _unescaped(escape: "re.Match[bytes]") -> bytes:
    character = escape[0][1:]
    return character if len(character) == 1 else bytes([int(character, 8)])


def _string(digits: bytes, key: str) -> generic.PdfObject:
    if len(digits) % 2:
        raise _NotPlain
    content = bytes.fromhex(digits.decode("ascii"))
    if key == "/Contents" and len(digits) >= _LONG_DIGITS:
        return generic.ByteStringObject(content)
    found: generic.PdfObject = generic.pdf_string(content)
    return found
