"""Makes a seal go wrong in the way that the fault plan asks, and no other: each flaw is one that a check must find."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sealdrop.sandbox import certificates, samples
from sealdrop.sandbox.certificates import Identity, Validity
from sealdrop.sandbox.faults import Fault, SealFault
from sealdrop.sandbox.pki import ORGANISATION, Pki
from sealdrop.sandbox.sealing import Sealer, SealOptions

OTHER_ORGANISATION = "Autre Organisation SARL"
_VERSION_AT = 7  # the last digit of "%PDF-1.x"; PDF software goes by what follows, so another digit harms nothing


class FlawedSealer:
    """Seals in order, or with one flaw; safe to share between threads."""

    def __init__(self, pki: Pki) -> None:
        self._pki = pki
        self._sealer = Sealer(pki)

    def seal(self, content: bytes, options: SealOptions, fault: Fault | None) -> bytes:
        """Return ``content`` sealed, with the flaw that ``fault`` names if that is one of the sealed document.

        Raises:
            Unsealable: this is no PDF, or one that does not take a seal.
        """
        identity = self._identity(fault)
        match fault.fault if fault is not None else None:
            case SealFault.WRONG_DOCUMENT:
                content, options = samples.invoice("F-2026-9999"), replace(options, visible=None)
            case SealFault.MODIFIED_PREFIX:
                content = _with_other_version(content)
            case SealFault.LOWER_LEVEL if fault is not None:
                options = replace(options, level=fault.level)
            case SealFault.MISSING_TIMESTAMP:
                return self._sealer.seal(content, options, with_signature_timestamp=False)
            case _:
                pass
        return self._sealer.seal(content, options, identity=identity)

    def _identity(self, fault: Fault | None) -> Identity | None:
        """Return who seals instead of the sandbox, if anybody."""
        match fault.fault if fault is not None else None:
            case SealFault.OTHER_ORGANISATION:
                return certificates.seal(self._pki.root, OTHER_ORGANISATION, Validity.from_now(), bits=2048)
            case SealFault.UNTRUSTED_CERTIFICATE:
                stranger = certificates.root("An unknown root")
                return certificates.seal(stranger, ORGANISATION, Validity.from_now(), bits=2048)
            case SealFault.EXPIRED_CERTIFICATE:
                now = datetime.now(UTC)
                past = Validity(now - timedelta(days=400), now - timedelta(days=35))
                return certificates.seal(self._pki.root, ORGANISATION, past, bits=2048)
            case _:
                return None


def _with_other_version(content: bytes) -> bytes:
    """Return ``content`` with one byte changed, in the version that its header claims."""
    other = b"6" if content[_VERSION_AT : _VERSION_AT + 1] != b"6" else b"5"
    return content[:_VERSION_AT] + other + content[_VERSION_AT + 1 :]
