"""A real LakeFS on loopback, with a free port and a folder of its own. `lakefs.sh` gets it."""

import base64
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers.postgres import free_port
from tests.servers.s3 import S3Server

PROGRAM = Path(__file__).parent.parent.parent / ".venv" / "bin" / "lakefs"
_START_SECONDS = 60
_QUIET = {
    "LOGGING_LEVEL": "WARN",
    "ACTIONS_ENABLED": "false",
    "STATS_ENABLED": "false",
    "EMAIL_SUBSCRIPTION_ENABLED": "false",
    "SECURITY_CHECK_LATEST_VERSION": "false",
    "SECURITY_AUDIT_CHECK_URL": "http://127.0.0.1:9/",  # an empty one counts as unset
}
_SMALL = {
    "GRAVELER_MAX_BATCH_DELAY": "1ms",
    "COMMITTED_LOCAL_CACHE_SIZE_BYTES": str(64 << 20),
    "COMMITTED_SSTABLE_MEMORY_CACHE_SIZE_BYTES": str(20 << 20),
}


def missing() -> str:
    """What there is to do before this server can run; empty when nothing."""
    return "" if PROGRAM.exists() else "LakeFS is not here for the tests: run sh tests/servers/lakefs.sh"


class LakeFS:
    """Where a LakeFS is, and the keys with which it was set up, or is to be."""

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self.url = url
        self.access_key = access_key
        self.secret_key = secret_key

    def set_up(self) -> int:
        """Make the user with our keys; the status of LakeFS's answer: 200, or 409 when there is one."""
        body = {"username": "hub", "key": {"access_key_id": self.access_key, "secret_access_key": self.secret_key}}
        return self.call("POST", "/setup_lakefs", body)[0]

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(f"{self.access_key}:{self.secret_key}".encode()).decode()

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The API below /api/v1, with our keys: status and what it answers. For tests that look behind the hub's back."""
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, _parsed(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())


class LakeFSServer(LakeFS):
    """`settings` are LakeFS's own, without the prefix LAKEFS_. A server made again on its folder has the same secrets and port.

    The keys are the ones that `set_up` sets; whoever sets it up without that has others.
    """

    def __init__(self, folder: Path, settings: dict[str, str], port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "log"
        self.port = port or free_port()
        kept = _kept_secrets(folder / "secrets.json")
        super().__init__(f"http://127.0.0.1:{self.port}", kept["access_key"], kept["secret_key"])
        self._settings = {
            **_QUIET,
            **_SMALL,
            "LISTEN_ADDRESS": f"127.0.0.1:{self.port}",
            "AUTH_ENCRYPT_SECRET_KEY": kept["encrypt"],
            "BLOCKSTORE_SIGNING_SECRET_KEY": kept["signing"],
            "COMMITTED_LOCAL_CACHE_DIR": str(folder / "cache"),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def local(cls, folder: Path, *, allowed: tuple[Path, ...] = ()) -> "LakeFSServer":
        """Rows and bytes in the folder, set up at its first start; objects may be linked below `allowed`, too."""
        server = cls(folder, {"DATABASE_TYPE": "local", "DATABASE_LOCAL_PATH": str(folder / "kv"), "DATABASE_LOCAL_SYNC_WRITES": "false"})
        prefixes = json.dumps([f"{path}/" for path in allowed])
        server._settings |= {
            "BLOCKSTORE_TYPE": "local",
            "BLOCKSTORE_LOCAL_PATH": str(folder / "blocks"),
            "BLOCKSTORE_LOCAL_ALLOWED_EXTERNAL_PREFIXES": prefixes,
            "INSTALLATION_USER_NAME": "hub",
            "INSTALLATION_ACCESS_KEY_ID": server.access_key,
            "INSTALLATION_SECRET_ACCESS_KEY": server.secret_key,
        }
        return server

    @classmethod
    def cluster(cls, folder: Path, database_url: str, s3: S3Server, port: int = 0) -> "LakeFSServer":
        """Rows in PostgreSQL and bytes on S3, as in the cluster; not set up."""
        return cls(
            folder,
            {
                "DATABASE_TYPE": "postgres",
                "DATABASE_POSTGRES_CONNECTION_STRING": database_url,
                "DATABASE_POSTGRES_MAX_OPEN_CONNECTIONS": "10",
                "DATABASE_POSTGRES_MAX_IDLE_CONNECTIONS": "10",
                "BLOCKSTORE_TYPE": "s3",
                "BLOCKSTORE_S3_ENDPOINT": s3.endpoint,
                "BLOCKSTORE_S3_REGION": "us-east-1",
                "BLOCKSTORE_S3_FORCE_PATH_STYLE": "true",
                "BLOCKSTORE_S3_DISCOVER_BUCKET_REGION": "false",
                "BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID": s3.access_key,
                "BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY": s3.secret_key,
            },
            port,
        )

    def start(self) -> None:
        """Until it answers; again after `kill` or `stop`, too."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GOMEMLIMIT": "250MiB"}
        environment |= {f"LAKEFS_{name}": value for name, value in self._settings.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([str(PROGRAM), "run"], stdout=log, stderr=log, cwd=self.folder, env=environment)
        until = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.url}/_health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise AssertionError(f"LakeFS did not start:\n{self.log.read_text('utf-8', 'replace')[-3000:]}")

    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """SIGKILL, as when the power goes."""
        self.running().send_signal(signal.SIGKILL)
        self.running().wait(30)

    def stop(self) -> None:
        """SIGTERM; what is asked of it is answered first."""
        if self.running().poll() is None:
            self.running().send_signal(signal.SIGTERM)
            try:
                self.running().wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


def _parsed(answer: bytes) -> Any:
    """JSON, or text: some operations answer with that."""
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode()


def _kept_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        made = {"access_key": "AKIA" + secrets.token_hex(8).upper(), "secret_key": secrets.token_hex(20)}
        made |= {"encrypt": secrets.token_hex(32), "signing": secrets.token_hex(32)}
        path.touch(0o600)
        path.write_text(json.dumps(made))
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
