"""An answer as it arrives: the sealed PDF in it is decoded on its way, and what is left is read as a whole.

A status answer is as long as the sealed PDF in base64, and a few hundred bytes beside. So its ``signedContent`` is cut
out of the JSON text while that comes in, in pieces that end anywhere, and handed on decoded; in its place the rest has
an empty text. The rest is ordinary JSON, which `strict_json` and `wire` judge as they judge every answer: a field that
stands there twice, a text that never ends, anything that is no JSON is found there.

- Content is what the answer's own object calls ``signedContent``, or each object of a list of them, however JSON spells
  that name. Content in any other place stays in the rest, whose length is bounded.
- Content is base64 (RFC 4648, 4), with line breaks of either kind anywhere (signapi.md) and whatever JSON may escape.
- Only an object's own content is handed on; a list's is passed over. What is wrong with it is said by `Arrival.fault`
  when all has come, since an answer may be an error, or about another request, whatever stands in this field.
"""

import binascii
import json
import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

NAME = b"signedContent"
_OWNERS = (b"{", b"[{")  # the brackets around what may be content: the answer's own object, or one in its list
_LONGEST_SPELLING = len(NAME) * len("\\u0000")
_NEXT = re.compile(rb'["{}\[\]:,]')
# A text up to its end, to the end of the piece, or to an escape that may go on in the next piece.
_TEXT = re.compile(rb'[^"\\]*+(?:\\(?:[^u]|u[0-9a-fA-F]{4})[^"\\]*+)*+', re.DOTALL)
_LONGEST_ESCAPE = len(b"\\u0000")
_BACKSLASH = ord(b"\\")
_MARK = b"%PDF-"
_FAST = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


class _Place(Enum):
    BETWEEN = auto()  # texts
    TEXT = auto()
    CONTENT = auto()


class Arrival:
    """Takes an answer's pieces; ``sink`` is given the content, or None if it is to be passed over.

    ``rest`` holds what has come beside the content, ``size_bytes`` counts the decoded content.
    """

    def __init__(self, sink: Callable[[bytes], None] | None) -> None:
        self.rest = bytearray()
        self.size_bytes = 0
        self.fault: str | None = None
        self._decoder = None if sink is None else _Decoder(partial(self._hand_on, sink))
        self._place = _Place.BETWEEN
        self._open = bytearray()  # the brackets that are open
        self._is_name = False  # whether the next text is a name of the object that is open
        self._name: bytearray | None = None  # the name that is being read, if it can be the content's
        self._is_content = False  # whether the next text is content
        self._begins = b""  # of the PDF, until there is enough to tell that it is one
        self._held = b""  # of an escape that may go on

    def take(self, piece: bytes) -> None:
        """Take the next piece."""
        piece, self._held = self._held + piece, b""
        at = 0
        while at < len(piece):
            at = self._between(piece, at) if self._place is _Place.BETWEEN else self._text(piece, at)

    def end(self) -> bytes:
        """Return the rest, once all has come; ``fault`` and ``size_bytes`` are final then."""
        self.rest += self._held  # of a text that never ended, which is no JSON
        if self._decoder is not None and self._decoder.has_begun and self.fault is None:
            if not self._decoder.is_whole:
                self.fault = "signedContent is not base64"
            elif self._begins != _MARK:
                self.fault = "signedContent holds no PDF"
        return bytes(self.rest)

    def _between(self, piece: bytes, at: int) -> int:
        found = _NEXT.search(piece, at)
        if found is None:
            self.rest += piece[at:]
            return len(piece)
        self.rest += piece[at : found.end()]
        match found.group():
            case b"{" | b"[" as bracket:
                self._open += bracket
                self._is_name, self._is_content = bracket == b"{", False
            case b"}" | b"]":
                del self._open[-1:]
                self._is_name = self._is_content = False
            case b",":
                self._is_name, self._is_content = self._open.endswith(b"{"), False
            case b'"' if self._is_content:
                self._place = _Place.CONTENT
            case b'"':
                self._place = _Place.TEXT
                self._name = bytearray() if self._is_name and bytes(self._open) in _OWNERS else None
            case _:  # a colon
                pass
        return found.end()

    def _text(self, piece: bytes, at: int) -> int:
        end = _text_end(piece, at)
        text = piece[at:end]
        if piece[end : end + 1] == b'"':
            self._take_text(text)
            self.rest += b'"'
            self._text_ended()
            return end + 1
        if end < len(piece) and len(piece) - end >= _LONGEST_ESCAPE:  # an escape that JSON does not know
            text, end = piece[at : end + 1], end + 1
        else:
            self._held = piece[end:]
            end = len(piece)
        self._take_text(text)
        return end

    def _take_text(self, text: bytes) -> None:
        if self._place is _Place.CONTENT:
            if self._decoder is not None and self.fault is None and len(self._open) == 1:
                try:
                    self._decoder.take(text)
                except ValueError:
                    self.fault = "signedContent is not base64"
            return
        self.rest += text
        if self._name is not None:
            self._name += text
            if len(self._name) > _LONGEST_SPELLING:
                self._name = None

    def _text_ended(self) -> None:
        self._is_content = self._name is not None and _spells_content(bytes(self._name))
        self._place, self._name, self._is_name = _Place.BETWEEN, None, False

    def _hand_on(self, sink: Callable[[bytes], None], content: bytes) -> None:
        self.size_bytes += len(content)
        if len(self._begins) < len(_MARK):
            self._begins += content[: len(_MARK) - len(self._begins)]
        sink(content)


