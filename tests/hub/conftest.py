"""The hub as an operator starts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hubs import Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    made = Launcher(tmp_path / "data", is_real=True)
    yield made
    made.close()
