"""LakeFS refuses, is slow, hangs, breaks off or is out of order: what is known is served, writes are refused plainly, then all is well."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.versions.lakefs.names import repository_id
from tests.faults.agreement import Agreement
from tests.faults.killing import Place, behind_proxy
from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit, resolve
from tests.servers.lakeproxy import Fault

LIMITS = {"lakefs_connect_seconds": 1, "lakefs_read_seconds": 1, "lakefs_commit_seconds": 2, "lakefs_look_seconds": 1}
LONGEST = 25  # seconds for any answer
DOWN = [Fault.REFUSED, Fault.HANGING, Fault.CUT, Fault.BROKEN, Fault.BUSY]
EACH = pytest.mark.parametrize("fault", DOWN, ids=lambda fault: fault.name.lower())


@pytest.fixture(scope="module")
def place(new_cluster: Callable[..., Any], lakefs: Any) -> Iterator[Place]:
    yield from behind_proxy(new_cluster, lakefs, KOHAKU_HUB_LIMITS=json.dumps(LIMITS))


@pytest.fixture
def work(place: Place, tmp_path: Path) -> Work:
    made = Work(tmp_path / "work", place.hub.git_url(place.hub.repo()))
    made.write({"a": b"1", "d/b": b"2"})
    made.push("main", "main:side")
    return made


def name_of(work: Work) -> str:
    return "/".join(work.url.removesuffix(".git").rsplit("/", 2)[1:])


def within(seconds: float, act: Callable[[], Any]) -> Any:
    started = time.monotonic()
    answer = act()
    assert time.monotonic() - started < seconds
    return answer


@EACH
def test_reads_go_on(place: Place, work: Work, tmp_path: Path, fault: Fault) -> None:
    hub, name = place.hub, name_of(work)
    with place.proxy.fault(fault):
        clone = Work(tmp_path / "clone", work.url)
        within(LONGEST, lambda: clone("pull", "-q", "origin", "main"))
        assert clone.files() == {"a": b"1", "d/b": b"2"}
        assert within(LONGEST, lambda: resolve(hub, name, "a")) == b"1"
        for what in ("", "/tree/main", "/refs", "/commits/main"):
            assert within(LONGEST, partial(hub.call, "GET", f"/api/models/{name}{what}")).status == 200
        ready = within(LONGEST, lambda: hub.call("GET", "/readyz", token=""))
    assert ready.status == 503
    assert "LakeFS" in ready.json()["lakefs"]
    assert hub.call("GET", "/readyz", token="").status == 200


@EACH
def test_a_push_is_refused_and_the_next_goes(place: Place, work: Work, tmp_path: Path, fault: Fault) -> None:
    before = work.remote()
    tip = work.write({"a": b"2", "c": b"3"})
    with place.proxy.fault(fault):
        said = within(LONGEST, lambda: work.refused("push", "origin", "main", "main:new", ":side"))
        assert within(LONGEST, work.remote) == before
    assert "LakeFS" in said
    assert "Try again" in said
    work("push", "-q", "origin", "main", "main:new", ":side")

    refs = Agreement(place.rows, place.lakefs, place.hub, tmp_path).check(name_of(work))
    assert refs == {"refs/heads/main": tip, "refs/heads/new": tip}
    assert place.rows.operations(name_of(work)) == 0


@EACH
def test_a_commit_is_refused_and_the_next_goes(place: Place, work: Work, tmp_path: Path, fault: Fault) -> None:
    name = name_of(work)
    with place.proxy.fault(fault):
        refused = within(LONGEST, lambda: hf_commit(place.hub, name, {"x": "1"}))
    assert refused.status == 503
    assert "LakeFS" in refused.headers["X-Error-Message"]
    assert refused.headers["Retry-After"]
    made = hf_commit(place.hub, name, {"x": "1"})

    assert made.status == 200
    assert Agreement(place.rows, place.lakefs, place.hub, tmp_path).check(name)["refs/heads/main"] == made.json()["commitOid"]


CALLS = ["POST .*/branches$", "PUT .*/staging/backing", "POST .*/_tx-[^/]*/commits", "POST .*/merge/", "GET .*/commits/", "DELETE .*/_tx-"]


@pytest.mark.parametrize("call", CALLS, ids=["scratch", "link", "commit", "merge", "read", "drop"])
@pytest.mark.parametrize("fault", [Fault.HANGING, Fault.CUT, Fault.BROKEN], ids=lambda fault: fault.name.lower())
def test_one_call_that_fails(place: Place, work: Work, tmp_path: Path, fault: Fault, call: str) -> None:
    """Whatever the client was told, the next push goes, and what was acknowledged is there."""
    tip = work.write({"a": b"2", "c": b"3"})
    with place.proxy.fault(fault, call):
        done = within(LONGEST, lambda: work.run("push", "origin", "main"))
        if done.returncode:
            assert b"LakeFS" in done.stderr
        else:
            assert work.remote()["refs/heads/main"] == tip
    work.push()
    refs = Agreement(place.rows, place.lakefs, place.hub, tmp_path).check(name_of(work))

    assert refs["refs/heads/main"] == tip
    assert place.rows.operations(name_of(work)) == 0


def test_a_slow_lakefs_makes_slow_answers(place: Place, work: Work, tmp_path: Path) -> None:
    with place.proxy.fault(Fault.SLOW):
        tip = work.write({f"f{number}": os.urandom(9) for number in range(20)})
        work.push()
        assert resolve(place.hub, name_of(work), "a") == b"1"
        assert place.hub.call("GET", "/readyz", token="").status == 200
    assert Agreement(place.rows, place.lakefs, place.hub, tmp_path).check(name_of(work))["refs/heads/main"] == tip


def test_direct_commits_that_came_during_an_outage_appear_after_it(place: Place, work: Work) -> None:
    name = name_of(work)
    with place.proxy.fault(Fault.REFUSED):
        Lake(place.lakefs, place.hub, name).change("main", {"direct": b"d"})
        assert place.hub.call("GET", f"/{name}/resolve/main/direct").status == 404
    until = time.monotonic() + 20
    while place.hub.call("GET", f"/{name}/resolve/main/direct").status != 200:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_repositories_that_came_and_went_during_an_outage(place: Place) -> None:
    """The recovery of the next start makes them, tells LakeFS their new names, and deletes them."""
    hub = place.hub
    gone, old = hub.repo(), hub.repo()
    new = f"alice/r{uuid.uuid4().hex[:8]}"
    ids = {name: repository_id(place.rows.repo_id(name)) for name in (gone, old)}
    with place.proxy.fault(Fault.REFUSED):
        made = hub.repo()
        assert hub.call("DELETE", "/api/repos/delete", {"type": "model", "name": gone.partition("/")[2]}).status == 200
        assert hub.call("POST", "/api/repos/move", {"type": "model", "fromRepo": old, "toRepo": new}).status == 200
    ids[made] = repository_id(place.rows.repo_id(made))
    assert hub.stop() == 0
    place.start()
    until = time.monotonic() + 30
    while (found := {name: place.lakefs.call("GET", f"/repositories/{ids[name]}/metadata") for name in ids})[gone][0] != 404:
        assert time.monotonic() < until
        time.sleep(0.1)
    while place.lakefs.call("GET", f"/repositories/{ids[made]}")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.1)

    while found[old][1]["hub.name"] != new.partition("/")[2]:
        assert time.monotonic() < until
        found = {name: place.lakefs.call("GET", f"/repositories/{ids[name]}/metadata") for name in ids}
