"""No byte of a sealed PDF can change unnoticed, but for a few that nobody signs and that say nothing.

Those are the letter case of the digits of the seal's value, the two versions of its container, and the letter case of
the issuer's name where the container says which certificate is the signer's. Writers differ in them.
"""

import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seal_pdfs import make_pdf
from seal_pki import make_pki
from sealdrop.model import SealLevel, Verification
from sealdrop.pdf.seal import verify_seal
from seals import expect, seal, signature_value

PDF = make_pdf()
SEALED = seal(PDF, SealLevel.B)
VALUE, PADDING = signature_value(SEALED)
VALUE_BYTES = bytes.fromhex(SEALED[VALUE:PADDING].decode("ascii"))

# How the signer's part of the container begins: a version, and a sequence that begins with the issuer's name.
NAME = make_pki().seal.asn1.issuer.dump()
SERIAL = make_pki().seal.asn1["tbs_certificate"]["serial_number"].dump()
SIGNER = bytes.fromhex("02010130") + bytes([len(NAME) + len(SERIAL)])

# Where a byte of the value may be another one: the versions of the container and of the signer, the issuer's letters.
AT_SIGNER = VALUE_BYTES.index(SIGNER + NAME)
FREE = {
    VALUE_BYTES.index(b"\x02\x01\x01\x31") + 2,
    AT_SIGNER + 2,
    *range(AT_SIGNER + len(SIGNER), AT_SIGNER + len(SIGNER) + len(NAME)),
}


@lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One folder for all examples, gone at the end of the run."""
    return tempfile.TemporaryDirectory()


def _report(content: bytes) -> Verification:
    folder = Path(_folder().name)
    anchor, sealed = folder / "anchor.pem", folder / "sealed.pdf"
    anchor.write_bytes(make_pki().root.pem)
    sealed.write_bytes(content)
    return verify_seal(sealed, expect(PDF, anchor))


def _passes(content: bytes) -> bool:
    return _report(content).first_failure is None


def _with_value(old: bytes, new: bytes, last: bool) -> bytes:
    """Replace some bytes of the seal's value, the first or the last that are so."""
    at = VALUE_BYTES.rindex(old) if last else VALUE_BYTES.index(old)
    changed = VALUE_BYTES[:at] + new + VALUE_BYTES[at + len(old) :]
    return SEALED[:VALUE] + changed.hex().upper().encode("ascii") + SEALED[PADDING:]


SHA256_AND_NULL = bytes.fromhex("6086480165030402010500")


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        pytest.param(b"\x02\x01\x01\x31", b"\x02\x01\x02\x31", False, id="container-version"),
        pytest.param(SHA256_AND_NULL, SHA256_AND_NULL[:-2] + b"\x04\0", False, id="container-digest-parameters"),
        pytest.param(SHA256_AND_NULL, SHA256_AND_NULL[:-1] + b"\x01", False, id="container-digest-not-der"),
        pytest.param(SHA256_AND_NULL[:9], SHA256_AND_NULL[:8] + b"\x02", False, id="container-digest-another"),
        pytest.param(
            SHA256_AND_NULL + b"\xa0", SHA256_AND_NULL[:-2] + b"\x04\0\xa0", True, id="signer-digest-parameters"
        ),
        pytest.param(SIGNER + NAME, SIGNER + NAME.replace(b"CA", b"CB"), False, id="issuer"),
        pytest.param(b"\x03\x82\x01\x01\0", b"\x03\x82\x01\x01\x04", False, id="bits-of-a-certificates-signature"),
    ],
)
def test_what_nothing_protects_is_looked_at(old: bytes, new: bytes, last: bool) -> None:
    """A change in a part of the signature's container that no digest covers is found, though it does no harm."""
    assert not _passes(_with_value(old, new, last))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_with_value(b"\x02\x01\x01\x31", b"\x02\x01\x03\x31", False), id="container-version"),
        pytest.param(_with_value(SIGNER, b"\x02\x01\x03\x30" + SIGNER[4:], False), id="signer-version"),
        pytest.param(_with_value(SIGNER + NAME, SIGNER + NAME.replace(b"Trust", b"TRUST"), False), id="issuer"),
        pytest.param(SEALED[:VALUE] + SEALED[VALUE:PADDING].lower() + SEALED[PADDING:], id="small-letters"),
        pytest.param(SEALED[:VALUE] + SEALED[VALUE : VALUE + 300].lower() + SEALED[VALUE + 300 :], id="both-cases"),
    ],
)
def test_what_writers_differ_in_says_nothing(other: bytes) -> None:
    """What nobody signs and writers do differently passes, and the report is the same."""
    assert other != SEALED
    assert _report(other) == _report(SEALED)
    assert _passes(other)


# The seal's value is most of the file, and all that no digest covers: it gets half of the examples.
POSITIONS = st.one_of(st.integers(0, len(SEALED) - 1), st.integers(VALUE - 1, PADDING + 1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(position=POSITIONS, value=st.integers(0, 255))
@example(position=VALUE + 7, value=ord("2"))  # the container's length, made to take in some padding
@example(position=PADDING, value=ord("1"))
def test_no_changed_byte_passes(position: int, value: int) -> None:
    """A sealed PDF of which one byte was changed never passes every check, and never raises, save where allowed."""
    changed = bytearray(SEALED)
    changed[position] = value
    passes = _passes(bytes(changed))
    if changed == SEALED:
        assert passes
    elif passes:
        digits = bytes(changed[VALUE:PADDING]).decode("ascii")
        differing = {at for at, byte in enumerate(bytes.fromhex(digits)) if byte != VALUE_BYTES[at]}
        assert differing <= FREE
        assert _report(bytes(changed)) == _report(SEALED)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(size_bytes=st.integers(0, len(SEALED)))
@example(size_bytes=len(SEALED) - 1)
def test_no_shortened_file_passes(size_bytes: int) -> None:
    """A sealed PDF that was cut off never passes, but for the end of its last line, which says nothing."""
    assert _passes(SEALED[:size_bytes]) == (size_bytes == len(SEALED))
