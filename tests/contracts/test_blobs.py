"""The BlobStore contract."""

import hashlib
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.blobs.base import BlobStore
from storage.blobs.bucket import Bucket, Slice
from storage.blobs.disk import DiskBlobStore
from storage.blobs.s3 import S3BlobStore, open_object, pieces_of
from storage.errors import Invalid, ObjectNotFound
from storage.limits import MIB
from storage.records import BlobRef
from tests.servers.s3 import S3_SERVERS

DATA = b"some bytes" * 1000
BLOB = BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA))


@pytest.fixture(params=["disk", *S3_SERVERS])
def store(request: pytest.FixtureRequest, tmp_path: Path, open_bucket: Callable[[str], Bucket]) -> BlobStore:
    (tmp_path / "incoming").mkdir()
    if request.param in S3_SERVERS:
        return S3BlobStore(open_bucket(request.param), tmp_path / "incoming", None)
    return DiskBlobStore(tmp_path / "pool", tmp_path / "incoming")


def put(store: BlobStore, data: bytes, expected: BlobRef) -> None:
    upload = store.upload(expected)
    upload.write(data[:100])
    upload.write(data[100:])
    upload.commit()
    upload.abort()


def test_small_bytes_are_kept_at_once(store: BlobStore) -> None:
    assert store.keep(DATA) == BLOB == store.keep(DATA)
    assert store.exists(BLOB)
    with store.open(BLOB.sha256) as file:
        assert file.read() == DATA


def test_round_trip(store: BlobStore) -> None:
    assert not store.exists(BLOB)
    put(store, DATA, BLOB)
    put(store, DATA, BLOB)

    assert store.exists(BLOB)
    assert not store.exists(BlobRef(BLOB.sha256, 5))
    with store.open(BLOB.sha256) as file:
        assert file.read() == DATA


@pytest.mark.parametrize("expected", [BlobRef("0" * 64, len(DATA)), BlobRef(BLOB.sha256, 5)])
def test_other_bytes_are_refused_and_leave_nothing(store: BlobStore, tmp_path: Path, expected: BlobRef) -> None:
    with pytest.raises(Invalid, match="Send the file again"):
        put(store, DATA, expected)

    assert not store.exists(BLOB)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_aborted_upload_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    upload = store.upload(BLOB)
    upload.write(DATA)
    upload.abort()
    upload.abort()

    assert list((tmp_path / "incoming").iterdir()) == []


def test_missing_and_hostile_names(store: BlobStore) -> None:
    with pytest.raises(ObjectNotFound):
        store.open(BLOB.sha256)
    assert store.path(BLOB.sha256) is None
    for name in ("../../etc/passwd", "A" * 64, "", "a" * 63 + "\n"):
        with pytest.raises(Invalid):
            store.path(name)


def test_streams_are_sought_and_read_in_pieces(store: BlobStore) -> None:
    data = os.urandom(5 * MIB + 17)
    blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    put(store, data, blob)
    with store.open(blob.sha256) as file:
        for start, size in ((0, 10), (MIB - 5, 10), (3 * MIB, 2 * MIB), (len(data) - 3, 10), (1, MIB)):
            file.seek(start)
            assert file.read(size) == data[start : start + size]
            assert file.tell() == min(start + size, len(data))
        file.seek(-7, os.SEEK_END)
        assert file.read() == data[-7:]
        assert file.read(1) == b""


def test_a_large_object_in_little_memory(store: BlobStore) -> None:
    piece, count = os.urandom(MIB), 70
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    blob = BlobRef(digest.hexdigest(), count * MIB)
    tracemalloc.start()
    upload = store.upload(blob)
    for _ in range(count):
        upload.write(piece)
    upload.commit()
    with store.open(blob.sha256) as file:
        same = all(file.read(MIB) == piece for _ in range(count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert same
    assert peak < 16 * MIB


def test_the_empty_object(store: BlobStore) -> None:
    blob = BlobRef(hashlib.sha256(b"").hexdigest(), 0)
    store.upload(blob).commit()
    assert store.exists(blob)
    with store.open(blob.sha256) as file:
        assert file.read() == b""


@pytest.mark.parametrize("change", [0, 1, -1])
def test_nothing_shows_of_a_large_object_with_other_bytes(bucket: Bucket, tmp_path: Path, change: int) -> None:
    """Its parts are on S3 before the end shows that they are wrong."""
    data = os.urandom(33 * MIB)
    blob = BlobRef(hashlib.sha256(b"something else").hexdigest() if not change else hashlib.sha256(data).hexdigest(), len(data) + change)
    upload = S3BlobStore(bucket, tmp_path, None).upload(blob)
    upload.write(data)
    with pytest.raises(Invalid, match="Send the file again"):
        upload.commit()

    assert list(bucket.list("")) == []
    bucket.abort_older("", 0)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_uploads_are_given_up_when_they_are_old(bucket: Bucket) -> None:
    upload = bucket.begin("pool/x")
    bucket.abort_older("pool/", 3600)
    tag = bucket.put_part("pool/x", upload, 1, Slice(io.BytesIO(b"abc"), 0, 3))
    bucket.abort_older("pool/", -60)
    with pytest.raises(ObjectNotFound):
        bucket.complete("pool/x", upload, [tag])


def test_files_larger_than_a_slice(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.blobs.bucket._SLICE", 5 * MIB)
    data = os.urandom(11 * MIB)
    bucket.put("x", io.BytesIO(data), len(data))
    assert b"".join(pieces_of(open_object(bucket, "x", ""))) == data
