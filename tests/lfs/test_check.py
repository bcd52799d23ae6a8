"""`admin check` reads every object of the pool and tells what is wrong with it."""

import hashlib
from typing import Any

import pytest

from lfs.objects.check import check_pool
from storage.records import BlobRef, Principal, RepoKind, RepoName, Scope


@pytest.fixture
def blob(services: Any) -> BlobRef:
    data = b"weights" * 1000
    blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    upload = services.blobs.upload(blob)
    upload.write(data)
    upload.commit()
    user = services.users.create("alice", "alice@example.org", "correct horse battery")
    alice = Principal(user.id, "alice", "alice@example.org", False, Scope.WRITE, False)
    repo = services.repos.create(alice, RepoName(RepoKind.MODEL, "alice", "one"), is_private=False)
    services.possession.link(repo.id, blob)
    return blob


def findings(services: Any) -> list[str]:
    return list(check_pool(services.database, services.blobs))


def test_a_sound_pool(services: Any, blob: BlobRef) -> None:
    assert findings(services) == []


def test_missing_bytes(services: Any, blob: BlobRef) -> None:
    services.blobs.path(blob.sha256).unlink()

    assert findings(services) == [f"large object {blob.sha256}: its bytes are missing"]


def test_cut_bytes(services: Any, blob: BlobRef) -> None:
    services.blobs.path(blob.sha256).write_bytes(b"weights")

    assert findings(services) == [f"large object {blob.sha256}: it has 7 bytes instead of 7000"]


def test_changed_bytes_of_the_same_size(services: Any, blob: BlobRef) -> None:
    services.blobs.path(blob.sha256).write_bytes(b"x" * 7000)

    (line,) = findings(services)
    assert "its bytes hash to" in line
