"""Receive-pack over HTTP: `PushViews(pusher, packs, limits)`. The body is spooled while it arrives; the report streams with progress."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from accounts import bodies
from accounts.endpoint import GIT_PATHS, Call, Endpoint
from gitserver.errors import NO_CACHE, render_git
from gitserver.pktline import FLUSH, pkt, side_band
from gitserver.push import Pusher, PushResult
from gitserver.receive.commands import CommandReader, PushRequest
from storage.errors import HubError, Invalid, Unsupported
from storage.limits import MIB, Limits
from storage.packs import PackStore
from storage.records import ZERO_OID, Access
from storage.versions.base import RefResult

_REQUEST_TYPE = "application/x-git-receive-pack-request"
_RESULT_TYPE = "application/x-git-receive-pack-result"
_REPORTS = (b"report-status", b"report-status-v2")


class PushViews:
    def __init__(self, pusher: Pusher, packs: PackStore, limits: Limits) -> None:
        self._pusher = pusher
        self._packs = packs
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", f"{path}/git-receive-pack", self.receive_pack, Access.WRITE, render_git) for path in GIT_PATHS]

    async def receive_pack(self, request: web.Request, call: Call) -> web.StreamResponse:
        if request.content_type != _REQUEST_TYPE:
            raise Unsupported(f"Content-Type {request.content_type[:80]!r} is not understood here; git sends {_REQUEST_TYPE}.")
        folder = await asyncio.to_thread(self._packs.quarantine)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                push = await self._spool(request, folder / "pushed.pack")
            return await self._answer(request, call, push, folder / "pushed.pack")
        except TimeoutError as error:
            raise Invalid(
                f"The push took longer than {self._limits.body_seconds} seconds to arrive. Push fewer commits at a time."
            ) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _spool(self, request: web.Request, pack: Path) -> "_Push":
        """The whole body is read, whatever it holds: git shows a refusal only after it has sent everything."""
        reader = CommandReader(self._limits)
        with pack.open("wb") as file:
            spool = _Spool(file, self._limits.pack_bytes)
            async for data in bodies.chunks(request, self._limits.pack_bytes * 2):
                if reader.request is None:
                    reader.feed(data)
                    data = reader.rest
                await spool.write(data)
            await spool.finish()
        return _Push(reader.request or PushRequest(), spool.size)

    async def _answer(self, request: web.Request, call: Call, push: "_Push", pack: Path) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _RESULT_TYPE, **NO_CACHE})
        if not push.request.updates:  # git's probe before a large push: a lone flush
            await response.prepare(request)
            await response.write_eof()
            return response
        await response.prepare(request)
        out = _Progress(response, is_on=push.request.has(b"side-band-64k"), is_quiet=push.request.has(b"quiet"))
        result = await out.run(lambda: self._receive(call, push, pack, out))
        await response.write(b"".join(_report(push.request, result)))
        await response.write_eof()
        return response

    def _receive(self, call: Call, push: "_Push", pack: Path, out: "_Progress") -> PushResult:
        updates = push.request.updates
        if len(updates) > self._limits.ref_commands:
            out.refuse(f"The push updates {len(updates)} refs; {self._limits.ref_commands} are taken at once. Push fewer at a time.")
            return PushResult("", [RefResult(update, "too many refs in one push") for update in updates])
        if push.size > self._limits.pack_bytes:
            message = f"The pack has more than {self._limits.pack_bytes} bytes. Push fewer commits at a time, large files with git lfs."
            out.refuse(message)
            return PushResult(message, [RefResult(update, "unpacker error") for update in updates])
        if not push.size and any(update.new != ZERO_OID for update in updates):
            return PushResult("eof before pack header was fully read", [RefResult(update, "unpacker error") for update in updates])
        try:
            return self._pusher.receive(call.repo, call.principal, push.request, pack if push.size else None, out.tell)
        except HubError as error:
            out.refuse(error.message)
            return PushResult("", [RefResult(update, error.message) for update in updates])


@dataclass(frozen=True, slots=True)
class _Push:
    """What came: the commands, and how large the pack behind them is (0: none came)."""

    request: PushRequest
    size: int


class _Spool:
    """A pack on its way to disk, a MiB a thread hop; what is over the limit is read and dropped."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._pending: list[bytes] = []
        self._held = 0
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self._limit:
            self._pending.append(data)
            self._held += len(data)
            if self._held >= MIB:
                await self.finish()

    async def finish(self) -> None:
        pending, self._pending, self._held = self._pending, [], 0
        await asyncio.to_thread(self._file.writelines, pending)
        await asyncio.to_thread(self._file.flush)


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

    def refuse(self, text: str) -> None:
        self.tell(text + "\n")

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


def _report(request: PushRequest, result: PushResult) -> Iterator[bytes]:
    """report-status; with report-status-v2 also where a ref stands that was merged with what came in between."""
    if not any(request.has(name) for name in _REPORTS):
        return
    lines = [pkt(f"unpack {result.unpack or 'ok'}\n".encode())]
    for ref in result.refs:
        reason = " ".join(ref.reason.split()).encode()
        lines.append(pkt(b"ng %s %s\n" % (ref.update.ref, reason) if reason else b"ok %s\n" % ref.update.ref))
        if ref.merged is not None and not reason and request.has(_REPORTS[1]):
            lines.append(pkt(b"option old-oid %s\n" % ref.update.old.hex().encode()))
            lines.append(pkt(b"option new-oid %s\n" % ref.merged.hex().encode()))
    lines.append(FLUSH)
    if request.has(b"side-band-64k"):
        yield from side_band(1, b"".join(lines))
        yield FLUSH
    else:
        yield from lines
