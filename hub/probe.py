"""What `kohakuhub doctor` asks through the proxies: how a request arrives here. It tells a caller only about his own request."""

import asyncio
import time
from contextlib import suppress

from aiohttp import web

from httpapi.bodies import invite
from httpapi.endpoint import STOPPING, Call, Endpoint, client_address
from httpapi.errors import render_json
from hub.public_address import Origin
from storage.records import Access

_PATH_CHARACTERS = 1000
_HOLD_SECONDS = 10.0


class ProbeViews:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/api/probe/echo/{rest:.*}", self.echo, Access.NONE, render_json),
            Endpoint("POST", "/api/probe/upload", self.upload, Access.NONE, render_json, most_bytes=0),
            Endpoint("GET", "/api/probe/stream", self.stream, Access.NONE, render_json),
        ]

    async def echo(self, request: web.Request, call: Call) -> web.Response:
        who = client_address(request)
        seen = {
            "url": self._origin.of(request),
            "path": request.raw_path[:_PATH_CHARACTERS],
            "git_protocol": request.headers.get("Git-Protocol", ""),
            "address": who.address,
            "scheme": who.scheme,
            "is_forwarded": "X-Forwarded-For" in request.headers,
            "trusts_proxy": self._origin.trusts_proxy,
            "time": time.time(),
        }
        return web.json_response(seen, headers={"Cache-Control": "no-store"})

    async def upload(self, request: web.Request, call: Call) -> web.Response:
        """Answers at the first byte of the body: behind a proxy that collects bodies first, that is after the last one."""
        await invite(request)
        first = await request.content.read(1)
        response = web.json_response({"received": len(first)}, headers={"Cache-Control": "no-store", "Connection": "close"})
        response.force_close()
        return response

    async def stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        """One line at once and one after a while: behind a proxy that collects answers first, the first comes with the second."""
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-store"})
        response.content_length = len(b"first\nsecond\n")  # nginx collects these only, not what comes in chunks
        await response.prepare(request)
        await response.write(b"first\n")
        with suppress(TimeoutError):
            await asyncio.wait_for(request.app[STOPPING].wait(), _HOLD_SECONDS)
        await response.write(b"second\n")
        await response.write_eof()
        return response
