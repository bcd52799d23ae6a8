"""A real hub for the tests: the real command, on a free port, with its own data, stopped at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub.services import Services, build
from hub.settings import Settings
from tests.deployment.stack import behind, start_gunicorn, start_nginx
from tests.servers import lakefs as lakefs_server
from tests.servers import nginx as nginx_server
from tests.servers.lakefs import LakeFSServer
from tests.servers.needs import need
from tests.servers.postgres import PostgresServer, missing
from tests.servers.s3 import S3Server, bucket, s3_server
from tests.servers.versitygw import versitygw
from tests.two_users import PASSWORD, make_users

__all__ = ["PASSWORD", "bucket", "s3_server", "versitygw"]

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).parent / "kohakuhub"
GUARDED = (sys.executable, "-m", "tests.guarded_hub")


@dataclass(frozen=True)
class Hub:
    """A running hub with two users."""

    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]
    token: str
    token2: str
    user: str = "alice"
    user2: str = "bob"
    launcher: "Launcher | None" = None

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str) -> "Answer":
        """A request as `token` ("" for nobody, None for alice)."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.token if token is None else token
        if token:
            shown.setdefault("Authorization", f"Bearer {token}")
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            shown.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data, shown, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def repo(self, kind: str = "model", *, private: bool = False) -> str:
        """A new repository of alice's; its full name."""
        name = "t" + uuid.uuid4().hex[:12]
        answer = self.call("POST", "/api/repos/create", {"type": kind, "name": name, "private": private})
        assert answer.status == 200, answer
        return f"{self.user}/{name}"

    def git_url(self, name: str, *, token: str | None = None) -> str:
        secret = self.token if token is None else token
        return self.url.replace("://", f"://{self.user}:{secret}@") + f"/{name}.git"

    def admin(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """An operator's verb beside the running hub."""
        assert self.launcher is not None
        return self.launcher.admin(*arguments)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> "object":
        return json.loads(self.body)


class Launcher:
    """Starts hubs on a data directory; the caller stops them, and `close` ends those that a failed test left."""

    def __init__(self, data: Path, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.environment = environment or {}
        self.tokens: dict[str, str] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(30)

    def admin(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        command = [str(COMMAND), "admin", *arguments, "--data", str(self.data)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment)

    def users(self) -> None:
        self.tokens = make_users(self.data, self.environment)

    def start(self, *options: str, command: tuple[str, ...] = GUARDED, environment: dict[str, str] | None = None) -> Hub:
        return self.run((*command, "serve", "--port", "0", "--data", str(self.data), *options), environment or {})

    def run(self, arguments: tuple[str, ...], environment: dict[str, str]) -> Hub:
        """Any command that is a hub in the end."""
        log = self.data.with_name(f"{self.data.name}-{uuid.uuid4().hex[:6]}.log")
        environment = {**os.environ, **self.environment, **environment}
        with log.open("wb") as out:
            process = subprocess.Popen(arguments, stderr=out, stdout=out, cwd=ROOT, env=environment)
        self._started.append(process)
        try:
            url = wait_for_url(log, process)
        except AssertionError:
            process.kill()
            process.wait(30)
            raise
        return Hub(url, self.data, log, process, self.tokens.get("alice", ""), self.tokens.get("bob", ""), launcher=self)


def wait_for_url(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address from the start-up lines, once /healthz answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"KohakuHub is at (http://[^\s\"]+)", log.read_text("utf-8"))
        if found:
            try:
                with urllib.request.urlopen(found[1] + "/healthz", timeout=5):
                    return found[1]
            except OSError:
                pass
        time.sleep(0.02)
    raise AssertionError(f"the hub did not start:\n{log.read_text('utf-8')}")


@pytest.fixture(scope="session")
def embedded_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One hub for the whole run, with the guard against blocking views."""
    yield from run_guarded(Launcher(tmp_path_factory.mktemp("hub") / "data"), {})


@pytest.fixture(scope="session")
def parts_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Another one: an LFS object of more than 2 MiB comes to it in parts of 1 MiB."""
    limits = json.dumps({"lfs_multipart_bytes": 2 << 20, "lfs_part_bytes": 1 << 20})
    yield from run_guarded(Launcher(tmp_path_factory.mktemp("parts") / "data"), {"KOHAKU_HUB_LIMITS": limits})


@pytest.fixture(scope="session")
def s3_hub(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Hub]:
    """Another one, whose bytes lie on S3 and go through the hub."""
    launcher = Launcher(tmp_path_factory.mktemp("s3hub") / "data", s3_server.environment(s3_server.make_bucket()))
    yield from run_guarded(launcher, {})


@pytest.fixture(scope="session")
def s3_link_hub(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Hub]:
    """Another one, whose clients read large objects from S3 directly."""
    environment = s3_server.environment(s3_server.make_bucket(), PUBLIC_ENDPOINT=s3_server.endpoint)
    yield from run_guarded(Launcher(tmp_path_factory.mktemp("s3links") / "data", environment), {})


@pytest.fixture(scope="session")
def hub(embedded_hub: Hub) -> Hub:
    """The usual one; some folders and modules have this one and then another."""
    return embedded_hub


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the run (of one worker of it); each test has a database of its own."""
    need(missing())
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def lakefs_program() -> None:
    """For tests that start a LakeFS of their own."""
    need(lakefs_server.missing())


@pytest.fixture(scope="session")
def nginx_program() -> None:
    """For tests that start an nginx of their own."""
    need(nginx_server.missing())


@pytest.fixture(scope="session")
def lakefs(
    tmp_path_factory: pytest.TempPathFactory, lakefs_program: None, postgres: PostgresServer, s3_server: S3Server
) -> Iterator[LakeFSServer]:
    """One LakeFS for the run (of one worker of it), on PostgreSQL and S3, set up with its keys."""
    server = LakeFSServer.cluster(tmp_path_factory.mktemp("lakefs"), postgres.create(), s3_server)
    server.start()
    assert server.set_up() == 200
    yield server
    server.stop()


@pytest.fixture
def new_lakefs(tmp_path: Path, lakefs_program: None, postgres: PostgresServer, s3_server: S3Server) -> Iterator[LakeFSServer]:
    """Another one, of this test only: nobody has set it up."""
    server = LakeFSServer.cluster(tmp_path / "lakefs", postgres.create(), s3_server)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_hub(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Hub]:
    """Two worker processes whose rows lie in PostgreSQL."""
    launcher = Launcher(tmp_path_factory.mktemp("hub") / "data", {"KOHAKU_HUB_DATABASE_URL": postgres.create()})
    yield from run_guarded(launcher, {}, "--workers", "2")
    assert not list(launcher.data.glob("*.sqlite3"))


@pytest.fixture(scope="session")
def new_cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, s3_server: S3Server, lakefs: LakeFSServer
) -> Iterator[Callable[..., Launcher]]:
    """Makes launchers of hubs on PostgreSQL, S3 and LakeFS, each with a database and a bucket of its own, or with those of `beside`:
    then it is another machine of the same cluster.
    """

    made: list[Launcher] = []

    def make(beside: Launcher | None = None, **environment: str) -> Launcher:
        common = beside.environment if beside is not None else engines()
        made.append(Launcher(tmp_path_factory.mktemp("cluster") / "data", common | environment))
        return made[-1]

    def engines() -> dict[str, str]:
        return {
            "KOHAKU_HUB_DATABASE_URL": postgres.create(),
            **s3_server.environment(s3_server.make_bucket()),
            "KOHAKU_HUB_LAKEFS_ENDPOINT": lakefs.url,
            "KOHAKU_HUB_LAKEFS_ACCESS_KEY": lakefs.access_key,
            "KOHAKU_HUB_LAKEFS_SECRET_KEY": lakefs.secret_key,
        }

    yield make
    for launcher in made:
        launcher.close()


@pytest.fixture(scope="session")
def cluster_hub(new_cluster: Callable[..., Launcher], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """As it is deployed: PostgreSQL, S3, LakeFS, two workers of gunicorn, and nginx with the shipped configuration in front."""
    limits = json.dumps({"prepared_objects": 1})  # so that small repositories too are served as large ones are
    launcher = new_cluster(KOHAKU_HUB_LIMITS=limits, KOHAKU_HUB_WORKSHOP_PROCESSES="1")
    launcher.users()
    running = start_gunicorn(launcher)
    nginx = start_nginx(tmp_path_factory.mktemp("nginx") / "nginx", running.url)
    yield behind(running, nginx)
    nginx.stop()
    assert running.stop() == 0
    check_log(running)


@pytest.fixture(scope="session")
def two_hubs(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, postgres: PostgresServer) -> Iterator[tuple[Hub, Hub]]:
    """Two machines: each has a data directory and two workers; rows and bucket are common, and few packs fit into the caches."""
    environment = s3_server.environment(s3_server.make_bucket()) | {
        "KOHAKU_HUB_DATABASE_URL": postgres.create(),
        "KOHAKU_HUB_PACK_CACHE_BYTES": "300000",
    }
    one, two = (Launcher(tmp_path_factory.mktemp("machine") / "data", environment) for _ in range(2))
    for first in run_guarded(one, {}, "--workers", "2"):
        two.tokens = one.tokens
        for second in run_guarded(two, {}, "--workers", "2"):
            yield first, second


def run_guarded(launcher: Launcher, environment: dict[str, str], *options: str) -> Iterator[Hub]:
    if not launcher.tokens:
        launcher.users()
    running = launcher.start(*options, environment=environment)
    yield running
    assert running.stop() == 0
    check_log(running)


def check_log(hub: Hub) -> None:
    unexpected = [line for line in hub.log.read_text("utf-8").splitlines() if "unexpected error" in line or "BlockingError" in line]
    assert not unexpected, unexpected


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    made = Launcher(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture(scope="session")
def new_launcher() -> type[Launcher]:
    """For hubs that several tests share."""
    return Launcher


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The services alone, on an empty data directory."""
    built = build(Settings(data=tmp_path / "data"))
    yield built
    built.close()
