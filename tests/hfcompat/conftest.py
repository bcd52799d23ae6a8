"""One filled repository for the tests that only read."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Filled:
    """`first` and `second` are the commits of main; `v1` and `feature/x` point to the first, the tag object `note` to the second."""

    name: str
    first: str
    second: str


@pytest.fixture(scope="module")
def filled(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    name = hub.repo()
    work = tmp_path_factory.mktemp("filled")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        environment = {**os.environ, "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *identity, *arguments], cwd=work, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    write(work)
    git("add", "-A")
    git("commit", "-q", "-m", "First\n\nA body.")
    git("tag", "v1")
    git("branch", "feature/x")
    (work / "a" / "z.txt").write_text("new")
    git("add", "-A")
    git("commit", "-q", "-m", "Second")
    git("tag", "-a", "note", "-m", "note")
    git("push", "-q", hub.git_url(name), "main", "feature/x", "v1", "note")
    return Filled(name, git("rev-parse", "main~1"), git("rev-parse", "main"))


def write(work: Path) -> None:
    for path in ("a/b/one.txt", "a/b/two.txt", "a.txt", "a-b/three.txt", "odd #?% é.txt", "page.html"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(path)
    (work / "empty").write_bytes(b"")
    (work / "README.md").write_text("---\nlicense: mit\npipeline_tag: text-generation\n---\ntext\n")
    (work / "config.json").write_text(json.dumps({"a": 1}))
