"""The five calls of the centralized workflow over HTTP, as signapi.md describes them, and the faults of a call.

Where that description leaves a choice, the sandbox's is:

- paths are taken with and without a trailing slash;
- every error is an object with ``errorMsg``: 400 for a call that cannot be understood or applied, 404 for an unknown
  request (200 if `Answers.unknown_with_200`), 500 for a fault plan that cannot be read;
- a create call is applied whole or not at all, and so is a sign call for several requests;
- a sign call for what is in progress or sealed answers its status and starts nothing; for what has failed, 400;
- among several requests with one ``externalSignatureRequestId`` (nothing refuses a second one) the newest is meant;
- in mode ``SYNC`` a sign call answers when the seal is made, with its content; archiving goes on afterwards;
- ``archiveId`` is the first archiver's identifier, ``archives`` holds all of them; both are there once ``ARCHIVED``.
"""

import asyncio
import base64
import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as Call
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sealdrop.sandbox import transport
from sealdrop.sandbox.documents import read_documents, read_identifiers
from sealdrop.sandbox.errors import BadRequest, SandboxError, UnknownRequest
from sealdrop.sandbox.faults import CALL_FAULTS, CallFault, Fault, Operation
from sealdrop.sandbox.plan import FaultPlan
from sealdrop.sandbox.service import Service
from sealdrop.sandbox.store import Request, Status, Store
from sealdrop.sandbox.transport import Gate

