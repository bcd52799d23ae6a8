"""A real hub for the tests: the real command, on a free port, with its own data, stopped at the end."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.services import Services
from hub.settings import Settings
from storage.blobs.bucket import Bucket
from tests.deployment.stack import behind, start_gunicorn, start_nginx
from tests.harness.hubs import Hub, Launcher, check_log, run_guarded
from tests.harness.run import shared
from tests.servers import lakefs as lakefs_server
from tests.servers import nginx as nginx_server
from tests.servers import postgres as postgres_server
from tests.servers import s3
from tests.servers import versitygw as versitygw_server
from tests.servers.buckets import BucketPool
from tests.servers.lakefs import LakeFS, LakeFSServer
from tests.servers.needs import need_program, running
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3Server
from tests.servers.shared import CLIENTS
from tests.two_users import quick_build

pytest_plugins = ("tests.harness.tiers", "tests.harness.times")


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
def newest_client() -> Path:
    """The Python of the newest Hugging Face clients, for tests that start a process with it."""
    shared("set-up newest")
    return CLIENTS / "newest" / "bin" / "python"


@pytest.fixture(scope="session")
def postgres() -> Postgres:
    """One PostgreSQL for the run; each test has a database of its own."""
    return running(Postgres, "postgres", postgres_server.missing)


@pytest.fixture(scope="session")
def s3_server() -> S3Server:
    """One SeaweedFS for the run; each test has a bucket of its own."""
    return running(S3Server, "s3", s3.missing)


@pytest.fixture(scope="session")
def versitygw() -> S3Server:
    """As `s3_server`, by other makers."""
    return running(S3Server, "versitygw", versitygw_server.missing)


@pytest.fixture(scope="session")
def buckets() -> Iterator[BucketPool]:
    """For tests that need an empty bucket of one of the S3 servers."""
    pool = BucketPool()
    yield pool
    pool.close()


@pytest.fixture
def bucket(s3_server: S3Server, buckets: BucketPool) -> Iterator[Bucket]:
    """An empty bucket, as the hub uses it."""
    lent = buckets.lend(s3_server)
    yield lent
    buckets.give_back(lent)


@pytest.fixture(scope="session")
def lakefs_program() -> None:
    """For tests that start a LakeFS of their own."""
    need_program("lakefs", lakefs_server.missing)


@pytest.fixture(scope="session")
def nginx_program() -> None:
    """For tests that start an nginx of their own."""
    need_program("nginx", nginx_server.missing)


@pytest.fixture(scope="session")
def lakefs(lakefs_program: None, postgres: Postgres, s3_server: S3Server) -> LakeFS:
    """One LakeFS for the run, on PostgreSQL and S3, set up with its keys."""
    return running(LakeFS, "lakefs", lakefs_server.missing)


@pytest.fixture
def new_lakefs(tmp_path: Path, lakefs_program: None, postgres: Postgres, s3_server: S3Server) -> Iterator[LakeFSServer]:
    """Another one, of this test only: nobody has set it up."""
    server = LakeFSServer.cluster(tmp_path / "lakefs", postgres.create(), s3_server)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_hub(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Hub]:
    """Two worker processes whose rows lie in PostgreSQL."""
    launcher = Launcher(tmp_path_factory.mktemp("hub") / "data", {"KOHAKU_HUB_DATABASE_URL": postgres.create()})
    yield from run_guarded(launcher, {}, "--workers", "2")
    assert not list(launcher.data.glob("*.sqlite3"))


@pytest.fixture(scope="session")
def new_cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, s3_server: S3Server, lakefs: LakeFS
) -> Iterator[Callable[..., Launcher]]:
    """Makes launchers of hubs on PostgreSQL, S3 and LakeFS, each with a database and a bucket of its own, or with those of `beside`:
    then it is another machine of the same cluster.
    """

    made: list[Launcher] = []

    def make(beside: Launcher | None = None, lakefs: LakeFS = lakefs, **environment: str) -> Launcher:
        common = beside.environment if beside is not None else engines(lakefs)
        made.append(Launcher(tmp_path_factory.mktemp("cluster") / "data", common | environment))
        return made[-1]

    def engines(lakefs: LakeFS) -> dict[str, str]:
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
def two_hubs(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, postgres: Postgres) -> Iterator[tuple[Hub, Hub]]:
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
    built = quick_build(Settings(data=tmp_path / "data"))
    yield built
    built.close()
