"""The black-box suites of ../shared, unchanged, against a hub of this code. A skip that is not expected is a failure."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(900)  # of a whole suite; each case has its own

# Cases that skip themselves because this hub has nothing to be asked for there.
EXPECTED_SKIPS = ("not sendable",)


@pytest.fixture(scope="module", params=["embedded_hub", "postgres_hub", "cluster_hub"])
def hub(request: pytest.FixtureRequest) -> Any:
    """Everything here holds for the embedded default, and for two processes on PostgreSQL."""
    return request.getfixturevalue(request.param)


def deselected() -> str:
    """A `-k` expression without the cases of deselected.txt."""
    lines = (HERE / "deselected.txt").read_text().splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return "not (" + " or ".join(names) + ")"


def run(suite: str, hub: Any, tmp_path: Path, *options: str, choose: str = "") -> int:
    """How many cases passed; all of them, but those that skip as expected."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HUB_"))}
    environment |= {"HUB_URL": hub.url, "HUB_USER": hub.user, "HUB_TOKEN": hub.token, "HUB_USER2": hub.user2, "HUB_TOKEN2": hub.token2}
    protect = f"{Path(sys.executable).parent / 'kohakuhub'} admin protect {{user}}/{{name}} main --data {hub.data}"
    environment |= {**hub.launcher.environment, "HUB_PROTECT_CMD": protect}
    environment |= {"HUB_MULTIPART_MB": "12", "PYTHONPATH": str(HERE.parent.parent)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'cases'}"]
    command += [f"--junitxml={report}", "-k", choose or deselected(), *options]
    done = subprocess.run(command, cwd=HERE / suite, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [(case.get("name"), skip.get("message") or "") for case in cases for skip in case.iter("skipped")]
    assert [skip for skip in skips if not any(word in skip[1] for word in EXPECTED_SKIPS)] == []
    return len(cases) - len(skips)


def test_git(hub: Any, tmp_path: Path) -> None:
    assert run("git", hub, tmp_path, "-c", os.devnull, "--rootdir=.", "test_git_conformance.py") >= 145


def test_lfs(hub: Any, tmp_path: Path) -> None:
    assert run("lfs", hub, tmp_path, "test_lfs_conformance.py") >= 215


def test_lfs_on_s3(s3_hub: Any, tmp_path: Path) -> None:
    assert run("lfs", s3_hub, tmp_path, "test_lfs_conformance.py") >= 215


def test_lfs_multipart(parts_hub: Any, tmp_path: Path) -> None:
    assert run("lfs", parts_hub, tmp_path, "test_lfs_conformance.py", choose="TestHfMultipart") == 3
