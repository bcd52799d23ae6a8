"""Direct commits in LakeFS between any two calls of an update, and workers that wake up after others ended their work."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.agreement import Agreement
from tests.faults.killing import Place, behind_proxy
from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit
from tests.servers.lakeproxy import Moment, Trap

CALLS = [
    "GET /branches/main",
    "POST /branches$",
    "PUT /branches/_tx-[^/]*/staging/backing",
    "POST /branches/_tx-[^/]*/commits",
    "POST /refs/_tx-[^/]*/merge/main",
    "GET /commits/",
    "DELETE /branches/_tx-",
]
IDS = ["check", "scratch", "link", "commit", "merge", "read", "drop"]
BETWEEN = CALLS[1:5]  # once the hub has looked, and before the branch moves


@pytest.fixture(scope="module")
def place(new_cluster: Callable[..., Any], lakefs: Any) -> Iterator[Place]:
    yield from behind_proxy(new_cluster, lakefs)


@pytest.fixture
def agreement(place: Place, tmp_path: Path) -> Agreement:
    return Agreement(place.rows, place.lakefs, place.hub, tmp_path)


class Ours:
    """A repository with `main` and `side`, from all sides."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.name = place.hub.repo()
        self.work = Work(folder / "work", place.hub.git_url(self.name))
        self.start = self.work.write({"a": b"1", "b": b"2"})
        self.work.push("main", "main:side")
        self.lake: Lake = Lake(place.lakefs, place.hub, self.name)
        self.lake.wait_until_tidy()

    def when(self, call: str, act: Callable[[], Any], *, number: int = 1, moment: Moment = Moment.BEFORE, drop: bool = False) -> Trap:
        method, path = call.split(" ", 1)
        return self.place.proxy.arm(Trap(f"^{method} /repositories/{self.lake.id}{path}", act, number, moment, is_dropped=drop))

    def push(self, *arguments: str) -> tuple[bool, str, str]:
        """Whether it went, what git said, and the packets that it got."""
        done = self.work.run("push", *arguments, environment={"GIT_TRACE_PACKET": "1"})
        text = done.stderr.decode()
        said = "\n".join(line for line in text.splitlines() if " packet: " not in line)
        return done.returncode == 0, said, "\n".join(line for line in text.splitlines() if " packet: " in line)

    def head(self, branch: str = "main") -> str:
        return self.lake.branches()[branch]


