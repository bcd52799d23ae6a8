"""Multipart uploads over HTTP: each part to its own URL, and one URL that completes them. The URLs are made by a batch."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from accounts.repositories import Repositories
from httpapi.bodies import read_json
from httpapi.endpoint import Call, Endpoint
from lfs.errors import render_lfs
from lfs.transfers.actions import Actions, ActionVerb
from lfs.transfers.grants import granted, receive
from lfs.transfers.multipart import Multipart
from lfs.transfers.wire import parse_completion
from storage.limits import Limits
from storage.records import Access

_DONE = -1.0


class MultipartViews:
    def __init__(self, multipart: Multipart, actions: Actions, repos: Repositories, limits: Limits) -> None:
        self._multipart = multipart
        self._actions = actions
        self._repos = repos
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        # As with the other actions, the URL itself is the credential.
        action, most, most_batch = "/api/lfs/{repo_id}/{oid}/", self._limits.lfs_object_bytes, self._limits.lfs_batch_bytes
        return [
            Endpoint("PUT", action + ActionVerb.PART, self.part, Access.NONE, render_lfs, most_bytes=most),
            Endpoint("POST", action + ActionVerb.COMPLETE, self.complete, Access.NONE, render_lfs, most_bytes=most_batch),
        ]

    async def part(self, request: web.Request, call: Call) -> web.Response:
        grant = await granted(request, ActionVerb.PART, self._actions, self._repos)
        upload = await asyncio.to_thread(self._multipart.begin, grant.parted, grant.number)
        try:
            await receive(request, upload, grant.parted.size_of(grant.number), self._limits.body_seconds)
            await asyncio.to_thread(self._multipart.keep, grant.parted, upload)
        finally:
            await asyncio.to_thread(upload.abort)
        return web.Response(status=200, headers={"ETag": f'"{upload.etag}"'})

    async def complete(self, request: web.Request, call: Call) -> web.Response:
        grant = await granted(request, ActionVerb.COMPLETE, self._actions, self._repos)
        completion = parse_completion(await read_json(request, self._limits.lfs_batch_bytes))
        await work(self._multipart.complete(grant.parted, completion))
        return web.json_response({"oid": grant.blob.sha256, "size": grant.blob.size})


async def work(steps: Iterator[float]) -> None:
    """Piece by piece, so that the object of one client does not keep a thread for minutes."""
    while True:
        seconds = await asyncio.to_thread(next, steps, _DONE)
        if seconds == _DONE:
            return
        await asyncio.sleep(seconds)
