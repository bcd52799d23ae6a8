"""Folders and paths: `TreeViews(browser, limits, origin)`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiohttp import web

from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from gitserver.browse import Browser, Snapshot
from gitserver.history import last_commits
from hfcompat import wire
from storage.errors import EntryNotFound, Invalid, TooLarge
from storage.limits import Limits
from storage.records import Access, Commit, FileEntry, Repo

_EXPANDED_PAGE = 50
# Nothing is scanned here, and it says so.
_UNSCANNED = {"status": "unscanned", "avScan": None, "pickleImportScan": None}


class TreeViews:
    def __init__(self, browser: Browser, limits: Limits, origin: Callable[[web.Request], str]) -> None:
        self._browser = browser
        self._limits = limits
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        tree = f"{wire.API_REPO}/tree/{wire.REVISION}"
        return [
            Endpoint("GET", tree, self.tree, Access.READ, render_json),
            Endpoint("GET", tree + "/{path:(?s:.*)}", self.tree, Access.READ, render_json),
            Endpoint("POST", f"{wire.API_REPO}/paths-info/{wire.REVISION}", self.paths_info, Access.READ, render_json),
        ]

    async def tree(self, request: web.Request, call: Call) -> web.Response:
        expand = wire.flag(request, "expand")
        most = _EXPANDED_PAGE if expand else self._limits.page
        limit = wire.number(request, "limit", most, most)
        cursor = request.query.get("cursor", "")
        after = wire.decode_path_cursor(cursor) if cursor else b""
        path = wire.as_path(request.match_info.get("path", ""))
        page = _Page(path, after, limit, wire.flag(request, "recursive"), expand)
        entries, rows = await asyncio.to_thread(self._tree, call.repo, request.match_info["rev"], page)
        headers = {}
        if len(entries) > limit:
            headers = wire.next_link(request, self._origin(request), cursor=wire.encode_cursor(entries[limit - 1].path))
        return web.json_response(rows, headers=headers)

    async def paths_info(self, request: web.Request, call: Call) -> web.Response:
        form = await wire.form_or_json(request, self._limits)
        if form and not form.keys() & {"paths", "expand"}:
            raise Invalid("The body names no paths. Send them as the field paths, once for each.")
        paths = form.get("paths", [])
        if len(paths) > self._limits.paths_info:
            raise TooLarge(f"{len(paths)} paths were asked for at once; {self._limits.paths_info} are answered. Ask in smaller parts.")
        expand = form.get("expand", ["false"])[-1].lower() == "true"
        rows = await asyncio.to_thread(self._paths, call.repo, request.match_info["rev"], paths, expand)
        return web.json_response(rows)

    def _tree(self, repo: Repo, revision: str, page: "_Page") -> tuple[list[FileEntry], list[dict[str, Any]]]:
        snapshot = self._browser.at(repo, revision)
        after = self._browser.stored(snapshot, page.after)
        found = self._browser.children(snapshot, page.path, recursive=page.recursive, after=after)
        entries = list(islice((entry for entry in found if not entry.is_gitlink), page.limit + 1))
        rows = _Rows(self._browser, snapshot, expand=page.expand)
        return entries, [rows.of(entry) for entry in entries[: page.limit]]

    def _paths(self, repo: Repo, revision: str, paths: list[str], expand: bool) -> list[dict[str, Any]]:
        snapshot = self._browser.at(repo, revision)
        rows = _Rows(self._browser, snapshot, expand=expand)
        found = []
        for path in paths:
            try:
                entry = self._browser.entry(snapshot, wire.as_path(path))
            except EntryNotFound:
                continue
            if not entry.is_gitlink:
                found.append(rows.of(entry))
        return found


@dataclass(frozen=True, slots=True)
class _Page:
    """What one page of a listing asks for."""

    path: bytes
    after: bytes
    limit: int
    recursive: bool
    expand: bool


class _Rows:
    """Entries as JSON, with `expand` the last commit of each path, one walk a folder."""

    def __init__(self, browser: Browser, snapshot: Snapshot, *, expand: bool) -> None:
        self._browser = browser
        self._snapshot = snapshot
        self._expand = expand
        self._folders: dict[bytes, dict[bytes, Commit]] = {}

    def of(self, entry: FileEntry) -> dict[str, Any]:
        path = self._browser.spelling(self._snapshot, entry.path)
        if not self._expand:
            return wire.entry_json(entry, path, None)
        shown = wire.entry_json(entry, path, self._commit(entry.path))
        return shown | {"securityFileStatus": _UNSCANNED} if entry.is_file else shown

    def _commit(self, path: bytes) -> Commit | None:
        folder, _, name = path.rpartition(b"/")
        if folder not in self._folders:
            self._folders[folder] = last_commits(self._browser, self._snapshot, folder)
        return self._folders[folder].get(name)
