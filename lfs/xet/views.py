"""The content-addressed store that hf_xet talks to (huggingface.co/docs/xet/api): `XetViews(ingest, tokens, users, repos, limits)`.

Every route stands below `/cas/<scope>`, and its credential is the Xet token, checked here; the user's rights are asked anew each time.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from accounts.access import require
from accounts.bodies import chunks, read_all
from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from accounts.repos import Repos
from accounts.users import Users
from lfs.xet.hashes import from_text
from lfs.xet.ingest import XetIngest
from lfs.xet.shard import ShardFile, write_dedup_shard
from lfs.xet.tokens import XetTokens
from storage.errors import HubError, Invalid, NotFound, Unauthenticated
from storage.limits import MIB, Limits
from storage.records import Access, Principal, Repo, Scope

_CAS = "/cas/{scope}"
_HASH = "{prefix:default|default-merkledb}/{hash}"
_HEARTBEAT_SECONDS = 10.0
_DEDUP_SECONDS = 7 * 86400


@dataclass(frozen=True, slots=True)
class _Caller:
    principal: Principal
    repo: Repo


class XetViews:
    def __init__(self, ingest: XetIngest, tokens: XetTokens, users: Users, repos: Repos, limits: Limits) -> None:
        self._ingest = ingest
        self._tokens = tokens
        self._users = users
        self._repos = repos
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        row = partial(Endpoint, needs=Access.NONE, render=render_json, checks_itself=True)
        return [
            row("POST", f"{_CAS}/v1/xorbs/{_HASH}", self.xorb),
            row("POST", f"{_CAS}/v1/shards", self.shard),
            row("POST", f"{_CAS}/v2/shards", self.streamed_shard),
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
                await self._receive(request, upload.feed)
            is_new = await asyncio.to_thread(upload.finish, name, caller.principal.user_id)
        except TimeoutError as error:
            raise Invalid(f"The xorb took longer than {self._limits.body_seconds} seconds to arrive. Send it again.") from error
        finally:
            await asyncio.to_thread(upload.abort)
        return web.json_response({"was_inserted": is_new})

    async def shard(self, request: web.Request, call: Call) -> web.Response:
        caller, files = await self._checked(request)
        await asyncio.to_thread(self._ingest.register, caller.repo.id, caller.principal.user_id, files, lambda done: None)
        return web.json_response({"result": 1})

    async def streamed_shard(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Events while large files are rebuilt, one JSON line each; the last one tells how it went."""
        caller, files = await self._checked(request)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache"})
        await response.prepare(request)
        done = [0]
        work = asyncio.to_thread(self._ingest.register, caller.repo.id, caller.principal.user_id, files, partial(list.__setitem__, done, 0))
        task = asyncio.ensure_future(work)
        total = sum(file.size for file in files)
        while not task.done():
            await _event(response, {"type": "validating", "verified": done[0] // MIB, "total": total // MIB})
            await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
        try:
            await task
            await _event(response, {"type": "result", "result": 1})
        except HubError as error:
            await _event(response, {"type": "error", "message": error.message, "retryable": error.status >= 500})
        await response.write_eof()
        return response

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

    async def _receive(self, request: web.Request, feed: Callable[[Iterable[bytes]], None]) -> None:
        pending: list[bytes] = []
        held = 0
        async for data in chunks(request, self._limits.xet_xorb_bytes):
            pending.append(data)
            held += len(data)
            if held >= MIB:
                await asyncio.to_thread(feed, pending)
                pending, held = [], 0
        await asyncio.to_thread(feed, pending)

    async def _checked(self, request: web.Request) -> tuple[_Caller, Sequence[ShardFile]]:
        caller = await asyncio.to_thread(self._caller, request, needs_write=True)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                data = await read_all(request, self._limits.xet_shard_bytes)
        except TimeoutError as error:
            raise Invalid(f"The shard took longer than {self._limits.body_seconds} seconds to arrive. Send it again.") from error
        return caller, await asyncio.to_thread(self._ingest.read, data, caller.principal.user_id)

    def _caller(self, request: web.Request, *, needs_write: bool) -> _Caller:
        authorization = request.headers.get("Authorization", "")
        grant = self._tokens.check(authorization, request.match_info["scope"], needs_write=needs_write)
        user = self._users.by_name(grant.user)
        repo = self._repos.get(grant.repo_id)
        if user is None or not user.is_active or repo is None:
            raise Unauthenticated("The user or the repository of this Xet token is gone. Create it again, or upload to another one.")
        principal = user.principal(Scope.WRITE if grant.may_write else Scope.READ, from_session=False)
        require(principal, repo, repo.name, Access.WRITE if needs_write else Access.READ)
        return _Caller(principal, repo)


async def _event(response: web.StreamResponse, event: dict[str, object]) -> None:
    await response.write(json.dumps(event).encode() + b"\n")
