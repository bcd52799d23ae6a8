"""The changed-path index of a hub on LakeFS with its packs in S3 and two workers: last commits are right after commits of every kind."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.last_commits import expected, grow, push, told
from tests.lakefs.lake import Lake


def test_s1_last_commits_on_lakefs(hub: Any, new_lake: Callable[[str], Lake], tmp_path: Path) -> None:
    name, work = hub.repo(), tmp_path / "work.git"
    grow(work, 0)
    push(work, hub.git_url(name))
    assert told(hub, name, 3) == [expected(work)] * 3

    assert hub.launcher.admin("repack", name).returncode == 0
    made = list((hub.data / "prepared").glob("*/paths-*"))
    assert made
    grow(work, 200, 3)
    push(work, hub.git_url(name))
    assert told(hub, name, 2) == [expected(work)] * 2

    new_lake(name).change("main", {"a/direct": b"by LakeFS"})
    subprocess.run(["git", "-C", work, "fetch", "-q", hub.git_url(name), "main:main"], check=True)
    for path in made:
        path.unlink(missing_ok=True)
    assert told(hub, name, 2) == [expected(work)] * 2
    assert "a/direct" in expected(work)
