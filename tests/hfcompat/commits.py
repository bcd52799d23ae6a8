"""A client of the commit API: payloads, and a repository as it looks afterwards."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

LFS = {"Content_Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"}
STALE = "The branch was updated since you opened this page. Please refresh and try again."


def line(key: object, **value: Any) -> bytes:
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def head(summary: str = "A change", **more: Any) -> bytes:
    return line("header", summary=summary, **more)


def put(path: object, content: bytes = b"text\n") -> bytes:
    return line("file", path=path, content=base64.b64encode(content).decode(), encoding="base64")


def large(path: object, content: bytes, **more: Any) -> bytes:
    return line("lfsFile", path=path, algo="sha256", oid=sha256(content), **{"size": len(content), **more})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pointer(content: bytes) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n".encode()


@dataclass(frozen=True)
class Target:
    """A repository of alice's."""

    hub: Any
    name: str

    def commit(self, *lines: bytes, branch: str = "main", token: str | None = None, query: str = "") -> Any:
        path = f"/api/models/{self.name}/commit/{quote(branch, safe='')}{query}"
        return self.hub.call("POST", path, b"".join(lines), token=token, Content_Type="application/x-ndjson")

    def made(self, *lines: bytes, branch: str = "main") -> str:
        """The id of a commit that must go well."""
        answer = self.commit(head(), *lines, branch=branch)
        assert answer.status == 200, answer
        return str(answer.json()["commitOid"])

    def tip(self, branch: str = "main") -> str:
        """Empty where there is none."""
        answer = self.hub.call("GET", f"/api/models/{self.name}/revision/{quote(branch, safe='')}")
        return str(answer.json().get("sha") or "") if answer.status == 200 else ""

    def read(self, path: str, revision: str = "main") -> bytes | None:
        answer = self.hub.call("GET", f"/{self.name}/resolve/{revision}/{quote(path)}")
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        return bytes(answer.body)

    def tree(self, revision: str = "main") -> dict[str, Any]:
        """Every file by path."""
        rows = self.hub.call("GET", f"/api/models/{self.name}/tree/{revision}?recursive=true").json()
        return {row["path"]: row for row in rows if row["type"] == "file"}

    def history(self, branch: str = "main") -> list[Any]:
        rows: list[Any] = self.hub.call("GET", f"/api/models/{self.name}/commits/{branch}?limit=1000").json()
        return rows

    def upload(self, content: bytes) -> None:
        """As a large file, through LFS."""
        asked = {"operation": "upload", "objects": [{"oid": sha256(content), "size": len(content)}]}
        (shown,) = self.hub.call("POST", f"/{self.name}.git/info/lfs/objects/batch", asked, **LFS).json()["objects"]
        if "actions" in shown:
            href = shown["actions"]["upload"]["href"].removeprefix(self.hub.url)
            assert self.hub.call("PUT", href, content, token="").status == 200

    def stored(self) -> set[str]:
        """What lies in the hub's folders that uploads fill."""
        folders = [self.hub.data / name for name in ("incoming", "staged", "pool", "git")]
        return {str(path.relative_to(self.hub.data)) for folder in folders for path in folder.rglob("*") if path.is_file()}
