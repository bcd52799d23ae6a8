"""The black-box suites of ../shared, unchanged, against a hub of this code. A skip that is not expected is a failure."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.servers.s3 import S3Server

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(900)  # of a whole suite; each case has its own

# Cases that skip themselves because this hub has nothing to be asked for there.
EXPECTED_SKIPS = ("not sendable",)


@pytest.fixture(scope="module", params=["embedded_hub", "postgres_hub", "cluster_hub"])
def hub(request: pytest.FixtureRequest) -> Any:
    """Everything here holds for the embedded default, and for two processes on PostgreSQL."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def direct_hub(new_launcher: Any, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    limits = {"lfs_direct_bytes": 1, "lfs_multipart_bytes": 2 << 20, "lfs_part_bytes": 5 << 20}
    environment = s3_server.environment(s3_server.make_bucket(), PUBLIC_ENDPOINT=s3_server.endpoint)
    launcher = new_launcher(tmp_path_factory.mktemp("direct") / "data", environment | {"KOHAKU_HUB_LIMITS": json.dumps(limits)})
    launcher.users()
    running = launcher.start()
    yield running
    assert running.stop() == 0


def deselected() -> str:
    """A `-k` expression without the cases of deselected.txt."""
    lines = (HERE / "deselected.txt").read_text().splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return "not (" + " or ".join(names) + ")"


@pytest.fixture(scope="module")
def pair_hub(new_launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its second user is an administrator: both may write to the repositories of the first one."""
    launcher = new_launcher(tmp_path_factory.mktemp("pair") / "data")
    launcher.users()
    with closing(sqlite3.connect(launcher.data / "hub.sqlite3")) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE name = 'bob'")
    running = launcher.start()
    yield running
    assert running.stop() == 0


def run(
    suite: str,
    hub: Any,
    tmp_path: Path,
    *options: str,
    choose: str = "",
    expected: tuple[str, ...] = EXPECTED_SKIPS,
    shared_namespace: str = "",
) -> int:
    """How many cases passed; all of them, but those that skip as expected."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HUB_"))}
    environment |= {"HUB_URL": hub.url, "HUB_USER": hub.user, "HUB_TOKEN": hub.token, "HUB_USER2": hub.user2, "HUB_TOKEN2": hub.token2}
    protect = f"{Path(sys.executable).parent / 'kohakuhub'} admin protect {{user}}/{{name}} main --data {hub.data}"
    environment |= {**hub.launcher.environment, "HUB_PROTECT_CMD": protect}
    environment |= {"HUB_SHARED_NS": shared_namespace} if shared_namespace else {}
    environment |= {"HUB_MULTIPART_MB": "12", "PYTHONPATH": str(HERE.parent.parent)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'cases'}"]
    command += [f"--junitxml={report}", "-k", choose or deselected(), *options]
    done = subprocess.run(command, cwd=HERE / suite, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [(case.get("name"), skip.get("message") or "") for case in cases for skip in case.iter("skipped")]
    assert [skip for skip in skips if not any(word in skip[1] for word in expected)] == []
    return len(cases) - len(skips)


def test_git(hub: Any, tmp_path: Path) -> None:
    assert run("git", hub, tmp_path, "-c", os.devnull, "--rootdir=.", "test_git_conformance.py") >= 145


def test_lfs(hub: Any, tmp_path: Path) -> None:
    assert run("lfs", hub, tmp_path, "test_lfs_conformance.py") >= 215


def test_lfs_on_s3(s3_hub: Any, tmp_path: Path) -> None:
    assert run("lfs", s3_hub, tmp_path, "test_lfs_conformance.py") >= 215


def test_lfs_without_the_hub(direct_hub: Any, tmp_path: Path) -> None:
    """Every object of more than one byte goes to S3 by itself. Two cases ask S3 what only the hub does: to refuse other bytes of the right
    length before they are verified, and If-Range.
    """
    choose = f"{deselected()} and not test_upload_url_writes_only_its_own_object and not test_if_range"
    expected = (*EXPECTED_SKIPS, "objects are on another host")
    assert run("lfs", direct_hub, tmp_path, "test_lfs_conformance.py", choose=choose, expected=expected) >= 205


def test_lfs_multipart(parts_hub: Any, tmp_path: Path) -> None:
    assert run("lfs", parts_hub, tmp_path, "test_lfs_conformance.py", choose="TestHfMultipart") == 3


def test_lfs_locks_of_two(pair_hub: Any, tmp_path: Path) -> None:
    choose = "test_two_writers or test_lock_of_another"
    assert run("lfs", pair_hub, tmp_path, "test_lfs_conformance.py", choose=choose, shared_namespace="alice") == 2
