"""Files by revision and path, for downloads: `ResolveViews(browser, blobs, origin)`. Bytes of users never run in the hub's origin."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from aiohttp import web

from gitserver.history.browser import Browser, Snapshot
from hfcompat import wire
from httpapi.endpoint import Call, Endpoint, InThread
from httpapi.errors import render_json
from httpapi.ranges import Content, Download, answer, is_conditional, redirect
from lfs.objects.downloads import content_of, link_of
from storage.blobs.base import BlobStore
from storage.errors import EntryNotFound, ObjectNotFound
from storage.records import Access, FileEntry, Repo, RepoKind

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_TEXT = frozenset((".json", ".txt", ".md", ".py", ".yaml", ".yml", ".csv", ".toml", ".cfg", ".jsonl", ".gitattributes", ".gitignore"))
_SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_KEPT_BYTES = 64 * 1024  # a file up to this size is kept inflated among the bases of deltas


class ResolveViews:
    def __init__(self, browser: Browser, blobs: BlobStore, origin: Callable[[web.Request], str]) -> None:
        self._browser = browser
        self._blobs = blobs
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        tail = f"/{wire.REVISION}/{wire.PATH}"
        rows = self._legacy(f"/{wire.KINDS}/{{single}}", tail)  # before the rows to which `datasets` is a namespace
        for prefix, kind in ((f"/{wire.KINDS}/{{ns}}/{{name}}", None), ("/{ns}/{name}", RepoKind.MODEL)):
            for path, read in ((f"{prefix}/resolve{tail}", self.resolve), (f"{prefix}/raw{tail}", self.raw)):
                for method in ("GET", "HEAD"):  # beside each other: aiohttp tries the pattern of neighbours once
                    rows.append(Endpoint(method, path, InThread(read), Access.READ, render_json, kind=kind))
        return rows + self._legacy("/{single}", tail)

    def _legacy(self, prefix: str, tail: str) -> list[Endpoint]:
        paths = (f"{prefix}/resolve{tail}", f"{prefix}/raw{tail}")
        return [Endpoint(method, path, self.legacy, Access.NONE, render_json) for path in paths for method in ("GET", "HEAD")]

    def resolve(self, request: web.Request, call: Call) -> Download:
        snapshot, entry = self._find(request, call.repo)
        headers = self._headers(request, snapshot, entry)
        if entry.lfs is None:
            return _inline(request, snapshot, entry, headers)
        headers |= {"X-Linked-Size": str(entry.lfs.size), "X-Linked-Etag": f'"{entry.lfs.sha256}"'}
        content = content_of(self._blobs, entry.lfs)
        if request.method == "GET" and not is_conditional(request):
            disposition = headers["Content-Disposition"].replace("inline", "attachment", 1)
            link = link_of(self._blobs, entry.lfs, disposition, self._origin(request))
            if link is not None:
                return redirect(request, content, headers, link)
        try:
            return answer(request, content, headers)
        except ObjectNotFound as error:
            text = f"The bytes of {wire.text(entry.path)} are missing here. Tell the operator."
            raise EntryNotFound(text, snapshot.commit.hex()) from error

    def raw(self, request: web.Request, call: Call) -> Download:
        """As git stores it: for a large file, the pointer."""
        snapshot, entry = self._find(request, call.repo)
        return _inline(request, snapshot, entry, self._headers(request, snapshot, entry))

    async def legacy(self, request: web.Request, call: Call) -> web.StreamResponse:
        raise wire.no_single_name(request)

    def _find(self, request: web.Request, repo: Repo) -> tuple[Snapshot, FileEntry]:
        path = wire.as_path(request.match_info["path"])
        snapshot = self._browser.at(repo, request.match_info["rev"])
        entry = self._browser.entry(snapshot, path)
        if not entry.is_file:
            what = "a submodule, whose files are in another repository" if entry.is_gitlink else "a folder"
            raise EntryNotFound(f"{wire.text(path)[:300]} is {what}, not a file.", snapshot.commit.hex())
        return snapshot, entry

    def _headers(self, request: web.Request, snapshot: Snapshot, entry: FileEntry) -> dict[str, str]:
        kind = "attachment" if wire.flag(request, "download") else "inline"
        name = self._browser.spelling(snapshot, entry.path).rpartition("/")[2]
        quoted = plain = name
        if not _PLAIN.fullmatch(name):
            quoted = quote(name, safe="")
            plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
        return {
            "X-Repo-Commit": snapshot.commit.hex(),
            "Content-Type": _content_type(name),
            "Content-Disposition": f"{kind}; filename*=UTF-8''{quoted}; filename=\"{plain}\";",
            "Cache-Control": "private, no-cache, no-transform",
            **_SAFE,
        }


def _inline(request: web.Request, snapshot: Snapshot, entry: FileEntry, headers: dict[str, str]) -> Download:
    def pieces() -> Iterator[bytes]:
        return iter((objects.get(entry.oid).data,)) if entry.size <= _KEPT_BYTES else objects.stream(entry.oid)

    objects = snapshot.objects
    return answer(request, Content(entry.size, entry.oid.hex(), pieces=pieces), headers)


def _content_type(name: str) -> str:
    name = name.lower()
    dot = name.rfind(".")
    suffix = name[dot:] if 0 < dot < len(name) - 1 else name
    return _TYPES.get(suffix) or ("text/plain; charset=utf-8" if suffix in _TEXT else "application/octet-stream")
