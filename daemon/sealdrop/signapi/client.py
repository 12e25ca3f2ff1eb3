"""The operations of SignAPI's centralized workflow, for one account (signapi.md).

Each call ends within the account's deadline, in a typed value or in one of our errors; the table in `policy` says in
which. Changing calls are never repeated here: who calls again asks for the status first.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from sealdrop.clock import Clock
from sealdrop.config import Account
from sealdrop.errors import MalformedAnswer
from sealdrop.model import ExternalId, RemoteStatus, RequestId, Sha256
from sealdrop.signapi import content, policy, wire
from sealdrop.signapi.policy import Call, Operation
from sealdrop.signapi.transport import REST_LIMIT_BYTES, Answer, Body, Transport
from sealdrop.signapi.wire import NewRequest, RequestStatus


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What the service says of one request; ``status`` is None if, without any doubt, it has no such request.

    Size and digest are those of the sealed PDF, when it came with the answer and was asked for.
    """

    status: RequestStatus | None
    content_size_bytes: int | None = None
    content_sha256: Sha256 | None = None


class SignApi:
    """One account's calls. Many threads may share it.

    Every operation raises these, as the table in `policy` says:

    - Retryable: nothing was applied, or it was a reading call;
    - AccountRefused: the account is refused, whatever the document;
    - Refused: these documents are refused for their own sake (changing calls only);
    - OutcomeUnknown: it may have been applied (changing calls only);
    - MalformedAnswer: the answer cannot be understood; after a reading call, that changed nothing.
    """

    def __init__(self, account: Account, clock: Clock, *, largest_document_bytes: int) -> None:
        """Make ready to call; nothing is sent yet.

        Args:
            account: the contract to use.
            clock: where time comes from.
            largest_document_bytes: the longest PDF that will be sent, which bounds what is read of an answer.

        Raises:
            ConfigurationError: the account's address, certificate, key or authorities cannot be used.
        """
        self._paths = account.paths
        self._mode = account.mode
        self._archive_places = account.archive_id
        self._unknown = re.compile(account.unknown_request_pattern or policy.UNKNOWN_REQUEST, re.IGNORECASE)
        self._transport = Transport(
            account,
            # Base64 makes 4/3 of a sealed PDF, line breaks a little more; twice leaves room for what sealing adds.
            answer_limit_bytes=REST_LIMIT_BYTES + 2 * largest_document_bytes,
            clock=clock,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; no call may be under way or follow."""
        self._transport.close()

    @property
    def server_valid_until(self) -> datetime | None:
        """When the certificate ends that the service showed last; None as long as nothing was called."""
        return self._transport.server_valid_until

    def create(self, documents: Sequence[NewRequest]) -> tuple[RequestStatus, ...]:
        """Create one signature request for each document; statuses in the order of ``documents``.

        Raises:
            SealdropError: see the class.
            OSError: a document cannot be read; nothing was sent.
        """
        external_ids = [new.external_id for new in documents]
        call = self._to(Operation.CREATE, external_ids)
        pieces = content.CreateBody(documents)
        body = Body(pieces, pieces.size_bytes)
        value = _accepted(self._transport.exchange(call, "POST", self._paths.create, {}, body))
        with _naming(call):
            statuses = wire.parse_statuses(value, self._archive_places, external_ids=external_ids)
            if len({status.request_id for status in statuses}) < len(statuses):
                raise MalformedAnswer("the answer names one request for several documents")
            return statuses

    def sign(self, request_id: RequestId) -> RequestStatus:
        """Ask for the seal of one request; return where it then stands.

        Raises:
            SealdropError: see the class.
        """
        call = self._to(Operation.SIGN, [request_id])
        parameters = {"id": request_id, "mode": self._mode}
        value = _accepted(self._transport.exchange(call, "POST", self._paths.sign, parameters))
        with _naming(call):
            return wire.parse_statuses(value, self._archive_places, request_ids=[request_id])[0]

    def sign_many(self, request_ids: Sequence[RequestId]) -> tuple[RequestStatus, ...]:
        """Ask for the seals of several requests; where each then stands, in the order of ``request_ids``.

        Raises:
            SealdropError: see the class.
        """
        call = self._to(Operation.SIGN_MANY, request_ids)
        listed = wire.sign_body(request_ids)
        body = Body((listed,), len(listed))
        value = _accepted(self._transport.exchange(call, "POST", self._paths.sign, {"mode": self._mode}, body))
        with _naming(call):
            return wire.parse_statuses(value, self._archive_places, request_ids=request_ids)

    def status(
        self,
        *,
        request_id: RequestId | None = None,
        external_id: ExternalId | None = None,
        content_to: Path | None = None,
    ) -> StatusAnswer:
        """Ask where one request stands, by the service's ID or by ours; keep the sealed PDF, if it comes.

        Args:
            request_id: the service's ID, or None.
            external_id: our ID, or None. With both given, the answer must be about both.
            content_to: the new file that is to hold the sealed PDF: whole and flushed, or not there. To flush its
                folder is left to the caller.

        Raises:
            SealdropError: see the class.
            OSError: the sealed PDF could not be written.
        """
        subject = request_id or external_id
        if not subject:
            raise ValueError("a status is asked for by an ID")
        call = self._to(Operation.STATUS, [subject])
        parameters = {"id": request_id or "", "externalId": external_id or ""}
        with ExitStack() as held:
            incoming = None if content_to is None else held.enter_context(content.Incoming(content_to))
            write = None if incoming is None else incoming.write
            answer = self._transport.exchange(call, "GET", self._paths.status, parameters, content_to=write)
            if policy.says_unknown(answer.http_status, answer.error, self._unknown):
                return StatusAnswer(None)
            value = _accepted(answer)
            with _naming(call):
                status = wire.parse_status(value, self._archive_places, request_id=request_id, external_id=external_id)
                if answer.content_fault is not None:
                    raise MalformedAnswer(f"the answer: {answer.content_fault}")
            if incoming is None or not answer.content_bytes:
                return StatusAnswer(status)
            return StatusAnswer(status, *incoming.keep())

    def search(self, status: RemoteStatus) -> tuple[RequestStatus, ...]:
        """Return the requests that the service lists for ``status``; other programs' may be among them.

        Raises:
            SealdropError: see the class.
        """
        call = self._to(Operation.SEARCH, [status.value])
        value = _accepted(self._transport.exchange(call, "GET", self._paths.search, {"status": status.value}))
        with _naming(call):
            return wire.parse_statuses(value, self._archive_places)

    def _to(self, operation: Operation, subjects: Sequence[str]) -> Call:
        return Call(operation, self._transport.host, tuple(subjects))


def _accepted(answer: Answer) -> JsonValue:
    if answer.fault is not None:
        raise answer.fault
    return answer.value


@contextmanager
def _naming(call: Call) -> Iterator[None]:
    """Have a malformed answer's error say which call it was."""
    try:
        yield
    except MalformedAnswer as fault:
        raise MalformedAnswer(f"{call}: {fault}") from fault
