"""The black-box suites of ../shared, unchanged, against a hub of this code. A skip that is not expected is a failure."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Cases that skip themselves because this hub has nothing to be asked for there.
EXPECTED_SKIPS = ("HUB_PROTECT_CMD", "not sendable")


def deselected() -> str:
    """A `-k` expression without the cases of deselected.txt."""
    lines = (HERE / "deselected.txt").read_text().splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return "not (" + " or ".join(names) + ")"


def run(suite: str, hub: Any, tmp_path: Path, *options: str) -> int:
    """How many cases passed; all of them, but those that skip as expected."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HUB_"))}
    environment |= {"HUB_URL": hub.url, "HUB_USER": hub.user, "HUB_TOKEN": hub.token, "HUB_USER2": hub.user2, "HUB_TOKEN2": hub.token2}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'cases'}"]
    folder = HERE / suite
    done = subprocess.run([*command, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    skips = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    unexpected = [line for line in skips if not any(word in line for word in EXPECTED_SKIPS)]
    assert not unexpected, unexpected
    return int(re.findall(r"(\d+) passed", done.stdout)[-1])


def test_git(hub: Any, tmp_path: Path) -> None:
    passed = run("git", hub, tmp_path, "-c", os.devnull, "--rootdir=.", "-k", deselected(), "test_git_conformance.py")

    assert passed >= 140


def test_lfs(hub: Any, tmp_path: Path) -> None:
    passed = run("lfs", hub, tmp_path, "-k", deselected(), "test_lfs_conformance.py")

    assert passed >= 215
