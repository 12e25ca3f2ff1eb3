"""What the service does, with HTTP left out: takes requests, and carries each forward in the background.

A request moves through ``SIGN_CREATED``, ``SIGN_IN_PROGRESS``, ``SIGNED``, and where archiving was asked for
``ARCHIVE_IN_PROGRESS`` and ``ARCHIVED``, each after a delay. One task follows one request; after a restart each request
that is under way is followed again from where it stood (`store` says why that seals nothing twice).

Waiting happens in the event loop, files and the database in threads, sealing in a small pool of its own: it takes some
60 ms of one core, and calls must be answered meanwhile.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from sealdrop.sandbox.documents import NewDocument, read_keywords, read_options
from sealdrop.sandbox.errors import BadRequest, SandboxError, Unsealable
from sealdrop.sandbox.faults import SEAL_FAULTS, Operation, SealFault
from sealdrop.sandbox.flaws import FlawedSealer
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.plan import FaultPlan
from sealdrop.sandbox.record import Entry, Record
from sealdrop.sandbox.store import Request, Status, Store

_STUCK_POLL_S = 0.05
_UNDER_WAY = (Status.SIGN_IN_PROGRESS, Status.SIGNED, Status.ARCHIVE_IN_PROGRESS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delays:
    """How long a request stays: in progress, signed before archiving starts, and being archived."""

    sign_s: float = 0.4
    archive_start_s: float = 0.3
    archive_s: float = 0.5


class Service:
    """The five operations; lives in one event loop, between `start` and `stop`."""

    def __init__(
        self, pki: Pki, store: Store, plan: FaultPlan, seals: Record, deposits: Record, delays: Delays
    ) -> None:
        self._sealer = FlawedSealer(pki)
        self._store = store
        self._plan = plan
        self._seals = seals
        self._deposits = deposits
        self._delays = delays
        self._signing = asyncio.Lock()
        self._workers = ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1), thread_name_prefix="sealer")
        self._tasks: set[asyncio.Task[None]] = set()
        self._sealings: dict[str, asyncio.Future[Request]] = {}

    async def start(self) -> None:
        """Follow again every request that a stopped or killed sandbox left under way."""
        for request in await asyncio.to_thread(self._store.search, _UNDER_WAY):
            self._follow(request.id)

    async def stop(self) -> None:
        """Stop following; what is being written is finished, the rest goes on after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)

    async def create(self, documents: Sequence[NewDocument]) -> list[Request]:
        """Take ``documents``, all or none; a second request with a known external identifier is not refused."""
        return await asyncio.to_thread(self._store.add, documents)

    async def find(self, identifier: str | None, external_id: str | None) -> Request:
        """Return the request with this identifier, or else the newest with this external one.

        Raises:
            UnknownRequest: there is none.
            BadRequest: neither is given.
        """
        if identifier:
            return await asyncio.to_thread(self._store.get, identifier)
        if external_id:
            return await asyncio.to_thread(self._store.get_external, external_id)
        raise BadRequest("id or externalId is expected")

    async def search(self, statuses: Sequence[str]) -> list[Request]:
        """Return the requests in any of ``statuses``, or all."""
        return await asyncio.to_thread(self._store.search, statuses)

    async def sign(self, identifiers: Sequence[str], operation: Operation, *, wait: bool) -> list[Request]:
        """Start sealing what is not sealed yet, all or none; return the requests, sealed if we ``wait``.

        What is being sealed or is sealed already is returned as it stands.

        Raises:
            UnknownRequest: there is no such request.
            BadRequest: one of them has failed.
        """
        async with self._signing:  # one call at a time decides, so that none starts what another has started
            requests = [await self.find(identifier, None) for identifier in identifiers]
            for request in requests:
                if request.status is Status.SIGN_FAILED:
                    raise BadRequest(f"signature request {request.id} is SIGN_FAILED and cannot be signed")
            new = [request.id for request in requests if request.status is Status.SIGN_CREATED]
            faults = {identifier: self._plan.take(operation, SEAL_FAULTS) for identifier in new}
            await asyncio.to_thread(self._store.start, faults)
            for identifier in new:
                self._follow(identifier)
        if not wait:
            return [await self.find(identifier, None) for identifier in identifiers]
        return [await self._when_sealed(identifier) for identifier in identifiers]

    async def _when_sealed(self, identifier: str) -> Request:
        sealing = self._sealings.get(identifier)
        if sealing is None:
            return await self.find(identifier, None)
        await asyncio.wait({sealing})
        return await self.find(identifier, None) if sealing.cancelled() else sealing.result()

    def _follow(self, identifier: str) -> None:
        self._sealings[identifier] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry(identifier), name=f"request {identifier}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, identifier: str) -> None:
        """Bring the request to its end."""
        sealing = self._sealings[identifier]
        try:
            request = await self.find(identifier, None)
            if request.status is Status.SIGN_IN_PROGRESS:
                await asyncio.sleep(self._delays.sign_s)
                await self._while_stuck(request)
                request = await asyncio.get_running_loop().run_in_executor(self._workers, self._seal, request)
            sealing.set_result(request)
            if request.status is Status.SIGNED and request.archivers:
                await asyncio.sleep(self._delays.archive_start_s)
                archive_ids = [_new_archive_id() for _ in request.archivers]
                request = await asyncio.to_thread(self._store.start_archive, identifier, archive_ids)
            if request.status is Status.ARCHIVE_IN_PROGRESS:
                await asyncio.sleep(self._delays.archive_s)
                await asyncio.to_thread(self._deposit, request)
        except Exception:  # noqa: BLE001 - a task's own end, where nobody else would hear of it
            # A full disk, say. The request stays where it is on record, and the next start takes it up again.
            _log.exception("signature request %s cannot go on", identifier)
        finally:
            sealing.cancel()  # no more than a sign that there will be no result, where there is none
            del self._sealings[identifier]

    async def _while_stuck(self, request: Request) -> None:
        while request.fault is not None and request.fault.fault is SealFault.STUCK:
            # While the plan cannot be read, what was stuck stays so; every call says what is wrong with the plan.
            with contextlib.suppress(SandboxError):
                if not self._plan.holds(request.fault.id):
                    return
            await asyncio.sleep(_STUCK_POLL_S)

    def _seal(self, request: Request) -> Request:
        """Seal the document, or take up its seal where a killed sandbox left it (see `store` for the order)."""
        if request.fault is not None and request.fault.fault is SealFault.SIGN_FAILED:
            return self._fail_seal(request, request.fault.reason)
        if not self._store.has_sealed(request.id):
            content = self._store.content(request.id)
            try:
                sealed = self._sealer.seal(content, read_options(request.description), request.fault)
            except Unsealable as error:
                return self._fail_seal(request, str(error))
            self._store.keep_sealed(request.id, sealed)
        moment, digest = self._store.sealed_evidence(request.id)
        self._seals.append_once(Entry(moment, request.external_id, request.id, request.sha256, digest))
        return self._store.finish_seal(request.id)

    def _fail_seal(self, request: Request, reason: str) -> Request:
        return self._store.fail(request.id, Status.SIGN_IN_PROGRESS, Status.SIGN_FAILED, reason)

    def _deposit(self, request: Request) -> None:
        if request.fault is not None and request.fault.fault is SealFault.ARCHIVE_FAILED:
            self._store.fail(request.id, Status.ARCHIVE_IN_PROGRESS, Status.ARCHIVE_FAILED, request.fault.reason)
            return
        for archiver, archive_id in zip(request.archivers, request.archive_ids, strict=True):
            self._store.deposit(request.id, archive_id)
            self._deposits.append_once(
                Entry(
                    datetime.now(UTC),
                    request.external_id,
                    request.id,
                    request.sha256,
                    request.sealed_sha256 or "",
                    archive_id,
                    archiver,
                    read_keywords(request.description),
                )
            )
        self._store.finish_archive(request.id)


def _new_archive_id() -> str:
    return f"SBX-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(8).upper()}"
