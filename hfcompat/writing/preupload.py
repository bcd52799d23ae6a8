"""Before an upload: which files are large, which are left out, and what is there already. `PreuploadViews(browser, space, limits)`."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gitserver.commit.attributes import Attributes, Ignores, default_attributes
from gitserver.commit.paths import checked_path
from gitserver.history.browser import Browser, Snapshot
from hfcompat import wire
from httpapi.bodies import read_json
from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from storage.disk_space import DiskSpace
from storage.errors import EntryNotFound, Invalid, TooLarge
from storage.limits import Limits
from storage.records import Access, FileEntry, Repo, RepoKind

_SAMPLE = 512
_LARGE_COPIES = 2  # xorbs and parts lie beside the object that is made of them
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")


@dataclass(frozen=True, slots=True)
class _Asked:
    text: str
    path: bytes
    sample: bytes
    size: int


class PreuploadViews:
    def __init__(self, browser: Browser, space: DiskSpace | None, limits: Limits) -> None:
        self._browser = browser
        self._space = space
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        path, most = f"{wire.API_REPO}/preupload/{wire.REVISION}", self._limits.preupload_bytes
        return [Endpoint("POST", path, self.preupload, Access.WRITE, render_json, most_bytes=most)]

    async def preupload(self, request: web.Request, call: Call) -> web.Response:
        wire.refuse_pull_request(request)
        body = await read_json(request, self._limits.preupload_bytes)
        files, ignore = self._parse(body)
        rows = await asyncio.to_thread(self._answer, call.repo, request.match_info["rev"], files, ignore)
        return web.json_response({"files": rows, "commitOid": None})

    def _parse(self, body: Any) -> tuple[list[_Asked], str | None]:
        files = body.get("files") if isinstance(body, dict) else None
        if not isinstance(files, list):
            raise Invalid("The body must be a JSON object with a list of files.")
        if len(files) > self._limits.preupload_files:
            raise TooLarge(f"{len(files)} files were asked for at once; {self._limits.preupload_files} are answered. Ask in smaller parts.")
        ignore = body.get("gitIgnore")
        return [self._file(item) for item in files], ignore if isinstance(ignore, str) else None

    def _file(self, item: Any) -> _Asked:
        if not isinstance(item, dict):
            raise Invalid("Each file is a JSON object with path, size and sample.")
        size, sample = item.get("size"), item.get("sample", "")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(sample, str):
            raise Invalid(f"File {str(item.get('path'))[:100]!r} needs a size in bytes and a sample in base64.")
        try:
            data = base64.b64decode(sample, validate=True)[:_SAMPLE]
        except (binascii.Error, ValueError) as error:
            raise Invalid(f"The sample of file {str(item.get('path'))[:100]!r} is not base64.") from error
        return _Asked(str(item.get("path")), checked_path(item.get("path"), self._limits), data, size)

    def _answer(self, repo: Repo, revision: str, files: list[_Asked], ignore: str | None) -> list[dict[str, Any]]:
        branch = self._browser.branch(repo, revision)
        snapshot = self._browser.default(repo) if branch == repo.head else self._browser.at(repo, branch.decode("utf-8", "surrogateescape"))
        found = _Found(self._browser, snapshot, self._limits)
        ignores = Ignores(ignore.encode(errors="surrogatepass") if ignore is not None else found.text(b".gitignore") or b"", self._limits)
        attributes = Attributes(found.attributes(is_dataset=repo.name.kind is RepoKind.DATASET), self._limits)
        entries = [found.entry(file.path) for file in files]
        if self._space is not None:  # a file that is here with this size is most likely not sent again
            news = [file for file, entry in zip(files, entries, strict=True) if entry is None or _size(entry) != file.size]
            self._space.check(sum(file.size * (_LARGE_COPIES if self._goes_to_lfs(file, attributes) else 1) for file in news))
        return [self._row(file, entry, attributes, ignores) for file, entry in zip(files, entries, strict=True)]

    def _goes_to_lfs(self, file: _Asked, attributes: Attributes) -> bool:
        return file.size > 0 and (attributes.is_lfs(file.path) or self._is_large(file))

    def _row(self, file: _Asked, entry: FileEntry | None, attributes: Attributes, ignores: Ignores) -> dict[str, Any]:
        shown = {
            "path": file.text,
            "uploadMode": "lfs" if self._goes_to_lfs(file, attributes) else "regular",
            "shouldIgnore": ignores.has(file.path),
        }
        if entry is not None and entry.mode & 0o100000:
            shown["oid"] = entry.lfs.sha256 if entry.lfs is not None else entry.oid.hex()
        return shown

    def _is_large(self, file: _Asked) -> bool:
        if file.path.rpartition(b"/")[2] in (b".gitattributes", b".gitignore", b"README.md"):
            return False  # what the hub itself reads
        limit = self._limits.regular_binary_bytes if _is_binary(file.sample) else self._limits.regular_bytes
        return file.size > limit


class _Found:
    """What the revision holds; nothing while the repository is empty."""

    def __init__(self, browser: Browser, snapshot: Snapshot | None, limits: Limits) -> None:
        self._browser = browser
        self._snapshot = snapshot
        self._limits = limits

    def entry(self, path: bytes) -> FileEntry | None:
        if self._snapshot is None:
            return None
        try:
            return self._browser.entry(self._snapshot, path)
        except EntryNotFound:
            return None

    def text(self, path: bytes) -> bytes | None:
        entry = self.entry(path)
        if entry is None or self._snapshot is None or not entry.mode & 0o100000:
            return None
        tail = b""
        for piece in self._snapshot.objects.stream(entry.oid):  # later lines win: what is over the limit is cut off at the front
            tail = (tail + piece)[-self._limits.attributes_bytes :]
        return tail

    def attributes(self, *, is_dataset: bool) -> Callable[[bytes], bytes | None]:
        """.gitattributes by folder; where the root has none, the list that a new repository gets decides."""

        def read(folder: bytes) -> bytes | None:
            text = self.text(folder + b"/.gitattributes" if folder else b".gitattributes")
            return default_attributes(is_dataset=is_dataset) if text is None and not folder else text

        return read


def _size(entry: FileEntry) -> int:
    return entry.lfs.size if entry.lfs is not None else entry.size


def _is_binary(sample: bytes) -> bool:
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in sample):
        return True
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end < len(sample)  # a character that the sample cuts is none
    return False
