"""Push mirrors through the API: `TargetViews(mirrors, jobs, limits, allow_private)`."""

import asyncio

from aiohttp import web

from gitserver.mirror.imports import read_source
from gitserver.mirror.mirrors import Mirror, Mirrors
from gitserver.mirror.views import check_owner, show
from httpapi.bodies import read_json
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import Invalid, NotFound
from storage.jobs.queue import Jobs
from storage.limits import Limits
from storage.outbound.address import resolve
from storage.outbound.url import Url, UrlCredentials
from storage.records import Access

_PATH = "/api/{kinds:models|datasets|spaces}/{ns}/{name}/push-mirrors"


class TargetViews:
    def __init__(self, mirrors: Mirrors, jobs: Jobs, limits: Limits, *, allow_private: bool) -> None:
        self._mirrors = mirrors
        self._jobs = jobs
        self._limits = limits
        self._allow_private = allow_private

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", _PATH, self.add, Access.WRITE, render_json),
            Endpoint("GET", _PATH, self.list, Access.WRITE, render_json),
            Endpoint("DELETE", _PATH + "/{id}", self.remove, Access.WRITE, render_json),
        ]

    async def add(self, request: web.Request, call: Call) -> web.Response:
        check_owner(call.principal, call.repo.name)
        body = await read_json(request, self._limits.json_bytes)
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object with a url.")
        url, login = read_source(body.get("url"), body.get("username"), body.get("password"))
        mirror = await asyncio.to_thread(self._add, call, url, login)
        return web.json_response(await asyncio.to_thread(self._shown, mirror), status=201)

    async def list(self, request: web.Request, call: Call) -> web.Response:
        rows = await asyncio.to_thread(lambda: [self._shown(mirror) for mirror in self._mirrors.targets(call.repo.id)])
        return web.json_response(rows)

    async def remove(self, request: web.Request, call: Call) -> web.Response:
        check_owner(call.principal, call.repo.name)
        await asyncio.to_thread(self._remove, call, request.match_info["id"])
        return web.json_response({"success": True, "message": "Nothing is pushed there any more."})

    def _add(self, call: Call, url: Url, login: UrlCredentials | None) -> Mirror:
        resolve(url.host, url.port, allow_private=self._allow_private)  # an early answer; each connection is judged itself
        return self._mirrors.add_target(call.repo, call.principal, url, login)

    def _remove(self, call: Call, mirror_id: str) -> None:
        found = [mirror for mirror in self._mirrors.targets(call.repo.id) if mirror.id == mirror_id]
        if not found:
            raise NotFound(f"{call.repo.name.full} has no push mirror of that id.")
        self._mirrors.end(found[0])

    def _shown(self, mirror: Mirror) -> dict[str, object]:
        shown = show(self._jobs, mirror)
        return {"id": mirror.id, **{name: shown[name] for name in shown if name not in ("mirror", "interval_seconds")}}
