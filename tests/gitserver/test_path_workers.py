"""The changed-path index where several workers push, read and index at once, and where its files are lost."""

import json
from pathlib import Path
from typing import Any

from tests.harness.last_commits import COMMITS, expected, grow, push, told

LIMITS = {"KOHAKU_HUB_LIMITS": json.dumps({"history_walk_commits": 80})}


def test_s1_last_commits_are_right_whichever_worker_took_the_push(launcher: Any, tmp_path: Path) -> None:
    launcher.users()
    hub = launcher.start("--workers", "2", environment=LIMITS)
    name, work = hub.repo(), tmp_path / "work.git"
    for first in (0, COMMITS):
        grow(work, first)
        push(work, hub.git_url(name))
        assert told(hub, name, 3) == [expected(work)] * 3
    grow(work, 2 * COMMITS, 5)  # the index does not have these
    push(work, hub.git_url(name))
    assert told(hub, name, 3) == [expected(work)] * 3

    made = list((hub.data / "prepared").glob("*/paths-*"))
    assert made
    made[0].write_bytes(made[0].read_bytes()[:-1])
    for path in made[1:]:
        path.unlink()
    grow(work, 2 * COMMITS + 5, 1)
    push(work, hub.git_url(name))
    assert told(hub, name, 3) == [expected(work)] * 3
    assert hub.stop() == 0
