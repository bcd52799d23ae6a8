"""The content-addressed store that hf_xet talks to (huggingface.co/docs/xet/api): `XetViews(ingest, tokens, users, repos, limits)`.

Every route stands below `/cas/<scope>`, and its credential is the Xet token, checked here; the user's rights are asked anew each time.
"""

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from accounts.access import require
from accounts.identity.users import Users
from accounts.repositories import Repositories
from httpapi.bodies import batches, read_all
from httpapi.endpoint import Call, Endpoint, as_refusal
from httpapi.errors import render_json
from lfs.xet.hashes import from_text
from lfs.xet.ingest import XetIngest
from lfs.xet.shard import write_dedup_shard
from lfs.xet.tokens import XetTokens
from storage.errors import HubError, Invalid, NotFound, Unauthenticated, Unavailable
from storage.limits import MIB, Limits
from storage.records import Access, Principal, Repo, Scope

_CAS = "/cas/{scope}"
_HASH = "{prefix:default|default-merkledb}/{hash}"
_HEARTBEAT_SECONDS = 10.0
_DEDUP_SECONDS = 7 * 86400


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Caller:
    principal: Principal
    repo: Repo


class XetViews:
    def __init__(
        self, ingest: XetIngest, tokens: XetTokens, users: Users, repos: Repositories, limits: Limits, quick_seconds: float = 5.0
    ) -> None:
        self._ingest = ingest
        self._tokens = tokens
        self._users = users
        self._repos = repos
        self._limits = limits
        self._quick_seconds = quick_seconds

    def endpoints(self) -> list[Endpoint]:
        row = partial(Endpoint, needs=Access.NONE, render=render_json, checks_itself=True)
        most_xorb, most_shard = self._limits.xet_xorb_bytes, self._limits.xet_shard_bytes
        return [
            row("POST", f"{_CAS}/v1/xorbs/{_HASH}", self.xorb, most_bytes=most_xorb),
            row("POST", f"{_CAS}/v1/shards", self.shard, most_bytes=most_shard),
            row("POST", f"{_CAS}/v2/shards", self.streamed_shard, most_bytes=most_shard),
            row("GET", f"{_CAS}/v1/chunks/{_HASH}", self.chunk),
            row("*", _CAS + "/{rest:.*}", self.unknown),
        ]

    async def xorb(self, request: web.Request, call: Call) -> web.Response:
        name = request.match_info["hash"]
        from_text(name)
        caller = await asyncio.to_thread(self._caller, request, needs_write=True)
        upload = await asyncio.to_thread(self._ingest.receive)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for pieces in batches(request, self._limits.xet_xorb_bytes):
                    await asyncio.to_thread(upload.feed, pieces)
            is_new = await asyncio.to_thread(upload.finish, name, caller.principal.user_id)
        except TimeoutError as error:
            raise Invalid(f"The xorb took longer than {self._limits.body_seconds} seconds to arrive. Send it again.") from error
        finally:
            await asyncio.to_thread(upload.abort)
        return web.json_response({"was_inserted": is_new})

    async def shard(self, request: web.Request, call: Call) -> web.Response:
        caller, data = await self._shard(request)
        await asyncio.to_thread(self._register, caller, data, _Progress())
        return web.json_response({"result": 1})

    async def streamed_shard(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Events while large files are rebuilt, one JSON line each; the last one tells how it went. What is refused within the first
        seconds is refused by its status, before any event.
        """
        caller, data = await self._shard(request)
        progress = _Progress()
        task = asyncio.ensure_future(asyncio.to_thread(self._register, caller, data, progress))
        await asyncio.wait({task}, timeout=self._quick_seconds)
        if task.done():
            task.result()  # raises what there is to refuse
        events = _Events(request)
        while not task.done():
            await events.send({"type": "validating", "verified": progress.done // MIB, "total": progress.total // MIB})
            await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
        await events.send(await asyncio.to_thread(_outcome, request, task))
        return await events.end()

    async def chunk(self, request: web.Request, call: Call) -> web.Response:
        """What the caller need not send again; found only where he may read it already (I7)."""
        name = request.match_info["hash"]
        from_text(name)
        caller = await asyncio.to_thread(self._caller, request, needs_write=False)
        xorb = await asyncio.to_thread(self._ingest.index.grant_readable, caller.principal, name)
        if xorb is None:
            raise NotFound("No such chunk is stored where you may read it. Upload it.")
        body = write_dedup_shard([(from_text(xorb.hash), xorb.chunks)], int(time.time()) + _DEDUP_SECONDS)
        return web.Response(body=body, content_type="application/octet-stream")

    async def unknown(self, request: web.Request, call: Call) -> web.Response:
        raise NotFound(f"This hub has no such endpoint: {request.match_info['rest'][:80]!r}.")

    async def _shard(self, request: web.Request) -> tuple[_Caller, bytes]:
        caller = await asyncio.to_thread(self._caller, request, needs_write=True)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                data = await read_all(request, self._limits.xet_shard_bytes)
        except TimeoutError as error:
            raise Invalid(f"The shard took longer than {self._limits.body_seconds} seconds to arrive. Send it again.") from error
        return caller, data

    def _register(self, caller: _Caller, data: bytes, progress: "_Progress") -> None:
        files = self._ingest.read(data, caller.principal.user_id)
        progress.total = sum(file.size for file in files)
        self._ingest.register(caller.repo.id, caller.principal.user_id, files, progress.tell)

    def _caller(self, request: web.Request, *, needs_write: bool) -> _Caller:
        authorization = request.headers.get("Authorization", "")
        grant = self._tokens.check(authorization, request.match_info["scope"], needs_write=needs_write)
        user = self._users.get(grant.user_id)
        repo = self._repos.get(grant.repo_id)
        if user is None or not user.is_active or repo is None:
            raise Unauthenticated("The user or the repository of this Xet token is gone. Create it again, or upload to another one.")
        principal = user.principal(Scope.WRITE if grant.may_write else Scope.READ, from_session=False)
        require(principal, repo, repo.name, Access.WRITE if needs_write else Access.READ)
        return _Caller(principal, repo)


class _Progress:
    """How far a shard's files are rebuilt, in bytes; told by the thread, looked at by the loop."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0

    def tell(self, done: int) -> None:
        self.done = done


class _Events:
    """A stream of JSON lines. A client that goes away misses them; the work that they tell of is finished all the same."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache"})

    async def send(self, event: dict[str, object]) -> None:
        with suppress(ConnectionError):
            if not self._response.prepared:
                await self._response.prepare(self._request)
            await self._response.write(json.dumps(event).encode() + b"\n")

    async def end(self) -> web.StreamResponse:
        with suppress(ConnectionError):
            await self._response.write_eof()
        return self._response


def _outcome(request: web.Request, task: "asyncio.Future[None]") -> dict[str, object]:
    """The last event. The status went out already: this is the only place that tells of a failure."""
    try:
        task.result()
    except HubError as error:
        return _failure(error)
    except OSError as error:
        with suppress(OSError):
            return _failure(as_refusal(request, error))
        log.exception("a shard could not be registered")
        return {"type": "error", "message": "The hub could not write the files; the operator's log says why.", "retryable": True}
    return {"type": "result", "result": 1}


def _failure(error: HubError) -> dict[str, object]:
    return {"type": "error", "message": error.message, "retryable": error.status in (HubError.status, Unavailable.status)}
