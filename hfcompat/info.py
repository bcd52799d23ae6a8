"""What a repository is: `InfoViews(repos, browser, limits, origin)`. Also the lists of repositories."""

import asyncio
import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from aiohttp import web

from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from accounts.repos import Repos
from accounts.wire import iso
from gitserver.browse import Browser, Snapshot
from gitserver.history import read_commit
from hfcompat import wire
from hfcompat.card import read_card, tags_of
from storage.errors import Invalid, RepoNotFound
from storage.limits import Limits
from storage.records import Access, Principal, Repo, RepoKind

_MOST_FILES = 100_000
_EXPANDABLE_NAMES = (
    "author baseModels cardData childrenModelCount citation config createdAt datasets description disabled downloads "
    "downloadsAllTime evalResults gated gguf inference inferenceProviderMapping lastModified library_name likes mainSize "
    "mask_token model-index models paperswithcode_id pipeline_tag private region resourceGroup runtime safetensors sdk sha "
    "siblings spaces subdomain tags transformersInfo trendingScore usedStorage widgetData xetEnabled"
)
_EXPANDABLE = frozenset(_EXPANDABLE_NAMES.split())


class InfoViews:
    def __init__(self, repos: Repos, browser: Browser, limits: Limits, origin: Callable[[web.Request], str]) -> None:
        self._repos = repos
        self._browser = browser
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", wire.API_REPO, self.info, Access.READ, render_json),
            Endpoint("GET", f"{wire.API_REPO}/revision/{wire.REVISION}", self.info, Access.READ, render_json),
            Endpoint("GET", f"/api/{wire.KINDS}", self.listing, Access.NONE, render_json),
            Endpoint("GET", f"/api/{wire.KINDS}/{{single}}", self.legacy, Access.NONE, render_json),
        ]

    async def info(self, request: web.Request, call: Call) -> web.Response:
        expand = _expand(request)
        revision = request.match_info.get("rev", "")
        shown = await asyncio.to_thread(self._info, call.repo, revision, expand, blobs=wire.flag(request, "blobs"))
        return web.json_response(shown, dumps=_dumps)

    async def listing(self, request: web.Request, call: Call) -> web.Response:
        limit = wire.number(request, "limit", self._limits.page, self._limits.page)
        _expand(request)
        kind = RepoKind(request.match_info["kinds"].removesuffix("s"))
        before = _cursor(request.query.get("cursor", ""))
        search, author = " ".join(request.query.getall("search", [])), request.query.get("author", "")
        repos = await asyncio.to_thread(self._list, call.principal, kind, author, search, limit + 1, before)
        headers = {}
        if len(repos) > limit:
            last = repos[limit - 1]
            headers = wire.next_link(request, self._origin(request), cursor=wire.encode_cursor(f"{last.updated_at}:{last.id}".encode()))
        rows = [wire.repo_json(repo) | {"lastModified": iso(repo.updated_at), "tags": []} for repo in repos[:limit]]
        return web.json_response(rows, headers=headers)

    async def legacy(self, request: web.Request, call: Call) -> web.Response:
        raise RepoNotFound(f"Repository {request.match_info['single'][:100]} not found. Names here are namespace/name.")

    def _list(
        self, principal: Principal, kind: RepoKind, author: str, search: str, limit: int, before: tuple[int, str] | None
    ) -> list[Repo]:
        return self._repos.readable(principal, kind, author=author, search=search, limit=limit, before=before)

    def _info(self, repo: Repo, revision: str, expand: frozenset[str], *, blobs: bool) -> dict[str, Any]:
        snapshot = self._browser.at(repo, revision) if revision else self._browser.default(repo)
        shown = wire.repo_json(repo) | {"lastModified": iso(repo.updated_at), "sha": None, "tags": [], "siblings": []}
        if snapshot is not None:
            shown |= self._contents(repo, snapshot, blobs=blobs, siblings=not expand or "siblings" in expand)
        if not expand:
            return shown
        return {key: value for key, value in shown.items() if key in expand or key in ("_id", "id")}

    def _contents(self, repo: Repo, snapshot: Snapshot, *, blobs: bool, siblings: bool) -> dict[str, Any]:
        card = read_card(self._browser, snapshot)
        shown: dict[str, Any] = {
            "sha": snapshot.commit.hex(),
            "lastModified": wire.commit_date(read_commit(snapshot, snapshot.commit)),
            "tags": tags_of(card),
            "cardData": card,
        }
        if repo.name.kind is RepoKind.MODEL:
            shown |= {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
        if repo.name.kind is RepoKind.SPACE:
            shown["sdk"] = card.get("sdk")
        if siblings:
            entries = self._browser.children(snapshot, b"", recursive=True)
            files = (entry for entry in entries if entry.mode != 0o40000)
            shown["siblings"] = [wire.sibling_json(entry, blobs=blobs) for entry in islice(files, _MOST_FILES)]
        return shown


def _dumps(data: Any) -> str:
    return json.dumps(data, default=str)


def _expand(request: web.Request) -> frozenset[str]:
    names = [*request.query.getall("expand", []), *request.query.getall("expand[]", [])]
    unknown = sorted(set(names) - _EXPANDABLE)
    if unknown:
        raise Invalid(f"expand {unknown[0][:60]!r} is not known; use some of {', '.join(sorted(_EXPANDABLE))}.")
    return frozenset(names)


def _cursor(value: str) -> tuple[int, str] | None:
    if not value:
        return None
    at, _, last = wire.decode_cursor(value).decode("ascii", "replace").partition(":")
    if not at.isascii() or not at.isdigit() or len(at) > 18:
        raise Invalid("This cursor is not one of this hub's. Start from the first page.")
    return int(at), last
