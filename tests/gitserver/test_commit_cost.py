"""The cost of a commit through the API follows the changed paths, not the size of the repository."""

import io
from collections import Counter
from typing import Any

import pytest

from gitserver.commit.changes import Change, CommitRequest, CopiedFile, Put, Remove
from gitserver.commit.committer import Committer
from gitserver.history.browser import Browser
from gitserver.objects.store import BaseCache, Kind, Objects, ObjectStores, RawObject
from gitserver.update.ref_updater import RefUpdater
from gitserver.update.ref_writer import RefWriter
from lfs.objects.large_files import LargeFiles
from storage.packs import PackStore
from storage.records import Oid, Principal, Repo, RepoKind, RepoName, Scope

FOLDERS = 1000


class CountingObjects(Objects):
    """Counts the objects that are read whole, by kind."""

    def __init__(self, repo_id: str, packs: PackStore, reads: Counter[str]) -> None:
        super().__init__(repo_id, packs, BaseCache())
        self._reads = reads

    def get(self, oid: Oid) -> RawObject:
        raw = super().get(oid)
        self._reads[raw.kind.name] += 1
        return raw

    def header(self, oid: Oid) -> tuple[Kind, int]:
        self._reads["looked up"] += 1
        return super().header(oid)


class CountingStores(ObjectStores):
    def __init__(self, packs: PackStore) -> None:
        super().__init__(packs)
        self.reads: Counter[str] = Counter()
        self._counting: dict[str, Objects] = {}
        self._all_packs = packs

    def of(self, repo_id: str) -> Objects:
        return self._counting.setdefault(repo_id, CountingObjects(repo_id, self._all_packs, self.reads))


class Bench:
    """One repository with 1,000 folders of one file each, and a committer that counts."""

    def __init__(self, services: Any) -> None:
        self.actor: Principal = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
        self.repo: Repo = services.repos.create(self.actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
        self.services = services
        self.stores = CountingStores(services.packs)
        browser = Browser(self.stores, services.versions, services.possession)
        rest = (services.background_repack, services.versions, services.rules, services.receive_runner, services.limits)
        writer = RefWriter(RefUpdater(self.stores, services.packs, *rest))
        large = LargeFiles(services.database, services.blobs, services.possession)
        self.committer = Committer(self.stores, browser, writer, services.versions, large, services.limits)
        self.commit(*[Put(b"f%d/g/x.txt" % number, 0, 1) for number in range(FOLDERS)])

    def commit(self, *changes: Change) -> Counter[str]:
        """What was read for it."""
        self.stores.reads.clear()
        digest = f"{len(self.services.versions.refs(self.repo.id).refs)}-{changes!r}"[:500]
        self.committer.commit(self.repo, self.actor, CommitRequest(b"refs/heads/main", "m", None, changes, io.BytesIO(b"x"), digest))
        return Counter(self.stores.reads)


@pytest.fixture
def bench(services: Any) -> Bench:
    return Bench(services)


@pytest.mark.parametrize(
    "changes",
    [
        (Put(b"f7/g/x.txt", 0, 0),),
        (Put(b"f7/g/new.txt", 0, 1), Put(b"new/h/y.txt", 0, 1)),
        (Remove(b"f8/g/x.txt"),),
        (Remove(b"f9"),),
        (CopiedFile(b"f1/g/copy.txt", b"f2/g/x.txt", None),),
    ],
)
def test_trees_of_unchanged_folders_are_not_read(bench: Bench, changes: tuple[Change, ...]) -> None:
    reads = bench.commit(*changes)

    assert 0 < reads["TREE"] <= 12
    assert sum(reads.values()) <= 30


def test_s4_what_the_old_trees_hold_is_not_looked_up_again(bench: Bench) -> None:
    """Of 1,000 folders beside the changed one."""
    assert bench.commit(Put(b"f7/g/new.txt", 0, 1))["looked up"] <= 12


def test_a_second_commit_costs_no_more_than_the_first(bench: Bench) -> None:
    first = bench.commit(Put(b"f7/g/new.txt", 0, 1))
    second = bench.commit(Put(b"f8/g/new.txt", 0, 1))

    assert second["TREE"] <= first["TREE"]
    assert bench.commit(*[Put(b"f%d/g/new.txt" % number, 0, 1) for number in range(100, 110)])["TREE"] <= 12 * 4
