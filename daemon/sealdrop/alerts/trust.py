"""Whom alerts are sent to over TLS: a server whose certificate and name were verified, and nobody else."""

import ssl
from pathlib import Path


def verified(ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies a server by the system's authorities, or by those of a file.

    Raises:
        OSError: the file cannot be read, or holds no certificates.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
