"""The BlobStore contract."""

import hashlib
from pathlib import Path

import pytest

from storage.blobs.disk import DiskBlobStore
from storage.errors import Invalid, ObjectNotFound
from storage.records import BlobRef

DATA = b"some bytes" * 1000
BLOB = BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA))


@pytest.fixture
def store(tmp_path: Path) -> DiskBlobStore:
    (tmp_path / "incoming").mkdir()
    return DiskBlobStore(tmp_path / "pool", tmp_path / "incoming")


def put(store: DiskBlobStore, data: bytes, expected: BlobRef) -> None:
    upload = store.upload()
    upload.write(data[:100])
    upload.write(data[100:])
    upload.commit(expected)


def test_round_trip(store: DiskBlobStore) -> None:
    assert not store.exists(BLOB)
    put(store, DATA, BLOB)
    put(store, DATA, BLOB)

    assert store.exists(BLOB)
    assert not store.exists(BlobRef(BLOB.sha256, 5))
    with store.open(BLOB.sha256) as file:
        assert file.read() == DATA


@pytest.mark.parametrize("expected", [BlobRef("0" * 64, len(DATA)), BlobRef(BLOB.sha256, 5)])
def test_other_bytes_are_refused_and_leave_nothing(store: DiskBlobStore, tmp_path: Path, expected: BlobRef) -> None:
    with pytest.raises(Invalid, match="Send the file again"):
        put(store, DATA, expected)

    assert not store.exists(BLOB)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_aborted_upload_leaves_nothing(store: DiskBlobStore, tmp_path: Path) -> None:
    upload = store.upload()
    upload.write(DATA)
    upload.abort()
    upload.abort()

    assert list((tmp_path / "incoming").iterdir()) == []


def test_missing_and_hostile_names(store: DiskBlobStore) -> None:
    with pytest.raises(ObjectNotFound):
        store.open(BLOB.sha256)
    assert store.path(BLOB.sha256) is None
    for name in ("../../etc/passwd", "A" * 64, "", "a" * 63 + "\n"):
        with pytest.raises(Invalid):
            store.path(name)
