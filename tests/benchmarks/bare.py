"""The bare clients that sealdrop is compared with: they do the calls, and none of what sealdrop promises."""

import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Sequence
from itertools import count, cycle, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Self

import httpx

from sealdrop.clock import SystemClock
from sealdrop.config import Account
from sealdrop.sandbox.pki import Pki
from sealdrop.signapi.tls import client_context

_numbers = count(1)


def _document(content: bytes, level: str) -> dict[str, object]:
    return {
        "externalSignatureRequestId": f"bare-{next(_numbers)}",
        "signatureOptions": {
            "signatureType": level,
            "digestAlgorithmName": "SHA256",
            "signaturePackagingType": "ENVELOPED",
            "documentType": "INLINE",
        },
        "enableArchive": True,
        "hash": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "toSignContent": base64.b64encode(content).decode("ascii"),
    }


class Client:
    """A client of httpx on threads of its own, over as many connections as sealdrop has; they are kept.

    It only makes the three calls for each document: nothing is read from a disk, checked or written.
    """

    def __init__(self, account: Account) -> None:
        self._threads = account.connections
        limits = httpx.Limits(max_connections=account.connections, max_keepalive_connections=account.connections)
        context = client_context(account, now=SystemClock().now())
        self._http = httpx.Client(base_url=account.base_url, verify=context, limits=limits, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def seconds(self, contents: Sequence[bytes], number: int, level: str) -> float:
        """Return the seconds that ``number`` documents need."""
        waiting: SimpleQueue[bytes] = SimpleQueue()
        for content in islice(cycle(contents), number):
            waiting.put(content)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while True:
                    self._seal(waiting.get_nowait(), level)
            except Empty:
                return
            except BaseException as error:  # noqa: BLE001 - said below, in the thread that asked
                failures.append(error)

        workers = [Thread(target=work) for _ in range(self._threads)]
        began = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took_s = time.monotonic() - began
        if failures:
            raise failures[0]
        return took_s

    def _seal(self, content: bytes, level: str) -> bytes:
        answers = self._http.post("/centralized/signatures", json=[_document(content, level)]).json()
        request = answers[0]["signatureRequestId"]
        self._http.post("/centralized/signatures/sign", params={"id": request, "mode": "ASYNC"}).json()
        answer = self._http.get("/centralized/signatures/", params={"id": request}).json()
        return base64.b64decode(answer["signedContent"])


def loop(directory: Path, port: int, contents: Sequence[bytes], number: int, level: str) -> float:
    """Return the seconds of a plain loop as users write it: one document after the other, three calls by curl."""
    pki = Pki(directory / "pki")
    passphrase = pki.passphrase_file.read_text().strip()
    certificate = ["--cert-type", "P12", "--cert", f"{pki.client_file}:{passphrase}", "--cacert", str(pki.ca_file)]
    base, body_path = f"https://localhost:{port}/centralized/signatures", directory / "body.json"

    def curl(*arguments: str) -> object:
        command = ["curl", "--silent", "--show-error", "--fail", *certificate, *arguments]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    began = time.monotonic()
    for content in islice(cycle(contents), number):
        source = directory / "loop.pdf"
        source.write_bytes(content)
        body_path.write_text(json.dumps([_document(source.read_bytes(), level)]))
        created = curl("--header", "Content-Type: application/json", "--data-binary", f"@{body_path}", base)
        request = created[0]["signatureRequestId"]  # type: ignore[index]
        curl("--request", "POST", f"{base}/sign?id={request}&mode=ASYNC")
        answer = curl(f"{base}/?id={request}")
        (directory / "loop-sealed.pdf").write_bytes(base64.b64decode(answer["signedContent"]))  # type: ignore[index]
    return time.monotonic() - began
