"""Folders and paths."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gitserver.history.browser import Browser, Snapshot
from gitserver.history.paths import PathHistory
from hfcompat import wire
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.errors import EntryNotFound, Invalid, TooLarge
from storage.limits import Limits
from storage.records import Access, Commit, FileEntry, Repo

_EXPANDED_PAGE = 50
# Nothing is scanned here, and it says so.
_UNSCANNED = {"status": "unscanned", "avScan": None, "pickleImportScan": None}


class TreeViews:
    def __init__(self, browser: Browser, history: PathHistory, limits: Limits, origin: Callable[[web.Request], str]) -> None:
        self._browser = browser
        self._history = history
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
        entries = self._browser.page(snapshot, page.path, page.limit + 1, is_recursive=page.recursive, after=after)
        return entries, self._rows(snapshot, entries[: page.limit], expand=page.expand)

    def _paths(self, repo: Repo, revision: str, paths: list[str], expand: bool) -> list[dict[str, Any]]:
        snapshot = self._browser.at(repo, revision)
        entries = []
        for path in paths:
            with suppress(EntryNotFound):
                entries.append(self._browser.entry(snapshot, wire.as_path(path)))
        return self._rows(snapshot, [entry for entry in entries if not entry.is_gitlink], expand=expand)

    def _rows(self, snapshot: Snapshot, entries: list[FileEntry], *, expand: bool) -> list[dict[str, Any]]:
        """Entries as JSON, with `expand` the last commit of each path."""
        commits = self._last_commits(snapshot, entries) if expand else {}
        rows = []
        for entry in entries:
            row = wire.entry_json(entry, self._browser.spelling(snapshot, entry.path), commits.get(entry.path))
            rows.append(row | {"securityFileStatus": _UNSCANNED} if expand and entry.is_file else row)
        return rows

    def _last_commits(self, snapshot: Snapshot, entries: Iterable[FileEntry]) -> dict[bytes, Commit]:
        """By path; the names of one folder are looked up together."""
        folders: dict[bytes, list[bytes]] = {}
        for entry in entries:
            folder, _, name = entry.path.rpartition(b"/")
            folders.setdefault(folder, []).append(name)
        found: dict[bytes, Commit] = {}
        for folder, names in folders.items():
            commits = self._history.last_commits(snapshot, folder, names)
            found |= {folder + b"/" + name if folder else name: commit for name, commit in commits.items()}
        return found


@dataclass(frozen=True, slots=True)
class _Page:
    """What one page of a listing asks for."""

    path: bytes
    after: bytes
    limit: int
    recursive: bool
    expand: bool
