"""What things cost in calls to LakeFS."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit, resolve
from tests.servers.lakeproxy import Call, LakeProxy

QUIET_SECONDS = 0.5


@pytest.fixture(scope="module")
def proxy(lakefs: Any) -> Iterator[LakeProxy]:
    made = LakeProxy(lakefs.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hub(proxy: LakeProxy, new_cluster: Callable[..., Any]) -> Iterator[Any]:
    launcher = new_cluster(KOHAKU_HUB_LAKEFS_ENDPOINT=proxy.url)
    launcher.users()
    running = launcher.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def work(hub: Any, lakefs: Any, tmp_path: Path) -> Work:
    """A repository with one commit, known to LakeFS."""
    made = Work(tmp_path / "work", hub.git_url(hub.repo()))
    made.write({f"f{number}": b"%d" % number for number in range(10)})
    made.push()
    made.remote()
    Lake(lakefs, hub, name_of(made)).wait_until_tidy()
    return made


def name_of(work: Work) -> str:
    return "/".join(work.url.removesuffix(".git").rsplit("/", 2)[1:])


@pytest.fixture
def count(proxy: LakeProxy) -> Callable[[Callable[[], Any]], list[Call]]:
    """The calls that something makes, those after its answer too."""

    def run(act: Callable[[], Any]) -> list[Call]:
        time.sleep(QUIET_SECONDS)  # what was done before ends
        with proxy.calls() as calls:
            act()
            time.sleep(QUIET_SECONDS)
        assert [str(call) for call in calls if call.status >= 400 and call.status != 404] == []
        return calls

    return run


def kinds(calls: list[Call]) -> list[str]:
    return [f"{call.method} {call.path}" for call in calls]


@pytest.mark.parametrize("commits", [1, 200])
def test_a_push_of_p_paths_costs_6_and_p(work: Work, count: Any, commits: int) -> None:
    """However many commits it has, the advertisement and the tidying up after it included."""
    for number in range(commits):
        tip = work.write({**{f"f{path}": os.urandom(10) for path in range(5)}, "new": b"%d" % number}, f"commit {number}")
    calls = count(work.push)

    assert len(calls) <= 6 + 6, kinds(calls)
    assert work.remote()["refs/heads/main"] == tip


def test_deletions_cost_one_call_a_thousand(work: Work, count: Any) -> None:
    work.write({f"f{number}": None for number in range(8)})
    calls = count(work.push)

    assert len(calls) <= 6 + 1, kinds(calls)


def test_a_force_push_costs_as_much(work: Work, count: Any) -> None:
    work("commit", "-q", "--amend", "-m", "other")
    work.write({"f0": b"other"})
    calls = count(lambda: work("push", "-q", "-f", "origin", "main"))

    assert len(calls) <= 6 + 1, kinds(calls)


@pytest.mark.parametrize("files", [1, 30])
def test_a_commit_of_k_files_costs_6_and_k(hub: Any, work: Work, count: Any, files: int) -> None:
    answers: list[Any] = []
    calls = count(lambda: answers.append(hf_commit(hub, name_of(work), {f"k{n}": f"{n} {time.time()}" for n in range(files)})))

    assert answers[0].status == 200
    assert len(calls) <= 6 + files, kinds(calls)


def test_a_branch_at_a_known_commit_costs_a_few(work: Work, count: Any) -> None:
    calls = count(lambda: work.push("main:refs/heads/other"))
    assert len(calls) <= 5, kinds(calls)
    gone = count(lambda: work.push(":other"))
    assert len(gone) <= 5, kinds(gone)


def test_reads_cost_a_look_at_most(hub: Any, work: Work, count: Any, tmp_path: Path) -> None:
    """A look is two calls: branches and tags."""
    name = name_of(work)
    reads: dict[str, Callable[[], Any]] = {
        "resolve": lambda: resolve(hub, name, "f1"),
        "info": lambda: hub.call("GET", f"/api/models/{name}"),
        "tree": lambda: hub.call("GET", f"/api/models/{name}/tree/main"),
        "commits": lambda: hub.call("GET", f"/api/models/{name}/commits/main"),
        "ls-remote": work.remote,
    }
    for what, read in reads.items():
        calls = count(read)
        assert len(calls) <= 2, (what, kinds(calls))
        assert {call.path.partition("?")[0].rpartition("/")[2] for call in calls} <= {"branches", "tags"}
    many = count(lambda: [resolve(hub, name, "f1") for _ in range(20)])
    assert len(many) <= 2 * 3, kinds(many)


def test_a_clone_does_not_grow_with_history(hub: Any, work: Work, count: Any, tmp_path: Path) -> None:
    def clone(folder: str) -> list[Call]:
        calls: list[Call] = count(lambda: Work(tmp_path / folder, work.url)("fetch", "-q", "origin"))
        return calls

    before = len(clone("one"))
    for number in range(3):
        work.write({"f0": b"%d" % number})
        work.push()
    after = len(clone("two"))

    assert (before <= 4, after <= before) == (True, True), (before, after)
