"""C git's server beside the hub."""

from collections.abc import Iterator

import pytest

from tests.differential.backend import Backend


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    server = Backend(tmp_path_factory.mktemp("cgit") / "root")
    yield server
    server.close()
