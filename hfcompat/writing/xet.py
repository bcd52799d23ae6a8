"""Where and with what a client reaches the Xet store: `XetTokenViews(tokens, browser, origin)`."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from gitserver.history.browser import Browser
from hfcompat import wire
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from lfs.xet.tokens import XetTokens
from storage.errors import Unauthenticated
from storage.records import Access


class XetTokenViews:
    def __init__(self, tokens: XetTokens, browser: Browser, origin: Callable[[web.Request], str]) -> None:
        self._tokens = tokens
        self._browser = browser
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", f"{wire.API_REPO}/xet-read-token/{wire.REVISION}", self.read_token, Access.READ, render_json),
            Endpoint("GET", f"{wire.API_REPO}/xet-write-token/{wire.REVISION}", self.write_token, Access.WRITE, render_json),
        ]

    async def read_token(self, request: web.Request, call: Call) -> web.Response:
        return await self._answer(request, call, may_write=False)

    async def write_token(self, request: web.Request, call: Call) -> web.Response:
        wire.refuse_pull_request(request)
        return await self._answer(request, call, may_write=True)

    async def _answer(self, request: web.Request, call: Call, *, may_write: bool) -> web.Response:
        """The same facts in the body (hf_xet) and in headers (huggingface_hub)."""
        if call.principal.is_anonymous:
            raise Unauthenticated("Xet tokens are for signed-in users. Downloads need none: use the resolve address.")
        revision = request.match_info["rev"]
        if revision != "None":  # what clients send for "whatever is default"
            await asyncio.to_thread(self._browser.branch if may_write else self._browser.at, call.repo, revision)
        token, expires = self._tokens.issue(call.principal, call.repo, may_write=may_write)
        address = f"{self._origin(request)}/cas/{self._tokens.scope(call.principal.user_id)}"
        headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
        headers["Cache-Control"] = "no-store"
        return web.json_response({"casUrl": address, "accessToken": token, "exp": expires}, headers=headers)
