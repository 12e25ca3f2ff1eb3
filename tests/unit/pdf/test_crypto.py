"""A signature that was found right is known again, and no other is taken for it."""

from typing import Any

import pytest
from asn1crypto import algos, keys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from pyhanko_certvalidator import sig_validate
from pyhanko_certvalidator.sig_validate import SignatureValidationContext

from seal_pki import Identity, make_pki
from sealdrop.pdf import crypto
from sealdrop.pdf.crypto import RememberingValidator

SIGNED = b"a certificate"


def _public(identity: Identity) -> keys.PublicKeyInfo:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return keys.PublicKeyInfo.load(identity.key.public_key().public_bytes(serialization.Encoding.DER, form))


def _right() -> dict[str, Any]:
    return {
        "signature": make_pki().issuing.key.sign(SIGNED, PKCS1v15(), hashes.SHA256()),
        "signed_data": SIGNED,
        "public_key_info": _public(make_pki().issuing),
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
    }


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"signature": bytes(256)}, id="signature"),
        pytest.param({"signed_data": b"another"}, id="content"),
        pytest.param({"public_key_info": _public(make_pki().root)}, id="key"),
        pytest.param({"signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa"})}, id="algorithm"),
        pytest.param({"context": SignatureValidationContext(prehashed=True)}, id="context"),
    ],
)
def test_what_differs_in_one_part_is_found_wrong(other: dict[str, Any]) -> None:
    """After a right signature, one that differs in any part is refused, each time; the right one still passes."""
    validator = RememberingValidator()
    validator.validate_signature(**_right())
    for _ in range(2):
        with pytest.raises((InvalidSignature, ValueError)):
            validator.validate_signature(**_right() | other)
    validator.validate_signature(**_right())


def test_parts_cannot_be_shifted() -> None:
    """Bytes that move from one part to its neighbour make another signature."""
    validator, right = RememberingValidator(), _right()
    validator.validate_signature(**right)
    shifted = {"signature": right["signature"] + SIGNED[:1], "signed_data": SIGNED[1:]}
    with pytest.raises(InvalidSignature):
        validator.validate_signature(**right | shifted)


def test_each_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found right is not computed again until so many others have come that it had to be forgotten."""
    computed = []
    monkeypatch.setattr(crypto, "_MOST", 2)
    monkeypatch.setattr(sig_validate, "_validate_raw", lambda *parts: computed.append(parts[1]))
    validator = RememberingValidator()
    for content in (b"1", b"1", b"2", b"1", b"2", b"3", b"1"):
        validator.validate_signature(**_right() | {"signed_data": content})
    assert computed == [b"1", b"2", b"3", b"1"]
