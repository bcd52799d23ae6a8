"""The locking API over HTTP: create, list, verify and unlock, below the LFS address of a repository."""

import asyncio
import json
from typing import Any

from aiohttp import web

from httpapi.bodies import read_json
from httpapi.endpoint import GIT_PATHS, Call, Endpoint
from lfs.errors import render_lfs
from lfs.locks.locks import FileLocks, LockPage, PathLocked
from lfs.locks.wire import lock_json, page_json, parse_force, parse_id, parse_path, parse_query, parse_verify, verified_json
from lfs.transfers.wire import MEDIA_TYPE
from storage.errors import Unsupported
from storage.limits import Limits
from storage.records import Access

_JSON_TYPES = (MEDIA_TYPE, "application/json")


class LockViews:
    def __init__(self, locks: FileLocks, limits: Limits, *, may_create: bool = False) -> None:
        self._locks = locks
        self._limits = limits
        self._may_create = may_create

    def endpoints(self) -> list[Endpoint]:
        rows = []
        for path in GIT_PATHS:
            locks = path + "/info/lfs/locks"
            rows.append(Endpoint("GET", locks, self.list_locks, Access.READ, render_lfs))
            rows.append(Endpoint("POST", locks, self.create, Access.WRITE, render_lfs))
            rows.append(Endpoint("POST", locks + "/verify", self.verify, Access.WRITE, render_lfs, creates=self._may_create))
            rows.append(Endpoint("POST", locks + "/{id}/unlock", self.unlock, Access.WRITE, render_lfs))
        return rows

    async def list_locks(self, request: web.Request, call: Call) -> web.Response:
        query = parse_query(request.query, self._limits)
        return _json(page_json(await asyncio.to_thread(self._locks.page, call.repo.id, query)))

    async def create(self, request: web.Request, call: Call) -> web.Response:
        path = parse_path(await self._body(request), self._limits)
        try:
            made = await asyncio.to_thread(self._locks.create, call.repo, call.principal, path)
        except PathLocked as error:
            shown = {"lock": lock_json(error.lock), "message": error.message}
            return _json(shown | {"request_id": str(request.get("request_id", ""))}, error.status)
        return _json({"lock": lock_json(made)}, 201)

    async def verify(self, request: web.Request, call: Call) -> web.Response:
        query = parse_verify(await self._body(request), self._limits)
        if call.missing is not None:  # the push that asks will make it
            return _json(verified_json(LockPage(()), call.principal))
        return _json(verified_json(await asyncio.to_thread(self._locks.page, call.repo.id, query), call.principal))

    async def unlock(self, request: web.Request, call: Call) -> web.Response:
        force, lock_id = parse_force(await self._body(request)), parse_id(request.match_info["id"])
        gone = await asyncio.to_thread(self._locks.release, call.repo, call.principal, lock_id, force=force)
        return _json({"lock": lock_json(gone)})

    async def _body(self, request: web.Request) -> Any:
        if request.content_type not in _JSON_TYPES:
            raise Unsupported(f"Content-Type {request.content_type[:80]!r} is not understood here; send {MEDIA_TYPE}.")
        return await read_json(request, self._limits.json_bytes)


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(data).encode(), headers={"Content-Type": MEDIA_TYPE})
