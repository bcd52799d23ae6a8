"""The files of the changed-path index: when they are made, and what happens without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitserver.history.browser import Browser, Snapshot
from gitserver.history.index import PathIndex
from gitserver.history.paths import PathHistory
from gitserver.objects.store import ObjectStores
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.tasks import ready
from storage.errors import Unavailable
from storage.filecache import FileCache
from storage.limits import Limits

LIMITS = Limits(history_walk_commits=80, history_seconds=20)


class Indexed:
    """A repository of one file that changed once, and one that changed with each commit."""

    def __init__(self, hub: Any, folder: Path, *, room: int) -> None:
        self.files = FileCache(folder / "prepared", room)
        self.process_pool = ProcessPool(1)
        self.hub = hub
        (folder / "incoming").mkdir()
        self.index = PathIndex(self.files, folder / "incoming", self.process_pool, self.tips, LIMITS)
        self.history = PathHistory(self.index, LIMITS)
        self.objects = ObjectStores(hub.packs, self.files).of(hub.repo.id)

    def tips(self, repo_id: str) -> list[bytes]:
        return [ref.oid for ref in self.hub.versions.refs(repo_id).refs]

    def fill(self, work: Any, commits: int) -> list[bytes]:
        """The commits, oldest first."""
        text = "".join(
            f"commit refs/heads/main\ncommitter A <a@x> {1_600_000_000 + n} +0000\ndata 1\nm\n"
            + ("M 100644 inline d/old\ndata 1\no\n" if n == 0 else "")
            + f"M 100644 inline d/new\ndata {len(str(n))}\n{n}\n"
            for n in range(commits)
        )
        work("fast-import", "--quiet", "--force", data=text.encode())
        self.hub.load(work)
        self.objects.refresh()
        return [bytes.fromhex(oid) for oid in work("rev-list", "--reverse", "main").split()]

    def snapshot(self) -> Snapshot:
        return Browser(self.hub.stores, self.hub.versions, self.hub).at(self.hub.repo, "main")

    def last(self) -> dict[bytes, bytes]:
        found = self.history.last_commits(self.snapshot(), b"d", [b"old", b"new", b"never"])
        return {name: commit.oid for name, commit in found.items()}

    def stored(self) -> list[Path]:
        return [path for path in self.files.files(self.hub.repo.id) if path.name.startswith("paths-")]


@pytest.fixture
def indexed(fetch_hub: Any, tmp_path: Path) -> Iterator[Indexed]:
    made = Indexed(fetch_hub, tmp_path, room=1 << 30)
    made.process_pool.submit(ready).result()
    yield made
    made.index.close()
    made.process_pool.close()


def test_s1_an_answer_waits_for_the_index(indexed: Indexed, work: Any) -> None:
    """More commits than one answer compares: it has them indexed first, in a process."""
    commits = indexed.fill(work, 120)
    expected = {b"old": commits[0], b"new": commits[-1]}

    assert indexed.last() == expected
    assert len(indexed.stored()) == 1
    assert [segment.commits for segment in indexed.index.segments(indexed.hub.repo.id)] == [120]
    assert indexed.index.make(indexed.objects, commits[-1:]) is None

    indexed.stored()[0].write_bytes(b"damaged")
    indexed.index._open.clear()
    indexed.history = PathHistory(indexed.index, LIMITS)
    assert indexed.last() == expected


def test_s1_repack_makes_the_index_anew(indexed: Indexed, work: Any) -> None:
    commits = indexed.fill(work, 5100)

    assert indexed.index.rebuild(indexed.objects) == 5100
    assert indexed.last() == {b"old": commits[0], b"new": commits[-1]}
    assert [commit.oid for commit in indexed.history.of_path(indexed.snapshot(), b"d/old", 10)] == [commits[0]]
    assert [commit.oid for commit in indexed.history.of_path(indexed.snapshot(), b"d", 3)] == commits[:-4:-1]
    first = indexed.stored()
    assert indexed.index.rebuild(indexed.objects) == 5100
    assert indexed.stored() == first


def test_s1_without_an_index_no_commit_is_guessed(indexed: Indexed, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed.fill(work, 120)
    monkeypatch.setattr(indexed.process_pool, "submit", refuse)
    with pytest.raises(Unavailable, match="is being indexed"):
        indexed.last()


def test_s1_where_nothing_is_kept_all_is_compared(fetch_hub: Any, tmp_path: Path, work: Any) -> None:
    made = Indexed(fetch_hub, tmp_path, room=0)
    commits = made.fill(work, 120)

    assert made.last() == {b"old": commits[0], b"new": commits[-1]}
    assert made.stored() == []
    made.process_pool.close()


def refuse(*arguments: object) -> None:
    raise OSError("no room for a process")


def test_s1_slow_comparing_has_the_index_made(indexed: Indexed, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder of very many entries a few commits take as long to compare as an answer may."""
    commits = indexed.fill(work, 70)
    monkeypatch.setattr("gitserver.history.paths._PATIENCE", 1e9)

    assert indexed.last() == {b"old": commits[0], b"new": commits[-1]}
    assert len(indexed.stored()) == 1
