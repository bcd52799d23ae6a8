"""People, repositories and the folders of the services, for the tests of Xet ingest."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lfs.xet.index import XetIndex
from lfs.xet.ingest import XetIngest
from storage.blobs.staging import DiskStaging
from storage.limits import Limits
from storage.records import BlobRef, Principal, Repo, RepoKind, RepoName, Scope


@dataclass(frozen=True)
class Place:
    """The services with Ann and Bob, a public and a private repository of Ann's, and one of Bob's."""

    services: Any
    ann: Principal
    bob: Principal
    public: Repo
    private: Repo
    bobs: Repo

    def files(self, *folders: str) -> list[str]:
        """What lies in the folders, by path."""
        data = self.services.settings.data
        return sorted(str(path.relative_to(data)) for folder in folders for path in (data / folder).rglob("*") if path.is_file())

    def staged(self) -> list[str]:
        return [Path(path).name for path in self.files("staged")]

    def has(self, repo: Repo, data: bytes) -> bool:
        """Whether the repository possesses the object, and the pool holds these very bytes."""
        blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        if self.services.possession.has(repo.id, blob.sha256) != blob:
            return False
        with self.services.blobs.open(blob.sha256) as file:
            return bool(file.read() == data)

    def ingest(self, index: XetIndex | None = None, **limits: int) -> XetIngest:
        """Another ingest over the same data."""
        data = self.services.settings.data
        staging = DiskStaging(data / "staged", data / "incoming")
        return XetIngest(index or self.services.xet.index, staging, self.services.blobs, Limits(**limits))

    def counts(self) -> dict[str, int]:
        """Rows of each table that an upload may write."""
        tables = ("blobs", "lfs_objects", "xet_xorbs", "xet_grants", "xet_places", "xet_files", "xet_chunks")

        def count(table: str) -> int:
            return int(self.services.database.read(lambda tx: tx.one(f"SELECT count(*) AS n FROM {table}"))["n"])

        return {table: count(table) for table in tables}


@pytest.fixture
def place(services: Any) -> Place:
    ann, bob = (person(services, name) for name in ("ann", "bob"))
    public, private = (make_repo(services, ann, name, is_private=name == "private") for name in ("public", "private"))
    return Place(services, ann, bob, public, private, make_repo(services, bob, "bobs", is_private=True))


def person(services: Any, name: str) -> Principal:
    user = services.users.create(name, f"{name}@example.org", "correct horse battery")
    principal: Principal = user.principal(Scope.WRITE, from_session=False)
    return principal


def make_repo(services: Any, owner: Principal, name: str, *, is_private: bool) -> Repo:
    repo: Repo = services.repos.create(owner, RepoName(RepoKind.MODEL, owner.name, name), is_private=is_private)
    return repo


@pytest.fixture
def snapshot(hub: Any) -> Callable[[], set[str]]:
    """What lies in the hub's folders that uploads fill."""

    def take() -> set[str]:
        folders = [hub.data / name for name in ("incoming", "staged", "pool")]
        return {str(path.relative_to(hub.data)) for folder in folders for path in folder.rglob("*") if path.is_file()}

    return take
