"""Random writes from all sides, with two hubs and LakeFS killed now and then: the invariants I1 to I6 of the design hold after every step.

KOHAKU_STEPS and KOHAKU_SEED choose another run; docs/long-tests.md has the record of long ones.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.agreement import Agreement, scratch_of
from tests.faults.lakeworld import IDS, Told, World
from tests.lakefs.lake import Work
from tests.servers.lakefs import LakeFSServer

STEPS = int(os.environ.get("KOHAKU_STEPS", "60"))
SEED = int(os.environ.get("KOHAKU_SEED", "20261124"))
_WHOLE_EVERY = 25
_SECONDS = 30


@pytest.fixture
def world(new_cluster: Callable[..., Any], new_lakefs: LakeFSServer, tmp_path: Path) -> Iterator[World]:
    """On a LakeFS of its own, since it is killed."""
    assert new_lakefs.set_up() == 200
    first = new_cluster(lakefs=new_lakefs)
    made = World((first, new_cluster(beside=first)), new_lakefs, tmp_path, random.Random(SEED))
    yield made
    for hub in made.hubs:
        assert hub.stop() == 0


class Judge:
    """What held once must hold on."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._mirror = Work(folder / "mirror", world.work.url)
        self._folder = folder
        self._number = 0
        self._heads: dict[str, str] = {}
        self._map: dict[str, str] = {}

    def refs(self) -> dict[str, str]:
        hub = self._world.dice.choice(self._world.hubs)
        self._mirror("remote", "set-url", "origin", hub.git_url(self._world.name))
        self._mirror("fetch", "-q", "--prune", "origin", "+refs/*:refs/all/*")
        lines = self._mirror("for-each-ref", "--format=%(refname) %(objectname)", "refs/all").splitlines()
        return {"refs/" + ref.removeprefix("refs/all/"): oid for ref, oid in (line.split() for line in lines)}

    def check(self) -> None:
        """After every step: ids stay (I1, I3), LakeFS's history only grows (I2), and nothing acknowledged is lost (I4)."""
        refs = self.refs()
        until = time.monotonic() + _SECONDS
        while not self._world.is_settled():
            assert time.monotonic() < until, "the hubs do not follow LakeFS"
            refs = self.refs()
        self._check_map()
        self._check_heads()
        for branch in IDS.values():
            if f"refs/heads/{branch}" in refs:
                self._world.branches.setdefault(branch, Told())
                self._check_branch(branch, refs[f"refs/heads/{branch}"])
            else:
                told = self._world.branches.pop(branch, Told())
                assert told.pushed | told.direct == set(), f"{branch} is gone"
        assert {tag: refs.get(tag) for tag in self._world.tags} == self._world.tags

    def check_whole(self) -> dict[str, str]:
        """Also: the files are the same on all sides, and git finds nothing wrong."""
        self._number += 1
        agreement = Agreement(self._world.rows, self._world.lakefs, self._world.hubs[self._number % 2], self._folder / str(self._number))
        return agreement.check(self._world.name)

    def check_end(self) -> None:
        """No private branch is left after the recovery (I5, I6), and all ids come again when the maps are lost (I3)."""
        world = self._world
        agreement = Agreement(world.rows, world.lakefs, world.hubs[0], self._folder / "end")
        world.rows.wait_for_the_end_of_operations()
        before = {ref: oid for ref, oid in self.check_whole().items() if "/work-" not in ref}
        for hub in world.hubs:
            assert hub.stop() == 0
        world.rows.run("DELETE FROM lakefs_commits WHERE repo_id = %s", world.rows.repo_id(world.name))
        world.rows.run("DELETE FROM lakefs_refs WHERE repo_id = %s", world.rows.repo_id(world.name))
        world.restart()
        after = {ref: oid for ref, oid in self.check_whole().items() if "/work-" not in ref}
        assert after == before
        self._check_map()
        until = time.monotonic() + _SECONDS
        while scratch_of(world.lake) and time.monotonic() < until:
            time.sleep(0.2)
        agreement.tidy_up(world.name)
        for launcher in world.launchers:
            assert launcher.admin("check").stdout == ""

    def _check_map(self) -> None:
        sql = "SELECT commit_id, oid FROM lakefs_commits WHERE repo_id = %s"
        found = {commit: bytes(oid).hex() for commit, oid in self._world.rows.run(sql, self._world.rows.repo_id(self._world.name))}
        assert {commit: oid for commit, oid in self._map.items() if found.get(commit, oid) != oid} == {}
        self._map |= found

    def _check_heads(self) -> None:
        heads = self._world.heads()
        for branch, head in heads.items():
            before = self._heads.get(branch)
            if before not in (None, head):
                newest = self._world.lake.call("GET", f"/refs/{head}/commits?amount=300")["results"]
                assert before in {row["id"] for row in newest}, f"LakeFS's history of {branch} lost {before}"
        self._heads = heads

    def _check_branch(self, branch: str, tip: str) -> None:
        told = self._world.branches[branch]
        there = set(self._mirror("rev-list", tip).split())
        assert told.pushed <= there, f"{branch} lost {told.pushed - there}"
        direct = {self._map.get(commit, commit) for commit in told.direct}
        assert direct <= there, f"{branch} lost commits of LakeFS {direct - there}"


@pytest.mark.timeout(60 + 10 * STEPS)
def test_random_writes(world: World, tmp_path: Path) -> None:
    judge = Judge(world, tmp_path)
    said: list[str] = []
    for number in range(STEPS):
        said.append(f"{number} {world.step()}")
        try:
            judge.check()
            if number % _WHOLE_EVERY == _WHOLE_EVERY - 1:
                judge.check_whole()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}: {error}\nafter\n" + "\n".join(said[-12:])) from error
    world.bring_main_back()
    judge.check_end()
    counts = Counter(line.split(": ")[0].split()[1] for line in said)
    assert len(counts) >= 10, counts
    if record := os.environ.get("KOHAKU_RECORD"):
        Path(record).write_text("\n".join([f"seed {SEED}", *said, str(sorted(counts.items()))]))
