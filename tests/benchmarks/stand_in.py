"""A stand-in for SignAPI that is never the bottleneck: it answers at once, with PDFs that were sealed beforehand.

Real mutual TLS with the sandbox's certificates, and as much of HTTP and of the centralized workflow as a well-behaved
client needs (signapi.md). A create call's documents are told apart by the digest that comes with them; nothing is
decoded, parsed or written. Run as a process of its own: ``python stand_in.py DIRECTORY``, where the directory holds
``pki`` and ``sealed/SHA1.pdf``; it prints its port. ``--service-s`` has each sign and status call take that long.
"""

import argparse
import base64
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.tls import server_context

_IDENTITY = re.compile(rb'"externalSignatureRequestId": ?"([^"]+)"')
_DIGEST = re.compile(rb'"hash": ?"([0-9a-f]{40})"')
_REQUEST_ID = re.compile(rb'"signatureRequestId": ?"([^"]+)"')
_ARCHIVED = '"signingDate": "%s", "archives": [{"archiverName": "bench", "archiveId": "bench-%s"}]'


class StandIn:
    """The service's whole memory: which request is about which sealed PDF."""

    def __init__(self, directory: Path, service_s: float) -> None:
        self._pki = Pki(directory / "pki")
        self._sealed = {
            path.stem.encode(): base64.b64encode(path.read_bytes()) for path in (directory / "sealed").glob("*.pdf")
        }
        self._service_s = service_s
        self._numbers = count(1)
        self._requests: dict[str, tuple[str, bytes]] = {}
        self._by_external: dict[str, str] = {}

    def serve(self, listener: socket.socket) -> None:
        """Answer until the process ends."""
        context = server_context(self._pki)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(context, connection), daemon=True).start()

    def _converse(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured, secured.makefile("rb") as stream:
                while line := stream.readline():
                    method, target, _ = line.decode("ascii").split(" ", 2)
                    length = _content_length(stream)
                    for piece in self._answer(method, target, stream.read(length)):
                        secured.sendall(piece)
        except OSError:
            return  # the client has gone

    def _answer(self, method: str, target: str, body: bytes) -> Iterator[bytes]:
        address = urlsplit(target)
        parameters = {name: values[0] for name, values in parse_qs(address.query).items()}
        if method == "GET":
            yield from self._status(parameters)
            return
        if address.path.endswith("/sign"):
            asked = [parameters["id"]] if "id" in parameters else [each.decode() for each in _REQUEST_ID.findall(body)]
            time.sleep(self._service_s)
            answers = [self._entry(request, "SIGN_IN_PROGRESS") for request in asked]
        else:
            pairs = zip(_IDENTITY.findall(body), _DIGEST.findall(body), strict=True)
            answers = [
                self._entry(self._create(external.decode(), digest), "SIGN_CREATED") for external, digest in pairs
            ]
        yield _response(b"200 OK", json.dumps(answers).encode())

    def _create(self, external: str, digest: bytes) -> str:
        request = f"request-{next(self._numbers)}"
        self._requests[request] = external, self._sealed[digest]
        self._by_external[external] = request
        return request

    def _entry(self, request: str, status: str) -> dict[str, str]:
        external, _ = self._requests[request]
        return {"signatureRequestId": request, "externalSignatureRequestId": external, "status": status}

    def _status(self, parameters: dict[str, str]) -> Iterator[bytes]:
        request = parameters.get("id") or self._by_external.get(parameters.get("externalId", ""))
        if request is None or request not in self._requests:
            yield _response(b"404 Not Found", b'{"errorMsg": "unknown signature request"}')
            return
        time.sleep(self._service_s)
        fields = json.dumps(self._entry(request, "ARCHIVED"))[:-1]
        moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        head = f'{fields}, {_ARCHIVED % (moment, request)}, "signedContent": "'.encode()
        content = self._requests[request][1]
        yield _response(b"200 OK", head, len(content) + 2)
        yield content
        yield b'"}'


def _content_length(stream: Iterator[bytes]) -> int:
    length = 0
    for line in stream:
        if line == b"\r\n":
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return length


def _response(status: bytes, body: bytes, more_bytes: int = 0) -> bytes:
    length = len(body) + more_bytes
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, length, body)


def main() -> None:
    """Serve on a free port of loopback, and say which."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--service-s", type=float, default=0.0)
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        StandIn(arguments.directory, arguments.service_s).serve(listener)


if __name__ == "__main__":
    main()
