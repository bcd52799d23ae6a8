"""The PartStore contract on S3, where parts may come through several machines."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from storage.blobs.bucket import Bucket
from storage.blobs.s3 import S3BlobStore
from storage.errors import Invalid
from storage.multipart.base import Parted
from storage.multipart.s3 import S3PartStore
from storage.records import BlobRef

DATA = os.urandom(2500)
PARTED = Parted("r1", BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA)), 1000)


@pytest.fixture
def blobs(bucket: Bucket, tmp_path: Path) -> S3BlobStore:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    return S3BlobStore(bucket, tmp_path / "one", None)


@pytest.fixture
def store(bucket: Bucket, blobs: S3BlobStore, tmp_path: Path) -> S3PartStore:
    return S3PartStore(bucket, tmp_path / "one", blobs)


@pytest.fixture
def other(bucket: Bucket, blobs: S3BlobStore, tmp_path: Path) -> S3PartStore:
    """Another machine's."""
    return S3PartStore(bucket, tmp_path / "two", S3BlobStore(bucket, tmp_path / "two", None))


def send(store: S3PartStore, number: int, data: bytes | None = None) -> str:
    upload = store.begin(PARTED, number)
    upload.write(DATA[(number - 1) * 1000 : number * 1000] if data is None else data)
    upload.keep()
    upload.abort()
    return upload.etag


def join(store: S3PartStore, etags: list[str]) -> None:
    for _ in store.join(PARTED, etags):
        pass


def test_parts_of_two_machines_become_the_object(store: S3PartStore, other: S3PartStore, blobs: S3BlobStore, bucket: Bucket) -> None:
    etags = {number: send(where, number) for number, where in ((3, store), (1, other), (2, store))}
    assert not blobs.exists(PARTED.blob)
    join(other, [etags[number] for number in (1, 2, 3)])
    store.drop(PARTED)

    with blobs.open(PARTED.blob.sha256) as file:
        assert file.read() == DATA
    assert list(bucket.list("parts/")) == []


@pytest.mark.parametrize("data", [b"x" * 999, b"x" * 1001, b""])
def test_a_part_of_another_size_is_refused(store: S3PartStore, bucket: Bucket, data: bytes) -> None:
    with pytest.raises(Invalid, match="not 1000"):
        send(store, 1, data)

    assert list(bucket.list("")) == []


def test_a_missing_or_another_part_is_named_and_nothing_is_stored(store: S3PartStore, blobs: S3BlobStore) -> None:
    etags = [send(store, 1), hashlib.sha256(DATA[1000:2000]).hexdigest(), send(store, 3)]
    with pytest.raises(Invalid, match="Part 2 did not come"):
        join(store, etags)
    wrong = send(store, 2, b"x" * 1000)
    with pytest.raises(Invalid, match="Part 2 is here with another etag"):
        join(store, etags)
    with pytest.raises(Invalid, match="Send the file again"):
        join(store, [etags[0], wrong, etags[2]])
    assert not blobs.exists(PARTED.blob)

    send(store, 2)
    join(store, etags)
    assert blobs.exists(PARTED.blob)


def test_who_joins_while_another_machine_drops_is_told(store: S3PartStore, other: S3PartStore, blobs: S3BlobStore) -> None:
    etags = [send(store, number) for number in (1, 2, 3)]
    join(store, etags)
    store.drop(PARTED)
    with pytest.raises(Invalid):
        join(other, etags)

    assert blobs.exists(PARTED.blob)


def test_one_caller_of_a_machine_at_a_time(store: S3PartStore, other: S3PartStore) -> None:
    with store.claim(PARTED) as first, store.claim(PARTED) as second, other.claim(PARTED) as elsewhere:
        assert (first, second, elsewhere) == (True, False, True)
    with store.claim(PARTED) as again:
        assert again


def test_old_parts_are_swept(store: S3PartStore, bucket: Bucket) -> None:
    send(store, 1)
    store.sweep(time.time() - 60)
    assert len(list(bucket.list("parts/"))) == 1
    store.sweep(time.time() + 60)
    assert list(bucket.list("parts/")) == []
