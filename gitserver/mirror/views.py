"""Imports and pull mirrors through the API: `MirrorViews(mirrors, jobs, repos, versions, limits, allow_private)`."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from accounts.access import may_create_in, require
from accounts.repositories import Repositories
from gitserver.mirror.mirrors import Mirror, Mirrors
from httpapi.bodies import read_json
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import Forbidden, Invalid, NotFound, Unavailable
from storage.jobs.base import JobState
from storage.jobs.queue import Jobs
from storage.limits import Limits
from storage.outbound.address import resolve
from storage.outbound.url import Url, UrlCredentials, parse
from storage.records import Access, Principal, Repo, RepoKind, RepoName
from storage.versions.base import VersionStore

log = logging.getLogger(__name__)
DEFAULT_SECONDS = 8 * 3600
_MOST_SECONDS = 366 * 86400
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


def read_source(url: object, user: object, password: object) -> tuple[Url, UrlCredentials | None]:
    """Credentials beside the URL win over those in it. Raises Invalid, which repeats none of them."""
    if not isinstance(url, str):
        raise Invalid("An import needs the url of a git repository.")
    parsed, login = parse(url)
    if "?" in parsed.target:
        raise Invalid("The URL of a git repository has no query.")
    given = ("" if user is None else user, "" if password is None else password)
    if not all(isinstance(text, str) and len(text) <= 4096 and text.isprintable() for text in given):
        raise Invalid("username and password must be short texts without control characters.")
    if password or user:
        login = UrlCredentials(str(user or ""), str(password or ""))
    if login is not None and ":" in login.user:
        raise Invalid("A user name holds no colon.")
    return Url(parsed.scheme, parsed.host, parsed.port, parsed.target.rstrip("/")), login


def checked_interval(seconds: object, limits: Limits) -> int:
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not limits.mirror_seconds <= seconds <= _MOST_SECONDS:
        raise Invalid(f"interval_seconds must be a number from {limits.mirror_seconds} to {_MOST_SECONDS}.")
    return seconds


def find_or_create(repos: Repositories, versions: VersionStore, principal: Principal, name: RepoName, *, is_private: bool) -> Repo:
    """Raises what `require` and `create` raise."""
    repo = repos.find(name)
    if repo is not None:
        return require(principal, repo, name, Access.WRITE)
    repo = repos.create(principal, name, is_private=is_private)
    try:
        versions.sync_metadata(repo.id)
    except Unavailable as error:  # the row has it: the rest is done later
        log.warning("repository %s: %s", repo.name.full, error.message)
    return repo


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
