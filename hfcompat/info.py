"""What a repository is: `InfoViews(repos, browser, limits, origin)`. Also the lists of repositories."""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any

from aiohttp import web

from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from accounts.repos import Repos
from gitserver.browse import Browser, Snapshot
from hfcompat import wire
from hfcompat.reading.card import Cards, tags_of
from hfcompat.reading.fields import EXPANDABLE
from storage.errors import Invalid
from storage.limits import Limits
from storage.records import Access, Principal, Repo, RepoKind

_MOST_FILES = 100_000
_UNSCANNED = {"scansDone": False, "filesWithIssues": []}


class InfoViews:
    def __init__(self, repos: Repos, browser: Browser, limits: Limits, origin: Callable[[web.Request], str]) -> None:
        self._repos = repos
        self._browser = browser
        self._cards = Cards(browser, limits)
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", wire.API_REPO, self.info, Access.READ, render_json),
            Endpoint("GET", f"{wire.API_REPO}/revision/{wire.REVISION}", self.info, Access.READ, render_json),
            Endpoint("GET", f"/api/{wire.KINDS}", self.listing, Access.NONE, render_json),
        ]

    async def info(self, request: web.Request, call: Call) -> web.Response:
        expand = _expand(request, call.repo.name.kind)
        revision = request.match_info.get("rev", "")
        shown = await asyncio.to_thread(self._info, call.repo, revision, expand, blobs=wire.flag(request, "blobs"))
        if wire.flag(request, "securityStatus"):
            shown["securityRepoStatus"] = _UNSCANNED
        return web.json_response(shown)

    async def listing(self, request: web.Request, call: Call) -> web.Response:
        limit = wire.number(request, "limit", self._limits.page, self._limits.page)
        kind = RepoKind(request.match_info["kinds"].removesuffix("s"))
        _expand(request, kind)
        before = _cursor(request.query.get("cursor", ""))
        words, author = self._words(request), request.query.get("author", "")
        repos = await asyncio.to_thread(self._list, call.principal, kind, author, words, limit + 1, before)
        headers = {}
        if len(repos) > limit:
            last = repos[limit - 1]
            cursor = wire.encode_cursor(f"{last.updated_at}:{last.id}".encode())
            headers = wire.next_link(request, self._origin(request), cursor=cursor)
        rows = [wire.repo_json(repo) | {"tags": []} for repo in repos[:limit]]
        return web.json_response(rows, headers=headers)

    def _words(self, request: web.Request) -> list[str]:
        words = " ".join(request.query.getall("search", [])).split()
        if len(words) > self._limits.search_words:
            most = self._limits.search_words
            raise Invalid(f"search has {len(words)} words; {most} are looked for at once. Use fewer.")
        return words

    def _list(
        self,
        principal: Principal,
        kind: RepoKind,
        author: str,
        words: list[str],
        limit: int,
        before: tuple[int, str] | None,
    ) -> list[Repo]:
        return self._repos.readable(principal, kind, author=author, words=words, limit=limit, before=before)

    def _info(self, repo: Repo, revision: str, expand: frozenset[str], *, blobs: bool) -> dict[str, Any]:
        snapshot = self._browser.at(repo, revision) if revision else self._browser.default(repo)
        shown = wire.repo_json(repo) | {"sha": None, "tags": [], "siblings": []}
        if snapshot is not None:
            shown |= self._contents(repo, snapshot, blobs=blobs, siblings=not expand or "siblings" in expand)
        if not expand:
            return shown
        return {key: value for key, value in shown.items() if key in expand or key in ("_id", "id")}

    def _contents(self, repo: Repo, snapshot: Snapshot, *, blobs: bool, siblings: bool) -> dict[str, Any]:
        card = self._cards.of(snapshot)
        shown: dict[str, Any] = {"sha": snapshot.commit.hex(), "tags": tags_of(card), "cardData": card}
        if repo.name.kind is RepoKind.MODEL:
            shown |= {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
        if repo.name.kind is RepoKind.SPACE:
            shown["sdk"] = card.get("sdk")
        if siblings:
            entries = self._browser.children(snapshot, b"", recursive=True)
            files = islice((entry for entry in entries if entry.is_file), _MOST_FILES)
            paths = ((entry, self._browser.spelling(snapshot, entry.path)) for entry in files)
            shown["siblings"] = [wire.sibling_json(entry, path, blobs=blobs) for entry, path in paths]
        return shown


def _expand(request: web.Request, kind: RepoKind) -> frozenset[str]:
    names = [*request.query.getall("expand", []), *request.query.getall("expand[]", [])]
    known = EXPANDABLE[kind]
    unknown = sorted(set(names) - known)
    if unknown:
        listed = ", ".join(sorted(known))
        raise Invalid(f"expand {unknown[0][:60]!r} is not known for a {kind.value}; use some of {listed}.")
    return frozenset(names)


def _cursor(value: str) -> tuple[int, str] | None:
    if not value:
        return None
    at, _, last = wire.decode_cursor(value).decode("ascii", "replace").partition(":")
    if not at.isascii() or not at.isdigit() or len(at) > 18:
        raise Invalid("This cursor is not one of this hub's. Start from the first page.")
    return int(at), last
