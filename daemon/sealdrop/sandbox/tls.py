"""The sandbox's side of TLS: version 1.2 or later, and a client certificate of its own authority, or nothing.

Whoever lacks that certificate fails in the handshake, before the first byte of HTTP, and is told so by an alert, as the
services of this world do.
"""

import ssl

from sealdrop.sandbox.pki import Pki


class AlertingObject(ssl.SSLObject):
    """A TLS connection that sends its alert when the handshake fails.

    asyncio drops the connection on the spot when a handshake raises, with the alert still unsent. So a failed handshake
    says that it waits for more instead: asyncio then sends what there is to send, and the peer, who has been told,
    hangs up; one who does not is dropped when asyncio's limit for handshakes has passed.
    """

    _failed = False

    def do_handshake(self) -> None:
        """Go on with the handshake; never raises anything but the wish to go on later.

        Raises:
            ssl.SSLWantReadError: the peer's turn.
            ssl.SSLWantWriteError: ours.
        """
        if self._failed:
            raise ssl.SSLWantReadError("the handshake has failed, and the peer was told")
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._failed = True
            raise ssl.SSLWantReadError("the handshake has failed, and the peer must be told") from error


def server_context(pki: Pki) -> ssl.SSLContext:
    """Return the settings of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = AlertingObject
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(pki.ca_file)
    certificate, key = pki.server_files
    context.load_cert_chain(certificate, key)
    return context
