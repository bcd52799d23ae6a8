"""One repository from three sides: what git, the Hugging Face API, LakeFS and the rows say of it must agree."""

import hashlib
import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

from storage.versions.lakefs.names import branch_id, branch_ref
from tests.lakefs.lake import Lake, Work
from tests.lakefs.rows import Rows
from tests.servers.lakefs import LakeFS

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
_HEADS = "refs/heads/"
_WORK = "refs/heads/work-"  # somebody may have seen what Lake.change was at


def scratch_of(lake: Lake) -> list[str]:
    return [branch for branch in lake.branches() if branch.startswith("_tx-")]


class Agreement:
    """`folder` is for clones."""

    def __init__(self, rows: Rows, lakefs: LakeFS, hub: Any, folder: Path) -> None:
        self._rows = rows
        self._lakefs = lakefs
        self._hub = hub
        self._folder = folder
        self._number = 0

    def check(self, name: str) -> dict[str, str]:
        """The refs, after all that must hold was found to hold."""
        lake = Lake(self._lakefs, self._hub, name)
        clone = self._clone(name)
        refs = {ref: oid for ref, oid in clone.remote().items() if ref != "HEAD" and not ref.endswith("^{}")}
        heads = {branch_id(ref.encode()): (ref, oid) for ref, oid in refs.items() if ref.startswith(_HEADS) and not ref.startswith(_WORK)}
        branches = {branch: head for branch, head in lake.branches().items() if not branch.startswith(("_tx-", "work-"))}
        assert set(heads) - set(branches) == set(), "git has branches that LakeFS has not"
        assert set(branches) - set(heads) <= {"main"}, "LakeFS has branches that git has not"
        for branch, (_, oid) in heads.items():
            head = branches[branch]
            self._check_branch(clone, lake, branch, head, oid)
            assert self._oid_of(name, head) == oid, f"{branch}: the map says otherwise"
        self._check_api(name, refs)
        return refs

    def tidy_up(self, name: str) -> None:
        """Nothing is under way, and nothing is left of what was."""
        assert self._rows.operations(name) == 0
        assert scratch_of(Lake(self._lakefs, self._hub, name)) == []

    def _clone(self, name: str) -> Work:
        self._number += 1
        clone = Work(self._folder / f"check{self._number}", self._hub.git_url(name))
        clone("fetch", "-q", "origin", "+refs/*:refs/all/*")
        fsck = subprocess.run(["git", "fsck", "--strict"], cwd=clone.folder, capture_output=True, check=False, timeout=100)
        assert fsck.returncode == 0, fsck.stderr
        return clone

    def _check_branch(self, clone: Work, lake: Lake, branch: str, head: str, oid: str) -> None:
        in_git = clone.files(oid)
        in_lake = lake.files(head)
        for line in clone("log", "-1", "--format=%B", oid).splitlines():
            if line.startswith("Hub-Attributes: "):  # LakeFS has another one, or none (decision 0024)
                path = urllib.parse.unquote(line.partition(" ")[2])
                text = in_git.pop(path)
                assert text.startswith(lake.read(head, path) if in_lake.pop(path, None) else b"")
        assert set(in_git) == set(in_lake), f"{branch}: other paths"
        for path, data in in_git.items():
            row = in_lake[path]
            pointer = _POINTER.fullmatch(data)
            found = lake.read(head, path) if row["size_bytes"] else b""
            wanted = (pointer[1].decode(), int(pointer[2])) if pointer else (hashlib.sha256(data).hexdigest(), len(data))
            assert (hashlib.sha256(found).hexdigest(), len(found)) == wanted, f"{branch}: {path} is not the same"

    def _oid_of(self, name: str, commit: str) -> str:
        sql = "SELECT oid FROM lakefs_commits WHERE repo_id = %s AND commit_id = %s"
        found = self._rows.run(sql, self._rows.repo_id(name), commit)
        return bytes(found[0][0]).hex() if found else ""

    def _check_api(self, name: str, refs: dict[str, str]) -> None:
        answer = self._hub.call("GET", f"/api/models/{name}/refs").json()
        listed = {row["ref"]: row["targetCommit"] for row in answer["branches"] if not row["ref"].startswith(_WORK)}
        assert listed == {ref: oid for ref, oid in refs.items() if ref.startswith(_HEADS) and not ref.startswith(_WORK)}


def shown_branch(branch: str) -> str:
    """The ref's name for a branch of LakeFS."""
    ref = branch_ref(branch)
    assert ref is not None
    return ref.decode()
