"""SSH keys of the signed-in user: `KeyViews(keys, limits)`."""

import asyncio

from aiohttp import web

from accounts.keys.ssh_keys import SshKeys
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from httpapi.shapes import read_model
from hubapi.wire import AddKey, key_json
from storage.errors import Invalid
from storage.limits import Limits
from storage.records import Access


class KeyViews:
    def __init__(self, keys: SshKeys, limits: Limits) -> None:
        self._keys = keys
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        """A key opens the account for long, so that adding one needs what making a token needs."""
        return [
            Endpoint("GET", "/api/user/keys", self.list, Access.READ, render_json),
            Endpoint("POST", "/api/user/keys", self.add, Access.ADMIN, render_json),
            Endpoint("GET", "/api/user/keys/{id}", self.get, Access.READ, render_json),
            Endpoint("DELETE", "/api/user/keys/{id}", self.delete, Access.ADMIN, render_json),
        ]

    async def list(self, request: web.Request, call: Call) -> web.Response:
        keys = await asyncio.to_thread(self._keys.list, call.principal.user_id)
        return web.json_response([key_json(key) for key in keys])

    async def add(self, request: web.Request, call: Call) -> web.Response:
        body = await read_model(request, AddKey, self._limits)
        key = await asyncio.to_thread(self._keys.add, call.principal.user_id, body.key, body.title)
        return web.json_response(key_json(key))

    async def get(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(key_json(await asyncio.to_thread(self._keys.get, call.principal.user_id, _id(request))))

    async def delete(self, request: web.Request, call: Call) -> web.Response:
        await asyncio.to_thread(self._keys.delete, call.principal.user_id, _id(request))
        return web.json_response({"success": True, "message": "The key is gone."})


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"{text[:40]!r} is no key id; list your keys to see the ids.")
    return int(text)
