"""I7: knowing a sha256 grants nothing; a repository has what came in through it."""

import hashlib
from typing import Any

import pytest

from lfs.objects.large_files import LargeFiles
from lfs.objects.possession import EMPTY
from storage.errors import ObjectNotFound, RepoNotFound
from storage.records import BlobRef, Principal, Repo, RepoKind, RepoName, Scope


def store(services: Any, data: bytes) -> BlobRef:
    blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    upload = services.blobs.upload(blob)
    upload.write(data)
    upload.commit()
    return blob


@pytest.fixture
def repos(services: Any) -> tuple[Repo, Repo]:
    user = services.users.create("alice", "alice@example.org", "correct horse battery")
    alice = Principal(user.id, "alice", "alice@example.org", False, Scope.WRITE, False)
    one, two = (services.repos.create(alice, RepoName(RepoKind.MODEL, "alice", name), is_private=True) for name in ("one", "two"))
    return one, two


def test_a_link_is_for_one_repository(services: Any, repos: tuple[Repo, Repo]) -> None:
    one, two = repos
    blob = store(services, b"weights")
    services.possession.link(one.id, blob)
    services.possession.link(one.id, blob)

    assert services.possession.has(one.id, blob.sha256) == blob
    assert services.possession.has(two.id, blob.sha256) is None
    assert services.possession.held(two.id, [blob.sha256]) == {}


def test_missing_compares_the_size_too(services: Any, repos: tuple[Repo, Repo]) -> None:
    one, _ = repos
    blob, absent = store(services, b"weights"), BlobRef("ab" * 32, 5)
    wrong = BlobRef(blob.sha256, 8)
    services.possession.link(one.id, blob)

    assert services.possession.missing(one.id, [blob, absent, wrong]) == [absent, wrong]


def test_no_row_names_absent_bytes(services: Any, repos: tuple[Repo, Repo]) -> None:
    with pytest.raises(ObjectNotFound, match="not stored"):
        services.possession.link(repos[0].id, BlobRef("ab" * 32, 5))


def test_a_repository_deleted_during_an_upload(services: Any, repos: tuple[Repo, Repo]) -> None:
    one, two = repos
    blob = store(services, b"weights")
    services.possession.link(two.id, blob)
    services.repos.delete(one)

    with pytest.raises(RepoNotFound, match="deleted"):
        services.possession.link(one.id, blob)
    assert services.possession.has(two.id, blob.sha256) == blob


def test_g5_the_empty_object_is_everybodys(services: Any, repos: tuple[Repo, Repo]) -> None:
    one, two = repos
    lying = BlobRef(EMPTY.sha256, 5)

    assert services.possession.missing(one.id, [EMPTY, lying]) == [lying]
    assert services.possession.has(two.id, EMPTY.sha256) == EMPTY
    assert LargeFiles(services.database, services.blobs, services.possession).sized({EMPTY.sha256: None}) == {EMPTY.sha256: EMPTY}
    with services.blobs.open(EMPTY.sha256) as file:
        assert file.read() == b""
