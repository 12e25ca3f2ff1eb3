"""Names in certificates, compared once: importing this teaches asn1crypto to remember what it found.

To compare two names, asn1crypto prepares each string in them as RFC 4518 says, one character at a time, and does so
again for every certificate, token and list that it has parsed anew. Path building compares the same few names again
and again, and that took a quarter of a verification. What is remembered is asn1crypto's own answer, and its key are
the bytes of both names, so that it can be no other for them; what asn1crypto cannot compare it still refuses.
"""

# mypy: disable-error-code="import-untyped"
# asn1crypto has no types.

from functools import lru_cache

from asn1crypto import x509

_LONGEST_BYTES = 4096  # longer ones are compared anew each time: nobody but an attacker has them

_same_name = x509.Name.__eq__
_hashable = x509.Name.hashable.fget


@lru_cache(maxsize=1024)
def _remembered_same(one: bytes, other: bytes) -> bool:
    return bool(_same_name(x509.Name.load(one), x509.Name.load(other)))


@lru_cache(maxsize=256)
def _remembered_hashable(name: bytes) -> str:
    return str(_hashable(x509.Name.load(name)))


def _same(one: x509.Name, other: object) -> bool:
    """Return whether two names are the same by RFC 5280, 7.1; takes the place of ``x509.Name.__eq__``."""
    if not isinstance(other, x509.Name):
        return False
    # Without the tag that a name may have from where it stands.
    left, right = one.chosen.dump(), other.chosen.dump()
    if len(left) + len(right) > _LONGEST_BYTES:
        return bool(_same_name(one, other))
    return _remembered_same(left, right)


def _key(name: x509.Name) -> str:
    """Return what is equal for names that are the same; takes the place of ``x509.Name.hashable``."""
    content = name.chosen.dump()
    return _remembered_hashable(content) if len(content) <= _LONGEST_BYTES else str(_hashable(name))


x509.Name.__eq__ = _same
x509.Name.hashable = property(_key)
