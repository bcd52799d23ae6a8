"""`make cluster`: PostgreSQL, S3, LakeFS, the hub by gunicorn, and nginx on loopback, to be tried. Ctrl-C stops all; the data stays.

Ports and secrets are made at the first start and kept beside the data. The servers run in a session of their own, so that Ctrl-C
does not reach them all at once: they are stopped one after the other, the hub first.
"""

import argparse
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.deployment.stack import GUNICORN, SETTINGS, shipped_nginx
from tests.servers import lakefs, nginx, postgres, s3
from tests.servers.lakefs import LakeFSServer
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server, SeaweedFS

BUCKET = "hub-storage"
_START_SECONDS = 120
_DOORS = ("postgres", "lakefs", "api", "hub", *(f"s3-{number}" for number in range(SeaweedFS.PORTS)))
_PORT = "KOHAKU_CLUSTER_PORT"  # of the environment: where nginx is to listen; any free port otherwise
_SECRETS = ("postgres", "s3_access", "s3_secret")


@dataclass(frozen=True)
class Part:
    """One server: `start` returns when it answers."""

    name: str
    shown: str  # the address, and what else a person needs
    start: Callable[[], object]
    stop: Callable[[], object]
    running: Callable[[], "subprocess.Popen[bytes]"]
    log: Path


class Program:
    """A server that is one command: `url` answers when it is ready."""

    def __init__(self, command: list[str], environment: dict[str, str], url: str, log: Path) -> None:
        self._command = command
        self._environment = environment
        self._url = url
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KOHAKU_HUB_")} | self._environment
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        until = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(self._url, timeout=5):
                return
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"{self._command[0]} did not start:\n{self._log.read_text('utf-8', 'replace')[-3000:]}")

    def running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        process = self.running()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


class Cluster:
    """`parts` in the order of their start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._ports, passwords = _kept(self.folder / "cluster.json")
        self._database = PostgresServer(
            folder=_made(self.folder / "postgres"), port=self._ports["postgres"], password=passwords["postgres"]
        )
        doors = [self._ports[f"s3-{number}"] for number in range(SeaweedFS.PORTS)]
        keys = (passwords["s3_access"], passwords["s3_secret"])
        self._bytes = SeaweedFS(s3.find_program() or "", self.folder / "s3", doors, keys)
        self._lakefs = LakeFSServer.cluster(self.folder / "lakefs", self._database.url("lakefs"), self._bytes.server, self._ports["lakefs"])
        self._api_url = f"http://127.0.0.1:{self._ports['api']}"
        self._hub_url = f"http://127.0.0.1:{self._ports['hub']}"
        self.parts = [self._postgres_part(), self._s3_part(), self._lakefs_part(), self._hub_part(), self._nginx_part()]

    def environment(self) -> dict[str, str]:
        """The settings of a hub on this cluster, with which the admin verbs reach it too."""
        of_lakefs = {"ENDPOINT": self._lakefs.url, "ACCESS_KEY": self._lakefs.access_key, "SECRET_KEY": self._lakefs.secret_key}
        return {
            "KOHAKU_HUB_DATA": str(self.folder / "hub"),
            "KOHAKU_HUB_BASE_URL": self._hub_url,
            "KOHAKU_HUB_DATABASE_URL": self._database.url("hub"),
            **self._bytes.server.environment(BUCKET, PUBLIC_ENDPOINT=self._bytes.server.endpoint),
            **{f"KOHAKU_HUB_LAKEFS_{name}": value for name, value in of_lakefs.items()},
        }

    def run(self, stopped: Callable[[], bool]) -> int:
        """Until `stopped`, or until one of them ends by itself: then 1."""
        self._write_environment()
        with ExitStack() as stack:
            for part in self.parts:
                part.start()
                stack.callback(part.stop)
                _say(f"{part.name:<12}{part.shown}")
            _say(_HOW_ON.format(environment=_shown(self.folder / "env"), folder=_shown(self.folder)))
            while not stopped():
                for part in self.parts:
                    if part.running().poll() is not None:
                        _say(f"{part.name} has ended. Its last words are in {_shown(part.log)}; the others are stopped now.")
                        return 1
            _say("Stopping, the hub first.")
        return 0

    def _write_environment(self) -> None:
        """For a shell that a person uses beside it."""
        path = self.folder / "env"
        path.touch(0o600)
        path.write_text("".join(f"export {name}='{value}'\n" for name, value in self.environment().items()))

    def _postgres_part(self) -> Part:
        def start() -> None:
            self._database.start()
            for name in ("hub", "lakefs"):
                self._database.ensure(name)

        shown = f"127.0.0.1:{self._database.port}, databases hub and lakefs"
        return Part("PostgreSQL", shown, start, self._database.stop, self._database.running, self._database.folder / "log")

    def _s3_part(self) -> Part:
        def start() -> None:
            _make_bucket(self._bytes.start())

        shown = f"{self._bytes.server.endpoint}, bucket {BUCKET}"
        return Part("S3", shown, start, self._bytes.stop, self._bytes.running, self._bytes.server.log)

    def _lakefs_part(self) -> Part:
        def start() -> None:
            self._lakefs.start()
            status = self._lakefs.set_up()  # at once: whoever comes first is its administrator
            assert status in (200, 409), f"LakeFS answered {status} when it was set up"

        return Part("LakeFS", self._lakefs.url, start, self._lakefs.stop, self._lakefs.running, self._lakefs.log)

    def _hub_part(self) -> Part:
        own = {"HOST": "127.0.0.1", "PORT": str(self._ports["api"]), "WORKERS": "2", "TRUST_PROXY": "true"}
        environment = self.environment() | {f"KOHAKU_HUB_{name}": value for name, value in own.items()}
        log = self.folder / "hub.log"
        program = Program([*GUNICORN.command, *SETTINGS], environment, f"{self._api_url}/healthz", log)
        return Part("hub", f"{self._api_url}, behind nginx", program.start, program.stop, program.running, log)

    def _nginx_part(self) -> Part:
        server = shipped_nginx(self.folder / "nginx", self._api_url, port=self._ports["hub"])
        return Part("nginx", f"{self._hub_url}  <- here", server.start, server.stop, server.running, server.folder / "log")


_HOW_ON = """
An account and a token, in a second terminal:
    . .venv/bin/activate && . {environment}
    read -rs PASSWORD && echo "$PASSWORD" | kohakuhub admin create-user ann --email ann@example.org --password-stdin
    kohakuhub admin create-token ann --name laptop --scope write
