"""A push of a few trees that expand to very many paths is refused before LakeFS is told of any (G14)."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.lakefs.lake import Work


def test_g14_a_git_bomb_is_refused_at_once(hub: Any, new_work: Callable[..., Work]) -> None:
    work = new_work(hub.repo())
    work.write({"a": b"1"})
    work.push()
    entry = "100644 blob " + work("hash-object", "-w", "a")
    for _ in range(10):
        listing = "".join(f"{entry}\t{letter}\n" for letter in "abcdefghij")
        made = subprocess.run(["git", "mktree"], cwd=work.folder, input=listing, capture_output=True, text=True, check=True, timeout=60)
        entry = f"040000 tree {made.stdout.strip()}"
    bomb = work("commit-tree", "-p", "main", "-m", "bomb", entry.split()[-1])
    started = time.monotonic()
    refused = work.refused("push", "origin", f"{bomb}:refs/heads/main")

    assert "changes 10,000,000,001 paths, 500,000 are taken" in refused
    assert time.monotonic() - started < 10  # of which the counting takes milliseconds
    work.write({"a": b"2"})
    work.push()
