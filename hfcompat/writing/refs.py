"""Branches, tags and commits: `RefViews(browser, history, versions, writer, limits, origin)`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gitserver.commit.committer import Committer, signature
from gitserver.history.browser import Browser
from gitserver.history.counts import CommitCounts
from gitserver.history.paths import PathHistory
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.serialize import make_commit, make_tag
from gitserver.objects.store import Kind, RawObject, object_id
from gitserver.update.namespaces import NO_NAME
from gitserver.update.ref_policy import how_to_change_default
from gitserver.update.ref_updater import check_made
from gitserver.update.ref_writer import RefWriter
from hfcompat import wire
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import AlreadyExists, BadName, Forbidden, NotFound, RevisionNotFound
from storage.limits import Limits
from storage.records import ZERO_OID, Access, Principal, RefUpdate, Repo
from storage.versions.base import Ref, RefResult, Refs, VersionStore

_HEADS, _TAGS, _CONVERTS, _PULLS = b"refs/heads/", b"refs/tags/", b"refs/convert/", b"refs/pr/"
_COMMITS_PAGE = 50
_EMPTY_TREE = object_id(Kind.TREE, b"")


class RefViews:
    def __init__(
        self,
        browser: Browser,
        history: PathHistory,
        versions: VersionStore,
        writer: RefWriter,
        committer: Committer,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._browser = browser
        self._history = history
        self._versions = versions
        self._writer = writer
        self._committer = committer
        self._limits = limits
        self._origin = origin
        self._counts = CommitCounts()

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
        prefixes = {"branches": _HEADS, "converts": _CONVERTS, "tags": _TAGS}
        if request.query.get("include_prs") or request.query.get("include_pull_requests"):
            prefixes["pullRequests"] = _PULLS
        return web.json_response({key: _refs_json(refs, prefix) for key, prefix in prefixes.items()})

    async def commits(self, request: web.Request, call: Call) -> web.Response:
        limit = wire.number(request, "limit", _COMMITS_PAGE, self._limits.page)
        page = int(shown) if (shown := request.query.get("p", "0")).isascii() and shown.isdigit() and len(shown) < 7 else 0
        formatted = "formatted" in [*request.query.getall("expand[]", []), *request.query.getall("expand", [])]

        path = wire.as_path(request.query.get("path", ""))

        def read() -> tuple[list[dict[str, Any]], dict[str, str]]:
            """How many commits changed a path is known only when all of them are found: of paths there is no count."""
            snapshot = self._browser.at(call.repo, request.match_info["rev"])
            found = self._history.of_path(snapshot, self._browser.stored(snapshot, path), limit + 1, page * limit)
            count = {"X-Total-Count": str(self._counts.of(snapshot))} if not path else {}
            return [wire.commit_json(commit, formatted=formatted) for commit in found], count

        rows, headers = await asyncio.to_thread(read)
        if len(rows) > limit:
            headers |= wire.next_link(request, self._origin(request), p=str(page + 1))
        return web.json_response(rows[:limit], headers=headers)

    async def create_branch(self, request: web.Request, call: Call) -> web.Response:
        body = await wire.json_object(request, self._limits, may_be_empty=True)
        name = _HEADS + wire.as_path(request.match_info["branch"])
        start, is_empty = str(body.get("startingPoint") or ""), bool(body.get("emptyBranch"))
        asked = _Branch(name, start, is_empty, may_move=bool(body.get("overwrite")))
        await asyncio.to_thread(self._create_branch, call, asked)
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
        name = _TAGS + tag.encode(errors="replace")
        await asyncio.to_thread(self._create_tag, call, name, request.match_info["rev"], message)
        return web.json_response({"success": True})

    async def delete_tag(self, request: web.Request, call: Call) -> web.Response:
        name = _TAGS + wire.as_path(request.match_info["tag"])
        await asyncio.to_thread(self._delete_tag, call.repo, call.principal, name)
        return web.json_response({"success": True})

    def _create_branch(self, call: Call, asked: "_Branch") -> None:
        """A branch that is there moves only where the client asks for that, and says where to."""
        self._committer.begin(call.repo, call.principal)
        snapshot = self._browser.at(call.repo, asked.start or "HEAD")
        found = self._versions.refs(call.repo.id, fresh=False).find(asked.name)
        if found is not None and not asked.may_move:
            raise _exists(asked.name)
        name, old = (found.name, found.oid) if found is not None else (asked.name, ZERO_OID)
        if asked.is_empty:
            raw = make_commit(_EMPTY_TREE, (), signature(call.principal, int(time.time())), "Empty branch")

            def fill(writer: PackWriter) -> list[RefUpdate]:
                writer.add(RawObject(Kind.TREE, b""))
                return [RefUpdate(name, old, writer.add(raw))]

            _check_named(self._writer.store(call.repo, call.principal, fill))
        elif found is None or (asked.start and old != snapshot.commit):
            update = RefUpdate(name, old, snapshot.commit)
            _check_named(self._writer.move(call.repo, call.principal, [update]))

    def _create_tag(self, call: Call, name: bytes, start: str, message: str) -> None:
        self._committer.begin(call.repo, call.principal)
        snapshot = self._browser.at(call.repo, start)
        if self._versions.refs(call.repo.id, fresh=False).find(name) is not None:
            raise _exists(name)
        if message:
            raw = make_tag(snapshot.commit, Kind.COMMIT, name.removeprefix(_TAGS), signature(call.principal, int(time.time())), message)
            results = self._writer.store(call.repo, call.principal, lambda writer: [RefUpdate(name, ZERO_OID, writer.add(raw))])
        else:
            results = self._writer.move(call.repo, call.principal, [RefUpdate(name, ZERO_OID, snapshot.commit)])
        _check_named(results)

    def _delete_branch(self, repo: Repo, principal: Principal, name: bytes) -> None:
        refs = self._versions.refs(repo.id, fresh=False)
        found = refs.find(name)
        if found is None:
            raise NotFound(f"Invalid rev id: {wire.text(name)}")
        if found.name == refs.head:
            raise Forbidden(f"Cannot delete {wire.text(name)}: it is the default branch. {how_to_change_default(repo)}")
        self._delete(repo, principal, found)

    def _delete_tag(self, repo: Repo, principal: Principal, name: bytes) -> None:
        found = self._versions.refs(repo.id, fresh=False).find(name)
        if found is None:
            raise RevisionNotFound(f"Invalid rev id: {wire.text(name)}")
        self._delete(repo, principal, found)

    def _delete(self, repo: Repo, principal: Principal, ref: Ref) -> None:
        check_made(self._writer.move(repo, principal, [RefUpdate(ref.name, ref.oid, ZERO_OID)]))


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch that a client asks for by its full name: from `start` (the default branch where it is empty), or without
    any file.
    """

    name: bytes
    start: str
    is_empty: bool
    may_move: bool


def _exists(name: bytes) -> AlreadyExists:
    return AlreadyExists(f"Reference {wire.text(name)} already exists. Delete it first, or choose another name.")


def _check_named(results: Sequence[RefResult]) -> None:
    """Raises BadName or Conflict."""
    name, reason = results[0].update.ref, results[0].reason
    if reason.startswith(NO_NAME):
        why = reason.removeprefix(NO_NAME).removeprefix(": ") or "see git check-ref-format, and choose another one"
        raise BadName(f"{wire.text(name)} is no allowed name for a branch or tag: {why}.")
    check_made(results)


def _refs_json(refs: Refs, prefix: bytes) -> list[dict[str, str]]:
    return [
        {"name": text.removeprefix(prefix.decode()), "ref": text, "targetCommit": (ref.peeled or ref.oid).hex()}
        for ref, text in refs.spellings()
        if ref.name.startswith(prefix)
    ]
