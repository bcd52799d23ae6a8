"""A repository that many write to in every way, on two machines and in LakeFS, which die now and then."""

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lakefs.lake import Lake, Work
from tests.lakefs.rows import Rows
from tests.lakefs.test_bridge import hf_commit
from tests.servers.lakefs import LakeFSServer

BRANCHES = ("main", "side", "feature/x")
IDS = {"main": "main", "side": "side", "feature_2Fx": "feature/x"}
PATHS = [f"{folder}f{number}" for folder in ("", "d/", "d/e/") for number in range(4)]
_FINE, _REFUSED = (200, 204), (400, 409)


@dataclass
class Told:
    """What a branch must lead to: commits of git that were acknowledged, and those that were made in LakeFS."""

    pushed: set[str] = field(default_factory=set)
    direct: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """They may be gone."""
        self.pushed.clear()
        self.direct.clear()


class World:
    def __init__(self, launchers: tuple[Any, Any], lakefs: LakeFSServer, folder: Path, dice: random.Random) -> None:
        self.launchers = launchers
        self.lakefs = lakefs
        self.dice = dice
        self.rows = Rows(launchers[0].environment["KOHAKU_HUB_DATABASE_URL"])
        launchers[0].users()
        launchers[1].tokens.update(launchers[0].tokens)
        self.hubs = [launcher.start() for launcher in launchers]
        self._ports = [hub.url.rsplit(":", 1)[1] for hub in self.hubs]
        self.name = str(self.hubs[0].repo())
        self.work = Work(folder / "work", self.hubs[0].git_url(self.name))
        self.lake = Lake(lakefs, self.hubs[0], self.name)
        self.branches: dict[str, Told] = {"main": Told()}
        self.tags: dict[str, str] = {}
        self._number = 0
        self._write("main", self.work.write(self._files()))

    def heads(self) -> dict[str, str]:
        """Where LakeFS's branches stand."""
        return {branch: head for branch, head in self.lake.branches().items() if branch in IDS}

    def is_settled(self) -> bool:
        """Whether the hubs know where all branches stand in LakeFS."""
        sql = "SELECT id, commit_id FROM lakefs_refs WHERE repo_id = %s AND is_tag = 0"
        return self.heads().items() <= dict(self.rows.run(sql, self.rows.repo_id(self.name))).items()

    def step(self) -> str:
        """One thing is done; what it was and how it ended, for people."""
        acts: dict[Callable[[], str], int] = {
            self.push: 30,
            self.commit: 15,
            self.force_push: 6,
            self.create: 6,
            self.delete: 3,
            self.tag: 5,
            self.change_directly: 16,
            self.revert_directly: 4,
            self.merge_directly: 5,
            self.race: 8,
            self.kill_a_hub: 4,
            self.kill_lakefs: 1,
        }
        act = self.dice.choices(list(acts), list(acts.values()))[0]
        return f"{act.__name__}: {act()}"

    def restart(self) -> None:
        for number, launcher in enumerate(self.launchers):
            self.hubs[number] = launcher.start("--port", self._ports[number])

    def bring_main_back(self) -> None:
        """A default branch that was deleted stands in LakeFS still, and cannot be told from one that was not without the rows."""
        if "main" not in self.branches:
            assert self._take(self._branch())
            assert self._write("main", self.work.write(self._files())) == "ok"

    def push(self) -> str:
        branch = self._branch()
        if not self._take(branch):
            return f"{branch} is gone"
        for _ in range(self.dice.randrange(1, 4)):
            tip = self.work.write(self._files())
        return f"{branch} {self._write(branch, tip)}"

    def force_push(self) -> str:
        branch = self._branch()
        if not self._take(branch):
            return f"{branch} is gone"
        if self.work.run("rev-parse", "-q", "--verify", "HEAD~2").returncode == 0:
            self.work("reset", "-q", "--hard", "HEAD~2")
        tip = self.work.write(self._files())
        self.branches[branch].forget()
        return f"{branch} {self._write(branch, tip, '-f')}"

    def commit(self) -> str:
        branch = self._branch()
        files = {path: f"hf {self._next()}" for path in self.dice.sample(PATHS, 2)}
        answer = hf_commit(self.dice.choice(self.hubs), self.name, files, branch.replace("/", "%2F"))
        if answer.status == 200:
            self.branches[branch].pushed.add(answer.json()["commitOid"])
        return f"{branch} {answer.status}"

    def create(self) -> str:
        free = [branch for branch in BRANCHES if branch not in self.branches]
        if not free or not self._take(self._branch()):
            return "none is free"
        tip = self.work.write(self._files()) if self.dice.random() < 0.5 else self.work("rev-parse", "HEAD")
        self.branches[free[0]] = Told()
        return f"{free[0]} {self._write(free[0], tip)}"

    def delete(self) -> str:
        if len(self.branches) < 2:
            return "one is left"
        branch = self._branch()
        self._aim()
        done = self.work.run("push", "-q", "origin", f":refs/heads/{branch}")
        self.branches[branch].forget()
        if done.returncode == 0:
            del self.branches[branch]
        return f"{branch} {done.returncode}"

    def tag(self) -> str:
        if not self._take(self._branch()):
            return "the branch is gone"
        name = f"v{self._next()}"
        self.work("tag", *(("-a", "-m", "tagged") if self.dice.random() < 0.5 else ()), name)
        done = self.work.run("push", "-q", "origin", name)
        if done.returncode == 0:
            self.tags[f"refs/tags/{name}"] = self.work("rev-parse", name)
        return f"{name} {done.returncode}"

    def change_directly(self) -> str:
        branch = self._lake_branch()
        there = set(self.lake.files(branch))
        files: dict[str, bytes | None] = {path: b"direct %d" % self._next() for path in self.dice.sample(PATHS, 2)}
        gone = sorted(there & set(PATHS) - set(files))
        if gone and self.dice.random() < 0.3:
            files[self.dice.choice(gone)] = None
        self._note(branch, self.lake.change(branch, files))
        return branch

    def revert_directly(self) -> str:
        """The newest commit of a branch that is not protected, whoever made it."""
        branch = self._lake_branch()
        head = self.lake.branches()[branch]
        parents = self.lake.call("GET", f"/commits/{head}")["parents"]
        if branch == "main" or not parents:
            return f"not {branch}"
        body = {"ref": head, "parent_number": 1 if len(parents) > 1 else 0}
        status = self.lakefs.call("POST", f"/repositories/{self.lake.id}/branches/{branch}/revert", body)[0]
        assert status in (*_FINE, *_REFUSED), status
        return f"{branch} {status}"

    def merge_directly(self) -> str:
        here = sorted(set(self.lake.branches()) & set(IDS))
        if len(here) < 2:
            return "one is left"
        source, target = self.dice.sample(here, 2)
        path = f"/repositories/{self.lake.id}/refs/{source}/merge/{target}"
        status, answer = self.lakefs.call("POST", path, {"message": f"merge {source}"})
        assert status in (*_FINE, *_REFUSED), answer
        if status == 200:
            self._note(target, answer["reference"])
        return f"{source} into {target} {status}"

    def race(self) -> str:
        """A push, a commit and a direct commit at the same time."""
        branch = self._lake_branch()
        path = f"race{self._next() % 5}/{self._next()}"
        with ThreadPoolExecutor(2) as pool:
            direct = pool.submit(self.lake.change, branch, {path: b"direct"})
            commit = pool.submit(hf_commit, self.hubs[0], self.name, {f"{path}-hf": "hf"})
            said = self.push()
            self._note(branch, direct.result())
            answer = commit.result()
        if answer.status == 200:
            self.branches.setdefault("main", Told()).pushed.add(answer.json()["commitOid"])
        return f"{said}, direct on {branch}, commit {answer.status}"

    def kill_a_hub(self) -> str:
        """Often in the middle of a push to it."""
        number = self.dice.randrange(2)
        pause = self.dice.uniform(0.1, 0.7)
        with ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(self.push)
            time.sleep(pause)
            self.hubs[number].process.send_signal(signal.SIGKILL)
            self.hubs[number].process.wait(30)
            said = pushed.result()
        self.rows.end_leases()
        self.hubs[number] = self.launchers[number].start("--port", self._ports[number])
        return f"{number}, {said}"

    def kill_lakefs(self) -> str:
        with ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(self.push)
            time.sleep(self.dice.uniform(0.0, 0.4))
            self.lakefs.kill()
            said = pushed.result()
        self.lakefs.start()
        return said

    def _aim(self) -> None:
        self.work("remote", "set-url", "origin", self.dice.choice(self.hubs).git_url(self.name))

    def _take(self, branch: str) -> bool:
        """The work tree is where the branch is; False when it is not there."""
        self._aim()
        self.work.run("tag", "-d", *self.work("tag").split())
        if self.work.run("fetch", "-q", "--no-tags", "origin", f"refs/heads/{branch}").returncode:
            return False
        self.work("checkout", "-q", "-f", "--detach", "FETCH_HEAD")
        return True

    def _write(self, branch: str, tip: str, *options: str) -> str:
        done = self.work.run("push", "-q", *options, "origin", f"{tip}:refs/heads/{branch}")
        if done.returncode == 0:
            self.branches.setdefault(branch, Told()).pushed.add(tip)
        return "ok" if done.returncode == 0 else " ".join(done.stderr.decode().split())[:300]

    def _note(self, lake_branch: str, commit: str) -> None:
        self.branches.setdefault(IDS[lake_branch], Told()).direct.add(commit)

    def _branch(self) -> str:
        return self.dice.choice(sorted(self.branches))

    def _lake_branch(self) -> str:
        return self.dice.choice(sorted(set(self.lake.branches()) & set(IDS)))

    def _files(self) -> dict[str, bytes | None]:
        files: dict[str, bytes | None] = {path: b"pushed %d" % self._next() for path in self.dice.sample(PATHS, self.dice.randrange(1, 4))}
        there = sorted(set(self.work("ls-files").split("\n")) & set(PATHS) - set(files))
        if there and self.dice.random() < 0.3:
            files[self.dice.choice(there)] = None
        return files

    def _next(self) -> int:
        self._number += 1
        return self._number
