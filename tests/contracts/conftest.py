"""Every contract that has to do with rows is kept on both databases, and every one with S3 on both S3 servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.services import Services, build, open_database, prepare_data
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
from tests.servers.s3 import S3_SERVERS, S3Server


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
    built = build(settings)
    yield built
    built.close()


@pytest.fixture
def open_bucket(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Bucket]]:
    """A new, empty bucket on one of the S3_SERVERS."""
    made: list[Bucket] = []

    def open_new(server: str) -> Bucket:
        s3: S3Server = request.getfixturevalue(server)
        made.append(Bucket(s3.config(s3.make_bucket())))
        return made[-1]

    yield open_new
    for bucket in made:
        bucket.close()


@pytest.fixture(params=S3_SERVERS)
def bucket(request: pytest.FixtureRequest, open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket(request.param)


@pytest.fixture(params=["disk", *S3_SERVERS])
def new_site(request: pytest.FixtureRequest, services: Services, tmp_path: Path) -> Iterator[Sites]:
    """One more machine each time, on the same repository."""
    services.merger.close()
    bucket = request.getfixturevalue("open_bucket")(request.param) if request.param != "disk" else None
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
