"""Branches, tags and commits: `RefViews(browser, versions, pusher, limits, origin)`."""

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from aiohttp import web

from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from gitserver.browse import Browser
from gitserver.commit.committer import Committer, signature
from gitserver.history.log import log
from gitserver.objects import Kind
from gitserver.push import NO_NAME, Pusher, check_made, how_to_change_default
from gitserver.synthesis import make_tag
from hfcompat import wire
from storage.errors import AlreadyExists, BadName, Forbidden, NotFound, RevisionNotFound
from storage.limits import Limits
from storage.records import ZERO_OID, Access, Oid, Principal, RefUpdate, Repo
from storage.versions.base import Ref, VersionStore

_HEADS, _TAGS, _CONVERTS, _PULLS = b"refs/heads/", b"refs/tags/", b"refs/convert/", b"refs/pr/"
_COMMITS_PAGE = 50


class RefViews:
    def __init__(
        self,
        browser: Browser,
        versions: VersionStore,
        pusher: Pusher,
        committer: Committer,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._browser = browser
        self._versions = versions
        self._pusher = pusher
        self._committer = committer
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        repo = wire.API_REPO
        return [
            Endpoint("GET", repo + "/refs", self.refs, Access.READ, render_json),
            Endpoint("GET", f"{repo}/commits/{wire.REVISION}", self.commits, Access.READ, render_json),
            Endpoint("POST", repo + "/branch/{branch:.+}", self.create_branch, Access.WRITE, render_json),
            Endpoint("DELETE", repo + "/branch/{branch:.+}", self.delete_branch, Access.WRITE, render_json),
            Endpoint("POST", f"{repo}/tag/{wire.REVISION}", self.create_tag, Access.WRITE, render_json),
            Endpoint("DELETE", repo + "/tag/{tag:.+}", self.delete_tag, Access.WRITE, render_json),
        ]

    async def refs(self, request: web.Request, call: Call) -> web.Response:
        refs = await asyncio.to_thread(self._versions.refs, call.repo.id)
        shown: dict[str, Any] = {
            "branches": [_ref_json(ref, _HEADS) for ref in refs.refs if ref.name.startswith(_HEADS)],
            "converts": [_ref_json(ref, _CONVERTS) for ref in refs.refs if ref.name.startswith(_CONVERTS)],
            "tags": [_ref_json(ref, _TAGS) for ref in refs.refs if ref.name.startswith(_TAGS)],
        }
        if request.query.get("include_prs") or request.query.get("include_pull_requests"):
            shown["pullRequests"] = [_ref_json(ref, _PULLS) for ref in refs.refs if ref.name.startswith(_PULLS)]
        return web.json_response(shown)

    async def commits(self, request: web.Request, call: Call) -> web.Response:
        limit = wire.number(request, "limit", _COMMITS_PAGE, self._limits.page)
        page = int(shown) if (shown := request.query.get("p", "0")).isascii() and shown.isdigit() and len(shown) < 7 else 0
        formatted = "formatted" in [*request.query.getall("expand[]", []), *request.query.getall("expand", [])]

        def read() -> list[dict[str, Any]]:
            found = log(self._browser.at(call.repo, request.match_info["rev"]))
            return [wire.commit_json(commit, formatted=formatted) for commit in islice(found, page * limit, page * limit + limit + 1)]

        rows = await asyncio.to_thread(read)
        headers = wire.next_link(request, self._origin(request), p=str(page + 1)) if len(rows) > limit else {}
        return web.json_response(rows[:limit], headers=headers)

    async def create_branch(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits, may_be_empty=True)
        name = _HEADS + wire.as_path(request.match_info["branch"])
        start = str(body.get("startingPoint") or "HEAD")
        await asyncio.to_thread(self._create, call, name, start)
        return web.json_response({"success": True})

    async def delete_branch(self, request: web.Request, call: Call) -> web.Response:
        name = _HEADS + wire.as_path(request.match_info["branch"])
        await asyncio.to_thread(self._delete_branch, call.repo, call.principal, name)
        return web.json_response({"success": True})

    async def create_tag(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits)
        tag = body.get("tag")
        if not isinstance(tag, str) or not tag:
            raise BadName("A tag needs a name.")
        message = str(body.get("message") or "")
        await asyncio.to_thread(self._create, call, _TAGS + tag.encode(errors="replace"), request.match_info["rev"], message)
        return web.json_response({"success": True})

    async def delete_tag(self, request: web.Request, call: Call) -> web.Response:
        name = _TAGS + wire.as_path(request.match_info["tag"])
        await asyncio.to_thread(self._delete_tag, call.repo, call.principal, name)
        return web.json_response({"success": True})

    def _create(self, call: Call, name: bytes, start: str, message: str = "") -> None:
        self._committer.begin(call.repo, call.principal)
        snapshot = self._browser.at(call.repo, start)
        if self._versions.refs(call.repo.id, fresh=False).get(name) is not None:
            raise AlreadyExists(f"Reference {wire.text(name)} already exists. Delete it first, or choose another name.")
        if message:
            raw = make_tag(snapshot.commit, Kind.COMMIT, name.removeprefix(_TAGS), signature(call.principal, int(time.time())), message)
            results = self._pusher.store(call.repo, call.principal, lambda writer: [RefUpdate(name, ZERO_OID, writer.add(raw))])
        else:
            results = self._pusher.move(call.repo, call.principal, [RefUpdate(name, ZERO_OID, snapshot.commit)])
        if results[0].reason.startswith(NO_NAME):
            why = results[0].reason.removeprefix(NO_NAME).removeprefix(": ") or "see git check-ref-format, and choose another one"
            raise BadName(f"{wire.text(name)} is no allowed name for a branch or tag: {why}.")
        check_made(results)

    def _delete_branch(self, repo: Repo, principal: Principal, name: bytes) -> None:
        refs = self._versions.refs(repo.id, fresh=False)
        found = refs.get(name)
        if found is None:
            raise NotFound(f"Invalid rev id: {wire.text(name)}")
        if name == refs.head:
            raise Forbidden(f"Cannot delete {wire.text(name)}: it is the default branch. {how_to_change_default(repo)}")
        self._delete(repo, principal, name, found.oid)

    def _delete_tag(self, repo: Repo, principal: Principal, name: bytes) -> None:
        found = self._versions.refs(repo.id, fresh=False).get(name)
        if found is None:
            raise RevisionNotFound(f"Invalid rev id: {wire.text(name)}")
        self._delete(repo, principal, name, found.oid)

    def _delete(self, repo: Repo, principal: Principal, name: bytes, old: Oid) -> None:
        check_made(self._pusher.move(repo, principal, [RefUpdate(name, old, ZERO_OID)]))


def _ref_json(ref: Ref, prefix: bytes) -> dict[str, str]:
    target = ref.peeled or ref.oid
    return {"name": wire.text(ref.name.removeprefix(prefix)), "ref": wire.text(ref.name), "targetCommit": target.hex()}
