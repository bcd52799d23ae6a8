"""A repository of the hub as somebody with LakeFS's keys sees it, and as somebody with git does."""

import os
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from storage.versions.lakefs.names import repository_id
from tests.lakefs.rows import Rows
from tests.servers.lakefs import LakeFS

_FINE = (200, 201, 204)


class Lake:
    def __init__(self, server: LakeFS, hub: Any, name: str) -> None:
        self.server = server
        self.id = repository_id(Rows(hub.launcher.environment["KOHAKU_HUB_DATABASE_URL"]).repo_id(name))

    def call(self, method: str, path: str, body: object = None, status: int | tuple[int, ...] = _FINE) -> Any:
        got, answer = self.server.call(method, f"/repositories/{self.id}{path}", body)
        assert got in ((status,) if isinstance(status, int) else status), (got, answer)
        return answer

    def branches(self) -> dict[str, str]:
        """Hidden ones too."""
        return {row["id"]: row["commit_id"] for row in self._all(f"/repositories/{self.id}/branches?show_hidden=true")}

    def wait_until_tidy(self) -> None:
        """The hub drops its private branches in the background; who counts or stops calls waits for that."""
        until = time.monotonic() + 60
        while any(branch.startswith("_tx-") for branch in self.branches()):
            assert time.monotonic() < until
            time.sleep(0.05)

    def tags(self) -> dict[str, str]:
        return {row["id"]: row["commit_id"] for row in self._all(f"/repositories/{self.id}/tags?prefix=")}

    def files(self, ref: str) -> dict[str, Any]:
        return {row["path"]: row for row in self._all(f"/repositories/{self.id}/refs/{ref}/objects/ls?prefix=")}

    def log(self, ref: str) -> list[Any]:
        return self._all(f"/repositories/{self.id}/refs/{ref}/commits?limit=false")

    def read(self, ref: str, path: str) -> bytes:
        url = f"{self.server.url}/api/v1/repositories/{self.id}/refs/{ref}/objects?path={urllib.parse.quote(path, safe='')}"
        with urllib.request.urlopen(self._signed(urllib.request.Request(url)), timeout=60) as answer:
            return bytes(answer.read())

    def put(self, branch: str, path: str, data: bytes) -> None:
        """Upload through LakeFS, which knows nothing of git."""
        url = f"{self.server.url}/api/v1/repositories/{self.id}/branches/{branch}/objects?path={urllib.parse.quote(path, safe='')}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="POST")
        with urllib.request.urlopen(self._signed(request), timeout=60) as answer:
            assert answer.status == 201

    def remove(self, branch: str, path: str) -> None:
        self.call("DELETE", f"/branches/{branch}/objects?path={urllib.parse.quote(path, safe='')}")

    def branch(self, name: str, source: str = "main") -> None:
        self.call("POST", "/branches", {"name": name, "source": source})

    def commit(self, branch: str, message: str, **metadata: str) -> str:
        return str(self.call("POST", f"/branches/{branch}/commits", {"message": message, "metadata": metadata})["id"])

    def merge(self, source: str, target: str) -> str:
        return str(self.call("POST", f"/refs/{source}/merge/{target}", {"message": f"merge {source}"})["reference"])

    def change(self, target: str, files: dict[str, bytes | None], message: str = "direct") -> str:
        """One commit on a branch of its own, merged into `target`: how one works with a protected branch."""
        name = "work-" + uuid.uuid4().hex[:8]
        self.branch(name, target)
        for path, data in files.items():
            self.put(name, path, data) if data is not None else self.remove(name, path)
        self.commit(name, message)
        merged = self.merge(name, target)
        self.call("DELETE", f"/branches/{name}")
        return merged

    def _signed(self, request: urllib.request.Request) -> urllib.request.Request:
        request.add_header("Authorization", self.server.authorization)
        return request

    def _all(self, path: str) -> list[Any]:
        found: list[Any] = []
        after = ""
        while True:
            status, page = self.server.call("GET", f"{path}&after={urllib.parse.quote(after)}&amount=1000")
            assert status == 200, page
            found += page["results"]
            if not page["pagination"]["has_more"]:
                return found
            after = page["pagination"]["next_offset"]


class Work:
    """A work tree of git."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        folder.mkdir(parents=True)
        self("init", "-q", "-b", "main")
        self("remote", "add", "origin", url)

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, given: bytes | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        around = {**os.environ, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, input=given, capture_output=True, check=False, timeout=250, env=around)

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        return done.stderr.decode()

    def write(self, files: dict[str, bytes | None], message: str = "work") -> str:
        """A commit; its id."""
        for path in [path for path, data in files.items() if data is None]:
            self("rm", "-rq", path)
        for path, data in files.items():
            if data is not None:
                at = self.folder / path
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(data)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def push(self, *refs: str) -> None:
        self("push", "-q", "origin", *(refs or ("main",)))

    def remote(self) -> dict[str, str]:
        lines = self("ls-remote", "origin").splitlines()
        return {ref: oid for oid, ref in (line.split("\t") for line in lines)}

    def files(self, commit: str = "HEAD") -> dict[str, bytes]:
        """By path; links to other repositories are empty."""
        rows = [line.split("\t", 1) for line in self("ls-tree", "-rz", commit).split("\0") if line]
        names = {name: row.split()[2] for row, name in rows}
        data = self.run("cat-file", "--batch", "--buffer", given="".join(f"{oid}\n" for oid in names.values()).encode()).stdout
        found = {}
        for name in names:
            head, _, data = data.partition(b"\n")
            size = -1 if head.endswith(b" missing") else int(head.split()[2])
            found[name], data = data[: max(size, 0)], data[size + 1 :]
        return found