@pytest.fixture
def ours(place: Place, tmp_path: Path) -> Ours:
    return Ours(place, tmp_path)


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_other_paths_are_joined(ours: Ours, agreement: Agreement, call: str) -> None:
    """The push is answered with the merge commit that the branch is at; both changes are there."""
    trap = ours.when(call, lambda: ours.lake.change("main", {"direct": b"d"}))
    tip = ours.work.write({"pushed": b"p"})
    is_done, said, packets = ours.push("origin", "main")
    assert trap.sprung.wait(30)
    refs = agreement.check(ours.name)

    if call == CALLS[0]:  # the hub sees it in time: an ordinary refusal
        assert not is_done
        assert "fetch first" in said
        ours.work("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
        ours.work.push()
        return
    assert is_done, said
    ours.work("fetch", "-q", "origin")
    assert set(ours.work.files("origin/main")) == {"a", "b", "pushed", "direct"}
    assert tip in ours.work("rev-list", "origin/main").split()
    if call in BETWEEN:
        assert f"option new-oid {refs['refs/heads/main']}" in packets
        assert ours.work("rev-parse", "origin/main^2") == tip


@pytest.mark.parametrize("call", BETWEEN, ids=IDS[1:5])
def test_the_same_path_is_refused(ours: Ours, agreement: Agreement, call: str) -> None:
    ours.when(call, lambda: ours.lake.change("main", {"a": b"direct"}))
    ours.work.write({"a": b"pushed"})
    is_done, said, _ = ours.push("origin", "main")

    assert not is_done
    assert "fetch first: the same files were changed in LakeFS" in said
    agreement.check(ours.name)
    ours.work("fetch", "-q", "origin")
    assert ours.work.files("origin/main")["a"] == b"direct"
    assert ours.work("rev-list", "--count", "origin/main") in ("2", "3")


def test_the_same_path_in_a_commit_of_a_hugging_face_client(ours: Ours, agreement: Agreement) -> None:
    ours.when(BETWEEN[2], lambda: ours.lake.change("main", {"a": b"direct"}))
    answer = hf_commit(ours.place.hub, ours.name, {"a": "hf"})

    assert answer.status in (409, 412)
    assert "LakeFS" in answer.headers["X-Error-Message"]
    assert hf_commit(ours.place.hub, ours.name, {"a": "hf"}).status == 200
    agreement.check(ours.name)


def test_other_paths_in_a_commit_of_a_hugging_face_client(ours: Ours, agreement: Agreement) -> None:
    """It is told where the branch stands."""
    ours.when(BETWEEN[2], lambda: ours.lake.change("main", {"direct": b"d"}))
    answer = hf_commit(ours.place.hub, ours.name, {"hf": "1"})

    assert answer.status == 200
    assert agreement.check(ours.name)["refs/heads/main"] == answer.json()["commitOid"]


def test_what_lakefs_cannot_hold_survives_a_join(ours: Ours, agreement: Agreement) -> None:
    """A submodule is in git alone; the merge commit has it, too."""
    ours.work("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    ours.work("commit", "-qm", "submodule")
    ours.work("rm", "-q", "--cached", "a")
    ours.work("commit", "-qm", "without a")
    ours.when(BETWEEN[2], lambda: ours.lake.change("main", {"direct": b"d"}))
    is_done, said, _ = ours.push("origin", "main")

    assert is_done, said
    ours.work("fetch", "-q", "origin")
    assert set(ours.work("ls-tree", "-r", "--name-only", "origin/main").split()) == {"b", "direct", "sub"}


def test_staged_data_refuses_a_push(ours: Ours, agreement: Agreement) -> None:
    """On a branch that is not protected: nobody but its owner knows what it is."""
    ours.lake.put("side", "staged", b"?")
    head = ours.head("side")
    ours.work.write({"new": b"1"})
    is_done, said, _ = ours.push("origin", "main:side")

    assert not is_done
    assert "LakeFS branch side has uncommitted changes; commit or reset them there first" in said
    assert ours.head("side") == head
    ours.lake.call("PUT", "/branches/side", {"type": "reset"})
    assert ours.push("origin", "main:side")[0]
    agreement.check(ours.name)


@pytest.mark.parametrize("what", ["branch", "tag"])
def test_a_branch_that_appears_in_lakefs_meanwhile(ours: Ours, agreement: Agreement, what: str) -> None:
    made = {"name": "new", "source": "main"} if what == "branch" else {"id": "new", "ref": "main"}
    ours.when("POST /branches$", lambda: ours.lake.call("POST", "/branches" if what == "branch" else "/tags", made))
    ours.work.write({"c": b"3"})
    is_done, said, _ = ours.push("origin", "main:new")

    assert not is_done
    assert "LakeFS has a branch or a tag new" in said
    agreement.check(ours.name)
    assert "refs/heads/new" not in ours.work.remote() if what == "tag" else ours.work.remote()["refs/heads/new"] == ours.start


def test_an_atomic_push_that_is_refused_keeps_direct_commits(ours: Ours, agreement: Agreement) -> None:
    """Main is joined with a direct commit, then side is refused: what is taken back is the push alone."""
    before = ours.work.remote()
    ours.when(BETWEEN[2], lambda: ours.lake.change("main", {"direct": b"d"}))
    ours.when("POST /branches$", lambda: ours.lake.change("side", {"b": b"direct"}), number=2)
    tip = ours.work.write({"b": b"pushed", "c": b"3"})
    is_done, said, _ = ours.push("--atomic", "origin", "main", "main:side")
    ours.work("fetch", "-q", "origin")
    refs = agreement.check(ours.name)

    assert not is_done
    assert "fetch first" in said
    assert ours.work.files("origin/main") == {"a": b"1", "b": b"2", "direct": b"d"}
    assert tip not in ours.work("rev-list", "origin/main").split()
    assert before["refs/heads/main"] in ours.work("rev-list", refs["refs/heads/main"]).split()
    agreement.tidy_up(ours.name)


def test_a_branch_that_was_changed_is_not_deleted(ours: Ours, agreement: Agreement) -> None:
    """The hub has looked, then somebody commits in LakeFS: the deletion is refused, as of any branch that has moved."""
    ours.when("GET /branches/side", lambda: ours.lake.change("side", {"direct": b"d"}), moment=Moment.AFTER)
    is_done, said, _ = ours.push("origin", ":side")

    assert not is_done
    assert "fetch first: the branch was changed in LakeFS" in said
    refs = agreement.check(ours.name)
    ours.work("fetch", "-q", "origin")
    assert ours.work.files("origin/side") == {"a": b"1", "b": b"2", "direct": b"d"}
    assert refs["refs/heads/main"] == ours.start


ZOMBIES = [*[(call, Moment.BEFORE) for call in CALLS[1:]], *[(call, Moment.AFTER) for call in CALLS[4:6]]]


@pytest.fixture(scope="module")
def other(place: Place) -> Iterator[Any]:
    """Another worker of the same cluster, at the same rows."""
    started = place.launcher.start()
    yield started
    assert started.stop() == 0


def _push_over(work: Work) -> None:
    """The first fetch may have been shown the branch before the other's push was ended, since it does not wait long for LakeFS: then
    git says `fetch first`, and the person does.
    """
    done = work.run("push", "-q", "origin", "main")
    if done.returncode != 0:
        assert b"fetch first" in done.stderr
        work("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
        work.push("main")


@pytest.mark.parametrize(("call", "moment"), ZOMBIES, ids=lambda value: value.name if isinstance(value, Moment) else value[-9:])
def test_a_worker_that_wakes_up_after_its_lease(ours: Ours, other: Any, agreement: Agreement, call: str, moment: Moment) -> None:
    """It sleeps in the middle of a push; another worker ends it and goes on. Nothing is lost and nothing is there twice."""
    place = ours.place
    asleep, woken = threading.Event(), threading.Event()

    def sleep() -> None:
        os.kill(place.hub.process.pid, signal.SIGSTOP)
        asleep.set()
        woken.wait(60)

    ours.when(call, sleep, moment=moment)
    tip = ours.work.write({"pushed": b"p"})
    with ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(ours.push, "origin", "main")
        assert asleep.wait(30)
        try:
            place.rows.end_leases()
            second = Work(ours.work.folder.parent / "second", other.git_url(ours.name))
            second("pull", "-q", "origin", "main")
            second.write({"second": b"2"})
            _push_over(second)
        finally:
            os.kill(place.hub.process.pid, signal.SIGCONT)
            woken.set()
        is_done, said, _ = pushed.result(120)
    refs = agreement.check(ours.name)

    ours.work("fetch", "-q", "origin")
    commits = ours.work("rev-list", "origin/main").split()
    assert ours.work.files("origin/main")["second"] == b"2"
    assert second("rev-parse", "HEAD") in commits
    assert (tip in commits) is ("pushed" in ours.work.files("origin/main"))
    assert tip in commits or not is_done, said
    assert len(re.findall(tip, "\n".join(str(row["metadata"].get("git.oid")) for row in ours.lake.log("main")))) <= 1
    assert ours.work("rev-parse", "origin/main") == refs["refs/heads/main"]
    place.rows.wait_for_the_end_of_operations()
