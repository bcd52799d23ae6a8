"""A real PostgreSQL on loopback, with a free port and a folder of its own. `postgres.sh` installs it.

PostgreSQL refuses to run as root: then its files are copied to where the user nobody may read them, and it runs as that user.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

INSTALLED = Path(__file__).parent.parent.parent / ".venv" / "servers" / "postgresql"
PASSWORD = "p@ss:w/ord%"  # must be quoted in an address, and must never be seen in a log
_START_SECONDS = 60


def missing() -> str:
    """What there is to do before this server can run; empty when nothing."""
    return (
        "" if (INSTALLED / "bin" / "postgres").exists() else "PostgreSQL is not installed for the tests: run sh tests/servers/postgres.sh"
    )


class Postgres:
    """Where a server is, and how to get in."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgresql://hub:{quote(self.password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def create(self) -> str:
        """The address of a new, empty database; KOHAKU_TEST_DATABASE may hold more of the SQL that makes it."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {os.environ.get('KOHAKU_TEST_DATABASE', '')}".encode())
        return self.url(name)

    def ensure(self, database: str) -> str:
        """The address of that database, which is made when it is not there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {database}".encode())
        return self.url(database)


class PostgresServer(Postgres):
    """`options` are lines of postgresql.conf. Made again on a `folder` that it had, with the same password, it has what it had."""

    def __init__(self, *options: str, folder: Path | None = None, port: int = 0, password: str = PASSWORD) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kohaku-pg-", dir="/tmp"))
        super().__init__(port or free_port(), password)
        self._program = INSTALLED
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._leave_root()
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._make_data()
        lines = [f"port = {self.port}", "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", *options]
        (self.folder / "options.conf").write_text("\n".join(lines) + "\n")

    def _leave_root(self) -> None:
        self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self._program = self.folder / "program"
        if not self._program.exists():
            shutil.copytree(INSTALLED.resolve(), self._program)
        for folder in (self.folder, self._program):
            folder.chmod(0o755)

    def _make_data(self) -> None:
        data, secret = self.folder / "data", self.folder / "password"
        shutil.rmtree(data, ignore_errors=True)  # of a try that broke off
        data.mkdir(0o700)
        secret.touch(0o600)
        secret.write_text(self.password)
        for path in (data, secret) if self._user else ():
            shutil.chown(path, "nobody", "nogroup")
        self._run("initdb", "-D", str(data), "-U", "hub", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-sync")
        secret.unlink()
        with (data / "postgresql.conf").open("a") as file:
            file.write("include '../options.conf'\n")

    def start(self) -> None:
        """Until it takes connections; again after `kill`, too."""
        until = time.monotonic() + _START_SECONDS
        while True:
            assert time.monotonic() < until, (self.folder / "log").read_text()[-3000:]
            if self._process is None or self._process.poll() is not None:  # the shared memory of one that was killed goes in a moment
                self._process = self._spawn()
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the server and every process of it, as when the power goes."""
        assert self._process is not None
        leader = psutil.Process(self._process.pid)
        family = [leader, *leader.children(recursive=True)]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait(30)
        psutil.wait_procs(family, timeout=30)

    def remove(self) -> None:
        """Stop it, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder)

    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(2)  # SIGINT: fast shutdown
            self._process.wait(60)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [str(self._program / "bin" / "postgres"), "-D", str(self.folder / "data")]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=_environment(), **self._user)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._program / "bin" / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=_environment(), timeout=120, **self._user)
        assert done.returncode == 0, done.stdout + done.stderr


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
