"""The Quarantine contract on both S3 servers: what a client sends without the hub, by HTTP alone."""

import hashlib
import http.client
import io
import os
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage.blobs.bucket import Bucket, Slice
from storage.blobs.presign import Signer
from storage.blobs.s3 import S3BlobStore
from storage.errors import Invalid, ObjectNotFound, Unavailable, WrongBytes
from storage.limits import GIB, MIB
from storage.multipart.base import Direct, Parted
from storage.multipart.quarantine import S3Quarantine
from storage.records import BlobRef

DATA = os.urandom(11 * MIB + 5)
REFUSED = 403
BLOB = BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA))


@pytest.fixture
def blobs(bucket: Bucket, tmp_path: Path) -> S3BlobStore:
    return S3BlobStore(bucket, tmp_path, None)


@pytest.fixture
def store(bucket: Bucket, tmp_path: Path) -> S3Quarantine:
    return S3Quarantine(bucket, tmp_path, Signer(bucket.config, bucket.config.endpoint, 600))


def put(url: str, data: bytes) -> tuple[int, str]:
    """As huggingface_hub does: no header but the length. Status and etag."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        with suppress(ConnectionError):  # a server may answer, or break off, before it has read what it does not want
            connection.request("PUT", f"{parts.path}?{parts.query}", data)
        try:
            with connection.getresponse() as answer:
                answer.read()
                return answer.status, answer.headers.get("ETag", "")
        except ConnectionError:
            return REFUSED, ""


def begin(store: S3Quarantine, part_bytes: int = len(DATA), blob: BlobRef = BLOB) -> Parted:
    return Parted("r1", blob, part_bytes, store.begin())


def smuggle(bucket: Bucket, parted: Parted, number: int, data: bytes) -> str:
    """A part as it comes past a server that does not look at its length."""
    assert parted.direct is not None
    part = Slice(io.BytesIO(data), 0, len(data))
    return bucket.put_part(f"quarantine/{parted.direct.name}", parted.direct.upload, number, part).strip('"')


def join(store: S3Quarantine, parted: Parted, etags: list[str] | None = None) -> None:
    for _ in store.join(parted, etags or []):
        pass


def send_parts(store: S3Quarantine, parted: Parted) -> list[str]:
    etags = {}
    for number in reversed(range(1, parted.count + 1)):
        start = (number - 1) * parted.part_bytes
        status, etag = put(store.part_url(parted, number, 600), DATA[start : start + parted.part_bytes])
        assert status == 200
        etags[number] = etag.strip('"')
    return [etags[number] for number in sorted(etags)]


def test_one_part_becomes_the_object(store: S3Quarantine, blobs: S3BlobStore, bucket: Bucket) -> None:
    parted = begin(store)
    assert put(store.part_url(parted, 1, 600), DATA)[0] == 200
    assert not blobs.exists(BLOB)
    join(store, parted)
    store.drop(parted)

    with blobs.open(BLOB.sha256) as file:
        assert file.read() == DATA
    assert list(bucket.list("quarantine/")) == []


def test_many_parts_become_the_object(store: S3Quarantine, blobs: S3BlobStore, bucket: Bucket) -> None:
    parted = begin(store, 5 * MIB)
    etags = send_parts(store, parted)
    join(store, parted, etags)
    join(store, parted, etags)  # once more, as after a crash
    store.drop(parted)

    with blobs.open(BLOB.sha256) as file:
        assert file.read() == DATA
    assert list(bucket.list("quarantine/")) == []


def test_a_large_object_is_copied_in_slices(
    store: S3Quarantine, blobs: S3BlobStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.blobs.bucket._COPIED", 5 * MIB)
    parted = begin(store)
    put(store.part_url(parted, 1, 600), DATA)
    join(store, parted)

    with blobs.open(BLOB.sha256) as file:
        assert file.read() == DATA
    bucket.abort_older("pool/", -60)
    assert blobs.exists(BLOB)


def test_a_copy_that_is_left_off_shows_nothing(store: S3Quarantine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.blobs.bucket._COPIED", 5 * MIB)
    bucket.put("a", io.BytesIO(DATA), len(DATA))
    steps = bucket.copy("a", "b", len(DATA))
    next(steps)
    steps.close()  # type: ignore[attr-defined]

    assert bucket.size("b") is None


def test_a_url_that_was_used_changes_nothing_once_the_bytes_were_looked_at(store: S3Quarantine, blobs: S3BlobStore, bucket: Bucket) -> None:
    """The hash is that of the bytes that are copied, however fast a client is: S3 takes no more from the first step on."""
    parted = begin(store)
    url = store.part_url(parted, 1, 600)
    assert put(url, DATA)[0] == 200
    steps = store.join(parted, [])
    next(steps)
    assert put(url, b"y" * len(DATA))[0] >= 400
    for _ in steps:
        assert put(url, b"y" * len(DATA))[0] >= 400
    assert put(url, b"y" * len(DATA))[0] >= 400
    store.drop(parted)

    assert put(url, b"y" * len(DATA))[0] >= 400
    with blobs.open(BLOB.sha256) as file:
        assert file.read() == DATA
    assert [stored.key for stored in bucket.list("")] == [f"pool/sha256/{BLOB.sha256[:2]}/{BLOB.sha256[2:4]}/{BLOB.sha256}"]


@pytest.mark.parametrize("data", [DATA[:-1] + b"x", bytes(len(DATA))], ids=["last", "all"])
def test_other_bytes_are_removed(store: S3Quarantine, bucket: Bucket, data: bytes) -> None:
    parted = begin(store)
    assert put(store.part_url(parted, 1, 600), data)[0] == 200
    with pytest.raises(WrongBytes, match="Send the file again"):
        join(store, parted)

    assert list(bucket.list("")) == []
    with pytest.raises(ObjectNotFound):
        join(store, parted)


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1], b""], ids=["longer", "shorter", "empty"])
def test_another_length(store: S3Quarantine, bucket: Bucket, data: bytes) -> None:
    """S3 refuses it; where a server would not, the hub does."""
    parted = begin(store)
    assert put(store.part_url(parted, 1, 600), data)[0] == 403
    smuggle(bucket, parted, 1, data)
    with pytest.raises(WrongBytes, match=f"{len(data)} bytes came, but .* has {len(DATA)}"):
        join(store, parted)

    assert list(bucket.list("")) == []


def test_what_did_not_come(store: S3Quarantine, blobs: S3BlobStore) -> None:
    parted = begin(store)
    with pytest.raises(ObjectNotFound, match="did not come"):
        join(store, parted)
    assert put(store.part_url(parted, 1, 600), DATA)[0] == 200  # to have asked too early does no harm
    join(store, parted)

    assert blobs.exists(BLOB)
    with pytest.raises(ObjectNotFound, match="did not come"):
        join(store, Parted("r1", BLOB, len(DATA), Direct("0" * 32, parted.direct.upload if parted.direct else "")))


def test_a_part_that_is_missing_or_another_one_is_named(store: S3Quarantine, bucket: Bucket, blobs: S3BlobStore) -> None:
    parted = begin(store, 5 * MIB)
    ends = [(0, 5 * MIB), (10 * MIB, len(DATA))]
    first, third = (put(store.part_url(parted, number, 600), DATA[a:b])[1].strip('"') for number, (a, b) in zip((1, 3), ends, strict=True))
    with pytest.raises(Invalid, match="Part 2 did not come"):
        join(store, parted, [first, "0" * 32, third])
    short = smuggle(bucket, parted, 2, DATA[: 5 * MIB + 1])
    with pytest.raises(Invalid, match=f"Part 2 has {5 * MIB + 1} bytes, not {5 * MIB}"):
        join(store, parted, [first, short, third])
    second = put(store.part_url(parted, 2, 600), DATA[5 * MIB : 10 * MIB])[1].strip('"')
    with pytest.raises(Invalid, match="Part 1 is here with another etag"):
        join(store, parted, [second, second, third])
    join(store, parted, [first, second, third])

    assert blobs.exists(BLOB)


def test_a_changed_or_expired_url_is_refused(store: S3Quarantine, bucket: Bucket) -> None:
    parted, other = begin(store), begin(store)
    assert parted.direct is not None
    assert other.direct is not None
    signer = Signer(bucket.config, bucket.config.endpoint, 600)
    key = f"quarantine/{parted.direct.name}"
    url = signer.part_url(key, parted.direct.upload, (1, len(DATA)), 600)
    expired = signer.part_url(key, parted.direct.upload, (1, len(DATA)), 5, time.time() - 60)
    changed = [url.replace(parted.direct.name, other.direct.name), url.replace("partNumber=1", "partNumber=2"), url.split("&partNumber")[0]]

    assert all(put(made, DATA)[0] in (400, 403) for made in (expired, *changed))
    assert bucket.parts(key, parted.direct.upload) == {}


def test_which_sizes_are_taken(store: S3Quarantine) -> None:
    def takes(size: int, part_bytes: int) -> bool:
        return store.takes(Parted("r1", BlobRef("0" * 64, size), part_bytes))

    assert [takes(5 * GIB, 5 * GIB), takes(100 * GIB, 256 * MIB), takes(10, 10)] == [True] * 3
    assert [takes(5 * GIB + 1, 5 * GIB + 1), takes(10 * MIB, 4 * MIB), takes(10_001 * 5 * MIB, 5 * MIB), takes(0, 10)] == [False] * 4


def test_old_leftovers_are_swept(store: S3Quarantine, bucket: Bucket) -> None:
    done, parted = begin(store), begin(store)
    for each in (done, parted):
        assert put(store.part_url(each, 1, 600), DATA)[0] == 200
    next(iter(store.join(done, [])))
    store.sweep(time.time() - 60)
    bucket.abort_older("", 3600)
    assert len(list(bucket.list("quarantine/"))) == 1
    store.sweep(time.time() + 60)
    bucket.abort_older("", -60)

    assert list(bucket.list("")) == []
    with pytest.raises(ObjectNotFound):
        join(store, parted)


def test_more_unfinished_uploads_than_one_page(store: S3Quarantine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [store.begin() for _ in range(7)]
    ask = bucket._client.list_multipart_uploads
    monkeypatch.setattr(bucket._client, "list_multipart_uploads", lambda **given: ask(**given, MaxUploads=3))
    bucket.abort_older("quarantine/", -60)

    for direct in made:
        with pytest.raises(ObjectNotFound):
            bucket.parts(f"quarantine/{direct.name}", direct.upload)


def test_parts_come_in_pages(store: S3Quarantine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    parted = begin(store, 5 * MIB)
    tags = [smuggle(bucket, parted, number, b"x" * number) for number in range(1, 8)]
    ask = bucket._client.list_parts
    monkeypatch.setattr(bucket._client, "list_parts", lambda **given: ask(**given, MaxParts=3))
    assert parted.direct is not None
    found = bucket.parts(f"quarantine/{parted.direct.name}", parted.direct.upload)

    assert [(found[number][0].tag.strip('"'), found[number][0].size) for number in range(1, 8)] == list(zip(tags, range(1, 8), strict=True))


def test_of_two_parts_with_one_number_the_etag_decides(store: S3Quarantine, bucket: Bucket, blobs: S3BlobStore) -> None:
    parted = begin(store, 5 * MIB)
    smuggle(bucket, parted, 1, b"x" * (5 * MIB))
    etags = send_parts(store, parted)
    join(store, parted, etags)

    assert blobs.exists(BLOB)


def test_one_caller_of_a_machine_at_a_time(store: S3Quarantine) -> None:
    parted, other = begin(store), begin(store)
    with store.claim(parted) as first, store.claim(parted) as second, store.claim(other) as elsewhere:
        assert (first, second, elsewhere) == (True, False, True)
    with store.claim(parted) as again:
        assert again


@pytest.mark.parametrize("ahead", range(12))
def test_two_machines_at_once(store: S3Quarantine, blobs: S3BlobStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """One is done, and has removed what came, when the other one has made `ahead` steps: it ends well, or says plainly that all is gone."""
    monkeypatch.setattr("storage.blobs.bucket._COPIED", 5 * MIB)
    monkeypatch.setattr("storage.multipart.quarantine.STEP_BYTES", 2 * MIB)
    monkeypatch.setattr("storage.blobs.s3._FIRST_WINDOW", MIB)
    monkeypatch.setattr("storage.blobs.s3._LAST_WINDOW", MIB)
    parted = begin(store)
    assert put(store.part_url(parted, 1, 600), DATA)[0] == 200
    slower = store.join(parted, [])
    for _ in zip(range(ahead), slower, strict=False):
        pass
    join(store, parted)
    store.drop(parted)
    with suppress(ObjectNotFound):
        for _ in slower:
            pass

    with blobs.open(BLOB.sha256) as file:
        assert file.read() == DATA
    assert [stored.key.partition("/")[0] for stored in bucket.list("")] == ["pool"]


def test_a_server_is_tried_with_a_small_object(store: S3Quarantine, bucket: Bucket) -> None:
    sent = []

    def send(url: str, data: bytes) -> None:
        sent.append(put(url, data)[0])

    store.check()
    store.check(send)

    assert sent == [200]
    with pytest.raises(Unavailable, match="loses what clients send"):
        store.check(lambda url, data: None)
    with pytest.raises(WrongBytes):
        store.check(lambda url, data: sent.append(put(url, bytes(len(data)))[0]))
    assert list(bucket.list("")) == []


def test_a_hub_behind_which_s3_hides_makes_no_urls(bucket: Bucket, tmp_path: Path) -> None:
    hidden = S3Quarantine(bucket, tmp_path, None)
    assert hidden.origin == ""
    with pytest.raises(Invalid, match="through this hub only"):
        hidden.part_url(begin(hidden), 1, 600)
