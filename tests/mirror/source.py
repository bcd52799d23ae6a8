"""A repository elsewhere: C git's http-backend, and LFS objects as git-lfs left them, behind a server that counts, holds and redirects."""

import base64
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PERSON = {
    "GIT_AUTHOR_NAME": "A U Thor",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "C O Mitter",
    "GIT_COMMITTER_EMAIL": "c@example.org",
}


def git(folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> "subprocess.CompletedProcess[bytes]":
    """git without the machine's configuration, with the git-lfs of the tests."""
    environment = {
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_PUSH": "1",
        **PERSON,
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, env=environment, timeout=120, check=False
    )
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def refs(folder: Path) -> dict[str, str]:
    """Name to id, with what tags lead to."""
    lines = git(folder, "show-ref", "-d", check=False).stdout.decode().splitlines()
    return {name: oid for oid, name in (line.split() for line in lines)}


@dataclass
class Elsewhere:
    """`asked` counts requests by what they are for; LFS downloads after `hold_after` wait for `gate`."""

    folder: Path
    url: str = ""
    login: str = ""
    hold_after: int = 1 << 30
    redirect: str = ""
    has_lfs: bool = True
    gate: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    asked: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def bare(self) -> Path:
        return self.folder / "served" / "source.git"

    @property
    def repository(self) -> str:
        return f"{self.url}/source.git"

    def count(self, what: str) -> int:
        with self.lock:
            self.asked[what] += 1
            return sum(number for name, number in self.asked.items() if name.startswith("lfs/"))

    def commit(self, name: str, data: bytes, message: str = "change") -> None:
        """A file of the work tree's current branch, committed and pushed."""
        (self.work / name).write_bytes(data)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", message)
        self.push()

    def push(self) -> None:
        git(self.work, "push", "-q", "--force", "--prune", str(self.bare), "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")

    def lfs_path(self, oid: str) -> Path:
        return self.work / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


def make(folder: Path) -> Elsewhere:
    """A history with branches, an annotated tag, a note, a pull request's ref, a default branch of its own name, and five LFS objects."""
    there = Elsewhere(folder)
    folder.mkdir()
    there.bare.parent.mkdir()
    git(folder, "init", "-q", "--bare", "-b", "trunk", str(there.bare))
    git(folder, "init", "-q", "-b", "trunk", str(there.work))
    git(there.work, "lfs", "install", "--local")
    git(there.work, "lfs", "track", "*.bin")
    for number in range(20):
        (there.work / f"file{number % 4}.txt").write_text(f"{number}\n" * 50)
        git(there.work, "add", "-A")
        git(there.work, "commit", "-q", "-m", f"change {number}")
    for number in range(5):
        (there.work / f"large{number}.bin").write_bytes(bytes([number]) * (300_000 + number))
    git(there.work, "add", "-A")
    git(there.work, "commit", "-q", "-m", "large files")
    git(there.work, "tag", "-a", "v1", "-m", "first")
    git(there.work, "branch", "side", "HEAD~3")
    there.push()
    git(there.bare, "notes", "add", "-m", "a note", "refs/heads/trunk")
    git(there.bare, "update-ref", "refs/pull/1/head", "refs/heads/side")
    return there


@contextmanager
def serving(there: Elsewhere) -> Iterator[Elsewhere]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"there": there}))
    server.daemon_threads = True
    there.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield there
    finally:
        there.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    there: Elsewhere

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        there = self.there
        if there.redirect and self.path.startswith("/source.git"):
            return self._send(302, b"", Location=there.redirect + self.path)
        is_download = self.path.startswith("/objects/")
        login = "Basic " + base64.b64encode(there.login.encode()).decode()
        if there.login and not is_download and self.headers.get("Authorization") != login:
            return self._send(401, b"")
        if is_download:
            return self._download(self.path.rpartition("/")[2])
        if self.path.endswith("/info/lfs/objects/batch") and there.has_lfs:
            return self._batch(json.loads(body))
        return self._git(body)

    def _batch(self, request: Any) -> None:
        self.there.count("batch")
        objects = []
        for item in request["objects"]:
            if self.there.lfs_path(item["oid"]).exists():
                action = {"href": f"{self.there.url}/objects/{item['oid']}"}
                objects.append({**item, "authenticated": True, "actions": {"download": action}})
            else:
                objects.append({**item, "error": {"code": 404, "message": "gone"}})
        self._send(200, json.dumps({"transfer": "basic", "objects": objects}).encode())

    def _download(self, oid: str) -> None:
        if self.there.count(f"lfs/{oid}") > self.there.hold_after:
            self.there.held.set()
            self.there.gate.wait(60)
        self._send(200, self.there.lfs_path(oid).read_bytes())

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        self.there.count("fetch" if b"command=fetch" in body else path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.there.bare.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, timeout=60, check=False)
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._send(int(headers.pop("Status", "200 OK").split()[0]), data, **headers)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True
