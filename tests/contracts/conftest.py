"""Every contract that has to do with rows is kept on both databases, and every one with S3 on both S3 servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.services import Services, open_database, prepare_data
from hub.settings import Settings
from storage.blobs.bucket import Bucket
from storage.database.base import Database
from storage.filecache import FileCache
from storage.limits import Limits
from storage.packs.base import PackFiles
from storage.packs.disk import DiskPackFiles
from storage.packs.s3 import S3PackFiles
from storage.records import RepoKind, RepoName, Scope
from tests.contracts.sites import Site, Sites, make_site
from tests.servers.buckets import BucketPool
from tests.servers.s3 import S3_SERVERS
from tests.two_users import quick_build

# Each implementation meets every contract in the short tier; the full product is in the long one.
_PAIRS = {("sqlite", "disk"), ("postgres", "s3_server"), ("sqlite", "versitygw")}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(item, "callspec", None)
        chosen = parameters.params if parameters is not None else {}
        if {"settings", "store_kind"} <= chosen.keys() and (chosen["settings"], chosen["store_kind"]) not in _PAIRS:
            item.add_marker(pytest.mark.long)


@pytest.fixture(params=["disk", *S3_SERVERS])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Where the bytes are."""
    return str(request.param)


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an empty database."""
    url = request.getfixturevalue("postgres").create() if request.param == "postgres" else ""
    return Settings(data=tmp_path / "data", database_url=SecretStr(url))


@pytest.fixture
def open_rows(settings: Settings) -> Iterator[Callable[[], Database]]:
    """The database once more each time, as another process opens it."""
    made: list[Database] = []

    def open_once_more() -> Database:
        made.append(open_database(settings, prepare_data(settings.data)))
        return made[-1]

    yield open_once_more
    for database in made:
        database.close()


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    built = quick_build(settings)
    yield built
    built.close()


@pytest.fixture
def open_bucket(request: pytest.FixtureRequest, buckets: BucketPool) -> Iterator[Callable[[str], Bucket]]:
    """An empty bucket on one of the S3_SERVERS."""
    lent: list[Bucket] = []

    def lend(server: str) -> Bucket:
        lent.append(buckets.lend(request.getfixturevalue(server)))
        return lent[-1]

    yield lend
    for bucket in lent:
        buckets.give_back(bucket)


@pytest.fixture(params=S3_SERVERS)
def bucket(request: pytest.FixtureRequest, open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket(request.param)


@pytest.fixture
def new_site(store_kind: str, open_bucket: Callable[[str], Bucket], services: Services, tmp_path: Path) -> Iterator[Sites]:
    """One more machine each time, on the same repository."""
    services.background_repack.close()
    bucket = open_bucket(store_kind) if store_kind != "disk" else None
    actor = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
    repo = services.repos.create(actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    made: list[Site] = []

    def start(**limits: int) -> Site:
        folder = tmp_path / f"machine{len(made)}"
        for name in ("incoming", "cache"):
            (folder / name).mkdir(parents=True)
        files: PackFiles = DiskPackFiles(services.settings.data / "git")
        if bucket is not None:
            files = S3PackFiles(bucket, FileCache(folder / "cache", 1 << 30), folder / "incoming")
        made.append(make_site(services, repo, actor, files, folder / "incoming", Limits(**limits)))
        return made[-1]

    yield start
    for site in made:
        site.repacker.close()
    assert list(tmp_path.glob("machine*/incoming/*")) == []


@pytest.fixture
def site(new_site: Sites) -> Site:
    return new_site()
