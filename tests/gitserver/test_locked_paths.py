"""What an update of a ref changes of locked files (G11), judged over histories that git made."""

from typing import Any

import pytest

from gitserver.update.locked_paths import LockedPaths
from lfs.locks.locks import FileLock
from storage.records import ZERO_OID, RefUpdate
from storage.versions.base import Ref, Refs

MAIN = b"refs/heads/main"


class Judge:
    """The history of one repository; `refs` are those that stand before the update."""

    def __init__(self, hub: Any, work: Any) -> None:
        self.hub = hub
        self.work = work
        self.refs: dict[bytes, str] = {}

    def load(self) -> None:
        self.hub.load(self.work)

    def told(self, path: str, new: str, ref: bytes = MAIN) -> str:
        refs = tuple(Ref(name, bytes.fromhex(oid)) for name, oid in sorted(self.refs.items()))
        locks = [FileLock(7, path.encode(), 1, "carol", 0)]
        old = bytes.fromhex(self.refs[ref]) if ref in self.refs else ZERO_OID
        target = bytes.fromhex(new)
        return LockedPaths(self.hub.objects, Refs(MAIN, refs), locks).refusal(RefUpdate(ref, old, target), target)


@pytest.fixture
def judge(fetch_hub: Any, work: Any) -> Judge:
    return Judge(fetch_hub, work)


def test_g11_what_touches_a_locked_file(judge: Judge) -> None:
    work = judge.work
    base = work.commit("base", {"a.bin": "1", "d/b.bin": "1", "c.txt": "1"})
    judge.refs[MAIN] = base
    edit = work.commit("edit", {"a.bin": "2"})
    below = work.commit("below", {"d/b.bin": "2"})
    back = work.commit("back", {"a.bin": "1", "d/b.bin": "1"})
    judge.load()

    assert "a.bin is locked by carol" in judge.told("a.bin", edit)
    assert "git lfs unlock" in judge.told("a.bin", edit)
    assert judge.told("c.txt", below) == ""
    assert judge.told("d/b.bin", edit) == ""
    assert "d/b.bin" in judge.told("d/b.bin", below)
    assert "d is locked" in judge.told("d", below)  # a folder
    assert "a.bin" in judge.told("a.bin", back)  # there and back again
    assert "a.bin" in judge.told("a.bin", edit, b"refs/heads/new")
    assert "a.bin" in judge.told("a.bin", edit, b"refs/tags/t")
    assert judge.told("a.bin", edit, b"refs/notes/n") == ""
    assert judge.told("new.bin", below) == ""


def test_g11_what_was_pushed_before_may_be_merged(judge: Judge) -> None:
    """The holder's own work comes into a branch of another by a merge, or by a rebase."""
    work = judge.work
    base = work.commit("base", {"a.bin": "1", "c.txt": "1"})
    held = work.commit("by the holder", {"a.bin": "2"})
    work("checkout", "-q", "-b", "topic", base)
    topic = work.commit("topic", {"c.txt": "2"})
    work("merge", "-q", "--no-ff", "-m", "m", held)
    merged = work("rev-parse", "HEAD")
    (work.path / "a.bin").write_text("3")
    work("commit", "-q", "--amend", "-a", "-m", "evil")
    evil = work("rev-parse", "HEAD")
    work("checkout", "-q", "--detach", held)
    work("cherry-pick", topic)
    rebased = work("rev-parse", "HEAD")
    for name in ("topic", "evil", "rebased", "merged"):
        work("update-ref", f"refs/keep/{name}", {"topic": topic, "evil": evil, "rebased": rebased, "merged": merged}[name])
    judge.load()
    judge.refs = {MAIN: held, b"refs/heads/topic": topic}

    assert judge.told("a.bin", merged, b"refs/heads/topic") == ""
    assert judge.told("a.bin", rebased, b"refs/heads/topic") == ""
    assert "a.bin" in judge.told("a.bin", evil, b"refs/heads/topic")
    assert "a.bin" in judge.told("a.bin", base, MAIN)  # rewound: the locked file is another then
    assert judge.told("c.txt", base, MAIN) == ""


def test_g11_a_locked_file_that_is_deleted_or_made(judge: Judge) -> None:
    work = judge.work
    judge.refs[MAIN] = work.commit("base", {"a/b/c.bin": "1", "x": "1"})
    made = work.commit("made", {"new/file.bin": "1"})
    work("rm", "-rq", "a")
    removed = work.commit("a file where the folder was", {"a": "1"})
    judge.load()

    assert "new/file.bin" in judge.told("new/file.bin", made)
    assert "a/b/c.bin" in judge.told("a/b/c.bin", removed)
    assert judge.told("x", removed) == ""
