"""Repositories come, go and change: `RepoViews(repos, packs, objects, committer, versions, limits, origin)`."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from accounts.access import may_create_in, require
from accounts.repositories import Repositories
from gitserver.commit.committer import Committer
from gitserver.commit.initial import Beginning
from gitserver.objects.store import ObjectStores
from hfcompat import wire
from hfcompat.writing.beginning import beginning_of, check_kept, is_begun
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import AlreadyExists, Forbidden, Invalid, RevisionNotFound, Unavailable
from storage.limits import MIB, Limits
from storage.packs import PackStore
from storage.records import Access, Principal, Repo, RepoName
from storage.versions.base import VersionStore

log = logging.getLogger(__name__)

_NEEDED_BYTES = MIB  # rows, and the first commit
_KEPT_SETTINGS = frozenset({"private", "visibility", "gated", "defaultBranch"})
_HEADS = b"refs/heads/"


class RepoViews:
    def __init__(
        self,
        repos: Repositories,
        packs: PackStore,
        objects: ObjectStores,
        committer: Committer,
        versions: VersionStore,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._repos = repos
        self._packs = packs
        self._objects = objects
        self._committer = committer
        self._versions = versions
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        most = self._limits.create_bytes
        return [
            Endpoint("POST", "/api/repos/create", self.create, Access.WRITE, render_json, most_bytes=most),
            Endpoint("DELETE", "/api/repos/delete", self.delete, Access.WRITE, render_json),
            Endpoint("POST", "/api/repos/move", self.move, Access.WRITE, render_json),
            Endpoint("PUT", wire.API_REPO + "/settings", self.settings, Access.WRITE, render_json),
            Endpoint("GET", wire.API_REPO + "/auth-check", self.auth_check, Access.READ, render_json),
            Endpoint("GET", wire.API_REPO + "/auth-check/write", self.auth_check, Access.WRITE, render_json),
        ]

    async def create(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits, most=self._limits.create_bytes)
        name = _repo_name(body, call.principal)
        check_kept(body)
        given = beginning_of(body, name.kind, self._limits)
        beginning = given if is_begun(body, request.headers.get("User-Agent", "")) else None
        answer = {"url": f"{self._origin(request)}/{name.path}", "name": name.full}
        try:
            private = _is_private(body) or False
            repo = await asyncio.to_thread(self._create, call.principal, name, private, beginning)
        except AlreadyExists as error:
            headers = {"X-Error-Code": "RepoExists", "X-Error-Message": error.message}
            return web.json_response({"error": error.message, **answer}, status=error.status, headers=headers)
        return web.json_response({**answer, "id": repo.id})

    async def delete(self, request: web.Request, call: Call) -> web.Response:
        name = _repo_name(await wire.json_object(request, self._limits), call.principal)
        await asyncio.to_thread(self._delete, call.principal, name)
        return web.json_response({"success": True, "message": f"{name.full} is gone."})

    async def move(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits)
        kind = wire.kind_of(body.get("type"))
        old, new = (RepoName.parse(kind, *_split(body.get(key))) for key in ("fromRepo", "toRepo"))
        await asyncio.to_thread(self._move, call.principal, old, new)
        return web.json_response({"success": True, "url": f"{self._origin(request)}/{new.path}"})

    async def settings(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits)
        if body.get("gated"):
            raise Invalid("Gated repositories are not supported here. Make the repository private instead.")
        _check_kept(body)
        private, head = _is_private(body), _head(body)
        repo = call.repo
        if private is not None or head is not None:
            _check_owner(call.principal, repo)
            repo = await asyncio.to_thread(self._update, repo, private, head)
        branch = wire.text(repo.head.removeprefix(_HEADS))
        return web.json_response({"private": repo.is_private, "gated": False, "defaultBranch": branch})

    async def auth_check(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response({"success": True})

    def _create(self, principal: Principal, name: RepoName, private: bool, beginning: Beginning | None) -> Repo:
        """Without a `beginning` it stays empty; one that cannot be committed leaves no repository behind."""
        self._packs.space.check(_NEEDED_BYTES)  # else a repository would be there without its first commit
        repo = self._repos.create(principal, name, is_private=private)
        self._settle(repo)
        try:
            if beginning is not None:
                self._committer.begin(repo, principal, beginning)
        except Invalid:
            self._remove(repo)
            raise
        return repo

    def _move(self, principal: Principal, old: RepoName, new: RepoName) -> None:
        repo = require(principal, self._repos.find(old), old, Access.WRITE)
        self._repos.move(principal, repo, new)
        self._settle(repo)

    def _update(self, repo: Repo, private: bool | None, head: bytes | None) -> Repo:
        """As it is then; None leaves things as they are. Raises RevisionNotFound where the new default branch is not there."""
        if head is not None:
            found = self._versions.refs(repo.id, fresh=False).find(head)
            if found is None:
                shown, listed = wire.text(head.removeprefix(_HEADS))[:200], f"GET /api/{repo.name.kind.plural}/{repo.name.full}/refs"
                raise RevisionNotFound(
                    f"{repo.name.full} has no branch {shown!r}. Push it first, or name one of those that {listed} lists."
                )
            self._repos.set_head(repo, found.name)
            repo = replace(repo, head=found.name)
        if private is not None:
            self._repos.update(repo, is_private=private)
            repo = replace(repo, is_private=private)
        self._settle(repo)
        return repo

    def _delete(self, principal: Principal, name: RepoName) -> None:
        repo = require(principal, self._repos.find(name), name, Access.WRITE)
        _check_owner(principal, repo)
        self._remove(repo)

    def _remove(self, repo: Repo) -> None:
        self._repos.delete(repo)
        self._objects.forget(repo.id)
        self._packs.remove_repo(repo.id)
        self._settle(repo)

    def _settle(self, repo: Repo) -> None:
        """The rows have it: what the version store cannot do now it does later."""
        try:
            self._versions.sync_metadata(repo.id)
        except Unavailable as error:
            log.warning("repository %s: %s", repo.name.full, error.message)


def _check_owner(principal: Principal, repo: Repo) -> None:
    if not may_create_in(principal, repo.name.namespace):
        raise Forbidden(f"Only the owner of {repo.name.namespace} may do this.")


def _repo_name(body: dict[str, Any], principal: Principal) -> RepoName:
    """`name` alone or as `namespace/name`, with `organization` as the namespace where it is given."""
    given = body.get("name")
    if not isinstance(given, str):
        raise Invalid("A repository needs a name.")
    namespace, slash, name = given.partition("/")
    if not slash:
        namespace, name = str(body.get("organization") or principal.name), given
    return RepoName.parse(wire.kind_of(body.get("type")), namespace, name)


def _split(value: object) -> tuple[str, str]:
    namespace, slash, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash:
        raise Invalid(f"{str(value)[:100]!r} is no repository name: write namespace/name.")
    return namespace, name


def _check_kept(body: dict[str, Any]) -> None:
    """A client that is told that all is well believes that it was kept. Null asks for nothing."""
    unkept = sorted(name[:60] for name, value in body.items() if value is not None and name not in _KEPT_SETTINGS)
    if unkept:
        kept = ", ".join(sorted(_KEPT_SETTINGS))
        raise Invalid(f"This hub does not keep {', '.join(unkept[:10])} for a repository, and changed nothing. It keeps {kept}.")


def _head(body: dict[str, Any]) -> bytes | None:
    """The full name of `defaultBranch`; None when the body does not say it."""
    branch = body.get("defaultBranch")
    if branch is None:
        return None
    if not isinstance(branch, str) or not branch:
        raise Invalid("defaultBranch is not the name of a branch. Send its short name as text, such as main.")
    return _HEADS + branch.encode(errors="replace")


def _is_private(body: dict[str, Any]) -> bool | None:
    """From `visibility` (new clients) or `private` (old ones); None when the body says neither."""
    visibility = body.get("visibility")
    if visibility is not None:
        if visibility not in ("public", "private"):
            raise Invalid(f"visibility {str(visibility)[:40]!r} is not known; use public or private.")
        return bool(visibility == "private")
    private = body.get("private")
    return None if private is None else bool(private)
