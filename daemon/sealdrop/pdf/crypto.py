"""Verifies the signatures on certificates and revocation lists, each once.

The authority that issued the certificates of seals and timestamps signed them long ago, and those certificates come
with document after document; a revocation list serves several judgements on one document, and often on many. That a
signature is by a certain key and over certain bytes does not change with time or with the document: so what was found
to be right is remembered, by a digest of all that the answer depends on. What is wrong is found anew each time. What
a certificate is good for, and when, is never remembered.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped"
# pyHanko says that it is typed, and leaves many of its functions without types; asn1crypto has none.

import hashlib
from functools import lru_cache

from asn1crypto import algos, cms, keys, x509
from pyhanko.sign.validation.utils import CMSAlgorithmUsagePolicy
from pyhanko_certvalidator.policy_decl import DisallowWeakAlgorithmsPolicy
from pyhanko_certvalidator.sig_validate import (
    DEFAULT_VALIDATION_CONTEXT,
    DefaultSignatureValidator,
    SignatureValidationContext,
)

# pyHanko's: what is weak is so at all times.
ALGORITHMS = CMSAlgorithmUsagePolicy.lift_policy(DisallowWeakAlgorithmsPolicy())

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
        key = digest_of(signature, signed_data, by, how)
        if key in self._right:
            return
        super().validate_signature(signature, signed_data, public_key_info, signature_algorithm, context)
        if len(self._right) >= _MOST:
            self._right.clear()
        self._right.add(key)


def is_strong(signature: cms.SignerInfo, certificate: x509.Certificate) -> bool:
    """Return whether pyHanko takes the algorithms of a signature, and the length of its key, for strong enough."""
    mechanism, digest = signature["signature_algorithm"].dump(), signature["digest_algorithm"]["algorithm"].dump()
    return _is_strong(mechanism, digest, certificate.public_key.dump())


@lru_cache(maxsize=64)
def _is_strong(mechanism: bytes, digest: bytes, key: bytes) -> bool:
    how = algos.SignedDigestAlgorithm.load(mechanism)
    # Without its parameters, which are none: writers differ in whether they are there.
    what = algos.DigestAlgorithm({"algorithm": algos.DigestAlgorithmId.load(digest)})
    return all(
        (
            ALGORITHMS.signature_algorithm_allowed(how, None, keys.PublicKeyInfo.load(key)),
            ALGORITHMS.digest_algorithm_allowed(what, None),
            ALGORITHMS.digest_combination_allowed(how, what, None),
        )
    )


def digest_of(*parts: bytes) -> bytes:
    """Return a digest of all parts, each with its length, so that none can pass for a part of its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
