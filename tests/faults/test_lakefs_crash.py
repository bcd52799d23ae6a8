"""SIGKILL of the hub before and after each call to LakeFS: then git, Hugging Face and LakeFS agree, and nothing acknowledged is lost.

The rows of the crash table in the contract, for every operation that moves refs. The hub is ended once for all stops of an operation.
What was cut short is ended by the next request for the ref, or by the recovery of a hub that starts.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.agreement import Agreement, scratch_of
from tests.faults.killing import Case, Place, Stop, around, behind_proxy, each, wait_until
from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit

GONE = ""


def recoveries(first: str) -> pytest.MarkDecorator:
    """Both ways in which what was cut short is ended; the short tier has the `first` alone."""
    (second,) = {"request", "recovery"} - {first}
    return pytest.mark.parametrize("recovery", [first, pytest.param(second, marks=pytest.mark.long)])


@pytest.fixture(scope="module")
def place(new_cluster: Callable[..., Any], lakefs: Any) -> Iterator[Place]:
    yield from behind_proxy(new_cluster, lakefs)


@pytest.fixture
def make(place: Place, tmp_path: Path) -> Iterator[Callable[..., list[Case]]]:
    """A case for each stop, on a repository with `main` and `side`, unless it is to be empty. They go when the test is over: each start of
    the hub and each check looks at all that there are.
    """
    all_of_them: list[Case] = []

    def one(number: int, stop: Stop, *, empty: bool) -> Case:
        name = place.hub.repo()
        work = Work(tmp_path / f"work{number}", place.hub.git_url(name))
        work.write({"a": b"1", "dir/b": b"2", "gone": b"3"})
        if not empty:
            work.push("main", "main:side")
        case = Case(stop, name, work, Lake(place.lakefs, place.hub, name))
        case.before = shown(case) if not empty else {}
        return case

    def some(stops: Sequence[Stop], *, empty: bool = False) -> list[Case]:
        made = [one(number, stop, empty=empty) for number, stop in enumerate(stops)]
        assert made
        all_of_them.extend(made)
        return made

    yield some
    each(all_of_them, lambda case: delete(place, case))


@pytest.fixture
def survive(place: Place, tmp_path: Path) -> Callable[[Sequence[Case], str], None]:
    """The kill, the recovery, and all that must hold after it; then the client tries again."""

    def check(agreement: Agreement, case: Case) -> None:
        refs = agreement.check(case.name)
        agreement.tidy_up(case.name)
        expected = case.wanted if case.stop.stands or case.acknowledged else case.before
        assert refs == present(expected), f"after a kill {case.stop}"
        if refs != present(case.wanted):
            assert case.act(case), f"the second try after a kill {case.stop}"
            assert agreement.check(case.name) == present(case.wanted)

    def run(cases: Sequence[Case], recovery: str) -> None:
        place.kill_at_all(cases)
        if recovery == "recovery":
            place.rows.end_leases()
        place.start()
        if recovery == "request":
            place.rows.end_leases()
            each(cases[::2], lambda case: case.work.remote())
            each(cases[1::2], try_again)  # its second try is the first that is heard of it
        place.rows.wait_for_the_end_of_operations()
        each(cases, lambda case: wait_until(lambda: scratch_of(case.lake) == [], case.stop))
        agreement = Agreement(place.rows, place.lakefs, place.hub, tmp_path)
        each(cases, lambda case: check(agreement, case))
        found = place.launcher.admin("check")
        assert (found.returncode, found.stdout) == (0, "")

    return run


def delete(place: Place, case: Case) -> None:
    body = {"type": "model", "organization": case.name.partition("/")[0], "name": case.name.partition("/")[2]}
    assert place.hub.call("DELETE", "/api/repos/delete", body).status == 200


def try_again(case: Case) -> None:
    """A branch that is deleted already cannot be deleted, and that is no success for git."""
    is_done = case.act(case)
    assert is_done or GONE in case.wanted.values(), f"the second try after a kill {case.stop}"
    case.acknowledged = True


def present(refs: dict[str, str]) -> dict[str, str]:
    return {ref: oid for ref, oid in refs.items() if oid != GONE}


def shown(case: Case) -> dict[str, str]:
    return {ref: oid for ref, oid in case.work.remote().items() if ref != "HEAD"}


def pushing(*arguments: str) -> Callable[[Case], bool]:
    return lambda case: case.work.run("push", "-q", *arguments).returncode == 0


UPDATE = [
    *around("GET /branches/main", False, False),
    *around("POST /branches$", False, False),
    *around("POST /branches/_tx-[^/]*/objects/delete", False, False),
    *around("PUT /branches/_tx-[^/]*/staging/backing", False, False),
    *around("PUT /branches/_tx-[^/]*/staging/backing", False, False, 3),
    *around("POST /branches/_tx-[^/]*/commits", False, False),
    *around("POST /refs/_tx-[^/]*/merge/main", False, True),
    *around("GET /commits/", True, True),
    *around("DELETE /branches/_tx-", True, True),
]


@recoveries("request")
def test_a_push_to_a_branch(make: Any, survive: Any, recovery: str) -> None:
    cases = make(UPDATE)
    for case in cases:
        tip = case.work.write({"a": b"new", "c": b"4", "dir/d": b"5", "gone": None})
        case.wanted = case.before | {"refs/heads/main": tip}
        case.act = pushing("origin", "main")
    survive(cases, recovery)


@recoveries("recovery")
def test_a_force_push(make: Any, survive: Any, recovery: str) -> None:
    cases = make(UPDATE[-8:])
    for case in cases:
        case.work("checkout", "-q", "--orphan", "fresh")
        case.work("rm", "-rqf", ".")
        tip = case.work.write({"a": b"other", "x": b"4", "y": b"5"})
        case.wanted = case.before | {"refs/heads/main": tip}
        case.act = pushing("-f", "origin", "fresh:main")
    survive(cases, recovery)


@recoveries("request")
def test_a_first_push(make: Any, survive: Any, recovery: str) -> None:
    cases = make([stop for stop in UPDATE if "delete" not in stop.pattern], empty=True)
    for case in cases:
        case.wanted = {"refs/heads/main": case.work("rev-parse", "main")}
        case.act = pushing("origin", "main")
    survive(cases, recovery)


@recoveries("recovery")
def test_a_new_branch_with_commits(make: Any, survive: Any, recovery: str) -> None:
    stops = [
        *around("POST /branches$", False, False),
        *around("PUT /branches/_tx-[^/]*/staging/backing", False, False),
        *around("POST /branches/_tx-[^/]*/commits", False, False),
        *around("POST /branches$", False, True, 2),
        *around("DELETE /branches/_tx-", True, True),
    ]
    cases = make(stops)
    for case in cases:
        case.wanted = case.before | {"refs/heads/new": case.work.write({"c": b"4"})}
        case.act = pushing("origin", "main:new")
    survive(cases, recovery)


@recoveries("request")
def test_a_new_branch_at_a_known_commit(make: Any, survive: Any, recovery: str) -> None:
    cases = make(
        [*around("GET /branches/new", False, False), *around("POST /branches$", False, True), *around("GET /commits/", True, True)]
    )
    for case in cases:
        case.wanted = case.before | {"refs/heads/new": case.work("rev-parse", "main")}
        case.act = pushing("origin", "main:new")
    survive(cases, recovery)


@recoveries("recovery")
def test_a_branch_deleted(make: Any, survive: Any, recovery: str) -> None:
    cases = make([*around("GET /branches/side", False, False), *around("DELETE /branches/side", False, True)])
    for case in cases:
        case.wanted = case.before | {"refs/heads/side": GONE}
        case.act = pushing("origin", ":side")
    survive(cases, recovery)


def committing(place: Place, message: str) -> Callable[[Case], bool]:
    def act(case: Case) -> bool:
        try:
            answer = hf_commit(place.hub, case.name, {"hf1": "one", "hf2": "two"}, summary=message)
        except OSError:
            return False
        case.wanted = case.wanted | {"refs/heads/main": answer.json()["commitOid"]}
        return bool(answer.status == 200)

    return act


@recoveries("request")
def test_a_commit_of_a_hugging_face_client(place: Place, make: Any, survive: Any, recovery: str) -> None:
    """The client cannot know the id of what stands: its second try is answered with the same commit."""
    cases = make([stop for stop in UPDATE if "delete" not in stop.pattern and stop.number < 3])
    for case in cases:
        case.wanted = dict(case.before)
        case.act = committing(place, "by hf")
    place.kill_at_all(cases)
    if recovery == "recovery":
        place.rows.end_leases()
    place.start()
    if recovery == "request":
        place.rows.end_leases()
    found = {case.name: recovered(place, case)["refs/heads/main"] for case in cases[::2]}
    for case in cases:
        assert case.act(case)
        if case.name in found:
            assert (found[case.name] != case.before["refs/heads/main"]) is case.stop.stands, case.stop
            assert (found[case.name] == case.wanted["refs/heads/main"]) is case.stop.stands, case.stop
        assert len(case.lake.log("main")) == 3, case.stop  # the empty one, the first push, and this
        case.before = case.wanted
    finish(place, survive, cases)


def recovered(place: Place, case: Case) -> dict[str, str]:
    """The refs when the operation is over: while the recovery is the one who ends it, a reader sees them as they were."""
    case.work.remote()
    wait_until(lambda: place.rows.operations(case.name) == 0, case.stop)
    return case.work.remote()


def finish(place: Place, survive: Any, cases: Sequence[Case]) -> None:
    """Nothing more is asked: the hub dies with nothing under way."""
    for case in cases:
        case.stop = Stop("GET /none", case.stop.moment, True)
        case.held.set()
        case.act = lambda case: True
    survive(cases, "recovery")


SEVERAL = [
    *around("POST /branches$", False, False),
    *around("POST /refs/_tx-[^/]*/merge/main", False, False),
    *around("POST /refs/_tx-[^/]*/merge/side", False, False),
    *around("POST /branches$", False, False, 3),
    *around("POST /branches$", False, True, 4),
]


@recoveries("recovery")
@pytest.mark.parametrize("empty", [False, True], ids=["", "first"])
def test_several_refs_atomically(make: Any, survive: Any, recovery: str, empty: bool) -> None:
    """All or none: what had been done in LakeFS is undone there by one commit more, and git never sees it."""
    cases = make(SEVERAL if not empty else [*around("POST /refs/_tx-[^/]*/merge/main", False, False), *SEVERAL[-4:-2]], empty=empty)
    for case in cases:
        tips = [case.work.write({f"f{number}": b"new"}) for number in range(3)]
        case.wanted = case.before | {"refs/heads/main": tips[0], "refs/heads/side": tips[1], "refs/heads/znew": tips[2]}
        case.act = pushing("--atomic", "origin", f"{tips[0]}:refs/heads/main", f"{tips[1]}:refs/heads/side", f"{tips[2]}:refs/heads/znew")
    survive(cases, recovery)


@recoveries("request")
def test_several_refs_each_for_itself(make: Any, survive: Any, recovery: str) -> None:
    """What was done stands, the rest is as before."""
    cases = make([*SEVERAL[2:6], *SEVERAL[-2:]])
    for case in cases:
        tips = [case.work.write({f"f{number}": b"new"}) for number in range(3)]
        all_of_it = {"refs/heads/main": tips[0], "refs/heads/side": tips[1], "refs/heads/znew": tips[2]}
        case.wanted = case.before | all_of_it
        done = done_of(case.stop)
        case.before = case.before | {ref: oid for ref, oid in all_of_it.items() if ref[11:] in done}
        case.act = pushing("origin", f"{tips[0]}:refs/heads/main", f"{tips[1]}:refs/heads/side", f"{tips[2]}:refs/heads/znew")
    survive(cases, recovery)


def done_of(stop: Stop) -> tuple[str, ...]:
    """The branches that moved before the stop."""
    is_after = stop.moment.name == "AFTER"
    if stop.pattern.endswith("/main"):
        return ("main",) if is_after else ()
    if stop.pattern.endswith("/side"):
        return ("main", "side") if is_after else ("main",)
    return ("main", "side")


@recoveries("recovery")
def test_a_tag(make: Any, survive: Any, recovery: str) -> None:
    """Git's rows are the truth: the push stands, and LakeFS shows it at the next update at the latest."""
    cases = make(around("POST /tags", True, True))
    for case in cases:
        case.work("tag", "-a", "-m", "one", "v1.0")
        case.wanted = case.before | {"refs/tags/v1.0": case.work("rev-parse", "v1.0")}
        case.act = pushing("origin", "v1.0")
    survive(cases, recovery)
    for case in cases:
        case.work.write({"later": b"1"})
        case.work.push("main")
    each(cases, lambda case: wait_until(lambda: "v1.0" in case.lake.tags(), case.stop))


