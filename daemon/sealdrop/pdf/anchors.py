"""The certificates that seals and timestamps must lead back to.

An anchor is trusted as it is, whatever it says of itself: its end, and whether it may issue certificates, are for
people to know (RFC 5280, 6.1.1 (d): an anchor is an input of validation, not its subject).
"""

# mypy: disable-error-code="import-untyped"
# asn1crypto has no types.

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from asn1crypto import pem, x509

from sealdrop.errors import ConfigurationError
from sealdrop.pdf.jobs import AnchorFacts


@lru_cache(maxsize=16)
def _read_anchors(path: Path, mtime_ns: int, size_bytes: int) -> tuple[x509.Certificate, ...]:  # noqa: ARG001 - parts of the key
    content = path.read_bytes()
    try:
        if not pem.detect(content):
            raise ValueError("no certificate in PEM form")
        found = [x509.Certificate.load(der) for _, _, der in pem.unarmor(content, multiple=True)]
        for certificate in found:
            certificate.issuer_serial  # noqa: B018 - parses it, so that a broken one is found here
    except ValueError as error:
        raise ConfigurationError(str(path), [f"cannot be read as trust anchors: {error}"]) from error
    return tuple(found)


def load_anchors(paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """Return the certificates of all PEM files in ``paths``; each file is read again only when it has changed.

    Raises:
        ConfigurationError: a file holds something else than certificates in PEM form.
        OSError: a file cannot be read.
    """
    anchors: list[x509.Certificate] = []
    for path in paths:
        state = path.stat()
        anchors += _read_anchors(path, state.st_mtime_ns, state.st_size)
    return tuple(anchors)


def describe_anchors(paths: Sequence[Path]) -> tuple[AnchorFacts, ...]:
    """Return what the anchors in ``paths`` say of themselves.

    Raises:
        ConfigurationError: a file holds something else than certificates in PEM form.
        OSError: a file cannot be read.
    """
    return tuple(_facts(path, certificate) for path in paths for certificate in load_anchors([path]))


def _facts(path: Path, certificate: x509.Certificate) -> AnchorFacts:
    try:
        names = certificate.subject.native
        name = names.get("common_name") or names.get("organization_name") or certificate.subject.human_friendly
        begins, ends, is_authority = certificate.not_valid_before, certificate.not_valid_after, certificate.ca
    except ValueError as error:
        raise ConfigurationError(str(path), [f"cannot be read as trust anchors: {error}"]) from error
    return AnchorFacts(str(path), str(name), begins, ends, bool(is_authority))
