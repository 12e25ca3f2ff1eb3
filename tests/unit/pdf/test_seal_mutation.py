"""No byte of a sealed PDF can change unnoticed."""

import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seal_pdfs import make_pdf
from seal_pki import make_pki
from sealdrop.model import SealLevel
from sealdrop.pdf.seal import verify_seal
from seals import expect, seal, signature_value

PDF = make_pdf()
SEALED = seal(PDF, SealLevel.B)
VALUE, PADDING = signature_value(SEALED)


@lru_cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One folder for all examples, gone at the end of the run."""
    return tempfile.TemporaryDirectory()


def _passes(content: bytes) -> bool:
    folder = Path(_folder().name)
    anchor, sealed = folder / "anchor.pem", folder / "sealed.pdf"
    anchor.write_bytes(make_pki().root.pem)
    sealed.write_bytes(content)
    return verify_seal(sealed, expect(PDF, anchor)).first_failure is None


SHA256_AND_NULL = bytes.fromhex("6086480165030402010500")


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        pytest.param(b"\x02\x01\x01\x31", b"\x02\x01\x03\x31", False, id="container-version"),
        pytest.param(SHA256_AND_NULL, SHA256_AND_NULL[:-2] + b"\x04\0", False, id="container-digest-parameters"),
        pytest.param(SHA256_AND_NULL, SHA256_AND_NULL[:-1] + b"\x01", False, id="container-digest-not-der"),
        pytest.param(SHA256_AND_NULL[:9], SHA256_AND_NULL[:8] + b"\x02", False, id="container-digest-another"),
        pytest.param(
            SHA256_AND_NULL + b"\xa0", SHA256_AND_NULL[:-2] + b"\x04\0\xa0", True, id="signer-digest-parameters"
        ),
        pytest.param(b"Example Trust CA", b"example Trust CA", True, id="issuer-in-other-letters"),
        pytest.param(b"\x03\x82\x01\x01\0", b"\x03\x82\x01\x01\x04", False, id="bits-of-a-certificates-signature"),
    ],
)
def test_what_nothing_protects_is_looked_at(old: bytes, new: bytes, last: bool) -> None:
    """A change in a part of the signature's container that no digest covers is found, though it does no harm."""
    value = bytes.fromhex(SEALED[VALUE:PADDING].decode("ascii"))
    at = value.rindex(old) if last else value.index(old)
    changed = (value[:at] + new + value[at + len(old) :]).hex().upper().encode("ascii")
    assert not _passes(SEALED[:VALUE] + changed + SEALED[PADDING:])


# The seal's value is most of the file, and all that no digest covers: it gets half of the examples.
POSITIONS = st.one_of(st.integers(0, len(SEALED) - 1), st.integers(VALUE - 1, PADDING + 1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(position=POSITIONS, value=st.integers(0, 255))
@example(position=VALUE + 7, value=ord("2"))  # the container's length, made to take in some padding
@example(position=PADDING, value=ord("1"))
def test_no_changed_byte_passes(position: int, value: int) -> None:
    """A sealed PDF of which one byte was changed never passes every check, and never raises."""
    changed = bytearray(SEALED)
    changed[position] = value
    assert _passes(bytes(changed)) == (changed == SEALED)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(size_bytes=st.integers(0, len(SEALED)))
@example(size_bytes=len(SEALED) - 1)
def test_no_shortened_file_passes(size_bytes: int) -> None:
    """A sealed PDF that was cut off never passes, but for the end of its last line, which says nothing."""
    assert _passes(SEALED[:size_bytes]) == (size_bytes == len(SEALED))
