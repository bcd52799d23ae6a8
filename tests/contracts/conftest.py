"""Every contract that has to do with rows is kept on both databases, and every one with S3 on both S3 servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.services import Services, build, open_database, prepare_data
from hub.settings import Settings
from storage.blobs.bucket import Bucket
from storage.database.base import Database
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
