"""Every contract that has to do with rows is kept on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.services import Services, build, open_database, prepare_data
from hub.settings import Settings
from storage.database.base import Database


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
