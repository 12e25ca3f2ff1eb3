"""Loaded into the fork server that the tests' services share, so that it outlives each of them.

Python's own ends when whoever has just connected is gone before it has said what it wants: it belongs to one program,
and would be of no use without it. Here that is a service which was killed in that moment, and the next one needs it.
"""

import errno
import socket
from multiprocessing import reduction

_received = reduction.recvfds


def _receive(sock: socket.socket, size: int) -> list[int]:
    """Return what a caller sent.

    Raises:
        OSError: the caller is gone: the one error of which the server knows that it is the caller's.
    """
    try:
        return _received(sock, size)
    except (EOFError, ConnectionError) as error:
        raise OSError(errno.ECONNABORTED, "the caller is gone") from error


reduction.recvfds = _receive
