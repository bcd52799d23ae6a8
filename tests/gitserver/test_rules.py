"""Branch rules, by real pushes and through the API."""

from pathlib import Path
from typing import Any

import pytest

from gitserver.update.branch_rules import BranchRule
from tests.gitserver.test_push import Pushing


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    return Pushing(hub, tmp_path / "work")


def put(hub: Any, name: str, *rules: dict[str, Any], token: str | None = None) -> Any:
    return hub.call("PUT", f"/api/models/{name}/branch-rules", {"rules": list(rules)}, token=token)


def test_force_and_deletion(hub: Any, pushing: Pushing) -> None:
    pushing.commit()
    tip = pushing.commit(text="2")
    pushing("push", "-q", pushing.url, "main", "main:release/1", "main:free")
    answer = put(
        hub, pushing.name, {"pattern": "main", "forbidForce": True}, {"pattern": "release/*", "forbidForce": True, "forbidDeletion": True}
    )
    assert answer.status == 200
    assert answer.json() == hub.call("GET", f"/api/models/{pushing.name}/branch-rules").json()
    pushing("reset", "-q", "--hard", "HEAD~1")
    other = pushing.commit("g")

    assert "protected branch: force pushes are not allowed" in pushing.refused("--force", "main")
    assert "force pushes are not allowed" in pushing.refused("--force", "main:release/1")
    assert "may not be deleted" in pushing.refused(":release/1")
    pushing("push", "-q", "--force", pushing.url, "main:free")
    pushing("push", "-q", pushing.url, ":free")
    assert hub.call("DELETE", f"/api/models/{pushing.name}/branch/release/1").status == 409
    pushing("reset", "-q", "--hard", tip)
    pushing.commit("h")
    pushing("push", "-q", pushing.url, "main", f"{tip}:refs/heads/release/2", f"{other}:refs/heads/unruled")
    assert put(hub, pushing.name).json() == {"rules": []}
    pushing("push", "-q", "--force", pushing.url, f"{other}:main")
    assert pushing.refs()["refs/heads/main"] == other


def test_linear_history(hub: Any, pushing: Pushing) -> None:
    pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    put(hub, pushing.name, {"pattern": "*", "forbidMerges": True})
    pushing("checkout", "-q", "-b", "side")
    pushing.commit("s")
    pushing("checkout", "-q", "main")
    pushing.commit("m")
    pushing("push", "-q", pushing.url, "main")
    pushing("merge", "-q", "--no-edit", "side")

    assert "merge commits are not allowed" in pushing.refused("main")
    assert "merge commits are not allowed" in pushing.refused("main:other")
    put(hub, pushing.name)
    pushing("push", "-q", pushing.url, "main:other")
    put(hub, pushing.name, {"pattern": "*", "forbidMerges": True})
    pushing.commit("after")
    pushing("push", "-q", pushing.url, "main:other")  # what was there before is not judged


def test_a_new_branch_of_linear_history_may_be_cut_from_the_default_branch(hub: Any, pushing: Pushing) -> None:
    pushing.commit()
    pushing("checkout", "-q", "-b", "side")
    pushing.commit("s")
    pushing("checkout", "-q", "main")
    pushing.commit("m")
    pushing("merge", "-q", "--no-edit", "side")
    pushing("push", "-q", pushing.url, "main")
    put(hub, pushing.name, {"pattern": "release/*", "forbidMerges": True})

    pushing("push", "-q", pushing.url, "main:refs/heads/release/1")
    pushing.commit("after")
    pushing("push", "-q", pushing.url, "main:refs/heads/release/2")
    pushing("checkout", "-q", "-b", "other", "HEAD~1")
    pushing.commit("o")
    pushing("merge", "-q", "--no-edit", "main")
    pushing("push", "-q", pushing.url, "other")
    assert "merge commits are not allowed" in pushing.refused("other:refs/heads/release/3")


def test_who_may_and_what_is_no_rule(hub: Any) -> None:
    name = hub.repo()
    assert put(hub, name, {"pattern": "main"}, token=hub.token2).status == 403
    assert put(hub, name, {"pattern": "main"}, token="").status == 401
    for wrong in (
        {"pattern": ""},
        {"pattern": "a b"},
        {"pattern": "x" * 201},
        {"pattern": 1},
        {"pattern": "m", "force": True},
        {"pattern": "m", "forbidForce": 1},
    ):
        assert put(hub, name, wrong).status == 400
    assert put(hub, name, {"pattern": "m"}, {"pattern": "m"}).status == 400
    assert put(hub, name, *[{"pattern": f"b{n}"} for n in range(101)]).status == 400
    assert hub.call("GET", f"/api/models/{name}/branch-rules").json() == {"rules": []}


@pytest.mark.parametrize(
    ("pattern", "branch", "is_covered"),
    [("main", b"main", True), ("main", b"main2", False), ("release/*", b"release/1/x", True), ("*", b"a/b", True), ("v?", b"v1", True)],
)
def test_patterns(pattern: str, branch: bytes, is_covered: bool) -> None:
    assert BranchRule(pattern, True, True, True).covers(branch) is is_covered