DEFAULT_ARCHIVER = "sandbox-archive"
_PATH = "/centralized/signatures"
_WITH_CONTENT = (Status.SIGNED, Status.ARCHIVE_IN_PROGRESS, Status.ARCHIVED, Status.ARCHIVE_FAILED)
# signapi.md, "A signature request status": the sandbox gives only some of them, but may be asked for any.
_STATUSES = frozenset(Status) | {
    "SIGN_AWAITING_VALIDATION", "SIGN_AWAITING", "ARCHIVE_MIGRATED", "REFUSED", "DISCARDED",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answers:
    """Choices in how to answer: base64 in lines of 76, and 200 rather than 404 for an unknown request."""

    base64_lines: bool = False
    unknown_with_200: bool = False


class Api:
    """Turns calls into operations of the service, and the plan's faults into broken answers."""

    def __init__(self, service: Service, store: Store, plan: FaultPlan, gate: Gate, answers: Answers) -> None:
        self._service = service
        self._store = store
        self._plan = plan
        self._gate = gate
        self._answers = answers

    def application(self) -> Starlette:
        """Return the ASGI application; the service runs as long as it does."""
        calls = (
            (_PATH, "POST", self._create),
            (f"{_PATH}/sign", "POST", self._sign),
            (_PATH, "GET", self._status),
            (f"{_PATH}/search", "GET", self._search),
        )
        routes = [
            Route(f"{path}{slash}", endpoint, methods=[method])
            for path, method, endpoint in calls
            for slash in ("", "/")
        ]
        return Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={HTTPException: _no_such_call})

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._service.start()
        watching = asyncio.create_task(self._gate.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._service.stop()

    async def _create(self, call: Call) -> Response:
        async def apply() -> Response:
            documents = await asyncio.to_thread(read_documents, await call.body(), DEFAULT_ARCHIVER)
            return await self._list(await self._service.create(documents), with_content=False)

        return await self._answer(call, Operation.CREATE, apply)

    async def _sign(self, call: Call) -> Response:
        identifier, external_id = call.query_params.get("id"), call.query_params.get("externalId")
        operation = Operation.SIGN if identifier or external_id else Operation.SIGN_MANY

        async def apply() -> Response:
            mode = call.query_params.get("mode", "ASYNC")
            if mode not in ("SYNC", "ASYNC"):
                raise BadRequest(f"mode: {mode!r} is neither SYNC nor ASYNC")
            if operation is Operation.SIGN:
                identifiers: Sequence[str] = [(await self._service.find(identifier, external_id)).id]
            else:
                identifiers = read_identifiers(await call.body())
            requests = await self._service.sign(identifiers, operation, wait=mode == "SYNC")
            return await self._list(requests, with_content=mode == "SYNC")

        return await self._answer(call, operation, apply)

    async def _status(self, call: Call) -> Response:
        async def apply() -> Response:
            found = await self._service.find(call.query_params.get("id"), call.query_params.get("externalId"))
            return _json(await asyncio.to_thread(self._describe, found, with_content=True))

        return await self._answer(call, Operation.STATUS, apply)

    async def _search(self, call: Call) -> Response:
        async def apply() -> Response:
            statuses = [status for status in call.query_params.getlist("status") if status]
            for status in statuses:
                if status not in _STATUSES:
                    raise BadRequest(f"status: there is no {status!r}")
            return await self._list(await self._service.search(statuses), with_content=False)

        return await self._answer(call, Operation.SEARCH, apply)

    async def _answer(self, call: Call, operation: Operation, apply: Callable[[], Awaitable[Response]]) -> Response:
        """Apply the call and answer it, unless the plan has something else in mind."""
        await call.body()  # whole, so that a reset comes after all was sent
        try:
            if self._gate.obey():
                return Hangup(transport.reset)
            fault = self._plan.take(operation, CALL_FAULTS)
        except SandboxError as error:
            return _error(500, str(error))
        if fault is None:
            return await self._outcome(apply)
        answer = await self._outcome(apply) if fault.applied else None
        return await self._spoil(call, fault, answer)

    async def _outcome(self, apply: Callable[[], Awaitable[Response]]) -> Response:
        try:
            return await apply()
        except BadRequest as error:
            return _error(400, str(error))
        except UnknownRequest as error:
            return _error(200 if self._answers.unknown_with_200 else 404, str(error))
        except SandboxError as error:
            return _error(500, str(error))

    async def _spoil(self, call: Call, fault: Fault, answer: Response | None) -> Response:
        """Return what ``fault`` asks for in place of ``answer``, which is None if nothing was applied."""
        match fault.fault:
            case CallFault.RESET:
                return Hangup(transport.reset)
            case CallFault.TIMEOUT:
                await self._hold(call, fault.seconds)
                return answer or _error(504, "The service did not answer in time")
            case CallFault.ERROR_500:
                return _error(500, "Internal server error")
            case CallFault.UNAVAILABLE_503:
                answer = _error(503, "The service is overloaded")
                answer.headers["Retry-After"] = str(math.ceil(fault.seconds))
                return answer
            case CallFault.ERROR_MSG_200:
                return _error(200, fault.message)
            case CallFault.GARBAGE:
                return Response(b"<html><body>It works!</body></html>", media_type="application/json")
            case CallFault.TRUNCATED:
                return Hangup(transport.cut, (answer or _json([{"signatureRequestId": "0"}])).body)
            case _:
                raise AssertionError(f"{fault.fault} is no fault of an answer")

    async def _hold(self, call: Call, seconds: float) -> None:
        """Wait, but no longer than the caller does, and not when the sandbox stops."""
        waits = {asyncio.create_task(_until_gone(call.receive)), asyncio.create_task(self._gate.stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _list(self, requests: Sequence[Request], *, with_content: bool) -> Response:
        def describe() -> list[dict[str, object]]:
            return [self._describe(request, with_content=with_content) for request in requests]

        return _json(await asyncio.to_thread(describe))

    def _describe(self, request: Request, *, with_content: bool) -> dict[str, object]:
        """Return the status object of ``request``; orders belong to the other workflows, so there are none."""
        status: dict[str, object] = {
            "signatureRequestId": request.id,
            "externalSignatureRequestId": request.external_id,
            "orderRequestId": None,
            "externalOrderRequestId": None,
            "status": request.status,
            "reason": request.reason,
            "signingDate": request.sealed_at and request.sealed_at.isoformat(timespec="milliseconds"),
        }
        if request.status is Status.ARCHIVED:
            archives = zip(request.archivers, request.archive_ids, strict=True)
            status["archiveId"] = request.archive_ids[0]
            status["archives"] = [{"archiverName": name, "archiveId": archive_id} for name, archive_id in archives]
        if with_content and request.status in _WITH_CONTENT:
            encode = base64.encodebytes if self._answers.base64_lines else base64.b64encode
            status["signedContent"] = encode(self._store.sealed(request.id)).decode()
        return status


class Hangup(Response):
    """Ends the connection instead of answering, after the first half of ``body`` if there is one."""

    def __init__(self, how: Callable[[Scope], None], body: bytes | memoryview | None = None) -> None:
        super().__init__(b"" if body is None else bytes(body), media_type="application/json")
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half, end the connection, wait until it is gone."""
        if self.body:
            # Content-Length speaks of the whole body.
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            half = bytes(self.body[: len(self.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
        self._how(scope)
        await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _no_such_call(_: Call, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    return _error(code, "There is no such call")


def _json(content: object, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    return _json({"errorMsg": message}, status)
