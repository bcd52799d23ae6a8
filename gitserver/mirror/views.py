"""Imports and pull mirrors through the API: `MirrorViews(mirrors, jobs, repos, versions, limits, allow_private)`."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from accounts.access import may_create_in
from accounts.repositories import Repositories
from gitserver.mirror.imports import checked_interval, find_or_create, read_source
from gitserver.mirror.mirrors import Mirror, Mirrors
from httpapi.bodies import read_json
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import Forbidden, Invalid, NotFound
from storage.jobs.base import JobState
from storage.jobs.queue import Jobs
from storage.limits import Limits
from storage.outbound.address import resolve
from storage.outbound.url import Url, UrlCredentials
from storage.records import Access, Principal, Repo, RepoKind, RepoName
from storage.versions.base import VersionStore

DEFAULT_SECONDS = 8 * 3600
_KINDS = "/api/{kinds:models|datasets|spaces}"


class MirrorViews:
    def __init__(
        self, mirrors: Mirrors, jobs: Jobs, repos: Repositories, versions: VersionStore, limits: Limits, *, allow_private: bool
    ) -> None:
        self._mirrors = mirrors
        self._jobs = jobs
        self._repos = repos
        self._versions = versions
        self._limits = limits
        self._allow_private = allow_private

    def endpoints(self) -> list[Endpoint]:
        # The first one makes the repository, so its path may name one that is not there.
        return [
            Endpoint("POST", _KINDS + "/{owner}/{new}/import", self.begin, Access.WRITE, render_json),
            Endpoint("GET", _KINDS + "/{ns}/{name}/import", self.state, Access.WRITE, render_json),
            Endpoint("DELETE", _KINDS + "/{ns}/{name}/import", self.end, Access.WRITE, render_json),
        ]

    async def begin(self, request: web.Request, call: Call) -> web.Response:
        body = await read_json(request, self._limits.json_bytes)
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object with a url.")
        path = request.match_info
        name = RepoName.parse(RepoKind(path["kinds"].removesuffix("s")), path["owner"], path["new"])
        url, login = read_source(body.get("url"), body.get("username"), body.get("password"))
        every = self._every(body)
        mirror = await asyncio.to_thread(self._begin, call.principal, name, url, login, every, is_private=_flag(body, "private"))
        return web.json_response(await asyncio.to_thread(show, self._jobs, mirror), status=202)

    async def state(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(await asyncio.to_thread(lambda: show(self._jobs, self._source(call.repo))))

    async def end(self, request: web.Request, call: Call) -> web.Response:
        check_owner(call.principal, call.repo.name)
        await asyncio.to_thread(lambda: self._mirrors.end(self._source(call.repo)))
        return web.json_response({"success": True, "message": f"{call.repo.name.full} follows no other repository any more."})

    def _begin(
        self, principal: Principal, name: RepoName, url: Url, login: UrlCredentials | None, every: int, *, is_private: bool
    ) -> Mirror:
        check_owner(principal, name)
        resolve(url.host, url.port, allow_private=self._allow_private)  # an early answer; each connection is judged itself
        repo = find_or_create(self._repos, self._versions, principal, name, is_private=is_private)
        return self._mirrors.begin(repo, principal, url, login, every=every)

    def _every(self, body: dict[str, Any]) -> int:
        """Seconds between two looks, 0 for an import."""
        seconds = body.get("interval_seconds")
        if not _flag(body, "mirror"):
            if seconds is not None:
                raise Invalid("interval_seconds is for mirrors: send mirror: true with it.")
            return 0
        if seconds is None:
            return max(DEFAULT_SECONDS, self._limits.mirror_seconds)
        return checked_interval(seconds, self._limits)

    def _source(self, repo: Repo) -> Mirror:
        mirror = self._mirrors.source(repo.id)
        if mirror is None:
            raise NotFound(f"{repo.name.full} was not imported and follows no other repository.")
        return mirror


def show(jobs: Jobs, mirror: Mirror) -> dict[str, Any]:
    """Where it comes from or goes to, and how far it is; without credentials. Raises NotFound when it was ended."""
    status = jobs.status(mirror.key)
    if status is None:
        raise NotFound("The mirror was ended.")
    return {
        "url": str(mirror.url),
        "mirror": mirror.is_kept,
        "interval_seconds": status.every or None,
        "state": status.state.value,
        "progress": {"text": status.progress, "done": status.done, "total": status.total or None},
        "message": status.message,
        "tries": status.tries,
        "started_at": _iso(status.begun_at),
        "ended_at": _iso(status.ended_at),
        "next_at": _iso(status.due_at) if status.state is JobState.WAITING else None,
    }


def check_owner(principal: Principal, name: RepoName) -> None:
    """Asked before anything is looked up: a missing repository and somebody else's look the same."""
    if not may_create_in(principal, name.namespace):
        raise Forbidden(f"Only the owner of {name.namespace} may do this.")


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise Invalid(f"{name} must be true or false.")
    return value


def _iso(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
