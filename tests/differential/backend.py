"""C git as a server: `git http-backend` behind a small CGI door on loopback, the reference that the hub is held against."""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.gitserver.conftest import Git

# What the hub offers, C git has to be told to offer.
_CONFIG = (
    ("http.receivepack", "true"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.advertisePushOptions", "true"),
    ("receive.denyDeleteCurrent", "refuse"),
    ("gc.auto", "0"),
    ("receive.autogc", "false"),
)
_MOST_BODY = 64 << 20


class _Server(ThreadingHTTPServer):
    root: Path


class Backend:
    """Serves the bare repositories below `root`; `make` adds one and tells its URL."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.root = root
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def make(self, name: str) -> str:
        git = Git(self.root / f"{name}.git")
        git("init", "-q", "--bare", "-b", "main")
        for key, value in _CONFIG:
            git("config", key, value)
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}.git"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        assert size <= _MOST_BODY
        self._serve(self.rfile.read(size))

    def _serve(self, body: bytes) -> None:
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=self._environment(body), capture_output=True, check=False, timeout=60
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        self.send_response_only(int(status.split()[0]))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def _environment(self, body: bytes) -> dict[str, str]:
        parts = urlsplit(self.path)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.server.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_USER": "alice",
            "REMOTE_ADDR": "127.0.0.1",
        }

    def log_message(self, format: str, *args: object) -> None: ...
