"""What a repository is: `InfoViews(repos, browser, limits, origin)`. Also the lists of repositories."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from aiohttp import web

from accounts.repositories import Repositories
from gitserver.history.browser import Browser, Snapshot
from gitserver.history.file_counts import FileCounts
from hfcompat import wire
from hfcompat.reading.card import Cards, tags_of
from hfcompat.reading.fields import EXPANDABLE
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from httpapi.ranges import Download, Span
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from storage.records import Access, Principal, Repo, RepoKind

_PIECE_BYTES = 256 * 1024
_UNSCANNED = {"scansDone": False, "filesWithIssues": []}


class InfoViews:
    def __init__(self, repos: Repositories, browser: Browser, limits: Limits, origin: Callable[[web.Request], str]) -> None:
        self._repos = repos
        self._browser = browser
        self._cards = Cards(browser, limits)
        self._counts = FileCounts()
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", wire.API_REPO, self.info, Access.READ, render_json),
            Endpoint("GET", f"{wire.API_REPO}/revision/{wire.REVISION}", self.info, Access.READ, render_json),
            Endpoint("GET", f"/api/{wire.KINDS}", self.listing, Access.NONE, render_json),
        ]

    async def info(self, request: web.Request, call: Call) -> web.StreamResponse:
        expand = _expand(request, call.repo.name.kind)
        revision = request.match_info.get("rev", "")
        more = {"securityRepoStatus": _UNSCANNED} if wire.flag(request, "securityStatus") else {}
        pieces = await asyncio.to_thread(self._info, call.repo, revision, expand, more, blobs=wire.flag(request, "blobs"))
        first = await asyncio.to_thread(next, pieces)
        if len(first) < _PIECE_BYTES:
            return web.Response(body=first, content_type="application/json", charset="utf-8")
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        return await Download(response, Span(0, 0), pieces=chain((first,), pieces)).send(request)

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

    def _info(self, repo: Repo, revision: str, expand: frozenset[str], more: dict[str, Any], *, blobs: bool) -> Iterator[bytes]:
        """The answer in pieces; only the last may be smaller than the others. What can fail at the start fails here."""
        snapshot = self._browser.at(repo, revision) if revision else self._browser.default(repo)
        shown = wire.repo_json(repo) | {"sha": None, "tags": []}
        if snapshot is not None:
            shown |= self._contents(repo, snapshot)
        if expand:
            shown = {key: value for key, value in shown.items() if key in expand or key in ("_id", "id")}
        shown |= more
        if expand and "siblings" not in expand:
            return iter((_dumps(shown).encode(),))
        if snapshot is None:
            return _gathered(_with_siblings(shown, ()))
        if self._counts.of(snapshot, most := self._limits.listed_files) > most:
            raise TooLarge(f"{repo.name.full} has more than {most:,} files, which are not listed at once. List its tree in pages instead.")
        return _gathered(_with_siblings(shown, self._siblings(snapshot, blobs=blobs)))

    def _siblings(self, snapshot: Snapshot, *, blobs: bool) -> Iterator[list[dict[str, Any]]]:
        spelling = self._browser.spelling
        if blobs:
            for files in self._browser.files(snapshot):
                yield [wire.sibling_blob_json(file, spelling(snapshot, file.path)) for file in files]
            return
        for run in self._browser.file_paths(snapshot):
            try:
                names = b"\0".join(run).decode().split("\0") if run else []
            except UnicodeDecodeError:
                names = [spelling(snapshot, path) for path in run]
            yield [wire.sibling_json(name) for name in names]

    def _contents(self, repo: Repo, snapshot: Snapshot) -> dict[str, Any]:
        card = self._cards.of(snapshot)
        shown: dict[str, Any] = {"sha": snapshot.commit.hex(), "tags": tags_of(card), "cardData": card}
        if repo.name.kind is RepoKind.MODEL:
            shown |= {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
        if repo.name.kind is RepoKind.SPACE:
            shown["sdk"] = card.get("sdk")
        return shown


def _dumps(data: Any) -> str:
    return json.dumps(data, default=str)


def _with_siblings(shown: dict[str, Any], rows: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    """The JSON of `shown`, which is never empty, with all rows in it."""
    yield _dumps(shown)[:-1] + ', "siblings": ['
    comma = ""
    for run in rows:
        if run:
            yield comma + _dumps(run)[1:-1]
            comma = ", "
    yield "]}"


def _gathered(texts: Iterable[str]) -> Iterator[bytes]:
    """In larger pieces."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= _PIECE_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()


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
