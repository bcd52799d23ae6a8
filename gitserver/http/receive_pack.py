"""Receive-pack over HTTP. The body is spooled while it arrives; the report streams with progress."""

import asyncio
from collections.abc import Callable
from functools import partial

from aiohttp import web

from accounts.access import require
from gitserver.http.errors import NO_CACHE, render_git
from gitserver.http.upload_pack import session_of
from gitserver.protocol.pktline import side_band
from gitserver.protocol.sessions import note_client
from gitserver.receive.commands import CommandReader, PushRequest
from gitserver.receive.spool import Spool
from gitserver.update.creation import PushCreation
from gitserver.update.pusher import Pusher, PushResult
from gitserver.update.reception import Push, Reception, report
from httpapi import bodies
from httpapi.endpoint import GIT_PATHS, Call, Endpoint
from storage.errors import Invalid, Unsupported
from storage.limits import MIB, Limits
from storage.packs import PackStore
from storage.records import ZERO_OID, Access, Repo

_REQUEST_TYPE = "application/x-git-receive-pack-request"
_RESULT_TYPE = "application/x-git-receive-pack-result"


class PushViews:
    def __init__(
        self,
        pusher: Pusher,
        packs: PackStore,
        creation: PushCreation | None,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._reception = Reception(pusher, packs.space, limits)
        self._packs = packs
        self._creation = creation
        self._origin = origin
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        most, creates = 2 * self._limits.pack_bytes, self._creation is not None
        row = partial(Endpoint, handler=self.receive_pack, needs=Access.WRITE, render=render_git, most_bytes=most)
        return [row("POST", f"{path}/git-receive-pack", creates=creates) for path in GIT_PATHS]

    async def receive_pack(self, request: web.Request, call: Call) -> web.StreamResponse:
        if request.content_type != _REQUEST_TYPE:
            raise Unsupported(f"Content-Type {request.content_type[:80]!r} is not understood here; git sends {_REQUEST_TYPE}.")
        spool = Spool(self._packs, self._limits.pack_bytes, request.content_length or 0)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                pushed = await self._spool(request, spool)
            return await self._answer(request, call, Push(pushed, spool.size, spool.pack, spool.trouble))
        except TimeoutError as error:
            raise Invalid(
                f"The push took longer than {self._limits.body_seconds} seconds to arrive. Push fewer commits at a time."
            ) from error
        finally:
            await asyncio.to_thread(spool.close)

    async def _spool(self, request: web.Request, spool: Spool) -> PushRequest:
        """The whole body is read, whatever it holds: git shows a refusal only after it has sent everything."""
        reader = CommandReader(self._limits)
        gathered = _Gathered(spool)
        async for data in bodies.chunks(request, self._limits.pack_bytes * 2):
            if reader.request is None:
                reader.feed(data)
                data = reader.rest
            await gathered.add(data)
        await gathered.finish()
        pushed = reader.request or PushRequest()
        for capability in pushed.capabilities:
            note_client(capability, session_of(request))
        return pushed

    async def _answer(self, request: web.Request, call: Call, push: Push) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _RESULT_TYPE, **NO_CACHE})
        if not push.request.updates:  # git's probe before a large push: a lone flush
            await response.prepare(request)
            await response.write_eof()
            return response
        repo = await self._target(call, push)
        await response.prepare(request)
        out = _Progress(response, is_on=push.request.has(b"side-band-64k"), is_quiet=push.request.has(b"quiet"))

        def take() -> PushResult:
            if news := self._news(repo, request):
                out.tell(news)
            return self._reception.take(repo, call.principal, push, out.tell)

        result = await out.run(take)
        await response.write(b"".join(report(push.request, result)))
        await response.write_eof()
        return response

    async def _target(self, call: Call, push: Push) -> Repo:
        """The repository, made now where it is missing; nothing is made for a push that only deletes."""
        if call.missing is None:
            return call.repo
        if self._creation is None or all(update.new == ZERO_OID for update in push.request.updates):
            return require(call.principal, None, call.missing, Access.WRITE)
        return await asyncio.to_thread(self._creation.create, call.principal, call.missing)

    def _news(self, repo: Repo, request: web.Request) -> str:
        return self._creation.news(repo, self._origin(request)) if self._creation is not None else ""


class _Gathered:
    """Pieces of a pack for the spool, a MiB a thread hop."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pending: list[bytes] = []
        self._held = 0

    async def add(self, data: bytes) -> None:
        if data:
            self._pending.append(data)
            self._held += len(data)
        if self._held >= MIB:
            pending, self._pending, self._held = self._pending, [], 0
            await asyncio.to_thread(self._spool.write, pending)

    async def finish(self) -> None:
        await asyncio.to_thread(self._rest)

    def _rest(self) -> None:
        if self._pending:
            self._spool.write(self._pending)
        self._spool.finish()


class _Progress:
    """Lines from the working thread to the client, on side-band 2, while the work runs."""

    def __init__(self, response: web.StreamResponse, *, is_on: bool, is_quiet: bool) -> None:
        self._response = response
        self._is_on = is_on
        self._is_quiet = is_quiet
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def tell(self, text: str) -> None:
        """From the thread. Counts are left out for a quiet client; refusals never are."""
        if not (self._is_quiet and text.startswith("Checking objects")):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, text)

    async def run(self, work: Callable[[], PushResult]) -> PushResult:
        task = asyncio.ensure_future(asyncio.to_thread(work))
        task.add_done_callback(lambda _: self._queue.put_nowait(None))
        while (text := await self._queue.get()) is not None:
            if self._is_on:
                await self._send(text)
        return await task

    async def _send(self, text: str) -> None:
        try:
            await self._response.write(b"".join(side_band(2, text.encode())))
        except ConnectionError:
            self._is_on = False  # the client is gone; what it pushed is still finished
