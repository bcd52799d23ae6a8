"""/healthz: the process answers. /readyz: it also reaches its rows and its disk, where there is room, and is not stopping."""

import asyncio
import os

from aiohttp import web

from httpapi.endpoint import STOPPING, Call, Endpoint
from httpapi.errors import render_json
from hub.services import Services
from storage.errors import Unavailable
from storage.records import Access


class HealthViews:
    def __init__(self, services: Services, version: str) -> None:
        self._services = services
        self._version = version

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/healthz", self.healthz, Access.NONE, render_json),
            Endpoint("GET", "/readyz", self.readyz, Access.NONE, render_json),
            Endpoint("GET", "/api/version", self.version, Access.NONE, render_json),
        ]

    async def healthz(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(self, request: web.Request, call: Call) -> web.Response:
        if request.app[STOPPING].is_set():
            raise Unavailable("The hub is stopping.")
        down = await asyncio.to_thread(self._probe)
        if down:
            body = {"status": "unavailable", **down, "error": " ".join(down.values())}
            return web.json_response(body, status=503, headers={"Retry-After": "5"})
        return web.json_response({"status": "ready"})

    async def version(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response({"name": "KohakuHub", "api": "kohakuhub", "version": self._version})

    def _probe(self) -> dict[str, str]:
        """What is down, each with the reason."""
        down = {}
        try:
            self._services.database.one("SELECT 1 AS one")
        except Unavailable as error:
            down["database"] = error.message
        data = self._services.settings.data
        remote = self._services.stores.remote
        for name, ping in (("s3", remote.bucket.ping if remote else None), ("lakefs", self._services.versions.ping)):
            try:
                if ping is not None:
                    ping()
            except Unavailable as error:
                down[name] = error.message
        if not os.access(data, os.W_OK):
            down["data"] = f"The data directory {data} cannot be written."
        if trouble := self._services.stores.space.trouble():
            down["disk"] = trouble
        return down
