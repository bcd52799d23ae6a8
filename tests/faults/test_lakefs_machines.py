"""Two machines of one cluster, and somebody with LakeFS's keys, on one branch at once: every acknowledged commit is there at the end."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.agreement import Agreement
from tests.lakefs.lake import Lake, Work
from tests.lakefs.rows import Rows
from tests.lakefs.test_bridge import hf_commit, resolve

ROUNDS = 8
TRIES = 60


@pytest.fixture(scope="module")
def machines(new_cluster: Callable[..., Any]) -> Iterator[list[Any]]:
    first = new_cluster()
    second = new_cluster(beside=first)
    first.users()
    second.tokens.update(first.tokens)
    hubs = [first.start(), second.start()]
    yield hubs
    for hub in hubs:
        assert hub.stop() == 0
        assert "unexpected error" not in hub.log.read_text("utf-8")


@pytest.fixture
def rows(machines: list[Any]) -> Rows:
    return Rows(machines[0].launcher.environment["KOHAKU_HUB_DATABASE_URL"])


def push_often(hub: Any, name: str, folder: Path) -> list[str]:
    """As a person does: when somebody was faster, pull and push again. The ids that were acknowledged."""
    work = Work(folder, hub.git_url(name))
    work("pull", "-q", "origin", "main")
    told = []
    for number in range(ROUNDS):
        told.append(work.write({f"{folder.name}/{number}": b"pushed %d" % number}))
        for _ in range(TRIES):
            if work.run("push", "-q", "origin", "main").returncode == 0:
                break
            work("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
        else:
            raise AssertionError("somebody was always faster")
        work("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    return told


def commit_often(hub: Any, name: str, folder: str) -> list[str]:
    told: list[str] = []
    for number in range(ROUNDS):
        for _ in range(TRIES):
            answer = hf_commit(hub, name, {f"{folder}/{number}": f"hf {number}"})
            if answer.status == 200:
                break
            assert answer.status in (409, 412, 503), answer
        told.append(answer.json()["commitOid"])
    return told


def change_often(lake: Any) -> list[str]:
    return [lake.change("main", {f"direct/{number}": b"direct %d" % number}) for number in range(ROUNDS)]


def test_everybody_on_one_branch(machines: list[Any], rows: Rows, lakefs: Any, tmp_path: Path) -> None:
    name = machines[0].repo()
    work = Work(tmp_path / "work", machines[0].git_url(name))
    work.write({"start": b"0"})
    work.push()
    lake = Lake(lakefs, machines[0], name)
    with ThreadPoolExecutor(5) as pool:
        pushed = [pool.submit(push_often, hub, name, tmp_path / f"push{number}") for number, hub in enumerate(machines)]
        committed = [pool.submit(commit_often, hub, name, f"hf{number}") for number, hub in enumerate(machines)]
        direct = pool.submit(change_often, lake)
        told = {oid for future in (*pushed, *committed) for oid in future.result()}
        made = direct.result()

    for hub in machines:
        refs = Agreement(rows, lakefs, hub, tmp_path / f"check{hub.process.pid}").check(name)
        work("remote", "set-url", "origin", hub.git_url(name))
        work("fetch", "-q", "origin")
        there = set(work("rev-list", "origin/main").split())
        assert told <= there
        assert {id_of(rows, name, commit) for commit in made} <= there
        assert work("rev-parse", "origin/main") == refs["refs/heads/main"]
        files = work.files("origin/main")
        assert len(files) == 1 + 5 * ROUNDS
    assert set(made) <= {row["id"] for row in lake.log("main")}


def id_of(rows: Rows, name: str, commit: str) -> str:
    found = rows.run("SELECT oid FROM lakefs_commits WHERE repo_id = %s AND commit_id = %s", rows.repo_id(name), commit)
    return bytes(found[0][0]).hex()


def test_what_one_machine_writes_the_other_shows(machines: list[Any], tmp_path: Path) -> None:
    """At once, and by ids that were never there before: packs of a machine that it has not seen."""
    name = machines[0].repo()
    work = Work(tmp_path / "work", machines[0].git_url(name))
    for number in range(6):
        here, there = machines[number % 2], machines[1 - number % 2]
        work("remote", "set-url", "origin", here.git_url(name))
        tip = work.write({"file": b"%d" % number})
        work.push()
        assert resolve(there, name, "file", tip) == b"%d" % number
        assert resolve(there, name, "file") == b"%d" % number
        assert there.call("GET", f"/api/models/{name}").json()["sha"] == tip


def test_both_make_the_same_of_direct_commits(machines: list[Any], rows: Rows, lakefs: Any, tmp_path: Path) -> None:
    """They look at the same time; the id is one."""
    name = machines[0].repo()
    work = Work(tmp_path / "work", machines[0].git_url(name))
    work.write({"start": b"0"})
    work.push()
    lake = Lake(lakefs, machines[0], name)
    for number in range(5):
        lake.change("main", {f"direct{number}": b"d"})
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda hub: hub.call("GET", f"/api/models/{name}/refs").json()["branches"], machines * 2))
        tips = {row["targetCommit"] for branches in seen for row in branches if row["name"] == "main"}
        assert work.remote()["refs/heads/main"] in tips
    for hub in machines:
        Agreement(rows, lakefs, hub, tmp_path / f"check{hub.process.pid}").check(name)
