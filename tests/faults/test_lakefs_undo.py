"""SIGKILL while an atomic push that was refused is being taken back: git never sees any of it, however often that begins again."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.agreement import Agreement
from tests.faults.killing import Case, Place, around, behind_proxy, each, wait_until
from tests.lakefs.lake import Lake, Work
from tests.servers.lakeproxy import Moment, Trap

STOPS = [
    *around("DELETE /branches/_tx-[^/]*-undo", False, False),
    *around("POST /branches$", False, False, 3),
    *around("POST /branches/_tx-[^/]*-undo/commits", False, False),
    *around("POST /refs/_tx-[^/]*-undo/merge/main", False, False),
    *around("DELETE /branches/_tx-[^/]*-undo", False, False, 2),
]


@pytest.fixture(scope="module")
def place(new_cluster: Callable[..., Any], lakefs: Any) -> Iterator[Place]:
    yield from behind_proxy(new_cluster, lakefs)


@pytest.mark.parametrize("recovery", ["twice", *(pytest.param(one, marks=pytest.mark.long) for one in ("request", "recovery"))])
def test_a_push_that_is_being_taken_back(place: Place, tmp_path: Path, recovery: str) -> None:
    cases = [made(place, stop, tmp_path / f"work{number}") for number, stop in enumerate(STOPS)]
    place.kill_at_all(cases)
    if recovery == "twice":  # the one that ends it dies at the same point
        place.start()
        for case in cases:
            case.held.clear()
            case.act = lambda case: reads(place, case)
        place.kill_at_all([case for case in cases if "merge" in case.stop.pattern and case.stop.moment is Moment.BEFORE], again=True)
    if recovery == "recovery":
        place.rows.end_leases()
    place.start()
    place.rows.end_leases()
    each(cases, lambda case: case.work.remote())
    place.rows.wait_for_the_end_of_operations()

    agreement = Agreement(place.rows, place.lakefs, place.hub, tmp_path)
    for case in cases:
        wait_until(lambda case=case: is_clean(case), case.stop)  # type: ignore[misc]
        refs = agreement.check(case.name)
        assert not case.acknowledged
        assert refs["refs/heads/main"] == case.before["refs/heads/main"], case.stop
        assert set(case.lake.files("main")) == {"a", "b"}, case.stop
        assert case.work.run("push", "-q", "origin", "main").returncode == 0
        assert agreement.check(case.name)["refs/heads/main"] == case.work("rev-parse", "main")
        assert case.work("rev-list", "--merges", "main") == ""
    found = place.launcher.admin("check")
    assert (found.returncode, found.stdout) == (0, "")


def reads(place: Place, case: Case) -> bool:
    """The one that asks ends the operation and dies, or the recovery does and the one that asks sees the refs as they were."""
    place.rows.end_leases()
    asked = case.work.run("ls-remote", "origin", "main")
    if asked.returncode == 0:
        assert asked.stdout.split()[0].decode() == case.before["refs/heads/main"], case.stop
    return False


def is_clean(case: Case) -> bool:
    return not any(branch.startswith("_tx-") for branch in case.lake.branches())


def made(place: Place, stop: Any, folder: Path) -> Case:
    """Main goes through, then side is refused: somebody changed the same file in LakeFS."""
    name = place.hub.repo()
    work = Work(folder, place.hub.git_url(name))
    work.write({"a": b"1", "b": b"2"})
    work.push("main", "main:side")
    case = Case(stop, name, work, Lake(place.lakefs, place.hub, name))
    case.before = work.remote()
    work.write({"a": b"pushed", "c": b"3"})

    def act(case: Case) -> bool:
        pattern = f"^POST /repositories/{case.lake.id}/branches$"
        place.proxy.arm(Trap(pattern, partial(case.lake.change, "side", {"a": b"direct"}), 2))
        return case.work.run("push", "-q", "--atomic", "origin", "main", "main:side").returncode == 0

    case.act = act
    return case