RECONCILE = [
    [
        *around("GET /branches\\?", False, False),
        *around("GET /branches/work", False, False),
        *around("GET /commits/", False, False),
    ],
    [
        *around("GET /commits/", False, False, 3),
        *around("GET /refs/[^/]*/diff/", False, False),
        *around("GET /refs/[^/]*/diff/", False, False, 3),
        *around("GET /refs/[^/]*/objects\\?path=big", False, False, 2),
    ],
]


@pytest.mark.parametrize("stops", RECONCILE, ids=["look", "take in"])
@recoveries("request")
def test_commits_made_in_lakefs(place: Place, make: Any, tmp_path: Path, recovery: str, stops: list[Stop]) -> None:
    """A chain with a large file. Its ids depend on nothing but LakeFS: they come again when the maps are lost."""
    cases = make(stops)
    large = os.urandom(17 << 20)
    for case in cases:
        case.lake.branch("work", "side")
        for path, data in (("one", b"1"), ("big", large), ("two", b"2")):
            case.lake.put("work", path, data)
            case.lake.commit("work", f"direct {path}")
        case.act = has_work
    place.kill_at_all(cases)
    if recovery == "recovery":
        place.rows.end_leases()
    place.start()
    place.rows.end_leases()
    each(cases, lambda case: wait_until(lambda: has_work(case), case.stop))

    agreement = Agreement(place.rows, place.lakefs, place.hub, tmp_path)
    for case in cases:
        made = agreement.check(case.name)
        agreement.tidy_up(case.name)
        assert present(case.before) == {ref: oid for ref, oid in made.items() if ref != "refs/heads/work"}
        place.rows.run("DELETE FROM lakefs_commits WHERE repo_id = %s", place.rows.repo_id(case.name))
        place.rows.run("DELETE FROM lakefs_refs WHERE repo_id = %s", place.rows.repo_id(case.name))
        assert agreement.check(case.name) == made
    assert place.launcher.admin("check").stdout == ""


def has_work(case: Case) -> bool:
    done = case.work.run("ls-remote", "origin", "work")
    return done.returncode == 0 and done.stdout != b""
