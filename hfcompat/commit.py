"""Commits: `CommitViews(committer, browser, packs, limits, origin)`."""

import asyncio
import shutil
from collections.abc import Callable
from typing import BinaryIO

from aiohttp import web

from accounts.bodies import chunks
from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from gitserver.browse import Browser
from gitserver.commit.committer import Committer
from hfcompat import wire
from hfcompat.payload import CommitReader
from storage.errors import Invalid
from storage.limits import MIB, Limits
from storage.packs import PackStore
from storage.records import Access, Oid


class CommitViews:
    def __init__(
        self, committer: Committer, browser: Browser, packs: PackStore, limits: Limits, origin: Callable[[web.Request], str]
    ) -> None:
        self._committer = committer
        self._browser = browser
        self._packs = packs
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", f"{wire.API_REPO}/commit/{wire.REVISION}", self.commit, Access.WRITE, render_json)]

    async def commit(self, request: web.Request, call: Call) -> web.Response:
        wire.refuse_pull_request(request)
        folder = await asyncio.to_thread(self._packs.quarantine)
        try:
            spool = await asyncio.to_thread((folder / "contents").open, "w+b")
            try:
                oid = await self._receive(request, call, spool)
            finally:
                await asyncio.to_thread(spool.close)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        url = f"{self._origin(request)}/{call.repo.name.path}/commit/{oid.hex()}"
        return web.json_response({"success": True, "commitOid": oid.hex(), "commitUrl": url, "hookOutput": ""})

    async def _receive(self, request: web.Request, call: Call, spool: BinaryIO) -> Oid:
        """The body is read by about a MiB a thread hop; a small commit takes one."""
        reader = CommitReader(spool, self._limits)
        pending: list[bytes] = []
        held = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for data in chunks(request, self._limits.commit_bytes):
                    pending.append(data)
                    held += len(data)
                    if held >= MIB:
                        await asyncio.to_thread(reader.feed, b"".join(pending))
                        pending, held = [], 0
        except TimeoutError as error:
            raise Invalid(f"The commit took longer than {self._limits.body_seconds} seconds to arrive. Make it smaller.") from error
        return await asyncio.to_thread(self._finish, call, reader, b"".join(pending), request.match_info["rev"])

    def _finish(self, call: Call, reader: CommitReader, rest: bytes, revision: str) -> Oid:
        branch = self._browser.branch(call.repo, revision)
        reader.feed(rest)
        return self._committer.commit(call.repo, call.principal, reader.finish(branch, call.principal.user_id))
