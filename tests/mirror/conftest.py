"""A source elsewhere, and hubs that may reach it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.source import ROOT, Elsewhere, make, serving
from tests.servers.needs import need

LIMITS = {"job_lease_seconds": 3, "job_back_off_seconds": 1, "mirror_seconds": 1, "import_lfs_at_once": 1}


def mirroring(**limits: int) -> dict[str, str]:
    return {"KOHAKU_HUB_IMPORT_PRIVATE": "true", "KOHAKU_HUB_LIMITS": json.dumps(LIMITS | limits)}


@pytest.fixture(scope="session")
def made_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("" if (ROOT / ".venv" / "bin" / "git-lfs").exists() or shutil.which("git-lfs") else "git-lfs is missing: make test installs it")
    return make(tmp_path_factory.mktemp("source") / "made").folder


@pytest.fixture
def elsewhere(made_source: Path, tmp_path: Path) -> Iterator[Elsewhere]:
    """The source, of this test only."""
    shutil.copytree(made_source, tmp_path / "elsewhere", symlinks=True)
    with serving(Elsewhere(tmp_path / "elsewhere")) as there:
        yield there


@pytest.fixture(params=["sqlite", "postgres"])
def follower(request: pytest.FixtureRequest, tmp_path: Path, new_launcher: Any) -> Iterator[Any]:
    """A hub that may connect to loopback; on PostgreSQL it has two workers."""
    rows = {} if request.param == "sqlite" else {"KOHAKU_HUB_DATABASE_URL": request.getfixturevalue("postgres").create()}
    made = new_launcher(tmp_path / "follower", mirroring() | rows)
    made.users()
    running = made.start("--workers", "1" if request.param == "sqlite" else "2")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text("utf-8")


@pytest.fixture
def start_follower(launcher: Any) -> Iterator[Callable[..., Any]]:
    """Starts hubs on one data directory, with other limits if need be; those that still run are stopped at the end."""
    started: list[Any] = []
    launcher.users()

    def start(**limits: int) -> Any:
        started.append(launcher.start(environment=mirroring(**limits)))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            assert running.stop() == 0
        assert "Traceback" not in running.log.read_text("utf-8")
