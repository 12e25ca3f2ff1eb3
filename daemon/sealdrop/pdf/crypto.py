"""Verifies the signatures on certificates and revocation lists, each once.

The authority that issued the certificates of seals and timestamps signed them long ago, and those certificates come
with document after document; a revocation list serves several judgements on one document, and often on many. That a
signature is by a certain key and over certain bytes does not change with time or with the document: so what was found
to be right is remembered, by a digest of all that the answer depends on. What is wrong is found anew each time. What
a certificate is good for, and when, is never remembered.
"""

# mypy: disable-error-code="import-untyped"
# asn1crypto has no types.

import hashlib

from asn1crypto import algos, keys
from pyhanko_certvalidator.sig_validate import (
    DEFAULT_VALIDATION_CONTEXT,
    DefaultSignatureValidator,
    SignatureValidationContext,
)

_MOST = 512  # of 32 bytes each


class RememberingValidator(DefaultSignatureValidator):
    """pyHanko's own validator, asked once for each signature that is right."""

    def __init__(self) -> None:
        self._right = set[bytes]()

    def validate_signature(
        self,
        signature: bytes,
        signed_data: bytes,
        public_key_info: keys.PublicKeyInfo,
        signature_algorithm: algos.SignedDigestAlgorithm,
        context: SignatureValidationContext = DEFAULT_VALIDATION_CONTEXT,
    ) -> None:
        """Pass if ``signature`` is over ``signed_data`` and by that key.

        Raises:
            InvalidSignature: it is not. pyHanko may raise anything else, which means the same.
        """
        by, how = public_key_info.dump(), signature_algorithm.dump() + repr(context).encode()
        key = _digest(signature, signed_data, by, how)
        if key in self._right:
            return
        super().validate_signature(signature, signed_data, public_key_info, signature_algorithm, context)
        if len(self._right) >= _MOST:
            self._right.clear()
        self._right.add(key)


def _digest(*parts: bytes) -> bytes:
    """Return a digest of all parts, each with its length, so that none can pass for a part of its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
