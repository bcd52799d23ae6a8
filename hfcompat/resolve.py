"""Files by revision and path, for downloads: `ResolveViews(browser, blobs)`. Bytes of users never run in the hub's origin."""

import asyncio
from pathlib import PurePosixPath
from urllib.parse import quote

from aiohttp import web

from accounts.download import Content, respond
from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from gitserver.browse import Browser, Snapshot
from hfcompat import wire
from storage.blobs.base import BlobStore
from storage.errors import EntryNotFound, RepoNotFound
from storage.records import Access, FileEntry, Repo, RepoKind

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_TEXT = frozenset((".json", ".txt", ".md", ".py", ".yaml", ".yml", ".csv", ".toml", ".cfg", ".jsonl", ".gitattributes", ".gitignore"))
_SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
_FILE_MODES = frozenset((0o100644, 0o100755, 0o100664, 0o120000))


class ResolveViews:
    def __init__(self, browser: Browser, blobs: BlobStore) -> None:
        self._browser = browser
        self._blobs = blobs

    def endpoints(self) -> list[Endpoint]:
        rows = []
        for prefix, kind in ((f"/{wire.KINDS}/{{ns}}/{{name}}", None), ("/{ns}/{name}", RepoKind.MODEL)):
            tail = f"/{wire.REVISION}/{{path:.+}}"
            for method in ("GET", "HEAD"):
                rows.append(Endpoint(method, f"{prefix}/resolve{tail}", self.resolve, Access.READ, render_json, kind=kind))
                rows.append(Endpoint(method, f"{prefix}/raw{tail}", self.raw, Access.READ, render_json, kind=kind))
        for method in ("GET", "HEAD"):
            rows.append(Endpoint(method, f"/{{single}}/resolve/{wire.REVISION}/{{path:.+}}", self.legacy, Access.NONE, render_json))
        return rows

    async def resolve(self, request: web.Request, call: Call) -> web.StreamResponse:
        snapshot, entry = await self._find(request, call.repo)
        headers = _headers(snapshot, entry)
        if entry.lfs is None:
            return await self._inline(request, snapshot, entry, headers)
        path = await asyncio.to_thread(self._blobs.path, entry.lfs.sha256)
        if path is None:
            raise EntryNotFound(f"The bytes of {wire.text(entry.path)} are missing here. Tell the operator.", snapshot.commit.hex())
        headers |= {"X-Linked-Size": str(entry.lfs.size), "X-Linked-Etag": f'"{entry.lfs.sha256}"'}
        return await respond(request, Content(entry.lfs.size, entry.lfs.sha256, path), headers)

    async def raw(self, request: web.Request, call: Call) -> web.StreamResponse:
        """As git stores it: for a large file, the pointer."""
        snapshot, entry = await self._find(request, call.repo)
        return await self._inline(request, snapshot, entry, _headers(snapshot, entry))

    async def legacy(self, request: web.Request, call: Call) -> web.StreamResponse:
        raise RepoNotFound(f"Repository {request.match_info['single'][:100]} not found. Names here are namespace/name.")

    async def _inline(self, request: web.Request, snapshot: Snapshot, entry: FileEntry, headers: dict[str, str]) -> web.StreamResponse:
        content = Content(entry.size, entry.oid.hex(), pieces=lambda: snapshot.objects.stream(entry.oid))
        return await respond(request, content, headers)

    async def _find(self, request: web.Request, repo: Repo) -> tuple[Snapshot, FileEntry]:
        parts = request.match_info
        return await asyncio.to_thread(self._entry, repo, parts["rev"], wire.as_path(parts["path"]))

    def _entry(self, repo: Repo, revision: str, path: bytes) -> tuple[Snapshot, FileEntry]:
        snapshot = self._browser.at(repo, revision)
        entry = self._browser.entry(snapshot, path)
        if entry.mode not in _FILE_MODES:
            raise EntryNotFound(f"{wire.text(path)[:300]} is a folder, not a file.", snapshot.commit.hex())
        return snapshot, entry


def _headers(snapshot: Snapshot, entry: FileEntry) -> dict[str, str]:
    name = wire.text(entry.path.rpartition(b"/")[2])
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    return {
        "X-Repo-Commit": snapshot.commit.hex(),
        "Content-Type": _content_type(name),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";",
        "Cache-Control": "private, no-cache, no-transform",
        **_SAFE,
    }


def _content_type(name: str) -> str:
    suffix = PurePosixPath(name.lower()).suffix or name.lower()
    return _TYPES.get(suffix) or ("text/plain; charset=utf-8" if suffix in _TEXT else "application/octet-stream")
