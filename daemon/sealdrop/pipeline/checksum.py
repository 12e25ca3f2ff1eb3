"""A producer's checksum file: the SHA-256 that its document has, as ``sha256sum`` writes it, or the bare digest.

One line: ``<64 hexadecimal digits>``, perhaps followed by two spaces (text) or a space and an asterisk (binary) and a
file name; a backslash in front says that the name is escaped. The name is not compared: what comes back from the
rejected folder may have got another one, and the digest says it all.
"""

import re

from sealdrop.model import CompanionFault, Sha256
from sealdrop.pipeline.sidecar import BYTE_ORDER_MARK

CHECKSUM_MAX_BYTES = 8 << 10  # a line with the longest path there is (PATH_MAX, 4,096), escaped
_LINE = re.compile(rb"\\?([0-9A-Fa-f]{64})(?: [ *][^\r\n\0]+|[ \t]*)(?:\r?\n)*")


def read_checksum(content: bytes) -> Sha256 | CompanionFault:
    """Return the digest that the file gives, or what is wrong with the file."""
    if len(content) > CHECKSUM_MAX_BYTES:
        return CompanionFault(f"it is larger than {CHECKSUM_MAX_BYTES:,} bytes")
    found = _LINE.fullmatch(content.removeprefix(BYTE_ORDER_MARK))
    if found is None:
        what = "it is empty" if not content.strip() else "it is not one line that sha256sum writes, nor a bare SHA-256"
        return CompanionFault(what, may_be_unfinished=True)
    return Sha256(found[1].decode("ascii").lower())
