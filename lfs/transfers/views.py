"""LFS over HTTP. `origin` tells the hub's address; `create` makes a repository where the first upload finds none."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from accounts.access import require
from accounts.repositories import Repositories
from httpapi.bodies import read_json
from httpapi.endpoint import GIT_PATHS, Call, Endpoint, InThread
from httpapi.ranges import Download, answer
from lfs.errors import render_lfs
from lfs.objects.downloads import content_of
from lfs.objects.possession import Possession
from lfs.transfers.actions import Actions, ActionVerb
from lfs.transfers.batch import Batch
from lfs.transfers.grants import check_grant, granted, receive
from lfs.transfers.multipart import Multipart
from lfs.transfers.multipart_views import work
from lfs.transfers.wire import MEDIA_TYPE, BadObject, Unprocessable, parse_batch, parse_object
from storage.blobs.base import BlobStore
from storage.errors import NotFound, ObjectNotFound, Unsupported
from storage.limits import Limits
from storage.records import Access, Principal, Repo, RepoName

_JSON_TYPES = (MEDIA_TYPE, "application/json")


class LfsViews:
    def __init__(
        self,
        batch: Batch,
        multipart: Multipart,
        possession: Possession,
        actions: Actions,
        blobs: BlobStore,
        repos: Repositories,
        limits: Limits,
        origin: Callable[[web.Request], str],
        create: Callable[[Principal, RepoName], Repo] | None = None,
    ) -> None:
        self._batch = batch
        self._multipart = multipart
        self._possession = possession
        self._actions = actions
        self._blobs = blobs
        self._repos = repos
        self._limits = limits
        self._origin = origin
        self._create = create

    def endpoints(self) -> list[Endpoint]:
        rows, most, most_batch = [], self._limits.lfs_object_bytes, self._limits.lfs_batch_bytes
        for path in GIT_PATHS:
            row = partial(Endpoint, needs=Access.READ, render=render_lfs)
            batch = f"{path}/info/lfs/objects/batch"
            rows.append(row("POST", batch, self.batch, creates=self._create is not None, most_bytes=most_batch))
            rows.append(row("*", path + "/info/lfs/{rest:.*}", self.unknown))
        # The URL itself is the credential: its signature was made for one verb, repository, object and size.
        action = "/api/lfs/{repo_id}/{oid}/"
        rows += [
            Endpoint("PUT", action + ActionVerb.UPLOAD, self.upload, Access.NONE, render_lfs, most_bytes=most),
            Endpoint("POST", action + ActionVerb.VERIFY, self.verify, Access.NONE, render_lfs),
            Endpoint("GET", action + ActionVerb.DOWNLOAD, InThread(self.download), Access.NONE, render_lfs),
            Endpoint("HEAD", action + ActionVerb.DOWNLOAD, InThread(self.download), Access.NONE, render_lfs),
        ]
        return rows

    async def batch(self, request: web.Request, call: Call) -> web.Response:
        if request.content_type not in _JSON_TYPES:
            raise Unsupported(f"Content-Type {request.content_type[:80]!r} is not understood here; send {MEDIA_TYPE}.")
        asked = parse_batch(await read_json(request, self._limits.lfs_batch_bytes), self._limits)
        repo_id = await asyncio.to_thread(self._repo_id, call, is_upload=asked.is_upload)
        return _json(await asyncio.to_thread(self._batch.answer, repo_id, asked, self._origin(request)))

    def _repo_id(self, call: Call, *, is_upload: bool) -> str:
        """An upload needs the right to write, or to create what is missing."""
        if call.missing is not None and self._create is not None and is_upload:
            return self._create(call.principal, call.missing).id
        name = call.missing or call.repo.name
        return require(call.principal, call.named_repo, name, Access.WRITE if is_upload else Access.READ).id

    async def upload(self, request: web.Request, call: Call) -> web.Response:
        grant = await granted(request, ActionVerb.UPLOAD, self._actions, self._repos)
        upload = await asyncio.to_thread(self._blobs.upload, grant.blob)
        try:
            await receive(request, upload, grant.blob.size, self._limits.body_seconds)
            await asyncio.to_thread(upload.commit)
            await asyncio.to_thread(self._possession.link, grant.repo_id, grant.blob)
        finally:
            await asyncio.to_thread(upload.abort)
        return web.Response(status=200, headers={"ETag": f'"{grant.blob.sha256}"'})

    async def verify(self, request: web.Request, call: Call) -> web.Response:
        grant = await granted(request, ActionVerb.VERIFY, self._actions, self._repos)
        asked = parse_object(await read_json(request, self._limits.json_bytes), self._limits)
        if isinstance(asked, BadObject):
            raise Unprocessable(asked.message)
        if grant.direct is not None and asked == grant.blob:
            await work(self._multipart.admit(grant.parted))
        have = await asyncio.to_thread(self._possession.has, grant.repo_id, asked.sha256)
        if asked.sha256 != grant.blob.sha256 or have is None:
            raise ObjectNotFound(f"Object {asked.sha256} is not in this repository. Upload it first.")
        if have.size != asked.size:
            raise Unprocessable(f"Object {have.sha256} has {have.size} bytes, not {asked.size}.")
        return web.Response(status=200)

    def download(self, request: web.Request, call: Call) -> Download:
        grant = check_grant(request, ActionVerb.DOWNLOAD, self._actions, self._repos)
        if self._possession.has(grant.repo_id, grant.blob.sha256) != grant.blob:
            raise ObjectNotFound(f"Object {grant.blob.sha256} is not in this repository.")
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment",
            "Cache-Control": "private, no-transform",
        }
        return answer(request, content_of(self._blobs, grant.blob), headers)

    async def unknown(self, request: web.Request, call: Call) -> web.Response:
        """git-lfs takes a 404 for "this server has no locks" and goes on."""
        raise NotFound(f"Not found: this hub has no LFS endpoint {request.match_info['rest'][:80]!r}.")


def _json(data: Any) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), headers={"Content-Type": MEDIA_TYPE})