class _Decoder:
    """Base64 in pieces of JSON text to bytes, handed to ``sink``."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._left = b""
        self._is_padded = False
        self.has_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing at the end."""
        return not self._left

    def take(self, text: bytes) -> None:
        """Decode the next piece, which ends in no escape.

        Raises:
            ValueError: it is not base64.
        """
        if not text:
            return
        self.has_begun = True
        if b"\\" in text:
            text = _unescaped(text)
        digits = self._left + text
        end = len(digits) - len(digits) % 4
        self._left = digits[end:]
        if digits and self._is_padded:
            raise ValueError("more than a whole")
        if end:
            self._is_padded = digits[end - 1 : end] == b"="
            self._sink(_decoded(digits[:end]))


def _text_end(piece: bytes, at: int) -> int:
    """Return where a text ends that goes on at ``at``: at its quote, the piece's end, or an escape that may go on.

    Nearly always that is found without looking at each byte: a quote that follows no backslash is the text's end, and
    an escape that goes on is no longer than its piece's last bytes.
    """
    quote = piece.find(b'"', at)
    if quote >= 0 and (quote == at or piece[quote - 1] != _BACKSLASH):
        return quote
    if quote < 0 and piece.find(b"\\", max(at, len(piece) - _LONGEST_ESCAPE)) < 0:
        return len(piece)
    found = _TEXT.match(piece, at)
    return at if found is None else found.end()


def _decoded(digits: bytes) -> bytes:
    """Return what base64 stands for.

    Raises:
        ValueError: it is not base64.
    """
    # pydantic's reader takes a quarter of binascii's time, and may take the digits of base64url, too.
    if not any(each in digits for each in (b"-", b"_", b"\\")):
        with suppress(ValidationError):
            return _FAST.validate_json(b'"%b"' % digits)
    return binascii.a2b_base64(digits, strict_mode=True)


def _unescaped(text: bytes) -> bytes:
    """Return base64 without its line breaks and other escapes.

    Raises:
        ValueError: it holds what JSON, or ASCII, does not.
    """
    plain: str = from_json(b'"%b"' % text)
    return b"".join(plain.encode("ascii").splitlines())


def _spells_content(name: bytes) -> bool:
    if b"\\" not in name:
        return name == NAME
    try:
        return json.loads(b'"%b"' % name) == NAME.decode()  # type: ignore[no-any-return]
    except ValueError:
        return False
