"""Commits: `CommitViews(committer, browser, packs, limits, origin)`."""

import asyncio
from collections.abc import Callable
from typing import IO

from aiohttp import web

from gitserver.commit.committer import Committer
from gitserver.history.browser import Browser
from hfcompat import wire
from hfcompat.writing.branch_locks import KeyedLock
from hfcompat.writing.payload import CommitReader
from httpapi.bodies import batches
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import Invalid
from storage.limits import Limits
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
        self._turns = KeyedLock()

    def endpoints(self) -> list[Endpoint]:
        path, most = f"{wire.API_REPO}/commit/{wire.REVISION}", self._limits.commit_bytes
        return [Endpoint("POST", path, self.commit, Access.WRITE, render_json, most_bytes=most)]

    async def commit(self, request: web.Request, call: Call) -> web.Response:
        wire.refuse_pull_request(request)
        spool = self._packs.spool()
        try:
            reader, rest = await self._receive(request, spool)
            async with self._turns.of((call.repo.id, request.match_info["rev"])):
                oid = await asyncio.to_thread(self._finish, call, reader, rest, request.match_info["rev"])
        finally:
            await asyncio.to_thread(spool.close)
        url = f"{self._origin(request)}/{call.repo.name.path}/commit/{oid.hex()}"
        return web.json_response({"success": True, "commitOid": oid.hex(), "commitUrl": url, "hookOutput": ""})

    async def _receive(self, request: web.Request, spool: IO[bytes]) -> tuple[CommitReader, bytes]:
        """The body, read by about a MiB a thread hop, and what was not read of it yet: a small commit needs one hop in all."""
        reader = CommitReader(spool, self._limits)
        rest = b""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for pieces in batches(request, self._limits.commit_bytes):
                    if rest:
                        await asyncio.to_thread(reader.feed, rest)
                    rest = b"".join(pieces)
        except TimeoutError as error:
            raise Invalid(f"The commit took longer than {self._limits.body_seconds} seconds to arrive. Make it smaller.") from error
        return reader, rest

    def _finish(self, call: Call, reader: CommitReader, rest: bytes, revision: str) -> Oid:
        branch = self._browser.branch(call.repo, revision)
        self._packs.space.check(len(rest))
        reader.feed(rest)
        return self._committer.commit(call.repo, call.principal, reader.finish(branch, call.principal.user_id))