Keys and passwords are in {environment}, logs and data in {folder}.
Ctrl-C stops all; the data stays. Remove {folder} to begin anew."""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _shown(path: Path) -> str:
    """As one would write it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _make_bucket(server: S3Server) -> None:
    client = server.client()
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=BUCKET)


def _kept(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Ports and secrets of the last time. A port that somebody else has by now is replaced."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    before: dict[str, int] = kept.get("ports", {})
    passwords: dict[str, str] = kept.get("secrets") or {name: secrets.token_hex(20) for name in _SECRETS}
    free = (port for port in s3.free_ports(2 * len(_DOORS)) if port not in before.values())
    ports = {door: before[door] if _is_free(before.get(door, 0)) else next(free) for door in _DOORS}
    ports["hub"] = int(os.environ.get(_PORT) or ports["hub"])
    path.touch(0o600)
    path.write_text(json.dumps({"ports": ports, "secrets": passwords}, indent=1))
    return ports, passwords


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return port != 0


def _refuse(folder: Path) -> str:
    """Why it cannot run; empty when it can."""
    if reasons := [reason for reason in (postgres.missing(), s3.missing(), lakefs.missing(), nginx.missing()) if reason]:
        return "\n".join(reasons)
    if (wanted := os.environ.get(_PORT, "")) and not (wanted.isdecimal() and int(wanted) < 65536 and _is_free(int(wanted))):
        return f"The port {wanted} of {_PORT} is taken, or is no port. Choose another one, or unset {_PORT} for any free port."
    closed = [path for path in (folder.resolve(), *folder.resolve().parents) if path.exists() and not path.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        return f"PostgreSQL does not run as root, and nobody else may enter {closed[-1]}. Use another folder (--data), or another user."
    return ""


def _supervise(folder: Path) -> int:
    """In the servers' session, until the end of standard input."""
    return Cluster(folder).run(lambda: bool(select.select([sys.stdin], [], [], 1)[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("cluster-data"), help="where everything is kept (default ./cluster-data)")
    parser.add_argument("--supervise", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.supervise:
        return _supervise(options.data)
    if reason := _refuse(options.data):
        _say(reason)
        return 1
    command = [sys.executable, "-m", "tests.servers.cluster", "--supervise", "--data", str(options.data)]
    inner = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        return inner.wait()
    except KeyboardInterrupt:
        inner.communicate(timeout=180)  # closes its standard input, as the end of this process does however it ends
        return inner.returncode


if __name__ == "__main__":
    sys.exit(main())
