"""Small calls that clients make before or beside the real ones: `MiscViews(limits)`."""

import asyncio

from aiohttp import web

from hfcompat import wire
from hfcompat.reading.card import problems
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import NotFound
from storage.limits import Limits
from storage.records import Access


class MiscViews:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        most = self._limits.readme_bytes
        return [
            Endpoint("POST", "/api/validate-yaml", self.validate_yaml, Access.NONE, render_json, most_bytes=most),
            Endpoint("GET", "/api/agent-harnesses", self.agent_harnesses, Access.NONE, render_json),
            Endpoint("POST", wire.API_REPO + "/discussions", self.open_discussion, Access.READ, render_json),
            Endpoint("HEAD", "/api/telemetry/{rest:.*}", self.telemetry, Access.NONE, render_json),
        ]

    async def validate_yaml(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits, most=self._limits.readme_bytes)
        errors, warnings = await asyncio.to_thread(problems, str(body.get("content") or ""), self._limits)
        shown = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
        return web.json_response(shown, status=400 if errors else 200)

    async def agent_harnesses(self, request: web.Request, call: Call) -> web.Response:
        """Every process of the newest client asks once a day; this hub names none."""
        return web.json_response({"standardEnvVars": [], "harnesses": {}})

    async def open_discussion(self, request: web.Request, call: Call) -> web.Response:
        """Where upload_folder opens its pull request before it sends anything."""
        raise wire.no_pull_requests()

    async def telemetry(self, request: web.Request, call: Call) -> web.Response:
        """Asked for by clients, recorded by nobody."""
        raise NotFound("This hub records no telemetry.")
