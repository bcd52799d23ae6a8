"""Sign-up, sign-in and tokens: `AccountViews(users, tokens, sessions, authenticator, limits, version, *, may_register)`."""

import asyncio

from aiohttp import web

from accounts.identity.authenticator import COOKIE, Authenticator
from accounts.identity.sessions import Sessions
from accounts.identity.tokens import Tokens
from accounts.identity.users import Users
from httpapi.endpoint import Call, Endpoint, client_address
from httpapi.errors import render_json
from httpapi.shapes import iso, read_model
from hubapi import wire
from storage.errors import Forbidden, Invalid, Unauthenticated
from storage.limits import Limits
from storage.records import Access


class AccountViews:
    def __init__(
        self,
        users: Users,
        tokens: Tokens,
        sessions: Sessions,
        authenticator: Authenticator,
        limits: Limits,
        version: str,
        *,
        may_register: bool = True,
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._sessions = sessions
        self._authenticator = authenticator
        self._limits = limits
        self._version = version
        self._may_register = may_register

    def endpoints(self) -> list[Endpoint]:
        def row(method: str, path: str, handler: object, needs: Access, *, session: bool = False) -> Endpoint:
            assert callable(handler)
            return Endpoint(method, path, handler, needs, render_json, needs_session=session)

        return [
            row("POST", "/api/auth/register", self.register, Access.NONE),
            row("POST", "/api/auth/login", self.login, Access.NONE),
            row("POST", "/api/auth/logout", self.logout, Access.READ),
            row("GET", "/api/auth/me", self.me, Access.READ),
            row("GET", "/api/auth/tokens", self.list_tokens, Access.READ),
            row("POST", "/api/auth/tokens/create", self.create_token, Access.ADMIN),
            row("DELETE", "/api/auth/tokens/{id}", self.delete_token, Access.ADMIN),
            row("GET", "/api/whoami-v2", self.whoami, Access.NONE),
        ]

    async def register(self, request: web.Request, call: Call) -> web.Response:
        if not self._may_register:
            raise Forbidden("Registration is closed here. Ask the operator for an account.")
        body = await read_model(request, wire.Register, self._limits)
        await asyncio.to_thread(self._users.create, body.username, body.email, body.password.get_secret_value())
        return web.json_response({"success": True, "message": f"Welcome, {body.username}. You can sign in now.", "email_verified": True})

    async def login(self, request: web.Request, call: Call) -> web.Response:
        body = await read_model(request, wire.Login, self._limits)
        who = client_address(request)
        principal = await asyncio.to_thread(self._authenticator.sign_in, body.username, body.password.get_secret_value(), who.address)
        cookie = await asyncio.to_thread(self._sessions.start, principal.user_id)
        answer = {"success": True, "message": "Signed in.", "username": principal.name}
        response = web.json_response(answer)
        response.set_cookie(
            COOKIE, cookie, max_age=self._sessions.seconds, httponly=True, samesite="Lax", secure=who.scheme == "https", path="/"
        )
        return response

    async def logout(self, request: web.Request, call: Call) -> web.Response:
        await asyncio.to_thread(self._sessions.end_all, call.principal.user_id)
        response = web.json_response({"success": True, "message": "Signed out everywhere."})
        response.del_cookie(COOKIE, path="/")
        return response

    async def me(self, request: web.Request, call: Call) -> web.Response:
        user = await asyncio.to_thread(self._users.by_name, call.principal.name)
        if user is None:
            raise Unauthenticated("This account is gone.")
        shown = {"id": user.id, "username": user.name, "email": user.email, "email_verified": True, "is_admin": user.is_admin}
        return web.json_response(shown | {"created_at": iso(user.created_at)})

    async def list_tokens(self, request: web.Request, call: Call) -> web.Response:
        tokens = await asyncio.to_thread(self._tokens.list, call.principal.user_id)
        return web.json_response({"tokens": [wire.token_json(token) for token in tokens]})

    async def create_token(self, request: web.Request, call: Call) -> web.Response:
        body = await read_model(request, wire.CreateToken, self._limits)
        expires = int(body.expires_at.timestamp() * 1_000_000) if body.expires_at else None
        new = await asyncio.to_thread(self._tokens.create, call.principal.user_id, body.name, body.scope, expires)
        answer = {"success": True, "token": new.text, "token_id": new.id, "message": "Keep the token: it is not shown again."}
        return web.json_response(answer)

    async def delete_token(self, request: web.Request, call: Call) -> web.Response:
        text = request.match_info["id"]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Invalid(f"{text[:40]!r} is no token id; list your tokens to see the ids.")
        await asyncio.to_thread(self._tokens.delete, call.principal.user_id, int(text))
        return web.json_response({"success": True, "message": "The token is gone."})

    async def whoami(self, request: web.Request, call: Call) -> web.Response:
        if call.principal.is_anonymous:
            raise Unauthenticated("Sign in first: send an access token as 'Authorization: Bearer <token>'.")
        return web.json_response(wire.whoami_json(call.principal, self._version))
