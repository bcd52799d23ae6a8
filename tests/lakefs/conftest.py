"""Hubs of a cluster and what one needs to look at them from three sides."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lakefs.lake import Lake, Work


@pytest.fixture
def hub(cluster_hub: Any) -> Any:
    return cluster_hub


@pytest.fixture
def new_work(hub: Any, tmp_path: Path) -> Callable[..., Work]:
    """Work trees on a repository of the hub; `new_work(name, "b")` is another one."""

    def make(name: str, folder: str = "work", at: Any = None) -> Work:
        return Work(tmp_path / folder, (at or hub).git_url(name))

    return make


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """What happens in the background has 20 seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.1)

    return wait


@pytest.fixture
def new_lake(hub: Any, lakefs: Any) -> Callable[[str], Lake]:
    return lambda name: Lake(lakefs, hub, name)
